//! Writing what differs, and nothing else.
//!
//! Guarantees: an object is written only if it is absent, lacks something desired, or carries the
//! digest of another manifest (which notices removed fields). Every write is one request, in the
//! order of the manifests; a crash in between leaves a state from which the next pass goes on.
//! What others made under a name that is wanted is neither changed nor taken over, but for Secrets,
//! which are adopted. Only objects that this PaymentSystem owns are deleted, by UID, and never data
//! or credentials.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams, Preconditions},
    core::Status,
};
use serde_json::{Value, json};
use tracing::{debug, info, warn};

use crate::{
    FIELD_MANAGER,
    build::{Manifest, Presence, common, labels, stop},
    cache::{Cache, Live},
    gates::Gates,
    kinds::Kind,
    metrics::Metrics,
    observe::Observed,
    subset,
    validate::ValidSystem,
};

/// Manager of the number of replicas of an autoscaled Deployment, from our second apply on until
/// the autoscaler changes it. It is another one than ours, so that our applies, which leave the
/// number to the autoscaler, do not reset it.
const FIRST_REPLICAS_MANAGER: &str = "payment-operator-first-replicas";

/// Where a claim says how large it is to be.
const STORAGE: &str = "/spec/resources/requests/storage";

/// A version that no object has: the first write to etcd makes version 2. The API server refuses to
/// apply a manifest that names it to an object that exists, and creates one that does not.
const VERSION_OF_NONE: &str = "1";

/// When a volume that could not grow is tried again. Nobody tells when a StorageClass or a quota
/// lets it.
pub const REFUSED_FOR: Duration = Duration::from_secs(30);

/// A write that failed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    #[error("cannot {verb} {kind} {name}")]
    Write {
        verb: &'static str,
        kind: &'static str,
        name: String,
        source: Box<kube::Error>,
    },
    #[error(
        "{kind} {name} exists and was not made for this PaymentSystem: delete or rename it, or hand it over with `kubectl label {resource}/{name} -n {namespace} {}={} {}={system}`",
        labels::MANAGED_BY,
        labels::MANAGER,
        labels::INSTANCE
    )]
    NameTaken {
        kind: &'static str,
        resource: &'static str,
        namespace: String,
        name: String,
        system: String,
    },
}

impl ApplyError {
    /// Part of the API: never reword.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Write { .. } => "ApplyFailed",
            Self::NameTaken { .. } => "NameTaken",
        }
    }

    /// What the API server answered.
    fn answer(&self) -> Option<&Status> {
        match self {
            Self::Write { source, .. } => match &**source {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            Self::NameTaken { .. } => None,
        }
    }

    fn is_conflict(&self) -> bool {
        self.answer().is_some_and(Status::is_conflict)
    }

    /// The words of an API server that understood the request and will not do it.
    fn refusal(&self) -> Option<&str> {
        let answer = self.answer()?;
        matches!(answer.code, 403 | 422).then_some(answer.message.as_str())
    }
}

/// A claim that the API server does not change, as where its StorageClass cannot expand volumes.
/// Its store works as before, and all else goes on.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub claim: String,
    pub component: String,
    pub message: String,
    /// Digest of what was asked for.
    asked: Value,
    at: Instant,
}

impl Refusal {
    fn new(manifest: &Manifest, desired: &Value, words: &str) -> Self {
        let size = desired.pointer(STORAGE).and_then(Value::as_str);
        let claim = &manifest.name;
        Self {
            claim: claim.clone(),
            component: manifest.component().to_owned(),
            message: format!(
                "PersistentVolumeClaim {claim} cannot grow to {}: {words}. Let its StorageClass expand volumes (allowVolumeExpansion: true), or raise what limits it; tried again every half minute",
                size.unwrap_or_default()
            ),
            asked: digest_of(desired),
            at: Instant::now(),
        }
    }

    /// Whether it need not be asked again yet.
    fn holds(&self, desired: &Value) -> bool {
        self.asked == digest_of(desired) && self.at.elapsed() < REFUSED_FOR
    }
}

