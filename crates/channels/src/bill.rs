//! Bills in the words both channels share.
//!
//! Guarantees: a bill is one file on disk that is read row by row in bounded memory; its rows count
//! only when all of it was read and its hash and totals were right.
//!
//! Where to look: `file` keeps and opens a bill, `lines` cuts it, `columns` reads its fields, `sums`
//! holds its rows against its totals and its day, `error` says why one is refused.
//!
//! Not here: the files' layouts (`bill`, `funds` and `account` of each channel), the comparison
//! with our records. Fund bills are still read into memory: they serve reports, not matching.

mod columns;
mod error;
mod file;
mod lines;
mod sums;

use jiff::civil::DateTime;
use payment_core::Money;

use crate::outcome::Fail;

pub(crate) use columns::{Column, Columns, Row, beijing_time};
pub use error::{BillError, ReadError};
pub(crate) use error::{Halt, Reason};
pub use file::BillFile;
pub(crate) use file::Spool;
pub(crate) use lines::{Line, Lines, Position};
pub(crate) use sums::{Days, add, count, unit_of};

/// What a channel says about its bill of one day.
#[derive(Debug)]
pub enum Bill {
    /// Not made yet; ask again later.
    NotReady,
    /// No business that day; final.
    Empty,
    File(BillFile),
}

/// One payment or one refund, as the channel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BillRow {
    /// Where it stands in the file, from 1. The lines of a bill in several parts are counted on
    /// from one part to the next, so that a number names one row.
    pub line: u64,
    pub kind: BillRowKind,
    pub channel_order_no: String,
    pub transaction_id: String,
    /// Our number of the refund, on refund rows that have one.
    pub refund_no: Option<String>,
    /// On refund rows: how the refund stood when the bill was made.
    pub refund_status: Option<BillRefundStatus>,
    /// Face amount, before coupons; positive on refunds too.
    pub amount: Money,
    /// What the merchant gets or gives back, after coupons; positive on refunds too.
    pub settled: Money,
    /// What the channel keeps, in 1e-5 yuan: positive when we pay it, negative when it comes back.
    pub fee_1e5: i64,
    /// The rate of the fee in millionths of the amount, where the channel tells it.
    pub fee_rate_ppm: Option<u32>,
    /// Beijing time: of the payment, or of the refund (WeChat: its acceptance; Alipay: its end).
    pub time: DateTime,
    /// The merchant at the channel whose bill it is: WeChat Pay's 商户号, Alipay's 账号.
    pub merchant_no: Option<String>,
    /// WeChat Pay's 公众账号ID.
    pub app_id: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BillRowKind {
    Payment,
    Refund,
}

/// How a refund stood when the bill was made. It is not written anew when that changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BillRefundStatus {
    /// Accepted, and the money under way.
    Processing,
    Succeeded,
    /// Failed for good; the money stayed with the merchant.
    Failed,
    /// The payer's bank did not take the money; the merchant has to act.
    Abnormal,
    /// The bill does not say, or in a word that is not known here.
    Unknown,
}

/// What the rows of a bill add up to. The sums are of the rows in CNY; rows in other currencies are
/// counted only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BillTotals {
    pub payments: u64,
    pub refunds: u64,
    /// Face amounts of payments, in fen.
    pub payment_minor: i64,
    /// Face amounts of refunds, in fen; positive.
    pub refund_minor: i64,
    /// Fees of payments less those that came back with refunds, in 1e-5 yuan.
    pub fee_1e5: i64,
}

/// A channel's account of what moved on the merchant's balance in one Beijing day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FundBill {
    /// Not made yet; ask again later.
    NotReady,
    /// Complete and checked; empty for a day on which nothing moved.
    Rows(Vec<FundRow>),
}

/// One movement of the balance: a payment, a refund, a fee, a withdrawal, a top-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FundRow {
    /// The entry's own number.
    pub entry_no: String,
    /// The channel's number of the business behind it.
    pub business_no: String,
    /// The number its cause goes by, where there is one: at Alipay our order's, at WeChat Pay its
    /// own voucher's.
    pub reference: Option<String>,
    /// What kind of business, in the channel's own words.
    pub business_type: String,
    pub direction: FundDirection,
    /// Never negative; the direction has the sign.
    pub amount: Money,
    /// The balance afterwards.
    pub balance: Money,
    /// Beijing time of the booking.
    pub time: DateTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FundDirection {
    Income,
    Expense,
}

/// Holds the rows of one direction against the number and the sum that a file claims for them.
/// `name` is what the file calls that sum, whose sign has varied.
pub(crate) fn check_funds(
    rows: &[FundRow],
    direction: FundDirection,
    (number, total): (u64, i64),
    name: &str,
) -> Result<(), BillError> {
    let (mut ours, mut sum) = (0, 0);
    for row in rows.iter().filter(|row| row.direction == direction) {
        count(&mut ours);
        add(&mut sum, row.amount.minor)?;
    }
    if ours != number || sum.unsigned_abs() != total.unsigned_abs() {
        let what = format!("its rows do not add up to {name}");
        return Err(BillError::file(Reason::TotalsDiffer, what));
    }
    Ok(())
}

/// Parsing is quick but not instant; other payments must not wait behind it.
pub(crate) async fn parsed<T: Send + 'static>(
    parse: impl FnOnce() -> Result<T, BillError> + Send + 'static,
) -> Result<T, Fail> {
    tokio::task::spawn_blocking(parse)
        .await
        .map_err(|error| Fail::unverifiable(format!("reading the bill failed: {error}")))?
        .map_err(|error| Fail::unverifiable(format!("the bill is not accepted: {error}")))
}
