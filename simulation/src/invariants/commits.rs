//! What is checked at every commit, before anything else happens.

use channels::RefundState as AtChannel;
use payment_core::{PaymentState, RefundState};
use payment_runtime::records::{NewEvent, PaymentRecord, RefundRecord};

use super::{holds_canary, ledger, moves};
use crate::database::Commit;
use crate::process::Life;
use crate::world::World;

/// Looks at what one transaction changed.
pub fn look(world: &World, life: &Life, commits: &[Commit]) {
    let events: Vec<&NewEvent> = commits
        .iter()
        .filter_map(|commit| match commit {
            Commit::Event(event) => Some(&**event),
            Commit::Payment { .. } | Commit::Refund { .. } | Commit::Entry(_) => None,
        })
        .collect();
    for commit in commits {
        match commit {
            Commit::Payment { before, after } => {
                payment(world, life, before.as_deref(), after, &events);
                ledger::of_payment(world, after);
            }
            Commit::Refund { before, after } => {
                refund(world, life, before.as_deref(), after, &events);
            }
            Commit::Event(event) => event_is_clean(world, event),
            Commit::Entry(entry) => ledger::entry(world, entry),
        }
    }
}

fn event_is_clean(world: &World, event: &NewEvent) {
    world.mark(event.to.as_bytes());
    if holds_canary(&event.detail) {
        world.broken("I13", || {
            format!("event {} says {:?}", event.observation, event.detail)
        });
    }
    if event.decision != "moved" && event.decision != "kept" {
        world.say("database", || {
            let about = about(event);
            format!(
                "{about}: {} of {} not believed, {}",
                event.observation, event.source, event.decision
            )
        });
    }
}

fn about(event: &NewEvent) -> String {
    match &event.refund_no {
        Some(refund_no) => format!("refund {refund_no} of {}", event.payment_no),
        None => event.payment_no.clone(),
    }
}

fn payment(
    world: &World,
    life: &Life,
    before: Option<&PaymentRecord>,
    after: &PaymentRecord,
    events: &[&NewEvent],
) {
    let from = before.map(|payment| payment.status);
    if from != Some(after.status) {
        moved(world, life, from, after, events);
    }
    if before.is_none() {
        begun(world, after);
    }
    let sums_hold = 0 <= after.refunded_minor
        && after.refunded_minor <= after.reserved.minor
        && after.reserved.minor <= after.amount.minor;
    if !sums_hold {
        world.broken("I6", || {
            let (paid, reserved) = (after.amount.minor, after.reserved.minor);
            format!(
                "{}: {} given back, {reserved} spoken for, of {paid}",
                after.payment_no, after.refunded_minor
            )
        });
    }
}

fn moved(
    world: &World,
    life: &Life,
    from: Option<PaymentState>,
    after: &PaymentRecord,
    events: &[&NewEvent],
) {
    let (number, to) = (&after.payment_no, after.status);
    let from_name = from.map(PaymentState::as_str);
    let event = events.iter().find(|event| {
        event.refund_no.is_none()
            && event.payment_no == *number
            && event.from == from_name
            && event.to == to.as_str()
            && event.decision == "moved"
    });
    let Some(event) = event else {
        world.broken("I4", || format!("{number} became {to} without an event"));
        return;
    };
    world.say(life.name, || {
        let was = from_name.unwrap_or("nothing");
        let why = format!("{} by {}", event.observation, event.source);
        format!(
            "payment {number} of {}: {was} -> {to} ({why})",
            after.order_id
        )
    });
    if !moves::payment_may(from_name, to.as_str(), event.source, event.observation) {
        world.broken("I4", || {
            let was = from_name.unwrap_or("nothing");
            let (what, who) = (event.observation, event.source);
            format!("{number}: {was} -> {to} because of {what} by {who}")
        });
    }
    let was_charged = from.is_some_and(PaymentState::was_charged);
    if to.was_charged() && !was_charged {
        charged(world, after);
    }
    if matches!(to, PaymentState::Failed | PaymentState::Closed) {
        given_up(world, after, event);
    }
}

