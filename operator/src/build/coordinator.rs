//! The managed transaction coordinator: an Apache Seata server with its state in MySQL.
//!
//! Its configuration is one complete file; what is secret stands in it as a placeholder that
//! Spring fills from the container's environment, so that the file is a plain ConfigMap.
//!
//! Whoever reaches its port may begin, commit and roll back anything: the protocol knows neither
//! passwords nor encryption. A NetworkPolicy decides who does (`network`).

use contract::names::{AUTHORITY_FILE, MYSQL_AUTHORITY_DIRECTORY};
use crds::{reconciliation::SecretKeyRef, stores::TransactionCoordinator};
use serde_json::{Value, json};

use super::{
    Manifest, Stage,
    common::{self, Pod},
    labels::{self, component::COORDINATOR},
    names,
};
use crate::{kinds::Kind, observe::Observed, quantity, validate::ValidSystem};

const USER: u32 = 1000;
/// How the driver connects to the database.
const PLAIN: &str = "useSSL=false&allowPublicKeyRetrieval=true";
/// The password is part of the format; there is nothing secret in the file.
const VERIFIED: &str = "sslMode=VERIFY_IDENTITY&fallbackToSystemTrustStore=false&trustCertificateKeyStoreUrl=file:/trust/mysql.p12&trustCertificateKeyStoreType=PKCS12&trustCertificateKeyStorePassword=changeit";
/// Java reads no PEM: what it trusts is a key store, made at each start of the pod.
const TRUST: &str = include_str!("coordinator_trust.sh");
/// Names of the Secret's keys.
pub const CONSOLE_USER: &str = "console-user";
pub const CONSOLE_PASSWORD: &str = "console-password";
pub const SECRET_KEY: &str = "secret-key";

pub fn manifests(system: &ValidSystem, observed: &Observed) -> Vec<Manifest> {
    if system.spec.transaction_coordinator.external.is_some() {
        return Vec::new();
    }
    let name = names::coordinator(&system.name);
    let ports = [
        ("seata", contract::ports::COORDINATOR, "seata"),
        ("console", contract::ports::COORDINATOR_CONSOLE, "console"),
    ];
    // Monitors find the metrics through the headless Service alone, or each pod would count twice.
    let mut pod_ports = ports.to_vec();
    pod_ports.push(("metrics", contract::ports::COORDINATOR_METRICS, "metrics"));
    if exports_jvm_metrics(system) {
        pod_ports.push((
            "jvm-metrics",
            contract::ports::COORDINATOR_JVM_METRICS,
            "jvm-metrics",
        ));
    }
    let identity = (Kind::ConfigMap, name.clone(), COORDINATOR);
    let data = json!({"data": {"application.yml": application_yml(system)}});
    let pods = names::coordinator_pods(&system.name);
    vec![
        common::service(system, name, COORDINATOR, &ports),
        common::headless(common::service(system, pods, COORDINATOR, &pod_ports)),
        common::owned(system, identity, Stage::Stores, data),
        statefulset(system, observed),
    ]
}

fn application_yml(system: &ValidSystem) -> String {
    let (host, port) = common::mysql_host(system);
    let level = system.spec.transaction_coordinator.log_level.name();
    let encryption = system.mysql_authority().map_or(PLAIN, |_| VERIFIED);
    format!(
        r#"server:
  port: {console}
spring:
  application:
    name: seata-server
logging:
  level:
    root: {level}
    io.seata: {level}
    org.apache.seata: {level}
  file:
    path: /seata-server/logs
console:
  user:
    username: "${{CONSOLE_USER}}"
    password: "${{CONSOLE_PASSWORD}}"
seata:
  config:
    type: file
  registry:
    type: file
  server:
    service-port: {service}
  store:
    mode: db
    session:
      mode: db
    lock:
      mode: db
    db:
      datasource: hikari
      db-type: mysql
      driver-class-name: com.mysql.cj.jdbc.Driver
      url: "jdbc:mysql://{host}:{port}/{database}?rewriteBatchedStatements=true&{encryption}&connectTimeout=5000&socketTimeout=30000"
      user: {database}
      password: "${{COORDINATOR_DB_PASSWORD}}"
      min-conn: 5
      max-conn: 40
      global-table: global_table
      branch-table: branch_table
      lock-table: lock_table
      distributed-lock-table: distributed_lock
      query-limit: 1000
      max-wait: 5000
  metrics:
    enabled: true
    registry-type: compact
    exporter-list: prometheus
    exporter-prometheus-port: {metrics}
  security:
    secretKey: "${{CONSOLE_SECRET_KEY}}"
    tokenValidityInMilliseconds: 1800000
    ignore:
      urls: "/,/health,/**/*.css,/**/*.js,/**/*.html,/**/*.map,/**/*.svg,/**/*.png,/**/*.ico,/api/v1/auth/login,/metadata/v1/**"
"#,
        console = contract::ports::COORDINATOR_CONSOLE,
        service = contract::ports::COORDINATOR,
        metrics = contract::ports::COORDINATOR_METRICS,
        database = contract::names::COORDINATOR_DATABASE,
    )
}

