//! Manifests without a cluster: snapshots of the examples, and the rules every manifest obeys.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests"
)]

#[path = "manifests/alerts.rs"]
mod alerts;
#[path = "manifests/coordinator.rs"]
mod coordinator;
#[path = "manifests/network.rs"]
mod network;
#[path = "manifests/orders.rs"]
mod orders;
#[path = "manifests/reconciliation.rs"]
mod reconciliation;
#[path = "manifests/rotation.rs"]
mod rotation;
#[path = "manifests/tls.rs"]
mod tls;

use std::{collections::BTreeSet, sync::Arc};

use crds::PaymentSystem;
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::{CronJob, Job},
    core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service},
    networking::v1::{Ingress, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
};
use kube::api::DynamicObject;
use payment_operator::{
    build::{Manifest, build, labels},
    cache::{Live, NamedSecret},
    credentials,
    install::{self, Installation},
    kinds::Kind,
    observe::Observed,
    validate::{Settings, ValidSystem, named_secrets, validate},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

fn example(name: &str) -> PaymentSystem {
    let path = format!("{}/../examples/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let document = text
        .split("\n---\n")
        .find(|document| document.contains("kind: PaymentSystem"))
        .unwrap();
    let mut object: PaymentSystem = serde_saphyr::from_str(document).unwrap();
    object.metadata.uid = Some("00000000-0000-0000-0000-000000000001".to_owned());
    object
}

fn valid(object: &PaymentSystem) -> ValidSystem {
    let settings = Settings {
        runtime_image: Some("registry.example/payment-runtime:1.0".to_owned()),
        simulator_image: Some("registry.example/channel-simulator:1.0".to_owned()),
        ..Settings::default()
    };
    validate(object, &settings).unwrap()
}

/// All optional kinds installed; Secrets present with fixed values.
fn observed(system: &ValidSystem) -> Observed {
    let mut observed = Observed {
        installed: BTreeSet::from([Kind::HttpRoute, Kind::ServiceMonitor, Kind::PrometheusRule]),
        ..Observed::default()
    };
    for secret in credentials::needed(system) {
        let name = secret.name(&system.name);
        let mut manifest = secret.manifest(system).unwrap();
        for value in manifest["data"].as_object_mut().unwrap().values_mut() {
            *value = json!("Zml4ZWQ=");
        }
        let object: DynamicObject = serde_json::from_value(manifest).unwrap();
        observed.objects.insert(
            (Kind::Secret, name.clone()),
            Arc::new(Live::new(Kind::Secret, object)),
        );
    }
    for name in named_secrets(&system.spec) {
        observed.named_secrets.insert(name, NamedSecret::Absent);
    }
    observed
}

fn manifests(object: &PaymentSystem) -> Vec<Manifest> {
    let system = valid(object);
    build(&system, &observed(&system)).unwrap()
}

fn find<'a>(manifests: &'a [Manifest], kind: Kind, name: &str) -> &'a Value {
    let found = manifests
        .iter()
        .find(|manifest| manifest.kind == kind && manifest.name == name);
    &found.unwrap_or_else(|| panic!("no {kind:?} {name}")).value
}

fn snapshot(name: &str) {
    let documents: Vec<String> = manifests(&example(name))
        .iter()
        .map(|manifest| {
            let yaml = serde_saphyr::to_string(&manifest.value).unwrap();
            format!("# {:?}, {:?}\n{yaml}", manifest.stage, manifest.presence)
        })
        .collect();
    insta::assert_snapshot!(name, documents.join("---\n"));
}

#[test]
fn demo_is_as_committed() {
    snapshot("demo");
}

#[test]
fn production_is_as_committed() {
    snapshot("production");
}

#[test]
fn the_installation_is_as_committed() {
    let installation = Installation {
        namespace: "payment-system".to_owned(),
        image: "registry.example/payment-operator:1.0".to_owned(),
        runtime_image: "registry.example/payment-runtime:1.0".to_owned(),
        simulator_image: Some("registry.example/channel-simulator:1.0".to_owned()),
        ..Installation::default()
    };
    insta::assert_snapshot!("installation", install::yaml(&installation).unwrap());
}