fn charged(world: &World, payment: &PaymentRecord) {
    let book = world.book(payment.channel);
    let order = book.order(&payment.channel_order_no);
    let charge = order.and_then(|order| order.charge.as_ref());
    let shown = charge.is_some_and(|charge| charge.amount == payment.amount);
    drop(book);
    if !shown {
        world.broken("I3", || {
            let (number, state) = (&payment.payment_no, payment.status);
            format!("{number} is {state}, and the channel charged nothing of that amount")
        });
    }
}

fn given_up(world: &World, payment: &PaymentRecord, event: &NewEvent) {
    let now_ms = world.elapsed_ms();
    let (book, state) = (world.book(payment.channel), payment.status);
    let Some(order) = book.order(&payment.channel_order_no).cloned() else {
        return;
    };
    drop(book);
    let asked_after_close = match (order.close_confirmed_at_ms, order.seen_unpaid_at_ms) {
        (Some(closed), Some(seen)) => closed <= seen,
        (Some(_), None) => false,
        (None, _) => true,
    };
    let proven = asked_after_close || order.seen_closed;
    if event.source == "query" && event.observation == "closed" && !proven {
        world.broken("I7", || format!("{} is {state}", payment.payment_no));
    }
    if order.can_be_charged(now_ms) {
        world.broken("I5", || {
            let number = &payment.payment_no;
            let left = order.payable_until_ms.saturating_sub(now_ms);
            format!("{number} is {state}, and a payer has {left} ms left to pay it")
        });
    }
}

fn begun(world: &World, payment: &PaymentRecord) {
    world.tally().payments += 1;
    let attempts = world.database().payments_of_order(&payment.order_id);
    let same = attempts
        .iter()
        .filter(|other| other.attempt == payment.attempt);
    if same.count() > 1 {
        let (order, attempt) = (&payment.order_id, payment.attempt);
        world.broken("I15", || {
            format!("{order} has two payments of attempt {attempt}")
        });
    }
    let mut before = attempts
        .iter()
        .filter(|other| other.attempt + 1 == payment.attempt);
    let unproven =
        before.find(|other| !matches!(other.status, PaymentState::Failed | PaymentState::Closed));
    if let Some(other) = unproven {
        let (order, state) = (&payment.order_id, other.status);
        world.broken("I10", || {
            format!("{order} was tried again while the payment is {state}")
        });
    }
}

fn refund(
    world: &World,
    life: &Life,
    before: Option<&RefundRecord>,
    after: &RefundRecord,
    events: &[&NewEvent],
) {
    let from = before.map(|refund| refund.status);
    if from == Some(after.status) {
        return;
    }
    let (number, to) = (&after.refund_no, after.status);
    let from_name = from.map(RefundState::as_str);
    let event = events.iter().find(|event| {
        event.refund_no.as_ref() == Some(number)
            && event.payment_no == after.payment_no
            && event.from == from_name
            && event.to == to.as_str()
            && event.decision == "moved"
    });
    let Some(event) = event else {
        world.broken("I4", || {
            format!("refund {number} became {to} without an event")
        });
        return;
    };
    world.say(life.name, || {
        let was = from_name.unwrap_or("nothing");
        let why = format!("{} by {}", event.observation, event.source);
        let (amount, payment) = (after.amount, &after.payment_no);
        format!("refund {number} of {amount} of {payment}: {was} -> {to} ({why})")
    });
    if !moves::refund_may(from_name, to.as_str(), event.source, event.observation) {
        world.broken("I4", || {
            let was = from_name.unwrap_or("nothing");
            let (what, who) = (event.observation, event.source);
            format!("refund {number}: {was} -> {to} because of {what} by {who}")
        });
    }
    if to == RefundState::Succeeded {
        given_back(world, after);
    }
}

fn given_back(world: &World, refund: &RefundRecord) {
    let book = world.book(refund.channel);
    let found = book.book_refund(&refund.channel_order_no, &refund.channel_refund_no);
    let agrees = found
        .is_some_and(|found| found.state == AtChannel::Succeeded && found.amount == refund.amount);
    drop(book);
    if !agrees {
        world.broken("I3", || {
            format!(
                "refund {} is SUCCEEDED, and the channel gave nothing back",
                refund.refund_no
            )
        });
    }
}
