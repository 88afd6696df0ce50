//! Reconciliation: fetch a finished day's bill, compare it with our records, store and tell what
//! differs.
//!
//! Guarantees: a bill is compared whole or not at all; running again replaces what the earlier
//! run of the same bill said; killed runs leave nothing half-stored.
//!
//! Deliberately not here: what is a difference (`payment_core::matching`), and correcting any.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use channels::{Bill, BillFile, BillRow, BillRowKind, Outcome};
use contract::{Role, RunSummary};
use jiff::ToSpan as _;
use jiff::civil::Date;
use payment_core::ChannelKind;
use payment_core::matching::{BillEntry, Compared, OwnEntry, compare};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::Problem;
use crate::clock;
use crate::records::PaymentRecord;
use crate::roles::Parts;
use crate::store::NewRun;

/// Which bills a run compares.
#[derive(Clone, Debug)]
pub struct Plan {
    pub days: Vec<Date>,
    pub channels: Vec<ChannelKind>,
    /// Compare and print, store nothing.
    pub dry_run: bool,
}

impl Plan {
    /// The last `days` finished days of every configured channel.
    pub fn last_days(parts: &Parts, days: u32) -> Self {
        let today = clock::bill_day(clock::now());
        let days = (1..=i64::from(days))
            .rev()
            .filter_map(|n| today.checked_sub(n.days()).ok());
        Self {
            days: days.collect(),
            channels: parts.payments.channels.kinds(),
            dry_run: false,
        }
    }
}

/// Compares every bill of the plan; one that fails does not keep the others from being compared.
pub async fn run(parts: &Parts, plan: &Plan) -> anyhow::Result<RunSummary> {
    let limit = Duration::from_millis(parts.payments.config.reconciliation.timeout_milliseconds);
    let summary = tokio::time::timeout(limit, run_all(parts, plan));
    summary
        .await
        .context("the run took longer than its time-out; run it again for fewer days")?
}

async fn run_all(parts: &Parts, plan: &Plan) -> anyhow::Result<RunSummary> {
    let (mut matched, mut pending, mut failed) = (0, 0, Vec::new());
    println!(
        "{:<12}{:<8}{:>8}{:>9}{:>13}{:>16}",
        "day", "channel", "rows", "matched", "differences", "bill sum"
    );
    for (day, kind) in plan
        .days
        .iter()
        .flat_map(|day| plan.channels.iter().map(move |k| (*day, *k)))
    {
        match one_bill(parts, kind, day, plan.dry_run).await {
            Ok(Some(run)) => {
                matched += run.matched;
                println!("{}", line(&run));
            }
            Ok(None) => {
                pending += 1;
                println!("{day:<12}{kind:<8}  the channel has not made this bill yet");
            }
            Err(error) => {
                println!("{day:<12}{kind:<8}  FAILED: {error:#}");
                failed.push(format!("{kind} {day}"));
            }
        }
    }
    let counts = parts.store.difference_counts().await?;
    let open_differences = counts.iter().map(|open| open.count).sum();
    if !failed.is_empty() {
        bail!(
            "{} could not be compared; nothing of them was stored",
            failed.join(", ")
        );
    }
    let day = |date: Option<&Date>| date.map(Date::to_string).unwrap_or_default();
    Ok(RunSummary {
        finished_at: clock::now().to_string(),
        from: day(plan.days.first()),
        to: day(plan.days.last()),
        matched,
        open_differences,
        pending_bills: pending,
        waiting_differences: 0,
        corrected: 0,
        refused_bills: 0,
        asked_today: 0,
        proof_holds: None,
        ledger_violations: 0,
    })
}

fn line(run: &NewRun) -> String {
    let sum = payment_core::Money::new(run.bill_minor, payment_core::Currency::CNY).to_decimal();
    let mut text = format!(
        "{:<12}{:<8}{:>8}{:>9}{:>13}{sum:>16}",
        run.day.to_string(),
        run.channel.to_string(),
        run.bill_rows,
        run.matched,
        run.differences.len(),
    );
    for difference in &run.differences {
        let ours = difference
            .ours
            .as_ref()
            .map(|o| format!("{} {}", o.amount, o.state));
        let bill = difference.bill.as_ref().map(|b| b.amount.to_string());
        let absent = || "-".to_owned();
        // Writing into a String cannot fail.
        let _ = write!(
            text,
            "\n    {:<20}{:<34}ours: {}  channel: {}",
            difference.class.as_str(),
            difference.channel_order_no,
            ours.unwrap_or_else(absent),
            bill.unwrap_or_else(absent)
        );
    }
    text
}

/// The bill of one day, measured like every channel call.
async fn bill(parts: &Parts, kind: ChannelKind, day: Date) -> anyhow::Result<Outcome<Bill>> {
    let channel = parts.channels.get(kind).context("not configured")?;
    let call = channel.bill(day, clock::now());
    Ok(parts.payments.measured(kind, "bill", call).await)
}