#[test]
fn the_installation_for_namespaces_is_as_committed() {
    let installation = Installation {
        namespace: "payment-system".to_owned(),
        image: "registry.example/payment-operator:1.0".to_owned(),
        runtime_image: "registry.example/payment-runtime:1.0".to_owned(),
        watch_namespaces: vec!["team-a".to_owned()],
        ..Installation::default()
    };
    insta::assert_snapshot!(
        "installation_for_namespaces",
        install::yaml(&installation).unwrap()
    );
}

#[test]
fn equal_input_gives_equal_bytes() {
    let text = |_| {
        manifests(&example("demo"))
            .iter()
            .map(|m| m.value.to_string())
            .collect::<String>()
    };
    assert_eq!(text(1), text(2));
}

/// A misspelt field would be dropped by the typed form.
#[test]
fn every_manifest_survives_its_typed_form() {
    let all = [
        manifests(&example("demo")),
        manifests(&example("production")),
    ]
    .concat();
    for manifest in all {
        let typed = match manifest.kind {
            Kind::Secret => round_trip::<Secret>(&manifest.value),
            Kind::ConfigMap => round_trip::<ConfigMap>(&manifest.value),
            Kind::Service => round_trip::<Service>(&manifest.value),
            Kind::NetworkPolicy => round_trip::<NetworkPolicy>(&manifest.value),
            Kind::PersistentVolumeClaim => round_trip::<PersistentVolumeClaim>(&manifest.value),
            Kind::PodDisruptionBudget => round_trip::<PodDisruptionBudget>(&manifest.value),
            Kind::StatefulSet => round_trip::<StatefulSet>(&manifest.value),
            Kind::Job => round_trip::<Job>(&manifest.value),
            Kind::Deployment => round_trip::<Deployment>(&manifest.value),
            Kind::HorizontalPodAutoscaler => round_trip::<HorizontalPodAutoscaler>(&manifest.value),
            Kind::CronJob => round_trip::<CronJob>(&manifest.value),
            Kind::Ingress => round_trip::<Ingress>(&manifest.value),
            Kind::HttpRoute | Kind::ServiceMonitor | Kind::PrometheusRule | Kind::Pod => continue,
        };
        let lost = payment_operator::subset::difference(&manifest.value, &typed);
        assert_eq!(lost, None, "{} {}", manifest.kind.name(), manifest.name);
    }
}

fn round_trip<K: DeserializeOwned + Serialize>(value: &Value) -> Value {
    let typed: K = serde_json::from_value(value.clone()).unwrap();
    serde_json::to_value(typed).unwrap()
}

/// Names of the workloads whose pods an edit of the example restarts.
fn changed(edit: fn(&mut PaymentSystem)) -> Vec<String> {
    let (before, mut object) = (manifests(&example("demo")), example("demo"));
    edit(&mut object);
    let after = manifests(&object);
    let template = |manifest: &Manifest| manifest.value.pointer("/spec/template").cloned();
    let mut names: Vec<String> = before
        .iter()
        .filter(|old| template(old).is_some())
        .filter(|old| {
            after.iter().any(|new| {
                new.kind == old.kind && new.name == old.name && template(new) != template(old)
            })
        })
        .map(|old| old.name.clone())
        .collect();
    names.sort();
    names
}

#[test]
fn only_what_depends_on_an_edit_changes_its_pods() {
    assert_eq!(
        changed(|o| o.spec.payment.expires_in_seconds = 3600),
        ["demo-payment"]
    );
    assert_eq!(
        changed(|o| o.spec.reconciliation.difference_threshold = 5),
        ["demo-reconciliation"]
    );
    assert_eq!(
        changed(|o| o.spec.mysql.max_connections = 600),
        ["demo-mysql"]
    );
    assert_eq!(
        changed(|o| "1gb".clone_into(&mut o.spec.redis.maxmemory)),
        ["demo-redis"]
    );
    assert_eq!(
        changed(|o| o.spec.payment.replicas = 5),
        Vec::<String>::new()
    );
    assert_eq!(
        changed(|o| "3Gi".clone_into(&mut o.spec.mysql.storage.size)),
        Vec::<String>::new()
    );
}

#[test]
fn an_autoscaled_deployment_leaves_its_replicas_alone() {
    let manifests = manifests(&example("production"));
    assert!(
        find(&manifests, Kind::Deployment, "production-payment")["spec"]
            .get("replicas")
            .is_none()
    );
    assert_eq!(
        find(&manifests, Kind::Deployment, "production-callback")["spec"]["replicas"],
        3
    );
    assert!(
        !manifests
            .iter()
            .any(|m| m.kind == Kind::HorizontalPodAutoscaler && m.name == "production-callback")
    );
}

