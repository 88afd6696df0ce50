//! Large objects of others, which must not cost the operator anything.

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, PostParams},
};
use serde_json::json;

use super::player::resource;

pub(super) const NAMESPACE: &str = "somebody-else";
/// Bytes of each object.
const SIZE: usize = 200 * 1024;

/// Makes `count` objects, half of them ConfigMaps, half Secrets.
pub(super) async fn create(client: &Client, count: u16) -> anyhow::Result<()> {
    let text = "x".repeat(SIZE);
    stream::iter(0..count)
        .map(Ok)
        .try_for_each_concurrent(4, async |index| {
            let (kind, field) = [("ConfigMap", "data"), ("Secret", "stringData")][usize::from(index % 2)];
            let object: DynamicObject = serde_json::from_value(json!({
                "metadata": {"name": format!("large-{index}"), "labels": {"app.kubernetes.io/managed-by": "somebody-else"}},
                field: {"text": text},
            }))?;
            api(client, kind)
                .create(&PostParams::default(), &object)
                .await
                .with_context(|| format!("cannot create {kind} {index}"))?;
            anyhow::Ok(())
        })
        .await
}

pub(super) async fn delete(client: &Client) -> anyhow::Result<()> {
    for kind in ["ConfigMap", "Secret"] {
        api(client, kind)
            .delete_collection(&DeleteParams::default(), &ListParams::default())
            .await?;
    }
    Ok(())
}

fn api(client: &Client, kind: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), NAMESPACE, &resource("", "v1", kind))
}
