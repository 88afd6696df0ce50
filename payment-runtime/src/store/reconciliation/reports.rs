//! What people and gauges read: runs, lists of differences, counts.

use jiff::Timestamp;
use payment_core::ChannelKind;
use payment_core::reconciliation::{DifferenceClass, Unprovable};
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, Row as _};
use time::PrimitiveDateTime;

use super::differences;
use super::runs::read_progress;
use crate::reconcile::books::{AcceptedBill, DifferenceRecord, DifferenceState, Filter, Progress};
use crate::store::rows::{channel, named};
use crate::store::{Store, StoreError, from_datetime, from_day};

/// A comparison as it is kept.
#[derive(Clone, Debug)]
pub struct Run {
    pub id: u64,
    pub channel: ChannelKind,
    pub day: jiff::civil::Date,
    pub started_at: Timestamp,
    /// `None`: it is at work, or was killed and will be continued.
    pub finished_at: Option<Timestamp>,
    pub bill_id: Option<u64>,
    pub bill_rows: u64,
    pub progress: Option<Progress>,
}

/// Unresolved differences of one channel, class and state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DifferenceCount {
    pub channel: ChannelKind,
    pub class: DifferenceClass,
    pub state: DifferenceState,
    pub count: u64,
    pub minor: i64,
}

/// Automatic corrections of one channel, class and outcome (`corrected` or `capped`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorrectionCount {
    pub channel: ChannelKind,
    pub class: DifferenceClass,
    pub outcome: String,
    pub count: u64,
}

/// A bill that was not accepted.
#[derive(Clone, Debug)]
pub struct RefusedBill {
    pub channel: ChannelKind,
    pub day: jiff::civil::Date,
    pub reason: String,
    pub detail: String,
    pub at: Timestamp,
}

impl Store {
    /// Runs newest first, `limit` of them, continuing below the id `before`.
    pub async fn runs(&self, before: Option<u64>, limit: u32) -> Result<Vec<Run>, StoreError> {
        let rows =
            sqlx::query("SELECT * FROM reconciliation_runs WHERE id < ? ORDER BY id DESC LIMIT ?")
                .bind(before.unwrap_or(u64::MAX))
                .bind(limit)
                .fetch_all(&self.pool)
                .await?;
        rows.iter().map(read_run).collect()
    }

    pub async fn run(&self, id: u64) -> Result<Option<Run>, StoreError> {
        let row = sqlx::query("SELECT * FROM reconciliation_runs WHERE id = ?")
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(read_run).transpose()
    }

    /// The bill a run compared, while it is kept.
    pub async fn bill(&self, id: u64) -> Result<Option<AcceptedBill>, StoreError> {
        let row = sqlx::query("SELECT * FROM bills WHERE id = ?")
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(super::bills::read_bill).transpose()
    }

    /// Differences by id after `after`, at most `limit` of those the filter wants. Without a
    /// state in the filter: those that are not resolved.
    pub async fn differences(
        &self,
        filter: &Filter,
        after: u64,
        limit: u32,
    ) -> Result<Vec<DifferenceRecord>, StoreError> {
        let (wanted, values) = conditions(filter);
        let sql = format!(
            "SELECT * FROM reconciliation_differences WHERE id > ?{wanted} ORDER BY id LIMIT ?"
        );
        // The text is put together from constants; every value is bound.
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(after);
        for value in values {
            query = query.bind(value);
        }
        let rows = query.bind(limit).fetch_all(&self.pool).await?;
        rows.iter().map(differences::read).collect()
    }

