//! Orders that are paid and confirmed while pods die: payments, orders and stock must agree.
//!
//! One in ten can never be confirmed, because its product is sold out or it was placed for
//! another amount. What is judged is what a merchant sees: payments and their histories, the order
//! service's orders and stock, and the channels' own books.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::chance::Chance;
use crate::killing::{Kills, Parts, kill};
use crate::scene::{CHANNELS, Scene};
use crate::wait::{Seen, until};

/// The workloads whose pods die.
const PARTS: &Parts = &[
    ("payment", 20),
    ("worker", 25),
    ("orders", 30),
    ("callback", 5),
    ("coordinator", 20),
];
const PRODUCTS: u64 = 3;
const STOCK: u64 = 1_000_000;
const PAUSE_BETWEEN_ORDERS: Duration = Duration::from_millis(300);
/// One order's creation and payment, while pods come back.
const PAID_WITHIN: Duration = Duration::from_mins(3);
/// What is left of a cluster where pods died gets this long to be whole again.
const WHOLE_WITHIN: Duration = Duration::from_mins(5);
/// A transaction that its launcher left waits for its time-out, a refusal for its refund.
const ENDED_WITHIN: Duration = Duration::from_mins(10);

/// Why an order cannot be confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    SoldOut,
    PlacedForAnotherAmount,
}

#[derive(Clone, Debug)]
struct Plan {
    order_id: String,
    channel: &'static str,
    amount: String,
    product: String,
    quantity: u64,
    flaw: Option<Flaw>,
}

impl Plan {
    fn draw(prefix: &str, seed: u64, number: u64) -> Self {
        let mut chance = Chance::new(seed, number);
        let flaw = chance
            .percent(10)
            .then(|| chance.one_of(&[Flaw::SoldOut, Flaw::PlacedForAnotherAmount]));
        let product = match flaw {
            Some(Flaw::SoldOut) => format!("{prefix}-SOLD-OUT"),
            _ => product(prefix, chance.within(0..PRODUCTS)),
        };
        Self {
            order_id: format!("{prefix}-{number}"),
            channel: chance.one_of(&CHANNELS),
            amount: format!("{}.{:02}", chance.within(1..500), chance.within(0..100)),
            product,
            quantity: chance.within(1..4),
            flaw,
        }
    }

    fn body(&self) -> Value {
        json!({
            "orderId": self.order_id, "amount": self.amount, "currency": "CNY",
            "userId": "USER-001", "channel": self.channel,
            "items": [{"productId": self.product, "quantity": self.quantity}],
        })
    }
}

fn product(prefix: &str, number: u64) -> String {
    format!("{prefix}-P{number}")
}

/// What became of a run.
#[derive(Debug)]
pub struct Verdict {
    pub confirmed: usize,
    pub refused: usize,
    pub kills: Kills,
    pub breaches: Vec<String>,
}

/// Places, pays and confirms `orders` orders while pods die, and judges.
pub async fn run(scene: &Scene, orders: usize, seed: u64, prefix: &str) -> Result<Verdict> {
    for number in 0..PRODUCTS {
        let product = product(prefix, number);
        scene.orders.stock(&product, STOCK).await?;
    }
    scene.orders.stock(&format!("{prefix}-SOLD-OUT"), 0).await?;
    let plans: Vec<Plan> = (0..orders as u64)
        .map(|number| Plan::draw(prefix, seed, number))
        .collect();
    let living = AtomicUsize::new(orders);
    let lives = plans.iter().zip(0_u32..).map(async |(plan, number)| {
        tokio::time::sleep(PAUSE_BETWEEN_ORDERS * number).await;
        let paid = pay(scene, plan).await;
        living.fetch_sub(1, Ordering::Relaxed);
        paid.with_context(|| format!("order {}", plan.order_id))
    });
    let lives = join_all(lives);
    let running = || living.load(Ordering::Relaxed) > 0;
    let (paid, kills) = futures::join!(lives, kill(&scene.demo, PARTS, running, seed));
    let paid = paid.into_iter().collect::<Result<Vec<String>>>()?;
    println!("all {orders} orders are paid; waiting until each has ended");
    scene.demo.wait_settled(WHOLE_WITHIN).await?;
    judge(scene, &plans, &paid, kills, prefix).await
}

