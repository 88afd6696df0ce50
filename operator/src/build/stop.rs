//! Stopping a system and starting it again: how many pods each workload has meanwhile.
//!
//! Guarantees:
//! - What a stopped system keeps: data, credentials, addresses, configuration, autoscalers. What
//!   it has not: pods.
//! - Pods end in the opposite order of their start, and a stage waits until the pods before it are
//!   gone, so that services finish what they do with the stores beside them. A reconciliation run
//!   or a migration under way is let finish; no other is begun.
//! - A workload that was stopped starts when its gate opens, as if it were made anew.
//! - Nobody is alarmed: a stopped system has no alerts.
//!
//! Pure. A workload or schedule that was stopped says so itself, by an annotation: a number of
//! replicas of 0 without it is a person's own doing and is left to them.

use serde_json::{Value, json};

use super::{
    Manifest,
    labels::{self, component},
};
use crate::{
    gates::{Gates, Replicas, gates},
    kinds::Kind,
    observe::Observed,
    rollout::is_workload,
    validate::ValidSystem,
};

/// Whether a live object was stopped by [`hold`].
pub fn is_stopped(live: &Value) -> bool {
    live["metadata"]["annotations"][labels::STOPPED] == STOPPED
}

const STOPPED: &str = "true";

/// The manifests of a system that is to be stopped, or begins again.
pub fn hold(system: &ValidSystem, observed: &Observed, manifests: Vec<Manifest>) -> Vec<Manifest> {
    if system.spec.stopped {
        let wave = Wave::of(observed);
        let manifests = manifests.into_iter();
        return manifests
            .filter(|manifest| manifest.kind != Kind::PrometheusRule)
            .map(|manifest| end(observed, wave, manifest))
            .collect();
    }
    let starting = |manifest: &Manifest| {
        can_be_stopped(manifest.kind)
            && observed
                .value(manifest.kind, &manifest.name)
                .is_some_and(|live| is_stopped(&live))
    };
    if !manifests.iter().any(starting) {
        return manifests;
    }
    let gates = gates(system, observed);
    let begin = |manifest: Manifest| {
        if starting(&manifest) {
            begin(&gates, manifest)
        } else {
            manifest
        }
    };
    manifests.into_iter().map(begin).collect()
}

/// What still runs of a system that is to be stopped, in words; `None` once nothing does.
pub fn remaining(observed: &Observed) -> Option<String> {
    let wave = Wave::of(observed);
    let pods: Vec<String> = observed
        .pods()
        .filter(|pod| is_alive(pod) && Wave::of_pod(pod) == wave)
        .filter_map(|pod| pod["metadata"]["name"].as_str().map(str::to_owned))
        .collect();
    match (wave, pods.as_slice()) {
        (Wave::None, _) => None,
        (_, []) => Some("waiting until no pod is wanted any more".to_owned()),
        (_, [pod]) => Some(format!("waiting for pod {pod} to end")),
        (_, [pod, others @ ..]) => Some(format!(
            "waiting for pod {pod} and {} more to end",
            others.len()
        )),
    }
}

/// What is ended now: the later things start, the sooner they end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wave {
    Services,
    Coordinator,
    Stores,
    None,
}

impl Wave {
    fn of(observed: &Observed) -> Self {
        let workloads = observed
            .objects
            .iter()
            .filter(|((kind, _), _)| is_workload(*kind))
            .map(|(_, live)| live.value())
            .filter(|live| !Replicas::of(live).none())
            .map(|live| Self::of_pod(&live));
        let pods = observed.pods().filter(is_alive);
        let pods = pods.map(|pod| Self::of_pod(&pod));
        workloads.chain(pods).min().unwrap_or(Self::None)
    }

    /// Of a pod, or of anything that carries its component label.
    fn of_pod(object: &Value) -> Self {
        match object["metadata"]["labels"][labels::COMPONENT].as_str() {
            Some(component::MYSQL | component::REDIS | component::SIMULATOR) => Self::Stores,
            Some(component::COORDINATOR) => Self::Coordinator,
            _ => Self::Services,
        }
    }
}

/// A pod of a Job that has not begun has nothing to finish.
fn is_alive(pod: &Value) -> bool {
    let of_job = pod["metadata"]["labels"][labels::COMPONENT]
        .as_str()
        .is_some_and(|component| JOBS.contains(&component));
    match pod["status"]["phase"].as_str() {
        Some("Succeeded" | "Failed") => false,
        Some("Running") => true,
        _ => !of_job,
    }
}

/// Components whose pods end by themselves.
const JOBS: [&str; 3] = [
    component::MIGRATION,
    component::ROTATION,
    component::RECONCILIATION_RUN,
];

const fn can_be_stopped(kind: Kind) -> bool {
    is_workload(kind) || matches!(kind, Kind::CronJob)
}

/// No other Job is begun, and one that is there is let finish.
fn end(observed: &Observed, wave: Wave, manifest: Manifest) -> Manifest {
    if manifest.kind == Kind::Job {
        return manifest.left_alone();
    }
    if !can_be_stopped(manifest.kind) {
        return manifest;
    }
    // What is not there is not made.
    let Some(live) = observed.value(manifest.kind, &manifest.name) else {
        return manifest.left_alone();
    };
    if Wave::of_pod(&manifest.value) <= wave || is_stopped(&live) {
        stopped(manifest)
    } else {
        manifest
    }
}

fn begin(gates: &Gates, manifest: Manifest) -> Manifest {
    if gates.may_create(&manifest) {
        manifest
    } else {
        stopped(manifest)
    }
}

fn stopped(mut manifest: Manifest) -> Manifest {
    manifest.value["metadata"]["annotations"][labels::STOPPED] = json!(STOPPED);
    let (field, value) = match manifest.kind {
        Kind::CronJob => ("suspend", json!(true)),
        _ => ("replicas", json!(0)),
    };
    manifest.value["spec"][field] = value;
    Manifest {
        first_replicas: None,
        ..manifest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(component: &str, phase: &str) -> Value {
        json!({
            "metadata": {"name": component, "labels": {labels::COMPONENT: component}},
            "status": {"phase": phase},
        })
    }

    #[test]
    fn stores_end_last_and_what_has_ended_holds_nobody_up() {
        for (component, wave) in [
            (component::PAYMENT, Wave::Services),
            (component::RECONCILIATION_RUN, Wave::Services),
            (component::ROTATION, Wave::Services),
            (component::COORDINATOR, Wave::Coordinator),
            (component::MYSQL, Wave::Stores),
        ] {
            assert_eq!(Wave::of_pod(&pod(component, "Running")), wave);
        }
        assert!(Wave::Services < Wave::Coordinator && Wave::Coordinator < Wave::Stores);
        assert!(is_alive(&pod(component::PAYMENT, "Running")));
        assert!(!is_alive(&pod(component::MIGRATION, "Succeeded")));
        assert!(is_alive(&pod(component::PAYMENT, "Pending")));
        assert!(!is_alive(&pod(component::MIGRATION, "Pending")));
    }
}
