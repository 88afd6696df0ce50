//! What the client counts, for a Prometheus registry. Cheap to clone; all clones count together.
//!
//! Labels come from fixed lists: no transaction, resource or address is ever a label.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

type Label = (&'static str, &'static str);
type Seconds = Family<[Label; 1], Histogram, fn() -> Histogram>;

/// The client's figures.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: Family<[Label; 2], Counter>,
    request_seconds: Seconds,
    channels: Gauge,
    channels_lost: Counter,
    connects_failed: Counter,
    late_answers: Counter,
    unread_messages: Counter,
    phase_two: Family<[Label; 2], Counter>,
    transactions: Family<[Label; 1], Counter>,
}

/// From half a millisecond to the longest time-out.
fn buckets() -> Histogram {
    Histogram::new([
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 30.0,
    ])
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(buckets as fn() -> Histogram),
            channels: Gauge::default(),
            channels_lost: Counter::default(),
            connects_failed: Counter::default(),
            late_answers: Counter::default(),
            unread_messages: Counter::default(),
            phase_two: Family::default(),
            transactions: Family::default(),
        }
    }
}

impl Metrics {
    /// Adds all of them to a registry, under names that begin with `seata_`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("seata");
        let it = self.clone();
        let help = "Requests to the coordinator, by request and outcome";
        registry.register("requests", help, it.requests);
        let help = "Time from a request to its answer";
        registry.register_with_unit("request", help, Unit::Seconds, it.request_seconds);
        let help = "Registered channels to coordinators";
        registry.register("channels", help, it.channels);
        let help = "Registered channels that ended";
        registry.register("channels_lost", help, it.channels_lost);
        let help = "Connects and registrations that failed";
        registry.register("connects_failed", help, it.connects_failed);
        let help = "Answers that came after nobody waited for them";
        registry.register("late_answers", help, it.late_answers);
        let help = "Messages that could not be read and were skipped";
        registry.register("unread_messages", help, it.unread_messages);
        let help = "Second phases of branches, by phase and outcome";
        registry.register("phase_two", help, it.phase_two);
        let help = "Global transactions begun here, by outcome";
        registry.register("transactions", help, it.transactions);
    }

    pub(crate) fn request(&self, request: &'static str, outcome: &'static str, took: Duration) {
        let labels = [("request", request), ("outcome", outcome)];
        self.requests.get_or_create(&labels).inc();
        self.request_seconds
            .get_or_create(&[("request", request)])
            .observe(took.as_secs_f64());
    }

    pub(crate) fn channel_up(&self) {
        self.channels.inc();
    }

    pub(crate) fn channel_down(&self) {
        self.channels.dec();
        self.channels_lost.inc();
    }

    pub(crate) fn connect_failed(&self) {
        self.connects_failed.inc();
    }

    pub(crate) fn late_answer(&self) {
        self.late_answers.inc();
    }

    pub(crate) fn unread_message(&self) {
        self.unread_messages.inc();
    }

    pub(crate) fn phase_two(&self, phase: &'static str, outcome: &'static str) {
        let labels = [("phase", phase), ("outcome", outcome)];
        self.phase_two.get_or_create(&labels).inc();
    }

    pub(crate) fn transaction(&self, outcome: &'static str) {
        self.transactions
            .get_or_create(&[("outcome", outcome)])
            .inc();
    }

    /// How many registered channels there are now.
    pub fn channels(&self) -> i64 {
        self.channels.get()
    }

    /// How many answers came after nobody waited for them.
    pub fn late_answers(&self) -> u64 {
        self.late_answers.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_in_the_registry_under_one_prefix() {
        let metrics = Metrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        metrics.request("begin", "ok", Duration::from_millis(3));
        metrics.phase_two("commit", "done");
        metrics.transaction("committed");
        metrics.channel_up();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("text");
        for line in [
            r#"seata_requests_total{request="begin",outcome="ok"} 1"#,
            r#"seata_request_seconds_bucket{le="0.005",request="begin"} 1"#,
            r#"seata_phase_two_total{phase="commit",outcome="done"} 1"#,
            r#"seata_transactions_total{outcome="committed"} 1"#,
            "seata_channels 1",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
