//! Requests about payments that do not allow them: refunds, attempts and closing.

use serde_json::json;

use super::{Case, Scene};

const UNUSABLE: &str = "VALIDATION_FAILED";
const UNREADABLE: &str = "BAD_REQUEST";

pub(super) fn cases(scene: &Scene) -> Vec<Case> {
    let mut cases = reused_orders(scene);
    cases.extend(refunds_in_the_wrong_state(scene));
    cases.extend(refunds_with_bad_fields(scene));
    cases.extend(attempts_in_the_wrong_state(scene));
    cases.extend(attempts_with_bad_fields(scene));
    cases.extend(closing(scene));
    cases
}

fn path(payment: &str, action: &str) -> String {
    format!("/api/payments/{payment}/{action}")
}

/// The order of `paid` again, with other contents.
fn reused_orders(scene: &Scene) -> Vec<Case> {
    let changes = [
        ("amount", json!("100.00")),
        ("amount", json!(99.98)),
        ("userId", json!("USER-2")),
        ("channel", json!("wechat")),
        ("method", json!("page")),
        ("subject", json!("Another")),
        ("items", json!([{"productId": "P", "quantity": 1}])),
        ("expiresInSeconds", json!(61)),
        ("returnUrl", json!("https://x.example")),
        ("clientIp", json!("1.2.3.4")),
    ];
    let other = |(field, value): (&str, serde_json::Value)| {
        let mut order = scene.paid_order.clone();
        order[field] = value;
        Case::post("/api/payments", order.to_string(), "ORDER_ID_REUSED")
    };
    changes.map(other).into()
}

fn refund(payment: &str, body: &str, code: &'static str) -> Case {
    Case::post(&path(payment, "refunds"), body, code)
}

