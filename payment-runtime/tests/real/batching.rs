//! What many requests record together, against a real MySQL: every one of them as if alone.

use std::collections::BTreeSet;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::{CacheAt, System, order, query_text};

async fn batching() -> System {
    System::start_with(CacheAt::None, |config| config.payment.batching = true).await
}

fn parsed(body: &str) -> Value {
    serde_json::from_str(body).unwrap()
}

fn moment(value: &Value) -> jiff::Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_recorded_together_are_each_their_own() {
    let system = batching().await;
    let orders: Vec<Value> = (0..120)
        .map(|n| order(if n % 2 == 0 { "wechat" } else { "alipay" }))
        .collect();
    let keys: Vec<String> = (0..120).map(|n| format!("key-{n}")).collect();
    let post = |n: usize| system.post_to("", Some(&keys[n]), &orders[n]);
    let answers = join_all((0..120).map(post)).await;
    let mut ids = BTreeSet::new();
    for (order, (status, body, _)) in orders.iter().zip(&answers) {
        let payment = parsed(body);
        assert_eq!(*status, 201, "{payment}");
        assert_eq!(payment["orderId"], order["orderId"]);
        assert_eq!(payment["channel"], order["channel"]);
        ids.insert(payment["paymentId"].to_string());
        let id = payment["paymentId"].as_str().unwrap();
        let stored = system.payment(id).await;
        assert_eq!(stored["status"], payment["status"]);
        assert_eq!(stored["action"], payment["action"]);
        for field in ["expiresAt", "updatedAt"] {
            let rounding = moment(&stored[field]).duration_since(moment(&payment[field]));
            assert!(
                rounding.abs() <= jiff::SignedDuration::from_millis(1),
                "{stored} {payment}"
            );
        }
        let (_, events) = system.get(&format!("/{id}/events")).await;
        assert_eq!(events["data"].as_array().unwrap().len(), 2, "{events}");
    }
    assert_eq!(ids.len(), 120);
    let repeats = join_all((0..120).map(post)).await;
    for (first, again) in answers.iter().zip(&repeats) {
        assert_eq!((first.0, &first.1, true), (again.0, &again.1, again.2));
    }
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_within_a_batch_are_one_payment() {
    let system = batching().await;
    let orders: Vec<Value> = (0..8).map(|_| order("wechat")).collect();
    let all = (0..80).map(|n| system.post(&orders[n % 8]));
    let answers = join_all(all).await;
    assert!(
        answers
            .iter()
            .all(|(status, _)| matches!(status, 201 | 202))
    );
    let ids: BTreeSet<String> = answers
        .iter()
        .map(|(_, body)| body["paymentId"].to_string())
        .collect();
    assert_eq!(ids.len(), 8);
    let same_key = (0..20).map(|_| system.post_to("", Some("one"), &orders[0]));
    for (status, body, _) in join_all(same_key).await {
        let in_flight = status == 409 && body.contains("REQUEST_IN_FLIGHT");
        assert!(status == 201 || in_flight, "{status} {body}");
    }
    let count = "SELECT CAST(COUNT(*) AS CHAR) FROM payment_records";
    assert_eq!(query_text(&system, count).await.as_deref(), Some("8"));
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_after_other_evidence_is_decided_alone() {
    let system = batching().await;
    for fault in ["drop-answer", "slow-answer"] {
        system
            .admin(
                "/faults",
                &json!({"name": fault, "channel": "wechat", "count": 10, "seconds": 2}),
            )
            .await;
        let orders: Vec<Value> = (0..20).map(|_| order("wechat")).collect();
        let answers = join_all(orders.iter().map(|order| system.post(order))).await;
        for (status, body) in &answers {
            assert!(matches!(status, 201 | 202), "{fault} {body}");
            system.pay(body).await;
        }
        for (_, body) in &answers {
            let id = body["paymentId"].as_str().unwrap();
            system.until_status(id, "PAID").await;
        }
    }
    assert_eq!(system.charges("wechat").await.len(), 40);
    system.stop().await;
}
