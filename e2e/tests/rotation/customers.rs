//! Customers who pay while something is changed. Not one of their payments may fail.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::scene::CHANNELS;
use e2e::{Order, PaymentApi, Scene, Simulator};
use futures::future::join_all;

const CLIENTS: usize = 4;
const SOON: Duration = Duration::from_secs(30);

/// Until the change is made, four customers pay one order after the other.
pub(crate) async fn while_customers_pay(
    scene: &Scene,
    change: impl Future<Output = Result<()>>,
) -> Result<()> {
    let stop = AtomicBool::new(false);
    let customers = (0..CLIENTS).map(|client| customer(scene, client, &stop));
    let change = async {
        let changed = change.await;
        stop.store(true, Ordering::Relaxed);
        changed
    };
    let (changed, tallies) = tokio::join!(change, join_all(customers));
    let mut sum = Tally::default();
    for tally in tallies {
        let tally = tally?;
        sum.paid += tally.paid;
        sum.repeated += tally.repeated;
        sum.failed.extend(tally.failed);
    }
    println!(
        "{} payments, {} requests repeated because a connection broke, {} failed",
        sum.paid,
        sum.repeated,
        sum.failed.len()
    );
    changed?;
    ensure!(sum.failed.is_empty(), "failed: {:?}", sum.failed);
    ensure!(sum.paid > CLIENTS, "too few payments to say anything");
    Ok(())
}

#[derive(Default)]
struct Tally {
    paid: usize,
    repeated: usize,
    failed: Vec<String>,
}

/// Pays one order after the other until told to stop.
async fn customer(scene: &Scene, client: usize, stop: &AtomicBool) -> Result<Tally> {
    // Connections of its own: they spread over the replicas.
    let api = PaymentApi::new(&scene.environment.urls.api)?;
    let channel = CHANNELS[client % CHANNELS.len()];
    let mut tally = Tally::default();
    while !stop.load(Ordering::Relaxed) {
        match pay(&api, &scene.simulator, channel, &mut tally.repeated).await {
            Ok(()) => tally.paid += 1,
            Err(error) => tally.failed.push(format!("{error:#}")),
        }
    }
    Ok(tally)
}

/// One payment. A connection that breaks is a pod that ends: the same order is posted again, as
/// any client does; an answer other than a payable order is a failure.
async fn pay(
    api: &PaymentApi,
    simulator: &Simulator,
    channel: &str,
    repeated: &mut usize,
) -> Result<()> {
    const TRIES: usize = 5;
    let order = Order::new("E2E-ROTATE", channel, "1.00");
    let mut answer = api.create(&order).await;
    for _ in 1..TRIES {
        if answer.is_ok() {
            break;
        }
        *repeated += 1;
        answer = api.create(&order).await;
    }
    let created = answer?;
    ensure!(
        created.status == 201 && created.qr_code().is_some(),
        "{}: {} {}",
        order.id(),
        created.status,
        created.body
    );
    simulator.pay(channel, created.channel_order_no()).await?;
    api.wait_status(created.payment_id(), "PAID", SOON)
        .await
        .map(drop)
}
