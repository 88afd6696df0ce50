//! What must hold of the whole history of a system, whatever its operator went through.

use std::collections::BTreeMap;

use payment_operator::build::labels;
use serde_json::Value;

use crate::{
    scenario::{CHANNEL_SECRET, Scenario},
    world::{Change, Event},
};

/// Breaches of the rules, in words.
pub fn breaches(scenario: &Scenario, events: &[Event], start: u64) -> Vec<String> {
    let mut all = data_stays(scenario, events);
    if scenario.rotates() {
        all.extend(passwords_change_once(events));
    } else {
        all.extend(passwords_stay(scenario, events));
    }
    if scenario.stops() {
        all.extend(stores_outlast_services(events));
    } else {
        all.extend(replicas_stay(events, start));
    }
    all.extend(order_is_kept(events));
    all.extend(everything_is_ours(events));
    all.extend(channel_keys_are_seen(events));
    all
}

/// The channels' Secret is there all the time. An operator that has not looked yet says nothing.
fn channel_keys_are_seen(events: &[Event]) -> Vec<String> {
    let systems = events.iter().filter(|event| event.kind == "PaymentSystem");
    let conditions = systems.flat_map(|event| {
        let conditions = event.object["status"]["conditions"].as_array();
        conditions.into_iter().flatten()
    });
    conditions
        .filter(|condition| condition["type"] == "ChannelsConfigured")
        .filter(|condition| condition["status"] != "True")
        .map(|condition| format!("{}: {}", condition["reason"], condition["message"]))
        .collect()
}

fn deleting(event: &Event) -> bool {
    event.change == Change::Gone || event.object["metadata"]["deletionTimestamp"].is_string()
}

/// No claim and no Secret is deleted, unless its owner asked for that and deleted the system.
fn data_stays(scenario: &Scenario, events: &[Event]) -> Vec<String> {
    let data = events
        .iter()
        .filter(|event| ["Secret", "PersistentVolumeClaim"].contains(&event.kind));
    data.filter(|event| deleting(event))
        .filter(|event| !(scenario.deletes() && scenario.goes.contains(&event.name.as_str())))
        .map(|event| format!("{} {} was deleted", event.kind, event.name))
        .collect()
}

/// A generated value never changes.
fn passwords_stay(scenario: &Scenario, events: &[Event]) -> Vec<String> {
    let mut values: BTreeMap<(&str, &str), &Value> = BTreeMap::new();
    let mut all = Vec::new();
    for event in events.iter().filter(|event| event.kind == "Secret") {
        if event.change == Change::Gone {
            values.retain(|(secret, _), _| *secret != event.name);
            continue;
        }
        for (key, value) in event.object["data"].as_object().into_iter().flatten() {
            let before = values.insert((&event.name, key), value);
            let changed = before.is_some_and(|before| before != value);
            if changed && !scenario.edits(&event.name, key) {
                all.push(format!("{key} of Secret {} was changed", event.name));
            }
        }
    }
    all
}

/// Only what was announced as next comes in use, once; what was in use is kept beside it.
fn passwords_change_once(events: &[Event]) -> Vec<String> {
    let mut before: BTreeMap<&str, &Value> = BTreeMap::new();
    let mut changes: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut all = Vec::new();
    for event in events.iter().filter(|event| event.kind == "Secret") {
        let (name, data) = (event.name.as_str(), &event.object["data"]);
        let Some(old) = before.insert(name, data) else {
            continue;
        };
        for (key, value) in data.as_object().into_iter().flatten() {
            if old[key].is_null() || old[key] == *value {
                continue;
            }
            *changes.entry((name, key)).or_default() += 1;
            // Only the coordinator's console has one phase.
            let (next, former) = (
                &old[format!("next-{key}")],
                &data[format!("previous-{key}")],
            );
            if name != "demo-coordinator" && (next != value || *former != old[key]) {
                all.push(format!("{key} of Secret {name} changed unannounced"));
            }
        }
    }
    let often = changes.into_iter().filter(|(_, times)| *times > 1);
    all.extend(
        often.map(|((name, key), times)| format!("{key} of Secret {name} changed {times} times")),
    );
    all
}

