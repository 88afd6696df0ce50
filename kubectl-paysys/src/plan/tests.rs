//! Plans of edits, decided over clusters that the simulation itself has brought up.

use crds::PaymentSystemSpec;
use serde_json::{Value, json};

use super::{render, simulate::brought_up, *};
use crate::screen::Paint;

fn settings() -> Settings {
    Settings {
        runtime_image: Some("registry.example/payment-runtime:1.0".to_owned()),
        simulator_image: Some("registry.example/channel-simulator:1.0".to_owned()),
        ..Settings::default()
    }
}

fn system(spec: &Value) -> PaymentSystem {
    let spec: PaymentSystemSpec = serde_json::from_value(spec.clone()).unwrap();
    let mut object = PaymentSystem::new("demo", spec);
    object.metadata.namespace = Some("payment".to_owned());
    object.metadata.uid = Some("uid-1".to_owned());
    object
}

fn simulated(more: &Value) -> Value {
    let mut spec = json!({"channels": {"simulator": true}});
    merge(&mut spec, more);
    spec
}

fn merge(into: &mut Value, more: &Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more.clone(),
    }
}

/// A pod of a component that took `seconds` to become ready.
fn pod(name: &str, component: &str, seconds: i64) -> ((Kind, String), Arc<Live>) {
    let at = |second: i64| format!("2026-11-22T10:00:{second:02}Z");
    let object: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {labels::COMPONENT: component}},
        "status": {
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": at(0)},
                {"type": "Ready", "status": "True", "lastTransitionTime": at(seconds)},
            ],
            "containerStatuses": [{"restartCount": 0}],
        },
    }))
    .unwrap();
    (
        (Kind::Pod, name.to_owned()),
        Arc::new(Live::new(Kind::Pod, object)),
    )
}

/// The cluster of a ready system.
fn cluster(before: &PaymentSystem) -> Observed {
    let mut observed = brought_up(&validate(before, &settings()).unwrap());
    observed.objects.extend([
        pod("demo-mysql-0", "mysql", 21),
        pod("demo-payment-0", "payment", 4),
        pod("demo-payment-1", "payment", 6),
    ]);
    observed
}

fn planned(before: &Value, after: &Value) -> Planned {
    let before = system(before);
    decide(
        Some(&before),
        &system(after),
        &cluster(&before),
        &settings(),
    )
    .unwrap()
}

/// The text without digests: they follow the code, and what they stand for is said in words.
fn text(plan: &Planned) -> String {
    let mut masked = String::new();
    for line in render::plan(plan, Paint::Plain).lines() {
        if let Some(at) = line.find("-hash: ") {
            masked.push_str(&line[..at + 7]);
            masked.push('…');
        } else if let Some((before, after)) = line.split_once("demo-migrate-") {
            let digest = after.len()
                - after
                    .trim_start_matches(|c: char| c.is_ascii_hexdigit())
                    .len();
            masked.extend([before, "demo-migrate-…", &after[digest..]]);
        } else {
            masked.push_str(line);
        }
        masked.push('\n');
    }
    masked
}

#[test]
fn a_new_system_is_made_in_the_order_of_its_stages() {
    let observed = Observed::default();
    let plan = decide(
        None,
        &system(&simulated(&json!({}))),
        &observed,
        &settings(),
    )
    .unwrap();
    assert!(plan.simulation.held.is_empty());
    insta::assert_snapshot!("new", text(&plan));
}

#[test]
fn an_edit_that_says_the_same_changes_nothing() {
    let before = simulated(&json!({}));
    let after = simulated(&json!({"reconciliation": {"suspend": false}}));
    let plan = planned(&before, &after);
    assert!(plan.simulation.steps.is_empty(), "{:?}", plan.simulation);
    assert!(plan.already_due.is_empty());
    insta::assert_snapshot!("nothing", text(&plan));
}

#[test]
fn a_changed_configuration_replaces_the_pods_that_read_it() {
    let after = simulated(&json!({"payment": {"expiresInSeconds": 900}}));
    let plan = planned(&simulated(&json!({})), &after);
    insta::assert_snapshot!("configuration", text(&plan));
    insta::assert_snapshot!(
        "configuration_coloured",
        render::plan(&plan, Paint::Colours)
            .lines()
            .take(4)
            .collect::<Vec<_>>()
            .join("\n")
    );
}

#[test]
fn a_new_image_waits_for_its_migration() {
    let after = simulated(&json!({"payment": {"image": "registry.example/payment-runtime:2.0"}}));
    let plan = planned(&simulated(&json!({})), &after);
    let first = &plan.simulation.steps[0];
    assert!(first.iter().all(|write| write.object.kind != "Deployment"));
    let restarted = |write: &simulate::Write| write.restart.is_some();
    assert!(plan.simulation.steps[1].iter().any(restarted));
    insta::assert_snapshot!("image", text(&plan));
}

