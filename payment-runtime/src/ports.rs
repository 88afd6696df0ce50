//! What the payment logic needs of the world: records, channels, a cache, a clock and chance.
//!
//! Guarantees: everything that can fail, take time or differ between two runs comes in through one
//! of these traits, so the same logic runs against MySQL and the real channels, and, step by step
//! in virtual time, against the simulation's.
//!
//! Deliberately not here: any implementation ([`crate::store`], [`crate::cache`],
//! [`crate::outside`]).

use async_trait::async_trait;
use channels::{
    CallbackError, Closed, Created, NewOrder, NewRefund as RefundOrder, Notice, OrderStatus,
    Outcome, RefundStatus,
};
use jiff::Timestamp;
use payment_core::ChannelKind;
use std::sync::Arc;

use crate::records::{
    Applied, AppliedRefund, AttemptInserted, Begun, Change, Event, Finish, InboxEntry, Inserted,
    Left, NewInboxEntry, NewPayment, NewRefund, NewRequest, NextLook, OpenCounts, Page,
    PaymentRecord, RefundChange, RefundRecord, RequestKey, ReservedRefund, StoredAnswer,
};

/// Why the records did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Whether the change happened is not known.
    #[error("the database did not answer as expected")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the database holds {what} that this version cannot read: {value}")]
    Unreadable { what: &'static str, value: String },
}

/// The records of payments, refunds, callbacks and requests. Each method is one transaction: it
/// happens whole or not at all, and what it returned `Ok` for survives any crash.
#[async_trait]
pub trait Records: Send + Sync {
    /// One round trip.
    async fn ping(&self) -> Result<(), StoreError>;

    /// The records' own clock: a second witness where this process's would be part of a proof.
    async fn now(&self) -> Result<Timestamp, StoreError>;

    /// Records a payment in SUBMITTING as the first attempt of its order and, in the same
    /// transaction, the request under whose key it came. The unique keys decide, so any number of
    /// callers at once get the same payment.
    async fn insert(
        &self,
        new: &NewPayment,
        request: Option<&NewRequest>,
    ) -> Result<Inserted, StoreError>;

    /// Records another attempt for the order of payment `previous`, which must be the latest
    /// attempt and proven not to have been charged; both are checked under its lock.
    async fn insert_attempt(
        &self,
        previous: &str,
        new: &NewPayment,
    ) -> Result<AttemptInserted, StoreError>;

    async fn payment(&self, payment_no: &str) -> Result<Option<PaymentRecord>, StoreError>;

    /// The latest attempt of an order.
    async fn payment_of_order(&self, order_id: &str) -> Result<Option<PaymentRecord>, StoreError>;

    /// Every attempt of an order, latest first.
    async fn payments_of_order(&self, order_id: &str) -> Result<Vec<PaymentRecord>, StoreError>;

    async fn payment_of_channel_order(
        &self,
        channel: ChannelKind,
        channel_order_no: &str,
    ) -> Result<Option<PaymentRecord>, StoreError>;

    /// Payments newest first, `limit` of them, continuing below the id `before`.
    async fn payments(&self, before: Option<u64>, limit: u32) -> Result<Page, StoreError>;

