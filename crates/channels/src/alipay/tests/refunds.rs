use super::*;
use crate::alipay::refunds::{REFUND, REFUND_QUERY};
use crate::{NewRefund, RefundStatus};

fn refunded() -> Value {
    json!({
        "code": "10000", "msg": "Success", "out_trade_no": NUMBER, "trade_no": "2026100322001",
        "buyer_logon_id": "159****5620", "fund_change": "Y", "refund_fee": "88.88",
        "gmt_refund_pay": "2026-10-03 10:34:56",
    })
}

fn with(mut node: Value, field: &str, value: Value) -> Value {
    node[field] = value;
    node
}

#[tokio::test]
async fn a_refund_goes_out_under_our_number() {
    let (alipay, server) = answering(signed(REFUND, &refunded())).await;
    let status = result(alipay.refund(&testing::refund(), now()).await).unwrap();
    // `refund_fee` adds up all refunds of the trade, so it is not this one's amount.
    let expected = RefundStatus {
        state: RefundState::Succeeded,
        channel_refund_id: None,
        amount: None,
        refunded_at: Some("2026-10-03T02:34:56Z".parse().unwrap()),
    };
    assert_eq!(status, expected);
    let seen = &server.seen()[0];
    let query = form(seen.target.split_once('?').unwrap().1);
    assert_eq!(query["method"], "alipay.trade.refund");
    assert!(!query.contains_key("notify_url"));
    assert_eq!(
        serde_json::from_str::<Value>(&form(&seen.body)["biz_content"]).unwrap(),
        json!({
            "out_trade_no": NUMBER, "refund_amount": "10.00", "out_request_no": REFUND_NUMBER,
            "refund_reason": "too late",
        })
    );
}

#[tokio::test]
async fn refund_outcomes() {
    let refused = |sub_code| refusal(REFUND, "40004", sub_code);
    let changed = |field, value| signed(REFUND, &with(refunded(), field, value));
    let cases = [
        (
            "no change",
            changed("fund_change", json!("N")),
            "?in_progress",
        ),
        (
            "no word of a change",
            changed("fund_change", Value::Null),
            "?in_progress",
        ),
        (
            "another order",
            changed("out_trade_no", json!("P2")),
            "?unverifiable",
        ),
        (
            "no order",
            changed("out_trade_no", Value::Null),
            "?unverifiable",
        ),
        ("unsigned", Reply::plain(200, "{}"), "?unverifiable"),
        ("system error", refused("ACQ.SYSTEM_ERROR"), "?server_error"),
        ("misspelt", refused("AQC.SYSTEM_ERROR"), "?server_error"),
        (
            "unavailable",
            refusal(REFUND, "20000", "aop.unknow-error"),
            "?server_error",
        ),
        (
            "limited",
            refusal(REFUND, "40005", "isv.app-call-limited"),
            "?busy",
        ),
        (
            "used otherwise",
            refused("ACQ.DISCORDANT_REPEAT_REQUEST"),
            "?in_progress",
        ),
        (
            "balance",
            refused("ACQ.SELLER_BALANCE_NOT_ENOUGH"),
            "ACQ.SELLER_BALANCE_NOT_ENOUGH",
        ),
        (
            "too much",
            refused("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL"),
            "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL",
        ),
        (
            "not allowed",
            refused("ACQ.TRADE_NOT_ALLOW_REFUND"),
            "ACQ.TRADE_NOT_ALLOW_REFUND",
        ),
        (
            "fee",
            refused("ACQ.REFUND_FEE_ERROR"),
            "ACQ.REFUND_FEE_ERROR",
        ),
        (
            "finished",
            refused("ACQ.TRADE_HAS_FINISHED"),
            "ACQ.TRADE_HAS_FINISHED",
        ),
        (
            "closed",
            refused("ACQ.TRADE_HAS_CLOSE"),
            "ACQ.TRADE_HAS_CLOSE",
        ),
        (
            "no trade",
            refused("ACQ.TRADE_NOT_EXIST"),
            "ACQ.TRADE_NOT_EXIST",
        ),
        (
            "status",
            refused("ACQ.TRADE_STATUS_ERROR"),
            "ACQ.TRADE_STATUS_ERROR",
        ),
        (
            "parameters",
            refused("ACQ.INVALID_PARAMETER"),
            "ACQ.INVALID_PARAMETER",
        ),
        ("hang-up", Reply::HangUp, "?transport"),
        ("silence", Reply::Silence, "?timeout"),
    ];
    for (name, reply, expected) in cases {
        let (alipay, _server) = answering(reply).await;
        let outcome = alipay.refund(&testing::refund(), now()).await;
        assert_eq!(short(outcome), expected, "{name}");
    }
}

