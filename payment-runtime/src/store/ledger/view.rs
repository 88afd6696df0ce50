//! One consistent view of the ledger, for checks and statements.

use payment_core::Cause;
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, MySql, Row as _, Transaction};

use super::{entry, entry_columns};
use crate::ledger::{Head, Sum, SumKey, Wanted};
use crate::records::{Entry, PaymentRecord};
use crate::store::{Store, StoreError, rows, to_day};

/// Both in one message: the level holds for the next transaction of this connection alone.
pub(in crate::store) const BEGIN: &str = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; \
                     START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";

/// A seal with its entry, if it is there.
#[derive(Debug)]
pub(crate) struct SealRow {
    pub(crate) sequence: u64,
    pub(crate) entry_id: u64,
    pub(crate) hash: String,
    pub(crate) entry: Option<Entry>,
}

/// An entry and what else is there of it.
#[derive(Debug)]
pub(crate) struct PlacedEntry {
    pub(crate) entry: Entry,
    pub(crate) sealed: bool,
    pub(crate) queued: bool,
    /// Its payment has a record.
    pub(crate) has_record: bool,
}

/// What a payment's entries moved between two accounts.
#[derive(Debug)]
pub(crate) struct Moved {
    pub(crate) payment_no: String,
    pub(crate) debit: String,
    pub(crate) credit: String,
    pub(crate) currency: String,
    pub(crate) minor: i64,
}

/// The ledger as it was at one moment. Nothing that commits meanwhile shows.
pub(crate) struct LedgerView {
    tx: Transaction<'static, MySql>,
}

impl Store {
    pub(crate) async fn ledger_view(&self) -> Result<LedgerView, StoreError> {
        let tx = self.pool.begin_with(BEGIN).await?;
        Ok(LedgerView { tx })
    }
}

impl LedgerView {
    pub(crate) async fn close(self) -> Result<(), StoreError> {
        Ok(self.tx.rollback().await?)
    }

