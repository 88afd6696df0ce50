//! Bills that must be refused, each with the reason, and a writer of good ones: for the tests of
//! everybody who reads bills, and for benchmarks.
//!
//! Guarantees: every bad bill differs from a good one in what its name says; where it is packed or
//! hashed, it is so rightly unless that is what is wrong.
//!
//! Not here: bills that are good though unusual; those are made where they are tested.

mod alipay;
mod pack;
mod wechat;
mod writer;

use std::io::Cursor;

use jiff::civil::Date;
use payment_core::ChannelKind;

pub use writer::{GoodRow, write_bill};

/// A bill that must be refused.
#[derive(Clone, Debug)]
pub struct BadBill {
    /// What is wrong with it; unlike any other's.
    pub name: String,
    pub kind: ChannelKind,
    /// The file as it would be downloaded.
    pub bytes: Vec<u8>,
    /// WeChat Pay's SHA-1 as it would be announced.
    pub hash: Option<String>,
    /// What [`crate::BillError::reason`] must be.
    pub reason: &'static str,
    /// Where the text of the error must say that it is.
    pub place: &'static str,
}

/// All of them, of both channels, for a day.
pub fn bad_bills(day: Date) -> Vec<BadBill> {
    let mut all = wechat::bad_bills(day);
    all.extend(alipay::bad_bills(day));
    all
}

/// A bill as its channel packs it, and WeChat Pay's hash of it.
pub fn good_bill(kind: ChannelKind, day: Date, rows: &[GoodRow]) -> (Vec<u8>, Option<String>) {
    let mut file = Cursor::new(Vec::new());
    // Memory does not fail.
    let hash = write_bill(kind, day, rows.iter().cloned(), &mut file).unwrap_or_default();
    (file.into_inner(), hash)
}

/// Two payments, one with a coupon and a comma in its name, and a refund of the first.
fn some_rows(day: Date) -> Vec<GoodRow> {
    let first = GoodRow {
        settled_minor: 9_000,
        product: "茶, 绿茶".to_owned(),
        ..GoodRow::payment("PBAD0001", 9_999, day.at(10, 34, 56, 0))
    };
    let second = GoodRow::payment("PBAD0002", 1, day.at(11, 0, 0, 0));
    let refund = GoodRow::refund("PBAD0001", "RBAD0001", 1_000, day.at(12, 0, 0, 0));
    vec![first, second, refund]
}

/// A change of a good text: what is wrong then, what is replaced (once) by what, the reason and the
/// place.
type Change = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

#[cfg(test)]
mod tests;
