//! What manifests have in common: metadata, pods that pass the `restricted` Pod Security
//! standard, probes, resources.

use std::collections::BTreeMap;

use contract::names::{
    AUTHORITY_FILE, CERTIFICATE_DIRECTORY, CERTIFICATE_FILE, PRIVATE_KEY_FILE,
    rotation::{NEXT, PREVIOUS},
};
use crds::resources::{Amounts, Resources, Retention};
use serde_json::{Map, Value, json};

use super::{Manifest, Presence, Stage, labels, names};
use crate::{
    cache::{KeyDigest, NamedSecret, short_hash},
    kinds::Kind,
    observe::Observed,
    quantity, rotation,
    validate::ValidSystem,
};

/// An object that lives and dies with its PaymentSystem.
pub fn owned(
    system: &ValidSystem,
    (kind, name, component): (Kind, String, &str),
    stage: Stage,
    body: Value,
) -> Manifest {
    let mut manifest = retained(system, (kind, name, component), stage, body);
    manifest.value["metadata"]["ownerReferences"] = json!([owner(system)]);
    manifest
}

/// An object that outlives its PaymentSystem.
pub fn retained(
    system: &ValidSystem,
    (kind, name, component): (Kind, String, &str),
    stage: Stage,
    body: Value,
) -> Manifest {
    let mut value = Map::new();
    value.insert("apiVersion".to_owned(), json!(kind.entry().api_version()));
    value.insert("kind".to_owned(), json!(kind.name()));
    value.insert(
        "metadata".to_owned(),
        json!({
            "name": name,
            "namespace": system.namespace,
            "labels": labels::all(&system.name, component),
        }),
    );
    if let Value::Object(body) = body {
        value.extend(body);
    }
    Manifest {
        kind,
        name,
        stage,
        presence: Presence::Always,
        value: Value::Object(value),
        first_replicas: None,
    }
}

pub fn owner(system: &ValidSystem) -> Value {
    json!({
        "apiVersion": "paymentsystem.dev/v1alpha1",
        "kind": "PaymentSystem",
        "name": system.name,
        "uid": system.uid,
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// With the default policy a StatefulSet waits for a broken pod for ever, even when its template
/// has been corrected.
pub const POD_MANAGEMENT: &str = "Parallel";

/// A pod template.
pub struct Pod<'a> {
    pub component: &'a str,
    /// User and group that own the image's files.
    pub user: u32,
    pub grace_seconds: u64,
    pub annotations: Value,
    pub init_containers: Value,
    pub container: Value,
    pub volumes: Value,
}

/// The template's `metadata` and `spec`.
pub fn pod_template(system: &ValidSystem, pod: Pod<'_>) -> Value {
    let mut spec = json!({
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": pod.grace_seconds,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": pod.user,
            "runAsGroup": pod.user,
            "fsGroup": pod.user,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [pod.container],
        "volumes": pod.volumes,
    });
    if !pod.init_containers.is_null() {
        spec["initContainers"] = pod.init_containers;
    }
    json!({
        "metadata": {
            "labels": labels::all(&system.name, pod.component),
            "annotations": pod.annotations,
        },
        "spec": spec,
    })
}

/// What every container must say to pass `restricted`.
pub fn container_security() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]},
    })
}

pub fn resources(resources: &Resources) -> Value {
    let mut value = Map::new();
    let requests = amounts(&resources.requests);
    if requests != json!({}) {
        value.insert("requests".to_owned(), requests);
    }
    if let Some(limits) = &resources.limits {
        value.insert("limits".to_owned(), amounts(limits));
    }
    Value::Object(value)
}

fn amounts(amounts: &Amounts) -> Value {
    let mut value = Map::new();
    if let Some(cpu) = &amounts.cpu {
        value.insert("cpu".to_owned(), json!(cpu));
    }
    if let Some(memory) = &amounts.memory {
        value.insert("memory".to_owned(), json!(memory));
    }
    Value::Object(value)
}

/// Looks every second, so that a started container counts as ready within a second.
pub fn tcp_probe(port: &str, failures: u32) -> Value {
    json!({"tcpSocket": {"port": port}, "periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": failures})
}