    /// The ends of the chains, as the shards tell them.
    pub(crate) async fn heads(&mut self) -> Result<Vec<Head>, StoreError> {
        let rows = sqlx::query("SELECT shard, last_sequence, last_hash FROM ledger_shards")
            .fetch_all(&mut *self.tx)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Head {
                    shard: row.try_get("shard")?,
                    sequence: row.try_get("last_sequence")?,
                    hash: row.try_get("last_hash")?,
                })
            })
            .collect()
    }

    /// A shard with seals that is not below `shards`.
    pub(crate) async fn shard_beyond(&mut self, shards: u8) -> Result<Option<u8>, StoreError> {
        let row = sqlx::query("SELECT shard FROM ledger_seals WHERE shard >= ? LIMIT 1")
            .bind(shards)
            .fetch_optional(&mut *self.tx)
            .await?;
        row.map(|row| Ok(row.try_get("shard")?)).transpose()
    }

    pub(crate) async fn seals(
        &mut self,
        shard: u8,
        after: u64,
        limit: u32,
    ) -> Result<Vec<SealRow>, StoreError> {
        let rows = sqlx::query(concat!(
            "SELECT s.sequence, s.entry_id, s.hash, e.id IS NOT NULL AS is_there, ",
            entry_columns!(),
            " FROM ledger_seals s LEFT JOIN ledger_entries e ON e.id = s.entry_id \
             WHERE s.shard = ? AND s.sequence > ? ORDER BY s.sequence LIMIT ?"
        ))
        .bind(shard)
        .bind(after)
        .bind(limit)
        .fetch_all(&mut *self.tx)
        .await?;
        rows.iter().map(seal_row).collect()
    }

    pub(crate) async fn entries(
        &mut self,
        after: u64,
        limit: u32,
    ) -> Result<Vec<PlacedEntry>, StoreError> {
        let rows = sqlx::query(concat!(
            "SELECT s.entry_id IS NOT NULL AS sealed, q.entry_id IS NOT NULL AS queued, \
             p.id IS NOT NULL AS has_record, ",
            entry_columns!(),
            " FROM ledger_entries e LEFT JOIN ledger_seals s ON s.entry_id = e.id \
             LEFT JOIN ledger_unsealed q ON q.shard = e.shard AND q.entry_id = e.id \
             LEFT JOIN payment_records p ON p.payment_no = e.payment_no \
             WHERE e.id > ? ORDER BY e.id LIMIT ?"
        ))
        .bind(after)
        .bind(limit)
        .fetch_all(&mut *self.tx)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(PlacedEntry {
                    entry: entry(row)?,
                    sealed: row.try_get("sealed")?,
                    queued: row.try_get("queued")?,
                    has_record: row.try_get("has_record")?,
                })
            })
            .collect()
    }

    /// Places in the queue (shard, entry) that no seal can come of.
    pub(crate) async fn queue_errors(&mut self, limit: u32) -> Result<Vec<(u8, u64)>, StoreError> {
        let rows = sqlx::query(
            "SELECT q.shard, q.entry_id FROM ledger_unsealed q \
             LEFT JOIN ledger_entries e ON e.id = q.entry_id \
             LEFT JOIN ledger_seals s ON s.entry_id = q.entry_id \
             WHERE e.id IS NULL OR e.shard <> q.shard OR s.entry_id IS NOT NULL LIMIT ?",
        )
        .bind(limit)
        .fetch_all(&mut *self.tx)
        .await?;
        rows.iter()
            .map(|row| Ok((row.try_get("shard")?, row.try_get("entry_id")?)))
            .collect()
    }

    /// Every balance: a few rows for each account and day.
    pub(crate) async fn balances(&mut self) -> Result<Vec<(SumKey, u8, Sum)>, StoreError> {
        let rows = sqlx::query(
            "SELECT account, currency, CAST(day AS CHAR) AS day, shard, debit_minor, \
             credit_minor, entries FROM ledger_balances",
        )
        .fetch_all(&mut *self.tx)
        .await?;
        rows.iter()
            .map(|row| {
                let key = (
                    row.try_get("account")?,
                    row.try_get("currency")?,
                    row.try_get("day")?,
                );
                Ok((key, row.try_get("shard")?, sum(row)?))
            })
            .collect()
    }

    pub(crate) async fn payments(
        &mut self,
        after: u64,
        limit: u32,
    ) -> Result<Vec<PaymentRecord>, StoreError> {
        let found = sqlx::query("SELECT * FROM payment_records WHERE id > ? ORDER BY id LIMIT ?")
            .bind(after)
            .bind(limit)
            .fetch_all(&mut *self.tx)
            .await?;
        found.iter().map(rows::payment).collect()
    }

    /// What the entries of payments with ids above `after`, up to `last`, moved, as far as records
    /// explain them.
    pub(crate) async fn moved(&mut self, after: u64, last: u64) -> Result<Vec<Moved>, StoreError> {
        // The text depends on constants alone.
        let sql = AssertSqlSafe(format!(
            "SELECT e.payment_no, e.debit_account, e.credit_account, e.currency, \
             CAST(SUM(e.amount) AS SIGNED) AS minor FROM payment_records p \
             JOIN ledger_entries e ON e.payment_no = p.payment_no \
             WHERE p.id > ? AND p.id <= ? AND e.cause IN ({}) \
             GROUP BY e.payment_no, e.debit_account, e.credit_account, e.currency",
            causes_of_records()
        ));
        let rows = sqlx::query(sql)
            .bind(after)
            .bind(last)
            .fetch_all(&mut *self.tx)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(Moved {
                    payment_no: row.try_get("payment_no")?,
                    debit: row.try_get("debit_account")?,
                    credit: row.try_get("credit_account")?,
                    currency: row.try_get("currency")?,
                    minor: row.try_get("minor")?,
                })
            })
            .collect()
    }

    /// Everything before the statement's day.
    pub(crate) async fn turnover_before(&mut self, wanted: &Wanted) -> Result<Sum, StoreError> {
        self.turnover(wanted, "<").await
    }

    pub(crate) async fn turnover_of_day(&mut self, wanted: &Wanted) -> Result<Sum, StoreError> {
        self.turnover(wanted, "=").await
    }

    /// What is sealed stands in the balances; what is not yet is added from the queue.
    async fn turnover(&mut self, wanted: &Wanted, days: &'static str) -> Result<Sum, StoreError> {
        let sql = AssertSqlSafe(format!(
            "SELECT CAST(COALESCE(SUM(debit_minor), 0) AS SIGNED) AS debit_minor, \
             CAST(COALESCE(SUM(credit_minor), 0) AS SIGNED) AS credit_minor, \
             CAST(COALESCE(SUM(entries), 0) AS UNSIGNED) AS entries FROM ( \
             SELECT debit_minor, credit_minor, entries FROM ledger_balances \
             WHERE account = ? AND currency = ? AND day {days} ? UNION ALL \
             SELECT IF(e.debit_account = ?, e.amount, 0), IF(e.debit_account = ?, 0, e.amount), 1 \
             FROM ledger_unsealed q JOIN ledger_entries e ON e.id = q.entry_id \
             WHERE ? IN (e.debit_account, e.credit_account) AND e.currency = ? \
             AND e.day {days} ?) AS turnover"
        ));
        let (account, day) = (wanted.account.as_str(), to_day(wanted.day));
        let row = sqlx::query(sql)
            .bind(account)
            .bind(wanted.currency.code())
            .bind(&day)
            .bind(account)
            .bind(account)
            .bind(account)
            .bind(wanted.currency.code())
            .bind(&day)
            .fetch_one(&mut *self.tx)
            .await?;
        sum(&row)
    }

    /// A statement's entries, at most `limit` after the id `after`.
    pub(crate) async fn lines(
        &mut self,
        wanted: &Wanted,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        let (account, currency) = (wanted.account.as_str(), wanted.currency.code());
        let day = to_day(wanted.day);
        let mut query = sqlx::query(concat!(
            "(SELECT ",
            entry_columns!(),
            " FROM ledger_entries e WHERE e.debit_account = ? AND e.currency = ? AND e.day = ? \
             AND e.id > ? ORDER BY e.id LIMIT ?) UNION ALL (SELECT ",
            entry_columns!(),
            " FROM ledger_entries e WHERE e.credit_account = ? AND e.currency = ? AND e.day = ? \
             AND e.id > ? ORDER BY e.id LIMIT ?) ORDER BY id LIMIT ?"
        ));
        for _side in 0..2 {
            query = query.bind(account).bind(currency).bind(&day);
            query = query.bind(after).bind(limit);
        }
        let rows = query.bind(limit).fetch_all(&mut *self.tx).await?;
        rows.iter().map(entry).collect()
    }
}

fn seal_row(row: &MySqlRow) -> Result<SealRow, StoreError> {
    let is_there: bool = row.try_get("is_there")?;
    Ok(SealRow {
        sequence: row.try_get("sequence")?,
        entry_id: row.try_get("entry_id")?,
        hash: row.try_get("hash")?,
        entry: is_there.then(|| entry(row)).transpose()?,
    })
}

fn sum(row: &MySqlRow) -> Result<Sum, StoreError> {
    Ok(Sum {
        debit_minor: row.try_get("debit_minor")?,
        credit_minor: row.try_get("credit_minor")?,
        entries: row.try_get("entries")?,
    })
}

/// Those whose entries fold to the record, as a list of SQL.
pub(in crate::store) fn causes_of_records() -> String {
    let causes = Cause::ALL
        .into_iter()
        .filter(|cause| cause.follows_record());
    let quoted: Vec<String> = causes.map(|cause| format!("'{cause}'")).collect();
    quoted.join(", ")
}
