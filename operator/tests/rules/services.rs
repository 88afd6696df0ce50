//! The rules on the services, and on monitoring.

use serde_json::{Value, json};

use super::case::{Case, case};

pub(super) fn cases() -> Vec<Case> {
    [
        orders(),
        services(),
        certificates(),
        network(),
        monitoring(),
    ]
    .concat()
}

fn orders() -> Vec<Case> {
    let external = json!({"orders": {"external": {"url": "https://orders.example.com"}}});
    vec![
        case(
            "orders.external cannot be added or removed",
            "orders.external",
            json!({"url": "https://orders.example.com"}),
            Value::Null,
        )
        .around(json!({"orders": {}}))
        .before(json!({})),
        case(
            "no effect on an external order service",
            "orders.clientNamespaces",
            json!(["shop"]),
            Value::Null,
        )
        .around(external),
        case(
            "a user, spaces and a final slash",
            "orders.external.url",
            "https://orders.example.com/",
            "https://orders.example.com",
        ),
        case(
            "orders.external.url must start with https://",
            "orders.external.url",
            "http://orders.example.com",
            "http://orders.shop.svc",
        ),
    ]
}

fn network() -> Vec<Case> {
    let range = |refused: &str, accepted: &str| {
        case(
            "a range of addresses is",
            "network.egressCidrs",
            json!([refused]),
            json!([accepted]),
        )
    };
    vec![
        case("network.policies is false", "network.policies", false, true)
            .around(json!({"network": {"monitoringNamespaces": ["monitoring"]}})),
        range("203.0.113.0", "203.0.113.0/24"),
        range("203.0.113.7/24", "203.0.113.7/32"),
        range("2001:DB8::/32", "2001:db8::/32"),
    ]
}

fn services() -> Vec<Case> {
    vec![
        case(
            "must not be smaller than payment.idempotencyWindowSeconds",
            "payment.expiresInSeconds",
            299,
            300,
        ),
        case(
            "payment.replicas has no effect while payment.autoscaling is on",
            "payment.replicas",
            4,
            3,
        )
        .before(json!({})),
    ]
}

fn certificates() -> Vec<Case> {
    let with = json!({"callback": {"certificateRef": {"name": "callback"}}});
    vec![
        case(
            "the simulator calls plain HTTP",
            "callback.certificateRef",
            json!({"name": "callback"}),
            Value::Null,
        ),
        case(
            "no portable way to speak HTTPS",
            "callback.certificateRef",
            json!({"name": "callback"}),
            Value::Null,
        )
        .around(super::whole::real())
        .around(json!({"expose": {"ingress": {"host": "pay.example.com", "tlsSecretName": "public"}}})),
        case(
            "no portable way to speak HTTPS",
            "expose",
            json!({"ingress": {"host": "pay.example.com", "tlsSecretName": "public"}}),
            json!({"gateway": {"parentRefs": [{"name": "public"}], "hostnames": ["pay.example.com"]}}),
        )
        .around(super::whole::real())
        .around(with),
    ]
}

fn monitoring() -> Vec<Case> {
    let labels = |words, refused: Value, accepted: Value| {
        case(words, "monitoring.labels", refused, accepted)
    };
    vec![
        labels(
            "a value must have at most 63 characters",
            json!({"a": "x".repeat(64)}),
            json!({"a": "x".repeat(63)}),
        ),
        labels(
            "a value has only letters",
            json!({"a": "x-"}),
            json!({"a": "x-1"}),
        ),
        labels(
            "a name such as",
            json!({"a/b/c": "x"}),
            json!({"a.b/c": "x"}),
        ),
        labels(
            "the operator owns those",
            json!({"app.kubernetes.io/name": "x"}),
            json!({"example.com/name": "x"}),
        ),
    ]
}
