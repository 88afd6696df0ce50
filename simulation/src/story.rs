//! One seed, told as a person would tell it.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

use crate::run::Outcome;

/// The story of a seed, line by line, with its verdict.
pub fn tell(outcome: &Outcome) -> String {
    let mut text = String::new();
    for (number, line) in outcome.story.iter().enumerate() {
        let (time, who, what) = (clock(outcome.beginning, line.at_ms), &line.who, &line.what);
        let _ = writeln!(text, "{:>4}  {time}  {who:<11} {what}", number + 1);
    }
    let _ = writeln!(text, "\ntrace {:016x}", outcome.trace_hash);
    if outcome.violations.is_empty() {
        let _ = writeln!(text, "verdict: all invariants hold");
    }
    for violation in &outcome.violations {
        let (id, sentence, what) = (violation.invariant, violation.sentence(), &violation.what);
        let _ = writeln!(text, "verdict: {id} is broken ({sentence}): {what}");
    }
    text
}

/// The time of day in Beijing, with the day's number once the first is over.
fn clock(beginning: Timestamp, at_ms: u64) -> String {
    let elapsed = std::time::Duration::from_millis(at_ms);
    let Ok(at) = beginning.checked_add(elapsed) else {
        return String::new();
    };
    let beijing = TimeZone::fixed(Offset::constant(8));
    let (at, first) = (at.to_zoned(beijing.clone()), beginning.to_zoned(beijing));
    let time = at.strftime("%H:%M:%S%.3f");
    match at.date().day() - first.date().day() {
        0 => format!("{time}   "),
        days => format!("{time} +{days}"),
    }
}
