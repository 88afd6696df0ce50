//! The operator's own metrics.
//!
//! Of every process, leader or standby; what only a leader does stays zero on a standby. Names and
//! labels are part of the API: alerts and runbooks rest on them (`install`).

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::{cache::SystemKey, kinds::Kind};

/// Seconds until a system is ready again: an edit without a restart, a roll, a first start, a
/// first start with images to fetch, something that needs a person.
const CONVERGE_SECONDS: [f64; 11] = [
    0.1, 0.5, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    verb: &'static str,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    verb: &'static str,
    outcome: &'static str,
}

pub struct Metrics {
    registry: Mutex<Registry>,
    writes: Family<WriteLabels, Counter>,
    passes: Family<ResultLabels, Counter>,
    requests: Family<RequestLabels, Counter>,
    watching: Gauge,
    leads: Gauge,
    transitions: Gauge,
    queue: Gauge,
    active: Gauge,
    converge: Histogram,
    converging_longest: Gauge,
    work: Mutex<Work>,
}

/// What is to be done, and since when.
#[derive(Default)]
struct Work {
    queued: HashSet<SystemKey>,
    converging: HashMap<SystemKey, Instant>,
}

/// A pass that is being made.
pub struct ActivePass(Gauge);

impl Drop for ActivePass {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Mutex::new(Registry::with_prefix("payment_operator")),
            writes: Family::default(),
            passes: Family::default(),
            requests: Family::default(),
            watching: Gauge::default(),
            leads: Gauge::default(),
            transitions: Gauge::default(),
            queue: Gauge::default(),
            active: Gauge::default(),
            converge: Histogram::new(CONVERGE_SECONDS),
            converging_longest: Gauge::default(),
            work: Mutex::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&self) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register(
            "writes",
            "Requests that change the cluster",
            self.writes.clone(),
        );
        registry.register(
            "passes",
            "Passes over a PaymentSystem, by result",
            self.passes.clone(),
        );
        registry.register(
            "requests",
            "Requests to the API server, by verb and outcome; the lease's are not among them",
            self.requests.clone(),
        );
        let gauges = [
            (
                "ready",
                "1 once all watches have their first complete list",
                &self.watching,
            ),
            ("leads", "1 while this process leads", &self.leads),
            (
                "lease_transitions",
                "How often the lease has changed hands, as this process sees it",
                &self.transitions,
            ),
            (
                "queue_depth",
                "PaymentSystems that wait for a pass",
                &self.queue,
            ),
            ("active_passes", "Passes that are being made", &self.active),
            (
                "converging_longest_seconds",
                "How long the PaymentSystem has not been ready that has not been for longest",
                &self.converging_longest,
            ),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
        registry.register(
            "converge_seconds",
            "From a change, or a loss of readiness, until the PaymentSystem is ready as specified",
            self.converge.clone(),
        );
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an answer of the API server, or why there was none.
    pub fn request(&self, verb: &'static str, outcome: &'static str) {
        self.requests
            .get_or_create(&RequestLabels { verb, outcome })
            .inc();
    }

    pub fn set_leads(&self) {
        self.leads.set(1);
    }

    pub fn set_transitions(&self, transitions: i32) {
        self.transitions.set(i64::from(transitions));
    }

    /// A system waits for a pass.
    pub fn queued(&self, system: SystemKey) {
        let mut work = self.work();
        work.queued.insert(system);
        self.queue.set(length(work.queued.len()));
    }

    /// A pass over a system begins; it ends when what is returned is dropped.
    #[must_use]
    pub fn begun(&self, system: &SystemKey) -> ActivePass {
        self.active.inc();
        let mut work = self.work();
        work.queued.remove(system);
        self.queue.set(length(work.queued.len()));
        ActivePass(self.active.clone())
    }

    /// A pass saw whether a system is ready as specified now.
    pub fn seen(&self, system: &SystemKey, ready: bool, now: Instant) {
        let mut work = self.work();
        if !ready {
            work.converging.entry(system.clone()).or_insert(now);
        } else if let Some(since) = work.converging.remove(system) {
            let span = now.saturating_duration_since(since);
            self.converge.observe(span.as_secs_f64());
        }
    }

    /// A system is gone.
    pub fn forget(&self, system: &SystemKey) {
        let mut work = self.work();
        work.queued.remove(system);
        work.converging.remove(system);
        self.queue.set(length(work.queued.len()));
    }

    /// Systems of which something is known.
    pub fn known(&self) -> Vec<SystemKey> {
        let work = self.work();
        let all = work.queued.iter().chain(work.converging.keys());
        all.cloned().collect()
    }

    pub fn write(&self, verb: &'static str, kind: Kind) {
        self.write_of(verb, kind.name());
    }

    pub fn write_of(&self, verb: &'static str, kind: &'static str) {
        self.writes.get_or_create(&WriteLabels { verb, kind }).inc();
    }

    /// Counts a pass; `result` is `done` or an error's reason.
    pub fn pass(&self, result: &'static str) {
        self.passes.get_or_create(&ResultLabels { result }).inc();
    }

    pub fn set_ready(&self) {
        self.watching.set(1);
    }

    pub fn ready(&self) -> bool {
        self.watching.get() == 1
    }

    pub fn text(&self) -> Result<String, fmt::Error> {
        let oldest = self.work().converging.values().min().copied();
        let seconds = oldest.map_or(0, |since| since.elapsed().as_secs());
        self.converging_longest
            .set(i64::try_from(seconds).unwrap_or(i64::MAX));
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

fn length(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_time_to_converge_begins_with_the_first_pass_that_sees_it_missing() {
        let metrics = Metrics::default();
        let (system, now) = (("n".to_owned(), "demo".to_owned()), Instant::now());
        metrics.seen(&system, true, now);
        metrics.seen(&system, false, now);
        metrics.seen(&system, false, now + Duration::from_secs(3));
        metrics.seen(&system, true, now + Duration::from_secs(4));
        metrics.seen(&system, true, now + Duration::from_secs(9));
        let text = metrics.text().unwrap();
        assert!(text.contains("payment_operator_converge_seconds_count 1\n"));
        assert!(text.contains("payment_operator_converge_seconds_sum 4.0\n"));
        assert!(text.contains("payment_operator_converging_longest_seconds 0\n"));
    }

    #[test]
    fn a_system_waits_once_however_often_it_is_touched() {
        let metrics = Metrics::default();
        let system = ("n".to_owned(), "demo".to_owned());
        metrics.queued(system.clone());
        metrics.queued(system.clone());
        assert!(metrics.text().unwrap().contains("queue_depth 1\n"));
        let pass = metrics.begun(&system);
        let active = |number: u8| {
            let line = format!("payment_operator_active_passes {number}\n");
            metrics.text().unwrap().contains(&line)
        };
        assert!(active(1));
        drop(pass);
        assert!(active(0));
        assert!(metrics.text().unwrap().contains("queue_depth 0\n"));
    }
}