#[test]
fn data_outlives_the_system_unless_deletion_is_asked_for() {
    let owners = |manifests: &[Manifest], kind, name: &str| {
        find(manifests, kind, name)["metadata"]
            .get("ownerReferences")
            .is_some()
    };
    let demo = manifests(&example("demo"));
    for (kind, name) in [
        (Kind::PersistentVolumeClaim, "data-demo-mysql-0"),
        (Kind::PersistentVolumeClaim, "data-demo-redis-0"),
        (Kind::Secret, "demo-mysql"),
        (Kind::Secret, "demo-redis"),
        (Kind::Secret, "demo-coordinator"),
        (Kind::Secret, "demo-orders"),
    ] {
        assert!(!owners(&demo, kind, name), "{name}");
    }
    let production = manifests(&example("production"));
    assert!(owners(
        &production,
        Kind::PersistentVolumeClaim,
        "data-production-redis-0"
    ));
    assert!(owners(&production, Kind::Secret, "production-redis"));
}

#[test]
fn no_disruption_budget_at_one_replica() {
    let names: Vec<String> = manifests(&example("demo"))
        .into_iter()
        .filter(|manifest| manifest.kind == Kind::PodDisruptionBudget)
        .map(|manifest| manifest.name)
        .collect();
    assert_eq!(names, ["demo-payment", "demo-callback", "demo-orders"]);
}

#[test]
fn the_default_system_fits_a_small_node() {
    let total: i128 = manifests(&example("demo"))
        .iter()
        .filter(|manifest| matches!(manifest.kind, Kind::StatefulSet | Kind::Deployment))
        .map(|manifest| {
            let cpu = manifest
                .value
                .pointer("/spec/template/spec/containers/0/resources/requests/cpu");
            let replicas = i128::from(manifest.first_replicas.unwrap_or(1));
            payment_operator::quantity::milli(cpu.unwrap().as_str().unwrap()).unwrap() * replicas
        })
        .sum();
    assert!(total <= 1200, "{total}m");
}

#[test]
fn the_runtime_reads_the_configuration_the_operator_writes() {
    for name in ["demo", "production"] {
        let manifests = manifests(&example(name));
        let config = find(&manifests, Kind::ConfigMap, &format!("{name}-runtime"));
        let yaml = config["data"]["config.yaml"].as_str().unwrap();
        let parsed = contract::RuntimeConfig::parse(yaml).unwrap();
        assert_eq!(parsed.system, format!("payment/{name}"));
    }
    let demo = manifests(&example("demo"));
    let yaml = find(&demo, Kind::ConfigMap, "demo-channel-simulator")["data"]["config.yaml"]
        .as_str()
        .unwrap();
    contract::SimulatorConfig::parse(yaml).unwrap();
}

#[test]
fn a_volume_keeps_the_size_it_was_claimed_with_and_its_claim_grows() {
    let mut object = example("demo");
    let system = valid(&object);
    let mut observed = observed(&system);
    for manifest in build(&system, &observed).unwrap() {
        if matches!(
            manifest.kind,
            Kind::StatefulSet | Kind::PersistentVolumeClaim
        ) {
            let live: DynamicObject = serde_json::from_value(manifest.value).unwrap();
            observed.objects.insert(
                (manifest.kind, manifest.name),
                Arc::new(Live::new(manifest.kind, live)),
            );
        }
    }
    "5Gi".clone_into(&mut object.spec.mysql.storage.size);
    let after = build(&valid(&object), &observed).unwrap();
    let pointer = "/spec/volumeClaimTemplates/0/spec/resources/requests/storage";
    assert_eq!(
        find(&after, Kind::StatefulSet, "demo-mysql").pointer(pointer),
        Some(&json!("2Gi"))
    );
    let pointer = "/spec/resources/requests/storage";
    assert_eq!(
        find(&after, Kind::PersistentVolumeClaim, "data-demo-mysql-0").pointer(pointer),
        Some(&json!("5Gi"))
    );
}

