//! Bills: imported row by row, believed whole.

use jiff::Timestamp;
use jiff::civil::Date;
use payment_core::reconciliation::{AtChannel, Kind};
use payment_core::{ChannelKind, Currency, Money};
use serde_json::Value;
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, MySqlConnection, Row as _};

use super::{kind_number, places};
use crate::reconcile::books::{AcceptedBill, BillLine, BillRefused, Importing, Sums};
use crate::store::{
    Failure, Store, StoreError, from_civil, retried, to_civil, to_datetime, to_day,
};

/// Rows of one INSERT: 13 values and some 190 bytes each.
const INSERTED_TOGETHER: usize = super::SENT_AT_ONCE / 190;
/// Rows of one DELETE.
const DELETED_TOGETHER: u32 = 10_000;
/// An import that was last heard of before this is over; its rows are taken away.
const IMPORT_MAX_HOURS: i64 = 6;

impl Store {
    pub(super) async fn new_bill(
        &self,
        channel: ChannelKind,
        day: Date,
        digest: &str,
        trial: bool,
        now: Timestamp,
    ) -> Result<Importing, StoreError> {
        if let Some(bill) = self.bill_of(channel, day).await?
            && bill.digest == digest
        {
            return Ok(Importing::Known(bill));
        }
        self.clear_leftovers(channel, day, now).await?;
        let done = sqlx::query(
            "INSERT INTO bills (payment_channel, bill_day, digest, state, created_at, changed_at) \
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(channel.as_str())
        .bind(to_day(day))
        .bind(digest)
        .bind(if trial { "trial" } else { "importing" })
        .bind(to_datetime(now))
        .bind(to_datetime(now))
        .execute(&self.pool)
        .await?;
        Ok(Importing::New(done.last_insert_id()))
    }

    /// Takes away what imports that broke off, and bills that were replaced, left behind.
    async fn clear_leftovers(
        &self,
        channel: ChannelKind,
        day: Date,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let over = now
            .checked_sub(jiff::SignedDuration::from_hours(IMPORT_MAX_HOURS))
            .unwrap_or(now);
        let left = sqlx::query(
            "SELECT id FROM bills WHERE payment_channel = ? AND bill_day = ? AND \
             (state = 'superseded' OR (state IN ('importing', 'trial') AND changed_at < ?))",
        )
        .bind(channel.as_str())
        .bind(to_day(day))
        .bind(to_datetime(over))
        .fetch_all(&self.pool)
        .await?;
        for row in &left {
            let id: u64 = row.try_get("id")?;
            self.delete_lines(id).await?;
            sqlx::query("DELETE FROM bills WHERE id = ? AND state <> 'accepted'")
                .bind(id)
                .execute(&self.pool)
                .await?;
        }
        Ok(())
    }

    async fn delete_lines(&self, bill_id: u64) -> Result<(), StoreError> {
        loop {
            let done = sqlx::query("DELETE FROM bill_rows WHERE bill_id = ? LIMIT ?")
                .bind(bill_id)
                .bind(DELETED_TOGETHER)
                .execute(&self.pool)
                .await?;
            if done.rows_affected() < u64::from(DELETED_TOGETHER) {
                return Ok(());
            }
        }
    }

    pub(super) async fn insert_lines(
        &self,
        bill_id: u64,
        lines: &[BillLine],
    ) -> Result<(), StoreError> {
        // One transaction for all: a commit for each statement would be most of the work.
        let mut tx = self.begin().await?;
        for some in lines.chunks(INSERTED_TOGETHER) {
            let rows = vec![format!("({})", places(13)); some.len()].join(", ");
            // The text depends on constants and on the number of rows alone.
            let sql = format!(
                "INSERT INTO bill_rows (bill_id, kind, number, line, channel_order_no, \
                 transaction_id, amount, settled, currency, fee_1e5, is_foreign, status, at) \
                 VALUES {rows}"
            );
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for line in some {
                query = query
                    .bind(bill_id)
                    .bind(kind_number(line.kind))
                    .bind(&line.number)
                    .bind(line.line)
                    .bind(&line.channel_order_no)
                    .bind(&line.transaction_id)
                    .bind(line.amount.minor)
                    .bind(line.settled.minor)
                    .bind(line.amount.currency.code())
                    .bind(line.fee_1e5)
                    .bind(line.foreign)
                    .bind(status_number(line.status))
                    .bind(to_civil(line.at));
            }
            query.execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    pub(super) async fn accept(
        &self,
        bill_id: u64,
        sums: &Sums,
        fee_1e5: i64,
        now: Timestamp,
    ) -> Result<AcceptedBill, StoreError> {
        Ok(retried(|| self.try_accept(bill_id, sums, fee_1e5, now)).await?)
    }

    async fn try_accept(
        &self,
        bill_id: u64,
        sums: &Sums,
        fee_1e5: i64,
        now: Timestamp,
    ) -> Result<AcceptedBill, Failure> {
        let row = sqlx::query("SELECT * FROM bills WHERE id = ?")
            .bind(bill_id)
            .fetch_one(&self.pool)
            .await?;
        let mine = read_bill(&row)?;
        let mut tx = self.lock_day(mine.channel, mine.day).await?;
        if let Some(equal) = equal_and_accepted(&mut tx, &mine).await? {
            supersede(&mut tx, bill_id, now).await?;
            tx.commit().await?;
            return Ok(equal);
        }
        sqlx::query(
            "UPDATE bills AS old JOIN bills AS new ON new.id = ? AND new.state = 'importing' \
             AND old.payment_channel = new.payment_channel AND old.bill_day = new.bill_day \
             SET old.state = 'superseded', old.changed_at = ? WHERE old.state = 'accepted'",
        )
        .bind(bill_id)
        .bind(to_datetime(now))
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "UPDATE bills SET state = IF(state = 'importing', 'accepted', state), sums = ?, \
             fee_1e5 = ?, changed_at = ? WHERE id = ?",
        )
        .bind(sums_text(sums))
        .bind(fee_1e5)
        .bind(to_datetime(now))
        .bind(bill_id)
        .execute(&mut *tx)
        .await?;
        let row = sqlx::query("SELECT * FROM bills WHERE id = ?")
            .bind(bill_id)
            .fetch_one(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(read_bill(&row)?)
    }

    pub(super) async fn refuse(
        &self,
        bill_id: u64,
        refused: &BillRefused,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE bills SET state = 'refused', reason = ?, detail = ?, changed_at = ? \
             WHERE id = ?",
        )
        .bind(&refused.reason)
        .bind(refused.detail.chars().take(1000).collect::<String>())
        .bind(to_datetime(now))
        .bind(bill_id)
        .execute(&self.pool)
        .await?;
        self.delete_lines(bill_id).await
    }

    pub(super) async fn drop_trial(&self, bill_id: u64) -> Result<(), StoreError> {
        let row = sqlx::query("SELECT state FROM bills WHERE id = ?")
            .bind(bill_id)
            .fetch_optional(&self.pool)
            .await?;
        let state: Option<String> = row.map(|row| row.try_get("state")).transpose()?;
        if state.as_deref() != Some("trial") {
            return Ok(());
        }
        self.delete_lines(bill_id).await?;
        sqlx::query("DELETE FROM bills WHERE id = ?")
            .bind(bill_id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    pub(super) async fn bill_of(
        &self,
        channel: ChannelKind,
        day: Date,
    ) -> Result<Option<AcceptedBill>, StoreError> {
        let row = sqlx::query(
            "SELECT * FROM bills WHERE payment_channel = ? AND bill_day = ? \
             AND state = 'accepted' ORDER BY id DESC LIMIT 1",
        )
        .bind(channel.as_str())
        .bind(to_day(day))
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(read_bill).transpose()
    }

    pub(super) async fn lines_after(
        &self,
        bill_id: u64,
        kind: Kind,
        after: Option<&(String, u64)>,
        limit: u32,
    ) -> Result<Vec<BillLine>, StoreError> {
        // Written out: row comparisons are not always read as a range of the key.
        let rows = match after {
            None => {
                sqlx::query(
                    "SELECT * FROM bill_rows WHERE bill_id = ? AND kind = ? \
                     ORDER BY number, line LIMIT ?",
                )
                .bind(bill_id)
                .bind(kind_number(kind))
                .bind(limit)
                .fetch_all(&self.pool)
                .await?
            }
            Some((number, line)) => {
                sqlx::query(
                    "SELECT * FROM bill_rows WHERE bill_id = ? AND kind = ? AND number >= ? \
                     AND (number > ? OR line > ?) ORDER BY number, line LIMIT ?",
                )
                .bind(bill_id)
                .bind(kind_number(kind))
                .bind(number)
                .bind(number)
                .bind(line)
                .bind(limit)
                .fetch_all(&self.pool)
                .await?
            }
        };
        rows.iter().map(read_line).collect()
    }
}

/// The accepted bill that was imported from the same file beside this one, which is no trial.
/// That one stays: a run may compare it already.
async fn equal_and_accepted(
    connection: &mut MySqlConnection,
    mine: &AcceptedBill,
) -> Result<Option<AcceptedBill>, Failure> {
    let row = sqlx::query(
        "SELECT * FROM bills WHERE payment_channel = ? AND bill_day = ? AND digest = ? \
         AND state = 'accepted' AND id <> ? \
         AND NOT EXISTS (SELECT 1 FROM bills AS mine WHERE mine.id = ? AND mine.state = 'trial')",
    )
    .bind(mine.channel.as_str())
    .bind(to_day(mine.day))
    .bind(&mine.digest)
    .bind(mine.id)
    .bind(mine.id)
    .fetch_optional(connection)
    .await?;
    Ok(row.as_ref().map(read_bill).transpose()?)
}

async fn supersede(
    connection: &mut MySqlConnection,
    bill_id: u64,
    now: Timestamp,
) -> Result<(), Failure> {
    sqlx::query("UPDATE bills SET state = 'superseded', changed_at = ? WHERE id = ?")
        .bind(to_datetime(now))
        .bind(bill_id)
        .execute(connection)
        .await?;
    Ok(())
}

/// Whether this is still the day's bill. Rows of one that was replaced may be gone.
pub(super) async fn counts(
    connection: &mut MySqlConnection,
    bill_id: u64,
) -> Result<bool, Failure> {
    let row = sqlx::query("SELECT id FROM bills WHERE id = ? AND state = 'accepted' FOR SHARE")
        .bind(bill_id)
        .fetch_optional(connection)
        .await?;
    Ok(row.is_some())
}

const STATUSES: [AtChannel; 3] = [AtChannel::Done, AtChannel::Processing, AtChannel::Failed];

fn status_number(status: AtChannel) -> u8 {
    match status {
        AtChannel::Done => 0,
        AtChannel::Processing => 1,
        AtChannel::Failed => 2,
    }
}

fn read_line(row: &MySqlRow) -> Result<BillLine, StoreError> {
    let currency = crate::store::rows::currency(row)?;
    let (kind, status): (u8, u8) = (row.try_get("kind")?, row.try_get("status")?);
    let line: u32 = row.try_get("line")?;
    Ok(BillLine {
        kind: if kind == 0 {
            Kind::Payment
        } else {
            Kind::Refund
        },
        number: row.try_get("number")?,
        line: u64::from(line),
        channel_order_no: row.try_get("channel_order_no")?,
        transaction_id: row.try_get("transaction_id")?,
        amount: Money::new(row.try_get("amount")?, currency),
        settled: Money::new(row.try_get("settled")?, currency),
        fee_1e5: row.try_get("fee_1e5")?,
        foreign: row.try_get("is_foreign")?,
        status: STATUSES[usize::from(status).min(2)],
        at: from_civil(row.try_get("at")?),
    })
}

pub(super) fn read_bill(row: &MySqlRow) -> Result<AcceptedBill, StoreError> {
    let day: time::Date = row.try_get("bill_day")?;
    let sums: Option<String> = row.try_get("sums")?;
    Ok(AcceptedBill {
        id: row.try_get("id")?,
        channel: crate::store::rows::channel(row)?,
        day: crate::store::from_day(day),
        digest: row.try_get("digest")?,
        sums: read_sums(&sums.unwrap_or_default())?,
        fee_1e5: row.try_get("fee_1e5")?,
    })
}

/// Sums as JSON: `[["payment","CNY",rows,"minor units"],…]`.
fn sums_text(sums: &Sums) -> String {
    let lines = sums.iter().map(|((kind, currency), (rows, minor))| {
        Value::from(vec![
            Value::from(kind.as_str()),
            Value::from(currency.as_str()),
            Value::from(*rows),
            Value::from(minor.to_string()),
        ])
    });
    Value::from(lines.collect::<Vec<_>>()).to_string()
}

pub(super) fn read_sums(text: &str) -> Result<Sums, StoreError> {
    let unreadable = || StoreError::Unreadable {
        what: "a bill's sums",
        value: text.to_owned(),
    };
    if text.is_empty() {
        return Ok(Sums::new());
    }
    let lines: Vec<(String, String, u64, String)> =
        serde_json::from_str(text).map_err(|_| unreadable())?;
    lines
        .into_iter()
        .map(|(kind, currency, rows, minor)| {
            let kind = Kind::parse(&kind).ok_or_else(unreadable)?;
            let minor = minor.parse().map_err(|_| unreadable())?;
            Currency::parse(&currency).map_err(|_| unreadable())?;
            Ok(((kind, currency), (rows, minor)))
        })
        .collect()
}
