//! The walk through the fields of one system.
//!
//! Each field is tried alone without being written: accepted or refused, what of the specification
//! changes, what of the manifests. Then the system goes there and back with several fields at
//! once, which costs a fraction of the passes; a group that fails is repeated field by field.

use std::{collections::BTreeSet, time::Duration};

use crds::PaymentSystem;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use payment_operator::{
    build::{Manifest, build},
    kinds::{KINDS, Kind},
    observe::Observed,
    validate::{Settings, validate},
};
use serde_json::{Value, json};

use crate::{
    leaf::{self, Leaf},
    mask,
    run::Run,
    scenario::{self, SYSTEM, Scenario},
    scene::{self, Scene},
    state::{State, differences},
    values,
    world::{Objects, World},
};

/// How long the recorder may lag behind the operator.
const LAG: Duration = Duration::from_secs(10);
/// A system that does not exist.
const NEW: &str = "new";
/// Fields that are changed at once.
const GROUP: usize = 10;

/// Walks through some fields; returns what was found wrong.
pub async fn walk(
    world: &World,
    operators: &Client,
    scene: Scene,
    leaves: Vec<&Leaf>,
) -> Vec<String> {
    let scenario = Scenario {
        name: "walk",
        before: None,
        steps: Vec::new(),
        goes: &[],
        open_end: false,
    };
    let run = Run::start(world, operators, &scenario).await;
    scene::provide_secrets(&world.client, &run.namespace).await;
    let mut walk = Walk {
        systems: Api::namespaced(world.client.clone(), &run.namespace),
        sections: scene.specification(),
        run: &run,
    };
    if let Err(error) = walk.go(&walk.sections).await {
        return vec![format!("{scene:?} does not start: {error}")];
    }
    let home = match walk.try_out(NEW, &walk.sections).await {
        Ok(home) => home,
        Err(error) => return vec![format!("{scene:?} is refused: {error}")],
    };
    let made = manifests(&home).unwrap_or_default();
    let (mut found, mut round, mut single) = (Vec::new(), Vec::new(), Vec::new());
    for leaf in leaves {
        match walk.alone(leaf, (&home, &made)).await {
            Err(error) => found.push(format!("{}: {error}", leaf.path)),
            Ok(true) if goes_back(leaf) => round.push(leaf),
            Ok(true) => single.push(leaf),
            Ok(false) => {}
        }
    }
    // Fields of one section go in different groups: they are the likeliest to contradict.
    let groups = round.len().div_ceil(GROUP);
    for first in 0..groups {
        let group: Vec<&Leaf> = round.iter().skip(first).step_by(groups).copied().collect();
        if walk.there_and_back(&group).await.is_err() {
            single.extend(group);
        }
    }
    for leaf in single {
        if let Err(error) = walk.there_and_back(&[leaf]).await {
            found.push(format!("{}: {error}", leaf.path));
        }
    }
    run.clean().await;
    found
}

struct Walk<'a> {
    run: &'a Run<'a>,
    systems: Api<PaymentSystem>,
    /// The specification from which each visit starts, and to which it returns.
    sections: Value,
}

