//! Logs and metrics.
//!
//! Guarantees: logs are JSON, one object a line, with the trace id of the request they belong to;
//! metric names are `contract::metrics`; no label takes a value that a client can choose.

use std::sync::atomic::Ordering;
use std::time::Duration;

use contract::metrics as names;
use payment_core::{ChannelKind, PaymentState, RefundState};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tracing_subscriber::EnvFilter;

use crate::reconcile::books::DifferenceState;
use crate::records::{ConfirmationCounts, OpenCounts};
use crate::store::{CorrectionCount, DifferenceCount, NotificationCounts};

/// Sets up logging for the process. The filter is `info` unless `RUST_LOG` says otherwise.
pub fn init_logs() {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new("info,sqlx::query=warn"));
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_env_filter(filter)
        .init();
}

type Labels = Vec<(&'static str, String)>;
type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

/// Seconds: fine where channels answer, up to the total time-out.
fn latency() -> Histogram {
    Histogram::new([
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0,
    ])
}

/// Every metric of the runtime. Cheap to clone; clones share their values.
#[derive(Clone)]
pub struct Metrics {
    payments: Family<Labels, Counter>,
    api_duration: Histograms,
    channel_requests: Family<Labels, Counter>,
    channel_duration: Histograms,
    callbacks: Family<Labels, Counter>,
    callback_duration: Histograms,
    differences: Family<Labels, Gauge>,
    waiting_differences: Family<Labels, Gauge>,
    corrections: Family<Labels, Counter>,
    notifications: Family<Labels, Counter>,
    refused_bills: Family<Labels, Gauge>,
    reconciled_at: Family<Labels, Gauge>,
    dependency_up: Family<Labels, Gauge>,
    open_payments: Family<Labels, Gauge>,
    refunds: Family<Labels, Counter>,
    open_refunds: Family<Labels, Gauge>,
    stuck_refunds: Gauge,
    ledger_unsealed: Gauge,
    ledger_violations: Gauge,
    ledger_sealed: Counter,
    confirmations: Confirmations,
    certificate_expiry: Family<Labels, Gauge>,
    certificate_unusable: Family<Labels, Gauge>,
    registry: std::sync::Arc<Registry>,
}

/// What is told of confirming payments.
#[derive(Clone, Default)]
struct Confirmations {
    outcomes: Family<Labels, Counter>,
    waiting: Gauge,
    oldest: Gauge,
    needing_attention: Gauge,
}

impl Confirmations {
    fn registered(r: &mut Registry) -> Self {
        let all = Self::default();
        r.register(
            counter_name(names::CONFIRMATIONS),
            "Confirmations of charged payments by outcome",
            all.outcomes.clone(),
        );
        r.register(
            names::CONFIRMATIONS_WAITING,
            "Charged payments that wait to be confirmed",
            all.waiting.clone(),
        );
        r.register(
            names::CONFIRMATIONS_OLDEST,
            "Seconds that the oldest of them has waited",
            all.oldest.clone(),
        );
        r.register(
            names::CONFIRMATIONS_ATTENTION,
            "Refused payments whose money nobody gives back",
            all.needing_attention.clone(),
        );
        all
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// The name under which a counter is registered; the encoder adds the suffix.
fn counter_name(full: &'static str) -> &'static str {
    full.strip_suffix("_total").unwrap_or(full)
}

impl Metrics {
    pub fn new() -> Self {
        let payments = Family::default();
        let api_duration: Histograms = Family::new_with_constructor(latency);
        let channel_requests = Family::default();
        let channel_duration: Histograms = Family::new_with_constructor(latency);
        let callbacks = Family::default();
        let callback_duration: Histograms = Family::new_with_constructor(latency);
        let differences = Family::default();
        let waiting_differences = Family::default();
        let corrections = Family::default();
        let notifications = Family::default();
        let refused_bills = Family::default();
        let reconciled_at = Family::default();
        let dependency_up = Family::default();
        let open_payments = Family::default();
        let refunds = Family::default();
        let open_refunds = Family::default();
        let stuck_refunds = Gauge::default();
        let ledger_unsealed = Gauge::default();
        let ledger_violations = Gauge::default();
        let ledger_sealed = Counter::default();
        let certificate_expiry = Family::default();
        let certificate_unusable = Family::default();
        let mut r = Registry::default();
        r.register(
            counter_name(names::PAYMENTS),
            "States that payments entered",
            Clone::clone(&payments),
        );
        r.register(
            names::API_DURATION,
            "Seconds from request to answer",
            api_duration.clone(),
        );
        r.register(
            counter_name(names::CHANNEL_REQUESTS),
            "Calls to a channel by outcome",
            Clone::clone(&channel_requests),
        );
        r.register(
            names::CHANNEL_DURATION,
            "Seconds of one channel call",
            channel_duration.clone(),
        );
        r.register(
            counter_name(names::CALLBACKS),
            "Callbacks received by result",
            Clone::clone(&callbacks),
        );
        r.register(
            names::CALLBACK_DURATION,
            "Seconds from receipt of a callback to its acknowledgement",
            callback_duration.clone(),
        );
        r.register(
            names::DIFFERENCES,
            "Differences that nobody has resolved",
            Clone::clone(&differences),
        );
        r.register(
            names::WAITING_DIFFERENCES,
            "Differences that may heal by themselves",
            Clone::clone(&waiting_differences),
        );
        r.register(
            counter_name(names::CORRECTIONS),
            "Automatic corrections by outcome",
            Clone::clone(&corrections),
        );
        r.register(
            counter_name(names::NOTIFICATIONS),
            "Messages about differences: those sent, and deliveries that failed",
            Clone::clone(&notifications),
        );
        r.register(
            names::REFUSED_BILLS,
            "Days whose newest bill was not accepted",
            Clone::clone(&refused_bills),
        );
        r.register(
            names::RECONCILED_AT,
            "Unix time of the last complete run",
            Clone::clone(&reconciled_at),
        );
        r.register(
            names::DEPENDENCY_UP,
            "1 while the dependency answers",
            Clone::clone(&dependency_up),
        );
        r.register(
            names::OPEN_PAYMENTS,
            "Payments whose outcome is open",
            Clone::clone(&open_payments),
        );
        r.register(
            counter_name(names::REFUNDS),
            "States that refunds entered",
            Clone::clone(&refunds),
        );
        r.register(
            names::OPEN_REFUNDS,
            "Refunds whose outcome is open",
            Clone::clone(&open_refunds),
        );
        r.register(
            names::STUCK_REFUNDS,
            "Refunds stuck at the channel until a person acts there",
            stuck_refunds.clone(),
        );
        r.register(
            names::LEDGER_UNSEALED,
            "Ledger entries that wait for their seal",
            ledger_unsealed.clone(),
        );
        r.register(
            names::LEDGER_VIOLATIONS,
            "What the last check of the ledger found wrong",
            ledger_violations.clone(),
        );
        r.register(
            counter_name(names::LEDGER_SEALED),
            "Ledger entries that this process sealed",
            ledger_sealed.clone(),
        );
        let confirmations = Confirmations::registered(&mut r);
        r.register(
            names::CERTIFICATE_EXPIRY,
            "Unix time at which the certificate that is shown expires",
            Clone::clone(&certificate_expiry),
        );
        r.register(
            names::CERTIFICATE_UNUSABLE,
            "1 while the certificate's files cannot be used",
            Clone::clone(&certificate_unusable),
        );
        Self {
            payments,
            api_duration,
            channel_requests,
            channel_duration,
            callbacks,
            callback_duration,
            differences,
            waiting_differences,
            corrections,
            notifications,
            refused_bills,
            reconciled_at,
            dependency_up,
            open_payments,
            refunds,
            open_refunds,
            stuck_refunds,
            ledger_unsealed,
            ledger_violations,
            ledger_sealed,
            confirmations,
            certificate_expiry,
            certificate_unusable,
            registry: std::sync::Arc::new(r),
        }
    }

    pub fn payment_entered(&self, channel: ChannelKind, state: PaymentState) {
        let outcome = state.as_str().to_lowercase();
        self.payments
            .get_or_create(&vec![("channel", name(channel)), ("outcome", outcome)])
            .inc();
    }

    pub fn api_answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        let labels = vec![
            ("method", method.to_owned()),
            ("route", route.to_owned()),
            ("status", status.to_string()),
        ];
        self.api_duration
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    pub fn channel_answered(
        &self,
        channel: ChannelKind,
        operation: &'static str,
        outcome: &'static str,
        took: Duration,
    ) {
        let labels = vec![
            ("channel", name(channel)),
            ("operation", operation.to_owned()),
        ];
        self.channel_duration
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
        let mut labels = labels;
        labels.push(("outcome", outcome.to_owned()));
        self.channel_requests.get_or_create(&labels).inc();
    }

    pub fn callback_answered(&self, channel: ChannelKind, result: &'static str, took: Duration) {
        let labels = vec![("channel", name(channel))];
        self.callback_duration
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
        let labels = vec![("channel", name(channel)), ("result", result.to_owned())];
        self.callbacks.get_or_create(&labels).inc();
    }

    /// Replaces what is known about unresolved differences.
    pub fn set_differences(&self, counts: &[DifferenceCount]) {
        for gauge in [&self.differences, &self.waiting_differences] {
            gauge.clear();
            for kind in ChannelKind::ALL {
                gauge
                    .get_or_create(&vec![("channel", name(kind)), ("class", "any".to_owned())])
                    .set(0);
            }
        }
        for found in counts {
            let gauge = match found.state {
                DifferenceState::Waiting => &self.waiting_differences,
                _ => &self.differences,
            };
            let labels = vec![
                ("channel", name(found.channel)),
                ("class", found.class.to_string()),
            ];
            let count = i64::try_from(found.count).unwrap_or(i64::MAX);
            gauge.get_or_create(&labels).inc_by(count);
        }
    }

    /// Says how many automatic corrections there were, by what the database has: runs come and
    /// go, and nobody could read counters of theirs.
    pub fn set_corrections(&self, counts: &[CorrectionCount]) {
        for count in counts {
            let labels = vec![
                ("channel", name(count.channel)),
                ("class", count.class.to_string()),
                ("outcome", count.outcome.clone()),
            ];
            let counter = self.corrections.get_or_create(&labels);
            counter.inner().store(count.count, Ordering::Relaxed);
        }
    }

    /// As [`Self::set_corrections`]; both series are there before anything happens.
    pub fn set_notifications(&self, counts: NotificationCounts) {
        for (outcome, count) in [("sent", counts.sent), ("failed", counts.failed)] {
            let labels = vec![("outcome", outcome.to_owned())];
            let counter = self.notifications.get_or_create(&labels);
            counter.inner().store(count, Ordering::Relaxed);
        }
    }

    pub fn set_refused_bills(&self, counts: impl IntoIterator<Item = ChannelKind>) {
        for kind in ChannelKind::ALL {
            self.refused_bills
                .get_or_create(&vec![("channel", name(kind))])
                .set(0);
        }
        for channel in counts {
            self.refused_bills
                .get_or_create(&vec![("channel", name(channel))])
                .inc();
        }
    }

    pub fn set_reconciled_at(&self, channel: ChannelKind, at: jiff::Timestamp) {
        self.reconciled_at
            .get_or_create(&vec![("channel", name(channel))])
            .set(at.as_second());
    }

    pub fn set_dependency(&self, dependency: &'static str, up: bool) {
        let labels = vec![("dependency", dependency.to_owned())];
        self.dependency_up.get_or_create(&labels).set(i64::from(up));
    }

    pub fn refund_entered(&self, channel: ChannelKind, state: RefundState) {
        let outcome = state.as_str().to_lowercase();
        self.refunds
            .get_or_create(&vec![("channel", name(channel)), ("outcome", outcome)])
            .inc();
    }

    /// Replaces what is known about open payments and refunds.
    pub fn set_open(&self, counts: &OpenCounts) {
        let payments = counts.payments.iter().map(|(s, n)| (s.as_str(), *n));
        set_by_state(&self.open_payments, payments);
        let refunds = counts.refunds.iter().map(|(s, n)| (s.as_str(), *n));
        set_by_state(&self.open_refunds, refunds);
        self.stuck_refunds
            .set(i64::try_from(counts.refunds_needing_attention).unwrap_or(i64::MAX));
    }

    pub fn ledger_sealed(&self, entries: usize) {
        self.ledger_sealed.inc_by(entries as u64);
    }

    pub fn set_ledger_unsealed(&self, entries: u64) {
        let entries = i64::try_from(entries).unwrap_or(i64::MAX);
        self.ledger_unsealed.set(entries);
    }

    /// `confirmed`, `refused` or `tried_again`.
    pub fn confirmation_ended(&self, outcome: &'static str) {
        let labels = vec![("outcome", outcome.to_owned())];
        self.confirmations.outcomes.get_or_create(&labels).inc();
    }

    /// Replaces what is known about confirmations that somebody must still end.
    pub fn set_confirmations(&self, counts: &ConfirmationCounts, now: jiff::Timestamp) {
        let gauge = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let all = &self.confirmations;
        all.waiting.set(gauge(counts.waiting));
        let age = |since: jiff::Timestamp| now.as_second() - since.as_second();
        all.oldest.set(counts.oldest.map_or(0, age).max(0));
        all.needing_attention.set(gauge(counts.needing_attention));
    }

    /// When the certificate that is shown expires, in seconds since the epoch, and whether its
    /// files hold something else that cannot be used. Without a call there is no such metric.
    pub fn set_certificate(&self, expires_at: i64, unusable: bool) {
        let none = Labels::new();
        self.certificate_expiry.get_or_create(&none).set(expires_at);
        self.certificate_unusable
            .get_or_create(&none)
            .set(i64::from(unusable));
    }

    /// What a check of the ledger found wrong.
    pub fn set_ledger_violations(&self, violations: u64) {
        let violations = i64::try_from(violations).unwrap_or(i64::MAX);
        self.ledger_violations.set(violations);
    }

    /// What this process's last check of the ledger found wrong; 0 before the first.
    pub fn ledger_violations(&self) -> u64 {
        u64::try_from(self.ledger_violations.get()).unwrap_or_default()
    }

    /// The text that Prometheus scrapes.
    pub fn exposition(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

fn set_by_state(
    gauges: &Family<Labels, Gauge>,
    counts: impl IntoIterator<Item = (&'static str, u64)>,
) {
    gauges.clear();
    for (state, count) in counts {
        let labels = vec![("state", state.to_owned())];
        gauges
            .get_or_create(&labels)
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

fn name(channel: ChannelKind) -> String {
    channel.as_str().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exposition_uses_the_names_that_alerts_use() {
        let metrics = Metrics::new();
        metrics.payment_entered(ChannelKind::Wechat, PaymentState::Paid);
        metrics.channel_answered(
            ChannelKind::Alipay,
            "query",
            "done",
            Duration::from_millis(3),
        );
        metrics.callback_answered(ChannelKind::Alipay, "accepted", Duration::from_millis(3));
        metrics.set_dependency("mysql", true);
        metrics.ledger_sealed(1);
        metrics.confirmation_ended("confirmed");
        let text = metrics.exposition();
        for name in [
            names::PAYMENTS,
            names::CHANNEL_REQUESTS,
            names::CALLBACKS,
            names::CALLBACK_DURATION,
            names::DEPENDENCY_UP,
            names::LEDGER_UNSEALED,
            names::LEDGER_VIOLATIONS,
            names::LEDGER_SEALED,
            names::CONFIRMATIONS,
            names::CONFIRMATIONS_WAITING,
            names::CONFIRMATIONS_OLDEST,
            names::CONFIRMATIONS_ATTENTION,
        ] {
            assert!(text.contains(name), "{name} is missing in\n{text}");
        }
    }
}
