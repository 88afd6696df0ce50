//! The managed MySQL server: a StatefulSet with one replica, its configuration and address.
//!
//! Every start converges: an init file sets passwords, makes databases, users, grants and the
//! coordinator's tables, each `IF NOT EXISTS`, so that an edited Secret or a new table takes
//! effect by a restart. It is written at each start of the container, from what the Secret holds
//! then, so that a crash in the middle of a rotation, or long after one, brings no former password
//! back and keeps out none that somebody still uses. Making the data directory is safe from a crash at any point: a directory
//! counts only once its name stands in the file `current`, an unfinished one is left behind and
//! never used.
//!
//! A renewed certificate restarts nothing: no digest of it stands in the pod, and the server takes
//! it up itself.

use contract::names::{
    AUTHORITY_FILE, CERTIFICATE_DIRECTORY, CERTIFICATE_FILE, PRIVATE_KEY_FILE,
    rotation::{COORDINATOR_PASSWORD, PASSWORD},
};
use serde_json::{Value, json};

use super::{
    Manifest, Stage,
    common::{self, Pod},
    labels::{self, component::MYSQL},
    names,
};
use crate::{kinds::Kind, observe::Observed, validate::ValidSystem};

const OWN_PASSWORDS: &[&str] = &["root-password", PASSWORD, COORDINATOR_PASSWORD];

const USER: u32 = 999;
const INIT_SQL: &str = include_str!("mysql_init.sql");
const ORDERS_SQL: &str = include_str!("mysql_orders.sql");
const TLS_SQL: &str = include_str!("mysql_tls.sql");

/// Secrets with their keys that are spliced into SQL and must therefore be plain.
pub fn passwords(system: &ValidSystem) -> Vec<(String, &'static [&'static str])> {
    let own = (names::mysql(&system.name), OWN_PASSWORDS);
    let orders: (String, &'static [&'static str]) = (names::orders(&system.name), &[PASSWORD]);
    let orders = system.orders().map(|_| orders);
    std::iter::once(own).chain(orders).collect()
}

pub fn manifests(system: &ValidSystem, observed: &Observed) -> Vec<Manifest> {
    if system.spec.mysql.external.is_some() {
        return Vec::new();
    }
    let name = names::mysql(&system.name);
    let mysql = &system.spec.mysql;
    let ports = [("mysql", contract::ports::MYSQL, "mysql")];
    vec![
        common::headless(common::service(system, name.clone(), MYSQL, &ports)),
        common::claim(
            system,
            observed,
            (&name, MYSQL),
            (&mysql.storage.size, mysql.retention),
        ),
        configuration(system),
        statefulset(system, observed),
    ]
}

fn configuration(system: &ValidSystem) -> Manifest {
    let identity = (Kind::ConfigMap, names::mysql(&system.name), MYSQL);
    let data = json!({"data": {
        "my.cnf": my_cnf(system),
        "prepare.sh": PREPARE,
        "start.sh": start_script(system),
    }});
    common::owned(system, identity, Stage::Stores, data)
}

fn my_cnf(system: &ValidSystem) -> String {
    let mysql = &system.spec.mysql;
    let tls = mysql
        .tls
        .as_ref()
        .map(|_| tls_options())
        .unwrap_or_default();
    format!(
        "[mysqld]
port={port}
bind-address=0.0.0.0
socket=/run/mysqld/mysqld.sock
pid-file=/run/mysqld/mysqld.pid
tmpdir=/tmp
skip-name-resolve
mysqlx=OFF
secure-file-priv=NULL
server-id=1
log-bin=binlog
binlog-expire-logs-seconds=604800
sync-binlog={sync_binlog}
max-connections={connections}
innodb-buffer-pool-size={pool}
innodb-flush-log-at-trx-commit={flush}
character-set-server=utf8mb4
default-time-zone=+00:00
{tls}",
        port = contract::ports::MYSQL,
        sync_binlog = mysql.sync_binlog,
        connections = mysql.max_connections,
        pool = system.buffer_pool_bytes,
        flush = mysql.innodb_flush_log_at_trx_commit,
    )
}

/// The socket inside the pod counts as secure. The server verifies a renewed certificate by the
/// authority before it shows it; it asks no client for one.
fn tls_options() -> String {
    format!(
        "ssl-ca={CERTIFICATE_DIRECTORY}/{AUTHORITY_FILE}
ssl-cert={CERTIFICATE_DIRECTORY}/{CERTIFICATE_FILE}
ssl-key={CERTIFICATE_DIRECTORY}/{PRIVATE_KEY_FILE}
require-secure-transport=ON
"
    )
}

/// Makes the data directory if there is none. Only `sh` and `mysqld` are needed.
const PREPARE: &str = "set -eu
base=/var/lib/mysql
if [ ! -s $base/current ]; then
  number=1
  while [ -e $base/data-$number ]; do number=$((number + 1)); done
  mysqld --no-defaults --initialize-insecure --datadir=$base/data-$number --tmpdir=/tmp --log-error-verbosity=2
  echo data-$number > $base/current
fi
";

