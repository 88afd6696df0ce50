//! How long the runtime waits for its records: a [`Records`] that measures two of its methods and
//! passes everything on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use payment_core::ChannelKind;
use payment_runtime::ports::{Records, StoreError};
use payment_runtime::records::{
    Applied, AppliedRefund, AttemptInserted, Begun, Change, Event, Finish, InboxEntry, Inserted,
    Left, NewInboxEntry, NewPayment, NewRefund, NewRequest, NextLook, OpenCounts, Page,
    PaymentRecord, RefundChange, RefundRecord, RequestKey, ReservedRefund, StoredAnswer,
};

/// Milliseconds that calls took, since they were last told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timings {
    inserts: Arc<Mutex<Vec<f64>>>,
    applies: Arc<Mutex<Vec<f64>>>,
}

impl Timings {
    fn inserted(&self, took: Duration) {
        keep(&self.inserts, took);
    }

    fn applied(&self, took: Duration) {
        keep(&self.applies, took);
    }

    /// `insert MEAN P99 apply MEAN P99`, and begins anew.
    pub(crate) fn told(&self) -> String {
        let (insert, apply) = (summary(&self.inserts), summary(&self.applies));
        format!("insert {insert} apply {apply}")
    }
}

fn keep(times: &Mutex<Vec<f64>>, took: Duration) {
    let mut times = times.lock().unwrap_or_else(PoisonError::into_inner);
    times.push(took.as_secs_f64() * 1000.0);
}

fn summary(times: &Mutex<Vec<f64>>) -> String {
    let mut times = std::mem::take(&mut *times.lock().unwrap_or_else(PoisonError::into_inner));
    times.sort_by(f64::total_cmp);
    let count = f64::from(u32::try_from(times.len()).unwrap_or(u32::MAX));
    let mean = times.iter().sum::<f64>() / count;
    let p99 = crate::figures::quantile(&times, 0.99);
    format!("{mean:.2} {p99:.2}")
}

pub(crate) struct Timed {
    inner: Arc<dyn Records>,
    timings: Timings,
}

impl Timed {
    pub(crate) fn new(inner: Arc<dyn Records>, timings: Timings) -> Self {
        Self { inner, timings }
    }
}

#[async_trait]
impl Records for Timed {
    async fn ping(&self) -> Result<(), StoreError> {
        self.inner.ping().await
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.inner.now().await
    }

    async fn insert(
        &self,
        new: &NewPayment,
        request: Option<&NewRequest>,
    ) -> Result<Inserted, StoreError> {
        let started = Instant::now();
        let done = self.inner.insert(new, request).await;
        self.timings.inserted(started.elapsed());
        done
    }

    async fn insert_attempt(
        &self,
        previous: &str,
        new: &NewPayment,
    ) -> Result<AttemptInserted, StoreError> {
        self.inner.insert_attempt(previous, new).await
    }

    async fn payment(&self, payment_no: &str) -> Result<Option<PaymentRecord>, StoreError> {
        self.inner.payment(payment_no).await
    }

    async fn payment_of_order(&self, order_id: &str) -> Result<Option<PaymentRecord>, StoreError> {
        self.inner.payment_of_order(order_id).await
    }

    async fn payments_of_order(&self, order_id: &str) -> Result<Vec<PaymentRecord>, StoreError> {
        self.inner.payments_of_order(order_id).await
    }

    async fn payment_of_channel_order(
        &self,
        channel: ChannelKind,
        channel_order_no: &str,
    ) -> Result<Option<PaymentRecord>, StoreError> {
        self.inner
            .payment_of_channel_order(channel, channel_order_no)
            .await
    }

    async fn payments(&self, before: Option<u64>, limit: u32) -> Result<Page, StoreError> {
        self.inner.payments(before, limit).await
    }

    async fn events(
        &self,
        payment_no: &str,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        self.inner.events(payment_no, after, limit).await
    }

