//! Alipay: trades, refunds, modes, faults.

use serde_json::{Value, json};

use crate::bench::Bench;
use crate::merchant::{eventually, next};

#[tokio::test]
async fn an_alipay_code_is_no_trade_until_it_is_scanned() {
    let bench = Bench::start().await;
    let content = json!({"out_trade_no": "a1", "total_amount": "1.00", "subject": "thing"});
    let made = bench
        .alipay("alipay.trade.precreate", content.clone())
        .await;
    assert_eq!(made["code"], "10000", "{made}");
    let number = json!({"out_trade_no": "a1"});
    for method in ["alipay.trade.query", "alipay.trade.close"] {
        let node = bench.alipay(method, number.clone()).await;
        assert_eq!(node["sub_code"], "ACQ.TRADE_NOT_EXIST", "{method}");
    }
    assert_eq!(bench.pay("alipay", "a1").await.0, 200);
    let found = bench.alipay("alipay.trade.query", number.clone()).await;
    assert_eq!(
        (&found["trade_status"], &found["total_amount"]),
        (&json!("TRADE_SUCCESS"), &json!("1.00"))
    );
    let closed = bench.alipay("alipay.trade.close", number).await;
    assert_eq!(closed["sub_code"], "ACQ.TRADE_STATUS_ERROR");
    let repeated = bench.alipay("alipay.trade.precreate", content).await;
    assert_eq!(repeated["sub_code"], "ACQ.TRADE_HAS_SUCCESS");
    let book = bench.admin("GET", "/book?channel=alipay", None).await.1;
    assert_eq!(book["charges"][0]["amountMinor"], 100);
}

#[tokio::test]
async fn an_unknown_app_is_answered_without_a_signature() {
    let bench = Bench::start().await;
    let url = format!(
        "http://{}/gateway.do?app_id=1&method=alipay.trade.query",
        bench.running.public()
    );
    let reply = bench.send(bench.http.post(url)).await.unwrap();
    assert_eq!(
        reply.json()["error_response"]["sub_code"],
        "isv.invalid-app-id"
    );
    assert!(reply.json().get("sign").is_none());
}

fn order(number: &str, product: &str) -> Value {
    json!({
        "out_trade_no": number,
        "total_amount": "1.00",
        "subject": "<thing>",
        "product_code": product,
    })
}

async fn status(bench: &Bench, number: &str) -> Value {
    let content = json!({"out_trade_no": number});
    bench.alipay("alipay.trade.query", content).await["trade_status"].clone()
}

#[tokio::test]
async fn a_visited_page_is_a_trade_and_shows_a_cashier() {
    let bench = Bench::start().await;
    for (method, product) in [
        ("alipay.trade.page.pay", "FAST_INSTANT_TRADE_PAY"),
        ("alipay.trade.wap.pay", "QUICK_WAP_WAY"),
    ] {
        let number = product.to_lowercase();
        let form = bench.alipay_form(method, &order(&number, product), &[]);
        let url = format!("http://{}/gateway.do?{form}", bench.running.public());
        let page = bench.send(bench.http.get(&url)).await.unwrap();
        assert!(page.text().contains("收银台") && page.text().contains("&lt;thing>"));
        assert!(page.header("content-type").starts_with("text/html"));
        assert_eq!(status(&bench, &number).await, "WAIT_BUYER_PAY");
        // The same page as a posted form is the same trade.
        let again = bench.gateway(form).await.unwrap();
        assert_eq!(again.text(), page.text());
        let changed = bench.alipay_form(method, &order(&number, "OTHER"), &[]);
        let refused = bench.gateway(changed).await.unwrap();
        assert!(refused.text().contains("ACQ.INVALID_PARAMETER"));
        assert_eq!(bench.pay("alipay", &number).await.0, 200);
        assert_eq!(status(&bench, &number).await, "TRADE_SUCCESS");
        let paid = bench.send(bench.http.get(&url)).await.unwrap();
        assert!(paid.text().contains("ACQ.TRADE_HAS_SUCCESS"));
    }
    let unsigned = bench.alipay_form("alipay.trade.page.pay", &order("x", "y"), &[]);
    let wrong = unsigned.replace("1.00", "9.00");
    let refused = bench.gateway(wrong).await.unwrap();
    assert!(refused.text().contains("isv.invalid-signature"));
}

