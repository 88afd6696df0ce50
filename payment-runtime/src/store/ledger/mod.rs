//! The ledger's rows: appended in the transactions of others, sealed in their own.

mod opening;
mod sealing;
mod view;

use payment_core::Account;
use sqlx::mysql::MySqlRow;
use sqlx::{MySqlConnection, Row as _};

use super::{Failure, Store, StoreError, from_datetime, retried, to_datetime, to_day};
use crate::ledger::shard_of;
use crate::records::{Entry, NewEntry};

pub(super) use view::{BEGIN, causes_of_records};
pub(crate) use view::{LedgerView, PlacedEntry, SealRow};

const ENTRY_KEY: &str = "uk_entry_key";

/// An entry as [`entry`] reads it.
macro_rules! entry_columns {
    () => {
        "e.id, e.entry_key, e.shard, e.payment_no, e.refund_no, e.payment_channel, \
         e.debit_account, e.credit_account, e.amount, e.currency, CAST(e.day AS CHAR) AS day, \
         e.cause, e.source, e.actor, e.rule_version, e.reference, e.recorded_at"
    };
}
pub(super) use entry_columns;

/// What became of entries that were posted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Posted {
    pub new: usize,
    /// Entries whose key was there already, with the same accounts and amount.
    pub known: usize,
}

#[derive(Debug, thiserror::Error)]
#[error("the ledger has another entry under the key {0:?}: an entry is never changed")]
struct KeyTaken(String);

impl Store {
    /// Posts entries that belong to no step of a payment, all or none. What was posted before,
    /// by its key, is not posted again.
    pub async fn post(&self, entries: &[NewEntry]) -> Result<Posted, StoreError> {
        Ok(retried(|| self.try_post(entries)).await?)
    }

    async fn try_post(&self, entries: &[NewEntry]) -> Result<Posted, Failure> {
        let mut tx = self.begin().await?;
        let posted = post_entries(&mut tx, entries).await?;
        tx.commit().await?;
        Ok(posted)
    }

    /// A payment's entries, oldest first, at most `limit` after the id `after`.
    pub async fn entries_of_payment(
        &self,
        payment_no: &str,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        let rows = sqlx::query(concat!(
            "SELECT ",
            entry_columns!(),
            " FROM ledger_entries e WHERE e.payment_no = ? AND e.id > ? ORDER BY e.id LIMIT ?"
        ))
        .bind(payment_no)
        .bind(after)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(entry).collect()
    }
}

/// [`Store::post`] inside a transaction of the caller's.
pub(in crate::store) async fn post_entries(
    connection: &mut MySqlConnection,
    entries: &[NewEntry],
) -> Result<Posted, Failure> {
    let mut posted = Posted::default();
    for new in entries {
        match insert_entry(connection, new).await {
            Ok(()) => posted.new += 1,
            Err(failure) if failure.duplicate_of() == Some(ENTRY_KEY) => {
                is_same(connection, new).await?;
                posted.known += 1;
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(posted)
}

async fn is_same(connection: &mut MySqlConnection, new: &NewEntry) -> Result<(), Failure> {
    let same = sqlx::query(
        "SELECT 1 FROM ledger_entries WHERE entry_key = ? AND debit_account = ? \
         AND credit_account = ? AND amount = ? AND currency = ?",
    )
    .bind(&new.entry_key)
    .bind(new.debit.as_str())
    .bind(new.credit.as_str())
    .bind(new.amount.minor)
    .bind(new.amount.currency.code())
    .fetch_optional(connection)
    .await?;
    if same.is_some() {
        return Ok(());
    }
    let taken = KeyTaken(new.entry_key.clone());
    Err(StoreError::Failed(Box::new(taken)).into())
}

/// Appends entries in the transaction of what they explain. A key that is there already is an
/// error: the record's own lock makes its steps happen once.
pub(in crate::store) async fn insert_entries(
    connection: &mut MySqlConnection,
    entries: &[NewEntry],
) -> Result<(), Failure> {
    for new in entries {
        insert_entry(connection, new).await?;
    }
    Ok(())
}

async fn insert_entry(connection: &mut MySqlConnection, new: &NewEntry) -> Result<(), Failure> {
    let shard = shard_of(new.payment_no.as_deref(), &new.entry_key);
    let done = sqlx::query(
        "INSERT INTO ledger_entries (entry_key, shard, payment_no, refund_no, payment_channel, \
         debit_account, credit_account, amount, currency, day, cause, source, actor, \
         rule_version, reference, recorded_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&new.entry_key)
    .bind(shard)
    .bind(&new.payment_no)
    .bind(&new.refund_no)
    .bind(new.channel.as_str())
    .bind(Account::as_str(new.debit))
    .bind(Account::as_str(new.credit))
    .bind(new.amount.minor)
    .bind(new.amount.currency.code())
    .bind(to_day(new.day))
    .bind(new.cause.as_str())
    .bind(new.source)
    .bind(&new.actor)
    .bind(new.rule)
    .bind(&new.reference)
    .bind(to_datetime(new.recorded_at))
    .execute(&mut *connection)
    .await?;
    sqlx::query("INSERT INTO ledger_unsealed (shard, entry_id) VALUES (?, ?)")
        .bind(shard)
        .bind(done.last_insert_id())
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) fn entry(row: &MySqlRow) -> Result<Entry, StoreError> {
    Ok(Entry {
        id: row.try_get("id")?,
        entry_key: row.try_get("entry_key")?,
        shard: row.try_get("shard")?,
        payment_no: row.try_get("payment_no")?,
        refund_no: row.try_get("refund_no")?,
        channel: row.try_get("payment_channel")?,
        debit: row.try_get("debit_account")?,
        credit: row.try_get("credit_account")?,
        amount_minor: row.try_get("amount")?,
        currency: row.try_get("currency")?,
        day: row.try_get("day")?,
        cause: row.try_get("cause")?,
        source: row.try_get("source")?,
        actor: row.try_get("actor")?,
        rule: row.try_get("rule_version")?,
        reference: row.try_get("reference")?,
        recorded_at: from_datetime(row.try_get("recorded_at")?),
    })
}
