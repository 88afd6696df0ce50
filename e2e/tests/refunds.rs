//! Money is given back once and in full, a closed order may be tried over the other channel, and
//! what comes too late goes back by itself.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::scene::CHANNELS;
use e2e::{Answer, Order, Scene, Seen, until};
use serde_json::json;

const SOON: Duration = Duration::from_secs(30);
/// The pause that a channel wants between two refunds of one payment, and then some.
const AFTER_THE_PAUSE: Duration = Duration::from_secs(100);
/// A late charge is found by the callback, given back, and the refund seen through.
const GIVEN_BACK_WITHIN: Duration = Duration::from_mins(3);

#[tokio::test]
async fn a_payment_is_given_back_in_parts() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = given_back_in_parts(&scene).await;
    scene.close(outcome).await
}

async fn given_back_in_parts(scene: &Scene) -> Result<()> {
    for channel in CHANNELS {
        let paid = paid(scene, channel).await?;
        refund(scene, &paid, "R-1", "40.00").await?;
        until_refund(scene, &paid, "R-1", SOON).await?;
        let too_much = ask_refund(scene, &paid, "R-2", "60.00").await?;
        ensure!(
            too_much.status == 422 && too_much.text("code") == "REFUND_EXCEEDS_PAYMENT",
            "{channel}: {too_much:?}"
        );
        refund(scene, &paid, "R-2", "59.99").await?;
        until_refund(scene, &paid, "R-2", AFTER_THE_PAUSE).await?;
        scene
            .api
            .wait_status(paid.payment_id(), "REFUNDED", SOON)
            .await?;
        let back = given_back(scene, channel, &paid).await?;
        ensure!(back == 9999, "{channel}: the channel gave back {back} fen");
    }
    Ok(())
}

async fn paid(scene: &Scene, channel: &str) -> Result<Answer> {
    let order = Order::new("E2E-REFUND", channel, "99.99");
    let created = scene.api.create_payable(&order).await?;
    scene
        .simulator
        .pay(channel, created.channel_order_no())
        .await?;
    scene
        .api
        .wait_status(created.payment_id(), "PAID", SOON)
        .await
}

async fn ask_refund(scene: &Scene, paid: &Answer, number: &str, amount: &str) -> Result<Answer> {
    let path = format!("/{}/refunds", paid.payment_id());
    let body = json!({"refundNo": number, "amount": amount}).to_string();
    let key = format!("{number}-{amount}");
    let raw = scene.api.post_raw(&path, &body, Some(&key)).await?;
    Ok(Answer {
        status: raw.status,
        body: raw.body(),
    })
}

async fn refund(scene: &Scene, paid: &Answer, number: &str, amount: &str) -> Result<()> {
    let answer = ask_refund(scene, paid, number, amount).await?;
    ensure!(matches!(answer.status, 201 | 202), "{answer:?}");
    Ok(())
}

async fn until_refund(scene: &Scene, paid: &Answer, number: &str, limit: Duration) -> Result<()> {
    let path = format!("/{}/refunds/{number}", paid.payment_id());
    until(&format!("refund {number} to succeed"), limit, async || {
        let refund = scene.api.get_path(&path).await?;
        let seen = refund.text("status").to_owned();
        Ok(if seen == "SUCCEEDED" {
            Seen::Done(())
        } else {
            Seen::not_yet(format!("it is {seen}"))
        })
    })
    .await
}

/// What the channel's own book says it gave back of a payment, in fen.
async fn given_back(scene: &Scene, channel: &str, paid: &Answer) -> Result<i64> {
    let refunds = scene.simulator.refunds(channel).await?;
    Ok(refunds
        .iter()
        .filter(|refund| refund["outTradeNo"] == paid.channel_order_no())
        .filter(|refund| refund["state"] == "SUCCESS")
        .filter_map(|refund| refund["amountMinor"].as_i64())
        .sum())
}

#[tokio::test]
async fn an_order_closed_at_one_channel_is_paid_at_the_other() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = paid_at_the_other(&scene).await;
    scene.close(outcome).await
}

async fn paid_at_the_other(scene: &Scene) -> Result<()> {
    let order = Order::new("E2E-OTHER-CHANNEL", "wechat", "12.34");
    let first = scene.api.create_payable(&order).await?;
    let attempts = format!("/{}/attempts", first.payment_id());
    let over_alipay = json!({"channel": "alipay"}).to_string();
    let early = scene.api.post_raw(&attempts, &over_alipay, None).await?;
    ensure!(early.status == 409, "tried without proof: {early:?}");
    let close = format!("/{}/close", first.payment_id());
    let closed = scene.api.post_raw(&close, "", None).await?;
    ensure!(closed.status == 200, "{closed:?}");
    let second = scene.api.post_raw(&attempts, &over_alipay, None).await?;
    ensure!(second.status == 201, "{:?}", second.body());
    let second = second.body();
    let text = |key: &str| second[key].as_str().unwrap_or_default().to_owned();
    scene
        .simulator
        .pay("alipay", &text("channelOrderNo"))
        .await?;
    scene
        .api
        .wait_status(&text("paymentId"), "PAID", SOON)
        .await?;
    let all = scene.api.of_order(order.id()).await?;
    ensure!(all.len() == 2, "{} attempts are shown", all.len());
    Ok(())
}

#[tokio::test]
async fn money_that_comes_after_closing_goes_back() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = late_money_goes_back(&scene).await;
    scene.close(outcome).await
}

async fn late_money_goes_back(scene: &Scene) -> Result<()> {
    let order = Order::new("E2E-LATE", "wechat", "5.00");
    let created = scene.api.create_payable(&order).await?;
    let number = created.channel_order_no();
    for name in ["query-lag", "paid-despite-close", "late-callback"] {
        let fault = json!({
            "name": name, "channel": "wechat", "outTradeNo": number, "operation": "any",
            "seconds": 10,
        });
        scene.simulator.arm(&fault).await?;
    }
    let close = format!("/{}/close", created.payment_id());
    scene.api.post_raw(&close, "", None).await?;
    scene
        .api
        .wait_status(created.payment_id(), "REFUNDED", GIVEN_BACK_WITHIN)
        .await?;
    let events = scene.api.events(created.payment_id()).await?;
    let passed = events.iter().any(|event| event["to"] == "PAID_AFTER_CLOSE");
    ensure!(passed, "it never was PAID_AFTER_CLOSE: {events:?}");
    let back = given_back(scene, "wechat", &created).await?;
    ensure!(back == 500, "the channel gave back {back} fen");
    Ok(())
}
