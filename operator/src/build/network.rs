//! Who may talk to whom: a NetworkPolicy that closes every pod of the system, and one per component
//! that opens its edges.
//!
//! Guarantees: policies are made from one table ([`edges`]), and an edge between two components
//! stands in the policies of both; a policy selects pods of this system alone, never those of
//! another one or of somebody else in the namespace; no pod is changed by any of it. Policies add
//! up, so whoever needs more makes one more (docs/network.md).
//!
//! Not here: enforcing, which is the network plugin's. It lets a node reach its own pods, so
//! that probes need no edge.

mod edges;
mod hosts;

use serde_json::{Value, json};

pub use self::edges::{Edge, End, Port, edges};
use super::{Manifest, Stage, common, labels, names};
use crate::{kinds::Kind, validate::ValidSystem};

/// Addresses that are nobody's on the internet: they belong to the cluster, its nodes or a
/// company's own network.
const NOT_PUBLIC_V4: [&str; 5] = [
    "10.0.0.0/8",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
];
const NOT_PUBLIC_V6: [&str; 2] = ["fc00::/7", "fe80::/10"];
/// How Prometheus Operator and the usual charts label their pods.
const PROMETHEUS: [&str; 2] = ["prometheus", "prometheus-agent"];
/// Label of a namespace that the API server sets.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// The component's policies first: each is complete for its pods, so that no edge is missing at
/// any moment, and pods are closed only when all that is to stay open is.
pub fn manifests(system: &ValidSystem) -> Vec<Manifest> {
    if !system.spec.network.policies {
        return Vec::new();
    }
    let edges = edges(system);
    let components = edges::components(system).into_iter();
    let mut manifests: Vec<Manifest> = components
        .map(|component| policy(system, component, &edges))
        .collect();
    manifests.push(closed(system));
    manifests
}

/// Closes every pod of the system in both directions, also those that no other policy knows.
fn closed(system: &ValidSystem) -> Manifest {
    let spec = json!({
        "podSelector": {"matchLabels": own(system)},
        "policyTypes": ["Ingress", "Egress"],
    });
    let identity = (
        Kind::NetworkPolicy,
        names::all(&system.name),
        labels::component::NETWORK,
    );
    common::owned(system, identity, Stage::Stores, json!({"spec": spec}))
}

fn policy(system: &ValidSystem, component: &'static str, edges: &[Edge]) -> Manifest {
    let mut spec = json!({
        "podSelector": selector(system, &[component]),
        "policyTypes": ["Ingress", "Egress"],
    });
    let incoming = edges.iter().filter(|edge| edge.to.is(component));
    let incoming = incoming.map(|edge| rule(system, "from", &edge.from, &edge.ports));
    let outgoing = edges.iter().filter(|edge| edge.from.is(component));
    let outgoing = outgoing.map(|edge| rule(system, "to", &edge.to, &edge.ports));
    let directions: [(&str, Vec<Value>); 2] = [
        ("ingress", incoming.collect()),
        ("egress", outgoing.collect()),
    ];
    for (direction, rules) in directions {
        // The API server drops an empty list.
        if !rules.is_empty() {
            spec[direction] = json!(rules);
        }
    }
    let name = names::policy(&system.name, component);
    let identity = (Kind::NetworkPolicy, name, component);
    common::owned(system, identity, Stage::Stores, json!({"spec": spec}))
}

fn rule(system: &ValidSystem, side: &str, end: &End, ports: &[Port]) -> Value {
    let mut rule = json!({});
    if !ports.is_empty() {
        let ports = ports.iter();
        rule["ports"] = ports
            .map(|port| json!({"port": port.number, "protocol": port.protocol}))
            .collect();
    }
    if let Some(peers) = peers(system, end) {
        rule[side] = json!(peers);
    }
    rule
}

/// `None`: whoever it is.
fn peers(system: &ValidSystem, end: &End) -> Option<Vec<Value>> {
    let block = |cidr: &str| json!({"ipBlock": {"cidr": cidr}});
    Some(match end {
        End::Anyone => return None,
        End::Own(components) => vec![json!({"podSelector": selector(system, components)})],
        End::Namespaces(namespaces) => vec![json!({"namespaceSelector": {"matchExpressions": [
            {"key": NAMESPACE_NAME, "operator": "In", "values": namespaces},
        ]}})],
        End::Operator(namespace) => vec![json!({
            "namespaceSelector": {"matchLabels": {NAMESPACE_NAME: namespace}},
            "podSelector": {"matchLabels": {labels::NAME: labels::MANAGER}},
        })],
        End::Prometheus => vec![json!({
            "namespaceSelector": {},
            "podSelector": {"matchExpressions": [
                {"key": labels::NAME, "operator": "In", "values": PROMETHEUS},
            ]},
        })],
        End::Addresses(blocks) => blocks.iter().map(|cidr| block(cidr)).collect(),
        End::Internet => vec![
            json!({"ipBlock": {"cidr": "0.0.0.0/0", "except": NOT_PUBLIC_V4}}),
            json!({"ipBlock": {"cidr": "::/0", "except": NOT_PUBLIC_V6}}),
        ],
    })
}

/// What every pod of the system has, and no pod of anybody else.
fn own(system: &ValidSystem) -> Value {
    json!({labels::INSTANCE: system.name, labels::MANAGED_BY: labels::MANAGER})
}

fn selector(system: &ValidSystem, components: &[&str]) -> Value {
    let mut own = own(system);
    if let [component] = components {
        own[labels::COMPONENT] = json!(component);
        return json!({"matchLabels": own});
    }
    json!({"matchLabels": own, "matchExpressions": [
        {"key": labels::COMPONENT, "operator": "In", "values": components},
    ]})
}
