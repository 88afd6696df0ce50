//! What somebody deletes or edits comes back, and a change of the specification touches no more
//! pods than it must.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::{Order, Scene, Seen, until};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::CronJob;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

const RESTART_REASON: &str = "paymentsystem.dev/restart-reason";
const RESTORED_WITHIN: Duration = Duration::from_secs(30);
const SETTLED_WITHIN: Duration = Duration::from_mins(4);

/// One child that can be deleted or edited: its kind, name, and a part of it to spoil.
struct Child {
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    name: &'static str,
    edit: Value,
}

fn children() -> [Child; 3] {
    [
        Child {
            group: "",
            kind: "Service",
            plural: "services",
            name: "demo-callback",
            edit: json!({"spec": {"selector": {"app.kubernetes.io/component": "somebody-else"}}}),
        },
        Child {
            group: "",
            kind: "ConfigMap",
            plural: "configmaps",
            name: "demo-runtime",
            edit: json!({"data": {"config.yaml": "edited: by hand"}}),
        },
        Child {
            group: "apps",
            kind: "Deployment",
            plural: "deployments",
            name: "demo-worker",
            edit: json!({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 7}}}}),
        },
    ]
}

impl Child {
    fn api(&self, scene: &Scene) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk(self.group, "v1", self.kind);
        let resource = kube::api::ApiResource::from_gvk_with_plural(&kind, self.plural);
        Api::namespaced_with(
            scene.cluster.client.clone(),
            &scene.demo.namespace,
            &resource,
        )
    }

    /// What the operator decides about it; what the cluster adds by itself is left out.
    fn content(object: &DynamicObject) -> Value {
        let mut content = json!([object.data["spec"], object.data["data"]]);
        for given in ["clusterIP", "clusterIPs", "replicas"] {
            if let Some(spec) = content[0].as_object_mut() {
                spec.remove(given);
            }
        }
        // Why the pods are others than at first is news, not a difference.
        let said = content[0].pointer_mut("/template/metadata/annotations");
        if let Some(said) = said.and_then(Value::as_object_mut) {
            said.remove(RESTART_REASON);
        }
        content
    }

    async fn wait_restored(&self, api: &Api<DynamicObject>, before: &DynamicObject) -> Result<()> {
        let what = format!("{} {} to be as it was", self.kind, self.name);
        until(&what, RESTORED_WITHIN, async || {
            let Some(now) = api.get_opt(self.name).await? else {
                return Ok(Seen::not_yet("it is not there"));
            };
            let (is, was) = (Self::content(&now), Self::content(before));
            Ok(Seen::when(is == was, format!("it is {is}, it was {was}")))
        })
        .await
    }
}

#[tokio::test]
async fn a_deleted_child_comes_back() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = deleted(&scene).await;
    scene.close(outcome).await
}

async fn deleted(scene: &Scene) -> Result<()> {
    for child in children() {
        let api = child.api(scene);
        let before = api.get(child.name).await?;
        api.delete(child.name, &DeleteParams::background()).await?;
        let what = format!("a new {} {}", child.kind, child.name);
        until(&what, RESTORED_WITHIN, async || {
            let now = api.get_opt(child.name).await?;
            let renewed = now.is_some_and(|now| now.uid() != before.uid());
            Ok(Seen::when(renewed, "only the old one, or none"))
        })
        .await?;
        child.wait_restored(&api, &before).await?;
    }
    still_pays(scene).await
}

#[tokio::test]
async fn a_child_edited_by_hand_is_put_right() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = edited(&scene).await;
    scene.close(outcome).await
}

async fn edited(scene: &Scene) -> Result<()> {
    for child in children() {
        let api = child.api(scene);
        let before = api.get(child.name).await?;
        let edit = Patch::Merge(&child.edit);
        let by_hand = PatchParams {
            field_manager: Some("by-hand".to_owned()),
            ..PatchParams::default()
        };
        let spoilt = api.patch(child.name, &by_hand, &edit).await?;
        let changed = Child::content(&spoilt) != Child::content(&before);
        ensure!(
            changed,
            "{} {} was not changed by the edit",
            child.kind,
            child.name
        );
        child.wait_restored(&api, &before).await?;
    }
    still_pays(scene).await
}

