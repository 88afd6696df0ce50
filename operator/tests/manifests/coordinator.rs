//! What the managed transaction coordinator is started with, and who reaches it.

use crds::resources::{Amounts, Resources};
use payment_operator::kinds::Kind;
use serde_json::{Value, json};

use super::{example, find, manifests};

/// The options that say how much memory the server takes.
fn memory(limit: Option<&str>, heap: Option<&str>) -> Vec<String> {
    let mut object = example("demo");
    let coordinator = &mut object.spec.transaction_coordinator;
    coordinator.heap = heap.map(ToOwned::to_owned);
    coordinator.resources = Resources {
        limits: limit.map(|memory| Amounts {
            cpu: None,
            memory: Some(memory.to_owned()),
        }),
        ..coordinator.resources.clone()
    };
    let manifests = manifests(&object);
    let pod = &find(&manifests, Kind::StatefulSet, "demo-coordinator")["spec"]["template"]["spec"];
    let command = pod["containers"][0]["command"].as_array().unwrap();
    command
        .iter()
        .filter_map(|option| option.as_str())
        .filter(|option| option.starts_with("-Xm") || option.starts_with("-XX:MaxDirect"))
        .map(ToOwned::to_owned)
        .collect()
}

#[test]
fn memory_is_taken_from_the_limit() {
    let options = |heap: &str, direct: &str| {
        [
            format!("-Xms{heap}"),
            format!("-Xmx{heap}"),
            format!("-XX:MaxDirectMemorySize={direct}"),
        ]
    };
    assert_eq!(memory(None, None), options("256m", "128m"));
    assert_eq!(memory(Some("2Gi"), None), options("1024m", "256m"));
    assert_eq!(memory(Some("1G"), None), options("476m", "119m"));
    assert_eq!(memory(Some("2Gi"), Some("700m")), options("700m", "256m"));
    assert_eq!(memory(Some("64Mi"), None), options("64m", "16m"));
}

#[test]
fn only_named_namespaces_take_part_in_transactions() {
    let policy = |namespaces: &[&str]| {
        let mut object = example("demo");
        let coordinator = &mut object.spec.transaction_coordinator;
        coordinator.client_namespaces = namespaces.iter().map(ToString::to_string).collect();
        let manifests = manifests(&object);
        find(&manifests, Kind::NetworkPolicy, "demo-coordinator")["spec"].clone()
    };
    let rules = |spec: &Value| -> Vec<Value> {
        let rules = spec["ingress"].as_array().unwrap().iter();
        let rules = rules.filter(|rule| rule["ports"][0]["port"] == 8091);
        rules.map(|rule| rule["from"].clone()).collect()
    };
    let alone = rules(&policy(&[]));
    assert_eq!(alone.len(), 1, "its own pods: {alone:?}");
    assert_eq!(
        alone[0][0]["podSelector"]["matchLabels"]["app.kubernetes.io/instance"],
        "demo"
    );
    let named = rules(&policy(&["order", "stock"]));
    assert_eq!(named[0], alone[0]);
    let values = named[1].pointer("/0/namespaceSelector/matchExpressions/0/values");
    assert_eq!(values, Some(&json!(["order", "stock"])));
}

#[test]
fn an_external_coordinator_gets_nothing() {
    let mut object = example("demo");
    object.spec.transaction_coordinator.external = Some(crds::stores::ExternalCoordinator {
        host: "tc.example.com".to_owned(),
        port: 8091,
        tls: None,
    });
    let manifests = manifests(&object);
    let own = manifests
        .iter()
        .filter(|manifest| manifest.name.contains("coordinator"));
    assert_eq!(own.count(), 0);
}

/// What a person runs on an existing MySQL is what the operator makes in its own.
#[test]
fn the_documented_tables_are_the_ones_that_are_made() {
    let documented = include_str!("../../../docs/coordinator-tables.sql");
    let demo = manifests(&example("demo"));
    let script = find(&demo, Kind::ConfigMap, "demo-mysql")["data"]["start.sh"]
        .as_str()
        .unwrap();
    let made: Vec<&str> = script
        .lines()
        .filter(|line| line.starts_with("CREATE TABLE") || line.starts_with("INSERT"))
        .collect();
    let documented: Vec<&str> = documented
        .lines()
        .filter(|line| !line.starts_with("--"))
        .collect();
    assert_eq!(documented, made);
}