pub fn http_probe(path: &str, port: &str, period: u32, failures: u32) -> Value {
    json!({
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    })
}

/// Spreads a component's pods over nodes and zones where there are several.
pub fn spread(system: &ValidSystem, component: &str) -> Value {
    let selector = json!({"matchLabels": labels::selector(&system.name, component)});
    let constraint = |key: &str| {
        json!({
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": selector,
        })
    };
    json!([
        constraint("topology.kubernetes.io/zone"),
        constraint("kubernetes.io/hostname")
    ])
}

pub fn anti_affinity(system: &ValidSystem, component: &str) -> Value {
    json!({"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
        "weight": 100,
        "podAffinityTerm": {
            "topologyKey": "kubernetes.io/hostname",
            "labelSelector": {"matchLabels": labels::selector(&system.name, component)},
        },
    }]}})
}

/// What a server reads of its certificate's Secret.
pub const CERTIFICATE_PAIR: &[&str] = &[CERTIFICATE_FILE, PRIVATE_KEY_FILE];
/// The same for a server that verifies what it shows.
pub const CERTIFICATE_AND_AUTHORITY: &[&str] =
    &[CERTIFICATE_FILE, PRIVATE_KEY_FILE, AUTHORITY_FILE];

/// A volume with a certificate and its private key, as files that follow the Secret.
fn certificate_volume(secret: &str, keys: &[&str]) -> Value {
    let item = |key: &&str| json!({"key": key, "path": key});
    let items: Vec<Value> = keys.iter().map(item).collect();
    json!({
        "name": "certificate",
        "secret": {"secretName": secret, "defaultMode": 0o440, "items": items},
    })
}

/// Gives a pod's first container a certificate.
pub fn mount_certificate(template: &mut Value, secret: &str, keys: &[&str]) {
    let mount =
        json!({"name": "certificate", "mountPath": CERTIFICATE_DIRECTORY, "readOnly": true});
    let volume = certificate_volume(secret, keys);
    add(template, "/spec/volumes", volume);
    add(template, "/spec/containers/0/volumeMounts", mount);
}

/// Adds an entry to a list of a pod template.
pub fn add(template: &mut Value, pointer: &str, entry: Value) {
    if let Some(Value::Array(entries)) = template.pointer_mut(pointer) {
        entries.push(entry);
    }
}

/// A volume that holds one key of a Secret as a file.
pub fn secret_file(volume: &str, secret: &str, key: &str, path: &str) -> Value {
    json!({
        "name": volume,
        "secret": {"secretName": secret, "defaultMode": 0o440, "items": [{"key": key, "path": path}]},
    })
}

pub fn secret_env(variable: &str, secret: &str, key: &str) -> Value {
    json!({"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}})
}

/// As [`secret_env`]; the variable is absent where the key is.
pub fn optional_secret_env(variable: &str, secret: &str, key: &str) -> Value {
    let mut env = secret_env(variable, secret, key);
    env["valueFrom"]["secretKeyRef"]["optional"] = json!(true);
    env
}

/// A password as a variable, with those beside it while it is rotated: the next one and the
/// former one. Variables are read anew at each start of a container.
pub fn password_env(variable: &str, secret: &str, key: &str) -> [Value; 3] {
    let beside = |prefix: &str| format!("{prefix}{key}");
    [
        secret_env(variable, secret, key),
        optional_secret_env(&format!("NEXT_{variable}"), secret, &beside(NEXT)),
        optional_secret_env(&format!("PREVIOUS_{variable}"), secret, &beside(PREVIOUS)),
    ]
}

/// A Service in front of a component's pods: `(port name, port, container port name)`.
pub fn service(
    system: &ValidSystem,
    name: String,
    component: &str,
    ports: &[(&str, u16, &str)],
) -> Manifest {
    let ports: Vec<Value> = ports
        .iter()
        .map(|(name, port, target)| {
            json!({"name": name, "port": port, "targetPort": target, "protocol": "TCP"})
        })
        .collect();
    let spec = json!({"selector": labels::selector(&system.name, component), "ports": ports});
    owned(
        system,
        (Kind::Service, name, component),
        Stage::Stores,
        json!({"spec": spec}),
    )
}

/// A Service that gives pods names instead of sharing an address.
pub fn headless(mut service: Manifest) -> Manifest {
    service.value["spec"]["clusterIP"] = json!("None");
    service
}

/// The claim of a managed store's volume. A claim's size cannot change in its template, so the
/// template keeps the size the StatefulSet was made with; [`claim`] grows the claim itself.
pub fn claim_template(
    system: &ValidSystem,
    observed: &Observed,
    (name, component): (&str, &str),
    (size, class): (&str, &str),
) -> Value {
    let pointer = "/spec/volumeClaimTemplates/0/spec/resources/requests/storage";
    let live = observed.value(Kind::StatefulSet, name);
    let live_size = live
        .as_ref()
        .and_then(|live| live.pointer(pointer))
        .and_then(Value::as_str);
    json!([{
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "labels": labels::all(&system.name, component)},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": class,
            "resources": {"requests": {"storage": live_size.unwrap_or(size)}},
        },
    }])
}

