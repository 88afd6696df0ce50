//! The committed definition equals what the types say.

use std::{fs, path::Path};

#[test]
fn committed_yaml_is_what_the_types_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml/paymentsystems.yaml");
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == crds::crd_yaml().unwrap(),
        "{} is out of date: run `cargo run -p crds --bin crdgen` and commit the result",
        path.display()
    );
}

#[test]
fn every_field_has_a_description() {
    let crd = serde_json::to_value(crds::crd()).unwrap();
    let root = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut missing = Vec::new();
    walk(root, "", &mut missing);
    assert!(missing.is_empty(), "without description: {missing:?}");
}

fn walk(schema: &serde_json::Value, path: &str, missing: &mut Vec<String>) {
    for (name, child) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if child["description"].as_str().is_none_or(str::is_empty) {
            missing.push(path.clone());
        }
        walk(child, &path, missing);
        walk(&child["items"], &path, missing);
    }
}

#[test]
fn defaults_are_those_of_the_requirements() {
    let spec = serde_json::to_value(crds::PaymentSystemSpec::default()).unwrap();
    for (pointer, expected) in [
        ("/mysql/storage/size", "20Gi"),
        ("/mysql/storage/storageClassName", "fast-ssd"),
        ("/mysql/innodbBufferPoolSize", "1Gi"),
        ("/redis/storage/size", "2Gi"),
        ("/redis/maxmemory", "1gb"),
        ("/redis/maxmemoryPolicy", "allkeys-lru"),
        ("/redis/appendfsync", "everysec"),
        (
            "/transactionCoordinator/transactionGroup",
            "payment-tx-group",
        ),
        ("/reconciliation/schedule", "0/30 * * * *"),
        ("/reconciliation/dailyRun/schedule", "0 2 * * *"),
        ("/reconciliation/corrections/dailyAmount", "100000.00"),
        ("/reconciliation/secondPersonAbove", "1000.00"),
        ("/channels/secretName", "payment-service-secret"),
    ] {
        assert_eq!(
            spec.pointer(pointer).and_then(|v| v.as_str()),
            Some(expected),
            "{pointer}"
        );
    }
    for (pointer, expected) in [
        ("/mysql/maxConnections", 500),
        ("/mysql/innodbFlushLogAtTrxCommit", 1),
        ("/mysql/syncBinlog", 1),
        ("/payment/replicas", 3),
        ("/payment/autoscaling/maxReplicas", 10),
        ("/callback/autoscaling/scaleDown/stabilizationSeconds", 300),
        ("/reconciliation/days", 7),
        ("/reconciliation/timeoutMilliseconds", 600_000),
        ("/reconciliation/corrections/dailyCount", 100),
        ("/reconciliation/lateRows/minutesAroundMidnight", 60),
        ("/reconciliation/lateRows/waitDays", 3),
    ] {
        assert_eq!(
            spec.pointer(pointer).and_then(serde_json::Value::as_i64),
            Some(expected),
            "{pointer}"
        );
    }
}
