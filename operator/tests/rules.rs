//! The rules of the definition, checked by a real API server: each has a resource that breaks it
//! and one that differs from that in a single field, which is accepted.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests"
)]

#[path = "rules/case.rs"]
mod case;
#[path = "rules/channels.rs"]
mod channels;
mod cluster;
#[path = "rules/reconciliation.rs"]
mod reconciliation;
#[path = "rules/services.rs"]
mod services;
#[path = "rules/shared.rs"]
mod shared;
#[path = "rules/stores.rs"]
mod stores;
#[path = "rules/whole.rs"]
mod whole;

use case::{Case, merge};
use cluster::{Cluster, NAMESPACE};
use kube::api::{Patch, PatchParams, PostParams};
use payment_operator::kinds::Kind;
use serde_json::{Value, json};

fn system(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "paymentsystem.dev/v1alpha1",
        "kind": "PaymentSystem",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    })
}

/// A specification with the simulator and some more.
fn with(more: Value) -> Value {
    let mut spec = json!({"channels": {"simulator": true}});
    merge(&mut spec, more);
    spec
}

/// The messages of the definition's rules, each once.
fn messages() -> Vec<String> {
    fn collect(schema: &Value, found: &mut Vec<String>) {
        match schema {
            Value::Object(fields) => {
                let rules = fields.get("x-kubernetes-validations");
                let rules = rules.and_then(Value::as_array).into_iter().flatten();
                found.extend(rules.map(|rule| rule["message"].as_str().unwrap().to_owned()));
                fields.values().for_each(|value| collect(value, found));
            }
            Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    collect(&serde_json::to_value(crds::crd()).unwrap(), &mut found);
    found.sort();
    found.dedup();
    found
}

fn cases() -> Vec<Case> {
    [
        whole::cases(),
        stores::cases(),
        services::cases(),
        reconciliation::cases(),
        channels::cases(),
        shared::cases(),
    ]
    .concat()
}

#[tokio::test]
async fn each_rule_refuses_what_breaks_it_and_nothing_else() {
    let messages = messages();
    let cases = cases();
    let mut untested: Vec<&String> = messages.iter().collect();
    let cluster = Cluster::start().await;
    let mut wrong = Vec::new();
    for case in &cases {
        let matching: Vec<&String> = messages.iter().filter(|m| m.contains(case.words)).collect();
        let [message] = matching[..] else {
            panic!(
                "{} is in {} messages: {matching:?}",
                case.words,
                matching.len()
            );
        };
        untested.retain(|m| *m != message);
        wrong.extend(case.check(&cluster, message).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(untested.is_empty(), "rules without a case: {untested:#?}");
    assert!(messages.len() > 60, "only {} rules", messages.len());
    println!("{} rules, {} cases", messages.len(), cases.len());
}

#[tokio::test]
async fn a_system_that_is_accepted_says_what_it_is_made_of() {
    let cluster = Cluster::start().await;
    defaults_are_visible(&cluster).await;
    reconciliation::what_can_be_read_is_accepted(&cluster).await;
    the_examples_are_accepted(&cluster).await;
}

async fn defaults_are_visible(cluster: &Cluster) {
    let spec = with(json!({"mysql": {"storage": {"storageClassName": "standard"}}}));
    let object = cluster.apply(&system("defaults", &spec)).await.unwrap();
    assert_eq!(object.status.unwrap().observed_generation, -1);
    let mut expected = crds::PaymentSystemSpec::default();
    expected.channels.simulator = true;
    "standard".clone_into(&mut expected.mysql.storage.storage_class_name);
    assert_eq!(object.spec, expected);
}

async fn the_examples_are_accepted(cluster: &Cluster) {
    for example in ["demo", "production"] {
        let path = format!("{}/../examples/{example}.yaml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        for document in text.split("\n---\n") {
            let object: Value = serde_saphyr::from_str(document).unwrap();
            if object["kind"] == "PaymentSystem" {
                cluster.apply(&object).await.unwrap();
            }
        }
    }
}

/// Every pod passes the `restricted` Pod Security standard: the API server would refuse it
/// otherwise.
#[tokio::test]
async fn every_pod_passes_the_restricted_standard() {
    let cluster = Cluster::start().await;
    let label =
        json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    let namespaces =
        kube::Api::<k8s_openapi::api::core::v1::Namespace>::all(cluster.client.clone());
    namespaces
        .patch(NAMESPACE, &PatchParams::default(), &Patch::Merge(&label))
        .await
        .unwrap();
    let _operator = cluster.operate();
    cluster
        .apply(&system("demo", &with(json!({}))))
        .await
        .unwrap();
    cluster.bring_up("demo").await;
    cluster.exists(Kind::CronJob, "demo-reconciliation").await;
    let mut pods = 0;
    for kind in [
        Kind::StatefulSet,
        Kind::Deployment,
        Kind::Job,
        Kind::CronJob,
    ] {
        for name in cluster.names(kind).await {
            let live = cluster.get(kind, &name).await.unwrap();
            let spec = if kind == Kind::CronJob {
                &live["spec"]["jobTemplate"]["spec"]
            } else {
                &live["spec"]
            };
            let mut pod = spec["template"]["spec"].clone();
            if let Some(volumes) = pod["volumes"].as_array_mut() {
                volumes.push(json!({"name": "data", "emptyDir": {}}));
            }
            let pod = json!({"metadata": {"name": format!("{name}-{pods}")}, "spec": pod});
            let pod = serde_json::from_value(pod).unwrap();
            cluster
                .api(Kind::Pod)
                .create(&PostParams::default(), &pod)
                .await
                .unwrap();
            pods += 1;
        }
    }
    assert_eq!(pods, 10);
}
