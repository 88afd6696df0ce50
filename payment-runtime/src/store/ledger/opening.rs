//! Opening entries for payments that are older than the ledger.

use jiff::Timestamp;
use payment_core::Account;
use payment_core::ledger::Balances;
use sqlx::{AssertSqlSafe, MySqlConnection, Row as _};
use time::PrimitiveDateTime;

use super::insert_entries;
use super::view::causes_of_records;
use crate::records::{self, NewEntry, PaymentRecord};
use crate::store::payments::lock_payment;
use crate::store::rows::vanished;
use crate::store::{Failure, Store, StoreError, from_datetime, retried, to_datetime};

impl Store {
    /// When the ledger was created, if payments from before may still lack their entries.
    pub(crate) async fn ledger_to_open(&self) -> Result<Option<Timestamp>, StoreError> {
        let row =
            sqlx::query("SELECT created_at FROM ledger_shards WHERE shard = 0 AND NOT opened")
                .fetch_optional(&self.pool)
                .await?;
        row.map(|row| {
            let at: PrimitiveDateTime = row.try_get("created_at")?;
            Ok(from_datetime(at))
        })
        .transpose()
    }

    /// From now on no payment lacks its opening entries.
    pub(crate) async fn ledger_is_open(&self) -> Result<(), StoreError> {
        sqlx::query("UPDATE ledger_shards SET opened = TRUE")
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The clock that dated the ledger's creation.
    pub(crate) async fn ledger_clock(&self) -> Result<Timestamp, StoreError> {
        self.clock().await
    }

    /// Ids and numbers of charged payments, in the order of their ids, last changed before `until`.
    pub(crate) async fn charged_payments(
        &self,
        after: u64,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<(u64, String)>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, payment_no FROM payment_records WHERE id > ? AND updated_at < ? \
             AND status IN ('PAID', 'PARTLY_REFUNDED', 'REFUNDED', 'PAID_AFTER_CLOSE') \
             ORDER BY id LIMIT ?",
        )
        .bind(after)
        .bind(to_datetime(until))
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| Ok((row.try_get("id")?, row.try_get("payment_no")?)))
            .collect()
    }

    /// Posts what the ledger lacks of a payment, under the payment's lock. True: it lacked some.
    pub(crate) async fn open_payment(
        &self,
        payment_no: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        Ok(retried(|| self.try_open_payment(payment_no, now)).await?)
    }

    async fn try_open_payment(&self, payment_no: &str, now: Timestamp) -> Result<bool, Failure> {
        let mut tx = self.begin().await?;
        let payment = lock_payment(&mut tx, payment_no).await?;
        let shown = shown(&mut tx, &payment).await?;
        let mut entries = records::opening(&payment, &shown, now);
        if lead_nowhere(&entries) && booked(&mut tx, payment_no).await? > 0 {
            entries.clear();
        }
        insert_entries(&mut tx, &entries).await?;
        tx.commit().await?;
        Ok(!entries.is_empty())
    }
}

impl Store {
    /// Posts what the ledger lacks to show what the payment's record says, under the payment's
    /// lock; returns how many entries that took.
    pub(in crate::store) async fn post_what_lacks(
        &self,
        payment_no: &str,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        Ok(retried(|| self.try_post_what_lacks(payment_no, now)).await?)
    }

    async fn try_post_what_lacks(&self, payment_no: &str, now: Timestamp) -> Result<u64, Failure> {
        let mut tx = self.begin().await?;
        let payment = lock_payment(&mut tx, payment_no).await?;
        let shown = shown(&mut tx, &payment).await?;
        let count = booked(&mut tx, payment_no).await?;
        let mut entries = records::reposting(&payment, &shown, count, now);
        if lead_nowhere(&entries) && count > 0 {
            entries.clear();
        }
        insert_entries(&mut tx, &entries).await?;
        tx.commit().await?;
        Ok(entries.len() as u64)
    }
}

/// How many entries a payment has.
async fn booked(connection: &mut MySqlConnection, payment_no: &str) -> Result<i64, Failure> {
    let row = sqlx::query("SELECT COUNT(*) AS n FROM ledger_entries WHERE payment_no = ?")
        .bind(payment_no)
        .fetch_one(connection)
        .await?;
    Ok(row.try_get("n")?)
}

/// Whether the entries cancel out: those of a charge that was given back in full. Of a payment that
/// has entries they are there already; its balances, all zero, cannot tell.
fn lead_nowhere(entries: &[NewEntry]) -> bool {
    let mut balances = Balances::new();
    for entry in entries {
        let minor = entry.amount.minor;
        *balances.entry(entry.debit).or_default() += minor;
        *balances.entry(entry.credit).or_default() -= minor;
    }
    balances.values().all(|minor| *minor == 0)
}

/// What the ledger shows of a payment.
async fn shown(
    connection: &mut MySqlConnection,
    payment: &PaymentRecord,
) -> Result<Balances, Failure> {
    // The text depends on constants alone.
    let sql = AssertSqlSafe(format!(
        "SELECT debit_account, credit_account, amount FROM ledger_entries \
         WHERE payment_no = ? AND cause IN ({})",
        causes_of_records()
    ));
    let rows = sqlx::query(sql)
        .bind(&payment.payment_no)
        .fetch_all(connection)
        .await?;
    let mut balances = Balances::new();
    for row in &rows {
        let amount: i64 = row.try_get("amount")?;
        for (column, minor) in [("debit_account", amount), ("credit_account", -amount)] {
            let name: String = row.try_get(column)?;
            let account = Account::parse(&name).ok_or_else(|| vanished(&name))?;
            *balances.entry(account).or_default() += minor;
        }
    }
    balances.retain(|_, minor| *minor != 0);
    Ok(balances)
}
