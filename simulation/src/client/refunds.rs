//! Clients that want money back: parts, several parts at once, too much, and the same again.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Call, insist, look, try_once};
use crate::world::World;

/// Asks for a refund of a payment, in one of the ways in which clients do.
pub(super) async fn ask(world: &Arc<World>, payment: &Value) {
    let id = payment["paymentId"].as_str().unwrap_or_default();
    let path = format!("/api/payments/{id}/refunds");
    let total = minor(payment["amount"].as_str().unwrap_or("0"));
    let way = world.chance().below(10);
    match way {
        // Two or three at once, which together may be too much.
        0..4 => several(world, &path, total).await,
        4..6 => one(world, &path, total, total).await,
        // More than there is.
        6 => one(world, &path, total + 1, total).await,
        7 => check(world, &path).await,
        _ => {
            let part = world.chance().between(1, total.max(1));
            one(world, &path, part, total).await;
        }
    }
}

fn minor(amount: &str) -> u64 {
    amount.replace('.', "").parse().unwrap_or(1)
}

fn decimal(minor: u64) -> String {
    format!("{}.{:02}", minor / 100, minor % 100)
}

async fn one(world: &Arc<World>, path: &str, amount: u64, total: u64) {
    let (number, key) = {
        let mut chance = world.chance();
        let number = format!("R-{}", chance.below(4));
        let key = chance.percent(40).then(|| format!("key-{number}-{amount}"));
        (number, key)
    };
    let body = json!({"refundNo": number, "amount": decimal(amount), "reason": "returned"});
    let call = Call::post(path, &body, key);
    insist(world, &call, 3).await;
    if world.chance().percent(30) {
        let _ = try_once(world, &call).await;
    }
    if world.chance().percent(30) {
        look(world, format!("{path}/{number}")).await;
    }
    if world.chance().percent(15) {
        // The same number with another amount.
        let body = json!({"refundNo": number, "amount": decimal(total / 2 + 1)});
        let _ = try_once(world, &Call::post(path, &body, None)).await;
    }
}

async fn several(world: &Arc<World>, path: &str, total: u64) {
    let count = world.chance().between(2, 3);
    let mut askers = Vec::new();
    for _ in 0..count {
        let (part, pause) = {
            let mut chance = world.chance();
            let part = chance.between(total / 3, total * 2 / 3).max(1);
            (part, chance.millis(0, 30))
        };
        let (world, path) = (world.clone(), path.to_owned());
        askers.push(tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            one(&world, &path, part, total).await;
        }));
    }
    for asker in askers {
        let _ = asker.await;
    }
}

async fn check(world: &Arc<World>, path: &str) {
    let Some(page) = look(world, path.to_owned()).await else {
        return;
    };
    let refunds = page["data"].as_array().cloned().unwrap_or_default();
    if let Some(number) = refunds
        .first()
        .and_then(|refund| refund["refundNo"].as_str())
    {
        look(world, format!("{path}/{number}?refresh=channel")).await;
    }
}
