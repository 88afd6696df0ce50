//! One order from its placing to whatever becomes of it.

use std::sync::Arc;
use std::time::Duration;

use payment_core::{ChannelKind, PayMethod};
use serde_json::{Value, json};

use super::{Call, insist, look, refunds, try_once};
use crate::invariants::{CANARY, CANARY_IP};
use crate::world::World;

/// Opens the shop: so many orders within a few minutes. Returns when the last client has left.
pub async fn open(world: &Arc<World>) {
    let orders = world.chance().between(3, 9);
    let mut clients = Vec::new();
    for number in 0..orders {
        let world = world.clone();
        clients.push(tokio::spawn(async move { order(&world, number).await }));
    }
    for client in clients {
        let _ = client.await;
    }
}

async fn order(world: &Arc<World>, number: u64) {
    let start = world.chance().millis(0, 60_000);
    tokio::time::sleep(start).await;
    let order_id = format!("O-{:x}-{number}", world.seed);
    let body = body(world, &order_id);
    place(world, &order_id, &body).await;
    let steps = world.chance().between(2, 9);
    for _ in 0..steps {
        let pause = pause(world);
        tokio::time::sleep(pause).await;
        step(world, &order_id, &body).await;
    }
}

fn pause(world: &World) -> Duration {
    let mut chance = world.chance();
    if chance.percent(70) {
        chance.millis(20, 20_000)
    } else {
        chance.millis(20_000, 400_000)
    }
}

fn method(world: &World, kind: ChannelKind) -> PayMethod {
    if kind == ChannelKind::Alipay && world.profile.short_lived {
        return PayMethod::AlipayPrecreate;
    }
    let methods: Vec<PayMethod> = PayMethod::ALL
        .into_iter()
        .filter(|method| method.channel() == kind)
        .collect();
    *world.chance().pick(&methods)
}

/// How the payer pays, as both kinds of bodies say it.
fn way(world: &World, kind: ChannelKind) -> Value {
    let method = method(world, kind);
    let mut way = json!({"channel": kind.as_str(), "method": method.as_str()});
    if method.needs_payer_id() {
        way["payerId"] = format!("{CANARY}-payer").into();
    }
    if method.needs_client_ip() {
        way["clientIp"] = CANARY_IP.into();
    }
    let short = world.chance().percent(80);
    let expires = match (world.profile.short_lived, short) {
        (true, _) => (60, 90),
        (false, true) => (60, 400),
        (false, false) => (400, 7_200),
    };
    way["expiresInSeconds"] = world.chance().between(expires.0, expires.1).into();
    way
}

fn channel(world: &World) -> ChannelKind {
    *world.chance().pick(&ChannelKind::ALL)
}

fn body(world: &World, order_id: &str) -> Value {
    let mut body = way(world, channel(world));
    let minor = world.chance().between(2, 20_000);
    body["orderId"] = order_id.into();
    body["amount"] = format!("{}.{:02}", minor / 100, minor % 100).into();
    body["currency"] = "CNY".into();
    body["userId"] = "U-1".into();
    body
}

/// The same order with another amount: a mistake, or somebody else's.
fn other_body(body: &Value) -> Value {
    let mut other = body.clone();
    other["amount"] = "250.50".into();
    other
}

/// Places the order: once, or several times at once, with and without a key, and with a second
/// body among them.
async fn place(world: &Arc<World>, order_id: &str, body: &Value) {
    let (copies, key, with_other) = {
        let mut chance = world.chance();
        let copies = if chance.percent(50) {
            1
        } else {
            chance.between(2, 4)
        };
        let key = chance.percent(60).then(|| format!("key-{order_id}"));
        (copies, key, chance.percent(25))
    };
    let mut senders = Vec::new();
    for copy in 0..copies + u64::from(with_other) {
        let body = if copy == copies {
            other_body(body)
        } else {
            body.clone()
        };
        let call = Call::post("/api/payments", &body, key.clone());
        let (world, pause) = (world.clone(), world.chance().millis(0, 400));
        senders.push(tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            let tries = world.chance().between(1, 5);
            insist(&world, &call, u32::try_from(tries).unwrap_or(1)).await;
        }));
    }
    for sender in senders {
        let _ = sender.await;
    }
}

/// One more thing a client may do with its order.
async fn step(world: &Arc<World>, order_id: &str, body: &Value) {
    let choice = world.chance().below(100);
    if choice < 15 {
        return repeat(world, order_id, body).await;
    }
    let Some(payment) = latest(world, order_id).await else {
        return place(world, order_id, body).await;
    };
    let path = payment_path(&payment);
    let status = payment["status"].as_str().unwrap_or_default();
    match (choice, status) {
        (15..30, _) => drop(look(world, format!("{path}?refresh=channel")).await),
        (30..35, _) => drop(look(world, format!("{path}/events?limit=5")).await),
        (35..38, _) => drop(look(world, "/api/payments?limit=3".to_owned()).await),
        (38..50, "PENDING" | "UNKNOWN" | "SUBMITTING") => close(world, &path).await,
        (38..90, "FAILED" | "CLOSED") => {
            attempt(world, &path).await;
        }
        // Too early, and to be refused.
        (50..56, "PENDING" | "UNKNOWN") => attempt(world, &path).await,
        (38..100, "PAID" | "PARTLY_REFUNDED") | (97..100, _) => {
            refunds::ask(world, &payment).await;
        }
        _ => drop(look(world, path).await),
    }
}

fn payment_path(payment: &Value) -> String {
    format!(
        "/api/payments/{}",
        payment["paymentId"].as_str().unwrap_or_default()
    )
}

async fn latest(world: &Arc<World>, order_id: &str) -> Option<Value> {
    let page = look(world, format!("/api/payments?orderId={order_id}")).await?;
    page["data"].as_array()?.first().cloned()
}

/// The same request again, long after; sometimes with a body that differs.
async fn repeat(world: &Arc<World>, order_id: &str, body: &Value) {
    let (with_key, with_other) = {
        let mut chance = world.chance();
        (chance.percent(60), chance.percent(20))
    };
    let key = with_key.then(|| format!("key-{order_id}"));
    let body = if with_other {
        other_body(body)
    } else {
        body.clone()
    };
    let _ = try_once(world, &Call::post("/api/payments", &body, key)).await;
}

async fn close(world: &Arc<World>, path: &str) {
    let key = world.chance().percent(30).then(|| "close-1".to_owned());
    let call = Call::post(format!("{path}/close"), &json!({}), key);
    insist(world, &call, 2).await;
}

/// Another attempt, twice at once now and then.
async fn attempt(world: &Arc<World>, path: &str) {
    let kind = channel(world);
    let body = way(world, kind);
    let key = world.chance().percent(50).then(|| "attempt-1".to_owned());
    let call = Call::post(format!("{path}/attempts"), &body, key);
    if world.chance().percent(30) {
        let (world, call) = (world.clone(), call.clone());
        tokio::spawn(async move { insist(&world, &call, 2).await });
    }
    insist(world, &call, 2).await;
}
