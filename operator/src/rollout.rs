//! What of the desired objects is written now: pods restart one workload at a time, for a stated
//! reason, and never because the operator itself has become another one.
//!
//! Guarantees:
//! - A workload that works is rolled only when every workload before it (stores, coordinator,
//!   then the services) is complete. One that does not work is corrected at once.
//! - While the schema is migrated for another image, services stay as they are, and are rolled once.
//! - Pods say why they were restarted: the annotation `paymentsystem.dev/restart-reason`.
//! - An operator of another version leaves objects that make pods restart as they are until the
//!   specification is edited, or the annotation `paymentsystem.dev/take-rendering` is changed.
//!   Meanwhile only what must not wait reaches them: other credentials.
//!
//! Pure. Not here: whether a rollout harms payments (`acceptance`).

use std::fmt;

use crds::status::Rendering;
use serde_json::{Value, json};

use crate::{
    build::{Manifest, Stage, common, labels},
    gates::{Gates, Replicas},
    kinds::Kind,
    observe::Observed,
    subset,
    validate::ValidSystem,
};

/// Manifests as they are to be applied now, and what is said about those that are not.
#[derive(Debug, Default)]
pub struct Plan {
    pub manifests: Vec<Manifest>,
    pub restarts: Vec<Restart>,
    /// Workloads whose change waits.
    pub waiting: Vec<Waiting>,
    /// Objects that another version of the operator rendered otherwise.
    pub kept: Vec<String>,
}

/// Pods that are restarted by what is applied now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    pub kind: Kind,
    pub name: String,
    pub reason: String,
}

/// A workload whose change waits for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub kind: Kind,
    pub name: String,
    /// What it waits for.
    pub behind: String,
}

/// Decides for every manifest whether it is applied now.
pub fn plan(
    system: &ValidSystem,
    observed: &Observed,
    gates: &Gates,
    manifests: Vec<Manifest>,
) -> Plan {
    let mut plan = Plan::default();
    let mut rolling: Option<String> = None;
    let migrating = manifests.iter().find(|manifest| migrates(manifest, gates));
    let migrating = migrating.map(title).filter(|_| !system.spec.stopped);
    for manifest in manifests {
        let live = observed.value(manifest.kind, &manifest.name);
        let manifest = match live {
            Some(_) if !gates.may_change(&manifest) => manifest,
            Some(live) if is_workload(manifest.kind) => {
                let behind = migrating.as_deref();
                plan.workload(system, manifest, &live, (behind, &mut rolling))
            }
            Some(live) if system.keeps_rendering => plan.kept(manifest, &live),
            None if is_workload(manifest.kind) => {
                rolling.get_or_insert(title(&manifest));
                let hash = template_digest(&manifest);
                marked(manifest, &json!(hash), None)
            }
            _ => manifest,
        };
        plan.manifests.push(manifest);
    }
    plan
}

/// Which operator rendered the objects: this one, once all of them are as it renders them.
pub fn rendering(
    system: &ValidSystem,
    before: Option<Rendering>,
    plan: Option<&Plan>,
) -> Option<Rendering> {
    let done = plan.is_some_and(|plan| plan.waiting.is_empty() && !plan.manifests.is_empty());
    if system.keeps_rendering {
        // What is said now may be the same in one respect alone.
        return before.map(|before| Rendering {
            inputs: system.inputs.clone(),
            ..before
        });
    }
    if !done {
        return before;
    }
    Some(Rendering {
        operator: system.settings.version.clone(),
        inputs: system.inputs.clone(),
    })
}

impl Plan {
    /// Everything is as the specification says, or about to be without a restart.
    pub const fn settled(&self) -> bool {
        self.restarts.is_empty() && self.waiting.is_empty()
    }

    fn workload(
        &mut self,
        system: &ValidSystem,
        mut manifest: Manifest,
        live: &Value,
        (migrating, rolling): (Option<&str>, &mut Option<String>),
    ) -> Manifest {
        let title = title(&manifest);
        let known = &live["metadata"]["annotations"][labels::TEMPLATE_HASH];
        let mut hash = json!(template_digest(&manifest));
        let replicas = Replicas::of(live);
        let complete = replicas.complete();
        // Pods of the image that is to come read a configuration that those of the live one need
        // not understand, and would be rolled again after the migration.
        let migrating = migrating.filter(|_| complete && manifest.stage >= Stage::Services);
        let kept = *known != hash && (system.keeps_rendering || migrating.is_some());
        if kept {
            match migrating {
                Some(migration) => self.wait(&manifest, migration.to_owned()),
                None => self.kept.push(title.clone()),
            }
            hash = known.clone();
            keep_template(&mut manifest, live);
        }
        let reason = changed(&manifest, live, !known.is_null() && *known != hash);
        // Pods that end anyway need not end in turn.
        let behind = rolling.clone().filter(|_| !system.spec.stopped);
        if reason.is_some() || !replicas.rolled() {
            rolling.get_or_insert_with(|| title.clone());
        }
        match (reason, behind) {
            (Some(_), Some(behind)) if complete => {
                self.wait(&manifest, behind);
                manifest.left_alone()
            }
            (Some(reason), _) => {
                let said = if system.gone_back {
                    system
                        .restart_reasons
                        .get(&manifest.name)
                        .map(|said| json!(said))
                } else {
                    Some(json!(reason))
                };
                let restarts = replicas.any().then(|| Restart {
                    kind: manifest.kind,
                    name: manifest.name.clone(),
                    reason,
                });
                self.restarts.extend(restarts);
                marked(manifest, &hash, said)
            }
            (None, _) if kept => manifest.left_alone(),
            (None, _) => {
                let said = &live["spec"]["template"]["metadata"]["annotations"];
                marked(manifest, &hash, said.get(labels::RESTART_REASON).cloned())
            }
        }
    }

