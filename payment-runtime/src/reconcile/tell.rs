//! What a run tells the person who watches it, and the operator afterwards.
//!
//! Guarantees: one line for each bill as soon as it is compared, with the proof's outcome.

use contract::RunSummary;
use jiff::civil::Date;
use payment_core::reconciliation::{Kind, Proof};
use payment_core::{ChannelKind, Currency, Money};

use super::books::{AcceptedBill, NewDifference};
use super::compare::Comparison;
use super::{DayResult, Plan, RunError, RunResult};
use crate::ports::StoreError;
use crate::roles::Parts;

/// Differences printed for one bill.
const SHOWN: usize = 20;

pub(super) fn head() {
    println!(
        "{:<12}{:<8}{:>9}{:>9}{:>13}{:>11}{:>16}  proof",
        "day", "channel", "rows", "matched", "differences", "corrected", "charged"
    );
}

pub(super) fn day(day: Date, channel: ChannelKind, result: &DayResult) {
    let (day, channel) = (day.to_string(), channel.to_string());
    let head = format!("{day:<12}{channel:<8}");
    match result {
        DayResult::NotReady => println!("{head}  the channel has not made this bill yet"),
        DayResult::Busy => println!("{head}  another run compares this bill now"),
        DayResult::Failed(error) => println!("{head}  FAILED: {error}"),
        DayResult::Compared {
            bill,
            comparison,
            proofs,
            corrected,
        } => compared(&head, bill, comparison, proofs, *corrected),
    }
}

fn compared(
    head: &str,
    bill: &AcceptedBill,
    comparison: &Comparison,
    proofs: &[Proof],
    corrected: u64,
) {
    let progress = &comparison.held.progress;
    let rows: u64 = bill.sums.values().map(|(rows, _)| rows).sum();
    let charged = bill
        .sums
        .get(&(Kind::Payment, "CNY".to_owned()))
        .map_or(0, |(_, minor)| i64::try_from(*minor).unwrap_or(i64::MAX));
    let charged = Money::new(charged, Currency::CNY).to_decimal();
    let proof = if proofs.iter().all(Proof::holds) {
        "holds"
    } else {
        "DOES NOT HOLD"
    };
    let (matched, differences) = (progress.totals.matched(), progress.differences);
    println!("{head}{rows:>9}{matched:>9}{differences:>13}{corrected:>11}{charged:>16}  {proof}");
    if comparison.held.resumed {
        println!("    went on where an earlier run was stopped");
    }
    for difference in comparison.differences.iter().take(SHOWN) {
        println!("    {}", described(difference));
    }
    let more = comparison.differences.len().saturating_sub(SHOWN);
    if more > 0 {
        println!("    and {more} more");
    }
}

fn described(difference: &NewDifference) -> String {
    let side = |amount: Option<Money>| amount.map_or_else(|| "-".to_owned(), |a| a.to_string());
    format!(
        "{:<26}{:<34}ours: {} {}  channel: {}",
        difference.class.as_str(),
        difference.number,
        side(difference.ours),
        difference.our_state.unwrap_or_default(),
        side(difference.bill),
    )
}

pub(super) async fn summary(
    parts: &Parts,
    plan: &Plan,
    result: &RunResult,
    ledger_violations: u64,
) -> Result<RunSummary, StoreError> {
    let mut summary = RunSummary {
        finished_at: crate::clock::now().to_string(),
        from: plan.days.first().map(Date::to_string).unwrap_or_default(),
        to: plan.days.last().map(Date::to_string).unwrap_or_default(),
        asked_today: result.asked_today,
        ledger_violations,
        ..RunSummary::default()
    };
    for (_, _, day) in &result.days {
        match day {
            DayResult::NotReady => summary.pending_bills += 1,
            DayResult::Failed(RunError::BillRefused(_)) => summary.refused_bills += 1,
            DayResult::Busy | DayResult::Failed(_) => {}
            DayResult::Compared {
                comparison,
                proofs,
                corrected,
                ..
            } => {
                summary.matched += comparison.held.progress.totals.matched();
                summary.corrected += corrected;
                let holds = proofs.iter().all(Proof::holds);
                summary.proof_holds = Some(summary.proof_holds.unwrap_or(true) && holds);
            }
        }
    }
    for count in parts.store.difference_counts().await? {
        if count.state == super::books::DifferenceState::Waiting {
            summary.waiting_differences += count.count;
        } else {
            summary.open_differences += count.count;
        }
    }
    Ok(summary)
}
