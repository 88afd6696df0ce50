//! At rest the operator writes nothing, and nothing takes more memory than it should.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::audit::{Mark, Request};
use e2e::environment::cluster_setting;
use e2e::{Scene, Seen, system::Child, until, usage};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use serde_json::json;

const REST: Duration = Duration::from_mins(2);
const SETTLED_WITHIN: Duration = Duration::from_mins(1);
const OPERATOR_MEGABYTES_MAX: u64 = 25;
const RUNTIME_MEGABYTES_MAX: u64 = 30;
const RUNTIME_PARTS: [&str; 4] = ["payment", "callback", "worker", "reconciliation"];
const OPERATOR_LABEL: &str = "app.kubernetes.io/name=payment-operator";

async fn operator_pods(scene: &Scene) -> Result<Vec<Pod>> {
    let all: Api<Pod> = Api::all(scene.cluster.client.clone());
    let pods = all
        .list(&ListParams::default().labels(OPERATOR_LABEL))
        .await?
        .items;
    ensure!(!pods.is_empty(), "no pod has the label {OPERATOR_LABEL}");
    Ok(pods)
}

#[tokio::test]
async fn the_operator_writes_nothing_at_rest() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = writes_nothing(&scene).await;
    scene.close(outcome).await
}

async fn writes_nothing(scene: &Scene) -> Result<()> {
    // A scheduled run is an event, not rest.
    scene
        .demo
        .change_spec(&json!({"reconciliation": {"suspend": true}}))
        .await?;
    scene.demo.wait_settled(SETTLED_WITHIN).await?;
    let before = wait_still(scene).await?;
    let log = cluster_setting("AUDIT_LOG")
        .map(PathBuf::from)
        .filter(|file| file.exists());
    let mark = log.map(Mark::end_of).transpose()?;
    // The one wait for a time: that nothing happens during it is the claim.
    tokio::time::sleep(REST).await;
    let mut after = scene.demo.children().await?;
    after.retain(|name, _| is_quiet(name));
    let moved: Vec<&String> = after
        .keys()
        .filter(|name| after.get(*name) != before.get(*name))
        .collect();
    ensure!(
        moved.is_empty() && after.len() == before.len(),
        "changed at rest: {moved:?}"
    );
    let Some(mark) = mark else {
        println!(
            "no audit log: {} children kept their resourceVersion",
            after.len()
        );
        return Ok(());
    };
    let user = operator_user(scene).await?;
    let requests = mark.requests()?;
    ensure!(
        !requests.is_empty(),
        "the audit log stands still: nothing can be said"
    );
    let of_operator = |request: &&Request| request.user == user && request.resource != "leases";
    let own: Vec<&Request> = requests.iter().filter(of_operator).collect();
    let writes: Vec<&&Request> = own.iter().filter(|request| request.is_write()).collect();
    println!(
        "{} requests by {user} in {} s, {} writes",
        own.len(),
        REST.as_secs(),
        writes.len()
    );
    ensure!(writes.is_empty(), "the operator wrote at rest: {writes:#?}");
    Ok(())
}

/// The cluster itself writes each new measurement into an autoscaler's status.
fn is_quiet(child: &str) -> bool {
    !child.starts_with("HorizontalPodAutoscaler/")
}

/// The children, once two looks a few seconds apart see the same.
async fn wait_still(scene: &Scene) -> Result<BTreeMap<String, Child>> {
    let mut seen = BTreeMap::new();
    let mut since = std::time::Instant::now();
    until("the children to stand still", SETTLED_WITHIN, async || {
        let mut now = scene.demo.children().await?;
        now.retain(|name, _| is_quiet(name));
        if now != seen {
            seen = now;
            since = std::time::Instant::now();
        }
        let still = since.elapsed() >= Duration::from_secs(5);
        Ok(if still {
            Seen::Done(seen.clone())
        } else {
            Seen::not_yet("they still change")
        })
    })
    .await
}

async fn operator_user(scene: &Scene) -> Result<String> {
    let pods = operator_pods(scene).await?;
    let spec = pods[0].spec.as_ref().context("a pod without spec")?;
    let account = spec.service_account_name.as_deref().unwrap_or("default");
    let namespace = pods[0].namespace().unwrap_or_default();
    Ok(format!("system:serviceaccount:{namespace}:{account}"))
}

#[tokio::test]
async fn memory_stays_below_the_bars() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = memory(&scene).await;
    scene.close(outcome).await
}

async fn memory(scene: &Scene) -> Result<()> {
    let mut runtime = Vec::new();
    for part in RUNTIME_PARTS {
        runtime.extend(scene.demo.pods_of(part).await?);
    }
    ensure!(
        runtime.len() >= RUNTIME_PARTS.len(),
        "only {} runtime pods",
        runtime.len()
    );
    below(scene, &operator_pods(scene).await?, OPERATOR_MEGABYTES_MAX).await?;
    below(scene, &runtime, RUNTIME_MEGABYTES_MAX).await
}

async fn below(scene: &Scene, pods: &[Pod], megabytes_max: u64) -> Result<()> {
    // The kubelet counts a new pod only after some seconds.
    let counted = until(
        "the kubelet to count every pod",
        SETTLED_WITHIN,
        async || Ok(Seen::Done(usage::resident(&scene.cluster, pods).await?)),
    );
    for resident in counted.await? {
        println!("{:<45} {:>4} MB", resident.pod, resident.megabytes());
        ensure!(
            resident.megabytes() <= megabytes_max,
            "{resident:?}: more than {megabytes_max} MB"
        );
    }
    Ok(())
}
