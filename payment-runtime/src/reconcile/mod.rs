//! Reconciliation: the channel's bill, our records and the ledger are held against each other;
//! what differs is found, corrected where the evidence allows, and otherwise told to people.
//!
//! Guarantees: a bill is compared whole or not at all; overlapping, killed and repeated runs are
//! harmless and come to the same result; nothing is corrected without the channel's fresh word;
//! every correction is a new ledger entry and a new line of the difference's trail.
//!
//! Deliberately not here: what is a difference and what may be done about it
//! (`payment_core::reconciliation`), SQL (`store`).

pub mod bills;
pub mod books;
mod compare;
mod correct;
mod fees;
pub mod http;
pub mod notify;
pub mod people;
pub mod report;
pub mod resolve;
pub mod shown;
mod tell;
mod today;
mod wanted;
mod web;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use contract::config::Reconciliation;
use contract::{Role, RunSummary};
use futures::stream::{self, StreamExt as _};
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use payment_core::ChannelKind;
use payment_core::reconciliation::Proof;

use crate::clock;
use crate::payments::{PayError, Payments};
use crate::ports::StoreError;
use crate::roles::Parts;

use books::{AcceptedBill, BillRefused, Bills, Books};
use compare::Comparison;

pub use wanted::BadFilter;

/// A process that compares a day says so this often; without a word for that long it is gone.
const LEASE: Duration = Duration::from_secs(30);
/// How long the end of a run waits for those whom it tells.
const DELIVERY_MAX: Duration = Duration::from_secs(30);

/// What reconciliation works with.
#[derive(Clone)]
pub struct Reconciler {
    pub payments: Arc<Payments>,
    pub books: Arc<dyn Books>,
    pub bills: Arc<dyn Bills>,
}

/// Which bills a run compares.
#[derive(Clone, Debug)]
pub struct Plan {
    pub days: Vec<Date>,
    pub channels: Vec<ChannelKind>,
    /// Ask the channels about today's payments that are not settled.
    pub today: bool,
    /// Compare and print, keep nothing.
    pub dry_run: bool,
}

impl Plan {
    /// The last `days` finished days of every configured channel, and today.
    pub fn last_days(payments: &Payments, days: u32) -> Self {
        let today = clock::bill_day(payments.now());
        let days = (1..=i64::from(days))
            .rev()
            .filter_map(|n| today.checked_sub(n.days()).ok());
        Self {
            days: days.collect(),
            channels: payments.channels.kinds(),
            today: true,
            dry_run: false,
        }
    }

    /// Every bill the plan names, day by day.
    fn bills(&self) -> Vec<(Date, ChannelKind)> {
        let of = |day: &Date| {
            let day = *day;
            self.channels.iter().map(move |channel| (day, *channel))
        };
        self.days.iter().flat_map(of).collect()
    }

    /// One day of every configured channel.
    pub fn day(payments: &Payments, day: Date) -> Self {
        Self {
            days: vec![day],
            channels: payments.channels.kinds(),
            today: false,
            dry_run: false,
        }
    }
}

/// Why a bill could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Pay(#[from] PayError),
    #[error("the channel refused its bill: {0}")]
    ChannelRefused(String),
    #[error("the channel gave no verified answer: {0}")]
    NoAnswer(String),
    #[error("the bill is not accepted ({}): {}", .0.reason, .0.detail)]
    BillRefused(BillRefused),
}

/// What came of one channel's bill of one day.
#[derive(Debug)]
pub enum DayResult {
    /// The channel has not made it yet.
    NotReady,
    /// Another process compares it now, or has replaced it.
    Busy,
    Compared {
        bill: Box<AcceptedBill>,
        comparison: Box<Comparison>,
        proofs: Vec<Proof>,
        corrected: u64,
    },
    Failed(RunError),
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct RunResult {
    pub days: Vec<(Date, ChannelKind, DayResult)>,
    pub asked_today: u64,
}

impl Reconciler {
    pub fn new(parts: &Parts) -> Self {
        let store = Arc::new(parts.store.clone());
        Self {
            payments: parts.payments.clone(),
            books: store,
            bills: Arc::new(bills::ChannelBills::new(parts)),
        }
    }

    fn now(&self) -> Timestamp {
        self.payments.now()
    }

    fn settings(&self) -> &Reconciliation {
        &self.payments.config.reconciliation
    }

    /// Does what the plan says, telling `told` about each bill as soon as it is dealt with. A bill
    /// that fails does not keep the others from being compared.
    pub async fn run(
        &self,
        plan: &Plan,
        told: &(dyn Fn(Date, ChannelKind, &DayResult) + Sync),
    ) -> Result<RunResult, StoreError> {
        let asked_today = if plan.today && !plan.dry_run {
            self.ask_about_today(&plan.channels).await?
        } else {
            0
        };
        let wanted = plan.bills();
        // All bills first: what is missing on one may stand on the next.
        let at_once = self.settings().workers.max(1) as usize;
        let fetched: Vec<_> = stream::iter(wanted)
            .map(|(day, channel)| async move {
                (day, channel, self.import(channel, day, plan.dry_run).await)
            })
            .buffered(at_once)
            .collect()
            .await;
        let days = stream::iter(fetched)
            .map(|(day, channel, bill)| async move {
                let result = match bill {
                    Ok(Some(bill)) => self.one_day(bill, plan.dry_run).await,
                    Ok(None) => Ok(DayResult::NotReady),
                    Err(error) => Err(error),
                };
                let result = result.unwrap_or_else(DayResult::Failed);
                if let DayResult::Failed(RunError::BillRefused(refused)) = &result
                    && !plan.dry_run
                {
                    self.tell_of_refusal(channel, day, refused).await;
                }
                told(day, channel, &result);
                (day, channel, result)
            })
            .buffered(at_once)
            .collect()
            .await;
        Ok(RunResult { days, asked_today })
    }