#[test]
fn a_store_with_one_pod_has_an_outage_as_long_as_it_took_to_start() {
    let after = simulated(&json!({"mysql": {"resources": {"requests": {"memory": "2Gi"}}}}));
    let plan = planned(&simulated(&json!({})), &after);
    let restart = plan
        .simulation
        .writes()
        .find_map(|write| write.restart.as_ref());
    assert_eq!(restart.unwrap().seconds(), Some(21));
    insta::assert_snapshot!("store", text(&plan));
}

#[test]
fn what_is_no_longer_asked_for_is_deleted_but_never_data() {
    let before = simulated(&json!({"orders": {}}));
    let plan = planned(&before, &simulated(&json!({})));
    let deleted = plan.simulation.writes();
    let deleted = deleted.filter(|write| write.action == simulate::Action::Delete);
    let deleted: Vec<_> = deleted.collect();
    assert!(!deleted.is_empty());
    for write in deleted {
        assert!(!["Secret", "PersistentVolumeClaim"].contains(&write.object.kind));
    }
    insta::assert_snapshot!("without_orders", text(&plan));
}

#[test]
fn what_is_not_ready_holds_back_what_waits_for_it() {
    let before = system(&simulated(&json!({})));
    let mut observed = cluster(&before);
    let key = (Kind::StatefulSet, "demo-mysql".to_owned());
    let mut broken = observed.objects[&key].value();
    broken["status"] = json!({"observedGeneration": 1});
    broken["apiVersion"] = json!("apps/v1");
    broken["kind"] = json!("StatefulSet");
    let broken = serde_json::from_value(broken).unwrap();
    let broken = Live::new(Kind::StatefulSet, broken);
    observed.objects.insert(key, Arc::new(broken));
    let after = simulated(&json!({"payment": {"image": "registry.example/payment-runtime:2.0"}}));
    let plan = decide(Some(&before), &system(&after), &observed, &settings()).unwrap();
    assert_eq!(plan.simulation.held[0].kind, "Job");
    assert!(
        plan.simulation
            .held_by
            .as_ref()
            .unwrap()
            .contains("demo-mysql")
    );
    insta::assert_snapshot!("held", text(&plan));
}

#[test]
fn a_paused_system_and_a_wrong_edit_write_nothing() {
    let paused = planned(
        &simulated(&json!({})),
        &simulated(&json!({"paused": true, "payment": {"expiresInSeconds": 900}})),
    );
    assert!(paused.simulation.steps.is_empty());
    insta::assert_snapshot!("paused", text(&paused));
    let wrong = planned(
        &simulated(&json!({})),
        &simulated(&json!({"reconciliation": {"secondPersonAbove": "1.005"}})),
    );
    assert_eq!(wrong.refused.as_ref().unwrap().reason, "NotAnAmount");
    insta::assert_snapshot!("refused", text(&wrong));
}

#[test]
fn a_stop_and_a_start_are_told_step_by_step() {
    let after = simulated(&json!({"stopped": true}));
    let plan = planned(&simulated(&json!({})), &after);
    assert_eq!(
        plan.simulation.steps.len(),
        3,
        "services, coordinator, stores"
    );
    assert!(
        plan.simulation
            .writes()
            .all(|write| write.restart.is_none())
    );
    insta::assert_snapshot!("stop", text(&plan));
}

#[test]
fn what_is_due_anyway_is_told_apart() {
    let before = system(&simulated(&json!({})));
    let mut observed = cluster(&before);
    observed
        .objects
        .remove(&(Kind::Service, "demo-payment".to_owned()));
    let after = simulated(&json!({"payment": {"expiresInSeconds": 900}}));
    let plan = decide(Some(&before), &system(&after), &observed, &settings()).unwrap();
    assert_eq!(plan.already_due.len(), 1);
    assert_eq!(plan.already_due[0].name, "demo-payment");
}

#[test]
fn the_structure_for_programs_is_stable() {
    let after = simulated(&json!({"redis": {"maxmemory": "512mb"}}));
    let plan = planned(&simulated(&json!({})), &after);
    let mut value = serde_json::to_value(&plan).unwrap();
    mask_digests(&mut value);
    insta::assert_json_snapshot!("json", value);
}

/// Digests follow the code.
fn mask_digests(value: &mut Value) {
    let is_digest = value["path"]
        .as_str()
        .is_some_and(|path| path.ends_with("-hash"));
    match value {
        Value::Object(fields) if is_digest => {
            fields.insert("old".to_owned(), json!("…"));
            fields.insert("new".to_owned(), json!("…"));
        }
        Value::Object(fields) => fields.values_mut().for_each(mask_digests),
        Value::Array(items) => items.iter_mut().for_each(mask_digests),
        _ => {}
    }
}