/// Digest of all Secrets the server reads.
pub fn credentials_hash(system: &ValidSystem, observed: &Observed) -> String {
    let own = names::coordinator(&system.name);
    let mysql = system.mysql_secret();
    let authority = system.mysql_authority();
    let consumed = [
        (own.as_str(), CONSOLE_USER),
        (own.as_str(), CONSOLE_PASSWORD),
        (own.as_str(), SECRET_KEY),
        (mysql.as_str(), "coordinator-password"),
    ];
    let authority = authority
        .iter()
        .map(|secret| (secret.name.as_str(), secret.key.as_str()));
    common::credentials_digest(observed, consumed.into_iter().chain(authority))
}

fn statefulset(system: &ValidSystem, observed: &Observed) -> Manifest {
    let name = names::coordinator(&system.name);
    let pod = Pod {
        component: COORDINATOR,
        user: USER,
        grace_seconds: 30,
        annotations: json!({
            labels::CONFIG_HASH: common::digest(&application_yml(system)),
            labels::CREDENTIALS_HASH: credentials_hash(system, observed),
        }),
        init_containers: Value::Null,
        container: container(system),
        volumes: json!([
            {"name": "config", "configMap": {"name": name}},
            {"name": "logs", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {}},
        ]),
    };
    let mut template = common::pod_template(system, pod);
    if let Some(authority) = system.mysql_authority() {
        trust(system, &mut template, &authority);
    }
    let spec = json!({
        "replicas": 1,
        "serviceName": names::coordinator_pods(&system.name),
        "podManagementPolicy": common::POD_MANAGEMENT,
        "selector": {"matchLabels": labels::selector(&system.name, COORDINATOR)},
        "template": template,
    });
    let identity = (Kind::StatefulSet, name, COORDINATOR);
    common::owned(system, identity, Stage::Coordinator, json!({"spec": spec}))
}

