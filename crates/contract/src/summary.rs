//! How a reconciliation run tells the operator its result: as the container's termination
//! message, so that the runtime needs no access to the Kubernetes API and the operator none to
//! the database.

use serde::{Deserialize, Serialize};

/// The result of one reconciliation run. Serialised as JSON it stays far below the 4096 bytes
/// that Kubernetes keeps of a termination message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunSummary {
    /// RFC 3339, UTC.
    pub finished_at: String,
    /// First and last day (Beijing calendar, `YYYY-MM-DD`) that the run compared.
    pub from: String,
    pub to: String,
    /// Rows that agreed.
    pub matched: u64,
    /// Differences open after the run, over all days.
    pub open_differences: u64,
    /// Bills that the channel had not made yet; they are compared by a later run.
    #[serde(default)]
    pub pending_bills: u64,
    /// Rows near midnight that still wait for their other side, over all days. They do not count
    /// as differences yet.
    #[serde(default)]
    pub waiting_differences: u64,
    /// Differences that the run corrected by itself.
    #[serde(default)]
    pub corrected: u64,
    /// Bills that could not be trusted or read; nothing of them was compared.
    #[serde(default)]
    pub refused_bills: u64,
    /// Payments and refunds that the run asked the channels about.
    #[serde(default)]
    pub asked_today: u64,
    /// Whether the compared days add up to the fen: our ledger, the bills, and the differences
    /// between them. `None`: the run made no proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof_holds: Option<bool>,
    /// Rules of the ledger that do not hold.
    #[serde(default)]
    pub ledger_violations: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_of_an_older_run_is_understood() {
        let old = r#"{"finishedAt":"2026-01-02T00:00:00Z","from":"2025-12-25","to":"2026-01-01","matched":42,"openDifferences":3}"#;
        let summary: RunSummary = serde_json::from_str(old).unwrap();
        assert_eq!((summary.matched, summary.open_differences), (42, 3));
        assert_eq!((summary.refused_bills, summary.proof_holds), (0, None));
    }

    #[test]
    fn the_longest_summary_fits_a_termination_message() {
        let longest = RunSummary {
            finished_at: "2026-01-02T00:00:00.123456789Z".to_owned(),
            from: "2025-12-25".to_owned(),
            to: "2026-01-01".to_owned(),
            matched: u64::MAX,
            open_differences: u64::MAX,
            pending_bills: u64::MAX,
            waiting_differences: u64::MAX,
            corrected: u64::MAX,
            refused_bills: u64::MAX,
            asked_today: u64::MAX,
            proof_holds: Some(false),
            ledger_violations: u64::MAX,
        };
        let text = serde_json::to_string(&longest).unwrap();
        assert!(text.len() < 1024, "{text}");
        assert_eq!(serde_json::from_str::<RunSummary>(&text).unwrap(), longest);
    }
}
