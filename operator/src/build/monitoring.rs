//! ServiceMonitors and alert rules, where the Prometheus Operator is installed.

use contract::ports;
use serde_json::{Value, json};

use super::{Manifest, Stage, alerts, common, coordinator, labels, names};
use crate::{kinds::Kind, observe::Observed, validate::ValidSystem};

pub fn manifests(system: &ValidSystem, observed: &Observed) -> Vec<Manifest> {
    if !system.spec.monitoring.enabled {
        return Vec::new();
    }
    let mut manifests = Vec::new();
    if observed.installed.contains(&Kind::ServiceMonitor) {
        manifests.push(runtime_monitor(system));
        manifests.extend(coordinator_monitor(system));
    }
    if observed.installed.contains(&Kind::PrometheusRule) {
        manifests.push(rule(system));
    }
    manifests
}

/// The user's labels are added to ours, which are never replaced.
fn labelled(system: &ValidSystem, mut manifest: Manifest) -> Manifest {
    for (key, value) in &system.spec.monitoring.labels {
        if manifest.value["metadata"]["labels"].get(key).is_none() {
            manifest.value["metadata"]["labels"][key] = json!(value);
        }
    }
    manifest
}

fn monitor(system: &ValidSystem, name: String, selector: &Value, endpoints: &Value) -> Manifest {
    let spec = json!({"selector": selector, "endpoints": endpoints});
    let identity = (Kind::ServiceMonitor, name, labels::component::MONITORING);
    labelled(
        system,
        common::owned(system, identity, Stage::Operations, json!({"spec": spec})),
    )
}

fn runtime_monitor(system: &ValidSystem) -> Manifest {
    use labels::component::{CALLBACK, ORDERS, PAYMENT, RECONCILIATION, WORKER};
    let selector = json!({
        "matchLabels": {labels::INSTANCE: system.name},
        "matchExpressions": [{
            "key": labels::COMPONENT,
            "operator": "In",
            "values": [PAYMENT, CALLBACK, WORKER, ORDERS, RECONCILIATION],
        }],
    });
    let endpoints = json!([{"port": ports::MANAGEMENT_NAME, "path": "/actuator/prometheus", "interval": "15s"}]);
    monitor(system, names::runtime(&system.name), &selector, &endpoints)
}

fn coordinator_monitor(system: &ValidSystem) -> Option<Manifest> {
    if system.spec.transaction_coordinator.external.is_some() {
        return None;
    }
    let selector =
        json!({"matchLabels": labels::selector(&system.name, labels::component::COORDINATOR)});
    let mut endpoints = vec![json!({"port": "metrics", "path": "/metrics", "interval": "15s"})];
    if coordinator::exports_jvm_metrics(system) {
        endpoints.push(json!({"port": "jvm-metrics", "path": "/metrics", "interval": "15s"}));
    }
    Some(monitor(
        system,
        names::coordinator(&system.name),
        &selector,
        &json!(endpoints),
    ))
}

fn rule(system: &ValidSystem) -> Manifest {
    let labels = [("paymentsystem", system.name.as_str())];
    let alerts = alerts::all(system);
    let rules: Vec<Value> = alerts.iter().map(|alert| alert.rule(&labels)).collect();
    let spec = json!({"groups": [{"name": format!("{}-{}", system.namespace, system.name), "rules": rules}]});
    let identity = (
        Kind::PrometheusRule,
        names::alerts(&system.name),
        labels::component::MONITORING,
    );
    labelled(
        system,
        common::owned(system, identity, Stage::Operations, json!({"spec": spec})),
    )
}
