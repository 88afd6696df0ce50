//! The pod of a runtime role: its arguments, its probes, and the Secrets it reads as files.
//!
//! Guarantees: a role mounts only what it reads, so that a Secret another role needs never holds
//! it back.
//!
//! Deliberately not here: which roles there are, and what runs them (`runtime`, `schedule`).

use contract::{
    Role,
    names::{
        AUTHORITY_FILE, CERTIFICATE_DIRECTORY, CHANNEL_CREDENTIALS_DIRECTORY, CONFIG_DIRECTORY,
        CONFIG_FILE, COORDINATOR_AUTHORITY_DIRECTORY, MYSQL_AUTHORITY_DIRECTORY,
        MYSQL_CREDENTIALS_DIRECTORY, NOTIFY_CREDENTIALS_DIRECTORY, NOTIFY_SECRET_FILE,
        ORDERS_CREDENTIALS_DIRECTORY, PASSWORD_FILE, PEOPLE_DIRECTORY, PEOPLE_FILE,
        REDIS_AUTHORITY_DIRECTORY, REDIS_CREDENTIALS_DIRECTORY,
    },
    ports,
};
use crds::{reconciliation::SecretKeyRef, resources::Resources};
use serde_json::{Value, json};

use super::{
    common::{self, Pod},
    names,
};
use crate::{observe::Observed, validate::ValidSystem};

/// User of the runtime image.
const USER: u32 = 65_532;

/// The pod of a role: what it is called with, and which Secrets it reads.
pub struct RuntimePod<'a> {
    pub component: &'a str,
    pub image: &'a str,
    pub args: Vec<String>,
    pub resources: &'a Resources,
    pub annotations: Value,
    /// The role works with the payment database and the cache.
    pub stores: bool,
    /// The role talks to the channels, with these keys of their Secret.
    pub channel_keys: Option<Vec<&'static str>>,
    /// What else it reads of the Secrets that the specification names.
    pub files: Vec<SecretFile>,
    /// The Secret with the certificate that the role shows. The process takes a renewed one up
    /// itself, so no digest of it stands anywhere in the pod.
    pub certificate: Option<&'a str>,
    /// The role serves HTTP.
    pub serves: bool,
}

/// Arguments that name a role and its configuration.
pub fn arguments(role: Role, further: &[String]) -> Vec<String> {
    let first = [
        role.name().to_owned(),
        "--config".to_owned(),
        format!("{CONFIG_DIRECTORY}/{CONFIG_FILE}"),
    ];
    first.into_iter().chain(further.iter().cloned()).collect()
}

pub fn pod_template(system: &ValidSystem, pod: RuntimePod<'_>) -> Value {
    let mut volumes = vec![
        json!({"name": "config", "configMap": {"name": names::runtime(&system.name)}}),
        json!({"name": "tmp", "emptyDir": {}}),
    ];
    let mut mounts = vec![
        json!({"name": "config", "mountPath": CONFIG_DIRECTORY, "readOnly": true}),
        json!({"name": "tmp", "mountPath": "/tmp"}),
    ];
    let stores = pod.stores.then(|| store_files(system));
    if let Some(keys) = pod.channel_keys {
        volumes.push(channel_volume(system, &keys));
        mounts.push(json!({"name": "channels", "mountPath": CHANNEL_CREDENTIALS_DIRECTORY, "readOnly": true}));
    }
    for file in stores.into_iter().flatten().chain(pod.files) {
        volumes.push(common::secret_file(
            file.volume,
            &file.secret.name,
            &file.secret.key,
            file.path,
        ));
        mounts.push(json!({"name": file.volume, "mountPath": file.directory, "readOnly": true}));
    }
    let mut args = pod.args;
    if pod.certificate.is_some() {
        args.extend(["--certificate".to_owned(), CERTIFICATE_DIRECTORY.to_owned()]);
    }
    let mut container = json!({
        "name": "runtime",
        "image": pod.image,
        "args": args,
        "resources": common::resources(pod.resources),
        "securityContext": common::container_security(),
        "terminationMessagePath": contract::names::TERMINATION_MESSAGE_PATH,
        // The last lines of the log, where a process that fails has written nothing there.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts,
    });
    if pod.serves {
        serve(&mut container);
    }
    let shutdown = contract::config::Shutdown::default();
    let template = Pod {
        component: pod.component,
        user: USER,
        grace_seconds: shutdown.ready_off_seconds + shutdown.drain_seconds + 7,
        annotations: pod.annotations,
        init_containers: Value::Null,
        container,
        volumes: json!(volumes),
    };
    let mut template = common::pod_template(system, template);
    if let Some(secret) = pod.certificate {
        common::mount_certificate(&mut template, secret, common::CERTIFICATE_PAIR);
    }
    template
}

/// The keys of the channel Secret that this system's services read: those they need, and those of
/// the optional ones that are there.
pub fn channel_keys(system: &ValidSystem, observed: &Observed) -> Vec<&'static str> {
    let digests = common::secret_digests(observed, &system.channel_secret());
    let optional = system.optional_channel_keys();
    let mut keys = system.channel_keys();
    keys.extend(optional.iter().filter(|key| digests.contains_key(**key)));
    keys
}

/// Only the keys of the channels that are switched on, so that a missing key of another channel
/// holds no pod back.
fn channel_volume(system: &ValidSystem, keys: &[&str]) -> Value {
    let items: Vec<Value> = keys
        .iter()
        .map(|key| json!({"key": key, "path": key}))
        .collect();
    json!({
        "name": "channels",
        "secret": {"secretName": system.channel_secret(), "defaultMode": 0o440, "items": items},
    })
}

