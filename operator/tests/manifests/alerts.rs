//! The alerts, as Prometheus's own tool reads them.

use std::process::Command;

use payment_operator::kinds::Kind;
use serde_json::json;

use super::{example, manifests};

/// `PROMETHEUS_BIN` names the directory with `promtool`.
#[test]
fn prometheus_takes_every_alert() {
    let directory = std::env::var_os("PROMETHEUS_BIN")
        .expect("set PROMETHEUS_BIN to a directory with promtool, which judges the alerts");
    for name in ["demo", "production"] {
        let built = manifests(&example(name));
        let rule = built
            .iter()
            .find(|manifest| manifest.kind == Kind::PrometheusRule)
            .unwrap();
        let groups = &rule.value["spec"]["groups"];
        assert!(groups[0]["rules"].as_array().unwrap().len() > 10);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), json!({"groups": groups}).to_string()).unwrap();
        let judged = Command::new(std::path::Path::new(&directory).join("promtool"))
            .args(["check", "rules", "--lint=all", "--lint-fatal"])
            .arg(file.path())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&judged.stderr);
        assert!(judged.status.success(), "{name}: {told}");
    }
}
