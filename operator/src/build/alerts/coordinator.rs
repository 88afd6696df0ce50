//! Alerts of the transaction coordinator.

use super::{Alert, CRITICAL, Scope, WARNING, alert};
use crate::build::names;

impl Scope<'_> {
    pub(super) fn coordinator(&self) -> Vec<Alert> {
        let pods = format!(
            "namespace=\"{}\",pod=~\"{}-.*\"",
            self.system.namespace,
            names::coordinator(&self.system.name)
        );
        vec![
            // The coordinator sets the count back to 0 at every scrape.
            alert(
                "GlobalTransactionStuck",
                (CRITICAL, "0m"),
                format!(
                    "sum by (pod) (sum_over_time(seata_transaction{{{pods},meter=\"summary\",statistic=\"count\",status=~\"failed|2phaseTimeout\"}}[15m])) > 0"
                ),
                (
                    "A global transaction could neither be committed nor rolled back",
                    "{{ $value }} transactions of the last 15 minutes. Their rows stay locked until a person decides; most often somebody has changed one of them past the transaction. The log of the service whose branch failed names the row.",
                ),
            ),
            alert(
                "CoordinatorHeapHigh",
                (WARNING, "10m"),
                format!(
                    "sum by (pod) (jvm_memory_used_bytes{{{pods},area=\"heap\"}}) / sum by (pod) (jvm_memory_max_bytes{{{pods},area=\"heap\"}}) > 0.85"
                ),
                (
                    "The transaction coordinator's heap is fuller than 85 %",
                    "{{ $value | humanizePercentage }} of the heap of {{ $labels.pod }} is in use. Raise transactionCoordinator.heap.",
                ),
            ),
            alert(
                "CoordinatorGcSlow",
                (WARNING, "10m"),
                format!(
                    "sum by (pod) (rate(jvm_gc_collection_seconds_sum{{{pods}}}[5m])) / sum by (pod) (rate(jvm_gc_collection_seconds_count{{{pods}}}[5m])) > 0.1"
                ),
                (
                    "The transaction coordinator pauses longer than 100 ms for garbage collection",
                    "A collection of {{ $labels.pod }} takes {{ $value | humanizeDuration }} on average. Raise transactionCoordinator.heap.",
                ),
            ),
        ]
    }
}