    async fn apply(
        &self,
        payment_no: &str,
        change: &Change,
        finish: Option<&Finish<'_>>,
    ) -> Result<Applied, StoreError> {
        let started = Instant::now();
        let done = self.inner.apply(payment_no, change, finish).await;
        self.timings.applied(started.elapsed());
        done
    }

    async fn reopen(
        &self,
        payment_no: &str,
        now: Timestamp,
    ) -> Result<Option<PaymentRecord>, StoreError> {
        self.inner.reopen(payment_no, now).await
    }

    async fn claim_due(
        &self,
        now: Timestamp,
        lease_seconds: u64,
        limit: u32,
    ) -> Result<Vec<PaymentRecord>, StoreError> {
        self.inner.claim_due(now, lease_seconds, limit).await
    }

    async fn release(&self, payment_no: &str, next: NextLook) -> Result<(), StoreError> {
        self.inner.release(payment_no, next).await
    }

    async fn open_counts(&self) -> Result<OpenCounts, StoreError> {
        self.inner.open_counts().await
    }

    async fn reserve_refund(&self, new: &NewRefund) -> Result<ReservedRefund, StoreError> {
        self.inner.reserve_refund(new).await
    }

    async fn refund(
        &self,
        payment_no: &str,
        refund_no: &str,
    ) -> Result<Option<RefundRecord>, StoreError> {
        self.inner.refund(payment_no, refund_no).await
    }

    async fn refunds(&self, payment_no: &str) -> Result<Vec<RefundRecord>, StoreError> {
        self.inner.refunds(payment_no).await
    }

    async fn refund_of_channel_number(
        &self,
        channel: ChannelKind,
        channel_refund_no: &str,
    ) -> Result<Option<RefundRecord>, StoreError> {
        self.inner
            .refund_of_channel_number(channel, channel_refund_no)
            .await
    }

    async fn apply_refund(
        &self,
        payment_no: &str,
        refund_no: &str,
        change: &RefundChange,
    ) -> Result<AppliedRefund, StoreError> {
        self.inner.apply_refund(payment_no, refund_no, change).await
    }

    async fn claim_due_refunds(
        &self,
        now: Timestamp,
        lease_seconds: u64,
        limit: u32,
    ) -> Result<Vec<RefundRecord>, StoreError> {
        self.inner
            .claim_due_refunds(now, lease_seconds, limit)
            .await
    }

    async fn release_refund(
        &self,
        payment_no: &str,
        refund_no: &str,
        next_question_at: Timestamp,
    ) -> Result<(), StoreError> {
        self.inner
            .release_refund(payment_no, refund_no, next_question_at)
            .await
    }

    async fn keep_callback(
        &self,
        new: &NewInboxEntry,
        retry_at: Timestamp,
    ) -> Result<Option<u64>, StoreError> {
        self.inner.keep_callback(new, retry_at).await
    }

    async fn claim_callbacks(
        &self,
        now: Timestamp,
        again_at: Timestamp,
        limit: u32,
    ) -> Result<Vec<InboxEntry>, StoreError> {
        self.inner.claim_callbacks(now, again_at, limit).await
    }

    async fn settle_callback(
        &self,
        id: u64,
        outcome: &str,
        again_at: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        self.inner.settle_callback(id, outcome, again_at).await
    }

    async fn begin_request(&self, new: &NewRequest) -> Result<Begun, StoreError> {
        self.inner.begin_request(new).await
    }

    async fn finish_request(
        &self,
        key: &RequestKey,
        answer: &StoredAnswer,
    ) -> Result<StoredAnswer, StoreError> {
        self.inner.finish_request(key, answer).await
    }

    async fn give_up_request(
        &self,
        key: &RequestKey,
        left: Left,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.inner.give_up_request(key, left, now).await
    }

    async fn purge_requests(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.inner.purge_requests(before, limit).await
    }
}