/// The payment's id.
async fn pay(scene: &Scene, plan: &Plan) -> Result<String> {
    if plan.flaw == Some(Flaw::PlacedForAnotherAmount) {
        let placed = json!({"amount": "0.01", "currency": "CNY"});
        let path = format!("/orders/{}", plan.order_id);
        until("the order to be placed", PAID_WITHIN, async || {
            let answer = scene.orders.put(&path, &placed).await?;
            Ok(Seen::when(matches!(answer.status, 200 | 201), answer.body))
        })
        .await?;
    }
    let body = plan.body().to_string();
    let created = until("the order to be payable", PAID_WITHIN, async || {
        let answer = scene.api.post_raw("", &body, None).await?;
        let shown = answer.body();
        let payable = answer.status == 201 && shown["action"]["url"].is_string();
        Ok(if payable {
            Seen::Done(shown)
        } else {
            Seen::not_yet(shown)
        })
    })
    .await?;
    let number = created["channelOrderNo"].as_str().unwrap_or_default();
    scene.simulator.pay(plan.channel, number).await?;
    Ok(created["paymentId"].as_str().unwrap_or_default().to_owned())
}

/// Waits for one payment's end: the reason if it was refused.
async fn ended(scene: &Scene, id: &str) -> Result<Option<String>> {
    let what = format!("payment {id} to be confirmed or given back");
    until(&what, ENDED_WITHIN, async || {
        let events = scene.api.events(id).await.unwrap_or_default();
        let mut ends = events.iter().filter(|it| it["source"] == "confirmation");
        Ok(match ends.next() {
            Some(end) if end["observation"] == "confirmed" => Seen::Done(None),
            Some(end) => Seen::Done(Some(end["detail"].as_str().unwrap_or_default().to_owned())),
            None => Seen::not_yet("its history does not say"),
        })
    })
    .await
}

async fn judge(
    scene: &Scene,
    plans: &[Plan],
    paid: &[String],
    kills: Kills,
    prefix: &str,
) -> Result<Verdict> {
    let mut verdict = Verdict {
        confirmed: 0,
        refused: 0,
        kills,
        breaches: Vec::new(),
    };
    let mut sold: BTreeMap<&str, u64> = BTreeMap::new();
    for (plan, id) in plans.iter().zip(paid) {
        match ended(scene, id).await? {
            None => {
                verdict.confirmed += 1;
                *sold.entry(&plan.product).or_default() += plan.quantity;
                verdict.breaches.extend(confirmed(scene, plan, id).await?);
            }
            Some(reason) => {
                verdict.refused += 1;
                verdict
                    .breaches
                    .extend(refused(scene, plan, id, &reason).await?);
            }
        }
    }
    for number in 0..PRODUCTS {
        let product = product(prefix, number);
        let sold = sold.get(product.as_str()).copied().unwrap_or_default();
        let left = scene.orders.available(&product).await?;
        if left + sold != STOCK {
            let breach = format!("{product}: {sold} were sold, {left} of {STOCK} are left");
            verdict.breaches.push(breach);
        }
    }
    Ok(verdict)
}

/// What is wrong with a payment that was confirmed.
async fn confirmed(scene: &Scene, plan: &Plan, id: &str) -> Result<Option<String>> {
    let payment = scene.api.get(id).await?;
    let events = scene.api.events(id).await?;
    let ends = events.iter().filter(|it| it["source"] == "confirmation");
    let order = scene.orders.order(&plan.order_id).await?;
    let agree = plan.flaw.is_none()
        && ends.count() == 1
        && payment.text("status") == "PAID"
        && order.text("status") == "PAID"
        && order.payment_id() == id;
    Ok((!agree).then(|| format!("{plan:?}: {} {} {events:?}", payment.body, order.body)))
}

/// What is wrong with a payment that was refused: its money is back, and its order is not paid.
async fn refused(scene: &Scene, plan: &Plan, id: &str, reason: &str) -> Result<Option<String>> {
    let payment = scene.api.wait_status(id, "REFUNDED", ENDED_WITHIN).await?;
    let order = scene.orders.order(&plan.order_id).await?;
    let number = payment.channel_order_no();
    let given = scene.simulator.refunds(plan.channel).await?;
    let mut given = given.iter().filter(|it| it["outTradeNo"] == number);
    let back = given.next().is_some_and(|it| it["state"] == "SUCCESS") && given.next().is_none();
    let expected = match plan.flaw {
        Some(Flaw::SoldOut) => reason == "INSUFFICIENT_STOCK" && order.status == 404,
        Some(Flaw::PlacedForAnotherAmount) => {
            reason == "ORDER_REFUSED" && order.text("status") == "OPEN"
        }
        None => false,
    };
    Ok(
        (!(expected && back))
            .then(|| format!("{plan:?}: {reason} {} {}", payment.body, order.body)),
    )
}