#[tokio::test]
async fn local_rules_refuse_before_sending() {
    let (alipay, server) = answering(Reply::HangUp).await;
    let refund = testing::refund;
    let zero = Money::new(0, Currency::CNY);
    for refund in [
        NewRefund {
            amount: zero,
            ..refund()
        },
        NewRefund {
            total: zero,
            ..refund()
        },
        NewRefund {
            channel_refund_no: "a-b".to_owned(),
            ..refund()
        },
        NewRefund {
            channel_refund_no: String::new(),
            ..refund()
        },
    ] {
        let outcome = alipay.refund(&refund, now()).await;
        assert_eq!(short(outcome), "!INVALID_LOCAL_REQUEST", "{refund:?}");
    }
    let outcome = alipay.query_refund(NUMBER, "", now()).await;
    assert_eq!(short(outcome), "!INVALID_LOCAL_REQUEST");
    assert!(server.seen().is_empty());
}

fn found() -> Value {
    json!({
        "code": "10000", "msg": "Success", "out_trade_no": NUMBER, "trade_no": "2026100322001",
        "out_request_no": REFUND_NUMBER, "refund_status": "REFUND_SUCCESS",
        "total_amount": "99.99", "refund_amount": "10.00", "gmt_refund_pay": "2026-10-03 10:34:56",
    })
}

#[tokio::test]
async fn a_refund_is_queried_by_both_numbers() {
    let (alipay, server) = answering(signed(REFUND_QUERY, &found())).await;
    let outcome = alipay.query_refund(NUMBER, REFUND_NUMBER, now()).await;
    let expected = RefundStatus {
        state: RefundState::Succeeded,
        channel_refund_id: None,
        amount: Some(Money::new(1_000, Currency::CNY)),
        refunded_at: Some("2026-10-03T02:34:56Z".parse().unwrap()),
    };
    assert_eq!(result(outcome).unwrap(), expected);
    assert_eq!(
        serde_json::from_str::<Value>(&form(&server.seen()[0].body)["biz_content"]).unwrap(),
        json!({
            "out_trade_no": NUMBER, "out_request_no": REFUND_NUMBER,
            "query_options": ["gmt_refund_pay"],
        })
    );
}

#[tokio::test]
async fn refund_query_outcomes() {
    let changed = |field, value| signed(REFUND_QUERY, &with(found(), field, value));
    let refused = |sub_code| refusal(REFUND_QUERY, "40004", sub_code);
    let bare = json!({"code": "10000", "msg": "Success"});
    let named = json!({
        "code": "10000", "msg": "Success", "out_trade_no": NUMBER, "out_request_no": REFUND_NUMBER,
    });
    let of_another = json!({"code": "10000", "msg": "Success", "out_request_no": "R2"});
    let cases = [
        (
            "absent",
            signed(REFUND_QUERY, &bare),
            Ok(RefundState::NotFound),
        ),
        (
            "absent, named",
            signed(REFUND_QUERY, &named),
            Ok(RefundState::NotFound),
        ),
        (
            "no trade",
            refused("ACQ.TRADE_NOT_EXIST"),
            Ok(RefundState::NotFound),
        ),
        (
            "no trade, unprefixed",
            refused("TRADE_NOT_EXIST"),
            Ok(RefundState::NotFound),
        ),
        (
            "on its way",
            changed("refund_status", json!("REFUND_PROCESSING")),
            Ok(RefundState::Processing),
        ),
        (
            "another's absence",
            signed(REFUND_QUERY, &of_another),
            Err("?unverifiable"),
        ),
        (
            "another refund",
            changed("out_request_no", json!("R2")),
            Err("?unverifiable"),
        ),
        (
            "another order",
            changed("out_trade_no", json!("P2")),
            Err("?unverifiable"),
        ),
        (
            "unnamed",
            changed("out_request_no", Value::Null),
            Err("?unverifiable"),
        ),
        (
            "no amount",
            changed("refund_amount", Value::Null),
            Err("?unverifiable"),
        ),
        (
            "amount",
            changed("refund_amount", json!("1e1")),
            Err("?unverifiable"),
        ),
        (
            "amount, no status",
            changed("refund_status", Value::Null),
            Err("?unverifiable"),
        ),
        (
            "new status",
            changed("refund_status", json!("NEW")),
            Err("?unverifiable"),
        ),
        (
            "system error",
            refused("ACQ.SYSTEM_ERROR"),
            Err("?server_error"),
        ),
        (
            "parameters",
            refused("ACQ.INVALID_PARAMETER"),
            Err("ACQ.INVALID_PARAMETER"),
        ),
        ("unsigned", Reply::plain(200, "{}"), Err("?unverifiable")),
    ];
    for (name, reply, expected) in cases {
        let (alipay, _server) = answering(reply).await;
        let outcome = alipay.query_refund(NUMBER, REFUND_NUMBER, now()).await;
        let state = result(outcome).map(|status| status.state);
        assert_eq!(state, expected.map_err(str::to_owned), "{name}");
    }
}
