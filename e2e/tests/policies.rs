//! What is closed and what is open, tried out by pods: by strangers, by pods that pass for a part of
//! the system, and by the system's own.
//!
//! Each attempt is a connection to a pod's address, so that no name and no Service decides.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use contract::ports;
use e2e::environment::cluster_setting;
use e2e::{Order, Scene, Seen, until};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use tokio::process::Command;

const ELSEWHERE: &str = "e2e-policies";
/// Where the operator runs.
const OPERATORS: &str = "payment-system";
const SOON: Duration = Duration::from_secs(30);
/// Time to connect; `redis-cli` tries twice.
const CONNECT_SECONDS: u32 = 2;
/// Far above two such times: whoever is at it still is connected.
const LIMIT_SECONDS: u32 = 12;

/// What came of an attempt to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    Connected,
    /// Somebody is there and listens to nothing: no policy did that.
    Refused,
    NoAnswer,
}

/// What is tried: a name for it, an address, and a port.
type Targets = BTreeMap<String, (String, u16)>;
type Attempts = BTreeMap<String, Attempt>;

#[tokio::test]
async fn only_what_the_system_needs_is_open() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = tried(&scene).await;
    // Also after a failure.
    let cleared = clear(&scene).await;
    scene.close(outcome.and(cleared)).await
}

async fn tried(scene: &Scene) -> Result<()> {
    clear(scene).await?;
    scene.cluster.ensure_namespace(ELSEWHERE).await?;
    let listener = listener(scene).await?;
    strangers(scene, &listener).await?;
    parts(scene, &listener).await?;
    stores(scene, &listener).await?;
    named_namespaces(scene).await?;
    an_order_is_paid(scene).await
}

async fn clear(scene: &Scene) -> Result<()> {
    for namespace in [&scene.demo.namespace, ELSEWHERE, OPERATORS] {
        let now = DeleteParams::default().grace_period(0);
        let mine = kube::api::ListParams::default().labels("e2e=policies");
        let pods = scene.cluster.api::<Pod>(namespace);
        pods.delete_collection(&now, &mine).await?;
        let policies = scene.cluster.api::<NetworkPolicy>(namespace);
        policies.delete_collection(&now, &mine).await?;
    }
    Ok(())
}

/// Ports of the system's pods, `part:port`.
async fn targets(scene: &Scene) -> Result<Targets> {
    let wanted: [(&str, &[u16]); 9] = [
        ("mysql", &[ports::MYSQL]),
        ("redis", &[ports::REDIS]),
        (
            "coordinator",
            &[
                ports::COORDINATOR,
                ports::COORDINATOR_CONSOLE,
                ports::COORDINATOR_METRICS,
            ],
        ),
        ("orders", &[ports::HTTP, ports::MANAGEMENT]),
        ("worker", &[ports::MANAGEMENT]),
        ("reconciliation", &[ports::HTTP, ports::MANAGEMENT]),
        (
            "channel-simulator",
            &[ports::SIMULATOR, ports::SIMULATOR_ADMIN],
        ),
        ("payment", &[ports::HTTP, ports::MANAGEMENT]),
        ("callback", &[ports::HTTP, ports::MANAGEMENT]),
    ];
    let mut targets = Targets::new();
    for (part, ports) in wanted {
        let pods = scene.demo.pods_of(part).await?;
        let address = pods.iter().find_map(address);
        let address = address.with_context(|| format!("{part} has no address"))?;
        let named = ports
            .iter()
            .map(|port| (format!("{part}:{port}"), (address.clone(), *port)));
        targets.extend(named);
    }
    Ok(targets)
}

fn address(pod: &Pod) -> Option<String> {
    pod.status.as_ref()?.pod_ip.clone()
}

fn only(targets: &Targets, names: &[&str]) -> Targets {
    let mut targets = targets.clone();
    targets.retain(|name, _| names.contains(&name.as_str()));
    targets
}

