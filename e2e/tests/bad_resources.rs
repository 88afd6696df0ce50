//! A resource that cannot work is refused by the API server itself, with a message that says what
//! to do. Nothing is stored: every request is a dry run.

use anyhow::{Result, ensure};
use e2e::small_system::merge;
use e2e::{Scene, scene};
use serde_json::{Value, json};

fn system(name: &str, change: &Value) -> Value {
    let mut spec = json!({"channels": {"simulator": true}});
    merge(&mut spec, change);
    json!({
        "apiVersion": "paymentsystem.dev/v1alpha1",
        "kind": "PaymentSystem",
        "metadata": {"name": name, "namespace": scene::NAMESPACE},
        "spec": spec,
    })
}

/// What is wrong with a new resource, and a part of what the API server must say about it.
fn new_ones() -> Vec<(Value, &'static str)> {
    let mut all = stores();
    all.extend(services());
    all.extend(channels());
    all.extend(operations());
    all
}

fn stores() -> Vec<(Value, &'static str)> {
    let external = json!({"host": "db.example.com", "secretName": "db"});
    vec![
        (
            json!({"mysql": {"maxConnections": 60}}),
            "mysql.maxConnections is too small for the replicas",
        ),
        (
            json!({"mysql": {"innodbBufferPoolSize": "2Gi", "resources": {"limits": {"memory": "1Gi"}}}}),
            "raise the limit or shrink the pool",
        ),
        (
            json!({"mysql": {"innodbBufferPoolSize": "1Mi"}}),
            "must be a quantity of at least 8Mi",
        ),
        (
            json!({"mysql": {"innodbFlushLogAtTrxCommit": 3}}),
            "less than or equal to 2",
        ),
        (
            json!({"mysql": {"image": "mysql"}}),
            "an image needs a tag or a digest",
        ),
        (
            json!({"mysql": {"image": "mysql:latest"}}),
            "name a version",
        ),
        (
            json!({"mysql": {"storage": {"size": "0Gi"}}}),
            "must be a positive quantity",
        ),
        (
            json!({"mysql": {"retention": "Delete", "external": external}}),
            "mysql.retention: Delete has no effect on an external database",
        ),
        (
            json!({"mysql": {"external": {"host": "mysql://db", "secretName": "db"}}}),
            "remove the scheme",
        ),
        (
            json!({"mysql": {"external": {"host": "db:3306", "secretName": "db"}}}),
            "must not carry a port",
        ),
        (
            json!({"redis": {"retention": "Delete", "external": {"host": "cache"}}}),
            "redis.retention: Delete has no effect on an external cache",
        ),
        (
            json!({"redis": {"maxmemoryPolicy": "random"}}),
            "Unsupported value",
        ),
        (
            json!({"transactionCoordinator": {"jvmOptions": ["Xss1m"]}}),
            "must start with '-'",
        ),
        (
            json!({"transactionCoordinator": {"jvmOptions": ["-Xmx1g"]}}),
            "set the heap by transactionCoordinator.heap",
        ),
        (
            json!({"transactionCoordinator": {"image": "apache/seata-server:2.0.0"}}),
            "use 1.8.0, or 2.1 or later",
        ),
        (
            json!({"orders": {"external": {"url": "http://orders.example.com"}}}),
            "orders.external.url must start with https://, or name a Service of this cluster",
        ),
        (
            json!({"orders": {"external": {"url": "https://user@orders.example.com"}}}),
            "orders.external.url is an address",
        ),
    ]
}

