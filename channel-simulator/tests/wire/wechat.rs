//! WeChat Pay: orders, refunds, faults.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::bench::{Bench, NATIVE, REFUNDS};
use crate::merchant::eventually;

#[tokio::test]
async fn a_wechat_order_lives_its_life() {
    let bench = Bench::start().await;
    let created = bench
        .wechat("POST", NATIVE, &bench.order("order-1", 100))
        .await;
    assert_eq!(created.status, 200);
    assert!(created.header("request-id").ends_with("-0"));
    let again = bench
        .wechat("POST", NATIVE, &bench.order("order-1", 100))
        .await;
    assert_eq!(again.json(), created.json());
    let changed = bench
        .wechat("POST", NATIVE, &bench.order("order-1", 101))
        .await;
    assert_eq!(
        (changed.status, &changed.json()["code"]),
        (400, &json!("INVALID_REQUEST"))
    );

    let query = bench.query_target("order-1");
    assert_eq!(
        bench.wechat("GET", &query, "").await.json()["trade_state"],
        "NOTPAY"
    );
    let (status, paid) = bench.pay("wechat", "order-1").await;
    assert_eq!((status, &paid["state"]), (200, &json!("PAID")));
    assert_eq!(
        bench.pay("wechat", "order-1").await.1["code"],
        "ORDER_ALREADY_PAID"
    );
    let found = bench.wechat("GET", &query, "").await.json();
    assert_eq!(found["trade_state"], "SUCCESS");
    assert_eq!(found["transaction_id"], paid["transactionId"]);

    let id = paid["transactionId"].as_str().unwrap();
    let target = format!(
        "/v3/pay/transactions/id/{id}?mchid={}",
        bench.key("wechat-mch-id")
    );
    let found = bench.wechat("GET", &target, "").await.json();
    assert_eq!(found["out_trade_no"], "order-1");
    let closed = bench.close("order-1").await;
    assert_eq!(
        (closed.status, &closed.json()["code"]),
        (400, &json!("ORDER_PAID"))
    );
    bench.running.stop().await;
}

#[tokio::test]
async fn wechat_refuses_what_is_not_rightly_signed() {
    let bench = Bench::start().await;
    for (skew, expected) in [(0, 404), (-290, 404), (-310, 401), (310, 401)] {
        let target = bench.query_target("unknown");
        let reply = bench.wechat_at("GET", &target, "", skew).await.unwrap();
        assert_eq!(reply.status, expected, "{skew}");
        assert!(bench.wechat_signed(&reply));
    }
    let url = format!("http://{}{NATIVE}", bench.running.public());
    let reply = bench.send(bench.http.post(url).body("{}")).await.unwrap();
    assert_eq!(
        (reply.status, &reply.json()["code"]),
        (401, &json!("SIGN_ERROR"))
    );
}

#[tokio::test]
async fn an_order_must_last_at_least_a_minute() {
    let bench = Bench::start().await;
    let soon = Timestamp::now() + SignedDuration::from_secs(10);
    let mut order: Value = serde_json::from_str(&bench.order("expiring", 100)).unwrap();
    order["time_expire"] = soon.to_string().into();
    let reply = bench.wechat("POST", NATIVE, &order.to_string()).await;
    assert_eq!(
        (reply.status, &reply.json()["code"]),
        (400, &json!("PARAM_ERROR"))
    );
    assert_eq!(bench.pay("wechat", "expiring").await.0, 404);
}

#[tokio::test]
async fn a_close_races_a_payment() {
    let bench = Bench::start().await;
    for (fault, status) in [
        ("pay-after-close-race", 400),
        ("paid-despite-close", 204),
        ("close-rate-limited", 429),
    ] {
        bench.wechat("POST", NATIVE, &bench.order(fault, 100)).await;
        bench.arm(fault, "wechat").await;
        assert_eq!(bench.close(fault).await.status, status);
        bench.arm("query-lag", "wechat").await;
        for state in ["NOTPAY", "SUCCESS"] {
            let found = bench
                .wechat("GET", &bench.query_target(fault), "")
                .await
                .json();
            assert_eq!(found["trade_state"], state);
        }
    }
}

#[tokio::test]
async fn every_kind_of_order_leads_the_payer_somewhere_and_can_be_paid() {
    let bench = Bench::start().await;
    for (kind, field, trade_type, extra) in [
        ("native", "code_url", "NATIVE", json!({})),
        (
            "jsapi",
            "prepay_id",
            "JSAPI",
            json!({"payer": {"openid": "o1"}}),
        ),
        ("app", "prepay_id", "APP", json!({})),
        (
            "h5",
            "h5_url",
            "MWEB",
            json!({"scene_info": {"payer_client_ip": "127.0.0.1", "h5_info": {"type": "Wap"}}}),
        ),
    ] {
        let number = format!("kind-{kind}");
        let mut order = bench.order_json(&number, 100);
        for (name, value) in extra.as_object().unwrap() {
            order[name] = value.clone();
        }
        let target = format!("/v3/pay/transactions/{kind}");
        let made = bench.wechat("POST", &target, &order.to_string()).await;
        assert!(made.json()[field].is_string(), "{kind}: {}", made.text());
        assert_eq!(bench.pay("wechat", &number).await.0, 200);
        let found = bench.wechat("GET", &bench.query_target(&number), "").await;
        assert_eq!(found.json()["trade_type"], trade_type);
    }
}