#[tokio::test]
async fn an_app_order_is_paid_by_its_string_only() {
    let bench = Bench::start().await;
    let app = order("app1", "QUICK_MSECURITY_PAY");
    let string = bench.alipay_form("alipay.trade.app.pay", &app, &[]);
    let answer = bench.gateway(string.clone()).await.unwrap();
    assert_eq!(
        answer.json()["error_response"]["sub_code"],
        "isv.invalid-method"
    );
    let body = json!({"channel": "alipay", "orderString": string});
    assert_eq!(bench.post("/scan", body.clone()).await.1["state"], "UNPAID");
    assert_eq!(status(&bench, "app1").await, "WAIT_BUYER_PAY");
    assert_eq!(bench.post("/pay", body.clone()).await.1["state"], "PAID");
    let (code, again) = bench.post("/pay", body).await;
    assert_eq!(
        (code, &again["code"]),
        (400, &json!("ORDER_STRING_REFUSED"))
    );
    for wrong in [
        json!({"channel": "alipay", "orderString": string.replace("1.00", "2.00")}),
        json!({"channel": "wechat", "orderString": string}),
        json!({"channel": "alipay"}),
    ] {
        assert_eq!(bench.post("/pay", wrong).await.0, 400);
    }
}

#[tokio::test]
async fn a_created_trade_exists_at_once() {
    let bench = Bench::start().await;
    let mut content = order("c1", "JSAPI_PAY");
    let refused = bench.alipay("alipay.trade.create", content.clone()).await;
    assert_eq!(refused["sub_code"], "ACQ.INVALID_PARAMETER");
    content["buyer_open_id"] = "074a".into();
    let made = bench.alipay("alipay.trade.create", content.clone()).await;
    assert_eq!(made["code"], "10000", "{made}");
    let query = json!({"trade_no": made["trade_no"]});
    let found = bench.alipay("alipay.trade.query", query).await;
    assert_eq!(found["trade_status"], "WAIT_BUYER_PAY");
    let again = bench.alipay("alipay.trade.create", content.clone()).await;
    assert_eq!(again["trade_no"], made["trade_no"]);
    content["total_amount"] = "1.01".into();
    let changed = bench.alipay("alipay.trade.create", content).await;
    assert_eq!(changed["sub_code"], "ACQ.CONTEXT_INCONSISTENT");
    let (_, paid) = bench.pay("alipay", "c1").await;
    assert_eq!(paid["transactionId"], made["trade_no"]);
}

#[tokio::test]
async fn a_cancel_closes_refunds_or_finds_nothing() {
    let bench = Bench::start().await;
    let cancel =
        |number: &'static str| bench.alipay("alipay.trade.cancel", json!({"out_trade_no": number}));
    let absent = cancel("nothing").await;
    assert_eq!(absent["retry_flag"], "N");
    assert!(absent.get("action").is_none());

    let form = bench.alipay_form("alipay.trade.wap.pay", &order("w1", "QUICK_WAP_WAY"), &[]);
    bench.gateway(form).await.unwrap();
    bench.arm("retry-flag-y", "alipay").await;
    assert_eq!(cancel("w1").await["retry_flag"], "Y");
    assert_eq!(status(&bench, "w1").await, "WAIT_BUYER_PAY");
    for _ in 0..2 {
        assert_eq!(cancel("w1").await["action"], "close");
    }
    assert_eq!(bench.pay("alipay", "w1").await.1["code"], "ORDER_CLOSED");

    bench.alipay_paid("p1", "3.00").await;
    let content = json!({"out_trade_no": "p1", "refund_amount": "1.00", "out_request_no": "r1"});
    bench.alipay("alipay.trade.refund", content).await;
    for _ in 0..2 {
        assert_eq!(cancel("p1").await["action"], "refund");
    }
    assert_eq!(status(&bench, "p1").await, "TRADE_CLOSED");
    let book = bench
        .admin("GET", "/book?channel=alipay&outTradeNo=p1", None)
        .await
        .1;
    let refunds = book["refunds"].as_array().unwrap();
    let amounts: Vec<_> = refunds
        .iter()
        .map(|one| one["amountMinor"].as_i64())
        .collect();
    assert_eq!(amounts.iter().flatten().sum::<i64>(), 300);
}

#[tokio::test]
async fn certificate_mode_is_asked_for_checked_and_answered() {
    let bench = Bench::start().await;
    let (_, keys) = bench.admin("GET", "/keys?mode=certificate", None).await;
    assert_eq!(keys, json!(bench.running.certificate_keys()));
    assert!(keys.get("alipay-public-key").is_none());
    assert_eq!(
        bench.admin("GET", "/keys", None).await.1,
        json!(bench.running.client_keys())
    );
    let sn = |key: &str| certificate_sn(keys[key].as_str().unwrap());
    let (app, root) = (sn("alipay-app-certificate"), sn("alipay-root-certificates"));
    let content = json!({"out_trade_no": "m1", "total_amount": "1.00", "subject": "thing"});
    let both = [
        ("app_cert_sn", app.as_str()),
        ("alipay_root_cert_sn", root.as_str()),
    ];
    let made = bench
        .alipay_with("alipay.trade.precreate", content.clone(), &both)
        .await;
    assert_eq!(made.fields["code"], "10000", "{made:?}");
    let alipay = sn("alipay-certificate");
    assert_eq!(made.certificate.as_deref(), Some(alipay.as_str()));
    // The same order in key mode is the same order.
    bench
        .alipay("alipay.trade.precreate", content.clone())
        .await;

    for (extra, sub_code) in [
        (
            [both[0], ("alipay_root_cert_sn", "0")],
            "isv.invalid-root-cert-sn",
        ),
        ([("app_cert_sn", "0"), both[1]], "isv.invalid-app-cert-sn"),
        (
            [both[0], ("alipay_root_cert_sn", "")],
            "isv.missing-root-cert-sn",
        ),
    ] {
        let extra: Vec<_> = extra
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let node = bench
            .alipay_with("alipay.trade.query", content.clone(), &extra)
            .await;
        assert_eq!(node.fields["sub_code"], sub_code);
        assert!(node.certificate.is_some());
    }
    let asked = json!({"alipay_cert_sn": alipay});
    let method = "alipay.open.app.alipaycert.download";
    let answer = bench.alipay_with(method, asked, &both).await.fields;
    assert!(answer["alipay_cert_content"].is_string());

    for (extra, named) in [(&both[..], false), (&[], true)] {
        bench.arm("other-key", "alipay").await;
        let method = "alipay.trade.precreate";
        let node = bench.alipay_with(method, content.clone(), extra).await;
        assert_eq!(node.certificate.is_some(), named);
    }
}

