//! One PaymentSystem on the cluster.
//!
//! Read as a plain object, not through the operator's types: a test sees what a user sees.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use crate::cluster::{Cluster, MANAGER, Plainly as _, ignore_missing};
use crate::diagnosis;
use crate::wait::{Seen, until};

/// Remembers, on the object itself, the specification from before a test changed it.
const BEFORE: &str = "e2e.paymentsystem.dev/spec-before";
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// A handle; nothing is read before it is asked for.
#[derive(Clone)]
pub struct System {
    pub cluster: Cluster,
    pub namespace: String,
    pub name: String,
}

/// One condition of the status.
#[derive(Clone, Debug)]
pub struct Condition {
    pub kind: String,
    pub status: String,
    pub reason: String,
    pub message: String,
    pub observed_generation: Option<i64>,
    pub last_transition: String,
}

impl Condition {
    fn read(value: &Value) -> Self {
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        Self {
            kind: text("type"),
            status: text("status"),
            reason: text("reason"),
            message: text("message"),
            observed_generation: value["observedGeneration"].as_i64(),
            last_transition: text("lastTransitionTime"),
        }
    }

    /// What is there only while something goes on is good when it is false; everything else when
    /// it is true.
    pub fn holds(&self) -> bool {
        let wanted = match self.kind.as_str() {
            "Reconciling" | "Stalled" | "Paused" | "CredentialsRotating" => "False",
            _ => "True",
        };
        self.status == wanted
    }

    pub fn line(&self) -> String {
        format!(
            "{} is {} ({}): {}",
            self.kind, self.status, self.reason, self.message
        )
    }
}