/// While a system stops and starts again, nothing runs without what it needs: the coordinator needs
/// the stores, the services need both.
fn stores_outlast_services(events: &[Event]) -> Vec<String> {
    let rank = |event: &Event| match event.object["metadata"]["labels"][labels::COMPONENT].as_str()
    {
        Some("mysql" | "redis") => 0,
        Some("coordinator") => 1,
        _ => 2,
    };
    let number = |event: &Event, part: &str| event.object[part]["replicas"].as_i64();
    let mut ranks: BTreeMap<&str, (i32, bool, bool)> = BTreeMap::new();
    let mut all = Vec::new();
    let workloads = events.iter().filter(|event| {
        ["Deployment", "StatefulSet"].contains(&event.kind) && !event.name.ends_with("-simulator")
    });
    for event in workloads {
        let (wanted, there) = (
            number(event, "spec") != Some(0),
            number(event, "status") > Some(0),
        );
        let before = ranks.insert(&event.name, (rank(event), wanted, there));
        let changed = before.is_some_and(|(_, before, _)| before != wanted);
        if !changed {
            continue;
        }
        let (name, own) = (&event.name, rank(event));
        if wanted {
            let missing = ranks
                .iter()
                .filter(|(_, (rank, _, there))| *rank < own && !there);
            all.extend(missing.map(|(other, _)| format!("{name} was started before {other} ran")));
        } else {
            let left = ranks
                .iter()
                .filter(|(_, (rank, _, there))| *rank > own && *there);
            all.extend(left.map(|(other, _)| format!("{name} was stopped while {other} ran")));
        }
    }
    all
}

/// A Deployment never asks for fewer pods than it had before the change and has after it.
fn replicas_stay(events: &[Event], start: u64) -> Vec<String> {
    let autoscalers = workloads(events, "HorizontalPodAutoscaler");
    let mut all = Vec::new();
    for (name, versions) in workloads(events, "Deployment") {
        let number = |event: &Event| event.object["spec"]["replicas"].as_i64().unwrap_or(1);
        let Some(last) = versions.last().map(|event| number(event)) else {
            continue;
        };
        let autoscaler = autoscalers.get(name).and_then(|versions| versions.last());
        let wanted = autoscaler.and_then(|event| event.object["spec"]["minReplicas"].as_i64());
        let last = wanted.unwrap_or(last).max(last);
        let before = versions
            .iter()
            .rev()
            .find(|event| event.version <= start)
            .map_or(last, |event| number(event));
        let fewest = last.min(before);
        let reached = versions
            .iter()
            .skip_while(|event| event.version < start || number(event) < fewest);
        let ends = versions.last().map(|event| number(event));
        let below = reached
            .map(|event| number(event))
            .chain(ends)
            .find(|n| *n < fewest);
        all.extend(
            below.map(|n| format!("Deployment {name} went down to {n} replicas from {fewest}")),
        );
    }
    all
}

fn workloads<'a>(events: &'a [Event], kind: &str) -> BTreeMap<&'a str, Vec<&'a Event>> {
    let mut found: BTreeMap<&str, Vec<&Event>> = BTreeMap::new();
    for event in events
        .iter()
        .filter(|event| event.kind == kind && event.change != Change::Gone)
    {
        found.entry(&event.name).or_default().push(event);
    }
    found
}

/// Whether a workload is ready, or a Job done.
fn ready(event: &Event) -> bool {
    let (spec, status) = (&event.object["spec"], &event.object["status"]);
    match event.kind {
        "Job" => status["succeeded"] == 1,
        _ => status["readyReplicas"].is_number() && status["readyReplicas"] == spec["replicas"],
    }
}

fn image(event: &Event) -> &Value {
    &event.object["spec"]["template"]["spec"]["containers"][0]["image"]
}

