//! The operator's next passes, made in memory.
//!
//! Pure. The decisions are the operator's own (`build`, `gates`, `rollout`, `acceptance`, `apply::due`);
//! here is only what the cluster would do in between: each object that a pass writes is taken to
//! become ready before the next pass. What is not ready and is not written stays so, and holds
//! back what waits for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kube::api::DynamicObject;
use payment_operator::{
    acceptance,
    apply::{Due, comparable, due, unwanted, with_hash},
    build::{BuildError, Manifest, build, labels::COMPONENT, secrets},
    cache::Live,
    credentials,
    gates::gates,
    kinds::Kind,
    observe::Observed,
    rollout,
    validate::ValidSystem,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    changes::{self, Change},
    restarts::{Restart, restart},
};

/// More passes than a system has stages: what is not settled then is not told.
const PASSES_MAX: usize = 30;

/// Stands for the value of a Secret that is not made yet; it must be base64.
const PLACEHOLDER: &str = "cGxhbm5lZA==";

type Key = (Kind, String);

/// An object by kind and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Object {
    pub(super) kind: &'static str,
    pub(super) name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Action {
    Create,
    Change,
    Delete,
}

/// One request of the operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Write {
    pub(super) action: Action,
    #[serde(flatten)]
    pub(super) object: Object,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) changes: Vec<Change>,
    /// Whether its pods are replaced, why, and what that costs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) restart: Option<Restart>,
}

/// What the operator does until nothing is due any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Simulation {
    /// What is written together, in order. A step begins when what the one before wrote is ready.
    pub(super) steps: Vec<Vec<Write>>,
    /// What would be written but waits for something that is not ready.
    pub(super) held: Vec<Object>,
    /// What that is, in the operator's words.
    pub(super) held_by: Option<String>,
}

impl Simulation {
    pub(super) fn writes(&self) -> impl Iterator<Item = &Write> {
        self.steps.iter().flatten()
    }
}

/// The cluster in memory, and what was applied to it.
struct World<'a> {
    system: &'a ValidSystem,
    observed: Observed,
    /// What was applied last to each object.
    applied: BTreeMap<Key, Value>,
    /// Objects whose last manifest was written in this simulation.
    written: BTreeSet<(Key, String)>,
}

/// Makes passes over `observed` until nothing is due. `before` is the specification under which
/// the cluster was built: what its manifests have and those of `system` have not is taken out.
pub(super) fn simulate(
    system: &ValidSystem,
    observed: &Observed,
    before: Option<&ValidSystem>,
) -> Result<Simulation, BuildError> {
    let applied = match before {
        Some(before) => build(before, observed)?,
        None => Vec::new(),
    };
    let applied = applied
        .iter()
        .map(|manifest| ((manifest.kind, manifest.name.clone()), with_hash(manifest)));
    let mut world = World {
        system,
        observed: observed.clone(),
        applied: applied.collect(),
        written: BTreeSet::new(),
    };
    let mut simulation = Simulation::default();
    for _ in 0..PASSES_MAX {
        let (step, held) = world.pass()?;
        if step.is_empty() {
            simulation.held = held;
            break;
        }
        simulation.steps.push(step);
    }
    if !simulation.held.is_empty() {
        let gates = gates(system, &world.observed);
        simulation.held_by = gates.blocking().map(|part| part.message.clone());
    }
    Ok(simulation)
}

/// The cluster once everything of a system is there and ready.
#[cfg(test)]
pub(super) fn brought_up(system: &ValidSystem) -> Observed {
    let mut world = World {
        system,
        observed: Observed::default(),
        applied: BTreeMap::new(),
        written: BTreeSet::new(),
    };
    while !world.pass().unwrap().0.is_empty() {}
    world.observed
}

