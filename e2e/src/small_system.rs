//! A second, small PaymentSystem in a namespace of its own, for tests that delete one.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::system::System;

/// The demo's specification (images, storage classes) with one replica of everything, reserving
/// next to nothing: it must find room beside the demo.
pub async fn specification(demo: &System) -> Result<Value> {
    let mut spec = demo.get().await?.data["spec"].take();
    let frugal = json!({"resources": {"requests": {"cpu": "10m"}}});
    for section in [
        "mysql",
        "redis",
        "transactionCoordinator",
        "payment",
        "callback",
        "orders",
        "reconciliation",
    ] {
        merge(&mut spec[section], &frugal);
    }
    merge(&mut spec["payment"]["workers"], &frugal);
    let fixed = json!({"replicas": 1, "autoscaling": {"enabled": false}});
    for section in ["payment", "callback"] {
        merge(&mut spec[section], &fixed);
    }
    merge(&mut spec["orders"], &json!({"replicas": 1}));
    spec["reconciliation"]["suspend"] = true.into();
    spec["paused"] = false.into();
    Ok(spec)
}

pub async fn apply(cluster: &Cluster, namespace: &str, name: &str, spec: &Value) -> Result<System> {
    let object = json!({
        "apiVersion": "paymentsystem.dev/v1alpha1",
        "kind": "PaymentSystem",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    });
    cluster
        .apply(&object)
        .await
        .context("cannot apply the small system")?;
    Ok(System::new(cluster, namespace, name))
}

/// Merges `change` into `target`, key by key.
pub fn merge(target: &mut Value, change: &Value) {
    match change {
        Value::Object(changes) => {
            if !target.is_object() {
                *target = json!({});
            }
            for (key, value) in changes {
                merge(&mut target[key.as_str()], value);
            }
        }
        other => *target = other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_keeps_what_it_does_not_name() {
        let mut target = json!({"a": {"b": 1, "c": 2}});
        merge(&mut target, &json!({"a": {"b": 3}, "d": {"e": null}}));
        assert_eq!(target, json!({"a": {"b": 3, "c": 2}, "d": {"e": null}}));
    }
}
