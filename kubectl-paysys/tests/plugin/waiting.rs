//! `status`, `why`, `pause`, `resume`, `stop` and `start` over the life of a system.

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use payment_operator::kinds::Kind;
use serde_json::json;

use crate::{
    Plugin,
    cluster::{Cluster, NAMESPACE},
    demo, ended,
};

/// A pod of the database that cannot pull its image, and what the kubelet says about it.
async fn broken_pod(cluster: &Cluster) {
    let pods = Api::<Pod>::namespaced(cluster.client.clone(), NAMESPACE);
    let pod = json!({
        "metadata": {"name": "demo-mysql-0", "labels": {
            "app.kubernetes.io/managed-by": "payment-operator",
            "app.kubernetes.io/instance": "demo",
            "app.kubernetes.io/component": "mysql",
        }},
        "spec": {"containers": [{"name": "mysql", "image": "mysql:nope"}]},
    });
    let pod: Pod = serde_json::from_value(pod).unwrap();
    pods.create(&PostParams::default(), &pod).await.unwrap();
    let status = json!({"status": {"phase": "Pending", "containerStatuses": [{
        "name": "mysql", "image": "mysql:nope", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"waiting": {"reason": "ImagePullBackOff", "message": "mysql:nope: not found"}},
    }]}});
    let patch = Patch::Merge(status);
    pods.patch_status("demo-mysql-0", &PatchParams::default(), &patch)
        .await
        .unwrap();
    let events = Api::<Event>::namespaced(cluster.client.clone(), NAMESPACE);
    let event = json!({
        "metadata": {"name": "demo-mysql-0.1"},
        "involvedObject": {"kind": "Pod", "name": "demo-mysql-0", "namespace": NAMESPACE},
        "type": "Warning", "reason": "Failed", "message": "Failed to pull image mysql:nope",
        "lastTimestamp": "2026-11-22T10:00:00Z",
    });
    let event: Event = serde_json::from_value(event).unwrap();
    events.create(&PostParams::default(), &event).await.unwrap();
}

#[tokio::test]
async fn a_system_is_followed_from_its_first_object_to_its_stop() {
    let cluster = Cluster::start().await;
    let plugin = Plugin::new(&cluster);
    cluster.apply(&demo(&json!({}))).await.unwrap();
    let ran = plugin.run(&["status"]).await;
    ran.expect(1, &["payment/demo  Unseen", "see that it runs"]);

    let _operator = cluster.operate();
    cluster.exists(Kind::StatefulSet, "demo-mysql").await;
    broken_pod(&cluster).await;
    cluster.condition("demo", "Stalled", "True").await;
    let ran = plugin.run(&["why"]).await;
    ran.expect(
        1,
        &[
            "payment/demo is Stalled: StatefulSet demo-mysql blocks it",
            "ImagePullBackOff: mysql:nope: not found",
            "Pod demo-mysql-0 Failed: Failed to pull image mysql:nope",
            "correct the image",
        ],
    );
    let why = plugin.run(&["why", "demo", "-o", "json"]).await.json();
    assert_eq!(
        why["blockedBy"],
        json!({"kind": "StatefulSet", "name": "demo-mysql"})
    );
    assert_eq!(why["pods"][0]["containers"][0]["restarts"], 0);
    let ran = plugin.run(&["status", "demo"]).await;
    let ran = ran.expect(
        1,
        &["Stalled", "✗ DatabaseReady", "kubectl paysys why demo"],
    );
    assert!(!ran.out.contains('\u{1b}'), "no colours into a pipe");

    let waiting = plugin.start(&["status", "demo", "--wait", "--timeout", "2m"]);
    cluster.bring_up("demo").await;
    let ran = ended(waiting).await;
    ran.expect(
        0,
        &["✓ DatabaseReady", "payment/demo  Ready", "payment 3/3"],
    );
    let ran = plugin.run(&["why", "demo"]).await;
    ran.expect(0, &["nothing blocks it, all parts are ready"]);
    let ran = plugin.run(&["status", "--wait", "--timeout", "1s"]).await;
    ran.expect(0, &["payment/demo  Ready"]);

    let listed = plugin.run(&["status", "-o", "json"]).await.json();
    assert_eq!(listed["systems"][0]["state"], "Ready");
    let named = plugin.run(&["status", "demo", "-o", "json"]).await.json();
    assert_eq!(listed["systems"][0]["conditions"], named["conditions"]);

    let coloured = plugin.on_terminal("status demo", &[]).await;
    assert!(coloured.contains("\u{1b}[32mReady\u{1b}[0m"), "{coloured}");
    let plain = plugin
        .on_terminal("status demo", &[("NO_COLOR", "1")])
        .await;
    assert!(plain.contains("payment/demo  Ready"), "{plain}");
    assert!(!plain.contains('\u{1b}'), "{plain}");

    pausing(&cluster, &plugin).await;
    stopping(&cluster, &plugin).await;
}

async fn pausing(cluster: &Cluster, plugin: &Plugin) {
    let ran = plugin.run(&["pause"]).await;
    ran.expect(0, &["payment/demo is paused.", "The operator has seen it."]);
    let paused = cluster.systems().get("demo").await.unwrap();
    assert!(paused.spec.paused);
    let again = plugin.run(&["pause", "demo", "-o", "json"]).await;
    assert_eq!(again.json()["changed"], false);
    let unchanged = cluster.systems().get("demo").await.unwrap();
    assert_eq!(unchanged.metadata.generation, paused.metadata.generation);
    let ran = plugin.run(&["status", "demo"]).await;
    ran.expect(0, &["Paused", "kubectl paysys resume demo"]);
    let ran = plugin.run(&["resume", "demo"]).await;
    ran.expect(
        0,
        &["payment/demo is resumed.", "The operator has seen it."],
    );
    assert!(!cluster.systems().get("demo").await.unwrap().spec.paused);
}

async fn stopping(cluster: &Cluster, plugin: &Plugin) {
    let ran = plugin.run(&["pause"]).await;
    ran.expect(0, &[]);
    let ran = plugin.run(&["stop"]).await;
    ran.expect(
        0,
        &["is to stop.", "It is paused, so nothing of it happens"],
    );
    let ran = plugin.run(&["resume"]).await;
    ran.expect(0, &[]);
    let ran = plugin.run(&["stop", "-o", "json"]).await;
    let outcome = ran.json();
    assert_eq!(
        (
            &outcome["stopped"],
            &outcome["changed"],
            &outcome["observed"]
        ),
        (&json!(true), &json!(false), &json!(true))
    );
    let pods = Api::<Pod>::namespaced(cluster.client.clone(), NAMESPACE);
    let now = DeleteParams::default().grace_period(0);
    pods.delete("demo-mysql-0", &now).await.unwrap();
    let waiting = plugin.start(&["status", "--wait=stopped", "--timeout", "2m"]);
    cluster.wind_down("demo").await;
    let ran = ended(waiting).await;
    ran.expect(0, &["payment/demo  Stopped", "kubectl paysys start demo"]);
    let ran = plugin.run(&["status", "--wait", "--timeout", "1s"]).await;
    ran.expect(1, &["demo is not ready after 1s"]);
    let ran = plugin.run(&["start"]).await;
    ran.expect(0, &["is to start.", "kubectl paysys status demo --wait"]);
    assert!(!cluster.systems().get("demo").await.unwrap().spec.stopped);
}
