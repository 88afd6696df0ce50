//! What is checked when a world has come to rest.

use std::collections::BTreeMap;

use channels::RefundState as AtChannel;
use payment_core::{ChannelKind, PaymentState, RefundState};
use payment_runtime::records::{PaymentRecord, RefundRecord};

use super::ledger;
use crate::channel::book::BookOrder;
use crate::world::World;

/// Whether nothing waits to be done any more.
pub fn is_at_rest(world: &World) -> bool {
    if world.anything_under_way() {
        return false;
    }
    world.database().next_due().is_none()
}

/// Looks at everything once more.
pub fn look(world: &World) {
    everything_ended(world);
    histories_fold(world);
    for kind in ChannelKind::ALL {
        let orders: Vec<(String, BookOrder)> = {
            let book = world.book(kind);
            let orders = book.orders();
            orders
                .map(|(number, order)| (number.clone(), order.clone()))
                .collect()
        };
        for (number, order) in &orders {
            charge_is_settled(world, kind, number, order);
            refunds_agree(world, kind, number, order);
        }
    }
    charged_once(world);
    ledger::orders_are_paid(world);
    ledger::at_rest(world);
}

fn payments(world: &World) -> Vec<PaymentRecord> {
    let database = world.database();
    database
        .all_payments()
        .map(|row| row.record.clone())
        .collect()
}

fn refunds(world: &World) -> Vec<RefundRecord> {
    let database = world.database();
    database
        .all_refunds()
        .map(|row| row.record.clone())
        .collect()
}

fn everything_ended(world: &World) {
    for payment in payments(world) {
        let (number, state) = (&payment.payment_no, payment.status);
        if state.is_open() || state == PaymentState::PaidAfterClose {
            world.broken("I14", || format!("{number} is still {state}"));
        }
    }
    for refund in refunds(world) {
        if refund.status.is_open() {
            world.broken("I14", || {
                format!("refund {} is still {}", refund.refund_no, refund.status)
            });
        }
    }
    let (waiting, held): (Vec<String>, Vec<String>) = {
        let database = world.database();
        let waiting = database
            .all_kept()
            .filter(|kept| kept.next_attempt_at.is_some());
        let waiting = waiting.map(|kept| kept.entry.event.clone()).collect();
        let payments = database.all_payments();
        let held = payments.filter(|row| row.record.next_question_at.is_some());
        (
            waiting,
            held.map(|row| row.record.payment_no.clone()).collect(),
        )
    };
    for event in waiting {
        world.broken("I14", || {
            format!("callback {event} still waits in the inbox")
        });
    }
    for number in held {
        world.broken("I14", || format!("{number} is still to be asked about"));
    }
}

/// The events, read in order, end in the state of the row.
fn histories_fold(world: &World) {
    for payment in payments(world) {
        let number = &payment.payment_no;
        let events = world.database().events(number, 0, u32::MAX);
        let mut state: Option<String> = None;
        let mut refund_states: BTreeMap<String, String> = BTreeMap::new();
        for event in events.iter().filter(|event| event.decision == "moved") {
            let before = match &event.refund_no {
                None => state.replace(event.to.clone()),
                Some(refund_no) => refund_states.insert(refund_no.clone(), event.to.clone()),
            };
            if before != event.from {
                let (from, to) = (&event.from, &event.to);
                world.broken("I4", || {
                    format!("{number}: {before:?}, then {from:?} -> {to}")
                });
            }
        }
        if state.as_deref() != Some(payment.status.as_str()) {
            let row = payment.status;
            world.broken("I4", || {
                format!("{number}: events end in {state:?}, the row is {row}")
            });
        }
        for refund in world.database().refunds(number) {
            let last = refund_states.get(&refund.refund_no).map(String::as_str);
            if last != Some(refund.status.as_str()) {
                let (name, row) = (&refund.refund_no, refund.status);
                world.broken("I4", || {
                    format!("refund {name}: events end in {last:?}, row {row}")
                });
            }
        }
    }
}

fn charge_is_settled(world: &World, kind: ChannelKind, number: &str, order: &BookOrder) {
    let Some(charge) = &order.charge else {
        return;
    };
    let Some(payment) = world.database().payment_of_channel_order(kind, number) else {
        world.broken("I2", || {
            format!("order {number} was charged, and no payment knows it")
        });
        return;
    };
    let settled = matches!(
        payment.status,
        PaymentState::Paid | PaymentState::PartlyRefunded | PaymentState::Refunded
    );
    if !settled {
        world.broken("I2", || {
            let at = charge.at_ms;
            format!(
                "{} was charged after {at} ms and is {}",
                payment.payment_no, payment.status
            )
        });
    }
    if payment.refunded_minor != order.given_minor() {
        world.broken("I9", || {
            let (ours, theirs) = (payment.refunded_minor, order.given_minor());
            format!(
                "{}: {ours} given back by us, {theirs} by the channel",
                payment.payment_no
            )
        });
    }
    if order.given_or_going_minor() > charge.amount.minor {
        world.broken("I6", || {
            format!("order {number}: the channel gave back more than it took")
        });
    }
}

fn refunds_agree(world: &World, kind: ChannelKind, number: &str, order: &BookOrder) {
    for theirs in &order.refunds {
        let ours = world
            .database()
            .refund_of_channel_number(kind, &theirs.number);
        let Some(ours) = ours else {
            world.broken("I9", || {
                format!("order {number}: refund {} is not ours", theirs.number)
            });
            continue;
        };
        let agree = match theirs.state {
            AtChannel::Succeeded => ours.status == RefundState::Succeeded,
            AtChannel::Failed => matches!(ours.status, RefundState::Failed | RefundState::Reversed),
            AtChannel::NotFound | AtChannel::Processing | AtChannel::Abnormal => false,
        };
        if !agree || theirs.amount != ours.amount {
            world.broken("I9", || {
                format!(
                    "refund {}: {} here, {:?} there",
                    ours.refund_no, ours.status, theirs.state
                )
            });
        }
    }
}

fn charged_once(world: &World) {
    let mut charged: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for payment in payments(world) {
        let book = world.book(payment.channel);
        let order = book.order(&payment.channel_order_no);
        let charge = order.and_then(|order| order.charge.as_ref());
        if charge.is_some_and(|charge| !charge.despite_close) {
            charged
                .entry(payment.order_id)
                .or_default()
                .push(payment.payment_no);
        }
    }
    for (order, payments) in charged {
        if payments.len() > 1 {
            world.broken("I1", || {
                format!("order {order} was charged as {}", payments.join(" and "))
            });
        }
    }
}
