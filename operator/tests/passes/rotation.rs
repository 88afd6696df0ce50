//! A rotation of the credentials, step by step.

use std::collections::BTreeMap;

use k8s_openapi::api::{core::v1::Secret, events::v1::Event};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use payment_operator::{build::labels, kinds::Kind, rotation::CONDITION};
use serde_json::{Value, json};

use super::{
    cluster::{Cluster, NAMESPACE},
    demo,
};

const SECRETS: [&str; 3] = ["demo-coordinator", "demo-mysql", "demo-redis"];
const STORES: [&str; 2] = ["demo-mysql", "demo-redis"];
const SERVICES: [&str; 4] = [
    "demo-payment",
    "demo-callback",
    "demo-worker",
    "demo-reconciliation",
];

type Data = BTreeMap<String, String>;

async fn data(cluster: &Cluster, name: &str) -> Data {
    let api = Api::<Secret>::namespaced(cluster.client.clone(), NAMESPACE);
    let data = api.get(name).await.unwrap().data.unwrap();
    data.into_iter()
        .map(|(key, value)| (key, String::from_utf8(value.0).unwrap()))
        .collect()
}

async fn secrets(cluster: &Cluster) -> BTreeMap<&'static str, Data> {
    let mut all = BTreeMap::new();
    for name in SECRETS {
        all.insert(name, data(cluster, name).await);
    }
    all
}

async fn generation(cluster: &Cluster, kind: Kind, name: &str) -> i64 {
    let live = cluster.get(kind, name).await.unwrap();
    live["metadata"]["generation"].as_i64().unwrap()
}

/// The rotation's Jobs, when there are as many.
async fn jobs(cluster: &Cluster, phase: &str, count: usize) -> Vec<String> {
    let find = async |cluster: &Cluster| {
        let mut found = Vec::new();
        for name in cluster.names(Kind::Job).await {
            let Some(job) = cluster.get(Kind::Job, &name).await else {
                continue;
            };
            let arguments = &job["spec"]["template"]["spec"]["containers"][0]["args"];
            if arguments[0] == "rotate" && arguments[3] == phase {
                found.push(name);
            }
        }
        found
    };
    let what = format!("{count} Jobs of the phase {phase}");
    cluster
        .until(&what, async |cluster: &Cluster| {
            find(cluster).await.len() == count
        })
        .await;
    find(cluster).await
}

async fn rotating(cluster: &Cluster, reason: &str) -> String {
    let what = format!("{CONDITION} for {reason}");
    cluster
        .until(&what, async |cluster: &Cluster| {
            let condition = cluster.find_condition("demo", CONDITION).await;
            condition.is_some_and(|(_, text)| text.starts_with(&format!("{reason}: ")))
        })
        .await;
    cluster.find_condition("demo", CONDITION).await.unwrap().1
}

/// A pod of the payment service as it was made before the rotation.
async fn former_pod(cluster: &Cluster, credentials: &Value) {
    let pod = json!({
        "metadata": {
            "name": "demo-payment-former",
            "labels": labels::all("demo", "payment"),
            "annotations": {labels::CREDENTIALS_HASH: credentials},
        },
        "spec": {"containers": [{"name": "c", "image": "i:1"}]},
    });
    let pod = serde_json::from_value(pod).unwrap();
    let pods = cluster.api(Kind::Pod);
    pods.create(&PostParams::default(), &pod).await.unwrap();
    let running = Patch::Merge(json!({"status": {"phase": "Running"}}));
    pods.patch_status("demo-payment-former", &PatchParams::default(), &running)
        .await
        .unwrap();
}

