//! NetworkPolicies as nftables rules. Pure: equal input gives equal text.
//!
//! Each selected pod has a chain per direction, in which every rule of every policy that selects it
//! returns what it allows, and the rest is dropped. What a pod starts passes the chain of the pod
//! it leaves, then that of the pod it comes to; Services have been translated to pods before that.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt as _;

use crate::world::{Pod, World, takes};

const TABLE: &str = "ip payment-policies";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    const fn name(self) -> &'static str {
        match self {
            Self::Ingress => "Ingress",
            Self::Egress => "Egress",
        }
    }

    /// Where the packet names the other side.
    const fn other_side(self) -> &'static str {
        match self {
            Self::Ingress => "ip saddr",
            Self::Egress => "ip daddr",
        }
    }

    fn chain(self, address: Ipv4Addr) -> String {
        let direction = self.name().to_lowercase();
        format!("{direction}_{}", address.to_string().replace('.', "_"))
    }
}

/// The other side of one rule.
enum Peers<'a> {
    Anyone,
    Pods(BTreeSet<Ipv4Addr>),
    Block(&'a IPBlock),
}

/// Replaces all that was enforced.
pub(crate) fn script(world: &World) -> String {
    let mut text = format!("table {TABLE}\ndelete table {TABLE}\ntable {TABLE} {{\n");
    let directions = [Direction::Ingress, Direction::Egress];
    for direction in directions {
        text.push_str(&chains(world, direction).concat());
    }
    let [ingress, egress] = directions.map(|direction| jumps(world, direction));
    let answers = "    ct state established,related accept\n";
    let hook = |name: &str, rules: &[&str]| {
        let rules = rules.concat();
        format!(
            "  chain {name} {{\n    type filter hook {name} priority 10; policy accept;\n{answers}{rules}  }}\n"
        )
    };
    let (leaving, arriving) = (
        verdicts("ip saddr", &egress),
        verdicts("ip daddr", &ingress),
    );
    text.push_str(&hook("forward", &[&leaving, &arriving]));
    // To the node itself, such as the API server.
    text.push_str(&hook("input", &[&leaving]));
    text.push_str("}\n");
    text
}

fn verdicts(address: &str, jumps: &[String]) -> String {
    if jumps.is_empty() {
        return String::new();
    }
    format!("    {address} vmap {{ {} }}\n", jumps.join(", "))
}

fn jumps(world: &World, direction: Direction) -> Vec<String> {
    let selected = world
        .pods
        .iter()
        .filter(|(_, pod)| !selecting(world, pod, direction).is_empty());
    selected
        .map(|(address, _)| format!("{address} : jump {}", direction.chain(*address)))
        .collect()
}

fn chains(world: &World, direction: Direction) -> Vec<String> {
    let chains = world.pods.iter().filter_map(|(address, pod)| {
        let policies = selecting(world, pod, direction);
        (!policies.is_empty()).then(|| chain(world, direction, (*address, pod), &policies))
    });
    chains.collect()
}

/// The policies that close a pod in one direction.
fn selecting<'a>(world: &'a World, pod: &Pod, direction: Direction) -> Vec<&'a NetworkPolicy> {
    let policies = world.policies.iter().map(AsRef::as_ref);
    policies
        .filter(|policy| {
            let spec = policy.spec.as_ref();
            policy.namespace().as_deref() == Some(pod.namespace.as_str())
                && spec.is_some_and(|spec| {
                    closes(spec, direction) && takes(spec.pod_selector.as_ref(), &pod.labels)
                })
        })
        .collect()
}

/// Left out, the types are ingress, and egress if there is any.
fn closes(spec: &NetworkPolicySpec, direction: Direction) -> bool {
    let types = spec.policy_types.as_ref().filter(|types| !types.is_empty());
    types.map_or_else(
        || direction == Direction::Ingress || spec.egress.is_some(),
        |types| types.iter().any(|it| it == direction.name()),
    )
}