fn digest_of(desired: &Value) -> Value {
    desired["metadata"]["annotations"][labels::DESIRED_HASH].clone()
}

/// What became of manifests.
#[derive(Debug)]
pub struct Applied {
    /// Everything is as it was looked at; what has changed meanwhile was left alone.
    pub current: bool,
    pub refusals: Vec<Refusal>,
}

impl Applied {
    const fn current(current: bool) -> Self {
        Self {
            current,
            refusals: Vec::new(),
        }
    }

    fn and(&mut self, other: Self) {
        self.current &= other.current;
        self.refusals.extend(other.refusals);
    }
}

/// What a pass does about one manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// The object is made by somebody else, or is being deleted.
    Nobodys,
    /// Its gate is closed, or its turn has not come.
    Held,
    Nothing,
    Create,
    /// The object lacks something: the first path.
    Correct(String),
}

/// What is due for a manifest. Pure; `desired` is [`with_hash`] of it.
pub fn due(manifest: &Manifest, desired: &Value, live: Option<&Live>, gates: &Gates) -> Due {
    match live {
        Some(live) if live.deleting => Due::Nobodys,
        Some(_) if manifest.presence == Presence::LeftAlone => Due::Held,
        Some(_) if !gates.may_change(manifest) => Due::Held,
        Some(live) => difference(desired, live).map_or(Due::Nothing, Due::Correct),
        None if manifest.presence != Presence::Always => Due::Nobodys,
        None if !gates.may_create(manifest) => Due::Held,
        None => Due::Create,
    }
}

/// What this system owns and no longer wants. Pure.
pub fn unwanted<'a>(
    system: &ValidSystem,
    observed: &'a Observed,
    manifests: &[Manifest],
) -> Vec<(Kind, &'a str, &'a Live)> {
    let objects = observed.objects.iter();
    objects
        .filter(|((kind, name), live)| {
            let desired = manifests.iter().any(|m| m.kind == *kind && m.name == *name);
            let kept = system.keeps_rendering && kind.is_mounted_or_runs();
            !(desired || kept)
                && kind.removable()
                && !live.deleting
                && owned_by(&live.value()["metadata"], &system.uid)
        })
        .map(|((kind, name), live)| (*kind, name.as_str(), live.as_ref()))
        .collect()
}

/// Writes objects of one namespace.
pub struct Writer<'a> {
    pub client: &'a Client,
    pub cache: &'a Cache,
    pub metrics: &'a Metrics,
    pub namespace: &'a str,
    /// What was refused of late, by the name of the claim.
    pub refused: BTreeMap<String, Refusal>,
}

