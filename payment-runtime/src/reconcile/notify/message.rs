//! What a message says.
//!
//! Guarantees: below 20 kB whatever it tells of; counts and sums are of everything, examples are
//! as many as fit.

use jiff::Timestamp;
use jiff::civil::Date;
use payment_core::{ChannelKind, Currency, Money};
use serde::Serialize;
use serde_json::{Value, json};

use crate::reconcile::books::BillRefused;
use crate::reconcile::shown::DifferenceLine;

/// Standard Webhooks: payloads stay below 20 kB.
const BODY_BYTES_MAX: usize = 20_000;
/// Differences that a message shows.
pub const EXAMPLES_MAX: usize = 50;
/// Groups that a message counts, the largest first.
pub const GROUPS_MAX: usize = 50;
/// Where people look at differences.
const PAGE: &str = "/reconciliation/differences";

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Differences that were not there before.
    Found,
    Resolved,
    BillRefused,
    LedgerViolated,
}

impl News {
    /// The `type` of the message. Names are part of the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Found => "reconciliation.differences.found",
            Self::Resolved => "reconciliation.differences.resolved",
            Self::BillRefused => "reconciliation.bill.refused",
            Self::LedgerViolated => "ledger.violated",
        }
    }
}

/// What every message says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub message_id: String,
    pub news: News,
    /// The payment system, `namespace/name`.
    pub system: String,
    /// The run that it tells of, if it is one.
    pub run_id: Option<u64>,
    pub at: Timestamp,
}

/// Differences of one class, channel, day and currency, counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    pub class: String,
    pub channel: String,
    pub day: Date,
    pub currency: Currency,
    pub count: u64,
    pub minor: i64,
}

/// A difference, as far as a message shows it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Example {
    id: u64,
    class: &'static str,
    channel: &'static str,
    day: String,
    number: String,
    payment_id: Option<String>,
    our_amount: Option<String>,
    channel_amount: Option<String>,
    currency: Option<&'static str>,
    state: &'static str,
    resolution: Option<String>,
}

impl From<DifferenceLine> for Example {
    fn from(line: DifferenceLine) -> Self {
        Self {
            id: line.id,
            class: line.class,
            channel: line.channel,
            day: line.day,
            number: line.number,
            payment_id: line.payment_id,
            our_amount: line.our_amount,
            channel_amount: line.channel_amount,
            currency: line.currency,
            state: line.state.as_str(),
            resolution: line.resolution,
        }
    }
}

/// The text of a message about differences. `total`: how many it tells of.
pub fn body(head: &Head, total: u64, counted: &[Counted], examples: Vec<Example>) -> String {
    let groups: Vec<Value> = counted.iter().take(GROUPS_MAX).map(group).collect();
    let state = match head.news {
        News::Resolved => "resolved",
        _ => "open",
    };
    let page = format!("{PAGE}?state={state}{}", of_one_day(counted));
    let mut shown = examples;
    shown.truncate(EXAMPLES_MAX);
    loop {
        let text = whole(
            head,
            &json!({
                "system": head.system, "run": head.run_id, "count": total, "groups": groups,
                "examples": shown, "page": page,
            }),
        );
        if text.len() < BODY_BYTES_MAX || shown.is_empty() {
            return text;
        }
        shown.pop();
    }
}

/// The rest of the page's address where everything is of one channel and day.
fn of_one_day(counted: &[Counted]) -> String {
    let Some(first) = counted.first() else {
        return String::new();
    };
    let same = |other: &Counted| (&other.channel, other.day) == (&first.channel, first.day);
    if counted.iter().all(same) {
        format!("&channel={}&day={}", first.channel, first.day)
    } else {
        String::new()
    }
}

fn group(counted: &Counted) -> Value {
    let sum = Money::new(counted.minor, counted.currency);
    json!({
        "class": counted.class, "channel": counted.channel, "day": counted.day.to_string(),
        "count": counted.count, "amount": sum.to_decimal(), "amountMinor": counted.minor,
        "currency": counted.currency.code(),
    })
}

/// The text of a message about a bill that was not accepted.
pub fn refusal(head: &Head, channel: ChannelKind, day: Date, refused: &BillRefused) -> String {
    let detail: String = refused.detail.chars().take(1_000).collect();
    whole(
        head,
        &json!({
            "system": head.system, "channel": channel.as_str(), "day": day.to_string(),
            "reason": refused.reason, "detail": detail, "page": "/reconciliation",
        }),
    )
}

/// The text of a message about a ledger that is not sound.
pub(super) fn ledger(head: &Head, violations: u64, examples: Vec<String>) -> String {
    let short = |text: String| text.chars().take(200).collect::<String>();
    let examples: Vec<String> = examples.into_iter().take(20).map(short).collect();
    whole(
        head,
        &json!({
            "system": head.system, "violations": violations, "examples": examples,
            "page": "/reconciliation",
        }),
    )
}

fn whole(head: &Head, data: &Value) -> String {
    json!({"type": head.news.as_str(), "timestamp": head.at.to_string(), "data": data}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_message_stays_below_its_bound() {
        let head = Head {
            message_id: "msg_1".to_owned(),
            news: News::Found,
            system: format!("{}/{}", "n".repeat(63), "s".repeat(63)),
            run_id: Some(u64::MAX),
            at: Timestamp::MAX,
        };
        let day: Date = "2026-11-22".parse().unwrap();
        let counted = Counted {
            class: "refund-missing-at-channel".to_owned(),
            channel: "wechat".to_owned(),
            day,
            currency: Currency::CNY,
            count: u64::MAX,
            minor: i64::MIN,
        };
        let example = Example {
            id: u64::MAX,
            class: "refund-missing-at-channel",
            channel: "wechat",
            day: day.to_string(),
            // Three bytes each.
            number: "号".repeat(64),
            payment_id: Some("p".repeat(40)),
            our_amount: Some("92233720368547758.07".to_owned()),
            channel_amount: Some("92233720368547758.07".to_owned()),
            currency: Some("CNY"),
            state: "resolved",
            resolution: Some("written-off".to_owned()),
        };
        let many = vec![counted.clone(); 400];
        let text = body(&head, u64::MAX, &many, vec![example.clone(); 400]);
        assert!(text.len() < BODY_BYTES_MAX, "{}", text.len());
        let one: Value = serde_json::from_str(&body(&head, 1, &[counted], vec![example])).unwrap();
        assert_eq!(one["data"]["examples"].as_array().unwrap().len(), 1);
        let page = &one["data"]["page"];
        let expected = "/reconciliation/differences?state=open&channel=wechat&day=2026-11-22";
        assert_eq!(page, expected);
        let refused = BillRefused {
            reason: "hash".to_owned(),
            detail: "号".repeat(5_000),
        };
        let text = refusal(&head, ChannelKind::Wechat, day, &refused);
        assert!(text.len() < BODY_BYTES_MAX, "{}", text.len());
        let text = ledger(&head, 1, vec!["号".repeat(5_000); 100]);
        assert!(text.len() < BODY_BYTES_MAX, "{}", text.len());
    }
}
