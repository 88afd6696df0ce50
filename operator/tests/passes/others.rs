//! Objects under the names of a system's own that the operator does not know: somebody else made
//! them, or took their labels away.

use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use payment_operator::kinds::Kind;
use serde_json::{Value, json};

use super::scale_payment;
use crate::cluster::{Cluster, NAMESPACE, demo};

async fn label(cluster: &Cluster, kind: Kind, name: &str, labels: Value) {
    let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
    let api = cluster.api(kind);
    let labelled = api.patch(name, &PatchParams::default(), &patch).await;
    labelled.unwrap();
}

#[tokio::test]
async fn what_somebody_else_made_is_left_alone_until_it_is_handed_over() {
    let cluster = Cluster::start().await;
    let theirs: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "demo-redis"},
        "data": {"theirs": "untouched"},
    }))
    .unwrap();
    let config_maps = cluster.api(Kind::ConfigMap);
    let made = config_maps.create(&PostParams::default(), &theirs).await;
    let made = json!(made.unwrap().metadata);
    let _operator = cluster.operate();
    cluster.apply(&demo(&json!({}))).await.unwrap();

    cluster
        .until("the refusal", async |cluster: &Cluster| {
            let ready = cluster.find_condition("demo", "Ready").await;
            ready.is_some_and(|(_, said)| said.starts_with("NameTaken"))
        })
        .await;
    let said = cluster.condition("demo", "Ready", "False").await;
    for words in [
        "ConfigMap demo-redis exists and was not made for this PaymentSystem".to_owned(),
        format!("kubectl label configmaps/demo-redis -n {NAMESPACE}"),
        "app.kubernetes.io/managed-by=payment-operator app.kubernetes.io/instance=demo".to_owned(),
    ] {
        assert!(said.contains(&words), "{said}");
    }
    let live = cluster.get(Kind::ConfigMap, "demo-redis").await.unwrap();
    assert_eq!(live["metadata"], made);

    let labels = json!({
        "app.kubernetes.io/managed-by": "payment-operator",
        "app.kubernetes.io/instance": "demo",
    });
    label(&cluster, Kind::ConfigMap, "demo-redis", labels).await;
    cluster.exists(Kind::StatefulSet, "demo-redis").await;
    let live = cluster.get(Kind::ConfigMap, "demo-redis").await.unwrap();
    assert!(live["data"]["redis.conf"].is_string());
    assert_eq!(live["data"]["theirs"], "untouched");
}

#[tokio::test]
async fn an_object_whose_labels_were_taken_away_gets_them_again_and_stays_as_it_is() {
    let cluster = Cluster::start().await;
    let _operator = cluster.operate();
    cluster.apply(&demo(&json!({}))).await.unwrap();
    cluster.bring_up("demo").await;
    scale_payment(&cluster, "autoscaler", 7).await;
    cluster.settled().await;
    let before = cluster.get(Kind::Deployment, "demo-payment").await.unwrap();

    let none = json!({
        "app.kubernetes.io/managed-by": null,
        "app.kubernetes.io/instance": null,
    });
    label(&cluster, Kind::Deployment, "demo-payment", none).await;
    cluster
        .until("the labels", async |cluster: &Cluster| {
            let live = cluster.get(Kind::Deployment, "demo-payment").await.unwrap();
            live["metadata"]["labels"] == before["metadata"]["labels"]
        })
        .await;
    cluster.settled().await;
    let live = cluster.get(Kind::Deployment, "demo-payment").await.unwrap();
    assert_eq!(live["metadata"]["uid"], before["metadata"]["uid"]);
    assert_eq!(live["spec"], before["spec"]);
}
