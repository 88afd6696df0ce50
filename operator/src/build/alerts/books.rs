//! Alerts about the books: reconciliation with the channels' bills, and the ledger.

use contract::metrics::{
    CORRECTIONS, DIFFERENCES, LEDGER_UNSEALED, LEDGER_VIOLATIONS, NOTIFICATIONS, RECONCILED_AT,
    REFUSED_BILLS,
};

use super::{Alert, CRITICAL, Scope, WARNING, alert};

/// Entries that may wait for their seal. Sealing keeps up with any load a system takes; more than
/// this for ten minutes means that it has stopped.
const UNSEALED: u32 = 10_000;

impl Scope<'_> {
    pub(super) fn reconciliation(&self) -> Vec<Alert> {
        let threshold = self.system.spec.reconciliation.difference_threshold;
        let labels = &self.labels;
        vec![
            alert(
                "ReconciliationDifferencesOpen",
                (CRITICAL, "0m"),
                format!("sum(max by (channel, class) ({DIFFERENCES}{{{labels}}})) > {threshold}"),
                (
                    "Our records and the channels' bills differ",
                    "{{ $value }} differences are open. Each is listed with its evidence by the reconciliation service.",
                ),
            ),
            alert(
                "ReconciliationStale",
                (WARNING, "10m"),
                format!("time() - max by (channel) ({RECONCILED_AT}{{{labels}}}) > 172800"),
                (
                    "No reconciliation has finished for two days",
                    "Channel {{ $labels.channel }} was last reconciled {{ $value | humanizeDuration }} ago. Look at the Jobs of the reconciliation CronJob.",
                ),
            ),
            alert(
                "ReconciliationBillRefused",
                (WARNING, "0m"),
                format!("max by (channel) ({REFUSED_BILLS}{{{labels}}}) > 0"),
                (
                    "A channel's bill could not be trusted or read",
                    "{{ $value }} bills of channel {{ $labels.channel }} were refused and nothing of them was compared. Read the log of the last reconciliation run for the day and the reason; if the channel has corrected the bill, the next run takes it.",
                ),
            ),
            alert(
                "CorrectionsAtTheirCap",
                (WARNING, "0m"),
                format!(
                    "sum by (channel) (increase({CORRECTIONS}{{{labels},outcome=\"capped\"}}[1h])) > 0"
                ),
                (
                    "Automatic corrections have reached their daily cap",
                    "Channel {{ $labels.channel }} had more to correct than reconciliation.corrections allows in a day. Find out why there are so many: the rest waits for a person at the reconciliation service. Raise the cap only if they are genuine.",
                ),
            ),
            alert(
                "DifferenceNotificationsFailing",
                (WARNING, "0m"),
                format!("sum(increase({NOTIFICATIONS}{{{labels},outcome=\"failed\"}}[1h])) > 0"),
                (
                    "Nobody is told of differences",
                    "{{ $value | humanize }} messages to reconciliation.notify.url failed in the last hour. Check that the address answers 2xx and knows the signing secret; until then look at the reconciliation service itself.",
                ),
            ),
        ]
    }

    pub(super) fn ledger(&self) -> Vec<Alert> {
        let labels = &self.labels;
        vec![
            alert(
                "LedgerViolated",
                (CRITICAL, "0m"),
                format!("max({LEDGER_VIOLATIONS}{{{labels}}}) > 0"),
                (
                    "The ledger breaks its own rules",
                    "{{ $value }} rules do not hold: entries do not balance, or were changed after they were written. Stop manual resolutions, keep a copy of the database, and find out who wrote to it.",
                ),
            ),
            alert(
                "LedgerNotSealed",
                (WARNING, "10m"),
                format!("max({LEDGER_UNSEALED}{{{labels}}}) > {UNSEALED}"),
                (
                    "The ledger is not being sealed",
                    "{{ $value }} entries have no seal yet, so that a change to them would not be noticed. Look at the log of the workers and at the load of the database.",
                ),
            ),
        ]
    }
}