/// Lets the server verify the database.
fn trust(system: &ValidSystem, template: &mut Value, authority: &SecretKeyRef) {
    let volume = common::secret_file("mysql-ca", &authority.name, &authority.key, AUTHORITY_FILE);
    common::add(template, "/spec/volumes", volume);
    let store = json!({"name": "trust", "emptyDir": {"medium": "Memory", "sizeLimit": "4Mi"}});
    common::add(template, "/spec/volumes", store);
    let mount = json!({"name": "trust", "mountPath": "/trust"});
    common::add(template, "/spec/containers/0/volumeMounts", mount.clone());
    template["spec"]["initContainers"] = json!([{
        "name": "trust",
        "image": system.spec.transaction_coordinator.image,
        "command": ["sh", "-c", TRUST],
        "resources": common::resources(&system.spec.transaction_coordinator.resources),
        "securityContext": common::container_security(),
        "volumeMounts": [
            mount,
            {"name": "mysql-ca", "mountPath": MYSQL_AUTHORITY_DIRECTORY, "readOnly": true},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }]);
}

/// Heap and direct memory (the buffers of connections), as the virtual machine's options spell
/// them. Of a memory limit they get a half and an eighth: code, threads and class data need the
/// rest, and a server beyond its limit is killed. Upstream's own default is 3 GiB.
fn memory(coordinator: &TransactionCoordinator) -> (String, String) {
    let limit = coordinator.resources.limits.as_ref();
    let mebibytes = limit
        .and_then(|limit| quantity::units(limit.memory.as_deref()?))
        .map(|bytes| bytes / (1 << 20));
    let (heap, direct) = mebibytes.map_or((256, 128), |limit| (limit / 2, limit / 8));
    let derived = format!("{}m", heap.max(64));
    (
        coordinator.heap.clone().unwrap_or(derived),
        format!("{}m", direct.max(16)),
    )
}

/// The server picks its own address unless told; it must be the pod's.
fn command(system: &ValidSystem) -> Vec<String> {
    let coordinator = &system.spec.transaction_coordinator;
    let (heap, direct) = memory(coordinator);
    let mut command = vec![
        "java".to_owned(),
        format!("-Xms{heap}"),
        format!("-Xmx{heap}"),
        "-XX:+UseSerialGC".to_owned(),
        format!("-XX:MaxDirectMemorySize={direct}"),
        // Without memory it would go on half alive; Kubernetes starts it again.
        "-XX:+ExitOnOutOfMemoryError".to_owned(),
    ];
    command.extend(coordinator.jvm_options.iter().cloned());
    let rest = [
        "-Dloader.path=/seata-server/lib,/seata-server/lib/jdbc",
        "-Dspring.config.location=file:/etc/payment/seata/application.yml",
        "-jar",
        "/seata-server/target/seata-server.jar",
        "-h",
        "$(POD_IP)",
        "-p",
    ];
    command.extend(rest.map(str::to_owned));
    command.extend([
        contract::ports::COORDINATOR.to_string(),
        "-n".to_owned(),
        "1".to_owned(),
    ]);
    command
}

/// Whether the options load an exporter of JVM metrics on its agreed port.
pub fn exports_jvm_metrics(system: &ValidSystem) -> bool {
    let port = contract::ports::COORDINATOR_JVM_METRICS.to_string();
    let coordinator = &system.spec.transaction_coordinator;
    let mut options = coordinator.jvm_options.iter();
    options.any(|option| option.starts_with("-javaagent:") && option.contains(&port))
}

fn container(system: &ValidSystem) -> Value {
    let secret = names::coordinator(&system.name);
    let mut ports = json!([
        {"name": "seata", "containerPort": contract::ports::COORDINATOR, "protocol": "TCP"},
        {"name": "console", "containerPort": contract::ports::COORDINATOR_CONSOLE, "protocol": "TCP"},
        {"name": "metrics", "containerPort": contract::ports::COORDINATOR_METRICS, "protocol": "TCP"},
    ]);
    if let (true, Some(ports)) = (exports_jvm_metrics(system), ports.as_array_mut()) {
        ports.push(json!({"name": "jvm-metrics", "containerPort": contract::ports::COORDINATOR_JVM_METRICS, "protocol": "TCP"}));
    }
    json!({
        "name": "coordinator",
        "image": system.spec.transaction_coordinator.image,
        "workingDir": "/seata-server",
        "command": command(system),
        "env": [
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            common::secret_env("CONSOLE_USER", &secret, CONSOLE_USER),
            common::secret_env("CONSOLE_PASSWORD", &secret, CONSOLE_PASSWORD),
            common::secret_env("CONSOLE_SECRET_KEY", &secret, SECRET_KEY),
            common::secret_env("COORDINATOR_DB_PASSWORD", &system.mysql_secret(), "coordinator-password"),
        ],
        "ports": ports,
        "resources": common::resources(&system.spec.transaction_coordinator.resources),
        "securityContext": common::container_security(),
        "startupProbe": common::http_probe("/health", "console", 1, 600),
        "readinessProbe": common::http_probe("/health", "console", 1, 5),
        "livenessProbe": {"tcpSocket": {"port": "seata"}, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/payment/seata", "readOnly": true},
            {"name": "logs", "mountPath": "/seata-server/logs"},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    })
}
