//! Refunds against real servers; the channel's own book says what was given back.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::{CacheAt, System};

const CHANNELS: [&str; 2] = ["wechat", "alipay"];

fn refund(number: &str, amount: &str) -> Value {
    json!({"refundNo": number, "amount": amount, "reason": "returned"})
}

fn id_of(payment: &Value) -> String {
    payment["paymentId"].as_str().unwrap().to_owned()
}

fn minor(refunds: &[Value]) -> i64 {
    refunds
        .iter()
        .filter(|refund| refund["state"] == "SUCCESS")
        .map(|refund| refund["amountMinor"].as_i64().unwrap())
        .sum()
}

/// Both channels want a pause between two refunds of one payment; tests do not wait for it.
async fn skip_the_pause(system: &System) {
    let sql = "UPDATE payment_records SET last_refund_at = NULL";
    system.execute(sql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_refunded_in_parts_until_nothing_is_left() {
    let system = System::start(CacheAt::Real).await;
    for channel in CHANNELS {
        let id = id_of(&system.paid(channel).await);
        let path = format!("/{id}/refunds");
        let (status, first) = system.act(&path, &refund("R-1", "33.33")).await;
        assert!(matches!(status, 201 | 202), "{first}");
        let done = system.until_refund(&id, "R-1", "SUCCEEDED").await;
        assert_eq!(done["amount"], "33.33");
        let payment = system.until_status(&id, "PARTLY_REFUNDED").await;
        assert_eq!(payment["refundedAmount"], "33.33");

        skip_the_pause(&system).await;
        let (status, too_much) = system.act(&path, &refund("R-2", "66.67")).await;
        assert_eq!(
            (status, &too_much["code"]),
            (422, &json!("REFUND_EXCEEDS_PAYMENT")),
            "{too_much}"
        );
        system.act(&path, &refund("R-2", "66.66")).await;
        system.until_refund(&id, "R-2", "SUCCEEDED").await;
        system.until_status(&id, "REFUNDED").await;
        assert_eq!(minor(&system.book_refunds(channel).await), 9999);

        let (_, list) = system.get(&path).await;
        assert_eq!(list["data"].as_array().unwrap().len(), 2, "{list}");
        let (status, none) = system.get(&format!("{path}/R-3")).await;
        assert_eq!((status, &none["code"]), (404, &json!("REFUND_NOT_FOUND")));
    }
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_refunds_at_once_never_give_back_more_than_was_paid() {
    let system = System::start(CacheAt::None).await;
    let id = id_of(&system.paid("alipay").await);
    let path = format!("/{id}/refunds");
    let all = (0..20).map(|n| {
        let (system, path) = (&system, &path);
        async move {
            system
                .act(path, &refund(&format!("R-{n}"), "30.00"))
                .await
                .0
        }
    });
    let answers = join_all(all).await;
    let taken = answers.iter().filter(|status| **status < 300).count();
    assert_eq!(taken, 3, "{answers:?}");
    let ended = || async {
        system.ask_now().await;
        let (_, list) = system.get(&path).await;
        let refunds = list["data"].as_array().unwrap().clone();
        let done = refunds.iter().all(|refund| refund["status"] == "SUCCEEDED");
        done.then_some(refunds.len())
    };
    let refunds = system.until("every refund to succeed", ended).await;
    assert_eq!(refunds, 3);
    assert_eq!(minor(&system.book_refunds("alipay").await), 9000);
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_refund_number_is_one_refund() {
    let system = System::start(CacheAt::Real).await;
    let id = id_of(&system.paid("wechat").await);
    let path = format!("/{id}/refunds");
    let body = json!({"refundNo": "R", "amount": 10});
    let answers = join_all((0..10).map(|_| system.act(&path, &body))).await;
    assert!(
        answers.iter().all(|(status, _)| *status < 300),
        "{answers:?}"
    );
    let numbers: std::collections::BTreeSet<String> = answers
        .iter()
        .map(|(_, body)| body["channelRefundNo"].to_string())
        .collect();
    assert_eq!(numbers.len(), 1);
    let (status, other) = system.act(&path, &refund("R", "11")).await;
    assert_eq!((status, &other["code"]), (422, &json!("REFUND_NO_REUSED")));
    system.until_refund(&id, "R", "SUCCEEDED").await;
    assert_eq!(system.book_refunds("wechat").await.len(), 1);
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_without_an_answer_is_unknown_and_never_given_twice() {
    let system = System::start(CacheAt::Real).await;
    for channel in CHANNELS {
        for fault in [
            "drop-answer",
            "error-500",
            "error-500-before",
            "bad-signature",
        ] {
            let id = id_of(&system.paid(channel).await);
            let before = system.book_refunds(channel).await.len();
            system.fault("missing-callback", channel).await;
            system.fault(fault, channel).await;
            let path = format!("/{id}/refunds");
            let (status, unknown) = system.act(&path, &refund("R", "99.99")).await;
            assert_eq!(
                (status, &unknown["status"]),
                (202, &json!("UNKNOWN")),
                "{channel} {fault} {unknown}"
            );
            let settled = || async {
                system.let_refunds_become_visible().await;
                system.ask_now().await;
                let (_, now) = system.get(&format!("{path}/R")).await;
                (now["status"] == "SUCCEEDED").then_some(())
            };
            system.until("the refund to be found", settled).await;
            system.until_status(&id, "REFUNDED").await;
            let after = system.book_refunds(channel).await.len();
            assert_eq!(after, before + 1, "{channel} {fault}");
            let clear = format!("http://{}/faults", system.simulator.admin());
            system.http.delete(clear).send().await.unwrap();
        }
    }
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_paid_cannot_be_refunded() {
    let system = System::start(CacheAt::Real).await;
    for channel in CHANNELS {
        let (_, open) = system.post(&crate::support::order(channel)).await;
        let path = format!("/{}/refunds", id_of(&open));
        let (status, problem) = system.act(&path, &refund("R", "1.00")).await;
        assert_eq!(
            (status, &problem["code"]),
            (409, &json!("PAYMENT_NOT_CHARGED")),
            "{problem}"
        );
        assert_eq!(problem["chargeMayExist"], true);
        assert!(system.book_refunds(channel).await.is_empty());
    }
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_the_channel_gives_up_frees_its_amount() {
    let system = System::start(CacheAt::Real).await;
    let id = id_of(&system.paid("wechat").await);
    system.fault("refund-closed", "wechat").await;
    let path = format!("/{id}/refunds");
    system.act(&path, &refund("R-1", "99.99")).await;
    system.until_refund(&id, "R-1", "FAILED").await;
    assert_eq!(system.payment(&id).await["status"], "PAID");
    skip_the_pause(&system).await;
    system.act(&path, &refund("R-2", "99.99")).await;
    system.until_refund(&id, "R-2", "SUCCEEDED").await;
    system.until_status(&id, "REFUNDED").await;
    system.stop().await;
}