/// A pod of nobody's that listens, in the namespace of the strangers.
async fn listener(scene: &Scene) -> Result<Targets> {
    let image = image_of(scene, "redis").await?;
    let script = "exec redis-server --save '' --protected-mode no";
    let pod = pod((ELSEWHERE, "listener"), &json!({}), &image, script);
    scene.cluster.apply(&pod).await?;
    let api = scene.cluster.api::<Pod>(ELSEWHERE);
    let found = until("the listener to have an address", SOON, async || {
        let pod = api.get("listener").await?;
        let phase = pod.status.as_ref().and_then(|status| status.phase.clone());
        let address = address(&pod).filter(|_| phase.as_deref() == Some("Running"));
        Ok(address.map_or_else(|| Seen::not_yet(format!("it is {phase:?}")), Seen::Done))
    });
    Ok([("listener".to_owned(), (found.await?, ports::REDIS))].into())
}

async fn image_of(scene: &Scene, part: &str) -> Result<String> {
    let pods = scene.demo.pods_of(part).await?;
    let spec = pods.first().and_then(|pod| pod.spec.clone());
    let image = spec.and_then(|spec| spec.containers.first()?.image.clone());
    image.with_context(|| format!("{part} has no pod"))
}

fn pod((namespace, name): (&str, &str), labels: &Value, image: &str, script: &str) -> Value {
    let mut labels = labels.clone();
    labels["e2e"] = json!("policies");
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 999, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "probe",
                "image": image,
                "command": ["sh", "-c", script],
                "workingDir": "/tmp",
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    })
}

/// Tries all targets side by side, twice: by the second time, a pod that has just started is known.
fn script(targets: &Targets) -> String {
    let tries = targets.iter().map(|(name, (host, port))| {
        // The coordinator is silent about a PING: the whole takes longer than to fail to connect.
        format!(
            "(said=$(timeout {LIMIT_SECONDS} redis-cli -t {CONNECT_SECONDS} -h {host} -p {port} PING 2>&1 < /dev/null | tr -cd '[:print:]'); echo \"{name}=$said\") &"
        )
    });
    let round: Vec<String> = tries.collect();
    let round = format!("{}\nwait\n", round.join("\n"));
    format!("{round}echo again\n{round}")
}

fn understood(log: &str) -> Result<Attempts> {
    let (_, last) = log.split_once("again\n").context(log.to_owned())?;
    let attempts = last.lines().filter_map(|line| {
        let (name, said) = line.split_once('=')?;
        let attempt = if said.contains("refused") {
            Attempt::Refused
        } else if said.contains("Could not connect") {
            Attempt::NoAnswer
        } else {
            Attempt::Connected
        };
        Some((name.to_owned(), attempt))
    });
    Ok(attempts.collect())
}

/// What a new pod reaches.
async fn reached(
    scene: &Scene,
    (namespace, name): (&str, &str),
    labels: &Value,
    targets: &Targets,
) -> Result<Attempts> {
    let image = image_of(scene, "redis").await?;
    let pod = pod((namespace, name), labels, &image, &script(targets));
    scene.cluster.apply(&pod).await?;
    let api = scene.cluster.api::<Pod>(namespace);
    let what = format!("pod {namespace}/{name} to end");
    until(&what, Duration::from_mins(1), async || {
        let status = api.get(name).await?.status.unwrap_or_default();
        let phase = status.phase.unwrap_or_default();
        let ended = phase == "Succeeded" || phase == "Failed";
        Ok(Seen::when(ended, format!("it is {phase}")))
    })
    .await?;
    let log = scene.cluster.logs(namespace, name).await?;
    let attempts = understood(&log)?;
    ensure!(attempts.len() == targets.len(), "{name} said: {log}");
    scene.cluster.delete_pod_now(namespace, name).await?;
    Ok(attempts)
}

/// Exactly `open` of what was tried must have been reached; the rest gave no answer.
fn ensure_open(who: &str, attempts: &Attempts, open: &[&str]) -> Result<()> {
    let wrong = attempts.iter().filter(|(name, attempt)| {
        let wanted = if open.contains(&name.as_str()) {
            Attempt::Connected
        } else {
            Attempt::NoAnswer
        };
        **attempt != wanted
    });
    let wrong: Vec<String> = wrong
        .map(|(name, attempt)| format!("{name}: {attempt:?}"))
        .collect();
    ensure!(
        wrong.is_empty(),
        "{who}: {} (are NetworkPolicies enforced in this cluster?)",
        wrong.join(", ")
    );
    Ok(())
}