    /// The id of the difference that follows `skipped` others of those the filter wants.
    pub async fn difference_behind(
        &self,
        filter: &Filter,
        after: u64,
        skipped: u32,
    ) -> Result<Option<u64>, StoreError> {
        let (wanted, values) = conditions(filter);
        let sql = format!(
            "SELECT id FROM reconciliation_differences WHERE id > ?{wanted} \
             ORDER BY id LIMIT 1 OFFSET ?"
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(after);
        for value in values {
            query = query.bind(value);
        }
        let row = query.bind(skipped).fetch_optional(&self.pool).await?;
        Ok(row.map(|row| row.try_get("id")).transpose()?)
    }

    /// Unresolved differences counted by channel, class and state.
    pub async fn difference_counts(&self) -> Result<Vec<DifferenceCount>, StoreError> {
        let rows = sqlx::query(
            "SELECT payment_channel, class, state, COUNT(*) AS n, \
             CAST(SUM(COALESCE(bill_minor, our_minor, 0)) AS SIGNED) AS minor \
             FROM reconciliation_differences WHERE state <> 'resolved' \
             GROUP BY payment_channel, class, state",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read_count).collect()
    }

    /// Automatic corrections so far.
    pub async fn correction_counts(&self) -> Result<Vec<CorrectionCount>, StoreError> {
        let rows = sqlx::query(
            "SELECT a.payment_channel, d.class, \
             IF(a.moved_minor IS NULL, 'capped', 'corrected') AS outcome, COUNT(*) AS n \
             FROM reconciliation_actions a JOIN reconciliation_differences d \
             ON d.id = a.difference_id WHERE a.actor = 'system' \
             AND (a.moved_minor IS NOT NULL OR a.reason = ?) \
             GROUP BY a.payment_channel, d.class, outcome",
        )
        .bind(Unprovable::Capped.as_str())
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                let count: i64 = row.try_get("n")?;
                Ok(CorrectionCount {
                    channel: channel(row)?,
                    class: named(row, "class", "a class", DifferenceClass::parse)?,
                    outcome: row.try_get("outcome")?,
                    count: u64::try_from(count).unwrap_or_default(),
                })
            })
            .collect()
    }

    /// When a run of each channel last ended.
    pub async fn last_runs(&self) -> Result<Vec<(ChannelKind, Timestamp)>, StoreError> {
        let rows = sqlx::query(
            "SELECT payment_channel, MAX(finished_at) AS last_at FROM reconciliation_runs \
             WHERE finished_at IS NOT NULL GROUP BY payment_channel",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| Ok((channel(row)?, from_datetime(row.try_get("last_at")?))))
            .collect()
    }

    /// Days whose newest bill was refused, newest first, at most a hundred.
    pub async fn refused_bills(&self) -> Result<Vec<RefusedBill>, StoreError> {
        let rows = sqlx::query(
            "SELECT b.* FROM bills b JOIN (SELECT payment_channel, bill_day, MAX(id) AS id \
             FROM bills WHERE state IN ('accepted', 'refused') \
             GROUP BY payment_channel, bill_day) newest ON newest.id = b.id \
             WHERE b.state = 'refused' ORDER BY b.id DESC LIMIT 100",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                Ok(RefusedBill {
                    channel: channel(row)?,
                    day: from_day(row.try_get("bill_day")?),
                    reason: row
                        .try_get::<Option<String>, _>("reason")?
                        .unwrap_or_default(),
                    detail: row
                        .try_get::<Option<String>, _>("detail")?
                        .unwrap_or_default(),
                    at: from_datetime(row.try_get("changed_at")?),
                })
            })
            .collect()
    }
}

/// What the filter adds to a WHERE, and the values that belong to it.
fn conditions(filter: &Filter) -> (String, Vec<&str>) {
    let (mut sql, mut values) = (String::new(), Vec::new());
    match filter.state.as_deref() {
        None => sql += " AND state <> 'resolved'",
        Some("all") => {}
        Some(state) => {
            sql += " AND state = ?";
            values.push(state);
        }
    }
    for (value, condition) in [
        (&filter.class, " AND class = ?"),
        (&filter.channel, " AND payment_channel = ?"),
        (&filter.day, " AND bill_day = ?"),
        (&filter.assignee, " AND assignee = ?"),
        (
            &filter.number,
            " AND ? IN (number, channel_order_no, payment_no, refund_no, transaction_id)",
        ),
    ] {
        if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
            sql += condition;
            values.push(value);
        }
    }
    (sql, values)
}

pub(super) fn read_run(row: &MySqlRow) -> Result<Run, StoreError> {
    let progress: Option<String> = row.try_get("progress")?;
    let rows: i64 = row.try_get("bill_rows")?;
    let finished: Option<PrimitiveDateTime> = row.try_get("finished_at")?;
    Ok(Run {
        id: row.try_get("id")?,
        channel: channel(row)?,
        day: from_day(row.try_get("bill_day")?),
        started_at: from_datetime(row.try_get("started_at")?),
        finished_at: finished.map(from_datetime),
        bill_id: row.try_get("bill_id")?,
        bill_rows: u64::try_from(rows).unwrap_or_default(),
        progress: progress.as_deref().map(read_progress).transpose()?,
    })
}

fn read_count(row: &MySqlRow) -> Result<DifferenceCount, StoreError> {
    let count: i64 = row.try_get("n")?;
    Ok(DifferenceCount {
        channel: channel(row)?,
        class: named(row, "class", "a class", DifferenceClass::parse)?,
        state: named(row, "state", "a difference's state", DifferenceState::parse)?,
        count: u64::try_from(count).unwrap_or_default(),
        minor: row.try_get("minor")?,
    })
}
