//! NodePort Services through which the host reaches a system's API, callbacks, order service and
//! simulator.
//!
//! The demo system's have fixed ports and stand in `manifests/access.yaml`; other systems get
//! whatever ports the cluster has free. API and callbacks are open to everybody; to the others
//! NetworkPolicies let in what is no pod: the host, whose address the cluster decides about.

use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Node, Service};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::cluster::{Cluster, Plainly as _};
use crate::environment::{Urls, cluster_setting};
use crate::system::System;
use crate::wait::{Seen, until};

const OPEN_WITHIN: Duration = Duration::from_secs(30);

/// Suffix of the Service, workload it selects, port of the container.
const PORTS: [(&str, &str, u16); 5] = [
    ("access-api", "payment", contract::ports::HTTP),
    ("access-callback", "callback", contract::ports::HTTP),
    (
        "access-simulator",
        "channel-simulator",
        contract::ports::SIMULATOR,
    ),
    (
        "access-simulator-admin",
        "channel-simulator",
        contract::ports::SIMULATOR_ADMIN,
    ),
    ("access-orders", "orders", contract::ports::HTTP),
];

/// Those that the system itself opens to everybody.
const OPEN: [&str; 2] = ["payment", "callback"];

/// Lets everything but pods in where the system takes nobody from outside.
pub async fn admit(system: &System) -> Result<()> {
    let nodes = system.cluster.nodes().await?;
    let ranges = nodes.iter().filter_map(|node| node.spec.as_ref());
    let ranges = ranges.filter_map(|spec| spec.pod_cidr.clone());
    let pods: Vec<String> = ranges.filter(|range| !range.contains(':')).collect();
    for (suffix, workload, port) in PORTS {
        if !OPEN.contains(&workload) {
            let policy = policy(system, (suffix, workload, port), &pods);
            system.cluster.apply(&policy).await?;
        }
    }
    Ok(())
}

fn policy(system: &System, (suffix, workload, port): (&str, &str, u16), pods: &[String]) -> Value {
    let mut block = json!({"cidr": "0.0.0.0/0"});
    if !pods.is_empty() {
        block["except"] = json!(pods);
    }
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": format!("{}-{suffix}", system.name), "namespace": system.namespace},
        "spec": {
            "podSelector": {"matchLabels": {
                "app.kubernetes.io/instance": system.name,
                "app.kubernetes.io/component": workload,
            }},
            "ingress": [{"from": [{"ipBlock": block}], "ports": [{"port": port}]}],
        },
    })
}

/// Makes the Services of a system that has no manifest, selecting what its Deployments select.
pub async fn create(system: &System) -> Result<Urls> {
    admit(system).await?;
    for (suffix, workload, port) in PORTS {
        let name = format!("{}-{workload}", system.name);
        let deployment = system
            .cluster
            .api::<Deployment>(&system.namespace)
            .get(&name)
            .await;
        let deployment = deployment
            .plainly()
            .with_context(|| format!("cannot read Deployment {name}"))?;
        let selector = deployment.spec.map(|spec| spec.selector.match_labels);
        system
            .cluster
            .apply(&service(system, suffix, port, &json!(selector)))
            .await?;
    }
    let urls = urls(system).await?;
    for url in [
        &urls.api,
        &urls.callback,
        &urls.simulator,
        &urls.simulator_admin,
        &urls.orders,
    ] {
        wait_open(url).await?;
    }
    Ok(urls)
}

/// The node forwards a new port only some moments after its Service was made.
async fn wait_open(url: &str) -> Result<()> {
    let address = url.trim_start_matches("http://");
    until(
        &format!("{url} to accept connections"),
        OPEN_WITHIN,
        async || {
            let connection = TcpStream::connect(address).await;
            Ok(connection.map_or_else(Seen::not_yet, |_| Seen::Done(())))
        },
    )
    .await
}

fn service(system: &System, suffix: &str, port: u16, selector: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": format!("{}-{suffix}", system.name), "namespace": system.namespace},
        "spec": {
            "type": "NodePort",
            "selector": selector,
            "ports": [{"name": "http", "port": port, "targetPort": port}],
        },
    })
}

/// The addresses behind a system's access Services.
pub async fn urls(system: &System) -> Result<Urls> {
    let host = node_host(&system.cluster).await?;
    Ok(Urls {
        api: url(system, &host, PORTS[0].0).await?,
        callback: url(system, &host, PORTS[1].0).await?,
        simulator: url(system, &host, PORTS[2].0).await?,
        simulator_admin: url(system, &host, PORTS[3].0).await?,
        orders: url(system, &host, PORTS[4].0).await?,
    })
}

async fn url(system: &System, host: &str, suffix: &str) -> Result<String> {
    let name = format!("{}-{suffix}", system.name);
    let service = system
        .cluster
        .api::<Service>(&system.namespace)
        .get(&name)
        .await;
    let service = service
        .plainly()
        .with_context(|| format!("cannot read Service {name}"))?;
    let ports = service.spec.and_then(|spec| spec.ports).unwrap_or_default();
    let port = ports.iter().find_map(|port| port.node_port);
    let port = port.with_context(|| format!("Service {name} has no node port"))?;
    Ok(format!("http://{host}:{port}"))
}

/// Where node ports are reached: `NODE_HOST`, or else a node's own address.
async fn node_host(cluster: &Cluster) -> Result<String> {
    if let Some(host) = cluster_setting("NODE_HOST") {
        return Ok(host);
    }
    let nodes = cluster.nodes().await?;
    nodes
        .iter()
        .find_map(internal_ip)
        .context("no node has an InternalIP; set NODE_HOST")
}

fn internal_ip(node: &Node) -> Option<String> {
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    let internal = addresses
        .iter()
        .find(|address| address.type_ == "InternalIP")?;
    Some(internal.address.clone())
}
