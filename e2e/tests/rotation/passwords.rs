//! Passwords: no store restarts for them, and the former ones are worth nothing afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::cluster::MANAGER;
use e2e::{Scene, Seen, until};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::customers::while_customers_pay;

const SOON: Duration = Duration::from_secs(30);
/// The services roll once, and their pods end slowly.
const ROTATED_WITHIN: Duration = Duration::from_mins(6);
const STORES: [&str; 2] = ["mysql", "redis"];

#[tokio::test]
async fn passwords_change_while_customers_pay() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = rotates(&scene).await;
    scene.close(outcome).await
}

async fn rotates(scene: &Scene) -> Result<()> {
    let (stores, before) = (store_pods(scene).await?, passwords(scene).await?);
    while_customers_pay(scene, rotate(scene)).await?;
    ensure!(
        store_pods(scene).await? == stores,
        "a store's pod was replaced"
    );
    let after = passwords(scene).await?;
    for (secret, password) in &before {
        ensure!(after[secret] != *password, "{secret} has its old password");
    }
    ensure!(logs_in(scene, "new", &after["demo-mysql"]).await?.is_none());
    let refused = logs_in(scene, "old", &before["demo-mysql"]).await?;
    let refused = refused.context("the old password still lets somebody in")?;
    ensure!(refused.contains("Access denied"), "{refused}");
    Ok(())
}

/// Asks for a rotation that nobody has asked for before, and waits until it is done.
async fn rotate(scene: &Scene) -> Result<()> {
    let rotation = format!("e2e-{}", jiff::Timestamp::now().as_millisecond());
    let change = json!({"credentials": {"rotation": rotation}});
    scene.demo.change_spec(&change).await?;
    let what = format!("rotation {rotation} to be done");
    until(&what, ROTATED_WITHIN, async || {
        let object = scene.demo.get().await?;
        let done = &object.data["status"]["credentials"]["rotation"];
        let conditions = scene.demo.conditions().await?;
        let rotating = conditions.iter().find(|c| c.kind == "CredentialsRotating");
        let why = rotating.map(e2e::system::Condition::line);
        Ok(Seen::when(
            *done == rotation.as_str() && rotating.is_none(),
            why.unwrap_or_default(),
        ))
    })
    .await?;
    scene.demo.wait_settled(ROTATED_WITHIN).await
}

/// Names and identities of the stores' pods, and how often their containers were started again.
async fn store_pods(scene: &Scene) -> Result<Vec<(String, String, i32)>> {
    let mut all = Vec::new();
    for store in STORES {
        for pod in scene.demo.pods_of(store).await? {
            let containers = pod.status.as_ref();
            let containers = containers.and_then(|status| status.container_statuses.as_ref());
            let restarts = containers.into_iter().flatten().map(|it| it.restart_count);
            all.push((
                pod.name_any(),
                pod.uid().unwrap_or_default(),
                restarts.sum(),
            ));
        }
    }
    ensure!(all.len() == STORES.len(), "{all:?}");
    Ok(all)
}

async fn passwords(scene: &Scene) -> Result<BTreeMap<String, String>> {
    let api = scene.cluster.api::<Secret>(&scene.demo.namespace);
    let mut all = BTreeMap::new();
    for name in ["demo-mysql", "demo-redis", "demo-orders"] {
        let data = api.get(name).await?.data.unwrap_or_default();
        ensure!(
            data.keys().all(|key| !key.starts_with("next-")
                && !key.starts_with("previous-")
                && !key.starts_with("retired-")),
            "{name} has {:?}",
            data.keys()
        );
        let password = data.get("password").context("no password")?;
        all.insert(name.to_owned(), String::from_utf8(password.0.clone())?);
    }
    Ok(all)
}

/// Logs in to the database from a pod; `None` if that works, else what was said.
async fn logs_in(scene: &Scene, which: &str, password: &str) -> Result<Option<String>> {
    let namespace = &scene.demo.namespace;
    let server = scene.demo.pods_of("mysql").await?;
    let server = server.first().and_then(|pod| pod.spec.as_ref());
    let image = server.and_then(|spec| spec.containers[0].image.clone());
    let name = format!("e2e-login-{which}");
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"e2e": "login"}},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": 999,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": "login",
                "image": image.context("no image of the database")?,
                "command": ["mysql", "--host=demo-mysql", "--user=payment", "--get-server-public-key", "--execute=SELECT 1"],
                "env": [{"name": "MYSQL_PWD", "value": password}],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    });
    // Nobody but the system reaches its database.
    scene.cluster.apply(&let_in(scene)).await?;
    scene.cluster.delete_pod_now(namespace, &name).await?;
    let pods = scene.cluster.api::<Pod>(namespace);
    until("the former pod to be gone", SOON, async || {
        Ok(Seen::when(
            pods.get_opt(&name).await?.is_none(),
            "it is there",
        ))
    })
    .await?;
    let by = PatchParams::apply(MANAGER).force();
    pods.patch(&name, &by, &Patch::Apply(&pod)).await?;
    let phase = until("the login to end", SOON * 2, async || {
        let phase = pods.get(&name).await?.status.and_then(|it| it.phase);
        let phase = phase.unwrap_or_default();
        let ended = ["Succeeded", "Failed"].contains(&phase.as_str());
        Ok(if ended {
            Seen::Done(phase)
        } else {
            Seen::not_yet(format!("it is {phase}"))
        })
    })
    .await?;
    let said = scene.cluster.logs(namespace, &name).await?;
    scene.cluster.delete_pod_now(namespace, &name).await?;
    Ok((phase != "Succeeded").then_some(said))
}

/// Opens the database to pods that log in.
fn let_in(scene: &Scene) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "e2e-login", "namespace": scene.demo.namespace},
        "spec": {
            "podSelector": {"matchLabels": {
                "app.kubernetes.io/instance": scene.demo.name,
                "app.kubernetes.io/component": "mysql",
            }},
            "ingress": [{"from": [{"podSelector": {"matchLabels": {"e2e": "login"}}}]}],
        },
    })
}