fn serve(container: &mut Value) {
    let (readiness, liveness) = ("/actuator/health/readiness", "/actuator/health/liveness");
    container["ports"] = json!([
        {"name": ports::HTTP_NAME, "containerPort": ports::HTTP, "protocol": "TCP"},
        {"name": ports::MANAGEMENT_NAME, "containerPort": ports::MANAGEMENT, "protocol": "TCP"},
    ]);
    container["startupProbe"] = common::http_probe(readiness, ports::MANAGEMENT_NAME, 1, 300);
    container["readinessProbe"] = common::http_probe(readiness, ports::MANAGEMENT_NAME, 1, 3);
    container["livenessProbe"] = common::http_probe(liveness, ports::MANAGEMENT_NAME, 10, 3);
}

/// One key of a Secret as a file of a pod.
pub struct SecretFile {
    volume: &'static str,
    secret: SecretKeyRef,
    directory: &'static str,
    path: &'static str,
}

/// By whom the database and the cache are verified, where they are.
pub fn authorities(system: &ValidSystem) -> Vec<SecretFile> {
    let redis = system.redis_authority();
    let redis = redis.map(|secret| authority("redis-ca", secret, REDIS_AUTHORITY_DIRECTORY));
    mysql_authority(system).into_iter().chain(redis).collect()
}

fn mysql_authority(system: &ValidSystem) -> Option<SecretFile> {
    let secret = system.mysql_authority()?;
    Some(authority("mysql-ca", secret, MYSQL_AUTHORITY_DIRECTORY))
}

/// For those who take part in global transactions.
fn coordinator_authority(system: &ValidSystem) -> Option<SecretFile> {
    let (secret, directory) = (
        system.coordinator_authority()?,
        COORDINATOR_AUTHORITY_DIRECTORY,
    );
    Some(authority("coordinator-ca", secret, directory))
}

const fn authority(
    volume: &'static str,
    secret: SecretKeyRef,
    directory: &'static str,
) -> SecretFile {
    SecretFile {
        volume,
        secret,
        directory,
        path: AUTHORITY_FILE,
    }
}

/// The passwords of the payment database and, if it asks for one, of the cache; and by whom they
/// are verified.
fn store_files(system: &ValidSystem) -> Vec<SecretFile> {
    let password = |volume, name, directory| SecretFile {
        volume,
        secret: SecretKeyRef {
            name,
            key: "password".to_owned(),
        },
        directory,
        path: PASSWORD_FILE,
    };
    let mysql = password("mysql", system.mysql_secret(), MYSQL_CREDENTIALS_DIRECTORY);
    let redis = system.redis_secret();
    let redis = redis.map(|secret| password("redis", secret, REDIS_CREDENTIALS_DIRECTORY));
    let passwords = std::iter::once(mysql).chain(redis);
    passwords.chain(authorities(system)).collect()
}

/// What a run of the reconciliation reads: it tells of the differences it found, and nobody acts
/// through it.
pub fn run_files(system: &ValidSystem) -> Vec<SecretFile> {
    let notify = system.spec.reconciliation.notify.as_ref();
    let file = notify.map(|notify| SecretFile {
        volume: "notify",
        secret: notify.secret_ref.clone(),
        directory: NOTIFY_CREDENTIALS_DIRECTORY,
        path: NOTIFY_SECRET_FILE,
    });
    file.into_iter().collect()
}

/// What a role reads beside the stores' passwords and the channels' keys.
pub fn files(system: &ValidSystem, role: Role) -> Vec<SecretFile> {
    match role {
        Role::Reconcile => reconcile_files(system),
        Role::Worker => coordinator_authority(system).into_iter().collect(),
        // Both bring the order database's schema up to date, and the one knows no other database.
        Role::Orders => {
            let password = system.orders().map(|_| orders_password(system));
            let authorities = mysql_authority(system).into_iter();
            let authorities = authorities.chain(coordinator_authority(system));
            password.into_iter().chain(authorities).collect()
        }
        Role::Migrate => system
            .orders()
            .map(|_| orders_password(system))
            .into_iter()
            .collect(),
        _ => Vec::new(),
    }
}

fn orders_password(system: &ValidSystem) -> SecretFile {
    SecretFile {
        volume: "orders",
        secret: system.orders_password(),
        directory: ORDERS_CREDENTIALS_DIRECTORY,
        path: PASSWORD_FILE,
    }
}

/// Those who may act do so through the reconciliation service alone.
fn reconcile_files(system: &ValidSystem) -> Vec<SecretFile> {
    let people = system.spec.reconciliation.people_secret_ref.as_ref();
    let people = people.map(|secret| SecretFile {
        volume: "people",
        secret: secret.clone(),
        directory: PEOPLE_DIRECTORY,
        path: PEOPLE_FILE,
    });
    run_files(system).into_iter().chain(people).collect()
}

/// Digest of all Secrets a serving role reads.
pub fn credentials_hash(system: &ValidSystem, observed: &Observed, role: Role) -> String {
    let secret = system.channel_secret();
    let mut files = files(system, role);
    let mut consumed = Vec::new();
    if role != Role::Orders {
        files.splice(0..0, store_files(system));
        let keys = channel_keys(system, observed);
        consumed.extend(keys.into_iter().map(|key| (secret.as_str(), key)));
    }
    consumed.extend(
        files
            .iter()
            .map(|file| (file.secret.name.as_str(), file.secret.key.as_str())),
    );
    common::credentials_digest(observed, consumed)
}
