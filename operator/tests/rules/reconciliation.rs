//! The rules on `spec.reconciliation`.

use serde_json::{Value, json};

use super::{Cluster, system, with};

fn reconciling(section: Value) -> Value {
    let mut spec = with(json!({}));
    spec["reconciliation"] = section;
    spec
}

fn notify(url: &str) -> Value {
    json!({"url": url, "secretRef": {"name": "hook", "key": "signing"}})
}

/// What the rules on amounts, rates and addresses must let through.
fn good_reconciliations() -> Vec<Value> {
    vec![
        json!({"corrections": {"dailyAmount": "0.01", "dailyCount": 1}}),
        json!({"corrections": {"enabled": false, "dailyAmount": "999999999999.99"}}),
        json!({"secondPersonAbove": "0"}),
        json!({"secondPersonAbove": "10000.5"}),
        json!({"lateRows": {"minutesAroundMidnight": 0, "waitDays": 0}}),
        json!({"feeRates": {"wechat": "0.6%", "alipay": "99.9999%"}}),
        json!({"notify": notify("https://hooks.example.com:8443/differences?to=books")}),
        json!({"notify": notify("http://hooks.tools.svc:8080/differences")}),
        json!({"notify": notify("http://hooks.tools.svc.cluster.local")}),
        json!({"peopleSecretRef": {"name": "access", "key": "people.txt"}}),
    ]
}

/// Specifications that must be refused, and words of the refusal.
pub(super) fn bad() -> Vec<(Value, &'static str)> {
    vec![
        (
            reconciling(json!({"corrections": {"dailyAmount": "0.00"}})),
            "must be more than 0",
        ),
        (
            reconciling(json!({"corrections": {"dailyAmount": "1.005"}})),
            "at most two decimals",
        ),
        (
            reconciling(json!({"corrections": {"dailyCount": 0}})),
            "greater than or equal to 1",
        ),
        (
            reconciling(json!({"secondPersonAbove": "-1"})),
            "at most two decimals",
        ),
        (
            reconciling(json!({"lateRows": {"minutesAroundMidnight": 721}})),
            "less than or equal to 720",
        ),
        (
            reconciling(json!({"feeRates": {"wechat": "0.00001%"}})),
            "at most four decimals",
        ),
        (
            reconciling(json!({"feeRates": {"alipay": "0.6"}})),
            "a rate is a percentage",
        ),
        (
            reconciling(json!({"notify": notify("https://user@hooks.example.com/")})),
            "without a user",
        ),
        (
            reconciling(json!({"notify": notify("http://hooks.example.com/")})),
            "must start with https://",
        ),
        (
            reconciling(json!({"notify": notify("http://hooks.example.com/a.b.svc")})),
            "must start with https://",
        ),
        (
            reconciling(json!({"notify": {"url": "https://hooks.example.com/"}})),
            "secretRef",
        ),
        (
            reconciling(json!({"peopleSecretRef": {"name": "access", "key": "a/b"}})),
            "peopleSecretRef.key",
        ),
    ]
}

#[tokio::test]
async fn amounts_rates_and_addresses_that_can_be_read_are_accepted() {
    let cluster = Cluster::start().await;
    for (index, section) in good_reconciliations().into_iter().enumerate() {
        let spec = reconciling(section);
        let object = cluster
            .apply(&system(&format!("good-{index}"), &spec))
            .await
            .unwrap_or_else(|error| panic!("{spec} was refused: {error}"));
        payment_operator::reconciliation::configuration(&object.spec.reconciliation)
            .unwrap_or_else(|error| panic!("{spec} is accepted but not understood: {error}"));
    }
}
