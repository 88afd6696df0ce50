//! What of the cluster decides about a packet.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Pod as KubernetesPod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::ResourceExt as _;
use kube::core::{Selector, SelectorExt as _};

pub(crate) type Labels = BTreeMap<String, String>;

/// A pod with an address of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) namespace: String,
    pub(crate) labels: Labels,
    /// Number and protocol of its named ports.
    pub(crate) ports: BTreeMap<String, (u16, String)>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) pods: BTreeMap<Ipv4Addr, Pod>,
    pub(crate) namespaces: BTreeMap<String, Labels>,
    pub(crate) policies: Vec<Arc<NetworkPolicy>>,
}

impl World {
    pub(crate) fn of(
        pods: &[Arc<KubernetesPod>],
        namespaces: &[Arc<Namespace>],
        policies: &[Arc<NetworkPolicy>],
    ) -> Self {
        let mut pods: Vec<&Arc<KubernetesPod>> = pods.iter().collect();
        // An address that is used again belongs to the youngest.
        pods.sort_by_key(|pod| pod.creation_timestamp());
        let labels = |namespace: &Arc<Namespace>| (namespace.name_any(), labels(&**namespace));
        let mut policies = policies.to_vec();
        policies.sort_by_key(|policy| (policy.namespace(), policy.name_any()));
        Self {
            pods: pods.into_iter().filter_map(|pod| known(pod)).collect(),
            namespaces: namespaces.iter().map(labels).collect(),
            policies,
        }
    }

    pub(crate) fn summary(&self) -> String {
        let (policies, pods) = (self.policies.len(), self.pods.len());
        format!("enforcing {policies} policies among {pods} pods")
    }
}

fn labels(object: &impl kube::ResourceExt) -> Labels {
    object.labels().clone()
}

/// One that has ended has given its address back.
fn known(pod: &KubernetesPod) -> Option<(Ipv4Addr, Pod)> {
    let (spec, status) = (pod.spec.as_ref()?, pod.status.as_ref()?);
    let ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    if ended || spec.host_network == Some(true) {
        return None;
    }
    let address = status.pod_ip.as_ref()?.parse().ok()?;
    let containers = spec.containers.iter();
    let ports = containers.flat_map(|it| it.ports.iter().flatten());
    let ports = ports.filter_map(|port| {
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        let number = u16::try_from(port.container_port).ok()?;
        Some((port.name.clone()?, (number, protocol)))
    });
    let known = Pod {
        namespace: pod.namespace().unwrap_or_default(),
        labels: labels(pod),
        ports: ports.collect(),
    };
    Some((address, known))
}

/// Whether a selector takes these labels; one without any condition takes all.
pub(crate) fn takes(selector: Option<&LabelSelector>, labels: &Labels) -> bool {
    let Some(selector) = selector else {
        return true;
    };
    // One that cannot be read takes nothing.
    Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(labels))
}