async fn strangers(scene: &Scene, listener: &Targets) -> Result<()> {
    let mut targets = targets(scene).await?;
    // What is not closed is reached: strangers are not kept out by something else.
    targets.extend(listener.clone());
    targets.insert(
        "api:service".to_owned(),
        service(scene, "demo-payment", ports::PAYMENT_SERVICE).await?,
    );
    let open = ["payment:8080", "callback:8080", "listener", "api:service"];
    let another_system = json!({
        "app.kubernetes.io/instance": "another",
        "app.kubernetes.io/component": "worker",
        "app.kubernetes.io/managed-by": "payment-operator",
    });
    let namespace = scene.demo.namespace.as_str();
    let places = [
        (ELSEWHERE, "stranger", json!({})),
        (namespace, "stranger", json!({"app": "shop"})),
        (namespace, "neighbour", another_system),
    ];
    let tried = places.map(async |(namespace, name, labels)| {
        let attempts = reached(scene, (namespace, name), &labels, &targets).await?;
        ensure_open(&format!("{name} in {namespace}"), &attempts, &open)
    });
    futures::future::try_join_all(tried).await?;
    observers(scene, &targets, &open).await
}

/// Whoever passes for Prometheus or for the operator reads metrics, and reaches nothing else.
async fn observers(scene: &Scene, targets: &Targets, open: &[&str]) -> Result<()> {
    let watched = ["payment:8081", "callback:8081", "worker:8081"];
    let others = ["orders:8081", "reconciliation:8081", "coordinator:9898"];
    let observers = [
        (ELSEWHERE, "prometheus", [&watched[..], &others].concat()),
        (OPERATORS, "payment-operator", watched.to_vec()),
        (ELSEWHERE, "payment-operator", Vec::new()),
    ];
    let tried = observers.map(async |(namespace, name, metrics)| {
        let labels = json!({"app.kubernetes.io/name": name});
        let attempts = reached(scene, (namespace, name), &labels, targets).await?;
        let open = [open, &metrics].concat();
        ensure_open(&format!("{name} in {namespace}"), &attempts, &open)
    });
    futures::future::try_join_all(tried).await.map(drop)
}

async fn service(scene: &Scene, name: &str, port: u16) -> Result<(String, u16)> {
    let services = scene.cluster.api::<Service>(&scene.demo.namespace);
    let spec = services.get(name).await?.spec;
    let address = spec.and_then(|spec| spec.cluster_ip);
    Ok((address.context("a Service without an address")?, port))
}

/// A pod that passes for a Job of a rotation goes where those go, and nowhere else.
async fn parts(scene: &Scene, listener: &Targets) -> Result<()> {
    let labels = json!({
        "app.kubernetes.io/instance": scene.demo.name,
        "app.kubernetes.io/component": "rotation",
        "app.kubernetes.io/managed-by": "payment-operator",
    });
    let mut targets = targets(scene).await?;
    targets.extend(listener.clone());
    targets.insert("API server".to_owned(), api_server(scene).await?);
    let place = (scene.demo.namespace.as_str(), "part");
    let attempts = reached(scene, place, &labels, &targets).await?;
    ensure_open("a Job", &attempts, &["mysql:3306", "redis:6379"])
}

async fn api_server(scene: &Scene) -> Result<(String, u16)> {
    let services = scene.cluster.api::<Service>("default");
    let spec = services.get("kubernetes").await?.spec;
    let address = spec.and_then(|spec| spec.cluster_ip);
    Ok((address.context("the API server has no Service")?, 443))
}