#[tokio::test]
async fn a_code_lasts_two_hours_and_an_unpaid_order_a_week() {
    let bench = Bench::start().await;
    let order = bench.order("aging-1", 100);
    let first = bench.wechat("POST", NATIVE, &order).await.json();
    bench.advance(7201).await;
    let (status, refused) = bench.pay("wechat", "aging-1").await;
    assert_eq!((status, &refused["code"]), (409, &json!("CODE_EXPIRED")));
    let fresh = bench.wechat("POST", NATIVE, &order).await.json();
    assert_ne!(first["code_url"], fresh["code_url"]);
    assert_eq!(bench.pay("wechat", "aging-1").await.0, 200);

    bench
        .wechat("POST", NATIVE, &bench.order("aging-2", 1))
        .await;
    bench.advance(7 * 86_400).await;
    assert_eq!(bench.trade_state("aging-2").await, "CLOSED");
    assert_eq!(
        bench.pay("wechat", "aging-2").await.1["code"],
        "ORDER_CLOSED"
    );
    let again = bench
        .wechat("POST", NATIVE, &bench.order("aging-2", 1))
        .await;
    assert_eq!(again.error(), (403, "OUT_TRADE_NO_USED".to_owned()));
    let path = "/book?channel=wechat&outTradeNo=aging-2";
    let book = bench.admin("GET", path, None).await.1;
    assert_eq!(book["charges"].as_array().unwrap().len(), 1);
    assert_eq!(book["charges"][0]["state"], "CLOSED");
}

#[tokio::test]
async fn refunds_repeat_by_number_and_stay_inside_sum_and_year() {
    let bench = Bench::start().await;
    bench.paid("refund-1", 100).await;
    let first = bench.refund("refund-1", "r1", [60, 100]).await;
    assert_eq!(first.json()["status"], "PROCESSING");
    let again = bench.refund("refund-1", "r1", [60, 100]).await;
    assert_eq!(again.json()["refund_id"], first.json()["refund_id"]);
    let invalid = (400, "INVALID_REQUEST".to_owned());
    for (number, fen) in [("r1", [59, 100]), ("r2", [41, 100]), ("r2", [1, 99])] {
        assert_eq!(bench.refund("refund-1", number, fen).await.error(), invalid);
    }
    bench.advance(2).await;
    eventually(async || bench.refund_status("r1").await == "SUCCESS").await;
    assert_eq!(bench.trade_state("refund-1").await, "REFUND");
    bench.advance(365 * 86_400).await;
    assert_eq!(
        bench.refund("refund-1", "r2", [1, 100]).await.error(),
        invalid
    );
}

#[tokio::test]
async fn refunds_end_as_their_faults_say() {
    let bench = Bench::start().await;
    bench.paid("refunding", 100).await;
    for (fault, at_once, later) in [
        ("refund-slow", "PROCESSING", "SUCCESS"),
        ("refund-failed-later", "PROCESSING", "CLOSED"),
        ("refund-closed", "CLOSED", "CLOSED"),
        ("refund-abnormal", "ABNORMAL", "ABNORMAL"),
    ] {
        bench.arm(fault, "wechat").await;
        bench.refund("refunding", fault, [10, 100]).await;
        for (seconds, expected) in [(3, at_once), (86_400, later)] {
            bench.advance(seconds).await;
            eventually(async || bench.refund_status(fault).await == expected).await;
        }
    }
    let target = format!("{REFUNDS}/refund-abnormal");
    let refund = bench.wechat("GET", &target, "").await.json();
    let target = format!(
        "{REFUNDS}/{}/apply-abnormal-refund",
        refund["refund_id"].as_str().unwrap()
    );
    let body = |kind: &str| json!({"out_refund_no": "refund-abnormal", "type": kind}).to_string();
    let refused = bench.wechat("POST", &target, &body("USER_BANK_CARD")).await;
    assert_eq!(refused.error(), (400, "PARAM_ERROR".to_owned()));
    let body = body("MERCHANT_BANK_CARD");
    let retried = bench.wechat("POST", &target, &body).await;
    assert_eq!(retried.json()["status"], "PROCESSING");
    bench.advance(3).await;
    eventually(async || bench.refund_status("refund-abnormal").await == "SUCCESS").await;
    let refused = bench.wechat("POST", &target, &body).await;
    assert_eq!(refused.error(), (400, "INVALID_REQUEST".to_owned()));
}

#[tokio::test]
async fn errors_can_be_spelt_as_of_old() {
    let bench = Bench::start().await;
    let armed = json!({"name": "old-error-code", "operation": "query"});
    bench.post("/faults", armed).await;
    let found = bench
        .wechat("GET", &bench.query_target("unknown-1"), "")
        .await;
    assert_eq!(found.error(), (404, "ORDERNOTEXIST".to_owned()));
}

#[tokio::test]
async fn a_request_is_for_its_own_merchant_and_a_repeat_says_the_same() {
    let bench = Bench::start().await;
    let mut order = bench.order_json("strict-1", 100);
    order["mchid"] = "1900000001".into();
    let refused = bench.wechat("POST", NATIVE, &order.to_string()).await;
    assert_eq!(refused.error(), (400, "PARAM_ERROR".to_owned()));
    bench
        .wechat("POST", NATIVE, &bench.order("strict-1", 100))
        .await;
    let changed = bench
        .wechat("POST", NATIVE, &bench.order("strict-1", 101))
        .await;
    assert_eq!(changed.error(), (400, "INVALID_REQUEST".to_owned()));
    assert!(changed.header("request-id").ends_with("-268498688"));
}
