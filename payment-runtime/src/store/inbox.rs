//! Verified callbacks, kept as they came until they have been processed.

use jiff::Timestamp;

use super::rows::{self, order_state_name, refund_state_name};
use super::{Failure, Store, StoreError, to_datetime};
use crate::records::{InboxEntry, NewInboxEntry};

const KEY: &str = "uk_event";

impl Store {
    pub(super) async fn insert_callback(
        &self,
        new: &NewInboxEntry,
        retry_at: Timestamp,
    ) -> Result<Option<u64>, StoreError> {
        match self.try_insert_callback(new, retry_at).await {
            Ok(id) => Ok(Some(id)),
            Err(failure) if failure.duplicate_of() == Some(KEY) => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn try_insert_callback(
        &self,
        new: &NewInboxEntry,
        retry_at: Timestamp,
    ) -> Result<u64, Failure> {
        let (seen, refund) = (&new.seen, new.seen.refund.as_ref());
        let inserted = sqlx::query(
            "INSERT INTO callback_inbox (payment_channel, channel_order_no, transaction_id, \
             event, observed, amount, currency, paid_at, refund_state, channel_refund_no, \
             channel_refund_id, refund_amount, refunded_at, headers, body, received_at, \
             next_attempt_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(new.channel.as_str())
        .bind(&new.channel_order_no)
        .bind(&new.transaction_id)
        .bind(&new.event)
        .bind(order_state_name(seen.state))
        .bind(seen.amount.minor)
        .bind(seen.amount.currency.code())
        .bind(seen.paid_at.map(to_datetime))
        .bind(refund.map(|refund| refund_state_name(refund.state)))
        .bind(refund.and_then(|refund| refund.channel_refund_no.as_deref()))
        .bind(refund.and_then(|refund| refund.channel_refund_id.as_deref()))
        .bind(
            refund
                .and_then(|refund| refund.amount)
                .map(|amount| amount.minor),
        )
        .bind(
            refund
                .and_then(|refund| refund.refunded_at)
                .map(to_datetime),
        )
        .bind(&new.headers)
        .bind(&new.body)
        .bind(to_datetime(new.now))
        .bind(to_datetime(retry_at))
        .execute(&self.pool)
        .await?;
        Ok(inserted.last_insert_id())
    }

    pub(super) async fn claim_inbox(
        &self,
        now: Timestamp,
        again_at: Timestamp,
        limit: u32,
    ) -> Result<Vec<InboxEntry>, StoreError> {
        let mut tx = self.begin().await?;
        let found = sqlx::query(
            "SELECT * FROM callback_inbox \
             WHERE next_attempt_at <= ? ORDER BY next_attempt_at LIMIT ? FOR UPDATE SKIP LOCKED",
        )
        .bind(to_datetime(now))
        .bind(limit)
        .fetch_all(&mut *tx)
        .await?;
        let entries = found
            .iter()
            .map(rows::inbox_entry)
            .collect::<Result<Vec<_>, StoreError>>()?;
        for entry in &entries {
            sqlx::query(
                "UPDATE callback_inbox SET attempts = attempts + 1, next_attempt_at = ? \
                 WHERE id = ?",
            )
            .bind(to_datetime(again_at))
            .bind(entry.id)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(entries)
    }

    pub(super) async fn end_callback(
        &self,
        id: u64,
        outcome: &str,
        again_at: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE callback_inbox SET outcome = ?, next_attempt_at = ? WHERE id = ?")
            .bind(outcome)
            .bind(again_at.map(to_datetime))
            .bind(id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
