//! The trade bill of WeChat Pay (`bill_type=ALL`).
//!
//! Guarantees: the file's SHA-1, its number of rows and every total of its summary are right, or
//! no row comes out.
//!
//! Not here: fund flow bills (`funds`); the fields that no comparison needs.

use payment_core::{Currency, Money};

use super::table::{self, Summary};
use crate::bill::{BillError, BillRow, BillRowKind, Columns, beijing_time, fen, sum, yuan_1e5};

/// The rows of a file, packed or not.
pub(super) fn read(file: &[u8], hash: &str) -> Result<Vec<BillRow>, BillError> {
    parse(&table::text(file, hash)?)
}

pub(super) fn parse(text: &str) -> Result<Vec<BillRow>, BillError> {
    let (entries, summary) = table::read(text, "总", Entry::read)?;
    check(&entries, &summary)?;
    Ok(entries.into_iter().map(|entry| entry.row).collect())
}

/// A row with the numbers that the summary adds up.
struct Entry {
    row: BillRow,
    /// 应结订单金额 and 退款金额: what is settled, after coupons.
    settled: Option<i64>,
    face: i64,
    coupon_refund: Option<i64>,
}

impl Entry {
    fn read(columns: &Columns, fields: &[&str]) -> Result<Self, BillError> {
        let field = |name: &str| columns.field(fields, name);
        let kind = match field("交易状态")? {
            "SUCCESS" => BillRowKind::Payment,
            "REFUND" | "REVOKED" => BillRowKind::Refund,
            other => return Err(BillError(format!("unknown 交易状态 {other:?}"))),
        };
        if field("货币种类")? != "CNY" {
            return Err(BillError::new("a row is not in CNY"));
        }
        let (face_column, settled_column) = match kind {
            BillRowKind::Payment => ("订单金额", "应结订单金额"),
            BillRowKind::Refund => ("申请退款金额", "退款金额"),
        };
        let optional = |name: &str| {
            let text = field(name).ok().filter(|text| !text.is_empty());
            text.map(fen).transpose()
        };
        let settled = optional(settled_column)?;
        // Files of older merchants know only one amount.
        let face = match optional(face_column)? {
            Some(face) => face,
            None => settled.ok_or_else(|| BillError(format!("column {face_column} is missing")))?,
        };
        let refund_no = match kind {
            BillRowKind::Payment => None,
            BillRowKind::Refund => Some(field("商户退款单号")?.to_owned()),
        };
        Ok(Self {
            row: BillRow {
                kind,
                channel_order_no: field("商户订单号")?.to_owned(),
                transaction_id: field("微信订单号")?.to_owned(),
                refund_no,
                amount: Money::new(face, Currency::CNY),
                fee_1e5: yuan_1e5(field("手续费")?)?,
                time: beijing_time(field("交易时间")?)?,
            },
            settled,
            face,
            coupon_refund: optional("充值券退款金额")?,
        })
    }
}

/// Holds the rows against the summary. Columns that a kind of file lacks are not asked for, the
/// number of rows always is.
fn check(entries: &[Entry], summary: &Summary) -> Result<(), BillError> {
    if summary.field("总交易单数")? != entries.len().to_string() {
        return Err(BillError::new("the number of rows is not 总交易单数"));
    }
    let of = |kind| entries.iter().filter(move |entry| entry.row.kind == kind);
    let (payments, refunds) = (of(BillRowKind::Payment), of(BillRowKind::Refund));
    let totals = [
        ("订单总金额", sum(payments.clone().map(|entry| entry.face))?),
        (
            "应结订单总金额",
            sum(payments.filter_map(|entry| entry.settled))?,
        ),
        (
            "申请退款总金额",
            sum(refunds.clone().map(|entry| entry.face))?,
        ),
        (
            "退款总金额",
            sum(refunds.filter_map(|entry| entry.settled))?,
        ),
        (
            "充值券退款总金额",
            sum(entries.iter().filter_map(|entry| entry.coupon_refund))?,
        ),
    ];
    for (name, ours) in totals {
        if summary.has(name) && fen(summary.field(name)?)? != ours {
            return Err(BillError(format!("its rows do not add up to {name}")));
        }
    }
    check_fees(entries, summary)
}

/// Rows carry up to five decimals of a fee; a summary that carries fewer is rounded.
fn check_fees(entries: &[Entry], summary: &Summary) -> Result<(), BillError> {
    const NAME: &str = "手续费总金额";
    if !summary.has(NAME) {
        return Ok(());
    }
    let ours = sum(entries.iter().map(|entry| entry.row.fee_1e5))?;
    let text = summary.field(NAME)?;
    let decimals = text
        .split_once('.')
        .map_or(0, |(_, decimals)| decimals.len());
    let unit = match decimals {
        0 => 100_000,
        1 => 10_000,
        2 => 1_000,
        3 => 100,
        4 => 10,
        _ => 1,
    };
    if yuan_1e5(text)?.abs_diff(ours) >= unit {
        return Err(BillError(format!("its rows do not add up to {NAME}")));
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests;