/// By the documented rule, of the RSA-signed members of `text`.
fn certificate_sn(text: &str) -> String {
    use md5::{Digest, Md5};
    let blocks = pem::parse_many(text).unwrap();
    let members = blocks.iter().filter_map(|block| {
        let (_, one) = x509_parser::parse_x509_certificate(block.contents()).unwrap();
        let oid = one.signature_algorithm.algorithm.to_id_string();
        let value = |name: &str| {
            let mut all = one.issuer().iter_attributes();
            let found = all.find(|attribute| attribute.attr_type().to_id_string() == name);
            found.unwrap().as_str().unwrap().to_owned()
        };
        let issuer = format!(
            "CN={},OU={},O={},C={}",
            value("2.5.4.3"),
            value("2.5.4.11"),
            value("2.5.4.10"),
            value("2.5.4.6")
        );
        let text = format!("{issuer}{}", one.tbs_certificate.serial);
        oid.starts_with("1.2.840.113549.1.1.")
            .then(|| hex::encode(Md5::digest(text)))
    });
    members.collect::<Vec<_>>().join("_")
}

#[tokio::test]
async fn alipay_refunds_can_be_slow_or_fail() {
    let bench = Bench::start().await;
    bench.alipay_paid("s1", "3.00").await;
    for (fault, end) in [
        ("refund-slow", json!("REFUND_SUCCESS")),
        ("refund-failed-later", Value::Null),
    ] {
        bench.arm(fault, "alipay").await;
        let asked = json!({"out_trade_no": "s1", "refund_amount": "1.00", "out_request_no": fault});
        let answer = bench.alipay("alipay.trade.refund", asked.clone()).await;
        assert_eq!(answer["fund_change"], "N", "{fault}");
        let query = || bench.alipay("alipay.trade.fastpay.refund.query", asked.clone());
        assert_eq!(query().await["refund_status"], Value::Null);
        bench.advance(86_401).await;
        eventually(async || query().await["refund_status"] == end).await;
    }
    let asked = json!({"out_trade_no": "s1", "refund_amount": "2.00", "out_request_no": "rest"});
    let answer = bench.alipay("alipay.trade.refund", asked).await;
    assert_eq!(
        answer["fund_change"], "Y",
        "what failed can be refunded anew"
    );
}

#[tokio::test]
async fn app_and_wap_trades_are_told_of_to_the_end() {
    let (bench, mut told) = Bench::with_merchant(Vec::new()).await;
    for (number, pays) in [("end1", false), ("end2", true)] {
        let content = order(number, "QUICK_WAP_WAY");
        let form = bench.alipay_form("alipay.trade.wap.pay", &content, &[]);
        bench.gateway(form).await.unwrap();
        if pays {
            bench.pay("alipay", number).await;
            assert_eq!(next(&mut told).await.field("trade_status"), "TRADE_SUCCESS");
            let body = json!({"channel": "alipay", "outTradeNo": number});
            assert_eq!(bench.post("/finish", body).await.0, 200);
            assert_eq!(
                next(&mut told).await.field("trade_status"),
                "TRADE_FINISHED"
            );
            assert_eq!(status(&bench, number).await, "TRADE_FINISHED");
            let asked = json!({"out_trade_no": number, "refund_amount": "1.00"});
            let refused = bench.alipay("alipay.trade.refund", asked).await;
            assert_eq!(refused["sub_code"], "ACQ.TRADE_HAS_FINISHED");
        } else {
            let content = json!({"out_trade_no": number});
            assert_eq!(
                bench.alipay("alipay.trade.close", content).await["code"],
                "10000"
            );
            let closed = next(&mut told).await;
            assert_eq!(closed.field("trade_status"), "TRADE_CLOSED");
            assert_eq!(closed.field("gmt_payment"), "");
        }
    }
}
