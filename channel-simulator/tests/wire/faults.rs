//! Faults of requests and answers, and their catalogue.

use serde_json::json;

use crate::bench::{Bench, NATIVE};

#[tokio::test]
async fn every_fault_is_listed_with_what_it_does() {
    let bench = Bench::start().await;
    let (_, answer) = bench.admin("GET", "/faults", None).await;
    let faults = answer["faults"].as_array().unwrap();
    assert_eq!(faults.len(), 53);
    for fault in faults {
        let description = fault["description"].as_str().unwrap();
        assert!(description.len() > 20, "{fault}");
        assert!(!fault["channels"].as_array().unwrap().is_empty());
    }
}

#[tokio::test]
async fn wechat_faults_do_what_they_say() {
    let bench = Bench::start().await;
    for (index, (fault, effect)) in [
        ("drop-answer", true),
        ("error-500", true),
        ("error-500-before", false),
        ("accepted-202", false),
        ("rate-limited-429", false),
        ("rate-limited-429-with-effect", true),
        ("unsigned-answer", true),
        ("bad-signature", true),
        ("signtest-answer", true),
        ("unknown-serial", true),
        ("stale-answer", true),
        ("future-answer", true),
        ("drop-request", false),
        ("clock-skew", false),
    ]
    .into_iter()
    .enumerate()
    {
        let number = format!("fault-{index}");
        bench.arm(fault, "wechat").await;
        let reply = bench
            .wechat_at("POST", NATIVE, &bench.order(&number, 100), 0)
            .await;
        let good = reply.is_ok_and(|reply| reply.status == 200 && bench.wechat_signed(&reply));
        assert!(!good, "{fault}");
        let found = bench.wechat("GET", &bench.query_target(&number), "").await;
        assert_eq!(found.status, if effect { 200 } else { 404 }, "{fault}");
    }
    assert_eq!(
        bench.admin("GET", "/faults", None).await.1["armed"],
        json!([])
    );
}

#[tokio::test]
async fn alipay_faults_do_what_they_say() {
    let bench = Bench::start().await;
    for (index, (fault, effect)) in [
        ("drop-answer", true),
        ("drop-request", false),
        ("error-500", true),
        ("error-500-before", false),
        ("clock-skew", false),
        ("rate-limited-429", false),
        ("rate-limited-429-with-effect", true),
        ("unsigned-answer", true),
        ("bad-signature", true),
        ("error-response-unsigned", true),
        ("service-unavailable-20000", true),
        ("system-error-misspelt", true),
    ]
    .into_iter()
    .enumerate()
    {
        let number = format!("fault{index}");
        bench.arm(fault, "alipay").await;
        let content = json!({
            "out_trade_no": number,
            "total_amount": "1.00",
            "subject": "thing",
            "buyer_id": "2088102122458832",
        });
        let form = bench.alipay_form("alipay.trade.create", &content, &[]);
        let good = bench.gateway(form).await.is_ok_and(|reply| {
            let signed = bench.alipay_opened("alipay.trade.create", &reply);
            signed.is_some_and(|node| node.fields["code"] == "10000")
        });
        assert!(!good, "{fault}");
        let content = json!({"out_trade_no": number});
        let found = bench.alipay("alipay.trade.query", content).await;
        assert_eq!(found["code"] == "10000", effect, "{fault}: {found}");
    }
    let (_, answer) = bench.admin("GET", "/faults", None).await;
    assert_eq!(answer["armed"], json!([]));
}

#[tokio::test]
async fn a_fault_concerns_the_caller_it_names() {
    let bench = Bench::start().await;
    for (caller, answered) in [("127.0.0.2", true), ("127.0.0.1", false)] {
        let fault =
            json!({"name": "drop-request", "operation": "any", "count": 2, "caller": caller});
        let (status, armed) = bench.admin("POST", "/faults", Some(fault)).await;
        assert_eq!((status, &armed["caller"]), (201, &json!(caller)));
        let wechat = bench
            .wechat_at("GET", &bench.query_target("of-a-caller"), "", 0)
            .await;
        assert_eq!(wechat.is_ok(), answered, "{caller}");
        let content = json!({"out_trade_no": "of-a-caller"});
        let form = bench.alipay_form("alipay.trade.query", &content, &[]);
        assert_eq!(bench.gateway(form).await.is_ok(), answered, "{caller}");
        bench.admin("DELETE", "/faults", None).await;
    }
    let wrong = json!({"name": "drop-request", "caller": "demo-payment"});
    assert_eq!(bench.admin("POST", "/faults", Some(wrong)).await.0, 422);
}