    async fn one_day(&self, bill: AcceptedBill, dry_run: bool) -> Result<DayResult, RunError> {
        if dry_run {
            let comparison = self.compare_without_trace(&bill).await?;
            let proofs = comparison.held.progress.totals.proofs(&bill.sums);
            self.books.forget_trial(bill.id).await?;
            return Ok(DayResult::Compared {
                bill: Box::new(bill),
                comparison: Box::new(comparison),
                proofs,
                corrected: 0,
            });
        }
        let Some(comparison) = self.compare(&bill).await? else {
            return Ok(DayResult::Busy);
        };
        let proofs = comparison.held.progress.totals.proofs(&bill.sums);
        self.heal(&bill, comparison.held.run_id).await?;
        self.post_fee(&bill).await?;
        let corrected = self.correct(&bill).await?;
        self.tell_of_day(&bill, comparison.held.run_id).await;
        Ok(DayResult::Compared {
            bill: Box::new(bill),
            comparison: Box::new(comparison),
            proofs,
            corrected,
        })
    }
}

/// A run for the command line: prints its progress, and fails if a bill could not be compared.
pub async fn run(parts: &Parts, plan: &Plan) -> anyhow::Result<RunSummary> {
    let limit = Duration::from_millis(parts.payments.config.reconciliation.timeout_milliseconds);
    let summary = tokio::time::timeout(limit, run_and_sum_up(parts, plan)).await;
    // Whatever cannot be delivered now, the serving role delivers later.
    let delivery = tokio::time::timeout(DELIVERY_MAX, notify::deliver(parts)).await;
    if !matches!(delivery, Ok(Ok(()))) {
        tracing::warn!("not every message about differences was delivered");
    }
    summary
        .context("the run took longer than its time-out; run it again: it goes on where it was")?
}

async fn run_and_sum_up(parts: &Parts, plan: &Plan) -> anyhow::Result<RunSummary> {
    let reconciler = Reconciler::new(parts);
    tell::head();
    let result = reconciler.run(plan, &tell::day).await?;
    let violations = if plan.dry_run {
        0
    } else {
        let report = crate::ledger::check(&parts.store).await?;
        notify::tell_of_ledger(parts, &report).await;
        report.violation_count
    };
    let summary = tell::summary(parts, plan, &result, violations).await?;
    let failed: Vec<String> = result
        .failed()
        .map(|(day, channel)| format!("{channel} {day}"))
        .collect();
    if !failed.is_empty() {
        leave_summary(plan, &summary);
        bail!(
            "{} could not be compared; nothing of them was stored",
            failed.join(", ")
        );
    }
    Ok(summary)
}

impl RunResult {
    fn failed(&self) -> impl Iterator<Item = (Date, ChannelKind)> {
        self.days
            .iter()
            .filter(|(_, _, result)| matches!(result, DayResult::Failed(_)))
            .map(|(day, channel, _)| (*day, *channel))
    }
}

/// Leaves the summary where Kubernetes, and through it the operator, finds it. Elsewhere the file
/// does not exist, and nothing is missing. A dry run leaves none: it looks at less than the run
/// whose findings it would hide.
pub fn leave_summary(plan: &Plan, summary: &RunSummary) {
    if plan.dry_run {
        return;
    }
    let path = std::path::Path::new(contract::names::TERMINATION_MESSAGE_PATH);
    let Ok(text) = serde_json::to_string(summary) else {
        return;
    };
    if path.exists()
        && let Err(error) = std::fs::write(path, text)
    {
        tracing::warn!(%error, "the summary could not be left for the operator");
    }
}

/// Reads the gauges of open differences from the database, where this role shows them.
pub async fn refresh_metrics(parts: &Parts, role: Role) {
    if !matches!(role, Role::Reconcile | Role::All) {
        return;
    }
    let (store, metrics) = (&parts.store, &parts.payments.metrics);
    if let Ok(counts) = store.difference_counts().await {
        metrics.set_differences(&counts);
    }
    if let Ok(counts) = store.correction_counts().await {
        metrics.set_corrections(&counts);
    }
    if let Ok(counts) = store.notification_counts().await {
        metrics.set_notifications(counts);
    }
    if let Ok(refused) = store.refused_bills().await {
        metrics.set_refused_bills(refused.iter().map(|bill| bill.channel));
    }
    for (channel, at) in store.last_runs().await.unwrap_or_default() {
        metrics.set_reconciled_at(channel, at);
    }
}
