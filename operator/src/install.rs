//! The objects that install the operator: namespace, identity, permissions, Deployment.
//!
//! The permissions are made from the table in `kinds`; each rule carries its reason.

use serde_json::{Value, json};

use crate::{
    build::common,
    kinds::{Entry, KINDS},
};

/// What an installation is made of.
#[derive(Clone, Debug)]
pub struct Installation {
    pub namespace: String,
    pub image: String,
    pub runtime_image: String,
    pub simulator_image: Option<String>,
}

const NAME: &str = "payment-operator";
const PORT: u16 = 8080;

/// One rule of the ClusterRole.
struct Permission {
    reason: String,
    group: &'static str,
    resources: Vec<String>,
    verbs: Vec<&'static str>,
}

fn permissions() -> Vec<Permission> {
    let own = |resources: &[&str], verbs: &[&'static str], reason: &str| Permission {
        reason: reason.to_owned(),
        group: crds::GROUP,
        resources: resources
            .iter()
            .map(|&resource| resource.to_owned())
            .collect(),
        verbs: verbs.to_vec(),
    };
    let mut all = vec![
        own(
            &["paymentsystems"],
            &["get", "list", "watch"],
            "reads what is wanted",
        ),
        own(
            &["paymentsystems/status"],
            &["patch"],
            "reports what was observed",
        ),
        own(
            &["paymentsystems/finalizers"],
            &["update"],
            "sets owner references where the cluster checks who may block a deletion",
        ),
    ];
    all.extend(KINDS.iter().map(kind_permission));
    all.push(Permission {
        reason: "notices when an optional kind is installed".to_owned(),
        group: "apiextensions.k8s.io",
        resources: vec!["customresourcedefinitions".to_owned()],
        verbs: vec!["get", "list", "watch"],
    });
    all.push(Permission {
        reason: "says when a system becomes ready, stops being ready or cannot go on".to_owned(),
        group: "events.k8s.io",
        resources: vec!["events".to_owned()],
        verbs: vec!["create", "patch"],
    });
    all
}

fn kind_permission(entry: &Entry) -> Permission {
    Permission {
        reason: entry.reason.to_owned(),
        group: entry.group,
        resources: vec![entry.plural.to_owned()],
        verbs: [["get", "list", "watch"].as_slice(), entry.writes].concat(),
    }
}

/// The installation as YAML documents.
pub fn yaml(installation: &Installation) -> Result<String, serde_saphyr::ser::Error> {
    let namespace = &installation.namespace;
    let mut documents = vec![
        document(&json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": namespace,
                "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            },
        }))?,
        document(&json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": metadata(namespace),
        }))?,
        cluster_role()?,
        document(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": NAME, "labels": labels()},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAME},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}],
        }))?,
        document(&deployment(installation))?,
        document(&json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata(namespace),
            "spec": {
                "selector": labels(),
                "ports": [{"name": "metrics", "port": PORT, "targetPort": "http", "protocol": "TCP"}],
            },
        }))?,
    ];
    documents.insert(0, String::new());
    Ok(documents.join("---\n"))
}

fn document(value: &Value) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(value)
}

/// Rules are written one by one, so that each can carry its reason as a comment.
fn cluster_role() -> Result<String, serde_saphyr::ser::Error> {
    let head = document(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": NAME, "labels": labels()},
    }))?;
    let rules: Vec<String> = permissions()
        .iter()
        .map(|permission| {
            format!(
                "# {}\n- apiGroups: [\"{}\"]\n  resources: [{}]\n  verbs: [{}]\n",
                permission.reason,
                permission.group,
                permission.resources.join(", "),
                permission.verbs.join(", "),
            )
        })
        .collect();
    Ok(format!("{head}rules:\n{}", rules.concat()))
}

fn labels() -> Value {
    json!({"app.kubernetes.io/name": NAME, "app.kubernetes.io/part-of": "payment-system"})
}

fn metadata(namespace: &str) -> Value {
    json!({"name": NAME, "namespace": namespace, "labels": labels()})
}

/// One replica, replaced and never doubled: there is no leader election.
fn deployment(installation: &Installation) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(&installation.namespace),
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": labels()},
            "template": {
                "metadata": {"labels": labels()},
                "spec": {
                    "serviceAccountName": NAME,
                    "terminationGracePeriodSeconds": 10,
                    "securityContext": {
                        "runAsNonRoot": true,
                        "runAsUser": 65532,
                        "runAsGroup": 65532,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [container(installation)],
                },
            },
        },
    })
}

fn container(installation: &Installation) -> Value {
    let mut env = vec![json!({"name": "RUNTIME_IMAGE", "value": installation.runtime_image})];
    if let Some(image) = &installation.simulator_image {
        env.push(json!({"name": "SIMULATOR_IMAGE", "value": image}));
    }
    json!({
        "name": "operator",
        "image": installation.image,
        "args": ["run"],
        "env": env,
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "resources": {
            "requests": {"cpu": "10m", "memory": "32Mi"},
            "limits": {"memory": "128Mi"},
        },
        "securityContext": common::container_security(),
        "startupProbe": common::http_probe("/readyz", "http", 1, 120),
        "readinessProbe": common::http_probe("/readyz", "http", 5, 3),
        "livenessProbe": common::http_probe("/livez", "http", 10, 3),
    })
}
