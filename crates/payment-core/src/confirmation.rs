//! What an order service's answer means for a payment that was charged, and what is done next.
//!
//! Guarantees: only a definite refusal, or the last of many tries without an answer, gives money
//! back; whatever is not understood is tried again.
//!
//! Deliberately not here: the global transaction itself, HTTP, time.

use std::fmt;
use std::time::Duration;

/// Why an order was not confirmed. The names are recorded and told: add, never reword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The order service has less than the order needs.
    InsufficientStock,
    /// The order cannot be paid by this payment: it is paid already, or of another amount.
    OrderRefused,
    /// The order service never gave a clear answer.
    NoAnswer,
    /// All the money was asked back before the order was confirmed.
    Refunded,
}

impl Refusal {
    pub const ALL: [Self; 4] = [
        Self::InsufficientStock,
        Self::OrderRefused,
        Self::NoAnswer,
        Self::Refunded,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InsufficientStock => "INSUFFICIENT_STOCK",
            Self::OrderRefused => "ORDER_REFUSED",
            Self::NoAnswer => "NO_ANSWER",
            Self::Refunded => "REFUNDED",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What the order service said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Its branch is done: the order is paid if the global transaction commits.
    Paid,
    /// It will never be paid by this payment.
    Refused(Refusal),
    /// Anything else, also no answer at all.
    Unclear,
}

/// What an answer means. `code` is the `code` of its problem (RFC 9457), if it is one.
pub fn meaning(status: u16, code: Option<&str>) -> Answer {
    let definite = [Refusal::InsufficientStock, Refusal::OrderRefused];
    match (status, code) {
        (200, _) => Answer::Paid,
        (409, Some(code)) => definite
            .into_iter()
            .find(|refusal| refusal.as_str() == code)
            .map_or(Answer::Unclear, Answer::Refused),
        _ => Answer::Unclear,
    }
}

/// What is done after a try that did not confirm the payment and was rolled back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Refuse(Refusal),
    TryAgain,
}

/// `tries` counts this one. Only tries that reached for the order service are weighed here: while
/// the coordinator is away nothing is given up.
pub fn after_try(answer: Answer, tries: u32, tries_max: u32) -> Next {
    match answer {
        Answer::Refused(refusal) => Next::Refuse(refusal),
        Answer::Unclear if tries >= tries_max => Next::Refuse(Refusal::NoAnswer),
        Answer::Unclear | Answer::Paid => Next::TryAgain,
    }
}

/// Pauses after the first, second, … try; afterwards the last one each time.
const LADDER_SECONDS: [u64; 8] = [1, 2, 5, 10, 30, 60, 120, 300];

/// The pause after try number `tries` (from 1), stretched by up to a half so that many payments
/// of one outage do not come back together. `jitter` is any number, e.g. random.
pub fn pause_after(tries: u32, jitter: u32) -> Duration {
    let index = usize::try_from(tries.saturating_sub(1)).unwrap_or(usize::MAX);
    let last = LADDER_SECONDS[LADDER_SECONDS.len() - 1];
    let seconds = LADDER_SECONDS.get(index).copied().unwrap_or(last);
    let stretch_milliseconds = seconds * 500 * u64::from(jitter % 1000) / 1000;
    Duration::from_millis(seconds * 1000 + stretch_milliseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_200_is_paid_and_only_named_conflicts_are_refusals() {
        assert_eq!(meaning(200, None), Answer::Paid);
        let stock = Answer::Refused(Refusal::InsufficientStock);
        assert_eq!(meaning(409, Some("INSUFFICIENT_STOCK")), stock);
        let order = Answer::Refused(Refusal::OrderRefused);
        assert_eq!(meaning(409, Some("ORDER_REFUSED")), order);
        let unclear = [
            (201, None),
            (202, None),
            (302, None),
            (400, Some("ORDER_REFUSED")),
            (404, Some("INSUFFICIENT_STOCK")),
            (409, None),
            (409, Some("NO_ANSWER")),
            (409, Some("REFUNDED")),
            (409, Some("order_refused")),
            (500, None),
            (503, Some("ORDER_BUSY")),
        ];
        for (status, code) in unclear {
            assert_eq!(meaning(status, code), Answer::Unclear, "{status} {code:?}");
        }
    }

    #[test]
    fn what_is_unclear_is_tried_again_until_the_last_try() {
        let next = |tries| after_try(Answer::Unclear, tries, 3);
        assert_eq!(
            [next(1), next(2)],
            [Next::TryAgain, Next::TryAgain],
            "not yet"
        );
        assert_eq!(next(3), Next::Refuse(Refusal::NoAnswer));
        for refusal in Refusal::ALL {
            let answer = Answer::Refused(refusal);
            assert_eq!(after_try(answer, 1, 3), Next::Refuse(refusal));
        }
    }

    #[test]
    fn pauses_grow_to_five_minutes_and_stay_there() {
        let pauses: Vec<u64> = (0..11).map(|n| pause_after(n, 0).as_secs()).collect();
        assert_eq!(pauses, [1, 1, 2, 5, 10, 30, 60, 120, 300, 300, 300]);
        assert_eq!(pause_after(u32::MAX, 0).as_secs(), 300);
        assert!(pause_after(1, 999) < Duration::from_millis(1500));
    }
}
