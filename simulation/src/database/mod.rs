//! The database of a world: what [`payment_runtime::ports::Records`] promises, in memory.
//!
//! Guarantees: each method is one transaction; unique keys are enforced as the schema has them;
//! what a transaction changed is handed to the invariants in [`Database::take_commits`]. Nothing
//! here decides about money: the pure functions of `payment_runtime::records` do, as they do for
//! MySQL. A test compares this database with the real one, operation by operation.

mod books;
mod inbox;
mod ledger;
mod payments;
mod refunds;
mod requests;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use payment_core::ChannelKind;
use payment_runtime::ports::StoreError;
use payment_runtime::records::{
    Event, NewEntry, NewEvent, NewInboxEntry, PaymentRecord, RefundRecord, RequestKey,
};

pub use books::{BillState, Done, KeptBill, KeptDifference, KeptRun};
pub use inbox::Kept;
pub use requests::Request;

/// A row that a worker may hold.
#[derive(Clone, Debug)]
pub struct Leased<T> {
    pub record: T,
    pub lease_until: Option<Timestamp>,
}

/// What one transaction changed.
#[derive(Clone, Debug)]
pub enum Commit {
    Payment {
        before: Option<Box<PaymentRecord>>,
        after: Box<PaymentRecord>,
    },
    Refund {
        before: Option<Box<RefundRecord>>,
        after: Box<RefundRecord>,
    },
    Event(Box<NewEvent>),
    Entry(Box<NewEntry>),
}

/// All tables.
#[derive(Debug, Default)]
pub struct Database {
    last_id: u64,
    payments: BTreeMap<u64, Leased<PaymentRecord>>,
    payment_numbers: BTreeMap<String, u64>,
    order_attempts: BTreeMap<String, Vec<u64>>,
    channel_orders: BTreeMap<(ChannelKind, String), u64>,
    refunds: BTreeMap<u64, Leased<RefundRecord>>,
    refund_numbers: BTreeMap<(String, String), u64>,
    channel_refunds: BTreeMap<(ChannelKind, String), u64>,
    events: Vec<Event>,
    events_of: BTreeMap<String, Vec<usize>>,
    entries: Vec<NewEntry>,
    entry_keys: BTreeMap<String, usize>,
    entries_of: BTreeMap<String, Vec<usize>>,
    lost: BTreeSet<String>,
    inbox: BTreeMap<u64, Kept>,
    inbox_keys: BTreeSet<(ChannelKind, String, String, i64)>,
    requests: BTreeMap<RequestKey, Request>,
    remembered: BTreeSet<String>,
    books: books::Tables,
    commits: Vec<Commit>,
}

impl Database {
    const fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// What was changed since this was asked last.
    pub fn take_commits(&mut self) -> Vec<Commit> {
        std::mem::take(&mut self.commits)
    }

    fn write_event(&mut self, event: &NewEvent) {
        let id = self.events.len() as u64 + 1;
        let lines = self.events_of.entry(event.payment_no.clone()).or_default();
        lines.push(self.events.len());
        self.events.push(Event {
            id,
            at: event.at,
            source: event.source.to_owned(),
            observation: event.observation.to_owned(),
            from: event.from.map(str::to_owned),
            to: event.to.to_owned(),
            decision: event.decision.to_owned(),
            transaction_id: event.transaction_id.clone(),
            refund_no: event.refund_no.clone(),
            detail: event.detail.clone(),
        });
        self.commits.push(Commit::Event(Box::new(event.clone())));
    }

    /// A payment's history, oldest first.
    pub fn events(&self, payment_no: &str, after: u64, limit: u32) -> Vec<Event> {
        let lines = self.events_of.get(payment_no).into_iter().flatten();
        lines
            .map(|line| &self.events[*line])
            .filter(|event| event.id > after)
            .take(limit as usize)
            .cloned()
            .collect()
    }

    /// Whether the cache saw this order before; it is remembered from now on.
    pub fn cache_remember(&mut self, order_id: &str) -> bool {
        !self.remembered.insert(order_id.to_owned())
    }

    /// The first moment, by the caller's clock, at which some queue has something to hand out.
    pub fn next_due(&self) -> Option<Timestamp> {
        let payments = self
            .payments
            .values()
            .filter_map(|row| due(row.record.next_question_at, row.lease_until));
        let refunds = self
            .refunds
            .values()
            .filter_map(|row| due(row.record.next_question_at, row.lease_until));
        let inbox = self.inbox.values().filter_map(|kept| kept.next_attempt_at);
        payments.chain(refunds).chain(inbox).min()
    }

    pub fn all_payments(&self) -> impl Iterator<Item = &Leased<PaymentRecord>> {
        self.payments.values()
    }

    pub fn all_refunds(&self) -> impl Iterator<Item = &Leased<RefundRecord>> {
        self.refunds.values()
    }

    pub fn all_kept(&self) -> impl Iterator<Item = &Kept> {
        self.inbox.values()
    }

    pub fn has_kept(&self, channel: ChannelKind, transaction_id: &str, event: &str) -> bool {
        let first = (
            channel,
            transaction_id.to_owned(),
            event.to_owned(),
            i64::MIN,
        );
        let last = (
            channel,
            transaction_id.to_owned(),
            event.to_owned(),
            i64::MAX,
        );
        self.inbox_keys.range(first..=last).next().is_some()
    }
}

fn due(next: Option<Timestamp>, lease: Option<Timestamp>) -> Option<Timestamp> {
    let next = next?;
    Some(lease.map_or(next, |lease| lease.max(next)))
}

fn vanished(what: &str) -> StoreError {
    StoreError::Unreadable {
        what: "nothing",
        value: what.to_owned(),
    }
}

fn key_of(new: &NewInboxEntry) -> (ChannelKind, String, String, i64) {
    (
        new.channel,
        new.transaction_id.clone(),
        new.event.clone(),
        new.seen.amount.minor,
    )
}
