//! `plan` says what the operator then does, and writes nothing itself.

use std::{collections::BTreeSet, fs};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Namespace};
use kube::{
    Api, ResourceExt,
    api::{ListParams, PostParams},
};
use payment_operator::kinds::{KINDS, Kind};
use serde_json::{Value, json};

use crate::{Plugin, Ran, cluster::Cluster, demo};

const IMAGES: [&str; 6] = [
    "--runtime-image",
    "registry.example/payment-runtime:1.0",
    "--simulator-image",
    "registry.example/channel-simulator:1.0",
    "--field-manager",
    "test",
];

/// Where the operator says that it runs.
const OPERATORS: &str = "payment-system";

async fn plan(cluster: &Cluster, plugin: &Plugin, edited: &Value, more: &[&str]) -> Ran {
    let file = cluster.directory.path().join("edited.json");
    fs::write(&file, edited.to_string()).unwrap();
    let mut arguments = vec!["plan", "-f", file.to_str().unwrap()];
    arguments.extend(IMAGES);
    arguments.extend(more);
    plugin.run(&arguments).await
}

/// Version of every object.
async fn versions(cluster: &Cluster) -> BTreeSet<String> {
    let mut versions = BTreeSet::new();
    for entry in KINDS.iter().filter(|entry| !entry.optional) {
        let list = cluster.api(entry.kind).list(&ListParams::default()).await;
        for object in list.unwrap().items {
            let version = object.resource_version().unwrap();
            versions.insert(format!("{} {} {version}", entry.name, object.name_any()));
        }
    }
    let systems = cluster
        .systems()
        .list(&ListParams::default())
        .await
        .unwrap();
    versions.extend(systems.iter().map(|system| {
        format!(
            "PaymentSystem {} {}",
            system.name_any(),
            system.resource_version().unwrap()
        )
    }));
    versions
}

/// `plural/name` of what a plan writes.
fn planned(plan: &Value) -> BTreeSet<String> {
    let steps = plan["plans"][0]["steps"].as_array().unwrap().iter();
    let writes = steps.flat_map(|step| step.as_array().unwrap());
    writes
        .map(|write| {
            let kind = Kind::of(write["kind"].as_str().unwrap()).unwrap();
            format!(
                "{}/{}",
                kind.entry().plural,
                write["name"].as_str().unwrap()
            )
        })
        .collect()
}

/// `plural/name` of what the operator wrote, beside status and events.
fn written(requests: &[String]) -> BTreeSet<String> {
    // The last one is what the operator notes for itself.
    let untold = ["/events", "paymentsystems", "configmaps/demo-accepted"];
    let paths = requests
        .iter()
        .filter(|request| !untold.iter().any(|untold| request.contains(untold)));
    paths
        .map(|request| {
            let path = request.split('?').next().unwrap().trim_matches('"');
            let mut parts: Vec<&str> = path.split('/').rev().take(2).collect();
            parts.reverse();
            parts.join("/")
        })
        .collect()
}

#[tokio::test]
async fn the_operator_does_what_was_planned_and_planning_writes_nothing() {
    let cluster = Cluster::start().await;
    let plugin = Plugin::new(&cluster);
    let operator = cluster.operate();
    cluster.apply(&demo(&json!({}))).await.unwrap();
    cluster.bring_up("demo").await;
    cluster.exists(Kind::CronJob, "demo-reconciliation").await;
    let same = demo(&json!({}));
    cluster
        .until("rest", async |cluster: &Cluster| {
            let ran = plan(cluster, &plugin, &same, &["-o", "json"]).await;
            planned(&ran.json()).is_empty()
        })
        .await;
    drop(operator);
    images(&cluster, &plugin).await;
    let before = versions(&cluster).await;

    let ran = plan(&cluster, &plugin, &same, &[]).await;
    ran.expect(0, &["nothing changes in the cluster"]);
    let edited = demo(&json!({
        "payment": {"expiresInSeconds": 900},
        "mysql": {"maxConnections": 300},
    }));
    let ran = plan(&cluster, &plugin, &edited, &[]).await;
    ran.expect(
        0,
        &[
            "payment/expiresInSeconds: 7200 → 900",
            "~ ConfigMap demo-runtime",
            "Deployment demo-payment: 3 pods, none is missing",
            "StatefulSet demo-mysql: 1 pod, an outage of unknown length",
        ],
    );
    let plan_json = plan(&cluster, &plugin, &edited, &["-o", "json"])
        .await
        .json();
    refused(&cluster, &plugin).await;
    let mut new = demo(&json!({}));
    new["metadata"]["name"] = json!("other");
    let ran = plan(&cluster, &plugin, &new, &[]).await;
    ran.expect(
        0,
        &["payment/other: a new system", "+ StatefulSet other-mysql"],
    );
    assert_eq!(versions(&cluster).await, before);

    let _operator = cluster.operate();
    let writes = cluster.operator_writes().len();
    cluster.apply(&edited).await.unwrap();
    let expected = planned(&plan_json);
    assert!(expected.contains("configmaps/demo-runtime"), "{expected:?}");
    rolled(&cluster, writes, &expected).await;
    // A later pass has reported, and written nothing else.
    assert_eq!(written(&cluster.operator_writes()[writes..]), expected);
    new_image(&cluster, &plugin).await;
}

