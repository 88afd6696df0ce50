//! After the load: no faults, nobody dies. Clients repeat what they got no answer to, and
//! whatever is open is asked about, by the API alone, until it ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::StreamExt as _;
use serde_json::Value;

use crate::world::{Post, World, is_success, text};

const AT_ONCE: usize = 8;
/// Long enough for an order to expire, for its channel to show what it took, and for the pause
/// that WeChat Pay wants between two refunds.
pub(crate) const ENDS_WITHIN: Duration = Duration::from_mins(8);
const CONVERGES_WITHIN: Duration = Duration::from_mins(1);
const PAUSE_BETWEEN_ROUNDS: Duration = Duration::from_secs(5);
/// The channels send again what was not acknowledged: all of it is due within the hour.
const CALENDAR_STEP_SECONDS: i64 = 3600;

const OPEN: [&str; 5] = [
    "CREATED",
    "SUBMITTING",
    "PENDING",
    "UNKNOWN",
    "PAID_AFTER_CLOSE",
];

/// What never ended.
pub(crate) async fn come_to_rest(world: &Arc<World>) -> Result<Vec<String>> {
    converge(world).await;
    world.simulator.advance(CALENDAR_STEP_SECONDS).await?;
    let deadline = Instant::now() + ENDS_WITHIN;
    let mut waiting = ours(world).await?;
    loop {
        waiting = still_open(world, waiting).await;
        let names = waiting
            .iter()
            .map(|payment| format!("{} {}", text(payment, "paymentId"), text(payment, "status")));
        if waiting.is_empty() {
            repeat_all(world).await;
            return Ok(Vec::new());
        }
        if Instant::now() >= deadline {
            return Ok(names.collect());
        }
        tokio::time::sleep(PAUSE_BETWEEN_ROUNDS).await;
    }
}

/// The payments of this run.
pub(crate) async fn ours(world: &World) -> Result<Vec<Value>> {
    let all = world.api.all("").await?;
    let mine = |payment: &Value| text(payment, "orderId").starts_with(&world.prefix);
    Ok(all.into_iter().filter(mine).collect())
}

/// Asks about each payment and its refunds; those that have not ended.
async fn still_open(world: &World, payments: Vec<Value>) -> Vec<Value> {
    futures::stream::iter(payments)
        .map(async |payment| is_open(world, &payment).await.then_some(payment))
        .buffer_unordered(AT_ONCE)
        .filter_map(async |open| open)
        .collect()
        .await
}

/// No answer is "open": somebody asks again.
async fn is_open(world: &World, payment: &Value) -> bool {
    let id = text(payment, "paymentId");
    let path = format!("/{id}?refresh=channel");
    let Ok(payment) = world.api.get_path(&path).await else {
        return true;
    };
    let Ok(refunds) = world.api.get_path(&format!("/{id}/refunds")).await else {
        return true;
    };
    let open = |value: &Value| OPEN.contains(&text(value, "status"));
    let mut any = open(&payment.body);
    let none = Vec::new();
    for refund in refunds.body["data"].as_array().unwrap_or(&none) {
        if open(refund) {
            any = true;
            let number = text(refund, "refundNo");
            let path = format!("/{id}/refunds/{number}?refresh=channel");
            // The next round sees what came of it.
            let _ = world.api.get_path(&path).await;
        }
    }
    any
}

/// Clients that never got an answer get one: what a dead process began is taken over.
async fn converge(world: &Arc<World>) {
    let waiting = world.keyed();
    let waiting = waiting
        .into_iter()
        .filter(|post| !world.has_final_answer(post));
    let deadline = Instant::now() + CONVERGES_WITHIN;
    repeat(waiting, async |post: Post| {
        if world.insist(&post, deadline).await.is_none() {
            world.breach(format!("nobody takes over {post:?}"));
        }
    })
    .await;
}

/// The same bytes again, for every key.
async fn repeat_all(world: &Arc<World>) {
    let answered = world.keyed();
    let answered = answered
        .into_iter()
        .filter(|post| world.has_final_answer(post));
    let deadline = Instant::now() + CONVERGES_WITHIN;
    repeat(answered, async |post: Post| {
        let answer = world.insist(&post, deadline).await;
        if !answer.is_some_and(|answer| is_success(&answer) || answer.status == 402) {
            world.breach(format!("{post:?} had an answer and has none any more"));
        }
    })
    .await;
}

async fn repeat(posts: impl Iterator<Item = Post>, each: impl AsyncFn(Post)) {
    futures::stream::iter(posts)
        .for_each_concurrent(AT_ONCE, async |post| each(post).await)
        .await;
}
