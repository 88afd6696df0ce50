//! Charged payments are confirmed with orders and stock, or given back.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{Order, Scene, Seen, ordering, until};
use serde_json::json;

const SOON: Duration = Duration::from_mins(1);
/// Enough that pods of each kind die meanwhile.
const ORDERS: usize = 120;

#[tokio::test]
async fn a_paid_order_takes_its_stock_and_one_that_is_sold_out_its_money_back() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = sold_and_sold_out(&scene).await;
    scene.close(outcome).await
}

async fn sold_and_sold_out(scene: &Scene) -> Result<()> {
    let mut order = Order::new("E2E-ORDERS", "wechat", "20.00");
    let product = format!("BOOK-{}", order.id());
    scene.orders.stock(&product, 3).await?;
    order.body["items"] = json!([{"productId": product, "quantity": 2}]);
    let paid = buy(scene, &order).await?;
    let taken = format!("order {} to be paid", order.id());
    until(&taken, SOON, async || {
        let shown = scene.orders.order(order.id()).await?;
        let done = shown.text("status") == "PAID" && shown.payment_id() == paid;
        Ok(if done {
            Seen::Done(())
        } else {
            Seen::not_yet(shown.body)
        })
    })
    .await?;
    ensure!(scene.orders.available(&product).await? == 1);

    let mut order = Order::new("E2E-ORDERS", "alipay", "20.00");
    order.body["items"] = json!([{"productId": product, "quantity": 2}]);
    let refused = buy(scene, &order).await?;
    let back = scene.api.wait_status(&refused, "REFUNDED", SOON).await?;
    ensure!(back.text("refundedAmount") == "20.00", "{back:?}");
    ensure!(scene.orders.available(&product).await? == 1);
    Ok(())
}

async fn buy(scene: &Scene, order: &Order) -> Result<String> {
    let created = scene.api.create_payable(order).await?;
    let channel = order.body["channel"].as_str().unwrap_or_default();
    let number = created.channel_order_no();
    scene.simulator.pay(channel, number).await?;
    Ok(created.payment_id().to_owned())
}

#[tokio::test]
async fn orders_stock_and_payments_agree_whoever_dies() -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = agree(&scene).await;
    scene.close(outcome).await
}

async fn agree(scene: &Scene) -> Result<()> {
    let now = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
    let prefix = format!("E2E-ORDERING-{now:x}");
    let verdict = ordering::run(scene, ORDERS, now, &prefix).await?;
    println!("seed {now}: {verdict:?}");
    ensure!(verdict.breaches.is_empty(), "seed {now}: {verdict:?}");
    ensure!(verdict.confirmed > verdict.refused && verdict.refused > 0);
    Ok(())
}
