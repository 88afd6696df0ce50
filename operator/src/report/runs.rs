//! What reconciliation runs found, as the status shows it.
//!
//! Guarantees: the latest result stays when its pod is gone; what needs a person stands in one
//! condition, the gravest first, with what to do.
//!
//! Deliberately not here: `Ready`. A system whose books differ goes on taking payments.

use contract::RunSummary;
use crds::status::LastReconciliation;
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use serde_json::Value;

use crate::{build::labels, observe::Observed};

/// Whether the last run found nothing that needs a person. Part of the API: never reword.
const CLEAN: &str = "ReconciliationClean";

/// The latest result among the pods that are still there and what was reported before.
pub(super) fn last(
    observed: &Observed,
    before: Option<LastReconciliation>,
) -> Option<LastReconciliation> {
    let instant = |run: &LastReconciliation| run.finished_at.parse::<Timestamp>().ok();
    observed
        .pods()
        .filter(|pod| {
            pod["metadata"]["labels"][labels::COMPONENT] == labels::component::RECONCILIATION_RUN
        })
        .filter_map(|pod| run_summary(&pod))
        .chain(before)
        .max_by_key(instant)
}

fn run_summary(pod: &Value) -> Option<LastReconciliation> {
    let message = pod.pointer("/status/containerStatuses/0/state/terminated/message")?;
    let summary: RunSummary = serde_json::from_str(message.as_str()?).ok()?;
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    Some(LastReconciliation {
        finished_at: summary.finished_at,
        from: summary.from,
        to: summary.to,
        matched: number(summary.matched),
        open_differences: number(summary.open_differences),
        pending_bills: number(summary.pending_bills),
        waiting_differences: number(summary.waiting_differences),
        corrected: number(summary.corrected),
        refused_bills: number(summary.refused_bills),
        proof_holds: summary.proof_holds,
        ledger_violations: number(summary.ledger_violations),
    })
}

/// Whether a run left nothing for a person to do. Open differences up to `tolerated` are nothing.
pub(super) fn condition(run: &LastReconciliation, tolerated: i64) -> Condition {
    let findings = findings(run, tolerated);
    let Some((reason, _)) = findings.first() else {
        let message = format!(
            "{} rows of {} to {} agree; {} differences are open",
            run.matched, run.from, run.to, run.open_differences
        );
        return super::condition(CLEAN, true, "Clean", &message);
    };
    let messages: Vec<&str> = findings.iter().map(|(_, text)| text.as_str()).collect();
    super::condition(CLEAN, false, reason, &messages.join("; "))
}

/// What needs a person, the gravest first.
fn findings(run: &LastReconciliation, tolerated: i64) -> Vec<(&'static str, String)> {
    let mut findings = Vec::new();
    if run.ledger_violations > 0 {
        let text = format!(
            "{} rules of the ledger do not hold: stop manual resolutions and find out who wrote to the database; the reconciliation service lists the entries",
            run.ledger_violations
        );
        findings.push(("LedgerViolated", text));
    }
    if run.proof_holds == Some(false) {
        let text = format!(
            "the proof of {} to {} does not hold: ledger, bills and differences do not add up; read the proof at the reconciliation service and report it, for a difference was overlooked",
            run.from, run.to
        );
        findings.push(("ProofFails", text));
    }
    if run.refused_bills > 0 {
        let text = format!(
            "{} bills were refused and nothing of them was compared: read the log of the last run, then ask the channel for the bill again",
            run.refused_bills
        );
        findings.push(("BillsRefused", text));
    }
    if run.open_differences > tolerated {
        let text = format!(
            "{} differences are open: resolve each at the reconciliation service, which shows its evidence",
            run.open_differences
        );
        findings.push(("DifferencesOpen", text));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(change: impl FnOnce(&mut LastReconciliation)) -> LastReconciliation {
        let mut run = LastReconciliation {
            matched: 42,
            open_differences: 1,
            proof_holds: Some(true),
            ..LastReconciliation::default()
        };
        change(&mut run);
        run
    }

    #[test]
    fn nothing_to_do_is_clean() {
        for clean in [run(|_| ()), run(|r| r.proof_holds = None)] {
            let condition = condition(&clean, 1);
            assert_eq!(
                (condition.status.as_str(), condition.reason.as_str()),
                ("True", "Clean")
            );
        }
    }

    #[test]
    fn each_finding_is_said_in_words_and_the_gravest_gives_the_reason() {
        type Change = fn(&mut LastReconciliation);
        let cases: [(Change, &str, &str); 4] = [
            (
                |r| r.open_differences = 2,
                "DifferencesOpen",
                "2 differences are open: resolve",
            ),
            (
                |r| r.refused_bills = 3,
                "BillsRefused",
                "3 bills were refused",
            ),
            (
                |r| r.proof_holds = Some(false),
                "ProofFails",
                "does not hold",
            ),
            (
                |r| r.ledger_violations = 4,
                "LedgerViolated",
                "4 rules of the ledger",
            ),
        ];
        let mut all = run(|_| ());
        for (change, reason, words) in cases {
            let condition = condition(&run(change), 1);
            assert_eq!(
                (condition.status.as_str(), condition.reason.as_str()),
                ("False", reason)
            );
            assert!(condition.message.contains(words), "{}", condition.message);
            change(&mut all);
            let together = super::condition(&all, 1);
            assert_eq!(together.reason, reason, "each is graver than those before");
            assert!(together.message.contains(words), "{}", together.message);
        }
    }
}
