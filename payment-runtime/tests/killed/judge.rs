//! The judge: the channels' own books against the database and against what clients were told.
//!
//! It knows the tables and the names of states, and nothing of the code that filled them: the
//! transition table it holds the histories against is written down here a second time.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sqlx::MySqlConnection;

use crate::front::{self, Callback};
use crate::world::World;

/// A charge or an order that waits for its payer, as the channel has it.
#[derive(Debug)]
struct Charge {
    paid: bool,
    amount_minor: i64,
}

#[derive(Debug)]
struct BookRefund {
    order: String,
    amount_minor: i64,
    state: String,
}

#[derive(Debug, sqlx::FromRow)]
struct PaymentRow {
    payment_no: String,
    business_no: String,
    attempt: u32,
    payment_channel: String,
    channel_order_no: String,
    amount: i64,
    status: String,
    given_up: bool,
    reserved_minor: i64,
    refunded_minor: i64,
}

#[derive(Debug, sqlx::FromRow)]
struct RefundRow {
    payment_no: String,
    refund_no: String,
    channel_refund_no: String,
    amount: i64,
    status: String,
}

#[derive(Debug, sqlx::FromRow)]
struct Event {
    payment_no: String,
    source: String,
    observation: String,
    from_status: Option<String>,
    to_status: String,
    decision: String,
    refund_no: Option<String>,
}

/// Payments that we have given up although the channel would still take money for them. Only
/// before time is made to pass: an expired order counts as unpaid in the book for a while.
pub(crate) async fn given_up_too_early(
    world: &World,
    database: &mut MySqlConnection,
) -> Vec<String> {
    let over: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT payment_channel, channel_order_no, status FROM payment_records \
         WHERE status IN ('FAILED', 'CLOSED')",
    )
    .fetch_all(database)
    .await
    .unwrap();
    let mut payable = BTreeSet::new();
    for channel in ["wechat", "alipay"] {
        let book = world.book(channel).await;
        let charges = book["charges"].as_array().unwrap();
        let unpaid = charges.iter().filter(|charge| charge["state"] == "UNPAID");
        payable.extend(unpaid.map(|charge| (channel.to_owned(), text(charge, "outTradeNo"))));
    }
    over.into_iter()
        .filter(|(channel, number, _)| payable.contains(&(channel.clone(), number.clone())))
        .map(|payment| format!("I2: {payment:?} can still be paid"))
        .collect()
}

/// Both sides as they are at the end.
pub(crate) struct Case {
    charges: BTreeMap<(String, String), Charge>,
    given: BTreeMap<(String, String), BookRefund>,
    payments: Vec<PaymentRow>,
    refunds: Vec<RefundRow>,
    events: Vec<Event>,
    inbox: BTreeSet<Callback>,
    inbox_outcomes: BTreeMap<String, i64>,
    unfinished_keys: i64,
}

const CHARGED: [&str; 3] = ["PAID", "PARTLY_REFUNDED", "REFUNDED"];

/// Every move that a payment may make.
const MOVES: [(&str, &str); 20] = [
    ("SUBMITTING", "PENDING"),
    ("SUBMITTING", "UNKNOWN"),
    ("SUBMITTING", "PAID"),
    ("SUBMITTING", "FAILED"),
    ("SUBMITTING", "CLOSED"),
    ("UNKNOWN", "PENDING"),
    ("UNKNOWN", "PAID"),
    ("UNKNOWN", "FAILED"),
    ("UNKNOWN", "CLOSED"),
    ("PENDING", "PAID"),
    ("PENDING", "CLOSED"),
    ("CLOSED", "PAID_AFTER_CLOSE"),
    ("FAILED", "PAID_AFTER_CLOSE"),
    ("PAID_AFTER_CLOSE", "REFUNDED"),
    ("PAID", "PARTLY_REFUNDED"),
    ("PAID", "REFUNDED"),
    ("PARTLY_REFUNDED", "REFUNDED"),
    // A refund that the channel undid.
    ("REFUNDED", "PARTLY_REFUNDED"),
    ("REFUNDED", "PAID"),
    ("PARTLY_REFUNDED", "PAID"),
];