fn services() -> Vec<(Value, &'static str)> {
    vec![
        (
            json!({"payment": {"expiresInSeconds": 60}}),
            "must not be smaller than payment.idempotencyWindowSeconds",
        ),
        (
            json!({"payment": {"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "500m"}}}}),
            "limits.cpu must not be smaller than requests.cpu",
        ),
        (
            json!({"callback": {"resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}}}),
            "limits.memory must not be smaller than requests.memory",
        ),
        (
            json!({"payment": {"autoscaling": {"minReplicas": 5, "maxReplicas": 4}}}),
            "autoscaling.minReplicas must not be larger",
        ),
        (
            json!({"payment": {"replicas": 0}}),
            "greater than or equal to 1",
        ),
    ]
}

fn channels() -> Vec<(Value, &'static str)> {
    vec![
        (
            json!({"channels": {"simulator": false}}),
            "switch on a channel",
        ),
        (
            json!({"channels": {"simulator": false, "wechat": {"enabled": true}}}),
            "set channels.callbackBaseUrl or expose",
        ),
        (
            json!({"channels": {"simulator": false, "wechat": {"enabled": true},
                "callbackBaseUrl": "http://pay.example.com"}}),
            "must start with https://",
        ),
        (
            json!({"channels": {"secretName": "mine"}}),
            "remove channels.secretName",
        ),
        (
            json!({"channels": {"wechat": {"baseUrl": "https://example.com"}}}),
            "remove channels.wechat.baseUrl",
        ),
        (
            json!({"channels": {"alipay": {"gatewayUrl": "https://example.com/gateway.do"}}}),
            "remove channels.alipay.gatewayUrl",
        ),
    ]
}

fn operations() -> Vec<(Value, &'static str)> {
    let ingress = json!({"host": "pay.example.com", "tlsSecretName": "pay"});
    let gateway = json!({"parentRefs": [{"name": "public"}], "hostnames": ["pay.example.com"]});
    vec![
        (json!({"expose": {}}), "expose needs gateway or ingress"),
        (
            json!({"expose": {"gateway": gateway, "ingress": ingress}}),
            "expose either by gateway or by ingress",
        ),
        (
            json!({"monitoring": {"labels": {"app.kubernetes.io/name": "mine"}}}),
            "the operator owns those",
        ),
        (
            json!({"monitoring": {"labels": {"team": "x".repeat(64)}}}),
            "a value must have at most 63 characters",
        ),
        (
            json!({"reconciliation": {"schedule": "0 2 * *"}}),
            "a schedule needs five fields",
        ),
        (
            json!({"reconciliation": {"schedule": "0 2 * * $"}}),
            "a schedule may have digits",
        ),
        (
            json!({"reconciliation": {"schedule": "0 2 * * *", "dailyRun": {"enabled": true, "schedule": "0 2 * * *"}}}),
            "the runs would start together",
        ),
        (json!({"paymnet": {}}), "field not declared in schema"),
    ]
}

/// What must not be done to a living system.
fn changes() -> Vec<(Value, &'static str)> {
    vec![
        (
            json!({"mysql": {"storage": {"storageClassName": "other"}}}),
            "storageClassName cannot be changed",
        ),
        (
            json!({"mysql": {"storage": {"size": "1Mi"}}}),
            "storage.size may only grow",
        ),
        (
            json!({"mysql": {"external": {"host": "db.example.com", "secretName": "db"}}}),
            "mysql.external cannot be added or removed on a living system",
        ),
        (
            json!({"transactionCoordinator": {"transactionGroup": "other"}}),
            "transactionCoordinator.transactionGroup cannot be changed",
        ),
        (
            json!({"transactionCoordinator": {"external": {"host": "tc.example.com"}}}),
            "transactionCoordinator.external cannot be added or removed",
        ),
        (
            json!({"orders": {"external": {"url": "https://orders.example.com"}}}),
            "orders.external cannot be added or removed on a living system",
        ),
    ]
}

#[tokio::test]
async fn bad_resources_are_refused_with_advice() -> Result<()> {
    let scene = Scene::open().await?;
    let good = system("good", &json!({}));
    scene.cluster.apply_dry(&good).await?;
    let new = new_ones()
        .into_iter()
        .map(|(change, advice)| (system("bad", &change), advice));
    let names = [
        (
            system("a-name-that-is-longer-than-thirty", &json!({})),
            "at most 30 characters",
        ),
        (
            system("1st", &json!({})),
            "metadata.name must start with a letter",
        ),
    ];
    let outcome = all_refused(&scene, new.chain(names).collect()).await;
    scene.close(outcome).await
}

#[tokio::test]
async fn bad_changes_of_a_living_system_are_refused_with_advice() -> Result<()> {
    let scene = Scene::open().await?;
    let changed = changes().into_iter().map(|(change, advice)| {
        let object = json!({
            "apiVersion": "paymentsystem.dev/v1alpha1",
            "kind": "PaymentSystem",
            "metadata": {"name": scene::NAME, "namespace": scene::NAMESPACE},
            "spec": change,
        });
        (object, advice)
    });
    let outcome = all_refused(&scene, changed.collect()).await;
    scene.close(outcome).await
}

/// Names every wrong answer, not only the first.
async fn all_refused(scene: &Scene, cases: Vec<(Value, &'static str)>) -> Result<()> {
    let mut wrong = Vec::new();
    let number = cases.len();
    for (object, advice) in cases {
        let spec = &object["spec"];
        match scene.cluster.apply_dry(&object).await {
            Ok(_) => wrong.push(format!("accepted: {spec}")),
            Err(error) => {
                let message = format!("{error:#}");
                if !message.contains(advice) {
                    wrong.push(format!(
                        "{spec}\n      should say: {advice}\n      says: {message}"
                    ));
                }
            }
        }
    }
    ensure!(
        wrong.is_empty(),
        "{} of {number} cases are wrong:\n  {}",
        wrong.len(),
        wrong.join("\n  ")
    );
    println!("{number} bad resources were refused with advice");
    Ok(())
}
