//! The trade bill of WeChat Pay (`bill_type=ALL`).
//!
//! Guarantees: the file's SHA-1, its number of rows and every total of its summary are right, or
//! the bill is refused.
//!
//! Not here: fund flow bills (`funds`); the fields that no comparison needs.

use std::io::{Read, Seek};

use jiff::civil::Date;
use payment_core::money::parse_scaled;
use payment_core::{Currency, Money};

use super::columns::Layout;
use super::table::{self, Kind, Summary};
use crate::bill::{
    BillError, BillRefundStatus, BillRow, BillRowKind, BillTotals, Columns, Days, Halt, Reason,
    Row, add, count, unit_of,
};

const KIND: Kind = Kind {
    header: &["交易时间", "微信订单号", "商户订单号"],
    summary: "总",
};

/// Reads a file, packed or not, and hands out its rows.
pub(super) fn read(
    file: impl Read + Seek,
    hash: &str,
    day: Date,
    each: &mut dyn FnMut(BillRow) -> Result<(), Halt>,
) -> Result<BillTotals, Halt> {
    let mut sums = Sums::default();
    let mut days = Days::new(day);
    let take = |layout: &Layout, row: &Row<'_>| {
        let entry = Entry::read(layout, row)?;
        sums.add(&entry)?;
        days.add(entry.row.time);
        each(entry.row)
    };
    let summary = table::read(file, hash, &KIND, Layout::find, take)?;
    sums.check(&summary)?;
    days.check()?;
    Ok(sums.totals)
}

/// A row with the numbers that the summary adds up, in 1e-5.
struct Entry {
    row: BillRow,
    face: i64,
    /// 应结订单金额 and 退款金额: what is settled, after coupons.
    settled: Option<i64>,
    coupon_refund: Option<i64>,
}

impl Entry {
    fn read(layout: &Layout, row: &Row<'_>) -> Result<Self, BillError> {
        let kind = match row.text(layout.state) {
            "SUCCESS" => BillRowKind::Payment,
            "REFUND" | "REVOKED" => BillRowKind::Refund,
            _ => return Err(row.wrong(layout.state, "is none of SUCCESS, REFUND and REVOKED")),
        };
        let currency = Currency::parse(row.text(layout.currency))
            .map_err(|_| row.wrong(layout.currency, "is not a currency"))?;
        let (face, settled) = amounts(layout, row, kind, currency)?;
        let coupons = layout.coupon_refund;
        let coupon_refund = match row.filled(coupons).and(coupons) {
            Some(column) => Some(row.yuan_1e5(column)?),
            None => None,
        };
        let is_refund = kind == BillRowKind::Refund;
        let refund_no = match (is_refund, layout.refund_no) {
            (false, _) => None,
            (true, None) => return Err(missing(row, "商户退款单号")),
            (true, column) => row.name_if_any(column)?,
        };
        Ok(Self {
            row: BillRow {
                line: row.in_bill,
                kind,
                channel_order_no: row.name(layout.order_no)?,
                transaction_id: row.required_name(layout.transaction_id)?,
                refund_no,
                refund_status: is_refund.then(|| refund_status(row.filled(layout.refund_status))),
                amount: face.1,
                settled: settled.map_or(face.1, |(_, money)| money),
                fee_1e5: row.yuan_1e5(layout.fee)?,
                fee_rate_ppm: row.filled(layout.fee_rate).and_then(rate_ppm),
                time: row.time(layout.time)?,
                merchant_no: row.name_if_any(layout.merchant_no)?,
                app_id: row.name_if_any(layout.app_id)?,
            },
            face: face.0,
            settled: settled.map(|(value, _)| value),
            coupon_refund,
        })
    }
}

/// In 1e-5, and as money.
type Amount = (i64, Money);

/// The face amount and, where the file has it, the settled one.
fn amounts(
    layout: &Layout,
    row: &Row<'_>,
    kind: BillRowKind,
    currency: Currency,
) -> Result<(Amount, Option<Amount>), BillError> {
    let (face, settled, name) = match kind {
        BillRowKind::Payment => (layout.face, layout.settled, "订单金额"),
        BillRowKind::Refund => (layout.refund_face, layout.refund_settled, "申请退款金额"),
    };
    let amount = |column| {
        let Some(column) = row.filled(column).and(column) else {
            return Ok(None);
        };
        let amount = row.money(column, currency)?;
        if amount.0 < 0 {
            return Err(row.wrong(column, "has a sign"));
        }
        Ok(Some(amount))
    };
    let settled = amount(settled)?;
    // Files of older merchants know only one amount.
    match amount(face)?.or(settled) {
        Some(face) => Ok((face, settled)),
        None => Err(missing(row, name)),
    }
}

