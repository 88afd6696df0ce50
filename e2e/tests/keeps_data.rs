//! Deleting a PaymentSystem deletes no payment: the same resource, applied again, takes over what
//! stayed.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{Order, PaymentApi, Scene, Seen, Simulator, System, access, small_system, until};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use kube::ResourceExt;
use kube::api::ListParams;

const NAMESPACE: &str = "e2e-keep";
const NAME: &str = "keep";
const READY_WITHIN: Duration = Duration::from_mins(3);
const GONE_WITHIN: Duration = Duration::from_secs(90);

#[tokio::test]
async fn a_deleted_system_keeps_its_payments() -> Result<()> {
    let scene = Scene::open().await?;
    scene
        .cluster
        .delete_namespace(NAMESPACE, GONE_WITHIN)
        .await?;
    let outcome = keeps_payments(&scene).await;
    // Also after a failure: what it reserves is missed by the demo.
    let deleted = scene.cluster.delete_namespace(NAMESPACE, GONE_WITHIN).await;
    scene.close(outcome.and(deleted)).await
}

async fn keeps_payments(scene: &Scene) -> Result<()> {
    scene.cluster.ensure_namespace(NAMESPACE).await?;
    let spec = small_system::specification(&scene.demo).await?;
    let system = small_system::apply(&scene.cluster, NAMESPACE, NAME, &spec).await?;
    system.wait_ready(READY_WITHIN).await?;
    let payment = pay_one(&system).await?;
    let (claims, secrets) = (volume_claims(scene).await?, secrets(scene).await?);
    ensure!(
        !claims.is_empty() && !secrets.is_empty(),
        "{claims:?} {secrets:?}"
    );
    system.delete().await?;
    wait_children_gone(scene).await?;
    ensure!(
        volume_claims(scene).await? == claims,
        "volume claims changed: they were {claims:?}"
    );
    let kept = self::secrets(scene).await?;
    let lost: Vec<_> = database_secrets(&secrets)
        .filter(|secret| !kept.contains(secret))
        .collect();
    ensure!(
        lost.is_empty(),
        "credentials did not stay: {lost:?}, kept {kept:?}"
    );
    let system = small_system::apply(&scene.cluster, NAMESPACE, NAME, &spec).await?;
    system.wait_ready(READY_WITHIN).await?;
    let api = PaymentApi::new(&access::create(&system).await?.api)?;
    api.wait_status(&payment, "PAID", Duration::from_secs(30))
        .await
        .map(drop)
}

async fn pay_one(system: &System) -> Result<String> {
    let urls = access::create(system).await?;
    let (api, simulator) = (
        PaymentApi::new(&urls.api)?,
        Simulator::new(&urls.simulator_admin)?,
    );
    let created = api
        .create_payable(&Order::new("E2E-KEEP", "wechat", "3.00"))
        .await?;
    simulator.pay("wechat", created.channel_order_no()).await?;
    let paid = api
        .wait_status(created.payment_id(), "PAID", Duration::from_secs(30))
        .await?;
    Ok(paid.payment_id().to_owned())
}

/// Names with identities: what is made anew under an old name has not been kept.
async fn volume_claims(scene: &Scene) -> Result<Vec<(String, String)>> {
    let all: Vec<PersistentVolumeClaim> = scene
        .cluster
        .list(NAMESPACE, &ListParams::default())
        .await?;
    Ok(all
        .iter()
        .map(|claim| (claim.name_any(), claim.uid().unwrap_or_default()))
        .collect())
}

async fn secrets(scene: &Scene) -> Result<Vec<(String, String)>> {
    let all: Vec<Secret> = scene
        .cluster
        .list(NAMESPACE, &ListParams::default())
        .await?;
    Ok(all
        .iter()
        .map(|secret| (secret.name_any(), secret.uid().unwrap_or_default()))
        .collect())
}

/// The Secrets without which the kept volumes could not be opened again.
fn database_secrets(secrets: &[(String, String)]) -> impl Iterator<Item = &(String, String)> {
    secrets.iter().filter(|(name, _)| name.contains("mysql"))
}

async fn wait_children_gone(scene: &Scene) -> Result<()> {
    let all = ListParams::default();
    until(
        "the system's workloads to be gone",
        GONE_WITHIN,
        async || {
            let pods: Vec<Pod> = scene.cluster.list(NAMESPACE, &all).await?;
            let sets: Vec<StatefulSet> = scene.cluster.list(NAMESPACE, &all).await?;
            let deployments: Vec<Deployment> = scene.cluster.list(NAMESPACE, &all).await?;
            let left = pods.len() + sets.len() + deployments.len();
            let first = pods.first().map(ResourceExt::name_any).unwrap_or_default();
            Ok(Seen::when(
                left == 0,
                format!("{left} are left, such as {first}"),
            ))
        },
    )
    .await
    .context("the PaymentSystem is gone and its children are not")
}