#[tokio::test]
async fn passwords_are_replaced_in_two_phases_and_no_store_restarts() {
    let cluster = Cluster::start().await;
    let operator = cluster.operate();
    cluster.apply(&demo(&json!({}))).await.unwrap();
    cluster.bring_up("demo").await;
    cluster.settled().await;
    let before = secrets(&cluster).await;
    let payment = cluster.get(Kind::Deployment, "demo-payment").await.unwrap();
    let annotations = &payment["spec"]["template"]["metadata"]["annotations"];
    former_pod(&cluster, &annotations[labels::CREDENTIALS_HASH]).await;
    let mut stores = Vec::new();
    for store in STORES {
        stores.push(generation(&cluster, Kind::StatefulSet, store).await);
    }

    let asked = demo(&json!({"credentials": {"rotation": "first"}}));
    cluster.apply(&asked).await.unwrap();
    let accepting = jobs(&cluster, "accept", STORES.len()).await;
    let message = rotating(&cluster, "AcceptingNext").await;
    assert!(
        message.contains("rotation first: waiting for Job demo-rotate-"),
        "{message}"
    );
    let announced = secrets(&cluster).await;
    for (name, keys) in [
        ("demo-mysql", &["password", "coordinator-password"][..]),
        ("demo-redis", &["password"]),
    ] {
        for key in keys {
            let data = &announced[name];
            assert_eq!(data[*key], before[name][*key]);
            assert_ne!(data[&format!("next-{key}")], before[name][*key]);
        }
    }
    assert_eq!(announced["demo-coordinator"], before["demo-coordinator"]);
    // Another operator goes on with the same values and the same Jobs.
    drop(operator);
    let _operator = cluster.operate();
    cluster.settled().await;
    assert_eq!(secrets(&cluster).await, announced);
    // One store is not enough.
    cluster.make_ready(Kind::Job, &accepting[0]).await;
    cluster.settled().await;
    assert_eq!(secrets(&cluster).await, announced);
    cluster.make_ready(Kind::Job, &accepting[1]).await;

    let message = rotating(&cluster, "RollingServices").await;
    assert!(message.contains("the former ones stay valid"), "{message}");
    let swapped = secrets(&cluster).await;
    for name in STORES {
        let data = &swapped[name];
        assert_eq!(data["password"], announced[name]["next-password"]);
        assert_eq!(data["previous-password"], before[name]["password"]);
        assert!(!data.contains_key("next-password"));
    }
    let console = |all: &BTreeMap<&str, Data>| all["demo-coordinator"]["console-password"].clone();
    assert_ne!(console(&swapped), console(&before));
    rest_of_the_rotation(&cluster, &swapped).await;
    for (store, before) in STORES.iter().zip(stores) {
        let now = generation(&cluster, Kind::StatefulSet, store).await;
        assert_eq!(now, before, "{store}");
    }
    nothing_is_left(&cluster, &before).await;
}

async fn rest_of_the_rotation(cluster: &Cluster, swapped: &BTreeMap<&str, Data>) {
    cluster.roll(Kind::StatefulSet, "demo-coordinator").await;
    for service in SERVICES {
        assert_eq!(secrets(cluster).await, *swapped);
        cluster.roll(Kind::Deployment, service).await;
    }
    // All say that they have rolled; a former pod has not ended.
    cluster
        .until(
            "the former pod to be waited for",
            async |cluster: &Cluster| {
                let condition = cluster.find_condition("demo", CONDITION).await;
                condition
                    .is_some_and(|(_, text)| text.contains("the end of pod demo-payment-former"))
            },
        )
        .await;
    assert_eq!(secrets(cluster).await, *swapped);
    let now = DeleteParams::default().grace_period(0);
    let pods = cluster.api(Kind::Pod);
    pods.delete("demo-payment-former", &now).await.unwrap();

    let discarding = jobs(cluster, "discard", STORES.len()).await;
    rotating(cluster, "DiscardingFormer").await;
    let retired = secrets(cluster).await;
    for name in STORES {
        let data = &retired[name];
        assert_eq!(data["password"], swapped[name]["password"]);
        assert_eq!(data["retired-password"], swapped[name]["previous-password"]);
        assert!(!data.contains_key("previous-password"));
    }
    for job in discarding {
        cluster.make_ready(Kind::Job, &job).await;
    }
    cluster
        .until("the end", async |cluster: &Cluster| {
            let status = cluster.systems().get("demo").await.unwrap().status.unwrap();
            let rotation = status.credentials.map(|credentials| credentials.rotation);
            rotation.as_deref() == Some("first")
                && status.conditions.iter().all(|it| it.type_ != CONDITION)
        })
        .await;
}

async fn nothing_is_left(cluster: &Cluster, before: &BTreeMap<&'static str, Data>) {
    let after = secrets(cluster).await;
    for name in SECRETS {
        let keys = |data: &Data| data.keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&after[name]), keys(&before[name]), "{name}");
    }
    for (name, key) in [
        ("demo-mysql", "root-password"),
        ("demo-coordinator", "console-user"),
    ] {
        assert_eq!(after[name][key], before[name][key]);
    }
    let rest = cluster.settled().await;
    assert_eq!(
        cluster.names(Kind::Job).await.len(),
        1,
        "the migration alone"
    );
    let patch = Patch::Merge(json!({"metadata": {"annotations": {"pass": "1"}}}));
    cluster
        .systems()
        .patch("demo", &PatchParams::default(), &patch)
        .await
        .unwrap();
    assert_eq!(
        cluster.settled().await,
        rest,
        "{:?}",
        &cluster.operator_writes()[rest..]
    );
    let events = Api::<Event>::namespaced(cluster.client.clone(), NAMESPACE);
    let events = events.list(&ListParams::default()).await.unwrap();
    let reasons: Vec<String> = events
        .into_iter()
        .filter_map(|event| event.reason)
        .collect();
    assert!(
        reasons.contains(&"CredentialsRotated".to_owned()),
        "{reasons:?}"
    );
}