    fn wait(&mut self, manifest: &Manifest, behind: String) {
        self.waiting.push(Waiting {
            kind: manifest.kind,
            name: manifest.name.clone(),
            behind,
        });
    }

    /// Leaves what pods read, or what starts them, as another version of the operator made it.
    fn kept(&mut self, manifest: Manifest, live: &Value) -> Manifest {
        let known = &live["metadata"]["annotations"][labels::DESIRED_HASH];
        let other = *known != json!(common::digest(&manifest.value));
        if other && matches!(manifest.kind, Kind::ConfigMap | Kind::CronJob | Kind::Job) {
            self.kept.push(title(&manifest));
            return manifest.left_alone();
        }
        manifest
    }
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "rolling {} {}: {}",
            self.kind.name(),
            self.name,
            self.reason
        )
    }
}

/// The schema is being brought up to date by this Job, or about to be.
fn migrates(manifest: &Manifest, gates: &Gates) -> bool {
    manifest.stage == Stage::Migration && manifest.kind == Kind::Job && !gates.migrated()
}

pub const fn is_workload(kind: Kind) -> bool {
    matches!(kind, Kind::StatefulSet | Kind::Deployment)
}

fn title(manifest: &Manifest) -> String {
    format!("{} {}", manifest.kind.name(), manifest.name)
}

/// The manifest with what it says of its pods: which template they are made from, and why they
/// were restarted last.
fn marked(mut manifest: Manifest, hash: &Value, reason: Option<Value>) -> Manifest {
    manifest.value["metadata"]["annotations"][labels::TEMPLATE_HASH] = hash.clone();
    if let Some(reason) = reason {
        let template = &mut manifest.value["spec"]["template"];
        template["metadata"]["annotations"][labels::RESTART_REASON] = reason;
    }
    manifest
}

/// Digest of how a pod template is rendered, whatever the credentials are. It notices fields that
/// were taken out of it.
fn template_digest(manifest: &Manifest) -> String {
    let mut template = manifest.value["spec"]["template"].clone();
    template["metadata"]["annotations"][labels::CREDENTIALS_HASH] = Value::Null;
    common::digest(&template)
}

/// Why the pods of a workload would be restarted by its manifest, if they would.
fn changed(manifest: &Manifest, live: &Value, rendered_otherwise: bool) -> Option<String> {
    let (wanted, template) = (
        &manifest.value["spec"]["template"],
        &live["spec"]["template"],
    );
    let path = subset::difference(wanted, template);
    if path.is_none() && !rendered_otherwise {
        return None;
    }
    let reasons = reasons(wanted, template);
    Some(match (reasons.is_empty(), path) {
        (false, _) => reasons.join("; "),
        (true, Some(path)) => format!("pod template at {path}"),
        (true, None) => "pod template: a field was taken out".to_owned(),
    })
}

/// What differs, in the words of somebody who runs the system.
fn reasons(wanted: &Value, live: &Value) -> Vec<String> {
    let mut reasons = Vec::new();
    for list in ["initContainers", "containers"] {
        for container in wanted["spec"][list].as_array().into_iter().flatten() {
            let old = named(&live["spec"][list], &container["name"]);
            reasons.extend(image_reason(container, old));
        }
    }
    reasons.dedup();
    for (annotation, words) in [
        (labels::CONFIG_HASH, "its configuration changed"),
        (labels::CREDENTIALS_HASH, "its credentials changed"),
    ] {
        let of = |template: &Value| template["metadata"]["annotations"][annotation].clone();
        if of(wanted) != of(live) {
            reasons.push(words.to_owned());
        }
    }
    let resources = |template: &Value| template["spec"]["containers"][0]["resources"].clone();
    if subset::difference(&resources(wanted), &resources(live)).is_some() {
        reasons.push("its resources changed".to_owned());
    }
    reasons
}

fn named<'a>(list: &'a Value, name: &Value) -> Option<&'a Value> {
    let mut items = list.as_array().into_iter().flatten();
    items.find(|item| item["name"] == *name)
}

fn image_reason(container: &Value, old: Option<&Value>) -> Option<String> {
    let new = container["image"].as_str()?;
    let old = old?["image"].as_str()?;
    (old != new).then(|| format!("image {old} -> {new}"))
}

/// The template that is live, under the present credentials: those restart pods under any
/// rendering.
fn keep_template(manifest: &mut Manifest, live: &Value) {
    let wanted = &mut manifest.value["spec"]["template"];
    let digest = wanted["metadata"]["annotations"][labels::CREDENTIALS_HASH].take();
    *wanted = live["spec"]["template"].clone();
    if !digest.is_null() {
        wanted["metadata"]["annotations"][labels::CREDENTIALS_HASH] = digest;
    }
}