impl Writer<'_> {
    fn api(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(
            self.client.clone(),
            self.namespace,
            &kind.entry().resource(),
        )
    }

    /// Applies all manifests that may be applied, then removes what is no longer desired.
    pub async fn apply(
        &self,
        system: &ValidSystem,
        observed: &Observed,
        gates: &Gates,
        manifests: &[Manifest],
    ) -> Result<Applied, ApplyError> {
        let mut applied = Applied::current(true);
        for manifest in manifests {
            let live = observed.get(manifest.kind, &manifest.name);
            if let Some(live) = live {
                self.release(manifest, live, &system.name).await?;
            }
            applied.and(self.apply_one(manifest, live, gates).await?);
        }
        for (kind, name, live) in unwanted(system, observed, manifests) {
            applied.current &= self.delete(kind, name, &live.uid).await?;
        }
        Ok(applied)
    }

    /// Applies one manifest, if it may be applied.
    pub async fn apply_one(
        &self,
        manifest: &Manifest,
        live: Option<&Live>,
        gates: &Gates,
    ) -> Result<Applied, ApplyError> {
        let desired = with_hash(manifest);
        let due = due(manifest, &desired, live, gates);
        if matches!(due, Due::Nobodys | Due::Held) {
            return Ok(Applied::current(true));
        }
        let (kind, name) = (manifest.kind.name(), manifest.name.as_str());
        let Some(live) = live else {
            info!(kind, name, "creating");
            return self.create(manifest, desired).await.map(Applied::current);
        };
        let Due::Correct(path) = due else {
            return Ok(Applied::current(true));
        };
        let refusal = self
            .refused
            .get(name)
            .filter(|refusal| refusal.holds(&desired));
        if let Some(refusal) = refusal {
            return Ok(refused(refusal.clone()));
        }
        if !self.keep_replicas(manifest, live).await? {
            return Ok(Applied::current(false));
        }
        info!(kind, name, path, "correcting");
        self.correct(manifest, desired, live).await
    }

    /// Creates an object where there is none of its name. Returns false if there is one that the
    /// watch has not shown yet.
    async fn create(&self, manifest: &Manifest, desired: Value) -> Result<bool, ApplyError> {
        let (kind, name) = (manifest.kind, manifest.name.as_str());
        let mut first = with_first_replicas(manifest, desired);
        first["metadata"]["resourceVersion"] = json!(VERSION_OF_NONE);
        match self.patch(kind, name, FIELD_MANAGER, &first).await {
            Err(error) if error.is_conflict() => self.recognise(manifest).await.map(|()| false),
            result => result.map(|_| true),
        }
    }

    /// Looks at an object that exists although the cache has none. One of this system becomes
    /// known, with the labels that somebody may have taken away from it.
    async fn recognise(&self, manifest: &Manifest) -> Result<(), ApplyError> {
        let (kind, name) = (manifest.kind, manifest.name.as_str());
        let by_name = ListParams::default().fields(&format!("metadata.name={name}"));
        let found = self.api(kind).list(&by_name).await;
        let found = found.map_err(failed("look for", kind, name))?;
        let Some(object) = found.items.into_iter().next() else {
            debug!(kind = kind.name(), name, "is gone by now");
            return Ok(());
        };
        let wanted = &manifest.value["metadata"];
        let live = json!(object.metadata);
        let same = |label: &&str| wanted["labels"][*label] == live["labels"][*label];
        if [labels::MANAGED_BY, labels::INSTANCE].iter().all(same) {
            self.cache.put(kind, object);
            return Ok(());
        }
        let owner = wanted["ownerReferences"][0]["uid"].as_str();
        if !owner.is_some_and(|uid| owned_by(&live, uid)) {
            return Err(self.name_taken(manifest));
        }
        info!(kind = kind.name(), name, "giving it its labels again");
        let labels = json!({
            "resourceVersion": live["resourceVersion"],
            "labels": wanted["labels"],
        });
        self.change_metadata("label", kind, name, labels).await
    }

    fn name_taken(&self, manifest: &Manifest) -> ApplyError {
        let system = &manifest.value["metadata"]["labels"][labels::INSTANCE];
        ApplyError::NameTaken {
            kind: manifest.kind.name(),
            resource: manifest.kind.entry().plural,
            namespace: self.namespace.to_owned(),
            name: manifest.name.clone(),
            system: system.as_str().unwrap_or_default().to_owned(),
        }
    }

    /// Applies a manifest to the object that was looked at, and to no other: where it has just been
    /// deleted it is not made again from half a manifest.
    async fn correct(
        &self,
        manifest: &Manifest,
        mut desired: Value,
        live: &Live,
    ) -> Result<Applied, ApplyError> {
        let (kind, name) = (manifest.kind, manifest.name.as_str());
        desired["metadata"]["uid"] = json!(live.uid);
        let Err(error) = self.patch(kind, name, FIELD_MANAGER, &desired).await else {
            return Ok(Applied::current(true));
        };
        if error.is_conflict() {
            debug!(kind = kind.name(), name, "is gone");
            return Ok(Applied::current(false));
        }
        match error.refusal() {
            Some(words) if grows(&desired, live) => {
                warn!(name, words, "cannot grow");
                Ok(refused(Refusal::new(manifest, &desired, words)))
            }
            _ => Err(error),
        }
    }

    /// Sees to it that an autoscaled Deployment whose number of replicas is still ours keeps it
    /// when our next apply no longer names one, and has its fewest at least. Returns false if it no
    /// longer is at the version that was looked at.
    async fn keep_replicas(&self, manifest: &Manifest, live: &Live) -> Result<bool, ApplyError> {
        let Some(fewest) = manifest.first_replicas.filter(|_| live.owns_replicas) else {
            return Ok(true);
        };
        let now = live.replicas();
        // None at all is how a person switches an autoscaler off, and how a system is stopped.
        let switched_off = now == 0 && !stop::is_stopped(&live.value());
        let kept = if switched_off { now } else { now.max(fewest) };
        let (kind, name) = (manifest.kind, manifest.name.as_str());
        let number = json!({
            "apiVersion": manifest.value["apiVersion"],
            "kind": manifest.value["kind"],
            "metadata": {"name": name, "resourceVersion": live.resource_version.to_string()},
            "spec": {"replicas": kept},
        });
        match self
            .patch(kind, name, FIRST_REPLICAS_MANAGER, &number)
            .await
        {
            Err(error) if error.is_conflict() => {
                debug!(name, "has changed meanwhile");
                Ok(false)
            }
            result => result.map(|_| true),
        }
    }

    /// Takes an owner away that a Secret or claim is not to have: this PaymentSystem where it is to
    /// outlive it, or one of the same name that is gone. An object keeps an owner that it was
    /// created with, whatever is applied later.
    async fn release(
        &self,
        manifest: &Manifest,
        live: &Live,
        system: &str,
    ) -> Result<(), ApplyError> {
        let (kind, name) = (manifest.kind, manifest.name.as_str());
        if manifest.presence != Presence::WhenPresent || live.deleting {
            return Ok(());
        }
        let mut owners = live.value()["metadata"]["ownerReferences"].take();
        let Some(kept) = owners.as_array_mut() else {
            return Ok(());
        };
        let wanted = manifest.value["metadata"]["ownerReferences"].as_array();
        let before = kept.len();
        kept.retain(|owner| {
            let is_wanted = |other: &Value| other["uid"] == owner["uid"];
            owner["kind"] != "PaymentSystem"
                || owner["name"] != system
                || wanted.is_some_and(|wanted| wanted.iter().any(is_wanted))
        });
        if kept.len() == before {
            return Ok(());
        }
        info!(kind = kind.name(), name, "taking its former owner away");
        let metadata = json!({
            "resourceVersion": live.resource_version.to_string(),
            "ownerReferences": owners,
        });
        self.change_metadata("release", kind, name, metadata).await
    }

    /// Replaces these fields of the metadata, at the version they name.
    async fn change_metadata(
        &self,
        verb: &'static str,
        kind: Kind,
        name: &str,
        metadata: Value,
    ) -> Result<(), ApplyError> {
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(json!({"metadata": metadata}));
        self.metrics.write("patch", kind);
        let result = self.api(kind).patch(name, &parameters, &patch).await;
        let object = result.map_err(failed(verb, kind, name))?;
        self.cache.put(kind, object);
        Ok(())
    }

    async fn patch(
        &self,
        kind: Kind,
        name: &str,
        manager: &str,
        desired: &Value,
    ) -> Result<Option<Arc<Live>>, ApplyError> {
        let parameters = PatchParams::apply(manager).force().validation_strict();
        self.metrics.write("apply", kind);
        let result = self
            .api(kind)
            .patch(name, &parameters, &Patch::Apply(desired))
            .await;
        let object = result.map_err(failed("apply", kind, name))?;
        Ok(self.cache.put(kind, object))
    }

    async fn delete(&self, kind: Kind, name: &str, uid: &str) -> Result<bool, ApplyError> {
        info!(kind = kind.name(), name, "deleting: no longer desired");
        let parameters = DeleteParams::background().preconditions(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: None,
        });
        self.metrics.write("delete", kind);
        match self.api(kind).delete(name, &parameters).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => {
                debug!(kind = kind.name(), name, "already gone");
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.is_conflict() => {
                debug!(kind = kind.name(), name, "is another one by now");
                Ok(false)
            }
            result => result.map(|_| true).map_err(failed("delete", kind, name)),
        }
    }

    /// Changes a Secret by a JSON patch that names the version it is for. Returns false if it has
    /// changed meanwhile.
    pub async fn change_secret(
        &self,
        name: &str,
        operations: Vec<Value>,
    ) -> Result<bool, ApplyError> {
        let kind = Kind::Secret;
        let fail = |source| failed("change", kind, name)(source);
        let patch = serde_json::from_value(Value::Array(operations))
            .map_err(|error| fail(kube::Error::SerdeError(error)))?;
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        self.metrics.write("patch", kind);
        let patch = Patch::<()>::Json(patch);
        match self.api(kind).patch(name, &parameters, &patch).await {
            Ok(object) => {
                self.cache.put(kind, object);
                Ok(true)
            }
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_not_found() => {
                debug!(name, "has changed meanwhile");
                Ok(false)
            }
            Err(error) => Err(fail(error)),
        }
    }

    /// Creates a Secret unless there is one of its name. One that exists is only labelled, so
    /// that the watch shows it and it is adopted as it is.
    pub async fn create_secret(&self, name: &str, secret: Value) -> Result<(), ApplyError> {
        let kind = Kind::Secret;
        let metadata = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "labels": secret["metadata"]["labels"]},
        });
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        info!(kind = kind.name(), name, "creating");
        self.metrics.write("create", kind);
        let object: DynamicObject = serde_json::from_value(secret)
            .map_err(|error| failed("create", kind, name)(kube::Error::SerdeError(error)))?;
        match self.api(kind).create(&parameters, &object).await {
            Ok(object) => {
                self.cache.put(kind, object);
                Ok(())
            }
            Err(kube::Error::Api(status)) if exists(&status) => {
                info!(name, "adopting the Secret that exists");
                self.patch(kind, name, FIELD_MANAGER, &metadata)
                    .await
                    .map(drop)
            }
            Err(error) => Err(failed("create", kind, name)(error)),
        }
    }
}

