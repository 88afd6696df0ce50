//! The objects that install the operator: namespace, identity, permissions, the fence that keeps
//! late writes out, Deployment.
//!
//! For named namespaces there is nothing that belongs to the cluster: Roles where the systems are,
//! no namespace, and the fence apart, for those who may install it.
//!
//! The permissions are made from the table in `kinds`; each rule carries its reason, and a test
//! needs each of its verbs (`operator/tests/access`).

mod fence;
pub mod monitoring;
mod permissions;

use serde_json::{Value, json};
use serde_saphyr::ser::Error;

use crate::build::common;

/// What an installation is made of.
#[derive(Clone, Debug, Default)]
pub struct Installation {
    pub namespace: String,
    pub image: String,
    pub runtime_image: String,
    pub simulator_image: Option<String>,
    /// The API server asks who sets an owner reference whether it may delete the object and block
    /// the owner's deletion (`OwnerReferencesPermissionEnforcement`; on OpenShift it does).
    pub owner_references_enforced: bool,
    /// The only namespaces with systems, where the operator gets Roles; none: the whole cluster.
    pub watch_namespaces: Vec<String>,
}

const NAME: &str = "payment-operator";
const PORT: u16 = 8080;

/// The installation as YAML documents.
pub fn yaml(installation: &Installation) -> Result<String, Error> {
    let namespace = &installation.namespace;
    let account = document(&json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(namespace),
    }))?;
    let lease = [
        permissions::lease_role(namespace)?,
        permissions::lease_binding(namespace)?,
    ];
    let running = [
        document(&deployment(installation))?,
        document(&service(namespace))?,
    ];
    let around = if installation.watch_namespaces.is_empty() {
        Around {
            before: vec![document(&own_namespace(namespace))?],
            rights: permissions::in_the_cluster(installation)?,
            after: vec![fence(fence::POLICY, namespace)?],
        }
    } else {
        Around {
            rights: permissions::in_namespaces(installation)?,
            ..Around::default()
        }
    };
    let documents = [
        around.before,
        vec![account],
        around.rights,
        lease.to_vec(),
        around.after,
        running.to_vec(),
    ];
    Ok(documents
        .concat()
        .iter()
        .fold(String::new(), |all, next| all + "---\n" + next))
}

/// What depends on where the operator looks.
#[derive(Default)]
struct Around {
    before: Vec<String>,
    rights: Vec<String>,
    after: Vec<String>,
}

/// The fence of an operator that is installed without rights in the cluster, for those who have
/// them. Several such operators have one each.
pub fn fence_yaml(namespace: &str) -> Result<String, Error> {
    let name = format!("{}-{namespace}", fence::POLICY);
    Ok(format!("---\n{}", fence(&name, namespace)?))
}

fn fence(name: &str, namespace: &str) -> Result<String, Error> {
    let policy = document(&fence::policy(name, namespace))?;
    let binding = document(&fence::binding(name, namespace))?;
    Ok(format!("{policy}---\n{binding}"))
}

fn own_namespace(namespace: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": namespace,
            "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
        },
    })
}

fn service(namespace: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(namespace),
        "spec": {
            "selector": labels(),
            "ports": [{"name": "metrics", "port": PORT, "targetPort": "http", "protocol": "TCP"}],
        },
    })
}

fn document(value: &Value) -> Result<String, Error> {
    serde_saphyr::to_string(value)
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
        // What is free goes back at once: lists and bursts leave no spike behind.
        json!({"name": "MIMALLOC_PURGE_DELAY", "value": "0"}),
        json!({"name": "RUNTIME_IMAGE", "value": installation.runtime_image}),
    ];
    if let Some(image) = &installation.simulator_image {
        env.push(json!({"name": "SIMULATOR_IMAGE", "value": image}));
    }
    if !installation.watch_namespaces.is_empty() {
        let namespaces = installation.watch_namespaces.join(",");
        env.push(json!({"name": "WATCH_NAMESPACES", "value": namespaces}));
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
