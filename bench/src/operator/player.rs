//! Plays everybody the operator waits for: each workload's status says at once that it is ready.
//!
//! It also says, from one watch, how many PaymentSystems are ready, so that nobody polls.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Context as _;
use futures::StreamExt as _;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinSet};

const OWN: &str = "app.kubernetes.io/managed-by=payment-operator";
/// Statuses written at a time, of each kind.
const AT_A_TIME: usize = 4;

pub(super) struct Player {
    ready: watch::Receiver<usize>,
    _tasks: JoinSet<()>,
}

pub(super) fn resource(group: &str, version: &str, kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

pub(super) fn systems() -> ApiResource {
    resource("paymentsystem.dev", "v1alpha1", "PaymentSystem")
}

impl Player {
    /// Plays until it is dropped.
    pub(super) fn start(client: &Client) -> Self {
        let (sender, ready) = watch::channel(0);
        let mut tasks = JoinSet::new();
        for (group, kind) in [
            ("apps", "StatefulSet"),
            ("apps", "Deployment"),
            ("batch", "Job"),
        ] {
            tasks.spawn(play(client.clone(), resource(group, "v1", kind)));
        }
        tasks.spawn(count(client.clone(), sender));
        Self {
            ready,
            _tasks: tasks,
        }
    }

    pub(super) async fn until_ready(&self, wanted: usize, within: Duration) -> anyhow::Result<()> {
        let mut ready = self.ready.clone();
        let done = ready.wait_for(|ready| *ready >= wanted);
        tokio::time::timeout(within, done)
            .await
            .with_context(|| format!("{} of {wanted} systems are ready", *self.ready.borrow()))?
            .context("the watch of the systems ended")?;
        Ok(())
    }
}

async fn play(client: Client, resource: ApiResource) {
    let all = Api::<DynamicObject>::all_with(client.clone(), &resource);
    let config = watcher::Config::default().labels(OWN);
    watcher(all, config)
        .default_backoff()
        .applied_objects()
        .for_each_concurrent(AT_A_TIME, |object| async {
            let Ok(object) = object else { return };
            let status = status(&resource.kind, &object);
            if says(&object.data["status"], &status) {
                return;
            }
            let namespace = object.metadata.namespace.unwrap_or_default();
            let name = object.metadata.name.unwrap_or_default();
            let api = Api::<DynamicObject>::namespaced_with(client.clone(), &namespace, &resource);
            let patch = Patch::Merge(json!({"status": status}));
            // The next event of the object tries again what was refused.
            let _ = api
                .patch_status(&name, &PatchParams::default(), &patch)
                .await;
        })
        .await;
}

fn says(live: &Value, wanted: &Value) -> bool {
    let fields = wanted.as_object().into_iter().flatten();
    fields
        .filter(|(name, _)| *name != "conditions")
        .all(|(name, value)| live[name] == *value)
}

fn status(kind: &str, object: &DynamicObject) -> Value {
    const AT: &str = "2026-01-01T00:00:01Z";
    if kind == "Job" {
        return json!({
            "succeeded": 1,
            "startTime": "2026-01-01T00:00:00Z",
            "completionTime": AT,
            "conditions": [
                {"type": "SuccessCriteriaMet", "status": "True", "lastTransitionTime": AT},
                {"type": "Complete", "status": "True", "lastTransitionTime": AT},
            ],
        });
    }
    let replicas = object.data["spec"]["replicas"].as_i64().unwrap_or(1);
    json!({
        "replicas": replicas,
        "readyReplicas": replicas,
        "availableReplicas": replicas,
        "updatedReplicas": replicas,
        "observedGeneration": object.metadata.generation,
    })
}

async fn count(client: Client, sender: watch::Sender<usize>) {
    let api = Api::<DynamicObject>::all_with(client, &systems());
    let mut ready = BTreeSet::new();
    let mut events = watcher(api, watcher::Config::default())
        .default_backoff()
        .boxed();
    while let Some(event) = events.next().await {
        let Ok(Event::Apply(object) | Event::InitApply(object)) = event else {
            continue;
        };
        let id = (
            object.metadata.namespace.clone(),
            object.metadata.name.clone(),
        );
        if is_ready(&object) {
            ready.insert(id);
        } else {
            ready.remove(&id);
        }
        sender.send_replace(ready.len());
    }
}

fn is_ready(system: &DynamicObject) -> bool {
    let status = &system.data["status"];
    let conditions = status["conditions"].as_array().into_iter().flatten();
    status["observedGeneration"].as_i64() == system.metadata.generation
        && conditions
            .into_iter()
            .any(|c| c["type"] == "Ready" && c["status"] == "True")
}
