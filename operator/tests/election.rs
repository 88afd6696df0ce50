//! Two operators on one real API server, as their installation makes them: processes with the
//! tokens of their pods. Only the holder of the lease writes, whatever happens to the other.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    reason = "helpers of tests"
)]

#[path = "election/proxy.rs"]
mod proxy;
mod support;

use payment_operator::kinds::Kind;
use proxy::Proxy;
use serde_json::json;
use support::{
    cluster::{Cluster, NAMESPACE, settled},
    process::{self as operator, Operator, holder, install, installation},
};

/// Long enough for a busy computer to renew it.
const LEASE_SECONDS: u32 = 10;

async fn wants(cluster: &Cluster, seconds: u32) {
    let object = json!({
        "apiVersion": "paymentsystem.dev/v1alpha1",
        "kind": "PaymentSystem",
        "metadata": {"name": "demo", "namespace": NAMESPACE},
        "spec": {"channels": {"simulator": true}, "payment": {"expiresInSeconds": seconds}},
    });
    cluster.apply(&object).await.unwrap();
}

async fn has(cluster: &Cluster, seconds: u32) -> bool {
    let config = cluster.get(Kind::ConfigMap, "demo-runtime").await;
    config.is_some_and(|config| {
        let text = config["data"]["config.yaml"].as_str().unwrap();
        text.contains(&format!("expiresInSeconds: {seconds}"))
    })
}

async fn until_has(cluster: &Cluster, seconds: u32) {
    cluster
        .until("the edit to be carried out", async |cluster: &Cluster| {
            has(cluster, seconds).await
        })
        .await;
}

/// Waits until a pod has nothing more to write: a request that is on its way when the pod falls
/// asleep reaches the API server in part, and says nothing about who may write.
async fn until_at_rest(cluster: &Cluster, pod: &str) {
    cluster
        .until("the pass to end", async |cluster: &Cluster| {
            let system = cluster.systems().get("demo").await.unwrap();
            system.status.is_some_and(|status| {
                Some(status.observed_generation) == system.metadata.generation
            })
        })
        .await;
    settled(|| operator::writes(cluster, pod).len()).await;
}

async fn until_leads(cluster: &Cluster, pod: &str) {
    cluster
        .until(&format!("{pod} to lead"), async |cluster: &Cluster| {
            holder(cluster).await.as_deref() == Some(pod)
        })
        .await;
}

#[tokio::test]
async fn a_leader_that_was_paused_beyond_its_lease_writes_nothing_and_ends() {
    let cluster = Cluster::start().await;
    install(&cluster, &installation()).await;
    let mut first = Operator::start(&cluster, "operator-a", cluster.port(), LEASE_SECONDS).await;
    until_leads(&cluster, "operator-a").await;
    let second = Operator::start(&cluster, "operator-b", cluster.port(), LEASE_SECONDS).await;
    second.until_ready(&cluster).await;
    wants(&cluster, 3601).await;
    until_has(&cluster, 3601).await;
    until_at_rest(&cluster, "operator-a").await;
    assert_eq!(
        operator::writes(&cluster, "operator-b"),
        Vec::<String>::new(),
        "a standby writes nothing"
    );

    first.signal("STOP");
    // What the sleeper will find when it wakes up: an edit it has not seen.
    wants(&cluster, 3602).await;
    until_leads(&cluster, "operator-b").await;
    until_has(&cluster, 3602).await;
    let before = operator::writes(&cluster, "operator-a");
    assert!(!before.is_empty());
    first.signal("CONT");
    let code = first.end(&cluster).await;
    assert_ne!(code, Some(0), "a lost lease is no orderly end");
    assert_eq!(operator::writes(&cluster, "operator-a"), before);
    wants(&cluster, 3603).await;
    until_has(&cluster, 3603).await;
    drop(second);
}

#[tokio::test]
async fn a_write_that_is_delivered_after_its_lease_is_refused_by_the_api_server() {
    let cluster = Cluster::start().await;
    install(&cluster, &installation()).await;
    let proxy = Proxy::start(cluster.port()).await;
    let first = Operator::start(&cluster, "operator-a", proxy.port, LEASE_SECONDS).await;
    until_leads(&cluster, "operator-a").await;
    wants(&cluster, 3601).await;
    until_has(&cluster, 3601).await;
    until_at_rest(&cluster, "operator-a").await;
    let _second = Operator::start(&cluster, "operator-b", cluster.port(), LEASE_SECONDS).await;

    // The leader still hears of the edit and answers it; its writes are held up on their way.
    let before = operator::refused(&cluster, "operator-a");
    proxy.freeze();
    wants(&cluster, 3602).await;
    until_leads(&cluster, "operator-b").await;
    until_has(&cluster, 3602).await;
    wants(&cluster, 3603).await;
    until_has(&cluster, 3603).await;
    assert_eq!(operator::refused(&cluster, "operator-a"), before);
    proxy.thaw();
    cluster
        .until("the late write", async |cluster: &Cluster| {
            operator::refused(cluster, "operator-a").len() > before.len()
        })
        .await;
    assert!(has(&cluster, 3603).await, "what is late changes nothing");
    drop(first);
}

#[tokio::test]
async fn a_leader_that_is_told_to_stop_hands_over_at_once() {
    let cluster = Cluster::start().await;
    install(&cluster, &installation()).await;
    // Nobody would wait ten minutes.
    let mut first = Operator::start(&cluster, "operator-a", cluster.port(), 600).await;
    until_leads(&cluster, "operator-a").await;
    let second = Operator::start(&cluster, "operator-b", cluster.port(), 600).await;
    second.until_ready(&cluster).await;
    first.signal("TERM");
    assert_eq!(first.end(&cluster).await, Some(0));
    until_leads(&cluster, "operator-b").await;
    wants(&cluster, 3601).await;
    until_has(&cluster, 3601).await;
}
