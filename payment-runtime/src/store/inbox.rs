//! Verified callbacks, kept as they came until they have been processed.

use jiff::Timestamp;
use payment_core::{ChannelKind, Money};
use sqlx::Row as _;
use sqlx::mysql::MySqlRow;
use time::PrimitiveDateTime;

use super::payments::read_currency;
use super::{Store, StoreError, from_datetime, to_datetime};

/// A verified callback about to be kept.
#[derive(Clone, Debug)]
pub struct NewInboxEntry {
    pub channel: ChannelKind,
    pub channel_order_no: String,
    pub transaction_id: String,
    /// What happened, in the channel's terms; with the transaction it makes the entry unique.
    pub event: String,
    pub observed: &'static str,
    pub amount: Money,
    pub paid_at: Option<Timestamp>,
    pub headers: String,
    pub body: Vec<u8>,
    pub now: Timestamp,
}

/// A kept callback whose turn has come.
#[derive(Clone, Debug)]
pub struct InboxEntry {
    pub id: u64,
    pub channel: ChannelKind,
    pub channel_order_no: String,
    pub transaction_id: String,
    pub event: String,
    pub observed: String,
    pub amount: Money,
    pub paid_at: Option<Timestamp>,
    pub attempts: u32,
}

impl Store {
    /// Keeps a callback. `None`: it is here already, which is as good. A worker takes it up at
    /// `retry_at` unless the caller has settled it by then.
    pub async fn keep_callback(
        &self,
        new: &NewInboxEntry,
        retry_at: Timestamp,
    ) -> Result<Option<u64>, StoreError> {
        let inserted = sqlx::query(
            "INSERT INTO callback_inbox (payment_channel, channel_order_no, transaction_id, \
             event, observed, amount, currency, paid_at, headers, body, received_at, \
             next_attempt_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(new.channel.as_str())
        .bind(&new.channel_order_no)
        .bind(&new.transaction_id)
        .bind(&new.event)
        .bind(new.observed)
        .bind(new.amount.minor)
        .bind(new.amount.currency.code())
        .bind(new.paid_at.map(to_datetime))
        .bind(&new.headers)
        .bind(&new.body)
        .bind(to_datetime(new.now))
        .bind(to_datetime(retry_at))
        .execute(&self.pool)
        .await
        .map_err(StoreError::from);
        match inserted {
            Ok(done) => Ok(Some(done.last_insert_id())),
            Err(error) if error.is_duplicate() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes up to `limit` callbacks that are due; they are due again at `again_at` unless they
    /// are settled before.
    pub async fn claim_callbacks(
        &self,
        now: Timestamp,
        again_at: Timestamp,
        limit: u32,
    ) -> Result<Vec<InboxEntry>, StoreError> {
        let mut tx = self.pool.begin().await?;
        let rows = sqlx::query(
            "SELECT id, payment_channel, channel_order_no, transaction_id, event, observed, \
             amount, currency, paid_at, attempts FROM callback_inbox \
             WHERE next_attempt_at <= ? ORDER BY next_attempt_at LIMIT ? FOR UPDATE SKIP LOCKED",
        )
        .bind(to_datetime(now))
        .bind(limit)
        .fetch_all(&mut *tx)
        .await?;
        let entries = rows.iter().map(read_entry).collect::<Result<Vec<_>, _>>()?;
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

    /// Says how a callback ended, or when it is tried again.
    pub async fn settle_callback(
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

fn read_entry(row: &MySqlRow) -> Result<InboxEntry, StoreError> {
    let channel: String = row.try_get("payment_channel")?;
    let paid_at: Option<PrimitiveDateTime> = row.try_get("paid_at")?;
    Ok(InboxEntry {
        id: row.try_get("id")?,
        channel: ChannelKind::parse(&channel).ok_or(StoreError::Unreadable {
            what: "a channel",
            value: channel,
        })?,
        channel_order_no: row.try_get("channel_order_no")?,
        transaction_id: row.try_get("transaction_id")?,
        event: row.try_get("event")?,
        observed: row.try_get("observed")?,
        amount: Money::new(row.try_get("amount")?, read_currency(row)?),
        paid_at: paid_at.map(from_datetime),
        attempts: row.try_get("attempts")?,
    })
}