#[test]
fn every_object_is_found_by_the_watches() {
    for manifest in manifests(&example("demo")) {
        let labels = &manifest.value["metadata"]["labels"];
        assert_eq!(
            labels[labels::MANAGED_BY],
            labels::MANAGER,
            "{}",
            manifest.name
        );
        assert_eq!(labels[labels::INSTANCE], "demo", "{}", manifest.name);
    }
}

/// The script that prepares MySQL's volume, run by `sh` with a stand-in for `mysqld`.
#[test]
fn mysql_prepares_its_volume_once_whatever_interrupts_it() {
    let demo = manifests(&example("demo"));
    let script = find(&demo, Kind::ConfigMap, "demo-mysql")["data"]["prepare.sh"]
        .as_str()
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().display().to_string();
    let script = script
        .replace("/var/lib/mysql", &format!("{root}/volume"))
        .replace("/run/mysqld", &root);
    std::fs::create_dir(directory.path().join("volume")).unwrap();
    let run = |mysqld: &str| {
        let script = format!(
            "mysqld() {{ for a; do case $a in --datadir=*) mkdir \"${{a#*=}}\" ;; esac; done; {mysqld}; }}\n{script}"
        );
        std::process::Command::new("sh")
            .args(["-c", &script])
            .status()
            .unwrap()
            .success()
    };
    let current =
        || std::fs::read_to_string(directory.path().join("volume/current")).unwrap_or_default();
    assert!(!run("false"), "an interrupted first start fails");
    assert_eq!(current(), "");
    assert!(run("true"));
    assert_eq!(
        current(),
        "data-2\n",
        "the unfinished directory is not used"
    );
    assert!(run("false"), "a later start makes nothing");
    assert_eq!(current(), "data-2\n");
}

/// What MySQL runs at a start with these variables, written by `sh`.
fn init_sql(variables: &[(&str, &str)]) -> String {
    let demo = manifests(&example("demo"));
    let script = find(&demo, Kind::ConfigMap, "demo-mysql")["data"]["start.sh"]
        .as_str()
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().display().to_string();
    std::fs::write(directory.path().join("current"), "data-1\n").unwrap();
    // Passwords are not left to the server.
    let server = "test -z \"${PASSWORD:-}${NEXT_PASSWORD:-}${ROOT_PASSWORD:-}\" && true";
    let script = script
        .replace("/var/lib/mysql", &root)
        .replace("/run/mysqld", &root)
        .replace("exec mysqld", server);
    let usual = [
        ("ROOT_PASSWORD", "r00t"),
        ("PASSWORD", "pay"),
        ("COORDINATOR_PASSWORD", "tc"),
        ("ORDERS_PASSWORD", "shop"),
    ];
    let done = std::process::Command::new("sh")
        .args(["-c", &script])
        .envs(usual)
        .envs(variables.iter().copied())
        .status();
    assert!(done.unwrap().success());
    let sql = std::fs::read_to_string(directory.path().join("init.sql")).unwrap();
    assert!(
        sql.lines().all(|line| line.ends_with(';')),
        "one statement per line: {sql}"
    );
    assert!(!sql.contains("${"), "{sql}");
    sql
}

#[test]
fn mysql_starts_with_every_password_that_somebody_may_use() {
    let changes = |variables: &[(&str, &str)], user: &str| -> Vec<String> {
        let about = format!("ALTER USER '{user}'@");
        let sql = init_sql(variables);
        let lines = sql.lines().filter(|line| line.starts_with(&about));
        lines
            .map(|line| line.rsplit_once(" BY ").unwrap().1.to_owned())
            .collect()
    };
    let now = |password: &str, beside: &str| {
        [
            format!("'{beside}';"),
            format!("'{password}' RETAIN CURRENT PASSWORD;"),
        ]
    };
    assert_eq!(changes(&[], "root"), ["'r00t';"]);
    for (user, password) in [("payment", "pay"), ("seata", "tc"), ("orders", "shop")] {
        assert_eq!(changes(&[], user), now(password, password));
    }
    for prefix in ["NEXT", "PREVIOUS"] {
        let variable = format!("{prefix}_COORDINATOR_PASSWORD");
        let variables = [(variable.as_str(), "other")];
        assert_eq!(changes(&variables, "seata"), now("tc", "other"));
        assert_eq!(changes(&variables, "payment"), now("pay", "pay"));
    }
}
