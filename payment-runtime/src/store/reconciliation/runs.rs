//! Runs: who compares a day, how far it has come, and what it found.

use jiff::Timestamp;
use jiff::civil::Date;
use payment_core::ChannelKind;
use payment_core::reconciliation::{DifferenceClass, Kind, Line, Totals};
use serde::{Deserialize, Serialize};
use sqlx::{MySql, MySqlConnection, Row as _, Transaction};

use super::bills::counts;
use super::differences::upsert_difference;
use crate::reconcile::books::{AcceptedBill, Begun, Held, NewDifference, Progress};
use crate::store::{Failure, Store, StoreError, retried, to_datetime, to_day};

impl Store {
    pub(super) async fn hold_day(
        &self,
        bill: &AcceptedBill,
        owner: &str,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Begun, StoreError> {
        Ok(retried(|| self.try_hold_day(bill, owner, now, lease_until)).await?)
    }

    async fn try_hold_day(
        &self,
        bill: &AcceptedBill,
        owner: &str,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Begun, Failure> {
        let (channel, day) = (bill.channel.as_str(), to_day(bill.day));
        let mut tx = self.lock_day(bill.channel, bill.day).await?;
        let row = sqlx::query(
            "SELECT run_id, lease_until > ? AS held FROM reconciliation_days \
             WHERE payment_channel = ? AND bill_day = ? FOR UPDATE",
        )
        .bind(to_datetime(now))
        .bind(channel)
        .bind(&day)
        .fetch_one(&mut *tx)
        .await?;
        let held = row.try_get::<Option<bool>, _>("held")?.unwrap_or(false);
        if held || !counts(&mut tx, bill.id).await? {
            tx.rollback().await?;
            return Ok(Begun::Busy);
        }
        let left = unfinished(&mut tx, row.try_get("run_id")?, bill.id).await?;
        let (run_id, progress, resumed) = match left {
            Some((run_id, progress)) => (run_id, progress, true),
            None => (
                insert_run(&mut tx, bill, now).await?,
                Progress::start(),
                false,
            ),
        };
        sqlx::query(
            "UPDATE reconciliation_days SET run_id = ?, owner = ?, lease_until = ? \
             WHERE payment_channel = ? AND bill_day = ?",
        )
        .bind(run_id)
        .bind(owner)
        .bind(to_datetime(lease_until))
        .bind(channel)
        .bind(&day)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Begun::Held(Box::new(Held {
            run_id,
            owner: owner.to_owned(),
            progress,
            resumed,
        })))
    }

    pub(super) async fn keep_piece(
        &self,
        bill: &AcceptedBill,
        held: &Held,
        found: &[NewDifference],
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<bool, StoreError> {
        let done = retried(|| self.try_keep_piece(bill, held, found, now, lease_until));
        Ok(done.await?)
    }

    async fn try_keep_piece(
        &self,
        bill: &AcceptedBill,
        held: &Held,
        found: &[NewDifference],
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<bool, Failure> {
        let mut tx = self.begin().await?;
        if !still_held(&mut tx, bill, held, Some(lease_until)).await? {
            tx.commit().await?;
            return Ok(false);
        }
        for difference in found {
            upsert_difference(&mut tx, bill, held.run_id, difference, now).await?;
        }
        write_progress(&mut tx, held, None).await?;
        tx.commit().await?;
        Ok(true)
    }

    pub(super) async fn end_run(
        &self,
        bill: &AcceptedBill,
        held: &Held,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        Ok(retried(|| self.try_end_run(bill, held, now)).await?)
    }

    async fn try_end_run(
        &self,
        bill: &AcceptedBill,
        held: &Held,
        now: Timestamp,
    ) -> Result<bool, Failure> {
        let mut tx = self.begin().await?;
        if !still_held(&mut tx, bill, held, None).await? {
            tx.commit().await?;
            return Ok(false);
        }
        write_progress(&mut tx, held, Some(now)).await?;
        tx.commit().await?;
        Ok(true)
    }
}

impl Store {
    /// A transaction in which nobody else changes who compares this day, and which bill counts.
    pub(super) async fn lock_day(
        &self,
        channel: ChannelKind,
        day: Date,
    ) -> Result<Transaction<'static, MySql>, Failure> {
        // By itself: inserts that wait for each other inside transactions would be a deadlock.
        sqlx::query(
            "INSERT IGNORE INTO reconciliation_days (payment_channel, bill_day) VALUES (?, ?)",
        )
        .bind(channel.as_str())
        .bind(to_day(day))
        .execute(&self.pool)
        .await?;
        let mut tx = self.begin().await?;
        sqlx::query(
            "SELECT run_id FROM reconciliation_days WHERE payment_channel = ? AND bill_day = ? \
             FOR UPDATE",
        )
        .bind(channel.as_str())
        .bind(to_day(day))
        .fetch_one(&mut *tx)
        .await?;
        Ok(tx)
    }
}

/// A run of the same bill that nobody finished.
async fn unfinished(
    connection: &mut MySqlConnection,
    run_id: Option<u64>,
    bill_id: u64,
) -> Result<Option<(u64, Progress)>, Failure> {
    let Some(run_id) = run_id else {
        return Ok(None);
    };
    let row = sqlx::query(
        "SELECT progress FROM reconciliation_runs \
         WHERE id = ? AND bill_id = ? AND finished_at IS NULL",
    )
    .bind(run_id)
    .bind(bill_id)
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let text: Option<String> = row.try_get("progress")?;
    let progress = match text {
        Some(text) => read_progress(&text)?,
        None => Progress::start(),
    };
    Ok(Some((run_id, progress)))
}

async fn insert_run(
    connection: &mut MySqlConnection,
    bill: &AcceptedBill,
    now: Timestamp,
) -> Result<u64, Failure> {
    let rows: u64 = bill.sums.values().map(|(rows, _)| rows).sum();
    let charged = bill
        .sums
        .iter()
        .filter(|((kind, _), _)| *kind == Kind::Payment)
        .map(|(_, (_, minor))| *minor)
        .sum::<i128>();
    let done = sqlx::query(
        "INSERT INTO reconciliation_runs (payment_channel, bill_day, bill_id, started_at, \
         bill_rows, matched, differences, bill_minor, matched_minor) \
         VALUES (?, ?, ?, ?, ?, 0, 0, ?, 0)",
    )
    .bind(bill.channel.as_str())
    .bind(to_day(bill.day))
    .bind(bill.id)
    .bind(to_datetime(now))
    .bind(rows)
    .bind(i64::try_from(charged).unwrap_or(i64::MAX))
    .execute(connection)
    .await?;
    Ok(done.last_insert_id())
}

/// Whether the day is still this process's, and the bill the day's; with `until`, for so long
/// again. Without, and when the bill was replaced, the day is given back.
async fn still_held(
    connection: &mut MySqlConnection,
    bill: &AcceptedBill,
    held: &Held,
    until: Option<Timestamp>,
) -> Result<bool, Failure> {
    // The lease is read under its lock: an UPDATE that changes nothing would count no row.
    let row = sqlx::query(
        "SELECT owner FROM reconciliation_days WHERE payment_channel = ? AND bill_day = ? \
         FOR UPDATE",
    )
    .bind(bill.channel.as_str())
    .bind(to_day(bill.day))
    .fetch_optional(&mut *connection)
    .await?;
    let owner: Option<String> = row.map(|row| row.try_get("owner")).transpose()?.flatten();
    if owner.as_deref() != Some(held.owner.as_str()) {
        return Ok(false);
    }
    let counts = counts(connection, bill.id).await?;
    let until = until.filter(|_| counts);
    sqlx::query(
        "UPDATE reconciliation_days SET lease_until = ?, owner = IF(? IS NULL, NULL, owner) \
         WHERE payment_channel = ? AND bill_day = ?",
    )
    .bind(until.map(to_datetime))
    .bind(until.map(to_datetime))
    .bind(bill.channel.as_str())
    .bind(to_day(bill.day))
    .execute(connection)
    .await?;
    Ok(counts)
}

async fn write_progress(
    connection: &mut MySqlConnection,
    held: &Held,
    finished_at: Option<Timestamp>,
) -> Result<(), Failure> {
    let progress = &held.progress;
    let matched_minor: i128 = progress
        .totals
        .0
        .iter()
        .filter(|((kind, class, _), _)| *kind == Kind::Payment && class.is_none())
        .map(|(_, line)| line.bill_minor)
        .sum();
    sqlx::query(
        "UPDATE reconciliation_runs SET progress = ?, matched = ?, matched_minor = ?, \
         differences = ?, finished_at = ? WHERE id = ?",
    )
    .bind(progress_text(progress))
    .bind(progress.totals.matched())
    .bind(i64::try_from(matched_minor).unwrap_or(i64::MAX))
    .bind(progress.differences)
    .bind(finished_at.map(to_datetime))
    .bind(held.run_id)
    .execute(connection)
    .await?;
    Ok(())
}

/// Kind, class, currency; rows and minor units of ours, of the bill.
type WrittenLine = (String, Option<String>, String, u64, String, u64, String);

/// Progress as JSON. Sums are text: they may be larger than a JSON reader's integers.
#[derive(Serialize, Deserialize)]
struct Written {
    kind: String,
    after: Option<(String, u64)>,
    chain: String,
    totals: Vec<WrittenLine>,
    differences: u64,
    done: bool,
}

fn progress_text(progress: &Progress) -> String {
    let totals = progress
        .totals
        .0
        .iter()
        .map(|((kind, class, currency), line)| {
            (
                kind.as_str().to_owned(),
                class.map(|class| class.as_str().to_owned()),
                currency.clone(),
                line.our_rows,
                line.our_minor.to_string(),
                line.bill_rows,
                line.bill_minor.to_string(),
            )
        });
    let written = Written {
        kind: progress.kind.as_str().to_owned(),
        after: progress.after.clone(),
        chain: progress.chain.clone(),
        totals: totals.collect(),
        differences: progress.differences,
        done: progress.done,
    };
    // Strings and numbers always can be written.
    serde_json::to_string(&written).unwrap_or_default()
}

pub(super) fn read_progress(text: &str) -> Result<Progress, StoreError> {
    parsed(text).ok_or_else(|| StoreError::Unreadable {
        what: "a run's progress",
        value: text.chars().take(200).collect(),
    })
}

fn parsed(text: &str) -> Option<Progress> {
    let written: Written = serde_json::from_str(text).ok()?;
    let mut totals = Totals::default();
    for (kind, class, currency, our_rows, our_minor, bill_rows, bill_minor) in written.totals {
        let class = match class {
            None => None,
            Some(name) => Some(DifferenceClass::parse(&name)?),
        };
        let line = Line {
            our_rows,
            our_minor: our_minor.parse().ok()?,
            bill_rows,
            bill_minor: bill_minor.parse().ok()?,
        };
        totals
            .0
            .insert((Kind::parse(&kind)?, class, currency), line);
    }
    Some(Progress {
        kind: Kind::parse(&written.kind)?,
        after: written.after,
        chain: written.chain,
        totals,
        differences: written.differences,
        done: written.done,
    })
}
