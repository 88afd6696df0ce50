//! The alerts, as Prometheus's own tool reads them.

use std::process::{Command, Output};

use payment_operator::{install, kinds::Kind};
use serde_json::{Value, json};

use super::{example, manifests};

/// `PROMETHEUS_BIN` names the directory with `promtool`.
fn promtool(arguments: &[&str], file: &std::path::Path) -> Output {
    let directory = std::env::var_os("PROMETHEUS_BIN")
        .expect("set PROMETHEUS_BIN to a directory with promtool, which judges the alerts");
    Command::new(std::path::Path::new(&directory).join("promtool"))
        .args(arguments)
        .arg(file)
        .output()
        .unwrap()
}

fn written(value: &Value) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), value.to_string()).unwrap();
    file
}

pub(super) fn takes(groups: &Value, name: &str) {
    let file = written(&json!({"groups": groups}));
    let judged = promtool(
        &["check", "rules", "--lint=all", "--lint-fatal"],
        file.path(),
    );
    let told = String::from_utf8_lossy(&judged.stderr);
    assert!(judged.status.success(), "{name}: {told}");
}

#[test]
fn prometheus_takes_every_alert() {
    for name in ["demo", "production"] {
        let built = manifests(&example(name));
        let rule = built
            .iter()
            .find(|manifest| manifest.kind == Kind::PrometheusRule)
            .unwrap();
        let groups = &rule.value["spec"]["groups"];
        assert!(groups[0]["rules"].as_array().unwrap().len() > 10);
        takes(groups, name);
    }
    takes(
        &install::monitoring::groups("payment-system"),
        "the operator",
    );
}

#[test]
fn every_alert_of_the_operator_has_its_runbook() {
    let groups = install::monitoring::groups("payment-system");
    groups[0]["rules"]
        .as_array()
        .unwrap()
        .iter()
        .for_each(has_runbook);
}