/// Whether a claim is to have another size than it has.
fn grows(desired: &Value, live: &Live) -> bool {
    let size = |claim: &Value| claim.pointer(STORAGE).cloned();
    desired["kind"] == Kind::PersistentVolumeClaim.name() && size(desired) != size(&live.value())
}

fn refused(refusal: Refusal) -> Applied {
    Applied {
        current: true,
        refusals: vec![refusal],
    }
}

fn exists(status: &Status) -> bool {
    status.reason == "AlreadyExists"
}

fn failed(verb: &'static str, kind: Kind, name: &str) -> impl FnOnce(kube::Error) -> ApplyError {
    move |source| ApplyError::Write {
        verb,
        kind: kind.name(),
        name: name.to_owned(),
        source: Box::new(source),
    }
}

/// The first path at which a live object lacks something.
fn difference(desired: &Value, live: &Live) -> Option<String> {
    subset::difference(desired, &comparable(live, desired))
}

/// A live object with the type and version of what is desired: it was found under them, and they
/// are not kept.
pub fn comparable(live: &Live, desired: &Value) -> Value {
    let mut live = live.value();
    for field in ["apiVersion", "kind"] {
        live[field] = desired[field].clone();
    }
    live
}

/// The manifest with its own digest as an annotation: what is applied.
pub fn with_hash(manifest: &Manifest) -> Value {
    let mut value = manifest.value.clone();
    let hash = common::digest(&value);
    value["metadata"]["annotations"][labels::DESIRED_HASH] = json!(hash);
    value
}

/// What creates an object: the replicas it starts with stand in it, although every later apply
/// leaves the number to the autoscaler.
fn with_first_replicas(manifest: &Manifest, mut desired: Value) -> Value {
    if let Some(fewest) = manifest.first_replicas {
        desired["spec"]["replicas"] = json!(fewest);
    }
    desired
}

/// Whether the object with this metadata is controlled by the owner of that UID.
fn owned_by(metadata: &Value, uid: &str) -> bool {
    let owners = metadata["ownerReferences"].as_array();
    owners.is_some_and(|owners| {
        owners
            .iter()
            .any(|owner| owner["uid"] == uid && owner["controller"] == true)
    })
}
