//! Both databases side by side, and what came of an operation as comparable text.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};
use std::time::Duration;

use channels::Payer;
use jiff::Timestamp;
use payment_core::{Currency, Money, PayMethod};
use payment_runtime::batch::Batched;
use payment_runtime::ports::Records;
use payment_runtime::records::{
    Entry, Event, NewEntry, NewPayment, NewRequest, OpenCounts, PaymentRecord, RefundRecord,
    RequestKey, after,
};
use payment_runtime::store::Store;
use simulation::chance::Chance;
use simulation::database::Database;
use simulation::world::BEGINNING;

/// Both databases, and what is needed to name the same things in both.
pub(crate) struct Pair {
    pub(crate) model: Database,
    pub(crate) real: Store,
    /// The same database, written to as for many requests at once.
    batched: Batched,
    /// The payment recorded last, and the key of its request: an answer may come at once.
    pub(crate) latest: Option<(String, Option<RequestKey>)>,
    pub(crate) chance: Chance,
    clock_ms: u64,
    numbers: u64,
    pub(crate) payment_nos: Vec<String>,
    pub(crate) refund_nos: Vec<(String, String)>,
    /// Ids of kept callbacks: the model's and the real ones.
    pub(crate) kept: Vec<(u64, u64)>,
}

/// What an operation was, and its results in the model and in the real database.
pub(crate) type Compared = (String, String, String);

pub(crate) fn compared(what: impl Debug, model: &impl Debug, real: &impl Debug) -> Compared {
    (
        format!("{what:?}"),
        format!("{model:#?}"),
        format!("{real:#?}"),
    )
}

pub(crate) fn cny(minor: u64) -> Money {
    Money::new(i64::try_from(minor).unwrap(), Currency::CNY)
}

