use super::*;
use crate::{NewRefund, RefundStatus};

fn refund_body(status: &str) -> Value {
    json!({
        "refund_id": "50000000382019052709732678859", "out_refund_no": REFUND_NUMBER,
        "transaction_id": "4200001", "out_trade_no": NUMBER, "channel": "ORIGINAL",
        "user_received_account": "招商银行信用卡0403", "create_time": "2026-10-03T10:00:00+08:00",
        "success_time": "2026-10-03T10:34:56+08:00", "status": status,
        "amount": {"total": 9999, "refund": 1000, "payer_total": 9000, "payer_refund": 900,
                   "currency": "CNY"},
    })
}

fn expected(state: RefundState) -> RefundStatus {
    RefundStatus {
        state,
        channel_refund_id: Some("50000000382019052709732678859".to_owned()),
        amount: Some(Money::new(1_000, Currency::CNY)),
        refunded_at: Some("2026-10-03T02:34:56Z".parse().unwrap()),
    }
}

const STATES: [(&str, RefundState); 4] = [
    ("PROCESSING", RefundState::Processing),
    ("SUCCESS", RefundState::Succeeded),
    ("CLOSED", RefundState::Failed),
    ("ABNORMAL", RefundState::Abnormal),
];

#[tokio::test]
async fn a_refund_goes_out_under_our_numbers_and_says_how_far_it_is() {
    for (text, state) in STATES {
        let (wechat, server) = answering(signed(200, &refund_body(text))).await;
        let status = result(wechat.refund(&testing::refund(), now()).await).unwrap();
        assert_eq!(status, expected(state));
        let seen = &server.seen()[0];
        assert_eq!(
            (seen.method.as_str(), seen.target.as_str()),
            ("POST", "/v3/refund/domestic/refunds")
        );
        assert_eq!(
            serde_json::from_str::<Value>(&seen.body).unwrap(),
            json!({
                "out_trade_no": NUMBER, "out_refund_no": REFUND_NUMBER, "reason": "too late",
                "notify_url": "https://pay.example.com/callbacks/x",
                "amount": {"refund": 1000, "total": 9999, "currency": "CNY"},
            })
        );
        assert_authorized(seen);
    }
}

#[tokio::test]
async fn a_reason_is_shortened_or_left_out() {
    for (reason, sent) in [
        (None, Value::Null),
        (Some(" \n"), Value::Null),
        (Some("茶".repeat(30).as_str()), json!("茶".repeat(26))),
    ] {
        let (wechat, server) = answering(signed(200, &refund_body("SUCCESS"))).await;
        let refund = NewRefund {
            reason: reason.map(str::to_owned),
            ..testing::refund()
        };
        assert_eq!(short(wechat.refund(&refund, now()).await), "done");
        let body: Value = serde_json::from_str(&server.seen()[0].body).unwrap();
        assert_eq!(body.get("reason").cloned().unwrap_or_default(), sent);
    }
}

fn changed_repeat() -> Reply {
    let body = json!({"code": "INVALID_REQUEST", "message": "m"}).to_string();
    let mut headers = right().headers(body.as_bytes());
    headers.push(("Request-ID".to_owned(), "08F7-268498688".to_owned()));
    Reply::Answer {
        status: 400,
        headers,
        body: body.into_bytes(),
    }
}

