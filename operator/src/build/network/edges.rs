//! The table of edges: from, to, ports, and what for.

use std::fmt;

use contract::ports;
use crds::channels::{ALIPAY_URL, WECHAT_URL};

use super::hosts::{host_and_port, ways};
use crate::{
    build::{
        labels::component::{
            CALLBACK, COORDINATOR, MIGRATION, MYSQL, ORDERS, PAYMENT, RECONCILIATION,
            RECONCILIATION_RUN, REDIS, ROTATION, SIMULATOR, WORKER,
        },
        runtime::PROVED,
    },
    validate::ValidSystem,
};

/// Those that work with payments: with the stores and the channels.
const PAYING: [&str; 5] = [
    PAYMENT,
    CALLBACK,
    WORKER,
    RECONCILIATION,
    RECONCILIATION_RUN,
];
/// Those that run all the time and report on themselves, as far as the system has them.
const SERVING: [&str; 5] = [PAYMENT, CALLBACK, WORKER, RECONCILIATION, ORDERS];
/// Those that tell of differences.
const TELLING: [&str; 2] = [RECONCILIATION, RECONCILIATION_RUN];
const DNS: u16 = 53;

/// One end of an edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Components of this system.
    Own(Vec<&'static str>),
    /// All pods of some namespaces.
    Namespaces(Vec<String>),
    /// The operator's pods, in their namespace.
    Operator(String),
    /// Pods labelled as Prometheus, wherever they run.
    Prometheus,
    /// Ranges of addresses.
    Addresses(Vec<String>),
    /// Every public address.
    Internet,
    Anyone,
}

impl End {
    /// Whether a component is at this end.
    pub fn is(&self, component: &str) -> bool {
        matches!(self, Self::Own(components) if components.contains(&component))
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(components) => f.write_str(&components.join(", ")),
            Self::Namespaces(names) => write!(f, "pods of namespace {}", names.join(", ")),
            Self::Operator(namespace) => write!(f, "the operator in namespace {namespace}"),
            Self::Prometheus => f.write_str("Prometheus in any namespace"),
            Self::Addresses(blocks) => f.write_str(&blocks.join(", ")),
            Self::Internet => f.write_str("every public address"),
            Self::Anyone => f.write_str("anyone"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    pub number: u16,
    pub protocol: &'static str,
}

impl Port {
    pub const fn tcp(number: u16) -> Self {
        Self {
            number,
            protocol: "TCP",
        }
    }
}

/// Somebody who may talk to somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    pub from: End,
    pub to: End,
    /// None: any.
    pub ports: Vec<Port>,
    pub why: &'static str,
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports: Vec<String> = self
            .ports
            .iter()
            .map(|port| format!("{}/{}", port.number, port.protocol))
            .collect();
        let ports = if ports.is_empty() {
            "any".to_owned()
        } else {
            ports.join(", ")
        };
        write!(
            f,
            "| {} | {} | {ports} | {} |",
            self.from, self.to, self.why
        )
    }
}

fn edge(from: &[&'static str], (to, ports): (End, Vec<Port>), why: &'static str) -> Edge {
    Edge {
        from: End::Own(from.to_vec()),
        to,
        ports,
        why,
    }
}

fn own(component: &'static str, port: u16) -> (End, Vec<Port>) {
    (End::Own(vec![component]), vec![Port::tcp(port)])
}

/// Every component that this system has pods of.
pub(super) fn components(system: &ValidSystem) -> Vec<&'static str> {
    let spec = &system.spec;
    let mut components = PAYING.to_vec();
    components.push(MIGRATION);
    let optional = [
        (MYSQL, spec.mysql.external.is_none()),
        (REDIS, spec.redis.external.is_none()),
        (ROTATION, rotates(system)),
        (COORDINATOR, coordinated(system)),
        (ORDERS, system.orders().is_some()),
        (SIMULATOR, spec.channels.simulator),
    ];
    components.extend(optional.iter().filter(|(_, is)| *is).map(|(it, _)| *it));
    components.sort_unstable();
    components
}

const fn coordinated(system: &ValidSystem) -> bool {
    system.spec.transaction_coordinator.external.is_none()
}

