//! Money that comes after we gave a payment up, and further attempts of one order.

use contract::config::PaidAfterClose;
use serde_json::{Value, json};

use crate::support::{CacheAt, System, order};

const CHANNELS: [&str; 2] = ["wechat", "alipay"];

fn id_of(payment: &Value) -> String {
    payment["paymentId"].as_str().unwrap().to_owned()
}

/// A payment that was closed here and at the channel, and charged all the same.
async fn charged_after_close(system: &System, channel: &str) -> String {
    let (_, created) = system.post(&order(channel)).await;
    system.scan(&created).await;
    system.fault("query-lag", channel).await;
    system.fault("missing-callback", channel).await;
    system.fault("paid-despite-close", channel).await;
    let id = id_of(&created);
    let closed = || async {
        let (_, payment) = system.act(&format!("/{id}/close"), &json!({})).await;
        (payment["status"] == "CLOSED").then_some(())
    };
    system.until("the payment to be closed", closed).await;
    system.replay_callback(&created).await;
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn money_after_closing_is_given_back() {
    let system = System::start(CacheAt::Real).await;
    for channel in CHANNELS {
        let id = charged_after_close(&system, channel).await;
        let back = || async {
            system.let_refunds_become_visible().await;
            system.ask_now().await;
            (system.payment(&id).await["status"] == "REFUNDED").then_some(())
        };
        system.until("the late money to be given back", back).await;
        let (_, list) = system.get(&format!("/{id}/refunds")).await;
        assert_eq!(list["data"][0]["origin"], "paid-after-close", "{list}");
        assert_eq!(system.book_refunds(channel).await.len(), 1);
        let (_, events) = system.get(&format!("/{id}/events")).await;
        assert!(events.to_string().contains("PAID_AFTER_CLOSE"), "{events}");
    }
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_after_closing_is_taken_where_the_policy_reopens() {
    let policy = PaidAfterClose::Reopen;
    let system = System::start_with(CacheAt::Real, |c| c.payment.paid_after_close = policy).await;
    let id = charged_after_close(&system, "wechat").await;
    system.until_status(&id, "PAID").await;
    assert!(system.book_refunds("wechat").await.is_empty());
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_channel_is_tried_only_after_proof_that_nothing_was_charged() {
    let system = System::start(CacheAt::Real).await;
    let order = order("wechat");
    let (_, first) = system.post(&order).await;
    let attempts = format!("/{}/attempts", id_of(&first));
    let over_alipay = json!({"channel": "alipay"});
    let (status, open) = system.act(&attempts, &over_alipay).await;
    assert_eq!(
        (status, &open["code"], &open["chargeMayExist"]),
        (409, &json!("PAYMENT_STILL_OPEN"), &json!(true)),
        "{open}"
    );
    system
        .act(&format!("/{}/close", id_of(&first)), &json!({}))
        .await;
    let (status, second) = system.act(&attempts, &over_alipay).await;
    assert_eq!((status, &second["attempt"]), (201, &json!(2)), "{second}");
    assert_eq!(second["orderId"], first["orderId"]);
    let (status, repeated) = system.act(&attempts, &over_alipay).await;
    assert_eq!(
        (status, &repeated["paymentId"]),
        (201, &second["paymentId"]),
        "{repeated}"
    );
    let over_wechat = json!({"channel": "wechat"});
    let (status, superseded) = system.act(&attempts, &over_wechat).await;
    assert_eq!(
        (status, &superseded["code"]),
        (409, &json!("ATTEMPT_SUPERSEDED"))
    );
    // The same order now means the attempt that is alive.
    let (_, repeated) = system.post(&order).await;
    assert_eq!(repeated["paymentId"], second["paymentId"]);
    system.pay(&second).await;
    system.until_status(&id_of(&second), "PAID").await;
    let list = format!("?orderId={}", order["orderId"].as_str().unwrap());
    let (_, all) = system.get(&list).await;
    assert_eq!(all["data"].as_array().unwrap().len(), 2, "{all}");
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_was_paid_at_the_last_moment_stops_the_next() {
    let system = System::start(CacheAt::Real).await;
    let (_, created) = system.post(&order("alipay")).await;
    system.fault("missing-callback", "alipay").await;
    system.pay(&created).await;
    let attempts = format!("/{}/attempts", id_of(&created));
    let (status, problem) = system.act(&attempts, &json!({"channel": "wechat"})).await;
    assert_eq!(
        (status, &problem["code"]),
        (409, &json!("PAYMENT_ALREADY_CHARGED")),
        "{problem}"
    );
    system.until_status(&id_of(&created), "PAID").await;
    assert!(system.charges("wechat").await.is_empty());
    system.stop().await;
}
