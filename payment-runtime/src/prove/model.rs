//! What a proof says, in the words of whoever reads it.

use std::collections::BTreeMap;

use payment_core::{Currency, Money};
use serde::Serialize;

/// Items of an equation that are kept; all of them are summed.
pub(super) const ITEMS_MAX: u32 = 100_000;
/// Items of an equation that are shown.
const SHOWN_MAX: usize = 1_000;

/// One side of an equation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Side {
    pub what: &'static str,
    pub rows: u64,
    #[serde(serialize_with = "text")]
    pub minor: i128,
    pub amount: String,
}

/// What stands between two sides: adding `minor` to the left side leads to the right one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// The payment, order, refund, row or entry.
    pub about: String,
    #[serde(serialize_with = "text")]
    pub minor: i128,
    pub amount: String,
    /// The difference that explains it, where one has to.
    pub difference: Option<u64>,
    pub class: Option<String>,
    pub state: Option<String>,
    pub explained: bool,
    /// Why it stands there, or what is missing for an explanation.
    pub reason: String,
}

/// `left + Σ items = right`, each item with its reason.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Equation {
    /// A stable word.
    pub name: &'static str,
    pub currency: String,
    pub left: Side,
    pub right: Side,
    /// How many items there are; `items` has the first thousand, those without a reason first.
    pub item_count: u64,
    #[serde(serialize_with = "text")]
    pub items_minor: i128,
    pub items: Vec<Item>,
    pub unexplained_count: u64,
    /// `right − left − Σ items`.
    #[serde(serialize_with = "text")]
    pub residual_minor: i128,
    pub residual: String,
    pub holds: bool,
}

/// The bill that a day is held against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BillHead {
    pub id: u64,
    /// SHA-256 of the file as it came; `empty`: the channel says there was no business.
    pub digest: String,
}

/// What the day's differences say, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// By class and state.
    pub counts: BTreeMap<String, u64>,
    pub count: u64,
    pub unresolved: u64,
    /// Differences that nobody gave a reason for, by number; the first hundred.
    pub without_reason: Vec<u64>,
    pub without_reason_count: u64,
    /// Money in suspense for the day's differences: difference, minor units, amount; the first
    /// thousand.
    pub in_suspense: Vec<(u64, i64, String)>,
}

/// One channel's day.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DayProof {
    pub channel: String,
    pub day: String,
    /// `None`: the bill is not there yet, and nothing is proven.
    pub bill: Option<BillHead>,
    pub equations: Vec<Equation>,
    pub differences: Listed,
}

impl DayProof {
    /// Every equation holds, and every difference has a reason.
    pub fn holds(&self) -> bool {
        self.equations.iter().all(|equation| equation.holds)
            && self.differences.without_reason_count == 0
    }
}

impl Item {
    /// Something with a reason of its own.
    pub(super) fn explained(about: String, minor: i128, reason: String) -> Self {
        Self {
            about,
            minor,
            amount: String::new(),
            difference: None,
            class: None,
            state: None,
            explained: true,
            reason,
        }
    }

    /// Something that nothing explains.
    pub(super) fn unexplained(about: String, minor: i128, reason: String) -> Self {
        Self {
            explained: false,
            ..Self::explained(about, minor, reason)
        }
    }
}

/// A side before it is told.
pub(super) type Sum = (&'static str, crate::store::Total);

impl Equation {
    /// Draws the conclusion. More items than are kept leave a residual, or an item that is named.
    pub(super) fn new(
        name: &'static str,
        currency: &str,
        (left, left_total): Sum,
        (right, right_total): Sum,
        mut items: Vec<Item>,
    ) -> Self {
        let side = |what, total: crate::store::Total| Side {
            what,
            rows: total.rows,
            minor: total.minor,
            amount: decimal(total.minor, currency),
        };
        let items_minor: i128 = items.iter().map(|item| item.minor).sum();
        let unexplained_count = items.iter().filter(|item| !item.explained).count() as u64;
        let residual_minor = right_total.minor - left_total.minor - items_minor;
        let item_count = items.len() as u64;
        // Stable: otherwise in the order of their numbers.
        items.sort_by_key(|item| item.explained);
        items.truncate(SHOWN_MAX);
        for item in &mut items {
            item.amount = decimal(item.minor, currency);
        }
        Self {
            name,
            currency: currency.to_owned(),
            left: side(left, left_total),
            right: side(right, right_total),
            item_count,
            items_minor,
            items,
            unexplained_count,
            residual_minor,
            residual: decimal(residual_minor, currency),
            holds: residual_minor == 0 && unexplained_count == 0,
        }
    }
}

/// Minor units in major ones, with the currency's decimals; as they are for a currency that
/// nobody knows.
pub(crate) fn decimal(minor: i128, currency: &str) -> String {
    let Ok(currency) = Currency::parse(currency) else {
        return minor.to_string();
    };
    if let Ok(minor) = i64::try_from(minor) {
        return Money::new(minor, currency).to_decimal();
    }
    // Sums may be larger than any amount.
    let exponent = currency.exponent() as usize;
    let digits = format!("{:0>width$}", minor.unsigned_abs(), width = exponent + 1);
    let (major, rest) = digits.split_at(digits.len() - exponent);
    let sign = if minor < 0 { "-" } else { "" };
    let point = if exponent == 0 { "" } else { "." };
    format!("{sign}{major}{point}{rest}")
}

/// Sums go into JSON as text: they may be larger than a reader's integers.
fn text<S: serde::Serializer>(minor: &i128, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(minor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Total;

    fn equation(left: i128, right: i128, items: Vec<Item>) -> Equation {
        let total = |minor| Total { rows: 1, minor };
        Equation::new(
            "bill",
            "CNY",
            ("left", total(left)),
            ("right", total(right)),
            items,
        )
    }

    #[test]
    fn an_equation_holds_only_if_it_closes_and_everything_has_a_reason() {
        let good = || Item::explained("a".to_owned(), -5, "on another bill".to_owned());
        let bad = |minor| Item::unexplained("b".to_owned(), minor, "nothing".to_owned());
        assert!(equation(10, 10, vec![]).holds);
        assert!(equation(10, 5, vec![good()]).holds);
        let open = equation(10, 4, vec![good()]);
        assert_eq!((open.holds, open.residual.as_str()), (false, "-0.01"));
        let unexplained = equation(10, 5, vec![good(), bad(0)]);
        assert_eq!((unexplained.holds, unexplained.residual_minor), (false, 0));
        assert_eq!(unexplained.items[0].about, "b", "the bad ones come first");
    }

    #[test]
    fn sums_larger_than_an_amount_are_told_exactly() {
        assert_eq!(decimal(-5, "CNY"), "-0.05");
        assert_eq!(
            decimal(i128::from(i64::MAX) * 10, "CNY"),
            "922337203685477580.70"
        );
        assert_eq!(
            decimal(i128::from(i64::MIN) * 10, "JPY"),
            "-92233720368547758080"
        );
        assert_eq!(decimal(7, "???"), "7");
    }
}