/// Compares one bill. `None`: the channel has not made it yet.
async fn one_bill(
    parts: &Parts,
    kind: ChannelKind,
    day: Date,
    dry_run: bool,
) -> anyhow::Result<Option<NewRun>> {
    let started_at = clock::now();
    let rows = match bill(parts, kind, day).await? {
        Outcome::Done(Bill::File(file)) => bill_rows(file).await?,
        Outcome::Done(Bill::Empty) => Vec::new(),
        Outcome::Done(Bill::NotReady) => return Ok(None),
        Outcome::Refused(refusal) => bail!("refused: {}: {}", refusal.code, refusal.message),
        Outcome::Unknown(why) => bail!("not trusted: {}: {}", why.reason.as_str(), why.detail),
    };
    let mut bill = bill_entries(&rows);
    bill.sort_by(|a, b| a.channel_order_no.cmp(&b.channel_order_no));
    let numbers: Vec<String> = bill
        .iter()
        .map(|row| row.channel_order_no.clone())
        .collect();
    let batch = parts.payments.config.reconciliation.batch_size;
    let ours = parts
        .store
        .payments_for_bill(kind, day, &numbers, batch)
        .await?;
    let ours: Vec<OwnEntry> = ours.into_iter().map(own_entry).collect();
    let mut run = NewRun {
        channel: kind,
        day,
        started_at,
        finished_at: started_at,
        bill_rows: bill.len() as u64,
        matched: 0,
        bill_minor: bill.iter().map(|row| row.amount.minor).sum(),
        matched_minor: 0,
        differences: Vec::new(),
    };
    for compared in compare(ours, bill) {
        match compared {
            Compared::Matched(amount) => {
                run.matched += 1;
                run.matched_minor += amount.minor;
            }
            Compared::Different(difference) => run.differences.push(difference),
        }
    }
    run.finished_at = clock::now();
    if !dry_run {
        parts.store.store_run(&run).await?;
    }
    Ok(Some(run))
}

/// All rows of a bill, once the whole of it was accepted.
async fn bill_rows(mut file: BillFile) -> anyhow::Result<Vec<BillRow>> {
    let read = move || {
        let mut rows = Vec::new();
        let keep = |row| {
            rows.push(row);
            Ok::<(), Infallible>(())
        };
        file.read(keep).map(|_| rows)
    };
    let rows = tokio::task::spawn_blocking(read).await?;
    rows.map_err(|error| anyhow!("not trusted: {error}"))
}

/// The charges on a bill. Refund rows are not compared.
fn bill_entries(rows: &[BillRow]) -> Vec<BillEntry> {
    rows.iter()
        .filter(|row| row.kind == BillRowKind::Payment)
        .map(|row| BillEntry {
            channel_order_no: row.channel_order_no.clone(),
            amount: row.amount,
        })
        .collect()
}

fn own_entry(payment: PaymentRecord) -> OwnEntry {
    OwnEntry {
        channel_order_no: payment.channel_order_no,
        amount: payment.amount,
        state: payment.status,
    }
}

/// Leaves the summary where Kubernetes, and through it the operator, finds it. Elsewhere the file
/// does not exist, and nothing is missing.
pub fn leave_summary(summary: &RunSummary) {
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
    if let Ok(counts) = parts.store.difference_counts().await {
        let counts = counts
            .into_iter()
            .map(|open| (open.channel, open.class, open.count));
        parts.payments.metrics.set_differences(counts);
    }
    for (channel, at) in parts.store.last_runs().await.unwrap_or_default() {
        parts.payments.metrics.set_reconciled_at(channel, at);
    }
}

/// The routes of the reconciliation service.
pub fn router(parts: Arc<Parts>) -> Router {
    Router::new()
        .route("/api/reconciliation/runs", get(runs))
        .route("/api/reconciliation/differences", get(differences))
        .with_state(parts)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PageQuery {
    cursor: Option<u64>,
    limit: Option<u32>,
}

const PAGE_MAX: u32 = 200;

async fn runs(
    State(parts): State<Arc<Parts>>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Value>, Problem> {
    let limit = page.limit.unwrap_or(50).clamp(1, PAGE_MAX);
    let runs = parts.store.runs(limit).await?;
    let data: Vec<Value> = runs
        .iter()
        .map(|run| {
            json!({
                "id": run.id, "channel": run.channel, "day": run.day,
                "finishedAt": run.finished_at.to_string(), "billRows": run.bill_rows,
                "matched": run.matched, "differences": run.differences,
            })
        })
        .collect();
    Ok(Json(json!({ "data": data })))
}

async fn differences(
    State(parts): State<Arc<Parts>>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Value>, Problem> {
    let limit = page.limit.unwrap_or(50).clamp(1, PAGE_MAX);
    let open = parts
        .store
        .open_differences(page.cursor.unwrap_or(0), limit)
        .await?;
    let next = open
        .last()
        .filter(|_| open.len() == limit as usize)
        .map(|last| last.id);
    let data: Vec<Value> = open
        .iter()
        .map(|d| {
            json!({
                "id": d.id, "channel": d.channel, "day": d.day, "class": d.class,
                "channelOrderNo": d.channel_order_no, "ourStatus": d.our_status,
                "ourAmountMinor": d.our_minor, "channelAmountMinor": d.bill_minor,
                "currency": d.currency, "foundAt": d.found_at.to_string(),
            })
        })
        .collect();
    Ok(Json(json!({ "data": data, "nextCursor": next })))
}