/// What the operator says about a claim that a StatefulSet made: its size, and whether it is
/// deleted with the PaymentSystem. A claim that was grown by hand keeps its size.
pub fn claim(
    system: &ValidSystem,
    observed: &Observed,
    (statefulset, component): (&str, &str),
    (size, retention): (&str, Retention),
) -> Manifest {
    let name = format!("data-{statefulset}-0");
    let live = observed.value(Kind::PersistentVolumeClaim, &name);
    let live_size = live
        .as_ref()
        .and_then(|live| live.pointer("/spec/resources/requests/storage"))
        .and_then(Value::as_str)
        .filter(|live| quantity::milli(live) >= quantity::milli(size));
    let identity = (Kind::PersistentVolumeClaim, name, component);
    let body = json!({"spec": {"resources": {"requests": {"storage": live_size.unwrap_or(size)}}}});
    let manifest = match retention {
        Retention::Retain => retained(system, identity, Stage::Stores, body),
        Retention::Delete => owned(system, identity, Stage::Stores, body),
    };
    Manifest {
        presence: Presence::WhenPresent,
        ..manifest
    }
}

/// One digest over some keys of a Secret; `absent` for those it does not have.
pub fn credentials_digest<'a>(
    observed: &Observed,
    wanted: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> String {
    digest_of_values(wanted, |secret, key| {
        let digests = secret_digests(observed, secret);
        digests.get(key).map(|digest| digest.hash.clone())
    })
}

/// The same for the pod of a store, which needs no restart for values that a rotation brought it.
pub fn store_credentials_digest<'a>(
    observed: &Observed,
    wanted: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> String {
    digest_of_values(wanted, |secret, key| {
        rotation::store_digest(observed, secret, key)
    })
}

fn digest_of_values<'a>(
    wanted: impl IntoIterator<Item = (&'a str, &'a str)>,
    hash: impl Fn(&str, &str) -> Option<String>,
) -> String {
    let lines: Vec<String> = wanted
        .into_iter()
        .map(|(secret, key)| {
            let hash = hash(secret, key).unwrap_or_else(|| "absent".to_owned());
            format!("{secret}/{key}={hash}")
        })
        .collect();
    short_hash(lines.join("\n").as_bytes())
}

/// The digests of a Secret, whoever owns it.
pub fn secret_digests(observed: &Observed, secret: &str) -> BTreeMap<String, KeyDigest> {
    match observed.named_secrets.get(secret) {
        Some(NamedSecret::Present(digests)) => digests.clone(),
        Some(NamedSecret::Unreadable(_) | NamedSecret::Absent) => BTreeMap::new(),
        None => observed.secret(secret).unwrap_or_default(),
    }
}

pub fn digest(value: &impl serde::Serialize) -> String {
    let text = serde_json::to_string(value).unwrap_or_default();
    short_hash(text.as_bytes())
}

/// Whether the operator runs this store itself.
pub fn mysql_host(system: &ValidSystem) -> (String, u16) {
    system.spec.mysql.external.as_ref().map_or_else(
        || {
            (
                system.host(&names::mysql(&system.name)),
                contract::ports::MYSQL,
            )
        },
        |external| (external.host.clone(), external.port),
    )
}
