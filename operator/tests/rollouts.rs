//! What rolls when, why, and what is taken back, against a real API server. The test plays the
//! controllers, the kubelets and the metrics of pods.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests"
)]

mod cluster;
mod judge;
#[path = "rollouts/pods.rs"]
mod pods;

use cluster::{Cluster, demo};
use kube::api::{Patch, PatchParams};
use payment_operator::{build::labels, kinds::Kind};
use serde_json::{Value, json};

fn asking_for(memory: &str) -> Value {
    json!({"resources": {"requests": {"cpu": "10m", "memory": memory}}})
}

/// The pod template of a workload.
async fn template(cluster: &Cluster, kind: Kind, name: &str) -> Value {
    cluster.get(kind, name).await.unwrap()["spec"]["template"].clone()
}

/// Waits until the pods of a workload are to have this memory.
async fn asks_for(cluster: &Cluster, (kind, name): (Kind, &str), memory: &str) {
    let what = format!("{name} to ask for {memory}");
    cluster
        .until(&what, async |cluster: &Cluster| {
            let template = template(cluster, kind, name).await;
            template["spec"]["containers"][0]["resources"]["requests"]["memory"] == memory
        })
        .await;
}

async fn waits(cluster: &Cluster, condition: &str, behind: &str) {
    let what = format!("{condition} to wait for {behind}");
    cluster
        .until(&what, async |cluster: &Cluster| {
            let found = cluster.find_condition("demo", condition).await;
            found.is_some_and(|(status, message)| {
                status == "False"
                    && message.starts_with("WaitingToRoll")
                    && message.ends_with(&format!("after {behind}"))
            })
        })
        .await;
}

/// Two edits that say nothing of how the system runs, each with all its consequences.
async fn pause_and_resume(cluster: &Cluster) {
    for paused in [true, false] {
        let patch = Patch::Merge(json!({"spec": {"paused": paused}}));
        let systems = cluster.systems();
        let parameters = PatchParams::default();
        let edited = systems.patch("demo", &parameters, &patch).await.unwrap();
        let seen = async |cluster: &Cluster| {
            let status = cluster.systems().get("demo").await.unwrap().status;
            status.map(|status| status.observed_generation) == edited.metadata.generation
        };
        cluster.until("the switch to be seen", seen).await;
        cluster.settled().await;
    }
}

/// Waits until this generation is accepted.
async fn accepted(cluster: &Cluster, generation: i64) {
    let what = format!("generation {generation} to be accepted");
    cluster
        .until(&what, async |cluster: &Cluster| {
            let record = cluster.get(Kind::ConfigMap, "demo-accepted").await;
            let text = record.and_then(|record| {
                let text = record["data"]["accepted.json"].as_str()?;
                serde_json::from_str::<Value>(text).ok()
            });
            text.is_some_and(|accepted| accepted["generation"] == generation)
        })
        .await;
}

