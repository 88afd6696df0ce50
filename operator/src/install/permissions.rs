//! What the operator may do, rule by rule, each with its reason.
//!
//! Guarantees: every verb is needed, and none is missing (`operator/tests/access` asks the API
//! server). Only what the operator deletes in the life of a system may it delete: never a store,
//! its data or its credentials.

use serde_json::{Value, json};
use serde_saphyr::ser::Error;

use super::{Installation, NAME, document, labels, metadata};
use crate::{
    kinds::{Entry, KINDS},
    leader::LEASE,
};

/// Name of the Role in a namespace with systems: another one than the lease's, which may be in the
/// same namespace.
const SYSTEMS: &str = "payment-operator-systems";

/// One rule of a role.
struct Permission {
    reason: &'static str,
    group: &'static str,
    resource: String,
    /// The only objects it is for; none: all.
    names: Vec<String>,
    verbs: Vec<&'static str>,
}

impl Permission {
    fn own(resource: &str, verbs: &[&'static str], reason: &'static str) -> Self {
        Self {
            reason,
            group: crds::GROUP,
            resource: resource.to_owned(),
            names: Vec::new(),
            verbs: verbs.to_vec(),
        }
    }

    /// Written out, so that the reason can stand above it as a comment.
    fn yaml(&self) -> String {
        let names = if self.names.is_empty() {
            String::new()
        } else {
            format!("  resourceNames: [{}]\n", self.names.join(", "))
        };
        format!(
            "# {}\n- apiGroups: [\"{}\"]\n  resources: [{}]\n{names}  verbs: [{}]\n",
            self.reason,
            self.group,
            self.resource,
            self.verbs.join(", "),
        )
    }
}

/// What a system needs, in its namespace.
fn systems(installation: &Installation) -> Vec<Permission> {
    let mut all = vec![
        Permission::own("paymentsystems", &["list", "watch"], "reads what is wanted"),
        Permission::own(
            "paymentsystems/status",
            &["patch"],
            "reports what was observed",
        ),
    ];
    all.extend(KINDS.iter().map(of_kind));
    all.push(Permission {
        reason: "says when a system becomes ready, stops being ready or cannot go on",
        group: "events.k8s.io",
        resource: "events".to_owned(),
        names: Vec::new(),
        verbs: vec!["create", "patch"],
    });
    if installation.owner_references_enforced {
        all.extend(owner_references());
    }
    all
}

fn of_kind(entry: &Entry) -> Permission {
    Permission {
        reason: entry.reason,
        group: entry.group,
        resource: entry.plural.to_owned(),
        names: Vec::new(),
        verbs: [["list", "watch"].as_slice(), entry.writes].concat(),
    }
}

/// What is asked of who sets owner references, where the API server asks.
fn owner_references() -> Vec<Permission> {
    let mut all = vec![Permission::own(
        "paymentsystems/finalizers",
        &["update"],
        "names a PaymentSystem as an owner that goes only after what it owns",
    )];
    let kept = KINDS
        .iter()
        .filter(|entry| !entry.writes.is_empty() && !entry.kind.removable());
    all.extend(kept.map(|entry| Permission {
        reason: "names an owner for an object that exists; the operator itself never deletes one",
        verbs: vec!["delete"],
        ..of_kind(entry)
    }));
    all
}

/// What is needed of the cluster itself.
fn cluster() -> Permission {
    let optional = KINDS.iter().filter(|entry| entry.optional);
    Permission {
        reason: "notices when an optional kind is installed",
        group: "apiextensions.k8s.io",
        resource: "customresourcedefinitions".to_owned(),
        names: optional.map(Entry::crd_name).collect(),
        verbs: vec!["list", "watch"],
    }
}

fn rules(permissions: &[Permission]) -> String {
    let rules: Vec<String> = permissions.iter().map(Permission::yaml).collect();
    format!("rules:\n{}", rules.concat())
}

fn role(kind: &str, metadata: &Value) -> Result<String, Error> {
    document(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": metadata,
    }))
}

/// For systems in every namespace.
pub(super) fn in_the_cluster(installation: &Installation) -> Result<Vec<String>, Error> {
    let mut permissions = systems(installation);
    permissions.push(cluster());
    let metadata = json!({"name": NAME, "labels": labels()});
    let head = role("ClusterRole", &metadata)?;
    Ok(vec![
        format!("{head}{}", rules(&permissions)),
        binding(("ClusterRole", NAME), &metadata, &installation.namespace)?,
    ])
}

/// For systems in some namespaces: a Role in each, and nothing of the cluster.
pub(super) fn in_namespaces(installation: &Installation) -> Result<Vec<String>, Error> {
    let permissions = rules(&systems(installation));
    let mut all = Vec::new();
    for namespace in &installation.watch_namespaces {
        let metadata = json!({"name": SYSTEMS, "namespace": namespace, "labels": labels()});
        all.push(format!("{}{permissions}", role("Role", &metadata)?));
        all.push(binding(
            ("Role", SYSTEMS),
            &metadata,
            &installation.namespace,
        )?);
    }
    Ok(all)
}

/// The lease has a fixed name, but a create request cannot be told by name.
pub(super) fn lease_role(namespace: &str) -> Result<String, Error> {
    let head = role("Role", &metadata(namespace))?;
    let lease = |names: &[&str], verbs: &[&'static str]| Permission {
        reason: "of several operators, the holder of the lease writes",
        group: "coordination.k8s.io",
        resource: "leases".to_owned(),
        names: names.iter().map(|&name| name.to_owned()).collect(),
        verbs: verbs.to_vec(),
    };
    let permissions = [
        lease(&[], &["create"]),
        lease(&[LEASE], &["get", "list", "watch", "update"]),
    ];
    Ok(format!("{head}{}", rules(&permissions)))
}

pub(super) fn lease_binding(namespace: &str) -> Result<String, Error> {
    binding(("Role", NAME), &metadata(namespace), namespace)
}

/// Gives a role to the operator, whose namespace is `namespace`.
fn binding((kind, name): (&str, &str), metadata: &Value, namespace: &str) -> Result<String, Error> {
    document(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": format!("{kind}Binding"),
        "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}],
    }))
}
