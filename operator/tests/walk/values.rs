//! Another valid value for each field, and what becomes of it where that is not simply done.

use serde_json::{Value, json};

use crate::leaf::{self, Leaf};

/// Values that need a meaning, by path; `*` stands for any beginning. The first that fits counts.
fn by_path() -> Vec<(&'static str, Value)> {
    let mut all = vec![
        ("mysql.image", json!("registry.example/mysql:9.7")),
        ("mysql.storage.size", json!("30Gi")),
        ("mysql.innodbBufferPoolSize", json!("2Gi")),
        ("redis.image", json!("registry.example/redis:8")),
        ("redis.storage.size", json!("3Gi")),
        ("redis.maxmemory", json!("512mb")),
        (
            "transactionCoordinator.image",
            json!("registry.example/seata-server:2.5.0"),
        ),
        ("transactionCoordinator.transactionGroup", json!("other")),
        ("transactionCoordinator.jvmOptions", json!(["-Xss1m"])),
        ("transactionCoordinator.heap", json!("300m")),
        (
            "payment.image",
            json!("registry.example/payment-runtime:2.0"),
        ),
        ("credentials.rotation", json!("second")),
        ("orders.external.url", json!("http://orders.shop.svc:8080")),
        // More than there are now would stay: from then on the autoscaler has the number.
        ("*.autoscaling.minReplicas", json!(2)),
        ("mysql.external.secretName", json!("other-database")),
        ("redis.external.secretName", json!("other-cache")),
        ("channels.secretName", json!("other-keys")),
        (
            "channels.callbackBaseUrl",
            json!("https://other.example.com"),
        ),
        (
            "channels.wechat.baseUrl",
            json!("https://wechat.example.com"),
        ),
        (
            "channels.alipay.gatewayUrl",
            json!("https://alipay.example.com/gateway.do"),
        ),
        ("*.certificateRef.name", json!("other-certificate")),
        ("*.caRef.name", json!("other-authority")),
        ("*.caRef.key", json!("other")),
        ("expose.ingress.host", json!("other.example.com")),
        ("expose.ingress.tlsSecretName", json!("other")),
        ("expose.ingress.className", json!("other")),
        (
            "expose.gateway.hostnames",
            json!(["pay.example.com", "other.example.com"]),
        ),
        ("expose.gateway.parentRefs.0.name", json!("other")),
        ("expose.gateway.parentRefs.0.namespace", json!("other")),
        ("expose.gateway.parentRefs.0.sectionName", json!("other")),
        ("monitoring.labels", json!({"release": "prometheus"})),
        ("*.storage.storageClassName", json!("other")),
        ("*.external.host", json!("other.example.com")),
        ("*.clientNamespaces", json!(["shop"])),
        ("*.monitoringNamespaces", json!(["monitoring"])),
        ("*.egressCidrs", json!(["203.0.113.0/24"])),
        ("*.requests.cpu", json!("150m")),
        ("*.requests.memory", json!("700Mi")),
        ("*.limits.cpu", json!("4")),
        ("*.limits.memory", json!("4Gi")),
    ];
    all.extend(reconciliation());
    all
}

fn reconciliation() -> Vec<(&'static str, Value)> {
    vec![
        ("reconciliation.schedule", json!("7 3 * * *")),
        ("reconciliation.dailyRun.schedule", json!("0 4 * * *")),
        ("reconciliation.corrections.dailyAmount", json!("5.00")),
        ("reconciliation.secondPersonAbove", json!("5.00")),
        ("reconciliation.feeRates.*", json!("0.6%")),
        (
            "reconciliation.notify.url",
            json!("https://hooks.example.com/other"),
        ),
        ("reconciliation.*.name", json!("other-hook")),
        ("reconciliation.*.key", json!("other")),
    ]
}

/// Fields whose other value a living system refuses, and its words.
const REFUSED: [(&str, &str); 7] = [
    (
        "mysql.storage.storageClassName",
        "a volume stays in its class",
    ),
    (
        "redis.storage.storageClassName",
        "a volume stays in its class",
    ),
    ("mysql.external.host", "before the data has moved"),
    ("transactionCoordinator.external.host", "once none is open"),
    (
        "transactionCoordinator.transactionGroup",
        "open global transactions belong to it",
    ),
    ("transactionCoordinator.storeMode", "supported values"),
    ("channels.simulator", "in a system of real channels"),
];

/// Fields that do not go back, and the words of the refusal.
const ONE_WAY: [(&str, &str); 2] = [
    ("mysql.storage.size", "may only grow"),
    ("redis.storage.size", "may only grow"),
];

/// Fields that show in no object, and why.
const INVISIBLE: [(&str, &str); 2] = [
    ("paused", "stops changes and makes none"),
    (
        "credentials.rotation",
        "replaces the values of Secrets, step by step",
    ),
];

/// Fields whose way there and back is a story of its own, and where it is told.
const ELSEWHERE: [(&str, &str); 1] = [("credentials.rotation", "passes/rotation.rs")];

fn find(table: &[(&str, &'static str)], path: &str) -> Option<&'static str> {
    let found = table.iter().find(|(field, _)| *field == path);
    found.map(|(_, words)| *words)
}

pub fn refused(path: &str) -> Option<&'static str> {
    find(&REFUSED, path)
}

pub fn one_way(path: &str) -> Option<&'static str> {
    find(&ONE_WAY, path)
}

pub fn invisible(path: &str) -> bool {
    find(&INVISIBLE, path).is_some()
}

pub fn walked_elsewhere(path: &str) -> bool {
    find(&ELSEWHERE, path).is_some()
}

fn fits(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((start, end)) => {
            path.len() >= start.len() + end.len() && path.starts_with(start) && path.ends_with(end)
        }
    }
}

/// A valid value that differs from the present one.
pub fn other(leaf: &Leaf, specification: &Value) -> Option<Value> {
    let table = by_path();
    let known = table
        .into_iter()
        .find(|(pattern, _)| fits(pattern, &leaf.path));
    if let Some((_, value)) = known {
        return Some(value);
    }
    let schema = &leaf.schema;
    let written = leaf::get(specification, &leaf.path);
    let present = if written.is_null() {
        &schema["default"]
    } else {
        written
    };
    match schema["type"].as_str()? {
        "boolean" => Some(json!(!present.as_bool()?)),
        "integer" => {
            let (present, most) = (present.as_i64()?, leaf.bound("maximum")?);
            Some(json!(if present < most {
                present + 1
            } else {
                present - 1
            }))
        }
        "string" => {
            let choices = schema["enum"].as_array()?;
            let other = choices.iter().find(|choice| *choice != present);
            // Of one choice any other is invalid.
            Some(other.cloned().unwrap_or_else(|| json!("other")))
        }
        _ => None,
    }
}

/// Entries that fit no field.
pub fn unused(leaves: &[Leaf]) -> Vec<&'static str> {
    let listed = by_path().into_iter().map(|(pattern, _)| pattern);
    let tables = REFUSED.iter().chain(&ONE_WAY);
    let tables = tables.chain(&INVISIBLE).chain(&ELSEWHERE);
    listed
        .chain(tables.map(|(path, _)| *path))
        .filter(|pattern| !leaves.iter().any(|leaf| fits(pattern, &leaf.path)))
        .collect()
}
