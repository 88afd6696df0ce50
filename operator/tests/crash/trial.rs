//! What is done to one operator while a scenario runs, and how it is spelt.

use std::{fmt, str::FromStr};

use payment_operator::kinds::KINDS;

use crate::{operator::Point, stale::Staleness};

/// One way to make life hard.
#[derive(Clone, Debug)]
pub enum Trial {
    /// Requests fail: of the first operator, of the one that replaces it, and so on.
    Crash(Vec<Point>),
    /// The watch of a kind, as addresses spell it, shows the past.
    Stale(Staleness, &'static str),
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crash(points) => {
                let points: Vec<String> = points
                    .iter()
                    .map(|(number, fault)| format!("{number}:{fault}"))
                    .collect();
                f.write_str(&points.join(","))
            }
            Self::Stale(way, plural) => write!(f, "{way}:{plural}"),
        }
    }
}

impl FromStr for Trial {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = || format!("{text}: expected request:fault or late:secrets");
        let (first, second) = text.split_once(':').ok_or_else(expected)?;
        if let Ok(way) = first.parse() {
            let plural = plurals().find(|plural| *plural == second);
            return Ok(Self::Stale(way, plural.ok_or_else(expected)?));
        }
        let points = text.split(',').map(|point| {
            let (number, fault) = point.split_once(':').ok_or_else(expected)?;
            Ok((number.parse().map_err(|_| expected())?, fault.parse()?))
        });
        points.collect::<Result<_, String>>().map(Self::Crash)
    }
}

/// The kinds whose watches can show the past. Not the PaymentSystem itself: an operator that sees
/// an older specification cannot know that there is a newer one.
pub fn plurals() -> impl Iterator<Item = &'static str> {
    let ours = KINDS.iter().filter(|entry| !entry.optional);
    ours.map(|entry| entry.plural)
        .filter(|plural| *plural != "pods")
}