#[tokio::test]
async fn a_workload_rolls_after_those_it_rests_on_and_says_why() {
    let cluster = Cluster::start().await;
    let _operator = cluster.operate();
    cluster.apply(&demo(&json!({}))).await.unwrap();
    cluster.bring_up("demo").await;

    let bigger = asking_for("333Mi");
    let edit = json!({"mysql": bigger, "payment": bigger, "callback": bigger});
    cluster.apply(&demo(&edit)).await.unwrap();
    let mysql = (Kind::StatefulSet, "demo-mysql");
    asks_for(&cluster, mysql, "333Mi").await;
    waits(&cluster, "PaymentAvailable", "StatefulSet demo-mysql").await;
    waits(&cluster, "CallbackAvailable", "StatefulSet demo-mysql").await;
    let payment = (Kind::Deployment, "demo-payment");
    let requests = "/spec/containers/0/resources/requests/memory";
    let still = template(&cluster, payment.0, payment.1).await;
    assert_ne!(still.pointer(requests), Some(&json!("333Mi")));

    cluster.make_ready(mysql.0, mysql.1).await;
    asks_for(&cluster, payment, "333Mi").await;
    waits(&cluster, "CallbackAvailable", "Deployment demo-payment").await;
    cluster.make_ready(payment.0, payment.1).await;
    let callback = (Kind::Deployment, "demo-callback");
    asks_for(&cluster, callback, "333Mi").await;
    cluster.make_ready(callback.0, callback.1).await;
    cluster.condition("demo", "Ready", "True").await;

    for (kind, name) in [mysql, payment, callback] {
        let template = template(&cluster, kind, name).await;
        assert_eq!(
            template["metadata"]["annotations"][labels::RESTART_REASON],
            "its resources changed",
            "{name}"
        );
    }
    let worker = template(&cluster, Kind::Deployment, "demo-worker").await;
    let reason = &worker["metadata"]["annotations"][labels::RESTART_REASON];
    assert!(reason.is_null(), "nothing restarted it: {reason}");
    let told = pods::events(&cluster, "Rolling").await;
    assert_eq!(
        told,
        [
            "rolling Deployment demo-callback: its resources changed",
            "rolling Deployment demo-payment: its resources changed",
            "rolling StatefulSet demo-mysql: its resources changed",
        ]
    );
}

#[tokio::test]
async fn another_version_of_the_operator_restarts_nothing_until_it_is_asked_to() {
    let cluster = Cluster::start().await;
    let operator = cluster.operate();
    cluster.apply(&demo(&json!({}))).await.unwrap();
    cluster.bring_up("demo").await;
    drop(operator);

    // Another version made this Deployment, with another template.
    let elsewhere = json!({
        "metadata": {"annotations": {labels::TEMPLATE_HASH: "of another version"}},
        "spec": {"template": {"metadata": {"annotations": {labels::CONFIG_HASH: "of another version"}}}},
    });
    let before = pods::change(&cluster, "demo-payment", &elsewhere).await;
    cluster.make_ready(Kind::Deployment, "demo-payment").await;
    let status = json!({"status": {"rendering": {"operator": "0.0.1"}}});
    cluster
        .systems()
        .patch_status("demo", &PatchParams::default(), &Patch::Merge(&status))
        .await
        .unwrap();

    let _operator = cluster.operate();
    let message = cluster.condition("demo", "RenderingCurrent", "False").await;
    assert!(
        message.ends_with("what operator 0.0.1 made: Deployment demo-payment"),
        "{message}"
    );
    // Whoever pauses says nothing of how pods are to run.
    pause_and_resume(&cluster).await;
    cluster.condition("demo", "RenderingCurrent", "False").await;
    cluster.condition("demo", "Ready", "True").await;
    let kept = cluster.get(Kind::Deployment, "demo-payment").await.unwrap();
    assert_eq!(
        kept["metadata"]["generation"],
        before["metadata"]["generation"]
    );

    let take = json!({"metadata": {"annotations": {labels::TAKE_RENDERING: "now"}}});
    cluster
        .systems()
        .patch("demo", &PatchParams::default(), &Patch::Merge(&take))
        .await
        .unwrap();
    cluster
        .until("the new rendering", async |cluster: &Cluster| {
            let template = template(cluster, Kind::Deployment, "demo-payment").await;
            template["metadata"]["annotations"][labels::CONFIG_HASH] != "of another version"
        })
        .await;
    cluster.make_ready(Kind::Deployment, "demo-payment").await;
    cluster
        .until("nothing to be kept", async |cluster: &Cluster| {
            let condition = cluster.find_condition("demo", "RenderingCurrent").await;
            condition.is_none()
        })
        .await;
}

