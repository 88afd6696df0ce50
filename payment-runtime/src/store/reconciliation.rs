//! Reconciliation runs and the differences they found.

use jiff::Timestamp;
use jiff::civil::Date;
use payment_core::matching::Difference;
use payment_core::{ChannelKind, PaymentState};
use sqlx::mysql::MySqlRow;
use sqlx::{MySqlConnection, Row as _};
use time::PrimitiveDateTime;

use super::{Store, StoreError, from_datetime, to_datetime, to_day};

/// A comparison of one channel's bill of one day, about to be stored.
#[derive(Clone, Debug)]
pub struct NewRun {
    pub channel: ChannelKind,
    pub day: Date,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    pub bill_rows: u64,
    pub matched: u64,
    pub bill_minor: i64,
    pub matched_minor: i64,
    pub differences: Vec<Difference>,
}

/// A stored comparison.
#[derive(Clone, Debug)]
pub struct Run {
    pub id: u64,
    pub channel: String,
    pub day: String,
    pub finished_at: Timestamp,
    pub bill_rows: i64,
    pub matched: i64,
    pub differences: i64,
}

/// A stored difference.
#[derive(Clone, Debug)]
pub struct StoredDifference {
    pub id: u64,
    pub channel: String,
    pub day: String,
    pub channel_order_no: String,
    pub class: String,
    pub our_status: Option<String>,
    pub our_minor: Option<i64>,
    pub bill_minor: Option<i64>,
    pub currency: String,
    pub found_at: Timestamp,
}

/// Open differences of one channel and class.
#[derive(Clone, Debug)]
pub struct OpenDifferences {
    pub channel: String,
    pub class: String,
    pub count: u64,
}

impl Store {
    /// Stores a run and its differences as one: what an earlier run of the same bill found and
    /// this one did not is resolved.
    pub async fn store_run(&self, run: &NewRun) -> Result<u64, StoreError> {
        let mut tx = self.pool.begin().await?;
        let run_id = insert_run(&mut tx, run).await?;
        for difference in &run.differences {
            upsert_difference(&mut tx, run, run_id, difference).await?;
        }
        sqlx::query(
            "UPDATE reconciliation_differences SET resolved_at = ?, resolution = 'agreed-later' \
             WHERE payment_channel = ? AND bill_day = ? AND resolved_at IS NULL \
             AND last_run_id <> ?",
        )
        .bind(to_datetime(run.finished_at))
        .bind(run.channel.as_str())
        .bind(to_day(run.day))
        .bind(run_id)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(run_id)
    }

    /// The newest runs, at most `limit`.
    pub async fn runs(&self, limit: u32) -> Result<Vec<Run>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, payment_channel, CAST(bill_day AS CHAR) AS day, finished_at, bill_rows, \
             matched, differences FROM reconciliation_runs ORDER BY id DESC LIMIT ?",
        )
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read_run).collect()
    }

    /// Open differences, oldest first, at most `limit` after the id `after`.
    pub async fn open_differences(
        &self,
        after: u64,
        limit: u32,
    ) -> Result<Vec<StoredDifference>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, payment_channel, CAST(bill_day AS CHAR) AS day, channel_order_no, class, \
             our_status, our_minor, bill_minor, currency, found_at \
             FROM reconciliation_differences WHERE resolved_at IS NULL AND id > ? \
             ORDER BY id LIMIT ?",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read_difference).collect()
    }

    /// Open differences counted by channel and class.
    pub async fn difference_counts(&self) -> Result<Vec<OpenDifferences>, StoreError> {
        let rows = sqlx::query(
            "SELECT payment_channel, class, COUNT(*) AS n FROM reconciliation_differences \
             WHERE resolved_at IS NULL GROUP BY payment_channel, class",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(OpenDifferences {
                    channel: row.try_get("payment_channel")?,
                    class: row.try_get("class")?,
                    count: u64::try_from(row.try_get::<i64, _>("n")?).unwrap_or_default(),
                })
            })
            .collect()
    }

    /// When a run of each channel last ended.
    pub async fn last_runs(&self) -> Result<Vec<(String, Timestamp)>, StoreError> {
        let rows = sqlx::query(
            "SELECT payment_channel, MAX(finished_at) AS last_at FROM reconciliation_runs \
             GROUP BY payment_channel",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                let at: PrimitiveDateTime = row.try_get("last_at")?;
                Ok((row.try_get("payment_channel")?, from_datetime(at)))
            })
            .collect()
    }
}

async fn insert_run(connection: &mut MySqlConnection, run: &NewRun) -> Result<u64, StoreError> {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let differences = count(run.differences.len() as u64);
    let done = sqlx::query(
        "INSERT INTO reconciliation_runs (payment_channel, bill_day, started_at, finished_at, \
         bill_rows, matched, differences, bill_minor, matched_minor) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(run.channel.as_str())
    .bind(to_day(run.day))
    .bind(to_datetime(run.started_at))
    .bind(to_datetime(run.finished_at))
    .bind(count(run.bill_rows))
    .bind(count(run.matched))
    .bind(differences)
    .bind(run.bill_minor)
    .bind(run.matched_minor)
    .execute(connection)
    .await?;
    Ok(done.last_insert_id())
}

async fn upsert_difference(
    connection: &mut MySqlConnection,
    run: &NewRun,
    run_id: u64,
    difference: &Difference,
) -> Result<(), StoreError> {
    let ours = difference.ours.as_ref();
    let bill = difference.bill.as_ref();
    let currency = bill
        .map(|b| b.amount.currency)
        .or(ours.map(|o| o.amount.currency));
    sqlx::query(
        "INSERT INTO reconciliation_differences (payment_channel, bill_day, channel_order_no, \
         class, our_status, our_minor, bill_minor, currency, first_run_id, last_run_id, \
         found_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
         ON DUPLICATE KEY UPDATE our_status = VALUES(our_status), \
         our_minor = VALUES(our_minor), bill_minor = VALUES(bill_minor), \
         last_run_id = VALUES(last_run_id), resolved_at = NULL, resolution = NULL",
    )
    .bind(run.channel.as_str())
    .bind(to_day(run.day))
    .bind(&difference.channel_order_no)
    .bind(difference.class.as_str())
    .bind(ours.map(|o| PaymentState::as_str(o.state)))
    .bind(ours.map(|o| o.amount.minor))
    .bind(bill.map(|b| b.amount.minor))
    .bind(currency.map_or("", payment_core::Currency::code))
    .bind(run_id)
    .bind(run_id)
    .bind(to_datetime(run.finished_at))
    .execute(connection)
    .await?;
    Ok(())
}

fn read_run(row: &MySqlRow) -> Result<Run, StoreError> {
    Ok(Run {
        id: row.try_get("id")?,
        channel: row.try_get("payment_channel")?,
        day: row.try_get("day")?,
        finished_at: from_datetime(row.try_get("finished_at")?),
        bill_rows: row.try_get("bill_rows")?,
        matched: row.try_get("matched")?,
        differences: row.try_get("differences")?,
    })
}

fn read_difference(row: &MySqlRow) -> Result<StoredDifference, StoreError> {
    Ok(StoredDifference {
        id: row.try_get("id")?,
        channel: row.try_get("payment_channel")?,
        day: row.try_get("day")?,
        channel_order_no: row.try_get("channel_order_no")?,
        class: row.try_get("class")?,
        our_status: row.try_get("our_status")?,
        our_minor: row.try_get("our_minor")?,
        bill_minor: row.try_get("bill_minor")?,
        currency: row.try_get("currency")?,
        found_at: from_datetime(row.try_get("found_at")?),
    })
}
