//! The judge: the channels' own books against what the API says of the same orders. It sees what
//! a merchant sees, and nothing else.
//!
//! The transition table it holds the histories against is written down here a second time.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use e2e::Charge;
use e2e::scene::CHANNELS;
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::Value;

use crate::quiet;
use crate::world::{World, text};

const AT_ONCE: usize = 8;
const CHARGED: [&str; 3] = ["PAID", "PARTLY_REFUNDED", "REFUNDED"];

/// Every move that a payment may make.
const MOVES: [(&str, &str); 20] = [
    ("SUBMITTING", "PENDING"),
    ("SUBMITTING", "UNKNOWN"),
    ("SUBMITTING", "PAID"),
    ("SUBMITTING", "FAILED"),
    ("SUBMITTING", "CLOSED"),
    ("UNKNOWN", "PENDING"),
    ("UNKNOWN", "PAID"),
    ("UNKNOWN", "FAILED"),
    ("UNKNOWN", "CLOSED"),
    ("PENDING", "PAID"),
    ("PENDING", "CLOSED"),
    ("CLOSED", "PAID_AFTER_CLOSE"),
    ("FAILED", "PAID_AFTER_CLOSE"),
    ("PAID_AFTER_CLOSE", "REFUNDED"),
    ("PAID", "PARTLY_REFUNDED"),
    ("PAID", "REFUNDED"),
    ("PARTLY_REFUNDED", "REFUNDED"),
    // A refund that the channel undid.
    ("REFUNDED", "PARTLY_REFUNDED"),
    ("REFUNDED", "PAID"),
    ("PARTLY_REFUNDED", "PAID"),
];

/// Every move that a refund may make.
const REFUND_MOVES: [(&str, &str); 14] = [
    ("CREATED", "SUBMITTING"),
    ("SUBMITTING", "PENDING"),
    ("SUBMITTING", "UNKNOWN"),
    ("SUBMITTING", "SUCCEEDED"),
    ("SUBMITTING", "FAILED"),
    ("PENDING", "SUCCEEDED"),
    ("PENDING", "FAILED"),
    ("UNKNOWN", "SUBMITTING"),
    ("UNKNOWN", "PENDING"),
    ("UNKNOWN", "SUCCEEDED"),
    ("UNKNOWN", "FAILED"),
    ("FAILED", "SUCCEEDED"),
    ("SUCCEEDED", "REVERSED"),
    ("CREATED", "SUCCEEDED"),
];

struct Payment {
    /// As the API shows it.
    shown: Value,
    events: Vec<Value>,
    refunds: Vec<Value>,
}

impl Payment {
    fn text(&self, key: &str) -> &str {
        text(&self.shown, key)
    }

    fn is_charged(&self) -> bool {
        CHARGED.contains(&self.text("status"))
    }

    /// The charge came after it had been given up.
    fn was_late(&self) -> bool {
        let late = |event: &Value| text(event, "to") == "PAID_AFTER_CLOSE";
        self.events.iter().any(late)
    }

    fn line(&self) -> String {
        format!(
            "{} {} {} {} {}",
            self.text("paymentId"),
            self.text("channel"),
            self.text("channelOrderNo"),
            self.text("amount"),
            self.text("status")
        )
    }
}

/// What the channels' books held before the run.
pub(crate) type Known = BTreeSet<String>;

pub(crate) async fn known(world: &World) -> Result<Known> {
    let mut known = Known::new();
    for channel in CHANNELS {
        let book = world.simulator.book(channel).await?;
        known.extend(book.into_iter().map(|charge| charge.out_trade_no));
    }
    Ok(known)
}

/// One row of the verdict.
pub(crate) struct Finding {
    pub(crate) name: &'static str,
    pub(crate) looked_at: usize,
    pub(crate) breaches: Vec<String>,
}