/// Every move that a refund may make.
const REFUND_MOVES: [(&str, &str); 14] = [
    ("CREATED", "SUBMITTING"),
    ("SUBMITTING", "PENDING"),
    ("SUBMITTING", "UNKNOWN"),
    ("SUBMITTING", "SUCCEEDED"),
    ("SUBMITTING", "FAILED"),
    ("PENDING", "SUCCEEDED"),
    ("PENDING", "FAILED"),
    ("UNKNOWN", "SUBMITTING"),
    ("UNKNOWN", "PENDING"),
    ("UNKNOWN", "SUCCEEDED"),
    ("UNKNOWN", "FAILED"),
    ("FAILED", "SUCCEEDED"),
    ("SUCCEEDED", "REVERSED"),
    ("CREATED", "SUCCEEDED"),
];

impl Case {
    pub(crate) async fn read(world: &World, database: &mut MySqlConnection) -> Self {
        let (mut charges, mut given) = (BTreeMap::new(), BTreeMap::new());
        for channel in ["wechat", "alipay"] {
            let book = world.book(channel).await;
            for line in book["charges"].as_array().unwrap() {
                let charge = Charge {
                    paid: line["state"] == "PAID",
                    amount_minor: line["amountMinor"].as_i64().unwrap(),
                };
                charges.insert((channel.to_owned(), text(line, "outTradeNo")), charge);
            }
            for line in book["refunds"].as_array().unwrap() {
                let refund = BookRefund {
                    order: text(line, "outTradeNo"),
                    amount_minor: line["amountMinor"].as_i64().unwrap(),
                    state: text(line, "state"),
                };
                let number = text(line, "outRefundNo");
                let double = given.insert((channel.to_owned(), number), refund);
                assert!(double.is_none(), "a refund number stands twice in the book");
            }
        }
        let payments = sqlx::query_as("SELECT * FROM payment_records ORDER BY id");
        let refunds = sqlx::query_as("SELECT * FROM payment_refunds ORDER BY id");
        let events = sqlx::query_as("SELECT * FROM payment_events ORDER BY id");
        let bodies: Vec<(String, Vec<u8>, Option<String>)> =
            sqlx::query_as("SELECT payment_channel, body, outcome FROM callback_inbox")
                .fetch_all(&mut *database)
                .await
                .unwrap();
        let (unfinished_keys,) =
            sqlx::query_as("SELECT COUNT(*) FROM idempotency_keys WHERE id NOT IN (SELECT key_id FROM idempotency_answers)")
                .fetch_one(&mut *database)
                .await
                .unwrap();
        let mut inbox_outcomes = BTreeMap::new();
        for (_, _, outcome) in &bodies {
            let outcome = outcome.clone().unwrap_or_default();
            *inbox_outcomes.entry(outcome).or_default() += 1;
        }
        Self {
            charges,
            given,
            payments: payments.fetch_all(&mut *database).await.unwrap(),
            refunds: refunds.fetch_all(&mut *database).await.unwrap(),
            events: events.fetch_all(&mut *database).await.unwrap(),
            inbox: bodies
                .iter()
                .filter_map(|(channel, body, _)| front::stored(channel, body))
                .collect(),
            inbox_outcomes,
            unfinished_keys,
        }
    }

    /// Every breach of an invariant.
    pub(crate) fn breaches(&self, world: &World, acknowledged: &BTreeSet<Callback>) -> Vec<String> {
        let mut found = world.breaches();
        self.one_payment_for_each_order(world, &mut found);
        self.every_charge_is_ours(&mut found);
        self.charged_once(&mut found);
        self.histories(&mut found);
        self.refunds_agree(&mut found);
        self.inbox_is_whole(acknowledged, &mut found);
        found
    }

    /// Clients were told of no payment that is not there, and of one for each attempt at most.
    fn one_payment_for_each_order(&self, world: &World, found: &mut Vec<String>) {
        let mut ours: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for payment in &self.payments {
            let of_order = ours.entry(&payment.business_no).or_default();
            of_order.insert(&payment.payment_no);
        }
        for (order, told) in world.told() {
            let known = ours.get(order.as_str());
            for id in told {
                if !known.is_some_and(|known| known.contains(id.as_str())) {
                    found.push(format!(
                        "order {order}: a client was told of {id}, which is lost"
                    ));
                }
            }
        }
    }