fn refunds_in_the_wrong_state(scene: &Scene) -> Vec<Case> {
    let new = r#"{"refundNo":"R-2","amount":"1.00"}"#;
    let mut cases = vec![
        refund(&scene.open, new, "PAYMENT_NOT_CHARGED").charge_may_exist(),
        refund(&scene.closed, new, "PAYMENT_NOT_CHARGED"),
        refund(&scene.superseded, new, "PAYMENT_NOT_CHARGED"),
        refund(&scene.refunded, new, "REFUND_EXCEEDS_PAYMENT"),
        refund(&scene.closed, new, "PAYMENT_NOT_CHARGED").header("idempotency-key", "refund-1"),
        refund("pay_0", new, "PAYMENT_NOT_FOUND"),
        refund("pay_0", new, "PAYMENT_NOT_FOUND").header("idempotency-key", "refund-2"),
    ];
    for amount in [
        "90.00",
        "89.995",
        "99.99",
        "1000000",
        "92233720368547758.07",
    ] {
        let body = format!(r#"{{"refundNo":"R-2","amount":"{amount}"}}"#);
        let code = if amount == "89.995" {
            UNUSABLE
        } else {
            "REFUND_EXCEEDS_PAYMENT"
        };
        cases.push(refund(&scene.paid, &body, code));
    }
    for other in [
        r#"{"refundNo":"R-1","amount":"10.01"}"#,
        r#"{"refundNo":"R-1","amount":"10.00","reason":"another"}"#,
        r#"{"refundNo":"R-1","amount":"0.01"}"#,
    ] {
        cases.push(refund(&scene.paid, other, "REFUND_NO_REUSED"));
    }
    cases
}

fn refunds_with_bad_fields(scene: &Scene) -> Vec<Case> {
    let mut cases = Vec::new();
    let long = format!("\"{}\"", "r".repeat(65));
    for number in [
        "\"\"",
        "\"a b\"",
        "\"late-1\"",
        "\"late-\"",
        "\"退\"",
        "\"a/b\"",
        "\"R\\u0000\"",
        &long,
    ] {
        let body = format!(r#"{{"refundNo":{number},"amount":"1.00"}}"#);
        cases.push(refund(&scene.paid, &body, UNUSABLE));
    }
    for amount in [
        "0",
        "\"0\"",
        "-1",
        "\"-0.01\"",
        "\"0.001\"",
        "1e0",
        "\"1e0\"",
        "null",
        "[]",
        "\"\"",
        "\"NaN\"",
        "1e400",
    ] {
        let body = format!(r#"{{"refundNo":"R-2","amount":{amount}}}"#);
        cases.push(refund(&scene.paid, &body, UNUSABLE));
    }
    let reason = format!("\"{}\"", "r".repeat(81));
    for text in ["\"\"", "\"a\\u0000\"", "\"a\\nb\"", &reason] {
        let body = format!(r#"{{"refundNo":"R-2","amount":1,"reason":{text}}}"#);
        cases.push(refund(&scene.paid, &body, UNUSABLE));
    }
    for body in [
        r#"{"amount":"1.00"}"#,
        r#"{"refundNo":"R-2"}"#,
        r#"{"refundNo":2,"amount":"1.00"}"#,
        r#"{"refundNo":null,"amount":"1.00"}"#,
        r#"{"refundNo":"R-2","amount":NaN}"#,
        r#"{"refundNo":"R-2","amount":"1.00","currency":"CNY"}"#,
        r#"{"refundNo":"R-2","amount":"1.00","reason":1}"#,
        r#"{"refundNo":"R-2","refundNo":"R-3","amount":"1.00"}"#,
        r#"{"refundNo":"R-2","amount":1,"amount":2}"#,
        r#"{"refundNo":"R-2","amount":1,"origin":"api"}"#,
    ] {
        cases.push(refund(&scene.paid, body, UNREADABLE));
    }
    cases
}

fn attempt(payment: &str, body: &str, code: &'static str) -> Case {
    Case::post(&path(payment, "attempts"), body, code)
}

fn attempts_in_the_wrong_state(scene: &Scene) -> Vec<Case> {
    let mut cases = Vec::new();
    for (key, body) in [
        ("attempt-1", "{}"),
        ("attempt-2", r#"{"channel":"alipay"}"#),
    ] {
        cases.extend([
            attempt(&scene.open, body, "PAYMENT_STILL_OPEN").charge_may_exist(),
            attempt(&scene.paid, body, "PAYMENT_ALREADY_CHARGED").charge_may_exist(),
            attempt(&scene.refunded, body, "PAYMENT_ALREADY_CHARGED"),
            attempt("pay_0", body, "PAYMENT_NOT_FOUND"),
            attempt(&scene.open, body, "PAYMENT_STILL_OPEN")
                .charge_may_exist()
                .header("idempotency-key", key),
        ]);
    }
    // The request that began the later attempt is taken as its repeat; any other comes too late.
    for body in [
        r#"{"channel":"alipay"}"#,
        r#"{"method":"app"}"#,
        r#"{"method":"h5","clientIp":"1.2.3.4"}"#,
    ] {
        cases.push(attempt(&scene.superseded, body, "ATTEMPT_SUPERSEDED").charge_may_exist());
    }
    // The key that was given back is bound to its body all the same.
    let reused = attempt(&scene.open, "{ }", "IDEMPOTENCY_KEY_REUSED");
    cases.push(reused.header("idempotency-key", "attempt-1"));
    cases
}

fn attempts_with_bad_fields(scene: &Scene) -> Vec<Case> {
    let mut cases = Vec::new();
    for body in [
        r#"{"channel":"paypal"}"#,
        r#"{"channel":"wechat","method":"precreate"}"#,
        r#"{"method":"jsapi"}"#,
        r#"{"method":"h5"}"#,
        r#"{"payerId":"o"}"#,
        r#"{"channel":"alipay","method":"create"}"#,
        r#"{"method":"h5","clientIp":"here"}"#,
        r#"{"returnUrl":"x"}"#,
        r#"{"expiresInSeconds":59}"#,
    ] {
        cases.push(attempt(&scene.closed, body, UNUSABLE));
    }
    for body in [
        r#"{"amount":"1.00"}"#,
        r#"{"orderId":"O"}"#,
        r#"{"channel":1}"#,
        r#"{"expiresInSeconds":"60"}"#,
        r#"{"channel":"wechat","channel":"alipay"}"#,
    ] {
        cases.push(attempt(&scene.closed, body, UNREADABLE));
    }
    cases
}

fn closing(scene: &Scene) -> Vec<Case> {
    let close = |payment: &str, code| Case::post(&path(payment, "close"), "{}", code);
    let charged = "PAYMENT_ALREADY_CHARGED";
    vec![
        close(&scene.paid, charged).charge_may_exist(),
        close(&scene.paid, charged)
            .charge_may_exist()
            .header("idempotency-key", "close-1"),
        close(&scene.refunded, charged),
        close("pay_0", "PAYMENT_NOT_FOUND"),
        close(&scene.open.to_uppercase(), "PAYMENT_NOT_FOUND"),
        close(&format!("{}%20", scene.open), "PAYMENT_NOT_FOUND"),
    ]
}
