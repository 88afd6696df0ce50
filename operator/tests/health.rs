//! What Argo CD and kstatus say of a system in each of its states, against a real API server. The
//! test plays the controllers and kubelets by writing the status of workloads.
//!
//! A rollout that was taken back is judged where it happens, in `rollouts.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests"
)]

mod cluster;
mod judge;

use cluster::{Cluster, demo};
use judge::judged;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use payment_operator::{
    build::labels::{self, component},
    kinds::Kind,
    validate::Settings,
};
use serde_json::json;

const UNSEEN: &str = "the operator has not looked at generation";

/// A pod of the database whose image is not there.
async fn pod_without_image(cluster: &Cluster) {
    let pod = json!({
        "metadata": {"name": "demo-mysql-0", "labels": labels::all("demo", component::MYSQL)},
        "spec": {"containers": [{"name": "c", "image": "i:1"}]},
    });
    let pod = serde_json::from_value(pod).unwrap();
    let pods = cluster.api(Kind::Pod);
    pods.create(&PostParams::default(), &pod).await.unwrap();
    let waiting = json!({"waiting": {"reason": "ImagePullBackOff", "message": "no such tag"}});
    let status = json!({"status": {"containerStatuses": [{
        "name": "c", "image": "i:1", "imageID": "", "ready": false, "restartCount": 0, "state": waiting,
    }]}});
    let parameters = PatchParams::default();
    pods.patch_status("demo-mysql-0", &parameters, &Patch::Merge(status))
        .await
        .unwrap();
}

/// Deletes the system, which somebody's finalizer holds.
async fn delete_held(cluster: &Cluster) {
    let systems = cluster.systems();
    let held = json!({"metadata": {"finalizers": ["example.com/held"]}});
    let parameters = PatchParams::default();
    systems
        .patch("demo", &parameters, &Patch::Merge(held))
        .await
        .unwrap();
    systems
        .delete("demo", &DeleteParams::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn from_the_first_look_to_the_last() {
    let cluster = Cluster::start().await;
    cluster.apply(&demo(&json!({}))).await.unwrap();
    let generations = "generation is 1, but latest observed generation is -1";
    judged(
        &cluster,
        ("InProgress", generations),
        ("Progressing", UNSEEN),
    )
    .await;

    let operator = cluster.operate();
    cluster.condition("demo", "DatabaseReady", "False").await;
    cluster.exists(Kind::StatefulSet, "demo-mysql").await;
    cluster.settled().await;
    let told = "waiting for StatefulSet demo-mysql: 0/1 ready";
    judged(&cluster, ("InProgress", told), ("Progressing", told)).await;

    pod_without_image(&cluster).await;
    cluster.condition("demo", "Stalled", "True").await;
    let told = "pod demo-mysql-0: ImagePullBackOff: no such tag";
    judged(&cluster, ("Failed", told), ("Degraded", told)).await;

    let now = DeleteParams::default().grace_period(0);
    let pods = cluster.api(Kind::Pod);
    pods.delete("demo-mysql-0", &now).await.unwrap();
    cluster.bring_up("demo").await;
    cluster.settled().await;
    let ready = ("Healthy", "all parts are ready");
    judged(&cluster, ("Current", "Resource is Ready"), ready).await;

    // Nobody looks at the edit: what is said of the earlier specification does not count.
    drop(operator);
    let edited = demo(&json!({"payment": {"expiresInSeconds": 900}}));
    cluster.apply(&edited).await.unwrap();
    let unseen = ("Progressing", UNSEEN);
    judged(&cluster, ("InProgress", "latest observed"), unseen).await;

    let _operator = cluster.operate();
    cluster.condition("demo", "Ready", "False").await;
    judged(&cluster, ("InProgress", ""), ("Progressing", "")).await;
    cluster.roll(Kind::Deployment, "demo-payment").await;
    cluster.condition("demo", "Ready", "True").await;
    judged(&cluster, ("Current", ""), ready).await;

    delete_held(&cluster).await;
    let deleted = ("Progressing", "it is being deleted");
    judged(&cluster, ("Terminating", ""), deleted).await;
}

#[tokio::test]
async fn paused_and_stopped_systems_are_suspended() {
    let cluster = Cluster::start().await;
    let _operator = cluster.operate();
    cluster.apply(&demo(&json!({}))).await.unwrap();
    cluster.bring_up("demo").await;

    let paused = demo(&json!({"paused": true}));
    cluster.apply(&paused).await.unwrap();
    cluster.condition("demo", "Paused", "True").await;
    let suspended = ("Suspended", "spec.paused is true");
    judged(&cluster, ("Current", "Resource is Ready"), suspended).await;

    let stopped = demo(&json!({"stopped": true}));
    cluster.apply(&stopped).await.unwrap();
    cluster.condition("demo", "Stopped", "False").await;
    let told = "spec.stopped is true: waiting";
    judged(&cluster, ("InProgress", told), ("Progressing", told)).await;
    for (kind, name) in [
        (Kind::Deployment, "demo-payment"),
        (Kind::Deployment, "demo-callback"),
        (Kind::Deployment, "demo-worker"),
        (Kind::Deployment, "demo-reconciliation"),
        (Kind::StatefulSet, "demo-coordinator"),
        (Kind::StatefulSet, "demo-mysql"),
        (Kind::StatefulSet, "demo-redis"),
        (Kind::Deployment, "demo-channel-simulator"),
    ] {
        cluster.roll(kind, name).await;
    }
    cluster.condition("demo", "Stopped", "True").await;
    // kstatus knows no word for it: the system is not ready, and does not say that it fails.
    let told = "spec.stopped is true: no pod runs";
    judged(&cluster, ("InProgress", told), ("Suspended", told)).await;
}

/// The API server takes it; this operator was installed without the simulator.
#[tokio::test]
async fn a_specification_that_cannot_work_is_degraded() {
    let cluster = Cluster::start().await;
    let operator = cluster.operate_with(Settings {
        runtime_image: Some("registry.example/payment-runtime:1.0".to_owned()),
        ..Settings::default()
    });
    for flag in ["paused", "stopped", "neither"] {
        let spec = match flag {
            "neither" => json!({}),
            flag => json!({flag: true}),
        };
        let applied = cluster.apply(&demo(&spec)).await.unwrap();
        let generation = applied.metadata.generation.unwrap();
        let seen = async |cluster: &Cluster| {
            let status = cluster.systems().get("demo").await.unwrap().status;
            status.is_some_and(|status| status.observed_generation == generation)
        };
        cluster.until("the look at it", seen).await;
        let told = "spec.channels.simulator is true but the operator was started without";
        let reason = ("Degraded", "SimulatorImageMissing: ");
        judged(&cluster, ("Failed", told), reason).await;
    }

    drop(operator);
    let _operator = cluster.operate();
    cluster.condition("demo", "Reconciling", "True").await;
    judged(&cluster, ("InProgress", ""), ("Progressing", "")).await;
}
