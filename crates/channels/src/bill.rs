//! Bills in the words both channels share, and the exact reading of their numbers.
//!
//! Guarantees: no float anywhere; a number with more decimals than it may have is an error, not
//! rounded.
//!
//! Not here: the files' layouts (`bill`, `funds` and `account` of each channel), the comparison with our records.

use jiff::civil::DateTime;
use payment_core::Money;
use payment_core::money::parse_scaled;

use crate::outcome::Fail;

/// A channel's account of one Beijing day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bill {
    /// Not made yet; ask again later.
    NotReady,
    /// Complete and checked; empty for a day without business.
    Rows(Vec<BillRow>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BillRow {
    pub kind: BillRowKind,
    pub channel_order_no: String,
    pub transaction_id: String,
    /// Our number of the refund, on refund rows.
    pub refund_no: Option<String>,
    /// Face amount, before coupons; positive on refunds too.
    pub amount: Money,
    /// What the channel keeps, in 1e-5 yuan: positive when we pay it, negative when it comes back.
    pub fee_1e5: i64,
    /// Beijing time: of the payment, or of the refund (WeChat: its acceptance; Alipay: its end).
    pub time: DateTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BillRowKind {
    Payment,
    Refund,
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

/// Why a file is not accepted; becomes the detail of an unverifiable outcome.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BillError(pub(crate) String);

impl BillError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Where each column stands, found by name because the order and the set of columns vary.
pub(crate) struct Columns(Vec<String>);

impl Columns {
    pub(crate) fn new(names: Vec<String>) -> Self {
        Self(names)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|column| column == name)
    }

    /// The field of that column, or an error that names the column.
    pub(crate) fn field<'a, S: AsRef<str>>(
        &self,
        row: &'a [S],
        name: &str,
    ) -> Result<&'a str, BillError> {
        self.position(name)
            .and_then(|at| row.get(at))
            .map(AsRef::as_ref)
            .ok_or_else(|| BillError(format!("column {name} is missing")))
    }
}

pub(crate) fn fen(text: &str) -> Result<i64, BillError> {
    scaled(text, 2)
}

pub(crate) fn yuan_1e5(text: &str) -> Result<i64, BillError> {
    scaled(text, 5)
}

fn scaled(text: &str, decimals: u32) -> Result<i64, BillError> {
    parse_scaled(text, decimals)
        .map_err(|_| BillError(format!("{text:?} is not an amount of {decimals} decimals")))
}

pub(crate) fn beijing_time(text: &str) -> Result<DateTime, BillError> {
    DateTime::strptime("%Y-%m-%d %H:%M:%S", text)
        .map_err(|_| BillError(format!("{text:?} is not a time")))
}

/// A sum that cannot wrap around unnoticed.
pub(crate) fn sum(values: impl IntoIterator<Item = i64>) -> Result<i64, BillError> {
    values
        .into_iter()
        .try_fold(0_i64, i64::checked_add)
        .ok_or_else(|| BillError::new("a total is larger than can be represented"))
}

/// Holds the rows of one direction against the number and the sum that a file claims for them.
/// `name` is what the file calls that sum, whose sign has varied.
pub(crate) fn check_funds(
    rows: &[FundRow],
    direction: FundDirection,
    (count, total): (usize, i64),
    name: &str,
) -> Result<(), BillError> {
    let of = || rows.iter().filter(move |row| row.direction == direction);
    let ours = sum(of().map(|row| row.amount.minor))?;
    if of().count() != count || ours.unsigned_abs() != total.unsigned_abs() {
        return Err(BillError(format!("its rows do not add up to {name}")));
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