impl System {
    pub fn new(cluster: &Cluster, namespace: &str, name: &str) -> Self {
        Self {
            cluster: cluster.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    pub fn resource() -> ApiResource {
        let kind = GroupVersionKind::gvk("paymentsystem.dev", "v1alpha1", "PaymentSystem");
        ApiResource::from_gvk_with_plural(&kind, "paymentsystems")
    }

    fn api(&self) -> Api<DynamicObject> {
        Api::namespaced_with(
            self.cluster.client.clone(),
            &self.namespace,
            &Self::resource(),
        )
    }

    pub async fn get(&self) -> Result<DynamicObject> {
        let found = self.api().get(&self.name).await;
        found
            .plainly()
            .with_context(|| format!("cannot read PaymentSystem {}/{}", self.namespace, self.name))
    }

    pub async fn conditions(&self) -> Result<Vec<Condition>> {
        let object = self.get().await?;
        let conditions = object.data["status"]["conditions"].as_array().cloned();
        Ok(conditions
            .unwrap_or_default()
            .iter()
            .map(Condition::read)
            .collect())
    }

    /// Whether the status speaks of the present specification and says Ready.
    pub async fn look_ready(&self) -> Result<Seen<()>> {
        let object = self.get().await?;
        let generation = object.metadata.generation;
        let status = &object.data["status"];
        if status["observedGeneration"].as_i64() != generation {
            return Ok(Seen::not_yet(
                "the operator has not looked at the specification yet",
            ));
        }
        let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        let conditions: Vec<Condition> = conditions.iter().map(Condition::read).collect();
        let open: Vec<&Condition> = conditions.iter().filter(|c| !c.holds()).collect();
        let ready = conditions
            .iter()
            .any(|c| c.kind == "Ready" && c.status == "True");
        Ok(Seen::when(ready && open.is_empty(), why(&open)))
    }

    pub async fn wait_ready(&self, limit: Duration) -> Result<()> {
        self.wait_ready_telling(limit, |_| ()).await
    }

    /// Waits for Ready; every few seconds `tell` hears which parts are waiting and why.
    pub async fn wait_ready_telling(
        &self,
        limit: Duration,
        mut tell: impl FnMut(&str),
    ) -> Result<()> {
        let mut told = Instant::now();
        let what = format!("PaymentSystem {}/{} to be Ready", self.namespace, self.name);
        let waited = until(&what, limit, async || {
            let seen = self.look_ready().await?;
            if let Seen::NotYet(why) = &seen
                && told.elapsed() >= PROGRESS_INTERVAL
            {
                tell(why);
                told = Instant::now();
            }
            Ok(seen)
        })
        .await;
        if let Err(error) = waited {
            bail!("{error:#}\n  {}", diagnosis::of(self).await);
        }
        Ok(())
    }

    /// Ready, and every rollout finished: no pod comes or goes any more.
    pub async fn wait_settled(&self, limit: Duration) -> Result<()> {
        self.wait_ready(limit).await?;
        let what = format!("every rollout of {} to finish", self.name);
        let settled = until(&what, limit, async || self.look_settled().await).await;
        if let Err(error) = settled {
            bail!("{error:#}\n  {}", diagnosis::of(self).await);
        }
        // What was applied meanwhile may have changed the verdict.
        self.wait_ready(limit).await
    }

    async fn look_settled(&self) -> Result<Seen<()>> {
        let all = ListParams::default();
        let deployments: Vec<Deployment> = self.cluster.list(&self.namespace, &all).await?;
        if let Some(busy) = deployments
            .iter()
            .find(|deployment| !is_rolled_out(deployment))
        {
            return Ok(Seen::not_yet(format!(
                "Deployment {} rolls",
                busy.name_any()
            )));
        }
        let sets: Vec<StatefulSet> = self.cluster.list(&self.namespace, &all).await?;
        if let Some(busy) = sets.iter().find(|set| !is_set_rolled_out(set)) {
            return Ok(Seen::not_yet(format!(
                "StatefulSet {} rolls",
                busy.name_any()
            )));
        }
        let pods = self.service_pods().await?;
        let leaving = pods
            .iter()
            .find(|pod| pod.metadata.deletion_timestamp.is_some());
        Ok(leaving.map_or(Seen::Done(()), |pod| {
            Seen::not_yet(format!("pod {} is leaving", pod.name_any()))
        }))
    }

    /// All pods but those of Jobs.
    pub async fn service_pods(&self) -> Result<Vec<Pod>> {
        let pods: Vec<Pod> = self
            .cluster
            .list(&self.namespace, &ListParams::default())
            .await?;
        let prefix = format!("{}-", self.name);
        let of_a_job = |pod: &Pod| {
            pod.owner_references()
                .iter()
                .any(|owner| owner.kind == "Job")
        };
        Ok(pods
            .into_iter()
            .filter(|pod| pod.name_any().starts_with(&prefix) && !of_a_job(pod))
            .collect())
    }

    /// The pods of one workload (`payment`, `worker`, `mysql`, …), those that leave left out.
    pub async fn pods_of(&self, part: &str) -> Result<Vec<Pod>> {
        let prefix = format!("{}-{part}-", self.name);
        let pods = self.service_pods().await?;
        Ok(pods
            .into_iter()
            .filter(|pod| pod.name_any().starts_with(&prefix))
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .collect())
    }

    /// The identities of all pods but those of Jobs, by pod name.
    pub async fn pod_uids(&self) -> Result<BTreeMap<String, String>> {
        let pods = self.service_pods().await?;
        Ok(pods
            .iter()
            .map(|pod| (pod.name_any(), pod.uid().unwrap_or_default()))
            .collect())
    }

    /// Changes the specification by a merge patch; [`System::restore`] undoes it.
    pub async fn change_spec(&self, change: &Value) -> Result<()> {
        let object = self.get().await?;
        let mut patch = json!({"spec": change});
        if !object.annotations().contains_key(BEFORE) {
            patch["metadata"]["annotations"][BEFORE] = object.data["spec"].to_string().into();
        }
        let parameters = PatchParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PatchParams::default()
        };
        self.api()
            .patch(&self.name, &parameters, &Patch::Merge(&patch))
            .await
            .plainly()
            .with_context(|| format!("cannot change {}: {change}", self.name))?;
        Ok(())
    }

    /// Puts back the specification from before the first change, if there was one. Safe to call
    /// at any time, also for a change whose test died.
    pub async fn restore(&self) -> Result<()> {
        let what = format!("{} to take its old specification", self.name);
        until(&what, Duration::from_secs(30), async || {
            let mut object = self.get().await?;
            let Some(before) = object.annotations_mut().remove(BEFORE) else {
                return Ok(Seen::Done(()));
            };
            object.data["spec"] = serde_json::from_str(&before)?;
            object.metadata.managed_fields = None;
            let by = PostParams {
                field_manager: Some(MANAGER.to_owned()),
                ..PostParams::default()
            };
            self.api().replace(&self.name, &by, &object).await?;
            Ok(Seen::Done(()))
        })
        .await
    }

    pub async fn delete(&self) -> Result<()> {
        let deleted = self
            .api()
            .delete(&self.name, &DeleteParams::foreground())
            .await;
        ignore_missing(deleted.map(drop))?;
        let what = format!("PaymentSystem {} to be gone", self.name);
        until(&what, Duration::from_secs(90), async || {
            let gone = self.api().get_opt(&self.name).await?.is_none();
            Ok(Seen::when(gone, "it is still being deleted"))
        })
        .await
    }

    /// Every object that the PaymentSystem owns, by `Kind/name`.
    pub async fn children(&self) -> Result<BTreeMap<String, Child>> {
        let owner = self.get().await?.uid().context("an object without uid")?;
        let mut children = BTreeMap::new();
        for (group, version, kind, plural) in CHILD_KINDS {
            let kind_of = GroupVersionKind::gvk(group, version, kind);
            let resource = ApiResource::from_gvk_with_plural(&kind_of, plural);
            let api: Api<DynamicObject> =
                Api::namespaced_with(self.cluster.client.clone(), &self.namespace, &resource);
            for object in api.list(&ListParams::default()).await?.items {
                let mut owners = object.owner_references().iter();
                if owners.any(|reference| reference.uid == owner) {
                    children.insert(format!("{kind}/{}", object.name_any()), Child::of(object));
                }
            }
        }
        Ok(children)
    }

    /// The names of the children of one kind.
    pub async fn children_of_kind(&self, kind: &str) -> Result<BTreeSet<String>> {
        let children = self.children().await?;
        let prefix = format!("{kind}/");
        Ok(children
            .keys()
            .filter_map(|name| name.strip_prefix(&prefix))
            .map(str::to_owned)
            .collect())
    }
}

/// An object that a PaymentSystem owns.
#[derive(Clone, PartialEq, Eq)]
pub struct Child {
    /// Every write makes another one, also of its status.
    pub version: String,
    /// All of it but metadata and status.
    pub specification: Value,
}

impl Child {
    fn of(object: DynamicObject) -> Self {
        let version = object.resource_version().unwrap_or_default();
        let mut specification = object.data;
        if let Some(fields) = specification.as_object_mut() {
            fields.remove("status");
        }
        Self {
            version,
            specification,
        }
    }
}

/// The parts that are being worked on; what only waits for them, and the summary, come in where
/// there is nothing else to say.
fn why(open: &[&Condition]) -> String {
    let summary = |kind: &str| matches!(kind, "Ready" | "Reconciling" | "Stalled");
    let at_work: Vec<String> = open
        .iter()
        .filter(|condition| !summary(&condition.kind) && condition.reason != "Pending")
        .map(|condition| format!("{}: {}", condition.kind, condition.message))
        .collect();
    if at_work.is_empty() {
        let all: Vec<String> = open.iter().map(|condition| condition.line()).collect();
        return all.join("; ");
    }
    at_work.join("; ")
}

/// Group, version, kind and plural of what a PaymentSystem may own.
const CHILD_KINDS: [(&str, &str, &str, &str); 10] = [
    ("", "v1", "ConfigMap", "configmaps"),
    ("", "v1", "Secret", "secrets"),
    ("", "v1", "Service", "services"),
    ("", "v1", "ServiceAccount", "serviceaccounts"),
    ("apps", "v1", "Deployment", "deployments"),
    ("apps", "v1", "StatefulSet", "statefulsets"),
    (
        "autoscaling",
        "v2",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
    ),
    ("batch", "v1", "CronJob", "cronjobs"),
    (
        "networking.k8s.io",
        "v1",
        "NetworkPolicy",
        "networkpolicies",
    ),
    (
        "policy",
        "v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
    ),
];

fn is_rolled_out(deployment: &Deployment) -> bool {
    let Some(status) = &deployment.status else {
        return false;
    };
    let wanted = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    status.observed_generation >= deployment.metadata.generation
        && status.updated_replicas.unwrap_or(0) == wanted
        && status.replicas.unwrap_or(0) == wanted
        && status.available_replicas.unwrap_or(0) == wanted
}

fn is_set_rolled_out(set: &StatefulSet) -> bool {
    let Some(status) = &set.status else {
        return false;
    };
    let wanted = set
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    status.observed_generation >= set.metadata.generation
        && status.ready_replicas.unwrap_or(0) == wanted
        && status.current_revision == status.update_revision
}
