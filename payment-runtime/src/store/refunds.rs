//! Refunds. Whoever changes one holds its payment's row first, so that sums cannot drift.

use jiff::Timestamp;
use payment_core::ChannelKind;
use sqlx::MySqlConnection;

use super::ledger::insert_entries;
use super::payments::{lock_payment, write_payment};
use super::rows::{self, insert_event, lease, lease_end, vanished};
use super::{Failure, Store, StoreError, retried, to_datetime};
use crate::records::{self, AppliedRefund, NewRefund, RefundChange, RefundRecord, ReservedRefund};

const LEASE: &str = "UPDATE payment_refunds SET lease_until = ? WHERE id = ?";
const BY_NUMBER: &str = "SELECT * FROM payment_refunds WHERE payment_no = ? AND refund_no = ?";
const BY_CHANNEL_NUMBER: &str =
    "SELECT * FROM payment_refunds WHERE payment_channel = ? AND channel_refund_no = ?";
const OF_PAYMENT: &str = "SELECT * FROM payment_refunds WHERE payment_no = ? ORDER BY id LIMIT 100";

impl Store {
    pub(super) async fn reserve(&self, new: &NewRefund) -> Result<ReservedRefund, StoreError> {
        Ok(retried(|| self.try_reserve(new)).await?)
    }

    async fn try_reserve(&self, new: &NewRefund) -> Result<ReservedRefund, Failure> {
        let mut tx = self.begin().await?;
        let payment = lock_payment(&mut tx, &new.payment_no).await?;
        let known = sqlx::query(BY_NUMBER)
            .bind(&new.payment_no)
            .bind(&new.refund_no)
            .fetch_optional(&mut *tx)
            .await?;
        if let Some(row) = known {
            tx.rollback().await?;
            return Ok(ReservedRefund::Existing(rows::refund(&row)?));
        }
        let step = match records::reserve_refund(&payment, new) {
            Ok(step) => step,
            Err(why) => {
                tx.rollback().await?;
                return Ok(ReservedRefund::Refused(why));
            }
        };
        let mut refund = step.refund;
        refund.id = insert_refund(&mut tx, &refund).await?;
        write_payment(&mut tx, &step.payment, false).await?;
        insert_event(&mut tx, &step.event).await?;
        tx.commit().await?;
        Ok(ReservedRefund::New(refund))
    }

    pub(super) async fn find_refund(
        &self,
        payment_no: &str,
        refund_no: &str,
    ) -> Result<Option<RefundRecord>, StoreError> {
        let row = sqlx::query(BY_NUMBER)
            .bind(payment_no)
            .bind(refund_no)
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(rows::refund).transpose()
    }

    pub(super) async fn find_refund_at_channel(
        &self,
        channel: ChannelKind,
        channel_refund_no: &str,
    ) -> Result<Option<RefundRecord>, StoreError> {
        let row = sqlx::query(BY_CHANNEL_NUMBER)
            .bind(channel.as_str())
            .bind(channel_refund_no)
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(rows::refund).transpose()
    }

    pub(super) async fn refunds_of(
        &self,
        payment_no: &str,
    ) -> Result<Vec<RefundRecord>, StoreError> {
        let found = sqlx::query(OF_PAYMENT)
            .bind(payment_no)
            .fetch_all(&self.pool)
            .await?;
        found.iter().map(rows::refund).collect()
    }

    pub(super) async fn change_refund(
        &self,
        payment_no: &str,
        refund_no: &str,
        change: &RefundChange,
    ) -> Result<AppliedRefund, StoreError> {
        Ok(retried(|| self.try_change_refund(payment_no, refund_no, change)).await?)
    }

