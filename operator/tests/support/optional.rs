//! The kinds that other projects bring: their definitions, without their schemas.

use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, PostParams},
    core::GroupVersionKind,
};
use payment_operator::kinds::{Entry, KINDS};
use serde_json::json;

use super::cluster::Cluster;

/// All of them.
pub fn kinds() -> impl Iterator<Item = &'static Entry> {
    KINDS.iter().filter(|entry| entry.optional)
}

fn definitions(cluster: &Cluster) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    Api::all_with(cluster.client.clone(), &ApiResource::from_gvk(&gvk))
}

/// Installs every optional kind; they are served when it returns.
pub async fn install(cluster: &Cluster) {
    for entry in kinds() {
        define(cluster, entry).await;
    }
    for entry in kinds() {
        served(cluster, entry).await;
    }
}

/// Installs one kind.
pub async fn define(cluster: &Cluster, entry: &Entry) {
    let schema = json!({"openAPIV3Schema": {
        "type": "object",
        "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
    }});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": entry.crd_name(),
            "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"},
        },
        "spec": {
            "group": entry.group,
            "scope": "Namespaced",
            "names": {"kind": entry.name, "plural": entry.plural},
            "versions": [{"name": entry.version, "served": true, "storage": true, "schema": schema}],
        },
    });
    let definition = serde_json::from_value(definition).unwrap();
    let api = definitions(cluster);
    api.create(&PostParams::default(), &definition)
        .await
        .unwrap();
}

/// Waits until the API server has a kind.
pub async fn served(cluster: &Cluster, entry: &Entry) {
    cluster
        .until(entry.name, async |cluster: &Cluster| {
            let api = cluster.api(entry.kind);
            api.list(&ListParams::default()).await.is_ok()
        })
        .await;
}

/// Takes one kind away, with all its objects.
pub async fn withdraw(cluster: &Cluster, entry: &Entry) {
    let api = definitions(cluster);
    let name = entry.crd_name();
    api.delete(&name, &DeleteParams::default()).await.unwrap();
    cluster
        .until(&format!("the end of {name}"), async |_: &Cluster| {
            api.get_opt(&name).await.unwrap().is_none()
        })
        .await;
}