fn chain(
    world: &World,
    direction: Direction,
    (address, pod): (Ipv4Addr, &Pod),
    policies: &[&NetworkPolicy],
) -> String {
    let side = direction.other_side();
    // A pod reaches itself, also by its Service.
    let mut lines = vec![format!("{side} {address} return")];
    for policy in policies {
        let namespace = policy.namespace().unwrap_or_default();
        for (peers, ports) in rules(policy, direction) {
            for peers in resolved(world, &namespace, peers) {
                lines.extend(allowed(world, direction, pod, (&peers, ports)));
            }
        }
    }
    let name = direction.chain(address);
    let mut text = format!("  chain {name} {{\n");
    for line in lines.iter().map(String::as_str).chain(["counter drop"]) {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "    {line}");
    }
    text.push_str("  }\n");
    text
}

type Rule<'a> = (
    Option<&'a Vec<NetworkPolicyPeer>>,
    Option<&'a Vec<NetworkPolicyPort>>,
);

fn rules(policy: &NetworkPolicy, direction: Direction) -> Vec<Rule<'_>> {
    let Some(spec) = &policy.spec else {
        return Vec::new();
    };
    // An empty list of peers or ports says the same as none.
    match direction {
        Direction::Ingress => {
            let rules = spec.ingress.iter().flatten();
            rules
                .map(|rule| (filled(rule.from.as_ref()), filled(rule.ports.as_ref())))
                .collect()
        }
        Direction::Egress => {
            let rules = spec.egress.iter().flatten();
            rules
                .map(|rule| (filled(rule.to.as_ref()), filled(rule.ports.as_ref())))
                .collect()
        }
    }
}

fn filled<T>(list: Option<&Vec<T>>) -> Option<&Vec<T>> {
    list.filter(|list| !list.is_empty())
}

/// The sides that a rule names: all its pods as one, and each block.
fn resolved<'a>(
    world: &World,
    namespace: &str,
    peers: Option<&'a Vec<NetworkPolicyPeer>>,
) -> Vec<Peers<'a>> {
    let Some(peers) = peers else {
        return vec![Peers::Anyone];
    };
    let blocks = peers.iter().filter_map(|peer| peer.ip_block.as_ref());
    let selectors = peers.iter().filter(|peer| peer.ip_block.is_none());
    let selectors: Vec<&NetworkPolicyPeer> = selectors.collect();
    let pods = world.pods.iter().filter(|(_, pod)| {
        let mut selectors = selectors.iter();
        selectors.any(|peer| is_peer(world, namespace, peer, pod))
    });
    let pods = Peers::Pods(pods.map(|(address, _)| *address).collect());
    blocks.map(Peers::Block).chain([pods]).collect()
}

/// Without a selector of namespaces it is that of the policy.
fn is_peer(world: &World, namespace: &str, peer: &NetworkPolicyPeer, pod: &Pod) -> bool {
    let selector = peer.namespace_selector.as_ref();
    let within = selector.map_or(pod.namespace == namespace, |selector| {
        let labels = world.namespaces.get(&pod.namespace);
        labels.is_some_and(|labels| takes(Some(selector), labels))
    });
    within && takes(peer.pod_selector.as_ref(), &pod.labels)
}

