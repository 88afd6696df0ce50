//! The payers: people who open an order, pay it, pay it late, or never come.

use std::sync::Arc;
use std::time::Duration;

use payment_core::ChannelKind;

use super::notices;
use crate::world::World;

/// When and whether somebody pays.
#[derive(Clone, Copy, Debug)]
enum Mind {
    /// Before the channel's answer to our call is back.
    AtOnce,
    /// Within a few seconds.
    Quick,
    /// Some time before it expires.
    Slow,
    /// At the last moment that the channel allows, which is after our own expiry.
    Late,
    /// Opens the order and leaves it.
    Never,
    /// Does not even open it.
    Absent,
}

/// A payer who may come for a new order.
pub fn comes(world: &Arc<World>, kind: ChannelKind, number: &str) {
    let mind = mind(world);
    if matches!(mind, Mind::Absent) {
        return;
    }
    let until_ms = {
        let book = world.book(kind);
        book.order(number).map_or(0, |order| order.payable_until_ms)
    };
    let left_ms = until_ms.saturating_sub(world.elapsed_ms());
    let pause_ms = {
        let mut chance = world.chance();
        match mind {
            Mind::AtOnce => chance.between(0, 30),
            Mind::Quick => chance.between(300, 8_000),
            Mind::Slow | Mind::Never | Mind::Absent => chance.between(1_000, left_ms.max(2_000)),
            Mind::Late => left_ms.saturating_sub(chance.between(0, 3_000)),
        }
    };
    let (world, number, under_way) = (world.clone(), number.to_owned(), world.under_way());
    tokio::spawn(async move {
        let _under_way = under_way;
        let opens_ms = pause_ms / 2;
        tokio::time::sleep(Duration::from_millis(opens_ms)).await;
        world.book(kind).open(&number);
        tokio::time::sleep(Duration::from_millis(pause_ms - opens_ms)).await;
        if matches!(mind, Mind::Never) {
            return;
        }
        let despite_close = world.strikes(world.profile.pay_despite_close_percent);
        pays(&world, kind, &number, despite_close);
    });
}

fn mind(world: &World) -> Mind {
    if world.strikes(world.profile.pay_late_percent) {
        return Mind::Late;
    }
    match world.chance().below(100) {
        0..8 => Mind::AtOnce,
        8..45 => Mind::Quick,
        45..75 => Mind::Slow,
        75..88 => Mind::Never,
        _ => Mind::Absent,
    }
}

/// The payer pays now, if the channel lets him.
pub fn pays(world: &Arc<World>, kind: ChannelKind, number: &str, despite_close: bool) {
    let (now, now_ms) = (world.now(), world.elapsed_ms());
    let lag_ms = if world.strikes(world.profile.query_lag_percent) {
        world.chance().between(1_000, 50_000)
    } else {
        0
    };
    let charge = world
        .book(kind)
        .charge(number, now, now_ms, lag_ms, despite_close);
    let Some(charge) = charge else {
        return;
    };
    world.mark(charge.transaction_id.as_bytes());
    world.tally().charges += 1;
    if charge.despite_close {
        world.tally().charges_despite_close += 1;
    }
    world.say("payer", || {
        let amount = charge.amount;
        let despite = if charge.despite_close {
            ", although the channel had closed it"
        } else {
            ""
        };
        format!("paid {amount} for order {number}{despite}")
    });
    notices::paid(world, kind, number);
}

/// Perhaps the payer pays at the very moment at which we close.
pub fn may_pay_while_we_close(world: &Arc<World>, kind: ChannelKind, number: &str) {
    let opened = world
        .book(kind)
        .order(number)
        .is_some_and(|order| order.exists);
    if opened && world.strikes(5 + world.profile.pay_late_percent / 4) {
        pays(world, kind, number, false);
    }
}

/// Perhaps the channel breaks its promise and lets the payer pay what it has just closed.
pub fn may_pay_despite_close(world: &Arc<World>, kind: ChannelKind, number: &str) {
    if !world.strikes(world.profile.pay_despite_close_percent) {
        return;
    }
    let pause = {
        let mut chance = world.chance();
        if chance.percent(50) {
            chance.millis(0, 20)
        } else {
            chance.millis(0, 300_000)
        }
    };
    let (world, number, under_way) = (world.clone(), number.to_owned(), world.under_way());
    tokio::spawn(async move {
        let _under_way = under_way;
        tokio::time::sleep(pause).await;
        pays(&world, kind, &number, true);
    });
}
