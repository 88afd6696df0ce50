//! [`Records`] over MySQL: each method is one of this room's transactions.

use async_trait::async_trait;
use jiff::Timestamp;
use payment_core::ChannelKind;

use super::{Store, StoreError};
use crate::ports::Records;
use crate::records::{
    Applied, AppliedRefund, AttemptInserted, Begun, Change, Event, Finish, InboxEntry, Inserted,
    Left, NewInboxEntry, NewPayment, NewRefund, NewRequest, NextLook, OpenCounts, Page,
    PaymentRecord, RefundChange, RefundRecord, RequestKey, ReservedRefund, StoredAnswer,
};

#[async_trait]
impl Records for Store {
    async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.clock().await
    }

    async fn insert(
        &self,
        new: &NewPayment,
        request: Option<&NewRequest>,
    ) -> Result<Inserted, StoreError> {
        self.insert_first(new, request).await
    }

    async fn insert_attempt(
        &self,
        previous: &str,
        new: &NewPayment,
    ) -> Result<AttemptInserted, StoreError> {
        self.insert_next(previous, new).await
    }

    async fn payment(&self, payment_no: &str) -> Result<Option<PaymentRecord>, StoreError> {
        self.by_number(payment_no).await
    }

    async fn payment_of_order(&self, order_id: &str) -> Result<Option<PaymentRecord>, StoreError> {
        self.latest_of_order(order_id).await
    }

    async fn payments_of_order(&self, order_id: &str) -> Result<Vec<PaymentRecord>, StoreError> {
        self.attempts_of_order(order_id).await
    }

    async fn payment_of_channel_order(
        &self,
        channel: ChannelKind,
        channel_order_no: &str,
    ) -> Result<Option<PaymentRecord>, StoreError> {
        self.by_channel_order(channel, channel_order_no).await
    }

    async fn payments(&self, before: Option<u64>, limit: u32) -> Result<Page, StoreError> {
        self.page(before, limit).await
    }

    async fn events(
        &self,
        payment_no: &str,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        self.history(payment_no, after, limit).await
    }

    async fn apply(
        &self,
        payment_no: &str,
        change: &Change,
        finish: Option<&Finish<'_>>,
    ) -> Result<Applied, StoreError> {
        self.change(payment_no, change, finish).await
    }

    async fn reopen(
        &self,
        payment_no: &str,
        now: Timestamp,
    ) -> Result<Option<PaymentRecord>, StoreError> {
        self.reopen_payment(payment_no, now).await
    }

    async fn claim_due(
        &self,
        now: Timestamp,
        lease_seconds: u64,
        limit: u32,
    ) -> Result<Vec<PaymentRecord>, StoreError> {
        self.claim_payments(now, lease_seconds, limit).await
    }

    async fn release(&self, payment_no: &str, next: NextLook) -> Result<(), StoreError> {
        self.put_back(payment_no, next).await
    }

    async fn open_counts(&self) -> Result<OpenCounts, StoreError> {
        self.count_open().await
    }

    async fn reserve_refund(&self, new: &NewRefund) -> Result<ReservedRefund, StoreError> {
        self.reserve(new).await
    }

    async fn refund(
        &self,
        payment_no: &str,
        refund_no: &str,
    ) -> Result<Option<RefundRecord>, StoreError> {
        self.find_refund(payment_no, refund_no).await
    }

    async fn refunds(&self, payment_no: &str) -> Result<Vec<RefundRecord>, StoreError> {
        self.refunds_of(payment_no).await
    }

    async fn refund_of_channel_number(
        &self,
        channel: ChannelKind,
        channel_refund_no: &str,
    ) -> Result<Option<RefundRecord>, StoreError> {
        self.find_refund_at_channel(channel, channel_refund_no)
            .await
    }

    async fn apply_refund(
        &self,
        payment_no: &str,
        refund_no: &str,
        change: &RefundChange,
    ) -> Result<AppliedRefund, StoreError> {
        self.change_refund(payment_no, refund_no, change).await
    }

    async fn claim_due_refunds(
        &self,
        now: Timestamp,
        lease_seconds: u64,
        limit: u32,
    ) -> Result<Vec<RefundRecord>, StoreError> {
        self.claim_refunds(now, lease_seconds, limit).await
    }

    async fn release_refund(
        &self,
        payment_no: &str,
        refund_no: &str,
        next_question_at: Timestamp,
    ) -> Result<(), StoreError> {
        self.put_back_refund(payment_no, refund_no, next_question_at)
            .await
    }

    async fn keep_callback(
        &self,
        new: &NewInboxEntry,
        retry_at: Timestamp,
    ) -> Result<Option<u64>, StoreError> {
        self.insert_callback(new, retry_at).await
    }

    async fn claim_callbacks(
        &self,
        now: Timestamp,
        again_at: Timestamp,
        limit: u32,
    ) -> Result<Vec<InboxEntry>, StoreError> {
        self.claim_inbox(now, again_at, limit).await
    }

    async fn settle_callback(
        &self,
        id: u64,
        outcome: &str,
        again_at: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        self.end_callback(id, outcome, again_at).await
    }

    async fn begin_request(&self, new: &NewRequest) -> Result<Begun, StoreError> {
        self.take_request(new).await
    }

    async fn finish_request(
        &self,
        key: &RequestKey,
        answer: &StoredAnswer,
    ) -> Result<StoredAnswer, StoreError> {
        self.end_request(key, answer).await
    }

    async fn give_up_request(
        &self,
        key: &RequestKey,
        left: Left,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        match left {
            Left::Nothing => self.forget_request(key).await,
            Left::Something => self.return_request(key, now).await,
        }
    }

    async fn purge_requests(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.delete_requests(before, limit).await
    }
}