impl Pair {
    pub(crate) fn new(real: Store, chance: Chance) -> Self {
        Self {
            model: Database::default(),
            batched: Batched::new(real.clone()),
            latest: None,
            real,
            chance,
            clock_ms: 0,
            numbers: 0,
            payment_nos: Vec::new(),
            refund_nos: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// The real database, by either of the ways that lead to it.
    pub(crate) fn either_way(&mut self) -> &dyn Records {
        if self.chance.percent(60) {
            &self.batched
        } else {
            &self.real
        }
    }

    pub(crate) async fn close(self) {
        self.real.close().await;
    }

    /// A moment that no other has: the order of lists is then decided.
    pub(crate) fn now(&mut self) -> Timestamp {
        self.clock_ms += self.chance.between(1, 20_000);
        after(BEGINNING, Duration::from_millis(self.clock_ms))
    }

    pub(crate) fn soon(&mut self, now: Timestamp) -> Timestamp {
        self.numbers += 1;
        // Two questions never fall on the same millisecond.
        let pause = self.chance.between(0, 60) * 1000 + self.numbers % 1000;
        after(now, Duration::from_millis(pause))
    }

    pub(crate) fn number(&mut self) -> String {
        self.numbers += 1;
        format!("{:032x}", self.numbers)
    }

    pub(crate) fn known_payment(&mut self) -> String {
        if self.payment_nos.is_empty() || self.chance.percent(3) {
            return "pay_nobody".to_owned();
        }
        self.chance.pick(&self.payment_nos).clone()
    }

    pub(crate) fn known_refund(&mut self) -> (String, String) {
        if self.refund_nos.is_empty() || self.chance.percent(3) {
            return (self.known_payment(), "R-nothing".to_owned());
        }
        self.chance.pick(&self.refund_nos).clone()
    }

    pub(crate) fn order_id(&mut self) -> String {
        format!("O-{}", self.chance.below(12))
    }

    pub(crate) fn new_payment(&mut self, order_id: String) -> NewPayment {
        let (now, number) = (self.now(), self.number());
        let method = *self.chance.pick(&PayMethod::ALL);
        let minor = self.chance.between(1, 5_000);
        NewPayment {
            payment_no: format!("pay_{number}"),
            order_id,
            user_id: "U-1".to_owned(),
            method,
            channel_order_no: number,
            amount: cny(minor),
            subject: "An order, 一个订单".to_owned(),
            payer: Payer {
                id: self.chance.percent(30).then(|| "payer".to_owned()),
                client_ip: self.chance.percent(30).then(|| "203.0.113.7".to_owned()),
                return_url: None,
            },
            request_hash: format!("{:064x}", self.chance.below(3)),
            expires_at: after(now, Duration::from_mins(5)),
            next_question_at: self.soon(now),
            now,
        }
    }

    pub(crate) fn new_request(&mut self, now: Timestamp) -> NewRequest {
        NewRequest {
            key: self.key(),
            body_hash: format!("{:064x}", self.chance.below(2)),
            lease_until: after(now, self.chance.millis(0, 40_000)),
            now,
        }
    }

    pub(crate) fn key(&mut self) -> RequestKey {
        let scopes = ["POST /api/payments", "POST /api/payments/x/refunds"];
        RequestKey {
            scope: (*self.chance.pick(&scopes)).to_owned(),
            key: format!("key-{}", self.chance.below(10)),
        }
    }

    /// All tables of both, as text.
    pub(crate) async fn everything(&mut self) -> (String, String) {
        let (mut model, mut real) = (String::new(), String::new());
        for number in self.payment_nos.clone() {
            let ours = self.model.payment(&number).map(plain_payment);
            let theirs = self.real.payment(&number).await.unwrap().map(plain_payment);
            line(&mut model, &ours);
            line(&mut real, &theirs);
            let ours = self.model.events(&number, 0, 1000);
            let theirs = self.real.events(&number, 0, 1000).await.unwrap();
            line(&mut model, &plain_events(ours));
            line(&mut real, &plain_events(theirs));
            let ours = self.model.refunds(&number);
            let theirs = self.real.refunds(&number).await.unwrap();
            line(&mut model, &plain_refunds(ours));
            line(&mut real, &plain_refunds(theirs));
            for entry in self.model.entries_of(&number) {
                line(&mut model, &plain_new_entry(entry));
            }
            for entry in self
                .real
                .entries_of_payment(&number, 0, 1000)
                .await
                .unwrap()
            {
                line(&mut real, &plain_entry(&entry));
            }
        }
        (model, real)
    }
}

pub(crate) fn plain_payment(mut payment: PaymentRecord) -> PaymentRecord {
    payment.id = 0;
    payment
}

pub(crate) fn plain_payments(payments: Vec<PaymentRecord>) -> Vec<PaymentRecord> {
    payments.into_iter().map(plain_payment).collect()
}

pub(crate) fn plain_refund(mut refund: RefundRecord) -> RefundRecord {
    refund.id = 0;
    refund
}

pub(crate) fn plain_refunds(refunds: Vec<RefundRecord>) -> Vec<RefundRecord> {
    refunds.into_iter().map(plain_refund).collect()
}

/// An entry as text: everything but what the database gives.
fn plain_new_entry(new: &NewEntry) -> String {
    let NewEntry {
        entry_key,
        payment_no,
        refund_no,
        channel,
        debit,
        credit,
        amount,
        ..
    } = new;
    format!(
        "{entry_key} {payment_no:?} {refund_no:?} {channel} {debit} {credit} {} {} {} {} {} {} \
         {:?} {} {}",
        amount.minor,
        amount.currency.code(),
        new.day,
        new.cause,
        new.source,
        new.actor,
        new.rule,
        new.reference,
        new.recorded_at
    )
}

fn plain_entry(entry: &Entry) -> String {
    let Entry {
        entry_key,
        payment_no,
        refund_no,
        channel,
        debit,
        credit,
        ..
    } = entry;
    format!(
        "{entry_key} {payment_no:?} {refund_no:?} {channel} {debit} {credit} {} {} {} {} {} {} \
         {:?} {} {}",
        entry.amount_minor,
        entry.currency,
        entry.day,
        entry.cause,
        entry.source,
        entry.actor,
        entry.rule,
        entry.reference,
        entry.recorded_at
    )
}

pub(crate) fn plain_events(mut events: Vec<Event>) -> Vec<Event> {
    for event in &mut events {
        event.id = 0;
    }
    events
}

pub(crate) fn plain_counts(counts: &OpenCounts) -> String {
    let payments: BTreeMap<&str, u64> = counts
        .payments
        .iter()
        .map(|(state, n)| (state.as_str(), *n))
        .collect();
    let refunds: BTreeMap<&str, u64> = counts
        .refunds
        .iter()
        .map(|(state, n)| (state.as_str(), *n))
        .collect();
    format!(
        "{payments:?} {refunds:?} {}",
        counts.refunds_needing_attention
    )
}

/// Whether it went well; why it did not may be said in other words.
pub(crate) fn fate<T: Debug, E>(result: Result<T, E>) -> Option<T> {
    result.ok()
}

fn line(text: &mut String, value: &impl Debug) {
    // Writing into a String cannot fail.
    let _ = writeln!(text, "{value:?}");
}
