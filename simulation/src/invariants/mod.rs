//! What must hold, whatever happens: each invariant with its id and a sentence.
//!
//! Three kinds of checks use them: at every commit ([`commits`]), at every answer ([`answers`])
//! and when a world has come to rest ([`ending`]).

pub mod answers;
pub mod commits;
pub mod ending;
mod ledger;
pub mod moves;
pub mod reconciling;

/// Every invariant.
pub const INVARIANTS: [(&str, &str); 24] = [
    (
        "I1",
        "an order is charged at most once, except where its channel had confirmed the close",
    ),
    (
        "I2",
        "every charge ends as PAID or given back, never as FAILED or CLOSED and silent",
    ),
    (
        "I3",
        "nothing is PAID or SUCCEEDED that the channel's book does not show",
    ),
    (
        "I4",
        "events fold to the row, and states move only along the table",
    ),
    (
        "I5",
        "a payment is given up only when its channel can no longer charge it",
    ),
    (
        "I6",
        "refunds under way and done never exceed what was paid",
    ),
    (
        "I7",
        "an order is closed here only after a query that came after the channel's close",
    ),
    (
        "I8",
        "one key and body, one answer; another body is refused; a repeat is the same payment",
    ),
    (
        "I9",
        "every refund in the channel's book is one of ours, and both agree about it",
    ),
    (
        "I10",
        "another attempt begins only after the one before is proven not to be charged",
    ),
    (
        "I11",
        "an answer says PAID or SUCCEEDED only of money that moved",
    ),
    (
        "I12",
        "no request is answered with a panic or an internal error",
    ),
    (
        "I13",
        "no secret stands in a log line, an event or a problem",
    ),
    (
        "I14",
        "once nothing goes wrong any more, everything comes to an end within the bound",
    ),
    ("I15", "one order and attempt is one payment"),
    ("IA", "a callback that was acknowledged is in the inbox"),
    (
        "IB",
        "every slip of a bill that has not healed is listed under its class, and nothing else is",
    ),
    ("IC", "only genuine callbacks are acknowledged"),
    (
        "IE",
        "a correction rests on the channel's fresh word, happens once, and keeps within its budget",
    ),
    (
        "II",
        "comparing the same days once more changes nothing: same results, no entry, no trail",
    ),
    (
        "IL",
        "the ledger sums to zero at every commit, folds to each payment, and ends as the channels' books",
    ),
    (
        "IO",
        "an order is paid by one payment that was not given up, and so says the ledger",
    ),
    (
        "IR",
        "a number at a channel never comes again with other contents",
    ),
    ("IW", "a bill counts whole or not at all"),
];

/// An invariant that did not hold.
#[derive(Clone, Debug)]
pub struct Violation {
    pub invariant: &'static str,
    pub what: String,
}

impl Violation {
    pub fn sentence(&self) -> &'static str {
        let found = INVARIANTS.iter().find(|(id, _)| *id == self.invariant);
        found.map_or("", |(_, sentence)| sentence)
    }
}

/// What a world was found guilty of.
#[derive(Debug, Default)]
pub struct Verdict {
    violations: Vec<Violation>,
}

/// More of them say nothing more.
const VIOLATIONS_MAX: usize = 20;

impl Verdict {
    pub fn add(&mut self, invariant: &'static str, what: String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(Violation { invariant, what });
        }
    }

    pub fn take(&mut self) -> Vec<Violation> {
        std::mem::take(&mut self.violations)
    }
}

/// All secrets of a world have this in them.
pub const CANARY: &str = "canary";
/// A client's address cannot be spelt so; this one is no other's.
pub const CANARY_IP: &str = "203.0.113.77";

pub fn holds_canary(text: &str) -> bool {
    text.contains(CANARY) || text.contains(CANARY_IP)
}
