//! The operator's own metrics.

use std::{fmt, sync::Mutex};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::kinds::Kind;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    verb: &'static str,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

pub struct Metrics {
    registry: Mutex<Registry>,
    writes: Family<WriteLabels, Counter>,
    passes: Family<ResultLabels, Counter>,
    watching: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("payment_operator");
        let writes = Family::<WriteLabels, Counter>::default();
        let passes = Family::<ResultLabels, Counter>::default();
        let watching = Gauge::default();
        registry.register("writes", "Requests that change the cluster", writes.clone());
        registry.register(
            "passes",
            "Passes over a PaymentSystem, by result",
            passes.clone(),
        );
        registry.register(
            "ready",
            "1 once all watches have their first complete list",
            watching.clone(),
        );
        Self {
            registry: Mutex::new(registry),
            writes,
            passes,
            watching,
        }
    }
}

impl Metrics {
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
        let mut text = String::new();
        let registry = self
            .registry
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        encode(&mut text, &registry)?;
        Ok(text)
    }
}
