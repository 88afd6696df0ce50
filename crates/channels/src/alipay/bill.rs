//! The trade bill of Alipay: a ZIP of GBK tables.
//!
//! Guarantees: the file is about the day that was asked for, it reaches to its end, and its
//! numbers and sums of payments and refunds are those of its footer, or no row comes out.
//!
//! Not here: the per-store summary beside it; account statements (`account`).

use jiff::civil::Date;
use payment_core::{Currency, Money};

use super::table::{Cut, Table, Total, unpacked};
use crate::bill::{BillError, BillRow, BillRowKind, Columns, beijing_time, fen, sum, yuan_1e5};

/// The one column of free text before the amounts: a comma in it splits its row. Should a comma
/// stand elsewhere, amounts land in the wrong columns and the footer disagrees.
const FREE_TEXT: &str = "商品名称";

pub(super) fn read(file: &[u8], day: Date) -> Result<Vec<BillRow>, BillError> {
    parse(&unpacked(file, "业务明细")?, day)
}

pub(super) fn parse(text: &str, day: Date) -> Result<Vec<BillRow>, BillError> {
    let table = Table::read(text, day)?;
    let footer = Footer {
        payments: table.total("#交易合计：")?,
        refunds: table.total("#退款合计：")?,
    };
    let entries: Vec<Entry> = table
        .rows
        .iter()
        .map(|line| Entry::read(&table.columns, line))
        .collect::<Result<_, _>>()?;
    footer.check(&entries)?;
    Ok(entries.into_iter().map(|entry| entry.row).collect())
}

/// A row with the amount that the footer adds up.
struct Entry {
    row: BillRow,
    received: i64,
}

impl Entry {
    fn read(columns: &Columns, line: &str) -> Result<Self, BillError> {
        let cut = Cut::new(columns, line)?;
        let fields = cut.fields(columns, &[(FREE_TEXT, cut.surplus)])?;
        let field = |name: &str| columns.field(&fields, name);
        let kind = match field("业务类型")? {
            "交易" => BillRowKind::Payment,
            "退款" => BillRowKind::Refund,
            other => return Err(BillError(format!("unknown 业务类型 {other:?}"))),
        };
        let refund_no = match kind {
            BillRowKind::Payment => None,
            BillRowKind::Refund => Some(field("退款批次号/请求号")?.to_owned()),
        };
        let (face, received) = (fen(field("订单金额")?)?, fen(field("商家实收")?)?);
        let wrong_sign = match kind {
            BillRowKind::Payment => face < 0,
            BillRowKind::Refund => face > 0,
        };
        if wrong_sign {
            return Err(BillError::new("a row's amount has the wrong sign"));
        }
        Ok(Self {
            row: BillRow {
                kind,
                channel_order_no: field("商户订单号")?.to_owned(),
                transaction_id: field("支付宝交易号")?.to_owned(),
                refund_no,
                amount: Money::new(face.abs(), Currency::CNY),
                // Alipay writes what it takes as negative.
                fee_1e5: -yuan_1e5(field("服务费")?)?,
                time: beijing_time(field("完成时间")?)?,
            },
            received,
        })
    }
}

/// `#交易合计：N笔，商家实收共X元，…` and `#退款合计：N笔，商家实收退款共-X元，…`.
struct Footer {
    payments: Total,
    refunds: Total,
}

impl Footer {
    fn check(&self, entries: &[Entry]) -> Result<(), BillError> {
        let total = |kind| -> Result<Total, BillError> {
            let of = || entries.iter().filter(move |entry| entry.row.kind == kind);
            Ok((of().count(), sum(of().map(|entry| entry.received))?))
        };
        if total(BillRowKind::Payment)? != self.payments {
            return Err(BillError::new("its payments do not add up to 交易合计"));
        }
        let (count, received) = total(BillRowKind::Refund)?;
        // The footer's sign has varied.
        if count != self.refunds.0 || received.unsigned_abs() != self.refunds.1.unsigned_abs() {
            return Err(BillError::new("its refunds do not add up to 退款合计"));
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests;