async fn still_pays(scene: &Scene) -> Result<()> {
    scene.demo.wait_settled(SETTLED_WITHIN).await?;
    let created = scene
        .api
        .create_payable(&Order::new("E2E-HEAL", "wechat", "1.00"))
        .await?;
    scene
        .simulator
        .pay("wechat", created.channel_order_no())
        .await?;
    scene
        .api
        .wait_status(created.payment_id(), "PAID", RESTORED_WITHIN)
        .await
        .map(drop)
}

#[tokio::test]
async fn a_new_schedule_restarts_no_pod() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = new_schedule(&scene).await;
    scene.close(outcome).await
}

async fn new_schedule(scene: &Scene) -> Result<()> {
    let before = scene.demo.pod_uids().await?;
    let schedule = "7 3 * * *";
    scene
        .demo
        .change_spec(&json!({"reconciliation": {"schedule": schedule}}))
        .await?;
    let cronjobs = scene.cluster.api::<CronJob>(&scene.demo.namespace);
    until(
        "the CronJob to take the schedule",
        RESTORED_WITHIN,
        async || {
            let spec = cronjobs.get("demo-reconciliation").await?.spec;
            let now = spec.map(|spec| spec.schedule).unwrap_or_default();
            Ok(Seen::when(now == schedule, format!("it is {now}")))
        },
    )
    .await?;
    scene.demo.wait_settled(SETTLED_WITHIN).await?;
    let after = scene.demo.pod_uids().await?;
    ensure!(
        before == after,
        "pods were {before:#?}, they are {after:#?}"
    );
    Ok(())
}

#[tokio::test]
async fn new_resources_roll_only_their_own_deployment() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = new_resources(&scene).await;
    scene.close(outcome).await
}

async fn new_resources(scene: &Scene) -> Result<()> {
    let before = scene.demo.pod_uids().await?;
    let change = json!({"payment": {"workers": {"resources": {"requests": {"cpu": "31m"}}}}});
    scene.demo.change_spec(&change).await?;
    let deployments = scene.cluster.api::<Deployment>(&scene.demo.namespace);
    until(
        "the worker's Deployment to take the request",
        RESTORED_WITHIN,
        async || {
            let deployment = deployments.get("demo-worker").await?;
            let cpu = cpu_request(&deployment);
            Ok(Seen::when(
                cpu == Some("31m".to_owned()),
                format!("it is {cpu:?}"),
            ))
        },
    )
    .await?;
    scene.demo.wait_settled(SETTLED_WITHIN).await?;
    let after = scene.demo.pod_uids().await?;
    let is_worker = |name: &String| name.starts_with("demo-worker-");
    let others = |pods: &BTreeMap<String, String>| {
        let kept = pods.iter().filter(|(name, _)| !is_worker(name));
        kept.map(|(name, uid)| format!("{name} {uid}"))
            .collect::<Vec<_>>()
    };
    ensure!(
        others(&before) == others(&after),
        "other pods changed: {before:#?} {after:#?}"
    );
    let old_worker = after
        .keys()
        .find(|name| is_worker(name) && before.contains_key(*name));
    ensure!(old_worker.is_none(), "{old_worker:?} did not roll");
    Ok(())
}

fn cpu_request(deployment: &Deployment) -> Option<String> {
    let template = &deployment.spec.as_ref()?.template;
    let containers = &template.spec.as_ref()?.containers;
    let requests = containers.first()?.resources.as_ref()?.requests.as_ref()?;
    Some(requests.get("cpu")?.0.clone())
}

#[tokio::test]
async fn every_child_is_owned_and_labelled() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = owned_and_labelled(&scene).await;
    scene.close(outcome).await
}

async fn owned_and_labelled(scene: &Scene) -> Result<()> {
    let namespace = &scene.demo.namespace;
    let service = scene
        .cluster
        .api::<Service>(namespace)
        .get("demo-payment")
        .await?;
    let configuration = scene
        .cluster
        .api::<ConfigMap>(namespace)
        .get("demo-runtime")
        .await?;
    for (labels, owners) in [
        (service.labels(), service.owner_references()),
        (configuration.labels(), configuration.owner_references()),
    ] {
        let instance = labels.get("app.kubernetes.io/instance");
        ensure!(instance.is_some_and(|name| name == "demo"), "{labels:?}");
        let owner = owners.first().context("no owner")?;
        ensure!(
            owner.kind == "PaymentSystem" && owner.controller == Some(true),
            "{owner:?}"
        );
    }
    Ok(())
}