/// Writes the init file and becomes the server. The passwords are plain (`gates` holds the store
/// back otherwise), so they need no quoting. Where a password is being rotated the other one is
/// valid beside it; else it stands in both places.
fn start_script(system: &ValidSystem) -> String {
    let orders = system.orders().map_or("", |_| ORDERS_SQL);
    let tls = system.spec.mysql.tls.as_ref().map_or("", |_| TLS_SQL);
    let statements: Vec<&str> = INIT_SQL
        .lines()
        .chain(orders.lines())
        .chain(tls.lines())
        .filter(|line| !line.is_empty() && !line.starts_with("--"))
        .collect();
    let statements = statements.join("\n");
    let beside: Vec<String> = variables(system)
        .map(|name| format!("{name}_BESIDE=${{PREVIOUS_{name}:-${{NEXT_{name}:-${name}}}}}\n"))
        .collect();
    let beside = beside.concat();
    let forget: Vec<String> = variables(system)
        .map(|name| format!("{name} NEXT_{name} PREVIOUS_{name}"))
        .collect();
    let forget = forget.join(" ");
    format!(
        "set -eu
{beside}(
umask 077
while IFS= read -r line; do printf '%s\\n' \"$line\"; done > /run/mysqld/init.sql <<SQL
{statements}
SQL
)
unset ROOT_PASSWORD {forget}
read -r directory < /var/lib/mysql/current
exec mysqld --defaults-file=/etc/payment/mysql/my.cnf \\
  --datadir=/var/lib/mysql/$directory --init-file=/run/mysqld/init.sql
"
    )
}

/// The variables of those passwords that may be rotated.
fn variables(system: &ValidSystem) -> impl Iterator<Item = &'static str> {
    let orders = system.orders().map(|_| "ORDERS_PASSWORD");
    ["PASSWORD", "COORDINATOR_PASSWORD"]
        .into_iter()
        .chain(orders)
}

fn statefulset(system: &ValidSystem, observed: &Observed) -> Manifest {
    let name = names::mysql(&system.name);
    let mysql = &system.spec.mysql;
    let passwords = passwords(system);
    let consumed = passwords
        .iter()
        .flat_map(|(secret, keys)| keys.iter().map(|key| (secret.as_str(), *key)));
    let annotations = json!({
        labels::CONFIG_HASH: common::digest(&(my_cnf(system), PREPARE, start_script(system))),
        labels::CREDENTIALS_HASH: common::store_credentials_digest(observed, consumed),
    });
    let pod = Pod {
        component: MYSQL,
        user: USER,
        grace_seconds: 60,
        annotations,
        init_containers: json!([prepare(system)]),
        container: server(system),
        volumes: json!([
            {"name": "config", "configMap": {"name": name}},
            {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
            {"name": "tmp", "emptyDir": {}},
        ]),
    };
    let mut template = common::pod_template(system, pod);
    if let Some(tls) = &mysql.tls {
        let secret = &tls.certificate_ref.name;
        common::mount_certificate(&mut template, secret, common::CERTIFICATE_AND_AUTHORITY);
    }
    let spec = json!({
        "replicas": 1,
        "serviceName": name,
        "podManagementPolicy": common::POD_MANAGEMENT,
        "selector": {"matchLabels": labels::selector(&system.name, MYSQL)},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
        "template": template,
        "volumeClaimTemplates": common::claim_template(
            system,
            observed,
            (&name, MYSQL),
            (&mysql.storage.size, &mysql.storage.storage_class_name),
        ),
    });
    common::owned(
        system,
        (Kind::StatefulSet, name, MYSQL),
        Stage::Stores,
        json!({"spec": spec}),
    )
}

fn mounts() -> Value {
    json!([
        {"name": "data", "mountPath": "/var/lib/mysql"},
        {"name": "config", "mountPath": "/etc/payment/mysql", "readOnly": true},
        {"name": "run", "mountPath": "/run/mysqld"},
        {"name": "tmp", "mountPath": "/tmp"},
    ])
}

fn prepare(system: &ValidSystem) -> Value {
    json!({
        "name": "prepare",
        "image": system.spec.mysql.image,
        "command": ["sh", "/etc/payment/mysql/prepare.sh"],
        "resources": common::resources(&system.spec.mysql.resources),
        "securityContext": common::container_security(),
        "volumeMounts": mounts(),
    })
}

fn server(system: &ValidSystem) -> Value {
    let secret = names::mysql(&system.name);
    let mut env = vec![common::secret_env(
        "ROOT_PASSWORD",
        &secret,
        "root-password",
    )];
    env.extend(common::password_env("PASSWORD", &secret, PASSWORD));
    env.extend(common::password_env(
        "COORDINATOR_PASSWORD",
        &secret,
        COORDINATOR_PASSWORD,
    ));
    if system.orders().is_some() {
        let orders = names::orders(&system.name);
        env.extend(common::password_env("ORDERS_PASSWORD", &orders, PASSWORD));
    }
    json!({
        "name": "mysql",
        "image": system.spec.mysql.image,
        "command": ["sh", "/etc/payment/mysql/start.sh"],
        "env": env,
        "ports": [{"name": "mysql", "containerPort": contract::ports::MYSQL, "protocol": "TCP"}],
        "resources": common::resources(&system.spec.mysql.resources),
        "securityContext": common::container_security(),
        "startupProbe": common::tcp_probe("mysql", 1800),
        "readinessProbe": common::tcp_probe("mysql", 5),
        "livenessProbe": {"tcpSocket": {"port": "mysql"}, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 12},
        "volumeMounts": mounts(),
    })
}