/// An edit that takes several passes, with a migration between them.
async fn new_image(cluster: &Cluster, plugin: &Plugin) {
    let edited = demo(&json!({
        "payment": {"expiresInSeconds": 900, "image": "registry.example/payment-runtime:2.0"},
        "mysql": {"maxConnections": 300},
    }));
    let ran = plan(cluster, plugin, &edited, &["-o", "json"]).await;
    let plan = ran.json();
    let migration = &plan["plans"][0]["steps"][0][0];
    assert_eq!(
        (&migration["action"], &migration["kind"]),
        (&json!("create"), &json!("Job"))
    );
    let expected = planned(&plan);
    let writes = cluster.operator_writes().len();
    cluster.apply(&edited).await.unwrap();
    let job = migration["name"].as_str().unwrap();
    cluster.make_ready(Kind::Job, job).await;
    rolled(cluster, writes, &expected).await;
    assert_eq!(written(&cluster.operator_writes()[writes..]), expected);
}

/// Waits until everything planned is written and the system is ready under it.
async fn rolled(cluster: &Cluster, writes: usize, expected: &BTreeSet<String>) {
    cluster
        .until("what was planned", async |cluster: &Cluster| {
            roll(cluster).await;
            let ready = cluster.find_condition("demo", "Ready").await;
            written(&cluster.operator_writes()[writes..]).is_superset(expected)
                && ready.is_some_and(|(status, _)| status == "True")
        })
        .await;
}

/// Plays the controllers: workloads that were changed have new pods.
async fn roll(cluster: &Cluster) {
    for kind in [Kind::StatefulSet, Kind::Deployment] {
        for name in cluster.names(kind).await {
            let live = cluster.get(kind, &name).await.unwrap();
            let seen = &live["status"]["observedGeneration"];
            if !seen.is_null() && *seen != live["metadata"]["generation"] {
                cluster.make_ready(kind, &name).await;
            }
        }
    }
}

/// Without the options the images are those of the operator's Deployment.
async fn images(cluster: &Cluster, plugin: &Plugin) {
    let file = cluster.directory.path().join("edited.json");
    let file = file.to_str().unwrap();
    let ran = plugin.run(&["plan", "-f", file]).await;
    ran.expect(
        2,
        &[
            "cannot read Deployment payment-operator",
            "--operator-namespace",
        ],
    );
    let labels = json!({"app.kubernetes.io/name": "payment-operator"});
    let operator = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "payment-operator", "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "operator", "image": "operator:1", "env": [
                    {"name": "RUNTIME_IMAGE", "value": IMAGES[1]},
                    {"name": "SIMULATOR_IMAGE", "value": IMAGES[3]},
                ]}]},
            },
        },
    });
    let operator = serde_json::from_value(operator).unwrap();
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(OPERATORS.to_owned());
    let namespaces = Api::<Namespace>::all(cluster.client.clone());
    let made = namespaces.create(&PostParams::default(), &namespace).await;
    made.map(drop).unwrap();
    let api: Api<Deployment> = Api::namespaced(cluster.client.clone(), OPERATORS);
    api.create(&PostParams::default(), &operator).await.unwrap();
    let asked = [
        "plan",
        "-f",
        file,
        "--operator-namespace",
        OPERATORS,
        "--field-manager",
        "test",
    ];
    plugin
        .run(&asked)
        .await
        .expect(0, &["nothing changes in the cluster"]);
}

async fn refused(cluster: &Cluster, plugin: &Plugin) {
    let storage = demo(&json!({"mysql": {"storage": {"storageClassName": "other"}}}));
    let unknown = demo(&json!({"mysql": {"sizze": 3}}));
    let rule = demo(&json!({"channels": {"simulator": false}}));
    for edited in [storage, unknown, rule] {
        let ran = plan(cluster, plugin, &edited, &[]).await;
        ran.expect(1, &["payment/demo: the edit is refused"]);
    }
    let nothing = json!({"kind": "Namespace"});
    let ran = plan(cluster, plugin, &nothing, &[]).await;
    ran.expect(2, &["the file has no PaymentSystem"]);
    let file = cluster.directory.path().join("edited.json");
    let ran = plugin.run(&["plan", "-f", file.to_str().unwrap()]).await;
    ran.expect(2, &["the file has no PaymentSystem"]);
}

/// What `kubectl apply` would take out is taken out, and what another command set stays.
#[tokio::test]
async fn an_object_that_kubectl_applied_is_merged_as_kubectl_does() {
    let cluster = Cluster::start().await;
    let plugin = Plugin::new(&cluster);
    let mut applied = demo(&json!({"payment": {"expiresInSeconds": 900}}));
    let last = applied.to_string();
    applied["metadata"]["annotations"] =
        json!({"kubectl.kubernetes.io/last-applied-configuration": last});
    cluster.apply(&applied).await.unwrap();
    plugin
        .run(&["pause", "--timeout", "0"])
        .await
        .expect(1, &["has not seen it yet"]);
    let edited = demo(&json!({"mysql": {"maxConnections": 300}}));
    let ran = plan(&cluster, &plugin, &edited, &["-o", "json"]).await;
    let plan = ran.json()["plans"][0].clone();
    assert_eq!(
        plan["edit"],
        json!([
            {"path": "/mysql/maxConnections", "old": 500, "new": 300},
            {"path": "/payment/expiresInSeconds", "old": 900, "new": 7200},
        ])
    );
    assert_eq!(
        (&plan["paused"], &plan["steps"]),
        (&json!(true), &json!([]))
    );
}