/// Jobs replace the passwords of the stores that the operator manages.
const fn rotates(system: &ValidSystem) -> bool {
    system.spec.mysql.external.is_none() || system.spec.redis.external.is_none()
}

/// Those that are there of some components.
fn present(system: &ValidSystem, wanted: &[&'static str]) -> Vec<&'static str> {
    let components = components(system);
    let wanted = wanted.iter().copied();
    wanted.filter(|it| components.contains(it)).collect()
}

/// Every edge that the specification asks for.
pub fn edges(system: &ValidSystem) -> Vec<Edge> {
    let mut edges = entrances(system);
    edges.extend(stores(system));
    edges.extend(transactions(system));
    edges.extend(channels(system));
    edges.extend(notification(system));
    edges.extend(observers(system));
    edges.push(names(system));
    edges
}

/// The ways in: the API knows its callers, callbacks are signed.
fn entrances(system: &ValidSystem) -> Vec<Edge> {
    let clients = &system.spec.network.client_namespaces;
    let callers = if clients.is_empty() {
        End::Anyone
    } else {
        End::Namespaces(clients.clone())
    };
    let into = |from, component, why| {
        let (to, ports) = own(component, ports::HTTP);
        Edge {
            from,
            to,
            ports,
            why,
        }
    };
    vec![
        into(callers, PAYMENT, "the payment API"),
        into(End::Anyone, CALLBACK, "notifications, which are signed"),
    ]
}

fn stores(system: &ValidSystem) -> Vec<Edge> {
    let (mysql, redis) = (&system.spec.mysql, &system.spec.redis);
    let mut writing = PAYING.to_vec();
    writing.push(MIGRATION);
    writing.extend(present(system, &[ORDERS, COORDINATOR]));
    let mut caching = PAYING.to_vec();
    if mysql.external.is_none() {
        writing.push(ROTATION);
    }
    if redis.external.is_none() {
        caching.push(ROTATION);
    }
    let mysql = mysql.external.as_ref().map_or_else(
        || vec![own(MYSQL, ports::MYSQL)],
        |it| ways(&system.namespace, &it.host, it.port),
    );
    let redis = redis.external.as_ref().map_or_else(
        || vec![own(REDIS, ports::REDIS)],
        |it| ways(&system.namespace, &it.host, it.port),
    );
    let mysql = mysql
        .into_iter()
        .map(|way| edge(&writing, way, "payments, orders and transactions are kept"));
    let redis = redis
        .into_iter()
        .map(|way| edge(&caching, way, "repeated requests are answered"));
    mysql.chain(redis).collect()
}

/// Services report whether the coordinator answers, those that confirm payments work with it.
fn transactions(system: &ValidSystem) -> Vec<Edge> {
    let serving = present(system, &SERVING);
    let external = system.spec.transaction_coordinator.external.as_ref();
    let coordinator = external.map_or_else(
        || vec![own(COORDINATOR, ports::COORDINATOR)],
        |it| ways(&system.namespace, &it.host, it.port),
    );
    let coordinator = coordinator.into_iter();
    let mut edges: Vec<Edge> = coordinator
        .map(|way| {
            edge(
                &serving,
                way,
                "global transactions, and whether they can be had",
            )
        })
        .collect();
    let clients = &system.spec.transaction_coordinator.client_namespaces;
    if coordinated(system) {
        let to = own(COORDINATOR, ports::COORDINATOR);
        let why = "transactionCoordinator.clientNamespaces";
        edges.extend(clients_of(clients, to, why));
    }
    edges.extend(orders(system));
    edges
}

fn clients_of(
    namespaces: &[String],
    (to, ports): (End, Vec<Port>),
    why: &'static str,
) -> Option<Edge> {
    let from = End::Namespaces(namespaces.to_vec());
    (!namespaces.is_empty()).then_some(Edge {
        from,
        to,
        ports,
        why,
    })
}

fn orders(system: &ValidSystem) -> Vec<Edge> {
    let Some(orders) = &system.spec.orders else {
        return Vec::new();
    };
    let external = orders.external.as_ref();
    let named = external.and_then(|external| host_and_port(&external.url));
    let services = named.map_or_else(
        || vec![own(ORDERS, ports::HTTP)],
        |(host, port)| ways(&system.namespace, &host, port),
    );
    let services = services.into_iter();
    let mut edges: Vec<Edge> = services
        .map(|way| edge(&[WORKER], way, "charged payments are confirmed"))
        .collect();
    if external.is_none() {
        let to = own(ORDERS, ports::HTTP);
        let why = "orders.clientNamespaces";
        edges.extend(clients_of(&orders.client_namespaces, to, why));
    }
    edges
}

fn channels(system: &ValidSystem) -> Vec<Edge> {
    let settings = &system.spec.channels;
    if settings.simulator {
        let asked = own(SIMULATOR, ports::SIMULATOR);
        let asked = edge(&PAYING, asked, "payments are made and asked about");
        let told = settings.callback_base_url.as_deref();
        let told = told.and_then(host_and_port);
        let told = told.map_or_else(
            || vec![own(CALLBACK, ports::HTTP)],
            |(host, port)| ways(&system.namespace, &host, port),
        );
        let told = told.into_iter();
        let told = told.map(|way| edge(&[SIMULATOR], way, "the simulator's notifications"));
        return std::iter::once(asked).chain(told).collect();
    }
    let wechat = (&settings.wechat.base_url, WECHAT_URL, system.wechat());
    let alipay = (&settings.alipay.gateway_url, ALIPAY_URL, system.alipay());
    let mut edges = Vec::new();
    for (url, usual, on) in [wechat, alipay] {
        for way in channel(system, url, url == usual) {
            let edge = edge(&PAYING, way, "payments are made and asked about");
            if on && !edges.contains(&edge) {
                edges.push(edge);
            }
        }
    }
    edges
}

/// The channels' own hosts are public for certain; another may be anywhere.
fn channel(system: &ValidSystem, url: &str, usual: bool) -> Vec<(End, Vec<Port>)> {
    let Some((host, port)) = host_and_port(url) else {
        return Vec::new();
    };
    let cidrs = &system.spec.network.egress_cidrs;
    if !cidrs.is_empty() {
        return vec![(End::Addresses(cidrs.clone()), vec![Port::tcp(port)])];
    }
    if usual {
        return vec![(End::Internet, vec![Port::tcp(port)])];
    }
    ways(&system.namespace, &host, port)
}

fn notification(system: &ValidSystem) -> Vec<Edge> {
    let notify = system.spec.reconciliation.notify.as_ref();
    let named = notify.and_then(|notify| host_and_port(&notify.url));
    let ways = named.map(|(host, port)| ways(&system.namespace, &host, port));
    let ways = ways.into_iter().flatten();
    ways.map(|way| edge(&TELLING, way, "differences are told"))
        .collect()
}

/// Monitors read every service; the operator watches new pods of some at work.
fn observers(system: &ValidSystem) -> Vec<Edge> {
    let namespaces = &system.spec.network.monitoring_namespaces;
    let monitor = if namespaces.is_empty() {
        End::Prometheus
    } else {
        End::Namespaces(namespaces.clone())
    };
    let mut edges = vec![
        Edge {
            from: monitor.clone(),
            to: End::Own(present(system, &SERVING)),
            ports: vec![Port::tcp(ports::MANAGEMENT)],
            why: "metrics",
        },
        Edge {
            from: End::Operator(system.settings.namespace.clone()),
            to: End::Own(PROVED.to_vec()),
            ports: vec![Port::tcp(ports::MANAGEMENT)],
            why: "new pods are watched at work",
        },
    ];
    if coordinated(system) {
        let metrics = [ports::COORDINATOR_METRICS, ports::COORDINATOR_JVM_METRICS];
        edges.push(Edge {
            from: monitor,
            to: End::Own(vec![COORDINATOR]),
            ports: metrics.map(Port::tcp).to_vec(),
            why: "metrics",
        });
    }
    edges
}

/// Everything but the stores asks for names. Where the cluster's resolver runs is not known.
fn names(system: &ValidSystem) -> Edge {
    let mut asking = components(system);
    asking.retain(|component| ![MYSQL, REDIS].contains(component));
    let udp = Port {
        number: DNS,
        protocol: "UDP",
    };
    let way = (End::Anyone, vec![udp, Port::tcp(DNS)]);
    edge(&asking, way, "names are resolved")
}