pub(super) fn has_runbook(rule: &Value) {
    let name = rule["alert"].as_str().unwrap();
    let url = rule["annotations"]["runbook_url"].as_str().unwrap();
    let page = url.rsplit_once("/docs/").unwrap().1;
    let file = format!("{}/../docs/{page}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(text.starts_with(&format!("# {name}\n")), "{file}");
}

/// What two operators show, minute by minute.
struct Case {
    alert: &'static str,
    fires: bool,
    series: &'static [(&'static str, &'static str)],
}

const LEADS: (&str, &str) = ("leads{pod=\"a\"", "1x90");
const STANDBY: (&str, &str) = ("leads{pod=\"b\"", "0x90");

/// At the sixtieth minute.
const CASES: &[Case] = &[
    Case {
        alert: "PaymentOperatorNotLeading",
        fires: false,
        series: &[LEADS, STANDBY],
    },
    Case {
        alert: "PaymentOperatorNotLeading",
        fires: true,
        series: &[STANDBY],
    },
    Case {
        alert: "PaymentOperatorNotLeading",
        fires: true,
        series: &[],
    },
    Case {
        alert: "PaymentOperatorLeadershipFlaps",
        fires: false,
        series: &[("lease_transitions{pod=\"a\"", "4x90")],
    },
    Case {
        alert: "PaymentOperatorLeadershipFlaps",
        fires: true,
        series: &[("lease_transitions{pod=\"a\"", "0+0.1x90")],
    },
    Case {
        alert: "PaymentOperatorStuck",
        fires: true,
        series: &[
            LEADS,
            ("queue_depth{pod=\"a\"", "3x90"),
            ("passes_total{pod=\"a\",result=\"done\"", "7x90"),
        ],
    },
    Case {
        alert: "PaymentOperatorStuck",
        fires: false,
        series: &[
            LEADS,
            ("queue_depth{pod=\"a\"", "3x90"),
            ("passes_total{pod=\"a\",result=\"done\"", "0+1x90"),
        ],
    },
    Case {
        alert: "PaymentOperatorStuck",
        fires: false,
        series: &[
            LEADS,
            ("queue_depth{pod=\"a\"", "0x90"),
            ("passes_total{pod=\"a\",result=\"done\"", "7x90"),
        ],
    },
    Case {
        alert: "PaymentOperatorPassesFail",
        fires: true,
        series: &[("passes_total{pod=\"a\",result=\"ApplyFailed\"", "0+1x90")],
    },
    Case {
        alert: "PaymentOperatorPassesFail",
        fires: false,
        series: &[
            ("passes_total{pod=\"a\",result=\"ApplyFailed\"", "0+1x90"),
            ("passes_total{pod=\"a\",result=\"done\"", "0+5x90"),
        ],
    },
    Case {
        alert: "PaymentOperatorFlaps",
        fires: true,
        series: &[(
            "writes_total{pod=\"a\",verb=\"apply\",kind=\"Service\"",
            "0+6x90",
        )],
    },
    Case {
        alert: "PaymentOperatorFlaps",
        fires: false,
        series: &[(
            "writes_total{pod=\"a\",verb=\"apply\",kind=\"Service\"",
            "60x90",
        )],
    },
    Case {
        alert: "PaymentSystemDoesNotConverge",
        fires: true,
        series: &[("converging_longest_seconds{pod=\"a\"", "0+60x90")],
    },
    Case {
        alert: "PaymentSystemDoesNotConverge",
        fires: false,
        series: &[("converging_longest_seconds{pod=\"a\"", "0x90")],
    },
    Case {
        alert: "PaymentSystemConvergesSlowly",
        fires: true,
        series: &[
            ("converge_seconds_bucket{pod=\"a\",le=\"300.0\"", "0x90"),
            ("converge_seconds_bucket{pod=\"a\",le=\"900.0\"", "0+1x90"),
            ("converge_seconds_bucket{pod=\"a\",le=\"+Inf\"", "0+1x90"),
        ],
    },
    Case {
        alert: "PaymentOperatorRequestsFail",
        fires: true,
        series: &[
            (
                "requests_total{pod=\"a\",verb=\"patch\",outcome=\"failed\"",
                "0+1x90",
            ),
            (
                "requests_total{pod=\"a\",verb=\"patch\",outcome=\"ok\"",
                "0+5x90",
            ),
        ],
    },
    Case {
        alert: "PaymentOperatorRequestsFail",
        fires: false,
        series: &[
            (
                "requests_total{pod=\"a\",verb=\"patch\",outcome=\"conflict\"",
                "0+1x90",
            ),
            (
                "requests_total{pod=\"a\",verb=\"patch\",outcome=\"ok\"",
                "0+5x90",
            ),
        ],
    },
];

impl Case {
    fn test(&self) -> Value {
        let series: Vec<Value> = self
            .series
            .iter()
            .map(|(name, values)| {
                json!({
                    "series": format!("payment_operator_{name},namespace=\"payment-system\"}}"),
                    "values": values,
                })
            })
            .collect();
        let samples = if self.fires {
            json!([{"labels": "{}", "value": 1}])
        } else {
            json!([])
        };
        json!({
            "name": format!("{} {}", self.alert, self.fires),
            "interval": "1m",
            "input_series": series,
            "promql_expr_test": [{
                "expr": format!("count(ALERTS{{alertname=\"{}\",alertstate=\"firing\"}})", self.alert),
                "eval_time": "60m",
                "exp_samples": samples,
            }],
        })
    }
}

#[test]
fn the_operators_alerts_fire_when_they_should_and_not_otherwise() {
    let groups = install::monitoring::groups("payment-system");
    let rules = written(&json!({"groups": groups}));
    for rule in groups[0]["rules"].as_array().unwrap() {
        let fires = |case: &&Case| case.fires && rule["alert"] == case.alert;
        assert!(
            CASES.iter().any(|case| fires(&case)),
            "{rule} is never seen to fire"
        );
    }
    let tests: Vec<Value> = CASES.iter().map(Case::test).collect();
    let file = written(&json!({
        "rule_files": [rules.path()],
        "evaluation_interval": "1m",
        "tests": tests,
    }));
    let judged = promtool(&["test", "rules"], file.path());
    let told = String::from_utf8_lossy(&judged.stderr);
    let said = String::from_utf8_lossy(&judged.stdout);
    assert!(judged.status.success(), "{told}{said}");
}