fn allowed(
    world: &World,
    direction: Direction,
    pod: &Pod,
    (peers, ports): (&Peers<'_>, Option<&Vec<NetworkPolicyPort>>),
) -> Vec<String> {
    let side = direction.other_side();
    let Some(sources) = addresses(side, peers) else {
        return Vec::new();
    };
    let Some(ports) = ports else {
        return vec![format!("{sources}return")];
    };
    let mut lines = Vec::new();
    for port in ports {
        let protocol = port.protocol.as_deref().unwrap_or("TCP").to_lowercase();
        match (&port.port, direction) {
            (None, _) => lines.push(format!("{sources}meta l4proto {protocol} return")),
            (Some(IntOrString::Int(first)), _) => {
                let last = port.end_port.unwrap_or(*first);
                lines.push(format!("{sources}{protocol} dport {first}-{last} return"));
            }
            (Some(IntOrString::String(name)), Direction::Ingress) => {
                let number = numbered(pod, name, &protocol);
                lines.extend(number.map(|it| format!("{sources}{protocol} dport {it} return")));
            }
            // A name means to each pod what it means there.
            (Some(IntOrString::String(name)), Direction::Egress) => {
                let pods = world.pods.iter().filter(|(address, _)| match peers {
                    Peers::Anyone => true,
                    Peers::Pods(pods) => pods.contains(address),
                    Peers::Block(_) => false,
                });
                lines.extend(pods.filter_map(|(address, pod)| {
                    let number = numbered(pod, name, &protocol)?;
                    Some(format!("{side} {address} {protocol} dport {number} return"))
                }));
            }
        }
    }
    lines
}

fn numbered(pod: &Pod, name: &str, protocol: &str) -> Option<u16> {
    let (number, of) = pod.ports.get(name)?;
    of.eq_ignore_ascii_case(protocol).then_some(*number)
}

/// The condition on the other side's address. `None`: there is no such side.
fn addresses(side: &str, peers: &Peers<'_>) -> Option<String> {
    match peers {
        Peers::Anyone => Some(String::new()),
        Peers::Pods(pods) if pods.is_empty() => None,
        Peers::Pods(pods) => {
            let pods: Vec<String> = pods.iter().map(ToString::to_string).collect();
            Some(format!("{side} {{ {} }} ", pods.join(", ")))
        }
        Peers::Block(block) => {
            if block.cidr.contains(':') {
                return None;
            }
            let all = block.cidr.ends_with("/0");
            let within = if all {
                String::new()
            } else {
                format!("{side} {} ", block.cidr)
            };
            let except = block.except.iter().flatten();
            let except: Vec<&str> = except.map(String::as_str).collect();
            let without = if except.is_empty() {
                String::new()
            } else {
                format!("{side} != {{ {} }} ", except.join(", "))
            };
            Some(format!("{within}{without}"))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::world::Labels;

    fn labels(labels: &[(&str, &str)]) -> Labels {
        let labels = labels.iter();
        labels
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    /// A shop with a web pod and a database, and a pod of somebody else's.
    fn world(policies: &[Value]) -> World {
        let pod = |namespace: &str, app: &str, port: u16| Pod {
            namespace: namespace.to_owned(),
            labels: labels(&[("app", app)]),
            ports: [("main".to_owned(), (port, "TCP".to_owned()))].into(),
        };
        let policy = |spec: &Value| {
            let object = json!({"metadata": {"name": "p", "namespace": "shop"}, "spec": spec});
            Arc::new(serde_json::from_value(object).unwrap())
        };
        World {
            pods: [
                (Ipv4Addr::new(10, 42, 0, 2), pod("shop", "web", 80)),
                (Ipv4Addr::new(10, 42, 0, 3), pod("shop", "db", 5432)),
                (Ipv4Addr::new(10, 42, 0, 4), pod("else", "web", 81)),
            ]
            .into(),
            namespaces: ["shop", "else"]
                .map(|name| (name.to_owned(), labels(&[("name", name)])))
                .into(),
            policies: policies.iter().map(policy).collect(),
        }
    }

    /// The lines of a pod's chain without the first and the last one, which are the same for all.
    fn lines(policies: &[Value], chain: &str) -> Vec<String> {
        let text = script(&world(policies));
        let start = text.find(&format!("chain {chain} {{")).unwrap();
        // A set is in braces of its own.
        let chain = text[start..].split("  }\n").next().unwrap();
        let lines: Vec<String> = chain.lines().map(|it| it.trim().to_owned()).collect();
        assert!(lines[1].ends_with("return"), "{lines:?}");
        assert_eq!(lines.last().unwrap(), "counter drop");
        lines[2..lines.len() - 1].to_vec()
    }

    #[test]
    fn without_policies_everything_passes() {
        let text = script(&world(&[]));
        assert!(!text.contains("drop") && !text.contains("vmap"), "{text}");
        assert!(text.starts_with("table ip payment-policies\ndelete table"));
    }

    #[test]
    fn a_policy_closes_what_it_selects_in_its_directions() {
        let closed = json!({"podSelector": {"matchLabels": {"app": "db"}}, "policyTypes": ["Ingress", "Egress"]});
        assert_eq!(
            lines(std::slice::from_ref(&closed), "ingress_10_42_0_3"),
            [""; 0]
        );
        assert_eq!(
            lines(std::slice::from_ref(&closed), "egress_10_42_0_3"),
            [""; 0]
        );
        let text = script(&world(&[closed]));
        assert!(text.contains("ip daddr vmap { 10.42.0.3 : jump ingress_10_42_0_3 }"));
        assert!(!text.contains("10_42_0_2"));
        let usual = script(&world(&[json!({"podSelector": {}})]));
        assert!(usual.contains("ingress_10_42_0_2") && !usual.contains("egress_"));
        assert!(!usual.contains("10_42_0_4"), "of another namespace");
    }

    #[test]
    fn policies_of_one_pod_add_up() {
        let web = json!({"podSelector": {}, "ingress": [
            {"from": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"port": 5432}]},
        ]});
        let any = json!({"podSelector": {"matchExpressions": [
            {"key": "app", "operator": "NotIn", "values": ["web"]},
        ]}, "ingress": [{"ports": [{"port": 53, "protocol": "UDP"}, {"port": 8000, "endPort": 8010}]}]});
        assert_eq!(
            lines(&[web, any], "ingress_10_42_0_3"),
            [
                "ip saddr { 10.42.0.2 } tcp dport 5432-5432 return",
                "udp dport 53-53 return",
                "tcp dport 8000-8010 return",
            ]
        );
    }

    #[test]
    fn namespaces_are_selected_alone_or_with_pods() {
        let from = |peer: Value| json!({"podSelector": {}, "ingress": [{"from": [peer]}]});
        let all = from(json!({"namespaceSelector": {}}));
        let both = from(json!({
            "namespaceSelector": {"matchLabels": {"name": "else"}},
            "podSelector": {"matchLabels": {"app": "web"}},
        }));
        let nobody = from(json!({"podSelector": {"matchLabels": {"app": "none"}}}));
        let chain = "ingress_10_42_0_3";
        assert_eq!(
            lines(&[all], chain),
            ["ip saddr { 10.42.0.2, 10.42.0.3, 10.42.0.4 } return"]
        );
        assert_eq!(lines(&[both], chain), ["ip saddr { 10.42.0.4 } return"]);
        assert_eq!(lines(&[nobody], chain), [""; 0]);
    }

    #[test]
    fn blocks_have_exceptions() {
        let to = |block: Value| {
            json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [
                {"to": [{"ipBlock": block}], "ports": [{"port": 443}]},
            ]})
        };
        let public = to(json!({"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}));
        let one = to(json!({"cidr": "192.0.2.0/24"}));
        let six = to(json!({"cidr": "::/0"}));
        assert_eq!(
            lines(&[public, one, six], "egress_10_42_0_2"),
            [
                "ip daddr != { 10.0.0.0/8 } tcp dport 443-443 return",
                "ip daddr 192.0.2.0/24 tcp dport 443-443 return",
            ]
        );
    }

    #[test]
    fn a_named_port_is_the_receivers() {
        let policy = json!({
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"ports": [{"port": "main"}]}],
            "egress": [{"to": [{"podSelector": {"matchLabels": {"app": "db"}}}], "ports": [{"port": "main"}]}],
        });
        let policies = [policy];
        assert_eq!(
            lines(&policies, "ingress_10_42_0_2"),
            ["tcp dport 80 return"]
        );
        assert_eq!(
            lines(&policies, "egress_10_42_0_2"),
            ["ip daddr 10.42.0.3 tcp dport 5432 return"]
        );
    }

    #[test]
    fn equal_worlds_have_equal_rules() {
        let policy = json!({"podSelector": {}, "ingress": [{}], "egress": [{}]});
        let policies = [policy.clone(), policy];
        assert_eq!(script(&world(&policies)), script(&world(&policies)));
        assert_eq!(lines(&policies, "ingress_10_42_0_2"), ["return", "return"]);
    }
}
