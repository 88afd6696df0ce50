//! Services are rolled while payments are made: none of them fails, nothing restarts without a
//! reason, and a rollout whose pods do not work is taken back.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{Load, Scene, Seen, until};
use kube::ResourceExt as _;
use serde_json::{Value, json};

const REASON: &str = "paymentsystem.dev/restart-reason";
const ROLLED_WITHIN: Duration = Duration::from_mins(4);
/// Three ends of a process, with the pauses that kubelet makes between them.
const TAKEN_BACK_WITHIN: Duration = Duration::from_mins(4);

#[tokio::test]
async fn services_roll_without_a_failed_payment() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = rolls(&scene).await;
    scene.close(outcome).await
}

async fn rolls(scene: &Scene) -> Result<()> {
    scene.demo.wait_settled(ROLLED_WITHIN).await?;
    let before = scene.demo.pod_uids().await?;
    let load = Load::start(scene)?;
    let edit = json!({"payment": {"expiresInSeconds": 1_234}});
    scene.demo.change_spec(&edit).await?;
    let rolled = scene.demo.wait_settled(ROLLED_WITHIN).await;
    load.end().await?;
    rolled?;
    restarted_for(scene, &before, "its configuration changed").await
}

/// Every pod that is another one says why, and no store is.
async fn restarted_for(
    scene: &Scene,
    before: &BTreeMap<String, String>,
    reason: &str,
) -> Result<()> {
    let pods = scene.demo.service_pods().await?;
    let new = pods
        .iter()
        .filter(|pod| !before.contains_key(&pod.name_any()));
    let mut restarted = 0;
    for pod in new {
        let said = pod.annotations().get(REASON);
        ensure!(
            said.is_some_and(|said| said.contains(reason)),
            "{} was started for {said:?}",
            pod.name_any()
        );
        restarted += 1;
    }
    ensure!(restarted > 0, "nothing was rolled");
    for (name, uid) in scene.demo.pod_uids().await? {
        let old = before.get(&name);
        ensure!(
            old.is_none_or(|old| *old == uid),
            "{name} is another one than before"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_rollout_whose_pods_do_not_work_is_taken_back() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = taken_back(&scene).await;
    scene.close(outcome).await
}

async fn taken_back(scene: &Scene) -> Result<()> {
    scene.demo.wait_settled(ROLLED_WITHIN).await?;
    let before = scene.demo.pod_uids().await?;
    let memory = wanted_memory(scene).await?;
    let load = Load::start(scene)?;
    // No process fits into this.
    let edit = json!({"payment": {"resources": {
        "requests": {"cpu": "10m", "memory": "6Mi"},
        "limits": {"memory": "6Mi"},
    }}});
    scene.demo.change_spec(&edit).await?;
    let refused = taken_back_for(scene).await;
    let settled = alone_again(scene, &before).await;
    load.end().await?;
    let message = refused?;
    ensure!(
        message.contains("a new pod of payment has ended"),
        "{message}"
    );
    settled?;
    let now = wanted_memory(scene).await?;
    ensure!(
        now == memory,
        "the Deployment asks for {now}, not for {memory}"
    );
    Ok(())
}

/// Why the rollout was taken back, once it was.
async fn taken_back_for(scene: &Scene) -> Result<String> {
    until(
        "the rollout to be taken back",
        TAKEN_BACK_WITHIN,
        async || {
            let conditions = scene.demo.conditions().await?;
            let stalled = conditions
                .iter()
                .find(|condition| condition.kind == "Stalled" && condition.reason == "RolledBack");
            Ok(stalled.map_or_else(
                || {
                    Seen::not_yet(format!(
                        "{:?}",
                        conditions.first().map(e2e::system::Condition::line)
                    ))
                },
                |stalled| Seen::Done(stalled.message.clone()),
            ))
        },
    )
    .await
}

/// The pods from before work alone again.
async fn alone_again(scene: &Scene, before: &BTreeMap<String, String>) -> Result<()> {
    until("the earlier pods to be alone", ROLLED_WITHIN, async || {
        let now = scene.demo.pod_uids().await?;
        Ok(Seen::when(
            now == *before,
            format!("{now:?} instead of {before:?}"),
        ))
    })
    .await
}

/// The new pods are healthy by every probe, and the channels do not answer them.
#[tokio::test]
async fn a_rollout_whose_payments_fail_is_taken_back() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = compared(&scene).await;
    scene.close(outcome).await
}

async fn compared(scene: &Scene) -> Result<()> {
    scene.demo.wait_settled(ROLLED_WITHIN).await?;
    let before = scene.demo.pod_uids().await?;
    let load = Load::start_spread(scene)?;
    let edit = json!({"payment": {"expiresInSeconds": 1_235}});
    scene.demo.change_spec(&edit).await?;
    let refused = unheard(scene, &before).await;
    scene.simulator.disarm().await?;
    let settled = alone_again(scene, &before).await;
    load.end().await?;
    let message = refused?;
    ensure!(
        message.contains("new pods of payment failed in") && message.contains("channel calls"),
        "{message}"
    );
    settled
}

/// From its first call on, no channel answers the new pod.
async fn unheard(scene: &Scene, before: &BTreeMap<String, String>) -> Result<String> {
    let address = until("a new payment pod", ROLLED_WITHIN, async || {
        let pods = scene.demo.pods_of("payment").await?;
        let new = pods
            .iter()
            .filter(|pod| !before.contains_key(&pod.name_any()))
            .find_map(|pod| pod.status.as_ref()?.pod_ip.clone());
        Ok(new.map_or_else(|| Seen::not_yet("none has an address"), Seen::Done))
    })
    .await?;
    let fault = json!({
        "name": "drop-request", "operation": "any", "probability": 1.0, "caller": address,
    });
    scene.simulator.arm(&fault).await?;
    taken_back_for(scene).await
}

/// What the Deployment of the payment service asks for.
async fn wanted_memory(scene: &Scene) -> Result<Value> {
    let path = format!(
        "/apis/apps/v1/namespaces/{}/deployments/demo-payment",
        scene.demo.namespace
    );
    let deployment = scene.cluster.raw(&path).await?;
    let resources = deployment.pointer("/spec/template/spec/containers/0/resources");
    resources.cloned().context("no resources")
}
