//! Paying against a real MySQL, a real Redis and a channel that misbehaves on demand. The
//! channel's own book says what was charged.

use crate::support::{CacheAt, Database, System, order};
use futures::future::join_all;
use serde_json::{Value, json};

const CHANNELS: [&str; 2] = ["wechat", "alipay"];

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_created_paid_and_called_back() {
    let system = System::start(CacheAt::Real).await;
    for channel in CHANNELS {
        let (status, created) = system.post(&order(channel)).await;
        assert_eq!(status, 201, "{created}");
        assert_eq!(created["status"], "PENDING");
        assert_eq!(created["amount"], "99.99");
        assert!(
            created["action"]["url"]
                .as_str()
                .is_some_and(|url| !url.is_empty())
        );
        system.pay(&created).await;
        let paid = system
            .until_status(created["paymentId"].as_str().unwrap(), "PAID")
            .await;
        assert!(
            paid["transactionId"].is_string() && paid["paidAt"].is_string(),
            "{paid}"
        );
        assert_eq!(system.charges(channel).await.len(), 1);
    }
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_order_posted_fifty_times_at_once_is_charged_once() {
    for cache in [CacheAt::Real, CacheAt::Down, CacheAt::None] {
        let system = System::start(cache).await;
        let order = order("wechat");
        let answers = join_all((0..50).map(|_| system.post(&order))).await;
        let ids: std::collections::BTreeSet<String> = answers
            .iter()
            .map(|(_, body)| body["paymentId"].to_string())
            .collect();
        assert_eq!(ids.len(), 1, "{ids:?}");
        assert!(
            answers
                .iter()
                .all(|(status, _)| matches!(status, 201 | 202))
        );
        let id = answers[0].1["paymentId"].as_str().unwrap().to_owned();
        let payment = system.until_status(&id, "PENDING").await;
        system.pay(&payment).await;
        system.until_status(&id, "PAID").await;
        assert_eq!(system.charges("wechat").await.len(), 1);
        system.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_order_with_other_contents_is_refused() {
    let system = System::start(CacheAt::Real).await;
    let mut order = order("alipay");
    assert_eq!(system.post(&order).await.0, 201);
    let (status, repeated) = system.post(&order).await;
    assert_eq!((status, &repeated["status"]), (201, &json!("PENDING")));
    order["amount"] = json!("100.00");
    let (status, problem) = system.post(&order).await;
    assert_eq!(
        (status, &problem["code"]),
        (422, &json!("ORDER_ID_REUSED")),
        "{problem}"
    );
    assert!(problem["requestId"].as_str().unwrap().starts_with("req_"));
    assert_eq!(problem["chargeMayExist"], false);
    system.stop().await;
}

#[tokio::test]
async fn an_order_is_the_same_when_what_it_leaves_out_has_another_default() {
    let before = System::start(CacheAt::Real).await;
    let placed = order("alipay");
    let (_, created) = before.post(&placed).await;
    let after = System::start_with(CacheAt::Real, |config| {
        config.mysql = before.parts.payments.config.mysql.clone();
        config.payment.expires_in_seconds += 1;
    })
    .await;
    for key in [None, Some("again")] {
        let (status, text, _) = after.post_to("", key, &placed).await;
        let repeated: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (status, &repeated["paymentId"]),
            (201, &created["paymentId"])
        );
    }
    let mut other = placed.clone();
    other["expiresInSeconds"] = json!(60);
    assert_eq!(after.post(&other).await.0, 422);
    after.stop().await;
    before.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unanswered_call_is_unknown_until_the_channel_says_more() {
    let system = System::start(CacheAt::Real).await;
    for channel in CHANNELS {
        for fault in [
            "drop-answer",
            "error-500",
            "unsigned-answer",
            "bad-signature",
        ] {
            system.fault(fault, channel).await;
            let (status, created) = system.post(&order(channel)).await;
            assert_eq!(
                (status, &created["status"]),
                (202, &json!("UNKNOWN")),
                "{fault}: {created}"
            );
            let id = created["paymentId"].as_str().unwrap();
            system.ask_now().await;
            let pending = system.until_status(id, "PENDING").await;
            assert!(
                pending["action"]["url"].is_string(),
                "{channel} {fault}: {pending}"
            );
            system.pay(&pending).await;
            system.until_status(id, "PAID").await;
        }
        assert_eq!(system.charges(channel).await.len(), 4);
    }
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_whose_callback_never_comes_is_found_by_asking() {
    let system = System::start(CacheAt::Real).await;
    for channel in CHANNELS {
        system.fault("missing-callback", channel).await;
        let (_, created) = system.post(&order(channel)).await;
        system.pay(&created).await;
        system.ask_now().await;
        let id = created["paymentId"].as_str().unwrap();
        system.until_status(id, "PAID").await;
        let (_, events) = system.get(&format!("/{id}/events")).await;
        let sources: Vec<_> = events["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| &e["source"])
            .collect();
        assert_eq!(sources, ["api", "answer", "query"], "{events}");
    }
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_callbacks_change_nothing_and_repeats_are_harmless() {
    let system = System::start(CacheAt::Real).await;
    for channel in CHANNELS {
        let (_, created) = system.post(&order(channel)).await;
        let id = created["paymentId"].as_str().unwrap();
        let target = json!({"channel": channel, "outTradeNo": created["channelOrderNo"]});
        // Alipay documents no window for the time of a callback: its retries go on for a day.
        let lies: &[&str] = match channel {
            "wechat" => &["signature", "app", "stale"],
            _ => &["signature", "app"],
        };
        for lie in lies {
            let mut forge = target.clone();
            forge["kind"] = json!(lie);
            let answer = system.admin("/callbacks/forge", &forge).await;
            assert_eq!(answer["status"], 401, "{channel} {lie} {answer}");
        }
        assert_eq!(system.payment(id).await["status"], "PENDING");
        system.pay(&created).await;
        system.until_status(id, "PAID").await;
        let mut replay = target.clone();
        replay["times"] = json!(3);
        system.admin("/callbacks/replay", &replay).await;
        assert_eq!(system.payment(id).await["status"], "PAID");
        let (_, events) = system.get(&format!("/{id}/events")).await;
        let paid = events["data"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|e| e["to"] == "PAID")
            .count();
        assert_eq!(paid, 1, "{events}");
    }
    let body = system
        .http
        .post(format!("{}/wechat", system.callbacks))
        .body("{}")
        .send()
        .await;
    assert_eq!(body.unwrap().status().as_u16(), 401);
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_that_is_faster_than_our_own_row_waits_for_it() {
    let system = System::start(CacheAt::Real).await;
    let (_, created) = system.post(&order("wechat")).await;
    let id = created["paymentId"].as_str().unwrap();
    system
        .execute("UPDATE payment_records SET channel_order_no = 'later'")
        .await;
    system.pay(&created).await;
    let waiting = || async {
        let due = "waiting-for-payment";
        let found = system
            .parts
            .payments
            .records
            .payment(id)
            .await
            .unwrap()
            .unwrap();
        (found.channel_order_no == "later" && inbox_outcome(&system).await.as_deref() == Some(due))
            .then_some(())
    };
    system.until("the callback to be kept", waiting).await;
    let number = created["channelOrderNo"].as_str().unwrap().to_owned();
    restore_number(&system, &number).await;
    system
        .execute("UPDATE callback_inbox SET next_attempt_at = NOW(3) - INTERVAL 1 DAY")
        .await;
    system.until_status(id, "PAID").await;
    system.stop().await;
}

async fn inbox_outcome(system: &System) -> Option<String> {
    crate::support::query_text(system, "SELECT outcome FROM callback_inbox").await
}

async fn restore_number(system: &System, number: &str) {
    crate::support::execute_with(
        system,
        "UPDATE payment_records SET channel_order_no = ?",
        number,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_order_is_closed_at_the_channel_and_only_then_here() {
    let system = System::start(CacheAt::Real).await;
    for channel in CHANNELS {
        let (_, created) = system.post(&order(channel)).await;
        let id = created["paymentId"].as_str().unwrap();
        system
            .execute(
                "UPDATE payment_records SET expires_at = NOW(3) - INTERVAL 1 DAY, \
                 created_at = NOW(3) - INTERVAL 1 DAY",
            )
            .await;
        system.ask_now().await;
        system.until_status(id, "CLOSED").await;
        assert!(system.charges(channel).await.is_empty());
    }
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_asks_the_channel_and_a_paid_order_stays_paid() {
    let system = System::start(CacheAt::Real).await;
    let (_, open) = system.post(&order("wechat")).await;
    let close = |id: &str| {
        system
            .http
            .post(format!("{}/{id}/close", system.api))
            .send()
    };
    let closed = close(open["paymentId"].as_str().unwrap()).await.unwrap();
    assert_eq!(closed.status().as_u16(), 200);
    system
        .until_status(open["paymentId"].as_str().unwrap(), "CLOSED")
        .await;

    system.fault("missing-callback", "wechat").await;
    let (_, paid) = system.post(&order("wechat")).await;
    system.pay(&paid).await;
    let refused = close(paid["paymentId"].as_str().unwrap()).await.unwrap();
    assert_eq!(refused.status().as_u16(), 409);
    system
        .until_status(paid["paymentId"].as_str().unwrap(), "PAID")
        .await;
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_tell_what_is_up() {
    let system = System::start(CacheAt::Down).await;
    let (_, created) = system.post(&order("wechat")).await;
    system.pay(&created).await;
    system
        .until_status(created["paymentId"].as_str().unwrap(), "PAID")
        .await;
    let get = |path: &str| {
        system
            .http
            .get(format!("{}{path}", system.management))
            .send()
    };
    let health: serde_json::Value = get("/health").await.unwrap().json().await.unwrap();
    assert_eq!(health["status"], "UP");
    assert_eq!(health["components"]["redis"]["status"], "DOWN");
    let text = get("/prometheus").await.unwrap().text().await.unwrap();
    for line in [
        "payment_outcomes_total{channel=\"wechat\",outcome=\"paid\"} 1",
        "payment_callbacks_total{channel=\"wechat\",result=\"accepted\"} 1",
        "payment_dependency_up{dependency=\"redis\"} 0",
        "payment_dependency_up{dependency=\"mysql\"} 1",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    system.stop().await;
}

/// Who goes back to the version before keeps the schema of the one after.
#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_a_later_version_is_left_as_it_is() {
    let database = Database::new().await;
    let mut connection = database.connect().await;
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'of a later version', TRUE, X'00', 0)",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    database.store.migrate().await.unwrap();
    database.store.close().await;
}