pub(crate) struct Case {
    payments: Vec<Payment>,
    charges: Vec<(&'static str, Charge)>,
    given: BTreeMap<(&'static str, String), Value>,
}

impl Case {
    pub(crate) async fn read(world: &World, known: &Known) -> Result<Self> {
        let (mut charges, mut given) = (Vec::new(), BTreeMap::new());
        for channel in CHANNELS {
            let book = world.simulator.book(channel).await?;
            let new = book
                .into_iter()
                .filter(|charge| !known.contains(&charge.out_trade_no));
            charges.extend(new.map(|charge| (channel, charge)));
            for refund in world.simulator.refunds(channel).await? {
                if !known.contains(text(&refund, "outTradeNo")) {
                    given.insert((channel, text(&refund, "outRefundNo").to_owned()), refund);
                }
            }
        }
        let payments = futures::stream::iter(quiet::ours(world).await?)
            .map(async |payment| read_payment(world, payment).await)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(Self {
            payments,
            charges,
            given,
        })
    }

    pub(crate) fn findings(&self, world: &World, open: Vec<String>) -> Vec<Finding> {
        let finding = |name, looked_at, breaches| Finding {
            name,
            looked_at,
            breaches,
        };
        let refunds: usize = self.payments.iter().map(|p| p.refunds.len()).sum();
        vec![
            finding("orders are not lost", world.told().len(), self.lost(world)),
            finding("I1  charged at most once", self.charges.len(), self.twice()),
            finding("I2  both books agree", self.charges.len(), self.books()),
            finding(
                "I3  evidence of each charge",
                self.payments.len(),
                self.proofs(),
            ),
            finding(
                "I4  histories",
                self.payments.len() + refunds,
                self.histories(),
            ),
            finding("I6  refunds", refunds + self.given.len(), self.refunds()),
            finding(
                "I8  one answer for each key",
                world.keyed().len(),
                world.breaches(),
            ),
            finding("I14 nothing is left open", self.payments.len(), open),
        ]
    }

    /// Clients were told of payments that are there.
    fn lost(&self, world: &World) -> Vec<String> {
        let ours: BTreeSet<&str> = self.payments.iter().map(|p| p.text("paymentId")).collect();
        let told = world.told();
        let lost = told
            .iter()
            .flat_map(|(order, ids)| ids.iter().map(move |id| (order, id)))
            .filter(|(_, id)| !ours.contains(id.as_str()));
        lost.map(|(order, id)| format!("order {order}: {id} is lost"))
            .collect()
    }

    /// Of all attempts of an order one may keep its money; what came too late went back. And the
    /// channel was asked for nothing that is not ours.
    fn twice(&self) -> Vec<String> {
        let mut kept: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for payment in &self.payments {
            if payment.is_charged() && !payment.was_late() {
                let of_order = kept.entry(payment.text("orderId")).or_default();
                of_order.push(payment.line());
            }
        }
        let ours = self.by_number();
        let strange = self.charges.iter().filter(|(channel, charge)| {
            !ours.contains_key(&(*channel, charge.out_trade_no.as_str()))
        });
        let twice = kept.into_iter().filter(|(_, payments)| payments.len() > 1);
        twice
            .map(|(order, payments)| format!("order {order} was charged twice: {payments:?}"))
            .chain(strange.map(|(channel, charge)| format!("{channel}: {charge:?} is not ours")))
            .collect()
    }

    fn by_number(&self) -> BTreeMap<(&str, &str), &Payment> {
        let all = self.payments.iter();
        all.map(|payment| {
            let number = (payment.text("channel"), payment.text("channelOrderNo"));
            (number, payment)
        })
        .collect()
    }

    fn books(&self) -> Vec<String> {
        let mut ours = self.by_number();
        let mut found = Vec::new();
        for (channel, charge) in &self.charges {
            let Some(payment) = ours.remove(&(*channel, charge.out_trade_no.as_str())) else {
                continue;
            };
            let paid = charge.state == "PAID";
            let same_amount = minor(payment.text("amount")) == Some(charge.amount_minor);
            if paid != payment.is_charged() || !same_amount {
                found.push(format!(
                    "the book has {charge:?}, we have {}",
                    payment.line()
                ));
            }
        }
        let unknown = ours.values().filter(|payment| payment.is_charged());
        found.extend(unknown.map(|payment| format!("no charge for {}", payment.line())));
        found
    }

    fn proofs(&self) -> Vec<String> {
        let proves = |event: &&Value| {
            ["query", "callback", "bill"].contains(&text(event, "source"))
                && text(event, "observation") == "paid"
                && text(event, "decision") == "moved"
        };
        let charged = self.payments.iter().filter(|payment| payment.is_charged());
        charged
            .filter_map(|payment| {
                let proofs = payment.events.iter().filter(proves).count();
                (proofs != 1).then(|| format!("{proofs} proofs of {}", payment.line()))
            })
            .collect()
    }

    fn histories(&self) -> Vec<String> {
        let mut found = Vec::new();
        for payment in &self.payments {
            let own = |number: &Value| {
                let of = payment.events.iter();
                of.filter(|event| event["refundNo"] == *number)
                    .collect::<Vec<_>>()
            };
            let events = own(&Value::Null);
            if let Err(why) = walk(&events, &MOVES, &["SUBMITTING"], payment.text("status")) {
                found.push(format!("{why}: {} {events:?}", payment.line()));
            }
            for refund in &payment.refunds {
                let events = own(&refund["refundNo"]);
                let starts = ["CREATED", "SUBMITTING"];
                if let Err(why) = walk(&events, &REFUND_MOVES, &starts, text(refund, "status")) {
                    found.push(format!("{why}: {refund} {events:?}"));
                }
            }
        }
        found
    }

    /// What was given back is the same on both sides, and never more than was paid.
    fn refunds(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut book: BTreeMap<(&str, &str), &Value> = self
            .given
            .iter()
            .map(|((channel, number), refund)| ((*channel, number.as_str()), refund))
            .collect();
        for payment in &self.payments {
            let mut given = 0;
            for refund in &payment.refunds {
                let number = (payment.text("channel"), text(refund, "channelRefundNo"));
                let theirs = book.remove(&number);
                let ours = minor(text(refund, "amount")).unwrap_or_default();
                let succeeded = text(refund, "status") == "SUCCEEDED";
                let at_channel = theirs.is_some_and(|refund| text(refund, "state") == "SUCCESS");
                let same = theirs.is_none_or(|theirs| theirs["amountMinor"] == ours);
                if succeeded != at_channel || !same {
                    found.push(format!("the book has {theirs:?}, we have {refund}"));
                }
                given += if succeeded { ours } else { 0 };
            }
            let amount = minor(payment.text("amount")).unwrap_or_default();
            let told = minor(payment.text("refundedAmount"));
            let state = match payment.text("status") {
                "REFUNDED" => given == amount,
                "PARTLY_REFUNDED" => given > 0 && given < amount,
                _ => given == 0,
            };
            if told != Some(given) || !state {
                found.push(format!("given back {given}: {}", payment.shown));
            }
        }
        found.extend(book.values().map(|refund| format!("not ours: {refund}")));
        found
    }

    /// One line of what the run was.
    pub(crate) fn summary(&self) -> String {
        let mut states: BTreeMap<&str, usize> = BTreeMap::new();
        for payment in &self.payments {
            *states.entry(payment.text("status")).or_default() += 1;
        }
        let later = self.payments.iter().filter(|p| p.shown["attempt"] != 1);
        format!(
            "payments {} {states:?}, attempts after the first {}, paid after close {}; charges {}; \
             refunds {}",
            self.payments.len(),
            later.count(),
            self.payments
                .iter()
                .filter(|payment| payment.was_late())
                .count(),
            self.charges
                .iter()
                .filter(|(_, charge)| charge.state == "PAID")
                .count(),
            self.payments
                .iter()
                .map(|payment| payment.refunds.len())
                .sum::<usize>(),
        )
    }
}

async fn read_payment(world: &World, payment: Value) -> Result<Payment> {
    let id = text(&payment, "paymentId").to_owned();
    let read = async {
        let shown = world.api.get_path(&format!("/{id}")).await?.body;
        let events = world.api.all(&format!("/{id}/events")).await?;
        let refunds = world.api.get_path(&format!("/{id}/refunds")).await?;
        let refunds = refunds.body["data"].as_array().cloned();
        anyhow::Ok(Payment {
            shown,
            events,
            refunds: refunds.context("a list without data")?,
        })
    };
    read.await.with_context(|| format!("cannot read {id}"))
}

/// An exact decimal with two places as minor units.
fn minor(decimal: &str) -> Option<i64> {
    let (whole, part) = decimal.split_once('.').unwrap_or((decimal, "00"));
    let part = format!("{part:0<2}");
    Some(whole.parse::<i64>().ok()? * 100 + part.parse::<i64>().ok()?)
}

/// Follows a history; why it is none.
fn walk(
    events: &[&Value],
    moves: &[(&str, &str)],
    starts: &[&str],
    end: &str,
) -> Result<(), String> {
    let mut at: Option<&str> = None;
    for event in events {
        let (from, to) = (event["from"].as_str(), text(event, "to"));
        if from != at {
            return Err(format!("an event begins at {from:?} instead of {at:?}"));
        }
        let allowed = match from {
            None => starts.contains(&to),
            Some(from) if text(event, "decision") == "moved" => moves.contains(&(from, to)),
            Some(from) => from == to,
        };
        if !allowed {
            return Err(format!("{from:?} → {to}"));
        }
        at = Some(to);
    }
    if at == Some(end) {
        Ok(())
    } else {
        Err(format!("the history ends at {at:?}, the status is {end}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(from: Option<&str>, to: &str, decision: &str) -> Value {
        json!({"from": from, "to": to, "decision": decision})
    }

    fn judged(events: &[Value], end: &str) -> Result<(), String> {
        let events: Vec<&Value> = events.iter().collect();
        walk(&events, &MOVES, &["SUBMITTING"], end)
    }

    #[test]
    fn a_history_is_followed_to_its_end() {
        let mut events = vec![
            event(None, "SUBMITTING", "moved"),
            event(Some("SUBMITTING"), "PENDING", "moved"),
            event(Some("PENDING"), "PENDING", "amount-differs"),
            event(Some("PENDING"), "PAID", "moved"),
        ];
        assert_eq!(judged(&events, "PAID"), Ok(()));
        assert!(judged(&events, "CLOSED").is_err());
        events.push(event(Some("PAID"), "CLOSED", "moved"));
        assert!(judged(&events, "CLOSED").is_err());
        events.remove(1);
        assert!(judged(&events, "CLOSED").is_err());
    }

    #[test]
    fn amounts_are_read_exactly() {
        let read = ["99.99", "5.00", "5", "0.1", "x"].map(minor);
        assert_eq!(read, [Some(9999), Some(500), Some(500), Some(10), None]);
    }
}
