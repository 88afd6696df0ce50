//! Load brings replicas of the payment service, rest takes them away again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{PaymentApi, Scene, Seen, until};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use serde_json::json;
use tokio::task::JoinSet;

const CLIENTS: usize = 24;
/// Every new pod works some seconds beside the old ones before the next is made.
const ROLLED_WITHIN: Duration = Duration::from_mins(3);
const UP_WITHIN: Duration = Duration::from_secs(90);
const DOWN_WITHIN: Duration = Duration::from_secs(150);

#[tokio::test]
async fn load_adds_replicas_and_rest_removes_them() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = scales(&scene).await;
    scene.close(outcome).await
}

async fn scales(scene: &Scene) -> Result<()> {
    let object = scene.demo.get().await?;
    let min = object.data["spec"]["payment"]["autoscaling"]["minReplicas"].as_i64();
    let min = i32::try_from(min.context("no minReplicas")?)?;
    // Small requests leave room for two more replicas on a small node; a small target is also
    // passed where the node has much else to do.
    let quick = json!({"payment": {
        "resources": {"requests": {"cpu": "50m"}},
        "autoscaling": {
            "enabled": true,
            "maxReplicas": min + 2,
            "cpuUtilizationPercent": 30,
            "scaleDown": {"percent": 100, "periodSeconds": 15, "stabilizationSeconds": 15},
        },
    }});
    scene.demo.change_spec(&quick).await?;
    scene.demo.wait_settled(ROLLED_WITHIN).await?;
    wait_metrics(scene, min).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let load = load(scene, &stop)?;
    let up = wait_replicas(scene, UP_WITHIN, "more", |replicas| replicas > min).await;
    stop.store(true, Ordering::Relaxed);
    let answered: usize = load.join_all().await.into_iter().sum();
    ensure!(
        answered > 0,
        "not one request was answered: there was no load"
    );
    println!("{answered} requests answered");
    up?;
    wait_replicas(scene, DOWN_WITHIN, "few", |replicas| replicas == min).await
}

/// The autoscaler has taken the new bounds and knows how busy the pods are.
async fn wait_metrics(scene: &Scene, min: i32) -> Result<()> {
    let api = scene
        .cluster
        .api::<HorizontalPodAutoscaler>(&scene.demo.namespace);
    until("the autoscaler to read metrics", UP_WITHIN, async || {
        let autoscaler = api.get("demo-payment").await?;
        let max = autoscaler.spec.as_ref().map(|spec| spec.max_replicas);
        if max != Some(min + 2) {
            return Ok(Seen::not_yet(format!("maxReplicas is {max:?}")));
        }
        let conditions = autoscaler
            .status
            .and_then(|status| status.conditions)
            .unwrap_or_default();
        let active = conditions
            .iter()
            .find(|condition| condition.type_ == "ScalingActive");
        let message = active
            .and_then(|active| active.message.clone())
            .unwrap_or_default();
        Ok(Seen::when(
            active.is_some_and(|active| active.status == "True"),
            message,
        ))
    })
    .await
}

/// Clients that read payments until told to stop; each ends with the number of its answers.
fn load(scene: &Scene, stop: &Arc<AtomicBool>) -> Result<JoinSet<usize>> {
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        // A client of its own each: its connections spread over the replicas.
        let api = PaymentApi::new(&scene.environment.urls.api)?;
        let stop = Arc::clone(stop);
        clients.spawn(async move {
            let mut answered = 0;
            while !stop.load(Ordering::Relaxed) {
                answered += usize::from(api.page(100).await.is_ok());
            }
            answered
        });
    }
    Ok(clients)
}

async fn wait_replicas(
    scene: &Scene,
    limit: Duration,
    wanted: &str,
    enough: impl Fn(i32) -> bool,
) -> Result<()> {
    let deployments = scene.cluster.api::<Deployment>(&scene.demo.namespace);
    let autoscalers = scene
        .cluster
        .api::<HorizontalPodAutoscaler>(&scene.demo.namespace);
    until(
        &format!("{wanted} replicas of demo-payment"),
        limit,
        async || {
            let deployment = deployments.get("demo-payment").await?;
            let ready = deployment
                .status
                .and_then(|status| status.ready_replicas)
                .unwrap_or(0);
            if enough(ready) {
                return Ok(Seen::Done(()));
            }
            let status = autoscalers
                .get("demo-payment")
                .await?
                .status
                .unwrap_or_default();
            let use_now = json!(status.current_metrics);
            Ok(Seen::not_yet(format!(
                "{ready} are ready, {} wanted, {use_now}",
                status.desired_replicas
            )))
        },
    )
    .await
}