/// Stores, coordinator, migration, services, operations; and an image runs only once its own
/// migration has.
fn order_is_kept(events: &[Event]) -> Vec<String> {
    let mut ready_now: BTreeMap<(&str, &str), bool> = BTreeMap::new();
    let mut migrated: Vec<&Value> = Vec::new();
    let mut images: BTreeMap<&str, &Value> = BTreeMap::new();
    let mut all = Vec::new();
    for event in events {
        let component = event.object["metadata"]["labels"][labels::COMPONENT].as_str();
        let component = component.unwrap_or_default();
        if event.change == Change::Gone {
            images.remove(event.name.as_str());
            continue;
        }
        if event.change == Change::Made {
            let missing = needed_first(event.kind, component)
                .iter()
                .filter(|needed| ready_now.get(*needed) != Some(&true));
            all.extend(missing.map(|(kind, needed)| {
                let (what, name) = (event.kind, &event.name);
                format!("{what} {name} was made before the {kind} of {needed} was ready")
            }));
        }
        let runs = event.kind == "Deployment" && component != "channel-simulator";
        if runs && images.insert(&event.name, image(event)) != Some(image(event)) {
            let known = migrated.contains(&image(event));
            let text = format!("{} runs {} unmigrated", event.name, image(event));
            all.extend((!known).then_some(text));
        }
        if ready(event) {
            // What was ready once has been waited for.
            ready_now.insert((event.kind, component), true);
            if event.kind == "Job" {
                migrated.push(image(event));
            }
        }
    }
    all
}

/// Kinds and components that must have been ready before something is made.
fn needed_first(kind: &str, component: &str) -> &'static [(&'static str, &'static str)] {
    match (kind, component) {
        ("StatefulSet", "coordinator") => &[("StatefulSet", "mysql"), ("StatefulSet", "redis")],
        ("Job", _) => &[("StatefulSet", "coordinator")],
        ("Deployment", "channel-simulator") => &[],
        ("Deployment", _) => &[("Job", "migration")],
        ("CronJob", _) => &[
            ("Deployment", "payment"),
            ("Deployment", "callback"),
            ("Deployment", "worker"),
            ("Deployment", "reconciliation"),
        ],
        _ => &[],
    }
}

/// Every object has our labels and, from its first version on, the owner it ends with. A claim is
/// made by its StatefulSet, so only its labels count.
fn everything_is_ours(events: &[Event]) -> Vec<String> {
    let owner = |event: &Event| -> Vec<String> {
        let owners = event.object["metadata"]["ownerReferences"].as_array();
        let owners = owners.into_iter().flatten();
        owners.map(|owner| owner["name"].to_string()).collect()
    };
    let uid = |event: &Event| event.object["metadata"]["uid"].to_string();
    let mut by_uid: BTreeMap<String, &Event> = BTreeMap::new();
    let ours = || {
        events
            .iter()
            .filter(|event| event.kind != "PaymentSystem" && event.name != CHANNEL_SECRET)
    };
    for event in ours() {
        by_uid.insert(uid(event), event);
    }
    let mut all = Vec::new();
    for event in ours().filter(|event| event.change == Change::Made) {
        let (kind, name) = (event.kind, &event.name);
        let found = &event.object["metadata"]["labels"];
        if found[labels::MANAGED_BY] != labels::MANAGER || !found[labels::INSTANCE].is_string() {
            all.push(format!("{kind} {name} was made without labels"));
        }
        let (first, last) = (owner(event), owner(by_uid[&uid(event)]));
        if kind != "PersistentVolumeClaim" && first.is_empty() && !last.is_empty() {
            all.push(format!("{kind} {name} was made without its owner {last:?}"));
        }
    }
    all
}

/// How often each workload was made, and how often its pods were replaced.
pub type Rolls = BTreeMap<String, usize>;

pub fn rolls(events: &[Event]) -> Rolls {
    let mut templates: BTreeMap<String, &Value> = BTreeMap::new();
    let mut rolls = Rolls::new();
    for event in events {
        // The names of a rotation's Jobs come from random values.
        let of_rotation = event.name.starts_with("demo-rotate-");
        if of_rotation || !["StatefulSet", "Deployment", "Job"].contains(&event.kind) {
            continue;
        }
        let name = format!("{} {}", event.kind, event.name);
        if event.change == Change::Gone {
            templates.remove(&name);
            continue;
        }
        let template = &event.object["spec"]["template"];
        if templates.insert(name.clone(), template) != Some(template) {
            *rolls.entry(name).or_default() += 1;
        }
    }
    rolls
}
