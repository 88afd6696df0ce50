//! An order is charged once, by either channel, whatever dies on the way.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::scene::CHANNELS;
use e2e::{Answer, Order, Scene, Seen, until};
use kube::ResourceExt as _;
use serde_json::json;
use tokio::task::JoinSet;

const SOON: Duration = Duration::from_secs(20);
/// Longer than a channel call may take, and the worker's first look after it.
const RECOVERED_WITHIN: Duration = Duration::from_mins(1);
const POSTS: usize = 50;

#[tokio::test]
async fn an_order_is_paid_by_each_channel() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = paid_by_each_channel(&scene).await;
    scene.close(outcome).await
}

async fn paid_by_each_channel(scene: &Scene) -> Result<()> {
    for channel in CHANNELS {
        let order = Order::new("E2E-PAY", channel, "99.99");
        let created = scene.api.create_payable(&order).await?;
        ensure!(
            created.text("channel") == channel,
            "{channel}: {}",
            created.body
        );
        let paid = pay(scene, channel, &created).await?;
        ensure!(paid.text("amount") == "99.99", "{channel}: {}", paid.body);
        ensure!(
            paid.body["action"].is_null(),
            "{channel}: a paid order still has a QR code"
        );
        charged_once(scene, channel, &paid, 9999).await?;
    }
    Ok(())
}

async fn pay(scene: &Scene, channel: &str, created: &Answer) -> Result<Answer> {
    scene
        .simulator
        .pay(channel, created.channel_order_no())
        .await?;
    scene
        .api
        .wait_status(created.payment_id(), "PAID", SOON)
        .await
}

/// The channel's own book decides.
async fn charged_once(scene: &Scene, channel: &str, paid: &Answer, minor: i64) -> Result<()> {
    let charges = scene
        .simulator
        .charges(channel, paid.channel_order_no())
        .await?;
    let [charge] = charges.as_slice() else {
        anyhow::bail!("{channel}: {} charges: {charges:?}", charges.len());
    };
    ensure!(
        charge.state == "PAID" && charge.amount_minor == minor,
        "{channel}: {charge:?}"
    );
    let transaction = paid.text("transactionId");
    ensure!(
        transaction == charge.transaction_id,
        "{channel}: {transaction} is not {charge:?}"
    );
    Ok(())
}

#[tokio::test]
async fn the_same_order_with_another_body_is_refused() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = another_body_is_refused(&scene).await;
    scene.close(outcome).await
}

async fn another_body_is_refused(scene: &Scene) -> Result<()> {
    let order = Order::new("E2E-OTHER", "wechat", "10.00");
    let first = scene.api.create_payable(&order).await?;
    let again = scene.api.create(&order).await?;
    ensure!(
        again.payment_id() == first.payment_id(),
        "a repeat made another payment: {again:?}"
    );
    let mut other = order.clone();
    other.body["amount"] = "11.00".into();
    let refused = scene.api.create(&other).await?;
    ensure!(refused.status == 422, "{refused:?}");
    ensure!(refused.body["retryable"] == false, "{refused:?}");
    ensure!(!refused.text("code").is_empty(), "{refused:?}");
    let now = scene.api.get(first.payment_id()).await?;
    ensure!(
        now.text("amount") == "10.00",
        "the refused request changed the payment: {now:?}"
    );
    Ok(())
}

#[tokio::test]
async fn fifty_posts_of_one_order_at_once_charge_once() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = fifty_posts_charge_once(&scene).await;
    scene.close(outcome).await
}

async fn fifty_posts_charge_once(scene: &Scene) -> Result<()> {
    let order = Order::new("E2E-FIFTY", "wechat", "5.00");
    let before = scene.simulator.book("wechat").await?.len();
    let answers = post_at_once(scene, &order).await?;
    one_payment(scene, "wechat", &order, &answers, before).await
}

async fn post_at_once(scene: &Scene, order: &Order) -> Result<Vec<Answer>> {
    let mut posts = JoinSet::new();
    for _ in 0..POSTS {
        let (api, order) = (scene.api.clone(), order.clone());
        posts.spawn(async move { api.create(&order).await });
    }
    posts.join_all().await.into_iter().collect()
}

