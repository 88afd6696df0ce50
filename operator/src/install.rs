//! The objects that install the operator: namespace, identity, permissions, the fence that keeps
//! late writes out, Deployment.
//!
//! The permissions are made from the table in `kinds`; each rule carries its reason.

mod fence;
pub mod monitoring;

use serde_json::{Value, json};

use crate::{
    build::common,
    kinds::{Entry, KINDS},
    leader::LEASE,
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
        lease_role(namespace)?,
        document(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": metadata(namespace),
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}],
        }))?,
        document(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": NAME, "labels": labels()},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": NAME},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": namespace}],
        }))?,
        document(&fence::policy(namespace))?,
        document(&fence::binding(namespace))?,
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

/// The lease has a fixed name, but a create request cannot be told by name.
fn lease_role(namespace: &str) -> Result<String, serde_saphyr::ser::Error> {
    let head = document(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": metadata(namespace),
    }))?;
    Ok(format!(
        "{head}rules:
# of several operators, the holder of the lease writes
- apiGroups: [\"coordination.k8s.io\"]
  resources: [leases]
  verbs: [create]
- apiGroups: [\"coordination.k8s.io\"]
  resources: [leases]
  resourceNames: [{LEASE}]
  verbs: [get, list, watch, update]
"
    ))
}

fn labels() -> Value {
    json!({"app.kubernetes.io/name": NAME, "app.kubernetes.io/part-of": "payment-system"})
}

fn metadata(namespace: &str) -> Value {
    json!({"name": NAME, "namespace": namespace, "labels": labels()})
}

/// Two replicas: one leads, the other is warm. A new one is ready before an old one goes.
fn deployment(installation: &Installation) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(&installation.namespace),
        "spec": {
            "replicas": 2,
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
            },
            "selector": {"matchLabels": labels()},
            "template": {
                "metadata": {"labels": labels()},
                "spec": {
                    "serviceAccountName": NAME,
                    "terminationGracePeriodSeconds": 10,
                    "topologySpreadConstraints": [{
                        "maxSkew": 1,
                        "topologyKey": "kubernetes.io/hostname",
                        "whenUnsatisfiable": "ScheduleAnyway",
                        "labelSelector": {"matchLabels": labels()},
                    }],
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
    let field = |path: &str| json!({"fieldRef": {"fieldPath": path}});
    let mut env = vec![
        json!({"name": "POD_NAME", "valueFrom": field("metadata.name")}),
        json!({"name": "POD_NAMESPACE", "valueFrom": field("metadata.namespace")}),
        json!({"name": "RUNTIME_IMAGE", "value": installation.runtime_image}),
    ];
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
