//! What one look at the last days needs.

use jiff::Timestamp;
use jiff::civil::Date;
use payment_core::ChannelKind;
use payment_core::reconciliation::DifferenceClass;
use sqlx::Row as _;
use sqlx::mysql::MySqlRow;

use super::bills::read_sums;
use super::reports::{Run, read_run};
use crate::reconcile::books::{DifferenceState, Sums};
use crate::store::rows::{channel, named};
use crate::store::{Store, StoreError, from_day, to_datetime, to_day};

/// The newest run of a channel's day.
#[derive(Clone, Debug)]
pub struct LatestRun {
    pub run: Run,
    /// What its bill adds up to, while the bill is kept.
    pub sums: Option<Sums>,
    /// A process is at work on it now.
    pub held: bool,
}

/// Unresolved differences of one class, currency and state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassTotal {
    pub class: DifferenceClass,
    pub state: DifferenceState,
    pub currency: String,
    pub count: u64,
    pub minor: i128,
}

impl Store {
    /// The newest run of each channel's day since `since`, that day included.
    pub async fn latest_runs(
        &self,
        since: Date,
        now: Timestamp,
    ) -> Result<Vec<LatestRun>, StoreError> {
        let rows = sqlx::query(
            "SELECT r.*, b.sums, COALESCE(d.lease_until > ?, FALSE) AS held \
             FROM reconciliation_runs r JOIN (SELECT MAX(id) AS id FROM reconciliation_runs \
             WHERE bill_day >= ? GROUP BY payment_channel, bill_day) newest ON newest.id = r.id \
             LEFT JOIN bills b ON b.id = r.bill_id \
             LEFT JOIN reconciliation_days d ON d.payment_channel = r.payment_channel \
             AND d.bill_day = r.bill_day AND d.run_id = r.id",
        )
        .bind(to_datetime(now))
        .bind(to_day(since))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read_latest).collect()
    }

    /// Unresolved differences by class, currency and state.
    pub async fn unresolved_totals(&self) -> Result<Vec<ClassTotal>, StoreError> {
        // As text: a sum may be larger than 64 bits.
        let rows = sqlx::query(
            "SELECT class, state, IF(bill_minor IS NULL, currency, bill_currency) AS code, \
             COUNT(*) AS n, CAST(SUM(COALESCE(bill_minor, our_minor, 0)) AS CHAR) AS minor \
             FROM reconciliation_differences WHERE state <> 'resolved' \
             GROUP BY class, state, code ORDER BY class, code, state",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read_total).collect()
    }

    /// How many unresolved differences each channel's day has, since `since`.
    pub async fn unresolved_by_day(
        &self,
        since: Date,
    ) -> Result<Vec<(ChannelKind, Date, u64)>, StoreError> {
        let rows = sqlx::query(
            "SELECT payment_channel, bill_day, COUNT(*) AS n FROM reconciliation_differences \
             WHERE state <> 'resolved' AND bill_day >= ? GROUP BY payment_channel, bill_day",
        )
        .bind(to_day(since))
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                let day = from_day(row.try_get("bill_day")?);
                Ok((channel(row)?, day, count(row)?))
            })
            .collect()
    }
}

fn read_latest(row: &MySqlRow) -> Result<LatestRun, StoreError> {
    let sums: Option<String> = row.try_get("sums")?;
    Ok(LatestRun {
        run: read_run(row)?,
        sums: sums.as_deref().map(read_sums).transpose()?,
        held: row.try_get("held")?,
    })
}

fn read_total(row: &MySqlRow) -> Result<ClassTotal, StoreError> {
    let minor: String = row.try_get("minor")?;
    let unreadable = || StoreError::Unreadable {
        what: "a sum of differences",
        value: minor.clone(),
    };
    Ok(ClassTotal {
        class: named(row, "class", "a class", DifferenceClass::parse)?,
        state: named(row, "state", "a difference's state", DifferenceState::parse)?,
        currency: row.try_get("code")?,
        count: count(row)?,
        minor: minor.parse().map_err(|_| unreadable())?,
    })
}

fn count(row: &MySqlRow) -> Result<u64, StoreError> {
    let count: i64 = row.try_get("n")?;
    Ok(u64::try_from(count).unwrap_or_default())
}