    /// I1, I2: every charge in the channel's own book is a payment here that says so, and the
    /// other way round.
    fn every_charge_is_ours(&self, found: &mut Vec<String>) {
        let mut ours: BTreeMap<(&str, &str), &PaymentRow> = BTreeMap::new();
        for payment in &self.payments {
            ours.insert(
                (&payment.payment_channel, &payment.channel_order_no),
                payment,
            );
        }
        for ((channel, number), charge) in &self.charges {
            let Some(payment) = ours.remove(&(channel.as_str(), number.as_str())) else {
                found.push(format!(
                    "I1: {channel} was asked for {number}, which is not ours"
                ));
                continue;
            };
            let charged = CHARGED.contains(&payment.status.as_str());
            if charge.paid != charged {
                found.push(format!("I2: the book has {charge:?}, we have {payment:?}"));
            }
            if charge.amount_minor != payment.amount {
                found.push(format!("I5: the book has {charge:?}, we have {payment:?}"));
            }
        }
        for payment in ours.values() {
            if CHARGED.contains(&payment.status.as_str()) {
                found.push(format!("I2: the book has no charge for {payment:?}"));
            }
        }
    }

    /// I1: of all attempts of an order one may keep its money; what came too late went back.
    fn charged_once(&self, found: &mut Vec<String>) {
        let mut kept: BTreeMap<&str, Vec<&PaymentRow>> = BTreeMap::new();
        for payment in &self.payments {
            if CHARGED.contains(&payment.status.as_str()) && !payment.given_up {
                kept.entry(&payment.business_no).or_default().push(payment);
            }
        }
        for (order, payments) in kept.iter().filter(|(_, payments)| payments.len() > 1) {
            found.push(format!(
                "I1: order {order} was charged twice: {payments:#?}"
            ));
        }
    }

    /// I3, I4, I10: each history is a walk along the table that ends where the row is; who is
    /// charged has a channel's evidence.
    fn histories(&self, found: &mut Vec<String>) {
        let mut of_payment: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
        let mut of_refund: BTreeMap<(&str, &str), Vec<&Event>> = BTreeMap::new();
        for event in &self.events {
            let payment = event.payment_no.as_str();
            match &event.refund_no {
                None => of_payment.entry(payment).or_default().push(event),
                Some(number) => of_refund.entry((payment, number)).or_default().push(event),
            }
        }
        for payment in &self.payments {
            let events = of_payment
                .remove(payment.payment_no.as_str())
                .unwrap_or_default();
            if let Err(why) = walk(&events, &MOVES, &["SUBMITTING"], &payment.status) {
                found.push(format!("I4: {why}: {payment:?} {events:#?}"));
            }
            let evidence = |event: &&Event| {
                let verified = ["query", "callback", "bill"].contains(&event.source.as_str());
                verified && event.observation == "paid" && event.decision == "moved"
            };
            let charged = CHARGED.contains(&payment.status.as_str());
            let proofs = events.iter().filter(|event| evidence(event)).count();
            if charged && proofs != 1 {
                found.push(format!("I3: {proofs} proofs of {payment:?}: {events:#?}"));
            }
        }
        for refund in &self.refunds {
            let key = (refund.payment_no.as_str(), refund.refund_no.as_str());
            let events = of_refund.remove(&key).unwrap_or_default();
            let starts = ["CREATED", "SUBMITTING"];
            if let Err(why) = walk(&events, &REFUND_MOVES, &starts, &refund.status) {
                found.push(format!("I4: {why}: {refund:?} {events:#?}"));
            }
        }
        let strays = of_payment.len() + of_refund.len();
        if strays > 0 {
            found.push(format!("I10: {strays} histories belong to nothing"));
        }
    }