/// The stores themselves call nobody.
async fn stores(scene: &Scene, listener: &Targets) -> Result<()> {
    let mut targets = only(&targets(scene).await?, &["payment:8080", "mysql:3306"]);
    targets.extend(listener.clone());
    targets.insert("API server".to_owned(), api_server(scene).await?);
    let pod = format!("{}-redis-0", scene.demo.name);
    let kubectl = cluster_setting("KUBE_BIN").map_or_else(
        || "kubectl".to_owned(),
        |folder| format!("{folder}/kubectl"),
    );
    let said = Command::new(kubectl)
        .arg("--kubeconfig")
        .arg(&scene.environment.kubeconfig)
        .args(["exec", "-n", &scene.demo.namespace, &pod, "--"])
        .args(["sh", "-c", &script(&targets)])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let said = tokio::time::timeout(Duration::from_mins(1), said).await??;
    let log = String::from_utf8_lossy(&said.stdout);
    let error = String::from_utf8_lossy(&said.stderr);
    let attempts = understood(&log).with_context(|| error.into_owned())?;
    ensure!(attempts.len() == targets.len(), "{log}");
    ensure_open("Redis", &attempts, &[])
}

/// Those that are named come in, and are kept out again afterwards. No pod restarts for it.
async fn named_namespaces(scene: &Scene) -> Result<()> {
    let tried = ["mysql:3306", "coordinator:8091", "orders:8080"];
    let targets = only(&targets(scene).await?, &tried);
    let pods = scene.demo.pod_uids().await?;
    let named = json!({"clientNamespaces": [ELSEWHERE]});
    scene
        .demo
        .change_spec(&json!({"transactionCoordinator": named, "orders": named}))
        .await?;
    let open = ["coordinator:8091", "orders:8080"];
    until_open(scene, &targets, &open).await?;
    scene.demo.restore().await?;
    until_open(scene, &targets, &[]).await?;
    // One of somebody's own adds up with the operator's.
    scene.cluster.apply(&loosened(scene)).await?;
    until_open(scene, &targets, &["mysql:3306"]).await?;
    let policies = scene.cluster.api::<NetworkPolicy>(&scene.demo.namespace);
    policies
        .delete("e2e-loosened", &DeleteParams::default())
        .await?;
    until_open(scene, &targets, &[]).await?;
    let after = scene.demo.pod_uids().await?;
    ensure!(pods == after, "pods restarted: {pods:?} {after:?}");
    Ok(())
}

fn loosened(scene: &Scene) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": "e2e-loosened",
            "namespace": scene.demo.namespace,
            "labels": {"e2e": "policies"},
        },
        "spec": {
            "podSelector": {"matchLabels": {
                "app.kubernetes.io/instance": scene.demo.name,
                "app.kubernetes.io/component": "mysql",
            }},
            "ingress": [{"from": [{"namespaceSelector": {"matchLabels": {
                "kubernetes.io/metadata.name": ELSEWHERE,
            }}}]}],
        },
    })
}

async fn until_open(scene: &Scene, targets: &Targets, open: &[&str]) -> Result<()> {
    let what = format!("a stranger to reach {open:?} alone");
    until(&what, Duration::from_mins(2), async || {
        let attempts = reached(scene, (ELSEWHERE, "client"), &json!({}), targets).await?;
        let wrong = ensure_open("a client", &attempts, open);
        Ok(wrong.map_or_else(Seen::not_yet, Seen::Done))
    })
    .await
}

/// With all of it closed an order is paid, confirmed with its stock, and found again.
async fn an_order_is_paid(scene: &Scene) -> Result<()> {
    let product = format!("policies-{}", jiff::Timestamp::now().as_millisecond());
    scene.orders.stock(&product, 3).await?;
    for channel in e2e::scene::CHANNELS {
        let mut order = Order::new("E2E-POLICIES", channel, "4.00");
        order.body["items"] = json!([{"productId": product, "quantity": 1}]);
        let created = scene.api.create_payable(&order).await?;
        let number = created.channel_order_no();
        scene.simulator.pay(channel, number).await?;
        scene
            .api
            .wait_status(created.payment_id(), "PAID", SOON)
            .await?;
        let confirmed = format!("order {} to be paid", order.id());
        until(&confirmed, SOON, async || {
            let shown = scene.orders.order(order.id()).await?;
            Ok(Seen::when(shown.text("status") == "PAID", &shown.body))
        })
        .await?;
    }
    ensure!(scene.orders.available(&product).await? == 1);
    Ok(())
}
