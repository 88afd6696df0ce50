//! Clients and payers: each order has a plan drawn from the seed, and lives it whatever dies
//! around it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::world::{Post, World, code, is_success, text};
use e2e::Chance;

const PAUSE_BETWEEN_ORDERS: Duration = Duration::from_millis(300);
const PAUSE_BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// How long one order is cared for, also after the load has ended: pods take their time to return.
const LIFE: Duration = Duration::from_secs(75);
const CHANNELS: [&str; 2] = ["wechat", "alipay"];

/// What becomes of an order once the payer could pay it.
#[derive(Clone, Copy, Debug)]
enum Course {
    Pay,
    Leave,
    Close,
    /// The merchant closes while the payer pays.
    CloseAndPay,
    /// The merchant asks for another attempt although this one can still be paid.
    Switch,
}

/// What the merchant gives back.
#[derive(Clone, Copy, Debug)]
enum Giving {
    Nothing,
    Part,
    Parts,
    Whole,
    TooMuch,
    /// Two refunds of everything at once: one of them must be refused.
    TwoWholes,
}

struct Plan {
    order_id: String,
    channel: &'static str,
    amount_minor: i64,
    keyed: bool,
    /// How many times the same request is sent at once.
    copies: u64,
    course: Course,
    payer_waits: Duration,
    giving: Giving,
    /// Another attempt over the other channel once this one is closed.
    again: bool,
    /// The same key is used once more, for another body.
    misuses_key: bool,
    faults: &'static [&'static str],
}

impl Plan {
    fn draw(world: &World, seed: u64, number: u64) -> Self {
        let mut chance = Chance::new(seed, number);
        let course = match chance.within(0..100) {
            0..55 => Course::Pay,
            55..63 => Course::Leave,
            63..78 => Course::Close,
            78..94 => Course::CloseAndPay,
            _ => Course::Switch,
        };
        let giving = match chance.within(0..100) {
            0..45 => Giving::Nothing,
            45..60 => Giving::Part,
            60..72 => Giving::Parts,
            72..84 => Giving::Whole,
            84..91 => Giving::TooMuch,
            _ => Giving::TwoWholes,
        };
        // Never both: a charge that the channel hides from the query after a close, and tells
        // nobody of, is found by the bill alone.
        let faults: &[&[&str]] = match course {
            Course::Pay => &[&["missing-callback"], &["query-lag"], &[], &[], &[]],
            Course::Leave | Course::Switch => &[&[]],
            Course::Close | Course::CloseAndPay => &[
                &["paid-despite-close", "missing-callback"],
                &["paid-despite-close", "query-lag"],
                &["pay-after-close-race"],
                &[],
                &[],
            ],
        };
        Self {
            order_id: format!("{}-{number}", world.prefix),
            channel: chance.one_of(&CHANNELS),
            amount_minor: i64::try_from(chance.within(100..50_000)).unwrap_or(100),
            keyed: chance.percent(60),
            copies: if chance.percent(30) {
                chance.within(2..6)
            } else {
                1
            },
            course,
            payer_waits: Duration::from_millis(chance.within(0..3000)),
            giving,
            again: chance.percent(70),
            misuses_key: chance.percent(10),
            faults: chance.one_of(faults),
        }
    }

    fn key(&self, what: &str) -> Option<String> {
        self.keyed.then(|| format!("{}-{what}", self.order_id))
    }

    fn post(&self) -> Post {
        let body = json!({
            "orderId": self.order_id,
            "amount": decimal(self.amount_minor),
            "currency": "CNY",
            "userId": "USER-001",
            "channel": self.channel,
            "expiresInSeconds": 120,
        });
        Post {
            path: String::new(),
            body: body.to_string(),
            key: self.key("create"),
        }
    }
}

fn decimal(minor: i64) -> String {
    format!("{}.{:02}", minor / 100, minor % 100)
}

/// Places orders at a steady rate until the world's end, and waits for their lives to end. How
/// many there were.
pub(crate) async fn run(world: &Arc<World>, seed: u64) -> Result<u64> {
    let mut lives = JoinSet::new();
    let mut number = 0;
    while Instant::now() < world.ends {
        let life = Life {
            plan: Plan::draw(world, seed, number),
            world: world.clone(),
            deadline: Instant::now() + LIFE,
        };
        lives.spawn(async move { life.live().await });
        number += 1;
        tokio::time::sleep(PAUSE_BETWEEN_ORDERS).await;
    }
    while let Some(lived) = lives.join_next().await {
        lived?;
    }
    Ok(number)
}

struct Life {
    world: Arc<World>,
    plan: Plan,
    deadline: Instant,
}

impl Life {
    async fn live(&self) {
        let Some(placed) = self.place().await else {
            return;
        };
        let Some(payment) = self.payable(placed).await else {
            return;
        };
        self.arm(&payment).await;
        let id = text(&payment, "paymentId");
        match self.plan.course {
            Course::Leave => return,
            Course::Pay => self.pay_later(&payment).await,
            Course::Close => self.close(id).await,
            Course::CloseAndPay => {
                futures::join!(self.close(id), self.pay_later(&payment));
            }
            Course::Switch => {
                futures::join!(self.try_again(id), self.pay_later(&payment));
            }
        }
        let mut giver = None;
        if self.plan.again && matches!(self.plan.course, Course::Close | Course::CloseAndPay) {
            giver = self.try_again(id).await;
        }
        let giver = giver.as_ref().unwrap_or(&payment);
        self.give_back(text(giver, "paymentId")).await;
    }