impl World<'_> {
    /// One pass: what it writes, and what it would write if its gate were open.
    fn pass(&mut self) -> Result<(Vec<Write>, Vec<Object>), BuildError> {
        let mut step = self.credentials();
        let gates = gates(self.system, &self.observed);
        let manifests = build(self.system, &self.observed)?;
        let plan = rollout::plan(self.system, &self.observed, &gates, manifests);
        let mut held = Vec::new();
        let mut next = self.observed.clone();
        for manifest in &plan.manifests {
            let key = (manifest.kind, manifest.name.clone());
            let desired = with_hash(manifest);
            let live = self.observed.objects.get(&key).cloned();
            let action = match due(manifest, &desired, live.as_deref(), &gates) {
                Due::Nobodys | Due::Nothing => continue,
                Due::Held => {
                    if !contains(live.as_deref(), &desired) {
                        held.push(object(manifest.kind, &manifest.name));
                    }
                    continue;
                }
                Due::Create => Action::Create,
                Due::Correct(_) => Action::Change,
            };
            if !self.written.insert((key.clone(), desired.to_string())) {
                continue;
            }
            step.push(self.write(manifest, action, &desired, live.as_deref()));
            if let Some(settled) = settled(manifest, &desired, live.as_deref()) {
                if settled.replicas() == 0 {
                    end_pods(&mut next, &desired);
                }
                next.objects.insert(key.clone(), Arc::new(settled));
            }
            self.applied.insert(key, desired);
        }
        // What the operator notes for itself stays, and is nobody's concern.
        let record = acceptance::kept(self.system, &self.observed);
        let manifests: Vec<Manifest> = plan.manifests.into_iter().chain(record).collect();
        for (kind, name, _) in unwanted(self.system, &self.observed, &manifests) {
            next.objects.remove(&(kind, name.to_owned()));
            step.push(Write {
                action: Action::Delete,
                object: object(kind, name),
                changes: Vec::new(),
                restart: None,
            });
        }
        self.observed = next;
        Ok((step, held))
    }

    /// Secrets are made before anything is built, because pods carry their digests.
    fn credentials(&mut self) -> Vec<Write> {
        let mut step = Vec::new();
        for secret in credentials::needed(self.system) {
            let name = secret.name(&self.system.name);
            let key = (Kind::Secret, name.clone());
            if self.observed.objects.contains_key(&key) {
                continue;
            }
            let mut made = with_hash(&secrets::manifest(self.system, secret));
            for key in secret.keys() {
                made["data"][key] = json!(PLACEHOLDER);
            }
            if let Some(live) = live(Kind::Secret, made) {
                self.observed.objects.insert(key, Arc::new(live));
            }
            step.push(Write {
                action: Action::Create,
                object: object(Kind::Secret, &name),
                changes: Vec::new(),
                restart: None,
            });
        }
        step
    }

    fn write(
        &self,
        manifest: &Manifest,
        action: Action,
        desired: &Value,
        live: Option<&Live>,
    ) -> Write {
        let changes = live.map_or_else(Vec::new, |live| {
            let before = self.applied.get(&(manifest.kind, manifest.name.clone()));
            let live = comparable(live, desired);
            changes::applied(manifest.kind, desired, &live, before)
        });
        let restart = restart(manifest, &changes, live, &self.observed);
        Write {
            action,
            object: object(manifest.kind, &manifest.name),
            changes,
            restart,
        }
    }
}

fn object(kind: Kind, name: &str) -> Object {
    Object {
        kind: kind.name(),
        name: name.to_owned(),
    }
}

fn contains(live: Option<&Live>, desired: &Value) -> bool {
    live.is_some_and(|live| {
        payment_operator::subset::difference(desired, &comparable(live, desired)).is_none()
    })
}

fn live(kind: Kind, value: Value) -> Option<Live> {
    let object: DynamicObject = serde_json::from_value(value).ok()?;
    Some(Live::new(kind, object))
}

/// The pods of a workload that is to have none.
fn end_pods(observed: &mut Observed, workload: &Value) {
    let labels = &workload["metadata"]["labels"];
    observed.objects.retain(|(kind, _), live| {
        let of_workload = || live.value()["metadata"]["labels"][COMPONENT] == labels[COMPONENT];
        *kind != Kind::Pod || !of_workload()
    });
}

/// An object after it was written and its controller is done with it. `None` for a Secret: of its
/// values only digests are known, and they stay as they are.
fn settled(manifest: &Manifest, desired: &Value, before: Option<&Live>) -> Option<Live> {
    let mut value = desired.clone();
    let uid = before.map_or("planned", |live| live.uid.as_str());
    value["metadata"]["uid"] = json!(uid);
    value["metadata"]["generation"] = json!(1);
    match manifest.kind {
        Kind::Secret => return None,
        Kind::Job => {
            value["status"] = json!({"conditions": [{"type": "Complete", "status": "True"}]});
        }
        Kind::StatefulSet | Kind::Deployment => {
            let wanted = value["spec"]["replicas"].as_i64();
            let kept = || before.map(|live| i64::from(live.replicas()));
            let replicas = wanted
                .or_else(kept)
                .or(manifest.first_replicas.map(i64::from))
                .unwrap_or(1);
            value["spec"]["replicas"] = json!(replicas);
            value["status"] = json!({
                "observedGeneration": 1,
                "replicas": replicas,
                "readyReplicas": replicas,
                "availableReplicas": replicas,
                "updatedReplicas": replicas,
            });
        }
        _ => {}
    }
    live(manifest.kind, value)
}
