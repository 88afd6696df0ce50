//! What is checked at every answer of the API: what it says of money, and what repeats get.

use std::collections::BTreeMap;

use channels::RefundState;
use payment_core::ChannelKind;
use serde_json::Value;

use super::holds_canary;
use crate::client::Call;
use crate::door::Answer;
use crate::world::World;

/// Everything that was answered so far, as far as repeats need it.
#[derive(Debug, Default)]
pub struct Answers {
    /// By path and key: the body that got a final answer, and that answer.
    keyed: BTreeMap<(String, String), (String, Answer)>,
    /// Bodies that were sent under a key.
    sent: BTreeMap<(String, String), Vec<String>>,
    /// By order id: the payment of its first attempt.
    orders: BTreeMap<String, String>,
}

impl Answers {
    /// A request goes out; its body counts from now on. True: an answer to it was received
    /// before, and it can get no other.
    pub fn sent(&mut self, call: &Call) -> bool {
        let (Some(key), Some(body)) = (&call.key, &call.body) else {
            return false;
        };
        let scope = (call.path.clone(), key.clone());
        let bodies = self.sent.entry(scope.clone()).or_default();
        if !bodies.contains(body) {
            bodies.push(body.clone());
        }
        self.keyed
            .get(&scope)
            .is_some_and(|(first, _)| first == body)
    }
}

/// Looks at an answer that a client received. `settled`: the request was answered before it went
/// out this time.
pub fn look(world: &World, call: &Call, answer: &Answer, settled: bool) {
    let value: Value = serde_json::from_str(&answer.body).unwrap_or(Value::Null);
    if answer.status >= 400 {
        problem(world, call, answer, &value);
    } else {
        money(world, &value);
    }
    if call.key.is_some() {
        keyed(world, call, answer, &value);
    }
    if settled && (400..500).contains(&answer.status) && answer.status != 402 {
        world.broken("I8", || {
            let (path, status) = (&call.path, answer.status);
            format!(
                "{path} was answered before, and now {status} {}",
                answer.body
            )
        });
    }
    if call.path == "/api/payments" && call.body.is_some() && answer.status < 300 {
        same_payment(world, &value);
    }
}

fn problem(world: &World, call: &Call, answer: &Answer, value: &Value) {
    let code = value["code"].as_str().unwrap_or_default();
    if holds_canary(&answer.body) {
        world.broken("I13", || {
            format!("{} was answered {}", call.path, answer.body)
        });
    }
    if answer.status == 500 || code.is_empty() || code == "INTERNAL" {
        world.broken("I12", || {
            format!(
                "{} {} was answered {} {}",
                call.method, call.path, answer.status, answer.body
            )
        });
    }
}

fn money(world: &World, value: &Value) {
    let listed = value["data"].as_array().into_iter().flatten();
    for item in listed.chain(std::iter::once(value)) {
        let kind = item["channel"].as_str().and_then(ChannelKind::parse);
        if let (Some(kind), Some(number)) = (kind, item["channelOrderNo"].as_str()) {
            payment_says(world, item, kind, number);
        }
        if let Some(number) = item["channelRefundNo"].as_str() {
            refund_says(world, item, number);
        }
    }
}

fn payment_says(world: &World, item: &Value, kind: ChannelKind, number: &str) {
    let status = item["status"].as_str().unwrap_or_default();
    let says_charged = matches!(
        status,
        "PAID" | "PARTLY_REFUNDED" | "REFUNDED" | "PAID_AFTER_CLOSE"
    );
    let book = world.book(kind);
    let charged = book
        .order(number)
        .is_some_and(|order| order.charge.is_some());
    drop(book);
    if says_charged && !charged {
        world.broken("I11", || {
            format!("{} was answered as {status}", item["paymentId"])
        });
    }
}

fn refund_says(world: &World, item: &Value, number: &str) {
    if item["status"] != "SUCCEEDED" {
        return;
    }
    let given = ChannelKind::ALL.into_iter().any(|kind| {
        let book = world.book(kind);
        let mut refunds = book.orders().flat_map(|(_, order)| &order.refunds);
        refunds.any(|refund| refund.number == number && refund.state == RefundState::Succeeded)
    });
    if !given {
        world.broken("I11", || {
            format!("refund {number} was answered as SUCCEEDED")
        });
    }
}

fn keyed(world: &World, call: &Call, answer: &Answer, value: &Value) {
    let (Some(key), Some(body)) = (&call.key, &call.body) else {
        return;
    };
    let scope = (call.path.clone(), key.clone());
    let mut answers = world.answers();
    if value["code"] == "IDEMPOTENCY_KEY_REUSED" {
        let others = answers.sent.get(&scope).map_or(0, Vec::len);
        drop(answers);
        if others < 2 {
            world.broken("I8", || {
                format!("key {key} came with one body and was called reused")
            });
        }
        return;
    }
    let is_final = answer.status < 300 || answer.status == 402;
    if !is_final {
        return;
    }
    let first = answers.keyed.get(&scope).cloned();
    let Some((first_body, first)) = first else {
        answers.keyed.insert(scope, (body.clone(), answer.clone()));
        return;
    };
    drop(answers);
    if first_body != *body {
        world.broken("I8", || format!("key {key} was answered for two bodies"));
    } else if first.status != answer.status || first.body != answer.body {
        world.broken("I8", || {
            let (a, b) = (&first.body, &answer.body);
            format!(
                "key {key} got {} {a}, then {} {b}",
                first.status, answer.status
            )
        });
    }
}

fn same_payment(world: &World, value: &Value) {
    let (Some(order), Some(payment)) = (value["orderId"].as_str(), value["paymentId"].as_str())
    else {
        return;
    };
    if value["attempt"] != 1 {
        return;
    }
    let mut answers = world.answers();
    let known = answers
        .orders
        .entry(order.to_owned())
        .or_insert_with(|| payment.to_owned());
    let same = known == payment;
    drop(answers);
    if !same {
        world.broken("I8", || {
            format!("order {order} was answered with two payments")
        });
    }
}