    /// The same order, as often at once as the plan says, each until it is answered.
    async fn place(&self) -> Option<Value> {
        let post = self.plan.post();
        let copies = (0..self.plan.copies).map(|_| self.world.insist(&post, self.deadline));
        let answers: Vec<_> = join_all(copies).await.into_iter().flatten().collect();
        for answer in &answers {
            // A busy gateway may ask for patience; anything else of 4xx is a mistake.
            if !is_success(answer) && !matches!(answer.status, 402 | 429) {
                let (status, body) = (answer.status, answer.body());
                self.world
                    .breach(format!("{post:?} was refused: {status} {body}"));
            }
        }
        if self.plan.misuses_key {
            self.misuse(&post).await;
        }
        let placed = answers.iter().find(|answer| is_success(answer))?;
        Some(placed.body())
    }

    async fn misuse(&self, post: &Post) {
        let mut other: Value = serde_json::from_str(&post.body).unwrap_or_default();
        other["amount"] = "0.01".into();
        let other = Post {
            body: other.to_string(),
            ..post.clone()
        };
        let answer = self.world.insist(&other, self.deadline).await;
        // The first request may have got no answer, and then this one is the first.
        if answer.is_some_and(|answer| is_success(&answer)) && self.world.has_final_answer(post) {
            self.world
                .breach(format!("{other:?} was taken after {post:?}"));
        }
    }

    /// The payment once the payer has something to scan.
    async fn payable(&self, placed: Value) -> Option<Value> {
        let path = format!("/{}", text(&placed, "paymentId"));
        let mut payment = placed;
        while Instant::now() < self.deadline {
            if payment["action"]["url"].is_string() {
                return Some(payment);
            }
            tokio::time::sleep(PAUSE_BETWEEN_LOOKS).await;
            if let Ok(now) = self.world.api.get_path(&path).await {
                payment = now.body;
            }
        }
        None
    }

    async fn arm(&self, payment: &Value) {
        for name in self.plan.faults {
            let (channel, number) = (text(payment, "channel"), text(payment, "channelOrderNo"));
            let fault = json!({"name": name, "channel": channel, "outTradeNo": number});
            // Too many may be armed already.
            let _ = self.world.simulator.arm(&fault).await;
        }
    }

    async fn pay_later(&self, payment: &Value) {
        tokio::time::sleep(self.plan.payer_waits).await;
        let (channel, number) = (text(payment, "channel"), text(payment, "channelOrderNo"));
        // What is closed cannot be paid.
        let _ = self.world.simulator.pay(channel, number).await;
    }

    async fn close(&self, id: &str) {
        let post = Post {
            path: format!("/{id}/close"),
            body: String::new(),
            key: self.plan.key(&format!("close-{id}")),
        };
        self.world.insist(&post, self.deadline).await;
    }

    /// Another attempt: only where the first one surely charged nothing.
    async fn try_again(&self, id: &str) -> Option<Value> {
        let other = CHANNELS.iter().find(|name| **name != self.plan.channel)?;
        let body = json!({"channel": other, "expiresInSeconds": 120});
        let post = Post {
            path: format!("/{id}/attempts"),
            body: body.to_string(),
            key: self.plan.key(&format!("again-{id}")),
        };
        let answer = self.world.insist(&post, self.deadline).await?;
        if !is_success(&answer) {
            return None;
        }
        let payment = self.payable(answer.body()).await?;
        self.pay_later(&payment).await;
        Some(payment)
    }

    async fn give_back(&self, id: &str) {
        let amount = self.plan.amount_minor;
        match self.plan.giving {
            Giving::Nothing => {}
            Giving::Part => self.refund(id, "R1", amount / 3).await,
            Giving::Parts => {
                for (number, part) in [("R1", amount / 4), ("R2", amount / 2), ("R3", amount / 2)] {
                    self.refund(id, number, part).await;
                }
            }
            Giving::Whole => {
                // Sent twice: the number makes it one refund.
                futures::join!(self.refund(id, "R1", amount), self.refund(id, "R1", amount));
            }
            Giving::TooMuch => self.refund(id, "R1", amount + 1).await,
            Giving::TwoWholes => {
                futures::join!(self.refund(id, "R1", amount), self.refund(id, "R2", amount));
            }
        }
    }

    async fn refund(&self, id: &str, number: &str, minor: i64) {
        let body = json!({"refundNo": number, "amount": decimal(minor)});
        let post = Post {
            path: format!("/{id}/refunds"),
            body: body.to_string(),
            key: self.plan.key(&format!("refund-{number}")),
        };
        // The payer has paid, and perhaps nobody here knows it yet.
        while let Some(answer) = self.world.insist(&post, self.deadline).await {
            if is_success(&answer) && minor > self.plan.amount_minor {
                let body = answer.body();
                self.world.breach(format!("{post:?} was taken: {body}"));
            }
            if code(&answer) != "PAYMENT_NOT_CHARGED" || Instant::now() >= self.deadline {
                return;
            }
            tokio::time::sleep(PAUSE_BETWEEN_LOOKS).await;
        }
    }
}
