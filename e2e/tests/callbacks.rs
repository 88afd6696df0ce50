//! Callbacks come twice, in another order, late, forged or never: the payment ends right.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::scene::CHANNELS;
use e2e::{Answer, Order, Scene, Seen, until};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);
/// The worker's first questions come after about 5 and 20 seconds.
const ASKED_WITHIN: Duration = Duration::from_mins(1);

async fn order(scene: &Scene, channel: &str) -> Result<Answer> {
    scene
        .api
        .create_payable(&Order::new("E2E-CALL", channel, "7.50"))
        .await
}

async fn pay(scene: &Scene, channel: &str, created: &Answer) -> Result<()> {
    scene
        .simulator
        .pay(channel, created.channel_order_no())
        .await
        .map(drop)
}

/// The steps that moved a payment to PAID: one, or something is wrong.
async fn step_to_paid(scene: &Scene, payment_id: &str) -> Result<Value> {
    let events = scene.api.events(payment_id).await?;
    let moved = |event: &&Value| event["to"] == "PAID" && event["from"] != "PAID";
    let steps: Vec<&Value> = events.iter().filter(moved).collect();
    ensure!(
        steps.len() == 1,
        "{} steps to PAID: {events:?}",
        steps.len()
    );
    Ok(steps[0].clone())
}

#[tokio::test]
async fn repeated_callbacks_change_nothing() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = repeated(&scene).await;
    scene.close(outcome).await
}

async fn repeated(scene: &Scene) -> Result<()> {
    for channel in CHANNELS {
        let created = order(scene, channel).await?;
        let number = created.channel_order_no();
        let twice = json!({"name": "duplicate-callback", "channel": channel, "outTradeNo": number});
        scene.simulator.arm(&twice).await?;
        pay(scene, channel, &created).await?;
        let paid = scene
            .api
            .wait_status(created.payment_id(), "PAID", SOON)
            .await?;
        let acknowledged = scene.simulator.replay(channel, number, 5).await?;
        ensure!(
            acknowledged == 5,
            "{channel}: {acknowledged} of 5 repeats were acknowledged"
        );
        let now = scene.api.get(created.payment_id()).await?;
        ensure!(
            now.body == paid.body,
            "{channel}: {} became {}",
            paid.body,
            now.body
        );
        step_to_paid(scene, created.payment_id()).await?;
    }
    Ok(())
}

#[tokio::test]
async fn callbacks_in_another_order_are_understood() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = reordered(&scene).await;
    scene.close(outcome).await
}

async fn reordered(scene: &Scene) -> Result<()> {
    for channel in CHANNELS {
        let (first, second) = (order(scene, channel).await?, order(scene, channel).await?);
        let number = first.channel_order_no();
        let later = json!({"name": "reordered-callback", "channel": channel, "outTradeNo": number});
        scene.simulator.arm(&later).await?;
        pay(scene, channel, &first).await?;
        pay(scene, channel, &second).await?;
        for created in [&second, &first] {
            scene
                .api
                .wait_status(created.payment_id(), "PAID", SOON)
                .await?;
            step_to_paid(scene, created.payment_id()).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn forged_callbacks_move_no_payment() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = forged(&scene).await;
    scene.close(outcome).await
}

async fn forged(scene: &Scene) -> Result<()> {
    // Alipay's signature has no window: a rightly signed old callback is a true one.
    let lies = [
        ("wechat", "signature"),
        ("wechat", "amount"),
        ("wechat", "app"),
        ("wechat", "stale"),
        ("alipay", "signature"),
        ("alipay", "amount"),
        ("alipay", "app"),
    ];
    for (channel, lie) in lies {
        let created = order(scene, channel).await?;
        let (id, number) = (created.payment_id(), created.channel_order_no());
        let acknowledged = scene.simulator.forge(channel, number, lie).await?;
        if lie == "amount" {
            evidence_refused(scene, id).await?;
        }
        let before = scene.api.get(id).await?;
        // Paid in any case, so that a lie that was believed leaves no difference behind.
        pay(scene, channel, &created).await?;
        // Another amount is rightly signed: it is taken in as evidence, and not believed.
        ensure!(
            acknowledged == (lie == "amount"),
            "{channel} {lie}: acknowledged {acknowledged}"
        );
        let status = before.text("status");
        ensure!(status == "PENDING", "{channel} {lie}: it became {status}");
        let paid = scene.api.wait_status(id, "PAID", ASKED_WITHIN).await?;
        let charges = scene.simulator.charges(channel, number).await?;
        let true_one = charges
            .iter()
            .all(|c| c.transaction_id == paid.text("transactionId"));
        ensure!(
            true_one,
            "{channel} {lie}: {} but the book has {charges:?}",
            paid.body
        );
        step_to_paid(scene, id).await?;
    }
    Ok(())
}

async fn evidence_refused(scene: &Scene, payment_id: &str) -> Result<()> {
    until("the callback's amount to be refused", SOON, async || {
        let events = scene.api.events(payment_id).await?;
        let refused = events
            .iter()
            .any(|event| event["source"] == "callback" && event["decision"] == "amount-differs");
        Ok(Seen::when(refused, format!("{events:?}")))
    })
    .await
}

#[tokio::test]
async fn a_callback_an_hour_late_finds_the_payment_paid() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = late(&scene).await;
    scene.close(outcome).await
}

async fn late(scene: &Scene) -> Result<()> {
    let (channel, created) = ("wechat", order(scene, "wechat").await?);
    let (id, number) = (created.payment_id(), created.channel_order_no());
    let fault =
        json!({"name": "late-callback", "channel": channel, "outTradeNo": number, "seconds": 3600});
    scene.simulator.arm(&fault).await?;
    pay(scene, channel, &created).await?;
    let paid = scene.api.wait_status(id, "PAID", ASKED_WITHIN).await?;
    let step = step_to_paid(scene, id).await?;
    ensure!(step["source"] == "query", "{step}");
    scene.simulator.advance(3601).await?;
    until("the late callback to arrive", SOON, async || {
        let events = scene.api.events(id).await?;
        let arrived = events.iter().any(|event| event["source"] == "callback");
        Ok(Seen::when(arrived, format!("{events:?}")))
    })
    .await?;
    let now = scene.api.get(id).await?;
    ensure!(now.text("status") == "PAID", "{}", now.body);
    ensure!(
        now.text("transactionId") == paid.text("transactionId"),
        "{}",
        now.body
    );
    step_to_paid(scene, id).await.map(drop)
}

#[tokio::test]
async fn without_any_callback_a_worker_finds_the_charge() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = missing(&scene).await;
    scene.close(outcome).await
}

async fn missing(scene: &Scene) -> Result<()> {
    let mut waiting = Vec::new();
    for channel in CHANNELS {
        let created = order(scene, channel).await?;
        let number = created.channel_order_no();
        let fault = json!({"name": "missing-callback", "channel": channel, "outTradeNo": number});
        scene.simulator.arm(&fault).await?;
        pay(scene, channel, &created).await?;
        waiting.push(created);
    }
    for created in &waiting {
        scene
            .api
            .wait_status(created.payment_id(), "PAID", ASKED_WITHIN)
            .await?;
        let step = step_to_paid(scene, created.payment_id()).await?;
        ensure!(step["source"] == "query", "{step}");
    }
    Ok(())
}