impl Walk<'_> {
    /// What one other value does to the specification and the manifests, without writing it.
    /// Returns whether it may be written.
    async fn alone(
        &self,
        leaf: &Leaf,
        (home, made): (&PaymentSystem, &BTreeSet<String>),
    ) -> Result<bool, String> {
        let changed = self.changed(&[leaf]);
        let tried = self.try_out(SYSTEM, &changed).await;
        if let Some(words) = values::refused(&leaf.path) {
            return match tried {
                Ok(_) => Err(format!("is accepted, not refused with {words}")),
                Err(error) => is_said(&error, words).map(|()| false),
            };
        }
        tried?;
        // What is left out of a living system stays as it was; of a new one it gets its default.
        let tried = self.try_out(NEW, &changed).await?;
        let also: Vec<String> = changed_paths(&json!(home.spec), &json!(tried.spec))
            .into_iter()
            .filter(|path| !within(path, &leaf.path) && !within(&leaf.path, path))
            .collect();
        if !also.is_empty() {
            return Err(format!("also changes {also:?}"));
        }
        let differs = manifests(&tried)? != *made;
        if differs == values::invisible(&leaf.path) {
            let done = if differs {
                "changes"
            } else {
                "does not change"
            };
            return Err(format!("{done} the manifests"));
        }
        Ok(!values::walked_elsewhere(&leaf.path))
    }

    /// The system takes other values and is at rest with them; without them it is what it was.
    async fn there_and_back(&mut self, leaves: &[&Leaf]) -> Result<(), String> {
        self.go(&self.sections).await?;
        let home = self.run.history.objects();
        let (everything, made) = (mask::everything(&home), mask::made(&home));
        let changed = self.changed(leaves);
        self.go(&changed).await?;
        let visible = !leaves.iter().all(|leaf| values::invisible(&leaf.path));
        let differs = |objects: &_| mask::made(objects) != made;
        if visible && !self.run.history.until(LAG, differs).await {
            return Err("no object changes".to_owned());
        }
        let desired = desired(&self.try_out(SYSTEM, &changed).await?)?;
        let clean = |objects: &_| surplus(objects, &desired).is_empty();
        if visible && !self.run.history.until(LAG, clean).await {
            let left = surplus(&self.run.history.objects(), &desired);
            return Err(format!("leaves behind {}", left.join(", ")));
        }
        for leaf in leaves {
            if let Some(words) = values::one_way(&leaf.path) {
                let home = std::mem::replace(&mut self.sections, changed);
                let back = self.run.apply(&home).await;
                return is_said(&back.err().unwrap_or_default(), words);
            }
        }
        self.go(&self.sections).await?;
        self.is_home(&everything).await
    }

    async fn is_home(&self, home: &State) -> Result<(), String> {
        let left = |objects: &_| differences(home, &mask::everything(objects));
        if self
            .run
            .history
            .until(LAG, |objects| left(objects).is_empty())
            .await
        {
            return Ok(());
        }
        let left = left(&self.run.history.objects());
        Err(format!("is not undone: {}", left.join("; ")))
    }

    /// Applies a specification and waits until the system works and a pass has nothing to write.
    async fn go(&self, specification: &Value) -> Result<(), String> {
        self.run.apply(specification).await?;
        if specification["paused"] != true {
            self.run.until_ready("what was applied").await?;
        }
        for _ in 0..5 {
            if self.run.silent_pass().await?.is_empty() {
                return Ok(());
            }
        }
        Err("passes never stop writing".to_owned())
    }

    fn changed(&self, leaves: &[&Leaf]) -> Value {
        leaves.iter().fold(self.sections.clone(), |sections, leaf| {
            let other = values::other(leaf, &self.sections).unwrap_or_default();
            leaf::with(&sections, &leaf.path, other)
        })
    }

    /// What the API server makes of a specification, which it does not keep.
    async fn try_out(&self, name: &str, specification: &Value) -> Result<PaymentSystem, String> {
        let mut object = scenario::system(&self.run.namespace, specification);
        object["metadata"]["name"] = json!(name);
        let parameters = PatchParams {
            dry_run: true,
            ..PatchParams::apply("test").force().validation_strict()
        };
        let tried = self
            .systems
            .patch(name, &parameters, &Patch::Apply(&object))
            .await;
        let mut tried = tried.map_err(|error| error.to_string())?;
        // One that is made anew each time has another each time, and its objects name it.
        tried.metadata.uid = None;
        Ok(tried)
    }
}

fn goes_back(leaf: &Leaf) -> bool {
    values::one_way(&leaf.path).is_none() && !values::invisible(&leaf.path)
}

fn is_said(error: &str, words: &str) -> Result<(), String> {
    if error.to_lowercase().contains(&words.to_lowercase()) {
        return Ok(());
    }
    Err(format!("is not refused with {words}, but: {error}"))
}

/// What the operator would make, each object as text.
fn manifests(system: &PaymentSystem) -> Result<BTreeSet<String>, String> {
    let texts = desired(system)?
        .into_iter()
        .map(|manifest| format!("{} {:?}", manifest.value, manifest.first_replicas));
    Ok(texts.collect())
}

/// Objects that are there and should not be. Data and credentials stay.
fn surplus(objects: &Objects, desired: &[Manifest]) -> Vec<String> {
    let removable = |kind: &str| {
        let entry = KINDS.iter().find(|entry| entry.name == kind);
        entry.is_some_and(|entry| entry.kind.removable())
    };
    let wanted = |kind: &str, name: &str| {
        let mut desired = desired.iter();
        mask::is_record(name)
            || desired.any(|manifest| manifest.kind.name() == kind && manifest.name == name)
    };
    let left = objects
        .keys()
        .filter(|(kind, name)| removable(kind) && !wanted(kind, name));
    left.map(|(kind, name)| format!("{kind} {name}")).collect()
}

fn desired(system: &PaymentSystem) -> Result<Vec<Manifest>, String> {
    let settings = Settings {
        runtime_image: Some(scenario::IMAGE.to_owned()),
        simulator_image: Some("registry.example/channel-simulator:1.0".to_owned()),
        ..Settings::default()
    };
    let valid = validate(system, &settings).map_err(|error| error.to_string())?;
    let optional = KINDS.iter().filter(|entry| entry.optional);
    let observed = Observed {
        installed: optional.map(|entry| entry.kind).collect::<BTreeSet<Kind>>(),
        ..Observed::default()
    };
    build(&valid, &observed).map_err(|error| error.to_string())
}

/// Whether a path is at or below another one.
fn within(path: &str, other: &str) -> bool {
    path == other || path.starts_with(&format!("{other}."))
}

/// Where two specifications differ, in dots.
fn changed_paths(before: &Value, after: &Value) -> Vec<String> {
    fn compare(path: &str, before: &Value, after: &Value, found: &mut Vec<String>) {
        let (Value::Object(fields), Value::Object(others)) = (before, after) else {
            if before != after {
                found.push(path.to_owned());
            }
            return;
        };
        for name in fields.keys().chain(others.keys()).collect::<BTreeSet<_>>() {
            let dot = if path.is_empty() { "" } else { "." };
            let of = |fields: &serde_json::Map<String, Value>| {
                fields.get(name).cloned().unwrap_or_default()
            };
            compare(
                &format!("{path}{dot}{name}"),
                &of(fields),
                &of(others),
                found,
            );
        }
    }
    let mut found = Vec::new();
    compare("", before, after, &mut found);
    found
}
