//! An hour of the channels' calendar, in which they get worse from round to round.

use anyhow::{Result, ensure};
use e2e::scene::CHANNELS;
use e2e::{Order, Scene};
use futures::future::try_join_all;
use serde_json::json;

use super::SOON;

const ROUND_SECONDS: i64 = 300;

/// One round each, on both channels: twelve of five minutes.
const FAULTS: [&str; 12] = [
    "missing-callback",
    "drop-answer",
    "late-callback",
    "error-500",
    "duplicate-callback",
    "unsigned-answer",
    "wrong-amount-callback",
    "bad-signature",
    "query-lag",
    "error-500-before",
    "refund-slow",
    "reordered-callback",
];

/// Orders are paid and partly refunded while faults come and go. Returns when every charge is
/// known here.
pub(super) async fn an_hour(scene: &Scene) -> Result<()> {
    let mut paid = Vec::new();
    for fault in FAULTS {
        for channel in CHANNELS {
            let fault = json!({"name": fault, "channel": channel, "count": 2});
            scene.simulator.arm(&fault).await?;
        }
        let orders = CHANNELS.into_iter().flat_map(|channel| [channel; 2]);
        paid.extend(try_join_all(orders.map(|channel| pay(scene, channel))).await?);
        scene.simulator.advance(ROUND_SECONDS).await?;
    }
    scene.simulator.disarm().await?;
    try_join_all(paid.iter().map(|id| refund(scene, id))).await?;
    Ok(())
}

/// Pays one order; the payment's id.
async fn pay(scene: &Scene, channel: &str) -> Result<String> {
    let order = Order::new("E2E-CLOSING", channel, "12.34");
    let created = scene.api.create_payable(&order).await?;
    let number = created.channel_order_no();
    scene.simulator.pay(channel, number).await?;
    Ok(created.payment_id().to_owned())
}

async fn refund(scene: &Scene, id: &str) -> Result<()> {
    scene.api.wait_status(id, "PAID", SOON).await?;
    let path = format!("/{id}/refunds");
    let body = json!({"refundNo": "R-1", "amount": "2.34"}).to_string();
    let refunded = scene.api.post_raw(&path, &body, None).await?;
    ensure!(matches!(refunded.status, 201 | 202), "{refunded:?}");
    scene.api.wait_status(id, "PARTLY_REFUNDED", SOON).await?;
    Ok(())
}