    /// A payment's history, oldest first, at most `limit` lines after the id `after`.
    async fn events(
        &self,
        payment_no: &str,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError>;

    /// Locks the payment, decides, and writes what was decided together with its evidence, the
    /// ledger entries it makes and, if asked to, the answer to the request that waits for it.
    async fn apply(
        &self,
        payment_no: &str,
        change: &Change,
        finish: Option<&Finish<'_>>,
    ) -> Result<Applied, StoreError>;

    /// Takes a payment that was charged after we had given it up as paid after all. `None`: it is
    /// not in that state, or the order has a later attempt.
    async fn reopen(
        &self,
        payment_no: &str,
        now: Timestamp,
    ) -> Result<Option<PaymentRecord>, StoreError>;

    /// Takes up to `limit` payments whose question is due, for `lease_seconds`. Other workers skip
    /// what is taken; what a dead worker took comes back when its lease ends.
    async fn claim_due(
        &self,
        now: Timestamp,
        lease_seconds: u64,
        limit: u32,
    ) -> Result<Vec<PaymentRecord>, StoreError>;

    /// Ends a worker's hold and says when the payment is looked at next.
    async fn release(&self, payment_no: &str, next: NextLook) -> Result<(), StoreError>;

    /// How many payments and refunds are in each state that somebody must still end.
    async fn open_counts(&self) -> Result<OpenCounts, StoreError>;

    /// Records a refund and reserves its amount, under the payment's lock.
    async fn reserve_refund(&self, new: &NewRefund) -> Result<ReservedRefund, StoreError>;

    async fn refund(
        &self,
        payment_no: &str,
        refund_no: &str,
    ) -> Result<Option<RefundRecord>, StoreError>;

    /// A payment's refunds, oldest first; [`payment_core::refund::REFUNDS_MAX`] at most.
    async fn refunds(&self, payment_no: &str) -> Result<Vec<RefundRecord>, StoreError>;

    async fn refund_of_channel_number(
        &self,
        channel: ChannelKind,
        channel_refund_no: &str,
    ) -> Result<Option<RefundRecord>, StoreError>;

    /// Locks the payment and its refund, decides, and writes both with the evidence and the
    /// ledger entries it makes.
    async fn apply_refund(
        &self,
        payment_no: &str,
        refund_no: &str,
        change: &RefundChange,
    ) -> Result<AppliedRefund, StoreError>;

    /// As [`Records::claim_due`], for refunds.
    async fn claim_due_refunds(
        &self,
        now: Timestamp,
        lease_seconds: u64,
        limit: u32,
    ) -> Result<Vec<RefundRecord>, StoreError>;

    /// As [`Records::release`], for refunds.
    async fn release_refund(
        &self,
        payment_no: &str,
        refund_no: &str,
        next_question_at: Timestamp,
    ) -> Result<(), StoreError>;

    /// Keeps a callback. `None`: it is here already, which is as good. A worker takes it up at
    /// `retry_at` unless the caller has settled it by then.
    async fn keep_callback(
        &self,
        new: &NewInboxEntry,
        retry_at: Timestamp,
    ) -> Result<Option<u64>, StoreError>;

    /// Takes up to `limit` callbacks that are due; they are due again at `again_at` unless they
    /// are settled before.
    async fn claim_callbacks(
        &self,
        now: Timestamp,
        again_at: Timestamp,
        limit: u32,
    ) -> Result<Vec<InboxEntry>, StoreError>;

    /// Says how a callback ended, or when it is tried again.
    async fn settle_callback(
        &self,
        id: u64,
        outcome: &str,
        again_at: Option<Timestamp>,
    ) -> Result<(), StoreError>;

    /// Takes the key for the caller, or says who has it. A request whose lease ended belongs to a
    /// process that died: the caller takes it over.
    async fn begin_request(&self, new: &NewRequest) -> Result<Begun, StoreError>;

    /// Stores the answer under the key and returns the one that stands: a process that was taken
    /// over must send what the other one stored. From now on every repeat gets these bytes.
    async fn finish_request(
        &self,
        key: &RequestKey,
        answer: &StoredAnswer,
    ) -> Result<StoredAnswer, StoreError>;

    /// Gives the key back without an answer: the request did not come to a final end.
    async fn give_up_request(
        &self,
        key: &RequestKey,
        left: Left,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Forgets keys older than `before`, at most `limit`; returns how many.
    async fn purge_requests(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError>;
}

/// One pay channel, as [`channels::Channel`] gives it.
#[async_trait]
pub trait PayChannel: Send + Sync {
    fn kind(&self) -> ChannelKind;
    async fn create(&self, order: &NewOrder, now: Timestamp) -> Outcome<Created>;
    async fn query(&self, channel_order_no: &str, now: Timestamp) -> Outcome<OrderStatus>;
    async fn close(&self, channel_order_no: &str, now: Timestamp) -> Outcome<Closed>;
    async fn refund(&self, refund: &RefundOrder, now: Timestamp) -> Outcome<RefundStatus>;
    async fn query_refund(
        &self,
        channel_order_no: &str,
        channel_refund_no: &str,
        now: Timestamp,
    ) -> Outcome<RefundStatus>;
    fn verify_callback(
        &self,
        headers: &dyn Fn(&str) -> Option<String>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Notice, CallbackError>;
}

/// The configured channels.
pub trait PayChannels: Send + Sync {
    /// The channel of that kind, if it is configured. Keep it for one operation, not longer.
    fn get(&self, kind: ChannelKind) -> Option<Arc<dyn PayChannel>>;

    fn kinds(&self) -> Vec<ChannelKind> {
        ChannelKind::ALL
            .into_iter()
            .filter(|kind| self.get(*kind).is_some())
            .collect()
    }
}

/// What the cache knows about an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// This caller is the first within the window, as far as the cache knows.
    First,
    /// Somebody asked for this order before.
    Before,
    /// The cache did not answer.
    NoAnswer,
}

/// A fast memory that may forget, fail or lie: nothing is ever decided by it.
#[async_trait]
pub trait OrderCache: Send + Sync {
    async fn remember(&self, order_id: &str) -> Seen;
    async fn ping(&self) -> bool;
}

/// The clock and chance.
pub trait Host: Send + Sync {
    fn now(&self) -> Timestamp;
    /// Evenly spread bits.
    fn random(&self) -> u64;

    /// A version 7 UUID (RFC 9562) without hyphens: ordered by time, 32 characters.
    fn new_id(&self) -> String {
        let milliseconds = u64::try_from(self.now().as_millisecond()).unwrap_or_default();
        let (a, b) = (self.random().to_be_bytes(), self.random().to_be_bytes());
        let bytes = [a[0], a[1], a[2], a[3], a[4], b[0], b[1], b[2], b[3], b[4]];
        let uuid = uuid::Builder::from_unix_timestamp_millis(milliseconds, &bytes).into_uuid();
        uuid.simple().to_string()
    }
}
