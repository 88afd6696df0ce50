//! The rules of the definition, checked by a real API server: each bad resource is refused with
//! the words that say what to do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests"
)]

mod cluster;
#[path = "rules/reconciliation.rs"]
mod reconciliation;

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
    if let (Value::Object(spec), Value::Object(more)) = (&mut spec, more) {
        spec.extend(more);
    }
    spec
}

/// Specifications that must be refused, and words of the refusal.
fn bad_resources() -> Vec<(Value, &'static str)> {
    let external = json!({"host": "db", "secretName": "s"});
    vec![
        (json!({}), "switch on a channel"),
        (
            json!({"channels": {"wechat": {"enabled": true}}}),
            "where to call back",
        ),
        (
            json!({"channels": {"simulator": true, "secretName": "mine"}}),
            "remove channels.secretName",
        ),
        (
            json!({"channels": {"simulator": true, "wechat": {"baseUrl": "https://x.example"}}}),
            "remove channels.wechat.baseUrl",
        ),
        (
            json!({"channels": {"simulator": true, "alipay": {"gatewayUrl": "https://x.example/g"}}}),
            "remove channels.alipay.gatewayUrl",
        ),
        (
            json!({"channels": {"wechat": {"enabled": true}, "callbackBaseUrl": "http://pay.example.com"}}),
            "must start with https://",
        ),
        (
            json!({"channels": {"wechat": {"enabled": true}, "callbackBaseUrl": "https://pay.example.com/"}}),
            "callbackBaseUrl",
        ),
        (
            with(json!({"payment": {"autoscaling": {"minReplicas": 11}}})),
            "must not be larger than autoscaling.maxReplicas",
        ),
        (
            with(json!({"payment": {"replicas": 0}})),
            "greater than or equal to 1",
        ),
        (
            with(json!({"payment": {"resources": {"requests": {"cpu": "1"}}}})),
            "payment.autoscaling needs",
        ),
        (
            with(json!({"callback": {"resources": {}}})),
            "callback.autoscaling needs",
        ),
        (
            with(json!({"payment": {"expiresInSeconds": 100}})),
            "must not be smaller than payment.idempotencyWindowSeconds",
        ),
        (
            with(
                json!({"payment": {"resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "500m"}}}}),
            ),
            "limits.cpu must not be smaller",
        ),
        (
            with(
                json!({"payment": {"resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Mi"}}}}),
            ),
            "limits.memory must not be smaller",
        ),
        (
            with(json!({"payment": {"image": "runtime"}})),
            "needs a tag or a digest",
        ),
        (
            with(json!({"mysql": {"image": "mysql:latest"}})),
            "tagged latest",
        ),
        (
            with(json!({"mysql": {"storage": {"size": "20 GB"}}})),
            "storage.size",
        ),
        (
            with(json!({"mysql": {"storage": {"size": "0"}}})),
            "must be a positive quantity",
        ),
        (
            with(json!({"mysql": {"innodbBufferPoolSize": "1Mi"}})),
            "at least 8Mi",
        ),
        (
            with(json!({"mysql": {"innodbFlushLogAtTrxCommit": 3}})),
            "less than or equal to 2",
        ),
        (
            with(json!({"mysql": {"maxConnections": 100}})),
            "too small for the replicas",
        ),
        (
            with(
                json!({"mysql": {"resources": {"requests": {"memory": "512Mi"}, "limits": {"memory": "512Mi"}}}}),
            ),
            "must be smaller than mysql.resources.limits.memory",
        ),
        (
            with(json!({"mysql": {"external": external, "retention": "Delete"}})),
            "no effect on an external database",
        ),
        (
            with(json!({"mysql": {"external": {"host": "mysql://db", "secretName": "s"}}})),
            "remove the scheme",
        ),
        (
            with(json!({"mysql": {"external": {"host": "db:3306", "secretName": "s"}}})),
            "must not carry a port",
        ),
        (
            with(json!({"mysql": {"external": {"host": "db"}}})),
            "secretName",
        ),
        (
            with(json!({"redis": {"external": {"host": "cache"}, "retention": "Delete"}})),
            "no effect on an external cache",
        ),
        (
            with(json!({"redis": {"maxmemoryPolicy": "lru"}})),
            "supported values",
        ),
        (with(json!({"redis": {"maxmemory": "1Gi"}})), "maxmemory"),
        (
            with(json!({"transactionCoordinator": {"image": "apache/seata-server:2.0.0"}})),
            "wrong order",
        ),
        (
            with(json!({"transactionCoordinator": {"image": "mirror.example/seata:2.0-jdk17"}})),
            "wrong order",
        ),
        (
            with(json!({"transactionCoordinator": {"clientNamespaces": ["Order"]}})),
            "clientNamespaces",
        ),
        (
            with(json!({"transactionCoordinator": {"jvmOptions": ["verbose"]}})),
            "must start with '-'",
        ),
        (
            with(json!({"transactionCoordinator": {"jvmOptions": ["-Xmx1g"]}})),
            "transactionCoordinator.heap",
        ),
        (
            with(json!({"transactionCoordinator": {"storeMode": "raft"}})),
            "supported values",
        ),
        (
            with(json!({"orders": {"external": {"url": "orders.example.com"}}})),
            "orders.external.url is an address",
        ),
        (
            with(json!({"orders": {"external": {"url": "https://orders.example.com/"}}})),
            "a final slash",
        ),
        (
            with(json!({"orders": {"external": {"url": "http://orders.example.com"}}})),
            "name a Service of this cluster",
        ),
        (
            with(json!({"orders": {"stockBuckets": 65}})),
            "less than or equal to 64",
        ),
        (
            with(json!({"orders": {"replicas": 50}, "mysql": {"maxConnections": 500}})),
            "too small for the replicas",
        ),
        (
            with(json!({"reconciliation": {"schedule": "* * * *"}})),
            "needs five fields",
        ),
        (
            with(json!({"reconciliation": {"schedule": "@ * * * *"}})),
            "may have digits",
        ),
        (
            with(
                json!({"reconciliation": {"dailyRun": {"enabled": true, "schedule": "0/30 * * * *"}}}),
            ),
            "would start together",
        ),
        (with(json!({"expose": {}})), "needs gateway or ingress"),
        (
            with(json!({"expose": {
                "gateway": {"parentRefs": [{"name": "g"}], "hostnames": ["a.example.com"]},
                "ingress": {"host": "a.example.com", "tlsSecretName": "t"},
            }})),
            "remove one of them",
        ),
        (
            with(json!({"expose": {"ingress": {"host": "a.example.com"}}})),
            "tlsSecretName",
        ),
        (
            with(json!({"monitoring": {"labels": {"app.kubernetes.io/name": "x"}}})),
            "the operator owns those",
        ),
        (
            with(json!({"monitoring": {"labels": {"a": "x".repeat(64)}}})),
            "at most 63 characters",
        ),
        (with(json!({"typo": 1})), "typo"),
    ]
}

#[tokio::test]
async fn a_bad_resource_is_refused_in_words() {
    let cluster = Cluster::start().await;
    for (index, (spec, words)) in bad_resources()
        .into_iter()
        .chain(reconciliation::bad())
        .enumerate()
    {
        let result = cluster.apply(&system(&format!("bad-{index}"), &spec)).await;
        let error = result
            .expect_err(&format!("{spec} was accepted"))
            .to_string();
        assert!(
            error.to_lowercase().contains(&words.to_lowercase()),
            "{spec}: {words} not in {error}"
        );
    }
    for (name, words) in [
        ("a".repeat(31), "at most 30 characters"),
        ("1a".to_owned(), "start with a letter"),
    ] {
        let error = cluster
            .apply(&system(&name, &with(json!({}))))
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(words), "{error}");
    }
    changes_that_lose_data_are_refused(&cluster).await;
    defaults_are_visible(&cluster).await;
}