async fn one_payment(
    scene: &Scene,
    channel: &str,
    order: &Order,
    answers: &[Answer],
    charges_before: usize,
) -> Result<()> {
    for answer in answers {
        ensure!(matches!(answer.status, 201 | 202), "{answer:?}");
        ensure!(
            answer.payment_id() == answers[0].payment_id(),
            "two payments: {answer:?}"
        );
    }
    let created = scene.api.create_payable(order).await?;
    let paid = pay(scene, channel, &created).await?;
    charged_once(scene, channel, &paid, 500).await?;
    let made = scene.simulator.book(channel).await?.len() - charges_before;
    ensure!(made == 1, "the channel was asked for {made} charges");
    let known = scene.api.of_order(order.id()).await?;
    ensure!(
        known.len() == 1,
        "{} payments of one order: {known:?}",
        known.len()
    );
    Ok(())
}

#[tokio::test]
async fn fifty_posts_charge_once_while_the_cache_is_down() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = charge_once_without_cache(&scene).await;
    let healthy = scene.demo.wait_settled(Duration::from_secs(90)).await;
    scene.close(outcome.and(healthy)).await
}

async fn charge_once_without_cache(scene: &Scene) -> Result<()> {
    let order = Order::new("E2E-CACHE", "alipay", "5.00");
    let before = scene.simulator.book("alipay").await?.len();
    kill_cache(scene).await?;
    let posts = post_at_once(scene, &order);
    tokio::pin!(posts);
    let answers = loop {
        tokio::select! {
            answers = &mut posts => break answers?,
            () = tokio::time::sleep(Duration::from_millis(200)) => kill_cache(scene).await?,
        }
    };
    one_payment(scene, "alipay", &order, &answers, before).await
}

async fn kill_cache(scene: &Scene) -> Result<()> {
    for pod in scene.demo.pods_of("redis").await? {
        scene
            .cluster
            .delete_pod_now(&scene.demo.namespace, &pod.name_any())
            .await?;
    }
    Ok(())
}

/// The pod dies after the channel has taken the order and before its answer arrives.
#[tokio::test]
async fn a_pod_killed_during_the_channel_call_loses_nothing() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = killed_during_the_call(&scene).await;
    let healthy = scene.demo.wait_settled(Duration::from_secs(90)).await;
    scene.close(outcome.and(healthy)).await
}

async fn killed_during_the_call(scene: &Scene) -> Result<()> {
    let order = Order::new("E2E-KILL", "wechat", "5.00");
    let before = scene.simulator.book("wechat").await?.len();
    let slow =
        json!({"name": "slow-answer", "channel": "wechat", "operation": "create", "seconds": 40});
    scene.simulator.arm(&slow).await?;
    let namespace = scene.demo.namespace.clone();
    let pods = scene.demo.pods_of("payment").await?;
    let pod = pods.first().context("no payment pod")?.name_any();
    let call = {
        let (cluster, pod) = (scene.cluster.clone(), pod.clone());
        let (namespace, body) = (namespace.clone(), order.body.clone());
        tokio::spawn(async move {
            cluster
                .post_to_pod(&namespace, &pod, "/api/payments", &body)
                .await
        })
    };
    let asked = until("the channel to be asked", SOON, async || {
        if call.is_finished() {
            return Ok(Seen::not_yet("the call has ended before its time"));
        }
        let made = scene.simulator.book("wechat").await?.len() - before;
        Ok(Seen::when(made == 1, format!("{made} charges")))
    });
    asked.await?;
    scene.cluster.delete_pod_now(&namespace, &pod).await?;
    ensure!(call.await?.is_err(), "the killed pod answered after all");
    recovered(scene, &order, before).await
}

/// A worker finds the order and takes its QR code; then it can be paid as if nothing had happened.
async fn recovered(scene: &Scene, order: &Order, charges_before: usize) -> Result<()> {
    let what = format!("order {} to become payable", order.id());
    let payment = until(&what, RECOVERED_WITHIN, async || {
        let mut known = scene.api.of_order(order.id()).await?;
        ensure!(known.len() == 1, "{} payments of one order", known.len());
        let payment = known.swap_remove(0);
        let payable = payment.text("status") == "PENDING" && payment.qr_code().is_some();
        let told = format!("it is {}", payment.text("status"));
        Ok(if payable {
            Seen::Done(payment)
        } else {
            Seen::not_yet(told)
        })
    })
    .await?;
    let events = scene.api.events(payment.payment_id()).await?;
    ensure!(
        events.iter().any(|event| event["to"] == "UNKNOWN"),
        "never UNKNOWN: {events:?}"
    );
    let answer = scene.api.create(order).await?;
    one_payment(scene, "wechat", order, &[answer], charges_before).await
}