#[tokio::test]
async fn refund_outcomes() {
    let with = |field: &str, value: Value| {
        let mut body = refund_body("SUCCESS");
        body[field] = value;
        signed(200, &body)
    };
    let cases = [
        (
            "another refund",
            with("out_refund_no", json!("R2")),
            "?unverifiable",
        ),
        (
            "another order",
            with("out_trade_no", json!("P20261003000002")),
            "?unverifiable",
        ),
        (
            "no order",
            with("out_trade_no", Value::Null),
            "?unverifiable",
        ),
        ("no amount", with("amount", Value::Null), "?unverifiable"),
        (
            "no currency we know",
            with("amount", json!({"refund": 1, "currency": "X"})),
            "?unverifiable",
        ),
        (
            "a new status",
            with("status", json!("NEW")),
            "?unverifiable",
        ),
        (
            "no number of theirs",
            with("refund_id", Value::Null),
            "done",
        ),
        (
            "unsigned",
            Reply::plain(200, refund_body("SUCCESS").to_string()),
            "?unverifiable",
        ),
        (
            "unsigned refusal",
            Reply::plain(403, r#"{"code":"NOT_ENOUGH"}"#),
            "?unverifiable",
        ),
        ("accepted", refusal(202, "ACCEPTED"), "?in_progress"),
        ("balance", refusal(403, "NOT_ENOUGH"), "NOT_ENOUGH"),
        ("older balance", refusal(403, "NOTENOUGH"), "NOTENOUGH"),
        (
            "account",
            refusal(403, "USER_ACCOUNT_ABNORMAL"),
            "USER_ACCOUNT_ABNORMAL",
        ),
        (
            "request",
            refusal(400, "INVALID_REQUEST"),
            "INVALID_REQUEST",
        ),
        ("parameters", refusal(400, "PARAM_ERROR"), "PARAM_ERROR"),
        ("permission", refusal(403, "NO_AUTH"), "NO_AUTH"),
        (
            "no such order",
            refusal(404, "RESOURCE_NOT_EXISTS"),
            "RESOURCE_NOT_EXISTS",
        ),
        ("merchant", refusal(404, "MCH_NOT_EXISTS"), "MCH_NOT_EXISTS"),
        ("signature", refusal(401, "SIGN_ERROR"), "SIGN_ERROR"),
        ("number used otherwise", changed_repeat(), "?in_progress"),
        ("limited", refusal(429, "FREQUENCY_LIMITED"), "?busy"),
        ("limited as 403", refusal(403, "FREQUENCY_LIMITED"), "?busy"),
        (
            "limited by another name",
            refusal(429, "RATELIMIT_EXCEEDED"),
            "?busy",
        ),
        ("server", refusal(500, "SYSTEM_ERROR"), "?server_error"),
        ("gateway", Reply::plain(502, ""), "?server_error"),
        ("hang-up", Reply::HangUp, "?transport"),
        ("silence", Reply::Silence, "?timeout"),
    ];
    for (name, reply, expected) in cases {
        let (wechat, _server) = answering(reply).await;
        let outcome = wechat.refund(&testing::refund(), now()).await;
        assert_eq!(short(outcome), expected, "{name}");
    }
}

#[tokio::test]
async fn local_rules_refuse_before_sending() {
    let (wechat, server) = answering(Reply::HangUp).await;
    let money = |minor| Money::new(minor, Currency::CNY);
    let dollars = Money::new(1, Currency::parse("USD").unwrap());
    let refund = testing::refund;
    for (expected, refund) in [
        (
            "!CURRENCY_NOT_SUPPORTED",
            NewRefund {
                amount: dollars,
                ..refund()
            },
        ),
        (
            "!CURRENCY_NOT_SUPPORTED",
            NewRefund {
                total: dollars,
                ..refund()
            },
        ),
        (
            "!INVALID_LOCAL_REQUEST",
            NewRefund {
                amount: money(0),
                ..refund()
            },
        ),
        (
            "!INVALID_LOCAL_REQUEST",
            NewRefund {
                amount: money(10_000),
                ..refund()
            },
        ),
        (
            "!INVALID_LOCAL_REQUEST",
            NewRefund {
                channel_refund_no: "a/b".to_owned(),
                ..refund()
            },
        ),
        (
            "!INVALID_LOCAL_REQUEST",
            NewRefund {
                channel_refund_no: String::new(),
                ..refund()
            },
        ),
        (
            "!INVALID_LOCAL_REQUEST",
            NewRefund {
                channel_order_no: "x".to_owned(),
                ..refund()
            },
        ),
        (
            "!INVALID_LOCAL_REQUEST",
            NewRefund {
                notify_url: "https://a/?b".to_owned(),
                ..refund()
            },
        ),
    ] {
        let outcome = wechat.refund(&refund, now()).await;
        assert_eq!(short(outcome), expected, "{refund:?}");
    }
    let outcome = wechat.query_refund(NUMBER, "a/b", now()).await;
    assert_eq!(short(outcome), "!INVALID_LOCAL_REQUEST");
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_refund_is_queried_by_our_number() {
    for (text, state) in STATES {
        let (wechat, server) = answering(signed(200, &refund_body(text))).await;
        let outcome = wechat.query_refund(NUMBER, REFUND_NUMBER, now()).await;
        assert_eq!(result(outcome).unwrap(), expected(state));
        let seen = &server.seen()[0];
        assert_eq!(
            (seen.method.as_str(), seen.target.as_str()),
            ("GET", "/v3/refund/domestic/refunds/R20261003000001")
        );
        assert_authorized(seen);
    }
}

#[tokio::test]
async fn refund_query_outcomes() {
    let mut other = refund_body("SUCCESS");
    other["out_trade_no"] = json!("P20261003000002");
    let cases = [
        (
            refusal(404, "RESOURCE_NOT_EXISTS"),
            Ok(RefundState::NotFound),
        ),
        (
            Reply::plain(404, r#"{"code":"RESOURCE_NOT_EXISTS"}"#),
            Err("?unverifiable"),
        ),
        (signed(200, &other), Err("?unverifiable")),
        (signed(200, &json!({})), Err("?unverifiable")),
        (refusal(403, "NO_AUTH"), Err("NO_AUTH")),
        (refusal(429, "FREQUENCY_LIMITED"), Err("?busy")),
        (refusal(500, "SYSTEM_ERROR"), Err("?server_error")),
        (Reply::CutOff, Err("?transport")),
    ];
    for (index, (reply, expected)) in cases.into_iter().enumerate() {
        let (wechat, _server) = answering(reply).await;
        let outcome = wechat.query_refund(NUMBER, REFUND_NUMBER, now()).await;
        let state = result(outcome).map(|status| status.state);
        assert_eq!(state, expected.map_err(str::to_owned), "{index}");
    }
}