async fn changes_that_lose_data_are_refused(cluster: &Cluster) {
    cluster
        .apply(&system("living", &with(json!({"orders": {}}))))
        .await
        .unwrap();
    for (change, words) in [
        (
            json!({"mysql": {"storage": {"size": "10Gi"}}}),
            "may only grow",
        ),
        (
            json!({"mysql": {"storage": {"storageClassName": "slow"}}}),
            "stays in its class",
        ),
        (
            json!({"redis": {"storage": {"size": "1Gi"}}}),
            "may only grow",
        ),
        (
            json!({"mysql": {"external": {"host": "db", "secretName": "s"}}}),
            "would stay behind",
        ),
        (
            json!({"transactionCoordinator": {"transactionGroup": "other"}}),
            "open global transactions belong to it",
        ),
        (
            json!({"transactionCoordinator": {"external": {"host": "tc"}}}),
            "would be lost",
        ),
        (json!({"orders": null}), "would wait for ever"),
        (
            json!({"orders": {"external": {"url": "http://orders.shop.svc"}}}),
            "stay behind in the other service",
        ),
    ] {
        let mut spec = json!({"orders": {}});
        let sections = spec.as_object_mut().unwrap();
        sections.extend(change.as_object().unwrap().clone());
        sections.retain(|_, value| !value.is_null());
        let error = cluster.apply(&system("living", &with(spec))).await;
        let error = error
            .expect_err(&format!("{change} was accepted"))
            .to_string();
        assert!(error.contains(words), "{change}: {error}");
    }
    let grown = with(json!({"orders": {}, "mysql": {"storage": {"size": "30Gi"}}}));
    cluster.apply(&system("living", &grown)).await.unwrap();
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

#[tokio::test]
async fn the_examples_are_accepted() {
    let cluster = Cluster::start().await;
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
