//! How a reconciliation run tells the operator its result: as the container's termination
//! message, so that the runtime needs no access to the Kubernetes API and the operator none to
//! the database.

use serde::{Deserialize, Serialize};

/// The result of one reconciliation run. Serialised as JSON it stays far below the 4096 bytes
/// that Kubernetes keeps of a termination message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}
