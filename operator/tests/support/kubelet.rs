//! Plays what Kubernetes does beside the API server: workloads become ready at once, StatefulSets
//! get their claims, claims are bound and grow, and what a deleted PaymentSystem owned goes away.

use std::{collections::HashSet, sync::Arc};

use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions},
};
use payment_operator::kinds::Kind;
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use super::world::{History, Objects};

/// Works until it is dropped.
pub struct Kubelet(#[expect(dead_code, reason = "ends with it")] AbortOnDropHandle<()>);

impl Kubelet {
    pub fn start(client: Client, namespace: &str, history: Arc<History>) -> Self {
        let worker = Worker {
            client,
            namespace: namespace.to_owned(),
            done: HashSet::new(),
        };
        Self(AbortOnDropHandle::new(tokio::spawn(worker.run(history))))
    }
}

struct Worker {
    client: Client,
    namespace: String,
    /// What was done already, until the history shows it.
    done: HashSet<String>,
}

impl Worker {
    async fn run(mut self, history: Arc<History>) {
        let mut changes = history.changes();
        loop {
            changes.mark_unchanged();
            let objects = history.objects();
            for ((kind, name), object) in &objects {
                match *kind {
                    "StatefulSet" => {
                        self.claim(&objects, name, object).await;
                        self.ready(kind, name, object).await;
                    }
                    "Deployment" => self.ready(kind, name, object).await,
                    "Job" => self.complete(name, object).await,
                    "PersistentVolumeClaim" => self.bind(name, object).await,
                    _ => {}
                }
            }
            self.collect(&history, &objects).await;
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn api(&self, kind: &str) -> Api<DynamicObject> {
        let resource = Kind::of(kind).unwrap().entry().resource();
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    /// Whether something is to be done for the first time.
    fn once(&mut self, what: &str, object: &Value) -> bool {
        let meta = &object["metadata"];
        self.done.insert(format!("{what} {}", meta["uid"]))
    }

    /// What is gone by now needs no status.
    async fn status(&self, kind: &str, name: &str, status: Value) {
        let patch = Patch::Merge(json!({"status": status}));
        let written = self
            .api(kind)
            .patch_status(name, &PatchParams::default(), &patch)
            .await;
        if let Err(error) = written {
            let gone = matches!(&error, kube::Error::Api(status) if status.is_not_found());
            assert!(gone, "status of {kind} {name}: {error}");
        }
    }

    async fn ready(&mut self, kind: &str, name: &str, object: &Value) {
        let (generation, replicas) = (
            &object["metadata"]["generation"],
            &object["spec"]["replicas"],
        );
        if object["metadata"]["deletionTimestamp"].is_string()
            || object["status"]["observedGeneration"] == *generation
            || !self.once(&format!("ready {generation}"), object)
        {
            return;
        }
        let status = json!({
            "replicas": replicas,
            "readyReplicas": replicas,
            "availableReplicas": replicas,
            "updatedReplicas": replicas,
            "observedGeneration": generation,
        });
        self.status(kind, name, status).await;
    }

    async fn complete(&mut self, name: &str, object: &Value) {
        if object["status"]["succeeded"].is_number() || !self.once("complete", object) {
            return;
        }
        let time = "2026-01-01T00:00:01Z";
        let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": time, "lastProbeTime": time});
        let status = json!({
            "succeeded": 1,
            "startTime": "2026-01-01T00:00:00Z",
            "completionTime": time,
            "conditions": [condition("SuccessCriteriaMet"), condition("Complete")],
        });
        self.status("Job", name, status).await;
    }

    /// A StatefulSet's claim takes labels and size from its template.
    async fn claim(&mut self, objects: &Objects, name: &str, object: &Value) {
        let template = &object["spec"]["volumeClaimTemplates"][0];
        let claim = format!("data-{name}-0");
        if objects.contains_key(&("PersistentVolumeClaim", claim.clone())) {
            let meta = &object["metadata"];
            self.done.remove(&format!("claim {}", meta["uid"]));
            return;
        }
        if template.is_null() || !self.once("claim", object) {
            return;
        }
        let claim: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": claim, "labels": template["metadata"]["labels"]},
            "spec": template["spec"],
        }))
        .unwrap();
        let made = self
            .api("PersistentVolumeClaim")
            .create(&PostParams::default(), &claim)
            .await;
        if let Err(error) = made {
            let exists = matches!(&error, kube::Error::Api(status) if status.is_already_exists());
            assert!(exists, "claim of {name}: {error}");
        }
    }

    async fn bind(&mut self, name: &str, object: &Value) {
        if object["metadata"]["deletionTimestamp"].is_string() {
            if self.once("release", object) {
                let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
                let api = self.api("PersistentVolumeClaim");
                let released = api.patch(name, &PatchParams::default(), &patch).await;
                released.unwrap();
            }
            return;
        }
        let size = &object["spec"]["resources"]["requests"]["storage"];
        if object["status"]["capacity"]["storage"] == *size
            || !self.once(&format!("bind {size}"), object)
        {
            return;
        }
        let status = json!({"phase": "Bound", "capacity": {"storage": size}});
        self.status("PersistentVolumeClaim", name, status).await;
    }

    /// Deletes what belongs to a PaymentSystem that is gone, as the garbage collector does.
    async fn collect(&mut self, history: &History, objects: &Objects) {
        let gone = history.gone();
        if gone.is_empty() {
            return;
        }
        for ((kind, name), object) in objects {
            let meta = &object["metadata"];
            let owners = meta["ownerReferences"].as_array();
            let orphaned = owners.is_some_and(|owners| {
                let alive = |owner: &Value| !gone.contains(owner["uid"].as_str().unwrap());
                !owners.is_empty() && !owners.iter().any(alive)
            });
            let version = meta["resourceVersion"].to_string();
            if orphaned && self.once(&format!("collect {version}"), object) {
                self.delete(kind, name, meta).await;
            }
        }
    }

    /// As the garbage collector does, only if the object is still as it was seen.
    async fn delete(&self, kind: &str, name: &str, meta: &Value) {
        let text = |field: &str| meta[field].as_str().map(str::to_owned);
        let parameters = DeleteParams::background().preconditions(Preconditions {
            uid: text("uid"),
            resource_version: text("resourceVersion"),
        });
        let deleted = self.api(kind).delete(name, &parameters).await;
        if let Err(error) = deleted {
            let other = matches!(&error, kube::Error::Api(status) if status.is_not_found() || status.is_conflict());
            assert!(other, "collecting {kind} {name}: {error}");
        }
    }
}
