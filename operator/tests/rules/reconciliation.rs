//! The rules on `spec.reconciliation`.

use serde_json::{Value, json};

use super::{
    Cluster,
    case::{Case, case},
    system, with,
};

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

pub(super) fn cases() -> Vec<Case> {
    let daily = json!({"reconciliation": {"schedule": "0 3 * * *", "dailyRun": {"enabled": true}}});
    let asked = json!({"reconciliation": {
        "notify": notify("https://hooks.example.com/"),
        "peopleSecretRef": {"name": "hook", "key": "people"},
    }});
    let told = json!({"reconciliation": {"notify": notify("https://hooks.example.com/")}});
    vec![
        case(
            "the runs would start together",
            "reconciliation.dailyRun.schedule",
            "0 3 * * *",
            "0 2 * * *",
        )
        .around(daily),
        case(
            "one is a list of people",
            "reconciliation.peopleSecretRef.key",
            "signing",
            "people",
        )
        .around(asked),
        case(
            "names one minute and one hour",
            "reconciliation.dailyRun.schedule",
            "0/30 * * * *",
            "30 2 * * *",
        ),
        case(
            "dailyAmount must be more than 0",
            "reconciliation.corrections.dailyAmount",
            "0.00",
            "0.01",
        ),
        case(
            "without a user and without spaces",
            "reconciliation.notify.url",
            "https://user@hooks.example.com/",
            "https://hooks.example.com/",
        )
        .around(told.clone()),
        case(
            "notify.url must start with https://",
            "reconciliation.notify.url",
            "http://hooks.example.com/a.b.svc",
            "http://hooks.tools.svc/a.b.svc",
        )
        .around(told),
    ]
}

pub(super) async fn what_can_be_read_is_accepted(cluster: &Cluster) {
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