    async fn try_change_refund(
        &self,
        payment_no: &str,
        refund_no: &str,
        change: &RefundChange,
    ) -> Result<AppliedRefund, Failure> {
        let mut tx = self.begin().await?;
        let payment = lock_payment(&mut tx, payment_no).await?;
        let row = sqlx::query(BY_NUMBER)
            .bind(payment_no)
            .bind(refund_no)
            .fetch_optional(&mut *tx)
            .await?;
        let row = row.ok_or_else(|| vanished(refund_no))?;
        let before = rows::refund(&row)?;
        let step = records::apply_refund_evidence(&payment, &before, change);
        if step.refund != before {
            update_refund(&mut tx, &step.refund).await?;
        }
        if step.payment != payment {
            write_payment(&mut tx, &step.payment, false).await?;
        }
        for event in &step.events {
            insert_event(&mut tx, event).await?;
        }
        insert_entries(&mut tx, &step.entries).await?;
        tx.commit().await?;
        Ok(AppliedRefund {
            refund: step.refund,
            payment: step.payment,
            decision: step.decision,
        })
    }

    pub(super) async fn claim_refunds(
        &self,
        now: Timestamp,
        lease_seconds: u64,
        limit: u32,
    ) -> Result<Vec<RefundRecord>, StoreError> {
        let mut tx = self.begin().await?;
        let found = sqlx::query(
            "SELECT * FROM payment_refunds WHERE next_question_at <= ? \
             AND (lease_until IS NULL OR lease_until <= ?) \
             ORDER BY next_question_at LIMIT ? FOR UPDATE SKIP LOCKED",
        )
        .bind(to_datetime(now))
        .bind(to_datetime(now))
        .bind(limit)
        .fetch_all(&mut *tx)
        .await?;
        let refunds = found
            .iter()
            .map(rows::refund)
            .collect::<Result<Vec<_>, StoreError>>()?;
        let until = lease_end(now, lease_seconds);
        for refund in &refunds {
            lease(&mut tx, LEASE, refund.id, until).await?;
        }
        tx.commit().await?;
        Ok(refunds)
    }

    pub(super) async fn put_back_refund(
        &self,
        payment_no: &str,
        refund_no: &str,
        next_question_at: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE payment_refunds SET lease_until = NULL, \
             question_count = question_count + 1, \
             next_question_at = IF(next_question_at IS NULL, NULL, ?) \
             WHERE payment_no = ? AND refund_no = ?",
        )
        .bind(to_datetime(next_question_at))
        .bind(payment_no)
        .bind(refund_no)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

async fn insert_refund(
    connection: &mut MySqlConnection,
    refund: &RefundRecord,
) -> Result<u64, Failure> {
    let done = sqlx::query(
        "INSERT INTO payment_refunds (refund_no, payment_no, payment_channel, channel_order_no, \
         channel_refund_no, amount, payment_amount, currency, reason, request_hash, origin, \
         status, next_question_at, created_at, updated_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&refund.refund_no)
    .bind(&refund.payment_no)
    .bind(refund.channel.as_str())
    .bind(&refund.channel_order_no)
    .bind(&refund.channel_refund_no)
    .bind(refund.amount.minor)
    .bind(refund.payment_amount.minor)
    .bind(refund.amount.currency.code())
    .bind(&refund.reason)
    .bind(&refund.request_hash)
    .bind(refund.origin.as_str())
    .bind(refund.status.as_str())
    .bind(refund.next_question_at.map(to_datetime))
    .bind(to_datetime(refund.created_at))
    .bind(to_datetime(refund.updated_at))
    .execute(connection)
    .await?;
    Ok(done.last_insert_id())
}

async fn update_refund(
    connection: &mut MySqlConnection,
    refund: &RefundRecord,
) -> Result<(), Failure> {
    sqlx::query(
        "UPDATE payment_refunds SET status = ?, channel_refund_id = ?, refunded_at = ?, \
         attention = ?, next_question_at = ?, updated_at = ? WHERE id = ?",
    )
    .bind(refund.status.as_str())
    .bind(&refund.channel_refund_id)
    .bind(refund.refunded_at.map(to_datetime))
    .bind(refund.attention)
    .bind(refund.next_question_at.map(to_datetime))
    .bind(to_datetime(refund.updated_at))
    .bind(refund.id)
    .execute(connection)
    .await?;
    Ok(())
}