#[tokio::test]
async fn a_rollout_whose_pods_fail_beside_the_earlier_ones_is_taken_back() {
    let cluster = Cluster::start().await;
    let _operator = cluster.operate();
    cluster.apply(&demo(&json!({}))).await.unwrap();
    cluster.bring_up("demo").await;
    // One rollout came before: its reason is part of the template that is gone back to.
    cluster
        .apply(&demo(&json!({"payment": {"expiresInSeconds": 900}})))
        .await
        .unwrap();
    cluster.roll(Kind::Deployment, "demo-payment").await;
    accepted(&cluster, 2).await;
    let before = template(&cluster, Kind::Deployment, "demo-payment").await;
    let well = pods::Metrics::serve(0, 500).await;
    pods::create(&cluster, "demo-payment-old", "old", well.port).await;

    let image = |tag: &str| json!({"payment": {"expiresInSeconds": 900, "image": format!("registry.example/payment-runtime:{tag}")}});
    cluster.apply(&demo(&image("2.0"))).await.unwrap();
    pods::migrate(&cluster).await;
    pods::runs(&cluster, "2.0").await;
    let badly = pods::Metrics::serve(13, 20).await;
    pods::create_later(&cluster, "demo-payment-new", "new", badly.port).await;
    pods::half_rolled(&cluster, "demo-payment").await;

    pods::runs(&cluster, "1.0").await;
    cluster.make_ready(Kind::Deployment, "demo-payment").await;
    let now = template(&cluster, Kind::Deployment, "demo-payment").await;
    assert_eq!(now, before, "its pods would be other ones");
    let message = cluster.condition("demo", "Stalled", "True").await;
    assert!(
        message.starts_with("RolledBack: generation 3 was taken back"),
        "{message}"
    );
    assert!(
        message.contains(
            "new pods of payment failed in 13 of 20 requests, the earlier ones meanwhile in 0 of 0"
        ),
        "{message}"
    );
    // Told by the pass after the one that takes it back.
    let whole = async |cluster: &Cluster| {
        let stalled = cluster.find_condition("demo", "Stalled").await;
        stalled.is_some_and(|(_, message)| message.contains("as in generation 2"))
    };
    cluster.until("what the services run as", whole).await;
    let told = "generation 3 was taken back";
    judge::judged(&cluster, ("Failed", told), ("Degraded", told)).await;

    // It is not tried again by itself nor by a switch, but when it is edited.
    let writes = cluster.settled().await;
    assert_eq!(cluster.settled().await, writes);
    pause_and_resume(&cluster).await;
    let message = cluster.condition("demo", "Stalled", "True").await;
    assert!(message.contains("generation 3 was taken back"), "{message}");
    let still = cluster.get(Kind::Deployment, "demo-payment").await.unwrap();
    assert_eq!(still["spec"]["template"], before);

    // An image and a setting at once: pods wait for the migration, and are rolled once.
    pods::remove(&cluster, "demo-payment-new").await;
    let mut edit = image("3.0");
    edit["payment"]["expiresInSeconds"] = json!(800);
    cluster.apply(&demo(&edit)).await.unwrap();
    let migration = format!("Job {}", cluster.migration().await);
    waits(&cluster, "PaymentAvailable", &migration).await;
    cluster.settled().await;
    let waiting = cluster.get(Kind::Deployment, "demo-payment").await.unwrap();
    assert_eq!(waiting["spec"]["template"], before);
    pods::migrate(&cluster).await;
    pods::runs(&cluster, "3.0").await;
    let rolled = cluster.get(Kind::Deployment, "demo-payment").await.unwrap();
    let generation = |live: &Value| live["metadata"]["generation"].as_i64().unwrap();
    assert_eq!(generation(&rolled), generation(&waiting) + 1);
    for service in ["payment", "callback", "worker", "reconciliation"] {
        let name = format!("demo-{service}");
        pods::image(&cluster, &name, "3.0").await;
        cluster.make_ready(Kind::Deployment, &name).await;
    }
    cluster.condition("demo", "Ready", "True").await;
}