    /// I5, I6: what was given back is the same on both sides, and never more than was paid.
    fn refunds_agree(&self, found: &mut Vec<String>) {
        let payments: BTreeMap<&str, &PaymentRow> = self
            .payments
            .iter()
            .map(|payment| (payment.payment_no.as_str(), payment))
            .collect();
        let mut book: BTreeMap<(&str, &str), &BookRefund> = self
            .given
            .iter()
            .map(|((channel, number), refund)| ((channel.as_str(), number.as_str()), refund))
            .collect();
        let (mut given, mut held) = (BTreeMap::new(), BTreeMap::new());
        for refund in &self.refunds {
            let payment = payments[refund.payment_no.as_str()];
            let number = (
                payment.payment_channel.as_str(),
                refund.channel_refund_no.as_str(),
            );
            let theirs = book.remove(&number);
            let succeeded = refund.status == "SUCCEEDED";
            let at_channel = theirs.is_some_and(|theirs| theirs.state == "SUCCESS");
            let same = theirs.is_none_or(|theirs| {
                theirs.amount_minor == refund.amount && theirs.order == payment.channel_order_no
            });
            if succeeded != at_channel || !same {
                found.push(format!("I6: the book has {theirs:?}, we have {refund:?}"));
            }
            let holds = !matches!(refund.status.as_str(), "FAILED" | "REVERSED");
            for (sums, counts) in [(&mut given, succeeded), (&mut held, holds)] {
                let sum: &mut i64 = sums.entry(refund.payment_no.as_str()).or_default();
                *sum += if counts { refund.amount } else { 0 };
            }
        }
        for (number, refund) in book {
            found.push(format!(
                "I6: the book has {number:?} {refund:?}, we have nothing"
            ));
        }
        for payment in &self.payments {
            let of = |sums: &BTreeMap<&str, i64>| {
                sums.get(payment.payment_no.as_str()).copied().unwrap_or(0)
            };
            let (given, held) = (of(&given), of(&held));
            let sums_agree = given == payment.refunded_minor && held == payment.reserved_minor;
            let state = match payment.status.as_str() {
                "REFUNDED" => given == payment.amount,
                "PARTLY_REFUNDED" => given > 0 && given < payment.amount,
                _ => given == 0,
            };
            if !sums_agree || !state || held > payment.amount {
                found.push(format!("I6: given {given}, held {held}: {payment:?}"));
            }
        }
    }

    /// What was acknowledged to a channel is here, and all of it belonged to something.
    fn inbox_is_whole(&self, acknowledged: &BTreeSet<Callback>, found: &mut Vec<String>) {
        for callback in acknowledged.difference(&self.inbox) {
            found.push(format!(
                "an acknowledged callback is not in the inbox: {callback:?}"
            ));
        }
        for outcome in [
            "",
            "waiting-for-payment",
            "no-such-payment",
            "no-such-refund",
        ] {
            if let Some(count) = self.inbox_outcomes.get(outcome) {
                found.push(format!("{count} callbacks ended as {outcome:?}"));
            }
        }
    }

    /// One line of what the run was.
    pub(crate) fn summary(&self) -> String {
        let mut states: BTreeMap<&str, usize> = BTreeMap::new();
        for payment in &self.payments {
            *states.entry(payment.status.as_str()).or_default() += 1;
        }
        let mut refunds: BTreeMap<&str, usize> = BTreeMap::new();
        for refund in &self.refunds {
            *refunds.entry(refund.status.as_str()).or_default() += 1;
        }
        let moved = |to: &str| {
            let of_payments = self.events.iter().filter(|event| event.refund_no.is_none());
            of_payments
                .filter(|event| event.decision == "moved" && event.to_status == to)
                .count()
        };
        format!(
            "payments {} {states:?}, attempts after the first {}, once unknown {}, paid after \
             close {}; charges {}; refunds {} {refunds:?}; callbacks {} {:?}; keys without an \
             answer {}",
            self.payments.len(),
            self.payments
                .iter()
                .filter(|payment| payment.attempt > 1)
                .count(),
            moved("UNKNOWN"),
            moved("PAID_AFTER_CLOSE"),
            self.charges.values().filter(|charge| charge.paid).count(),
            self.refunds.len(),
            self.inbox.len(),
            self.inbox_outcomes,
            self.unfinished_keys,
        )
    }
}

/// Follows a history; why it is none.
fn walk(
    events: &[&Event],
    moves: &[(&str, &str)],
    starts: &[&str],
    end: &str,
) -> Result<(), String> {
    let mut at: Option<&str> = None;
    for event in events {
        let (from, to) = (event.from_status.as_deref(), event.to_status.as_str());
        if from != at {
            return Err(format!("an event begins at {from:?} instead of {at:?}"));
        }
        let allowed = match from {
            None => starts.contains(&to),
            Some(from) if event.decision == "moved" => moves.contains(&(from, to)),
            Some(from) => from == to,
        };
        if !allowed {
            return Err(format!("{from:?} → {to} as {:?}", event.decision));
        }
        at = Some(to);
    }
    if at == Some(end) {
        Ok(())
    } else {
        Err(format!("the history ends at {at:?}, the row is {end}"))
    }
}

fn text(line: &Value, key: &str) -> String {
    line[key].as_str().unwrap().to_owned()
}
