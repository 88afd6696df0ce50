//! A system is stopped and started again: no pod is left in between, and no payment is lost.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{Order, Scene, Seen, until};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{ResourceExt as _, api::ListParams};
use serde_json::json;

const STOPPED_WITHIN: Duration = Duration::from_mins(4);
const SOON: Duration = Duration::from_secs(30);
const READY_WITHIN: Duration = Duration::from_mins(6);

#[tokio::test]
async fn a_stopped_system_keeps_its_payments() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = stops(&scene).await;
    scene.close(outcome).await
}

async fn stops(scene: &Scene) -> Result<()> {
    scene.demo.wait_settled(READY_WITHIN).await?;
    let order = Order::new("E2E-STOP", "wechat", "12.34");
    let made = scene.api.create(&order).await?;
    ensure!(made.status == 201, "{made:?}");
    let claims = claims(scene).await?;

    scene.demo.change_spec(&json!({"stopped": true})).await?;
    until("the system to stop", STOPPED_WITHIN, async || {
        let conditions = scene.demo.conditions().await?;
        let ready = conditions.iter().find(|c| c.kind == "Ready");
        let stopped = conditions.iter().find(|c| c.kind == "Stopped");
        Ok(Seen::when(
            stopped.is_some_and(e2e::system::Condition::holds),
            ready.map(e2e::system::Condition::line).unwrap_or_default(),
        ))
    })
    .await?;
    let left = scene.demo.pod_uids().await?;
    ensure!(left.is_empty(), "{left:?} are left");

    scene.demo.change_spec(&json!({"stopped": false})).await?;
    scene.demo.wait_ready(READY_WITHIN).await?;
    ensure!(
        self::claims(scene).await? == claims,
        "volumes are others than before"
    );
    // The node learns of the new pods a moment after the operator.
    let again = until("an answer", SOON, async || {
        Ok(match scene.api.create(&order).await {
            Ok(answer) => Seen::Done(answer),
            Err(error) => Seen::not_yet(format!("{error:#}")),
        })
    })
    .await?;
    let id = |answer: &e2e::Answer| answer.body["paymentId"].as_str().map(str::to_owned);
    ensure!(
        id(&again).context("no payment")? == id(&made).context("no payment")?,
        "{again:?} is not {made:?}"
    );
    scene.demo.wait_settled(READY_WITHIN).await
}

/// The volumes, by name and identity.
async fn claims(scene: &Scene) -> Result<Vec<(String, Option<String>)>> {
    let claims: Vec<PersistentVolumeClaim> = scene
        .cluster
        .list(&scene.demo.namespace, &ListParams::default())
        .await?;
    Ok(claims
        .into_iter()
        .map(|claim| (claim.name_any(), claim.metadata.uid))
        .collect())
}
