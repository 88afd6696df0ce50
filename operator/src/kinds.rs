//! The kinds of objects the operator touches, with what it may do to each and why.
//!
//! One table: watches, discovery and the generated ClusterRole are all made from it, so a kind
//! that is not listed here can neither be read nor written.

use kube::{api::ApiResource, core::GroupVersionKind};

/// A kind of object. The order is the order in which objects of one stage are applied: what is
/// mounted comes before what mounts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Secret,
    ConfigMap,
    Service,
    NetworkPolicy,
    PersistentVolumeClaim,
    PodDisruptionBudget,
    StatefulSet,
    Job,
    Deployment,
    HorizontalPodAutoscaler,
    CronJob,
    Ingress,
    HttpRoute,
    ServiceMonitor,
    PrometheusRule,
    Pod,
}

/// How the API server names a kind, and what the operator may do with it.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub kind: Kind,
    pub group: &'static str,
    pub version: &'static str,
    pub name: &'static str,
    pub plural: &'static str,
    /// Verbs beside `list` and `watch`: what is known of an object comes from a watch.
    pub writes: &'static [&'static str],
    /// Why the operator needs them.
    pub reason: &'static str,
    /// The kind comes from a CustomResourceDefinition that may be absent.
    pub optional: bool,
}

const APPLY: &[&str] = &["create", "patch", "delete"];
/// What exists for as long as the system: whether it does can no longer be changed.
const KEEP: &[&str] = &["create", "patch"];

const fn entry(
    kind: Kind,
    group: &'static str,
    version: &'static str,
    names: [&'static str; 2],
) -> Entry {
    let [name, plural] = names;
    Entry {
        kind,
        group,
        version,
        name,
        plural,
        writes: APPLY,
        reason: "",
        optional: false,
    }
}

impl Entry {
    const fn because(self, reason: &'static str) -> Self {
        Self { reason, ..self }
    }

    const fn may(self, writes: &'static [&'static str]) -> Self {
        Self { writes, ..self }
    }

    const fn if_installed(self) -> Self {
        Self {
            optional: true,
            ..self
        }
    }

    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    pub fn resource(&self) -> ApiResource {
        let gvk = GroupVersionKind::gvk(self.group, self.version, self.name);
        ApiResource::from_gvk_with_plural(&gvk, self.plural)
    }

    /// Name of the CustomResourceDefinition of an optional kind.
    pub fn crd_name(&self) -> String {
        format!("{}.{}", self.plural, self.group)
    }
}

/// Every kind, in the order of [`Kind`].
pub const KINDS: [Entry; 16] = [
    entry(Kind::Secret, "", "v1", ["Secret", "secrets"])
        .may(KEEP)
        .because(
            "makes credentials, and replaces them when asked to; follows those that a PaymentSystem names. Never deletes one",
        ),
    entry(Kind::ConfigMap, "", "v1", ["ConfigMap", "configmaps"])
        .because("configuration files of stores and services"),
    entry(Kind::Service, "", "v1", ["Service", "services"])
        .because("addresses of stores and services"),
    entry(
        Kind::NetworkPolicy,
        "networking.k8s.io",
        "v1",
        ["NetworkPolicy", "networkpolicies"],
    )
    .because("closes the pods of a system but for what it needs"),
    entry(
        Kind::PersistentVolumeClaim,
        "",
        "v1",
        ["PersistentVolumeClaim", "persistentvolumeclaims"],
    )
    .may(&["patch"])
    .because("grows volumes and keeps their retention; StatefulSets make them. Never deletes one"),
    entry(
        Kind::PodDisruptionBudget,
        "policy",
        "v1",
        ["PodDisruptionBudget", "poddisruptionbudgets"],
    )
    .because("keeps services up while nodes are drained"),
    entry(
        Kind::StatefulSet,
        "apps",
        "v1",
        ["StatefulSet", "statefulsets"],
    )
    .may(KEEP)
    .because("MySQL, Redis and the transaction coordinator. Never deletes one"),
    entry(Kind::Job, "batch", "v1", ["Job", "jobs"])
        .because("schema migrations; tells the stores about passwords that are rotated"),
    entry(
        Kind::Deployment,
        "apps",
        "v1",
        ["Deployment", "deployments"],
    )
    .because("payment, callback, worker and reconciliation services, the simulator"),
    entry(
        Kind::HorizontalPodAutoscaler,
        "autoscaling",
        "v2",
        ["HorizontalPodAutoscaler", "horizontalpodautoscalers"],
    )
    .because("autoscaling of the payment and callback services"),
    entry(Kind::CronJob, "batch", "v1", ["CronJob", "cronjobs"])
        .because("scheduled reconciliation"),
    entry(
        Kind::Ingress,
        "networking.k8s.io",
        "v1",
        ["Ingress", "ingresses"],
    )
    .because("exposes the callback paths where spec.expose.ingress asks for it"),
    entry(
        Kind::HttpRoute,
        "gateway.networking.k8s.io",
        "v1",
        ["HTTPRoute", "httproutes"],
    )
    .if_installed()
    .because("exposes the callback paths where spec.expose.gateway asks for it"),
    entry(
        Kind::ServiceMonitor,
        "monitoring.coreos.com",
        "v1",
        ["ServiceMonitor", "servicemonitors"],
    )
    .if_installed()
    .because("metrics of the services, where the Prometheus Operator is installed"),
    entry(
        Kind::PrometheusRule,
        "monitoring.coreos.com",
        "v1",
        ["PrometheusRule", "prometheusrules"],
    )
    .if_installed()
    .because("alerts, where the Prometheus Operator is installed"),
    entry(Kind::Pod, "", "v1", ["Pod", "pods"])
        .may(&[])
        .because("says why something is not ready; results of reconciliation runs"),
];

impl Kind {
    pub fn entry(self) -> &'static Entry {
        &KINDS[self as usize]
    }

    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// The kind of that name.
    pub fn of(name: &str) -> Option<Self> {
        let entry = KINDS.iter().find(|entry| entry.name == name);
        entry.map(|entry| entry.kind)
    }

    /// Whether pods read it or it makes pods.
    pub const fn is_mounted_or_runs(self) -> bool {
        matches!(
            self,
            Self::ConfigMap | Self::StatefulSet | Self::Deployment | Self::Job | Self::CronJob
        )
    }

    /// Whether the operator removes objects of this kind that the specification no longer asks
    /// for. Stores, their data and their credentials are never removed.
    pub fn removable(self) -> bool {
        self.entry().writes.contains(&"delete")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (index, entry) in KINDS.iter().enumerate() {
            assert_eq!(entry.kind as usize, index, "{}", entry.name);
            assert!(!entry.reason.is_empty(), "{} needs a reason", entry.name);
        }
    }
}