fn missing(row: &Row<'_>, column: &str) -> BillError {
    let what = "the row needs it, and it is missing";
    BillError::column(Reason::ColumnMissing, row.line, column, what)
}

fn refund_status(text: Option<&str>) -> BillRefundStatus {
    match text {
        Some("SUCCESS") => BillRefundStatus::Succeeded,
        Some("PROCESSING") => BillRefundStatus::Processing,
        Some("FAIL" | "CLOSED") => BillRefundStatus::Failed,
        Some("CHANGE" | "ABNORMAL") => BillRefundStatus::Abnormal,
        _ => BillRefundStatus::Unknown,
    }
}

/// `0.60%` is 6000 parts in a million. Only a fact for people: an illegible one is none.
fn rate_ppm(text: &str) -> Option<u32> {
    let percent = parse_scaled(text.strip_suffix('%')?, 4).ok()?;
    percent.try_into().ok()
}

/// What the rows add up to, in 1e-5 of whatever currency: the summary does not tell them apart.
#[derive(Default)]
struct Sums {
    totals: BillTotals,
    face: i64,
    settled: i64,
    refund_face: i64,
    refund_settled: i64,
    coupon_refund: i64,
}

impl Sums {
    fn add(&mut self, entry: &Entry) -> Result<(), BillError> {
        let (row, totals) = (&entry.row, &mut self.totals);
        let (number, minor, face, settled) = match row.kind {
            BillRowKind::Payment => (
                &mut totals.payments,
                &mut totals.payment_minor,
                &mut self.face,
                &mut self.settled,
            ),
            BillRowKind::Refund => (
                &mut totals.refunds,
                &mut totals.refund_minor,
                &mut self.refund_face,
                &mut self.refund_settled,
            ),
        };
        count(number);
        if row.amount.currency == Currency::CNY {
            add(minor, row.amount.minor)?;
        }
        add(face, entry.face)?;
        add(settled, entry.settled.unwrap_or_default())?;
        add(
            &mut self.coupon_refund,
            entry.coupon_refund.unwrap_or_default(),
        )?;
        add(&mut totals.fee_1e5, row.fee_1e5)
    }

    /// Holds the rows against the summary. Columns that a kind of file lacks are not asked for, the
    /// number of rows always is.
    fn check(&self, summary: &Summary) -> Result<(), BillError> {
        let columns = &summary.columns;
        summary.look(|row| {
            let rows = self.totals.payments + self.totals.refunds;
            let number = columns.required("总交易单数")?;
            if row.text(number).parse() != Ok(rows) {
                let what = format!("it is {} where {rows} rows are", row.text(number));
                return Err(differ(row, "总交易单数", &what));
            }
            for (name, ours) in [
                ("订单总金额", self.face),
                ("应结订单总金额", self.settled),
                ("申请退款总金额", self.refund_face),
                ("退款总金额", self.refund_settled),
                ("充值券退款总金额", self.coupon_refund),
            ] {
                check_total(columns, row, (name, ours), |_| 1)?;
            }
            // Rows carry up to five decimals of a fee; a summary that carries fewer is rounded.
            let fee = ("手续费总金额", self.totals.fee_1e5);
            check_total(columns, row, fee, unit_of)
        })
    }
}

/// `unit`: from the text of the total, the difference in 1e-5 that is already too large.
fn check_total(
    columns: &Columns,
    row: &Row<'_>,
    (name, ours): (&'static str, i64),
    unit: impl Fn(&str) -> u64,
) -> Result<(), BillError> {
    let Some(column) = columns.optional(name)? else {
        return Ok(());
    };
    let text = row.text(column);
    let theirs = parse_scaled(text, 5).map_err(|_| {
        let what = "the total is not an amount";
        BillError::column(Reason::SummaryMalformed, row.line, name, what)
    })?;
    if theirs.abs_diff(ours) < unit(text) {
        return Ok(());
    }
    let what = format!("it is {text} where the rows add up to {ours} times 0.00001");
    Err(differ(row, name, &what))
}

fn differ(row: &Row<'_>, name: &str, what: &str) -> BillError {
    BillError::column(Reason::TotalsDiffer, row.line, name, what)
}

#[cfg(test)]
pub(super) mod tests;
