//! The managed Redis (or Valkey) server.
//!
//! The password is an argument, not part of the configuration file, so that the file is a plain
//! ConfigMap. While it is rotated the other one is an argument as well: each start of the container
//! accepts what the Secret holds then. The image needs `sh` and `redis-server`.

use contract::names::{
    CERTIFICATE_DIRECTORY, CERTIFICATE_FILE, PRIVATE_KEY_FILE, rotation::PASSWORD,
};
use crds::reconciliation::SecretKeyRef;
use serde_json::{Value, json};

use super::{
    Manifest, Stage,
    common::{self, Pod},
    labels::{self, component::REDIS},
    names,
};
use crate::{
    kinds::Kind,
    observe::Observed,
    validate::{ValidSystem, certificate_keys},
};

const USER: u32 = 999;

pub fn manifests(system: &ValidSystem, observed: &Observed) -> Vec<Manifest> {
    if system.spec.redis.external.is_some() {
        return left_over(system, observed).into_iter().collect();
    }
    let name = names::redis(&system.name);
    let redis = &system.spec.redis;
    let ports = [("redis", contract::ports::REDIS, "redis")];
    let identity = (Kind::ConfigMap, name.clone(), REDIS);
    vec![
        common::headless(common::service(system, name.clone(), REDIS, &ports)),
        common::claim(
            system,
            observed,
            (&name, REDIS),
            (&redis.storage.size, redis.retention),
        ),
        common::owned(
            system,
            identity,
            Stage::Stores,
            json!({"data": {"redis.conf": redis_conf(system)}}),
        ),
        statefulset(system, observed),
    ]
}

/// The server that stood here before an external one was named. Nobody deletes it, and it runs until
/// the system is stopped.
fn left_over(system: &ValidSystem, observed: &Observed) -> Option<Manifest> {
    observed.get(Kind::StatefulSet, &names::redis(&system.name))?;
    system.spec.stopped.then(|| statefulset(system, observed))
}

fn redis_conf(system: &ValidSystem) -> String {
    let redis = &system.spec.redis;
    let port = contract::ports::REDIS;
    let port = match &redis.tls {
        None => format!("port {port}"),
        Some(_) => format!(
            "port 0
tls-port {port}
tls-cert-file {CERTIFICATE_DIRECTORY}/{CERTIFICATE_FILE}
tls-key-file {CERTIFICATE_DIRECTORY}/{PRIVATE_KEY_FILE}
tls-auth-clients no"
        ),
    };
    format!(
        "{port}
bind * -::*
dir /data
save \"\"
appendonly yes
appendfsync {appendfsync}
maxmemory {maxmemory}
maxmemory-policy {policy}
",
        appendfsync = word(&redis.appendfsync),
        maxmemory = redis.maxmemory,
        policy = word(&redis.maxmemory_policy),
    )
}

/// The spelling of an enum value in the resource, which is Redis' own.
fn word(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

/// The server reads its certificate at the start alone. Nothing is lost by one: the database
/// answers meanwhile.
fn credentials_hash(system: &ValidSystem, observed: &Observed) -> String {
    let name = names::redis(&system.name);
    let tls = system.spec.redis.tls.as_ref();
    let certificate: Vec<SecretKeyRef> = tls.map(certificate_keys).into_iter().flatten().collect();
    let certificate = certificate
        .iter()
        .map(|secret| (secret.name.as_str(), secret.key.as_str()));
    let consumed = std::iter::once((name.as_str(), PASSWORD)).chain(certificate);
    common::store_credentials_digest(observed, consumed)
}

fn statefulset(system: &ValidSystem, observed: &Observed) -> Manifest {
    let name = names::redis(&system.name);
    let redis = &system.spec.redis;
    let pod = Pod {
        component: REDIS,
        user: USER,
        grace_seconds: 30,
        annotations: json!({
            labels::CONFIG_HASH: common::digest(&redis_conf(system)),
            labels::CREDENTIALS_HASH: credentials_hash(system, observed),
        }),
        init_containers: Value::Null,
        container: container(system),
        volumes: json!([{"name": "config", "configMap": {"name": name}}]),
    };
    let mut template = common::pod_template(system, pod);
    if let Some(tls) = &redis.tls {
        let secret = &tls.certificate_ref.name;
        common::mount_certificate(&mut template, secret, common::CERTIFICATE_PAIR);
    }
    let spec = json!({
        "replicas": 1,
        "serviceName": name,
        "podManagementPolicy": common::POD_MANAGEMENT,
        "selector": {"matchLabels": labels::selector(&system.name, REDIS)},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
        "template": template,
        "volumeClaimTemplates": common::claim_template(
            system,
            observed,
            (&name, REDIS),
            (&redis.storage.size, &redis.storage.storage_class_name),
        ),
    });
    common::owned(
        system,
        (Kind::StatefulSet, name, REDIS),
        Stage::Stores,
        json!({"spec": spec}),
    )
}

const START: &str = include_str!("redis_start.sh");

fn container(system: &ValidSystem) -> Value {
    json!({
        "name": "redis",
        "image": system.spec.redis.image,
        "command": ["sh", "-c", START],
        "env": common::password_env("REDIS_PASSWORD", &names::redis(&system.name), PASSWORD),
        "ports": [{"name": "redis", "containerPort": contract::ports::REDIS, "protocol": "TCP"}],
        "resources": common::resources(&system.spec.redis.resources),
        "securityContext": common::container_security(),
        "startupProbe": common::tcp_probe("redis", 300),
        "readinessProbe": common::tcp_probe("redis", 5),
        "volumeMounts": [
            {"name": "data", "mountPath": "/data"},
            {"name": "config", "mountPath": "/etc/payment/redis", "readOnly": true},
        ],
    })
}
