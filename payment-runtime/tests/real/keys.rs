//! `Idempotency-Key` and the cache, against real servers.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::{CacheAt, System, order, redis_command};

#[tokio::test(flavor = "multi_thread")]
async fn a_key_gets_its_first_answer_byte_for_byte() {
    let system = System::start(CacheAt::Real).await;
    let order = order("wechat");
    let first = system.post_to("", Some("\"key-1\""), &order).await;
    assert_eq!((first.0, first.2), (201, false), "{first:?}");
    let id: Value = serde_json::from_str(&first.1).unwrap();
    system.pay(&id).await;
    system
        .until_status(id["paymentId"].as_str().unwrap(), "PAID")
        .await;
    // Quoted or bare, before the payment or after it: the same answer.
    let again = system.post_to("", Some("key-1"), &order).await;
    assert_eq!(again, (first.0, first.1.clone(), true));

    let mut other = order.clone();
    other["amount"] = json!("1.00");
    let (status, refused, _) = system.post_to("", Some("key-1"), &other).await;
    assert_eq!(status, 422);
    assert!(refused.contains("IDEMPOTENCY_KEY_REUSED"), "{refused}");

    // Another key for the same order tells of the same payment, as it stands now.
    let (status, now, replayed) = system.post_to("", Some("key-2"), &order).await;
    assert_eq!((status, replayed), (201, false));
    assert!(now.contains("\"status\":\"PAID\""), "{now}");
    system.stop().await;
}

/// The schema as the version before left it, with what has been answered since.
const AS_BEFORE: &str = "ALTER TABLE idempotency_keys \
     ADD COLUMN status SMALLINT UNSIGNED NULL, ADD COLUMN content_type VARCHAR(64) NULL, \
     ADD COLUMN location VARCHAR(255) NULL, ADD COLUMN body MEDIUMTEXT NULL, \
     ADD KEY idx_created_at (created_at); \
     UPDATE idempotency_keys AS k JOIN idempotency_answers AS a ON a.key_id = k.id \
     SET k.status = a.status, k.content_type = a.content_type, k.location = a.location, \
     k.body = a.body; \
     DROP TABLE idempotency_answers";

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_the_version_before_are_still_given() {
    let system = System::start(CacheAt::Real).await;
    let order = order("wechat");
    let first = system.post_to("", Some("key"), &order).await;
    assert_eq!(first.0, 201, "{first:?}");
    system.execute(AS_BEFORE).await;
    system
        .execute(include_str!("../../migrations/0006_answers.sql"))
        .await;
    let again = system.post_to("", Some("key"), &order).await;
    assert_eq!(again, (first.0, first.1, true));
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_with_one_key_are_one_request() {
    for batching in [true, false] {
        let with = |config: &mut contract::RuntimeConfig| config.payment.batching = batching;
        let system = System::start_with(CacheAt::Down, with).await;
        one_request_of_many(system).await;
    }
}

async fn one_request_of_many(system: System) {
    let order = order("alipay");
    let answers = join_all((0..30).map(|_| system.post_to("", Some("key"), &order))).await;
    let done: std::collections::BTreeSet<&String> = answers
        .iter()
        .filter(|(status, ..)| *status == 201)
        .map(|(_, body, _)| body)
        .collect();
    assert_eq!(done.len(), 1, "{answers:?}");
    for (status, body, _) in &answers {
        let in_flight = *status == 409 && body.contains("REQUEST_IN_FLIGHT");
        assert!(*status == 201 || in_flight, "{status} {body}");
    }
    let last = system.post_to("", Some("key"), &order).await;
    assert!(done.contains(&last.1));
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_left_behind_by_a_dead_process_is_taken_over() {
    let system = System::start(CacheAt::Real).await;
    let order = order("wechat");
    let first = system.post_to("", Some("key"), &order).await;
    system.execute("DELETE FROM idempotency_answers").await;
    system
        .execute("UPDATE idempotency_keys SET lease_until = NOW(3) + INTERVAL 1 MINUTE")
        .await;
    let (status, body, _) = system.post_to("", Some("key"), &order).await;
    assert_eq!(status, 409, "{body}");
    system
        .execute("UPDATE idempotency_keys SET lease_until = NOW(3) - INTERVAL 1 SECOND")
        .await;
    let taken = system.post_to("", Some("key"), &order).await;
    assert_eq!(taken.0, 201, "{taken:?}");
    let id = |text: &str| serde_json::from_str::<Value>(text).unwrap()["paymentId"].clone();
    assert_eq!(id(&taken.1), id(&first.1));
    let again = system.post_to("", Some("key"), &order).await;
    assert_eq!(again.1, taken.1);
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refunds_and_closing_take_keys_too() {
    let system = System::start(CacheAt::Real).await;
    let paid = system.paid("wechat").await;
    let path = format!("/{}/refunds", paid["paymentId"].as_str().unwrap());
    let body = json!({"refundNo": "R", "amount": "1.00"});
    let first = system.post_to(&path, Some("k"), &body).await;
    assert!(first.0 < 300, "{first:?}");
    let again = system.post_to(&path, Some("k"), &body).await;
    assert_eq!((again.0, &again.1, again.2), (first.0, &first.1, true));
    let other = json!({"refundNo": "R2", "amount": "1.00"});
    assert_eq!(system.post_to(&path, Some("k"), &other).await.0, 422);

    let (_, open) = system.post(&order("alipay")).await;
    let path = format!("/{}/close", open["paymentId"].as_str().unwrap());
    let first = system.post_to(&path, Some("k"), &json!({})).await;
    let again = system.post_to(&path, Some("k"), &json!({})).await;
    assert_eq!((again.0, &again.1), (first.0, &first.1));
    // What may end better another time is not kept.
    let path = format!("/{}/close", paid["paymentId"].as_str().unwrap());
    for _ in 0..2 {
        let (status, _, replayed) = system.post_to(&path, Some("k2"), &json!({})).await;
        assert_eq!((status, replayed), (409, false));
    }
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_lies_forgets_or_stalls_changes_nothing() {
    let system = System::start(CacheAt::Real).await;
    for lie in ["knows-what-never-was", "forgets", "stalls"] {
        let order = order("wechat");
        let key = format!("payment:idempotent:{}", order["orderId"].as_str().unwrap());
        if lie == "knows-what-never-was" {
            redis_command(&["SET", &key, "1"]).await;
        }
        let (status, first) = system.post(&order).await;
        assert_eq!(status, 201, "{lie}: {first}");
        match lie {
            "forgets" => redis_command(&["DEL", &key]).await,
            "stalls" => redis_command(&["CLIENT", "PAUSE", "1000", "ALL"]).await,
            _ => {}
        }
        let (status, again) = system.post(&order).await;
        assert_eq!(
            (status, &again["paymentId"]),
            (201, &first["paymentId"]),
            "{lie}"
        );
        let mut other = order.clone();
        other["amount"] = json!("1.00");
        let (status, refused) = system.post(&other).await;
        assert_eq!(
            (status, &refused["code"]),
            (422, &json!("ORDER_ID_REUSED")),
            "{lie}"
        );
    }
    system.stop().await;
}
