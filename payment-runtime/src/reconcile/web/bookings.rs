//! What each resolution would book for one difference, said before anybody decides.

use payment_core::reconciliation::Kind;

use super::format;
use crate::reconcile::books::{Booked, DifferenceRecord};
use crate::reconcile::resolve::{Resolution, transfers};

/// One way to resolve a difference.
pub(super) struct Choice {
    pub(super) value: &'static str,
    pub(super) label: String,
    pub(super) meaning: &'static str,
    /// Each entry it books; empty: none.
    pub(super) books: Vec<String>,
    pub(super) chosen: bool,
}

pub(super) fn options(
    difference: &DifferenceRecord,
    booked: &[Booked],
    chosen: &str,
) -> Vec<Choice> {
    let option = |resolution: Resolution| Choice {
        value: resolution.as_str(),
        label: format::words(resolution.as_str()),
        meaning: meaning(resolution),
        books: transfers(difference, resolution, booked)
            .iter()
            .map(entry)
            .collect(),
        chosen: resolution.as_str() == chosen,
    };
    Resolution::ALL.map(option).into()
}

const fn meaning(resolution: Resolution) -> &'static str {
    match resolution {
        Resolution::Explained => {
            "There is a reason for it outside our books. What was set aside stays."
        }
        Resolution::Released => "Our record is right. What was set aside for it is taken back.",
        Resolution::WrittenOff => {
            "The channel is right and nobody owns the difference. Our books follow the channel; \
             the amount goes to written-off."
        }
    }
}

/// `99.99 CNY: debit written-off, credit clearing:wechat`.
pub(super) fn entry(booked: &Booked) -> String {
    format!(
        "{}: debit {}, credit {}",
        format::money(booked.amount),
        booked.debit,
        booked.credit
    )
}

/// What the channel has more (or less) than we have; nothing where a side is missing.
pub(super) fn gap(difference: &DifferenceRecord) -> Option<String> {
    let (ours, bill) = difference.ours.zip(difference.bill)?;
    if ours.currency != bill.currency {
        return None;
    }
    let gap = i128::from(bill.minor) - i128::from(ours.minor);
    let text = format::amount(gap.abs(), ours.currency.code());
    let what = match difference.kind {
        Kind::Payment => "charged",
        Kind::Refund => "gave back",
    };
    Some(match gap {
        0 => "None: both sides have the same amount".to_owned(),
        1.. => format!("{text}: the channel {what} more"),
        _ => format!("{text}: the channel {what} less"),
    })
}
