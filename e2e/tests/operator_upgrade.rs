//! The operator is replaced by another version while payments are made: none fails, no pod is
//! another one afterwards, and no object of the system was written.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{Load, Scene, Seen, system::Child, until};
use k8s_openapi::api::{apps::v1::Deployment, coordination::v1::Lease, core::v1::Pod};
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

const OPERATOR: &str = "payment-operator";
const NAMESPACE: &str = "payment-system";
const VERSION: &str = "OPERATOR_VERSION";
const ROLLED_WITHIN: Duration = Duration::from_mins(3);

#[tokio::test]
async fn another_operator_version_restarts_nothing() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = upgraded(&scene).await;
    let back = set_version(&scene, None).await;
    scene.close(outcome.and(back)).await
}

async fn upgraded(scene: &Scene) -> Result<()> {
    scene.demo.wait_settled(ROLLED_WITHIN).await?;
    let pods = scene.demo.pod_uids().await?;
    let children = scene.demo.children().await?;
    let load = Load::start(scene)?;
    let replaced = set_version(scene, Some("999.0.0")).await;
    // The new leader has looked at the system, and edits take effect under it.
    let leads = until("the new version to report", ROLLED_WITHIN, async || {
        scene.demo.look_ready().await
    })
    .await;
    load.end().await?;
    replaced?;
    leads?;
    let now = scene.demo.pod_uids().await?;
    ensure!(now == pods, "pods are {now:?}, not {pods:?}");
    let now = scene.demo.children().await?;
    let same = |name: &str, before: &Child, now: &Child| {
        before.specification == now.specification
            && (status_moves(name) || before.version == now.version)
    };
    let changed: Vec<&String> = children
        .iter()
        .filter(|(name, before)| !now.get(*name).is_some_and(|now| same(name, before, now)))
        .map(|(name, _)| name)
        .collect();
    ensure!(changed.is_empty(), "{changed:?} were written");
    Ok(())
}

/// Kinds of which others write the status at any time.
fn status_moves(name: &str) -> bool {
    [
        "Deployment/",
        "StatefulSet/",
        "CronJob/",
        "Job/",
        "HorizontalPodAutoscaler/",
        "PodDisruptionBudget/",
    ]
    .iter()
    .any(|kind| name.starts_with(kind))
}

/// Rolls the operator to another version, or back to its own, and waits until one of the new
/// pods leads.
async fn set_version(scene: &Scene, version: Option<&str>) -> Result<()> {
    let deployments = scene.cluster.api::<Deployment>(NAMESPACE);
    let mut variable = json!({"name": VERSION, "value": version});
    if version.is_none() {
        variable = json!({"name": VERSION, "$patch": "delete"});
    }
    let patch = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "operator", "env": [variable]},
    ]}}}});
    deployments
        .patch(OPERATOR, &PatchParams::default(), &Patch::Strategic(&patch))
        .await
        .context("cannot change the operator's Deployment")?;
    until("the operator to be replaced", ROLLED_WITHIN, async || {
        let deployment = deployments.get(OPERATOR).await?;
        let (generation, status) = (deployment.metadata.generation, deployment.status);
        let status = status.context("no status")?;
        let replaced = status.observed_generation == generation
            && status.updated_replicas == status.replicas
            && status.available_replicas == status.replicas;
        Ok(Seen::when(replaced, format!("{status:?}")))
    })
    .await?;
    let leases = scene.cluster.api::<Lease>(NAMESPACE);
    until("a new operator to lead", ROLLED_WITHIN, async || {
        let holder = leases.get(OPERATOR).await?.spec;
        let holder = holder.and_then(|spec| spec.holder_identity);
        let pods: Vec<Pod> = scene
            .cluster
            .list(NAMESPACE, &ListParams::default())
            .await?;
        let alive = pods
            .iter()
            .any(|pod| pod.metadata.name == holder && pod.metadata.deletion_timestamp.is_none());
        Ok(Seen::when(alive, format!("{holder:?} leads")))
    })
    .await
}
