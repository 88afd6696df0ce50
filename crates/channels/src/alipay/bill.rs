//! The trade bill of Alipay: a ZIP of GBK tables.
//!
//! Guarantees: the file is about the day that was asked for, each of its tables reaches to its end,
//! and the numbers and sums of payments and refunds are those of its footer, or the bill is
//! refused.
//!
//! Not here: the per-store summary beside it; account statements (`account`).

use std::io::{Read, Seek};

use jiff::civil::Date;
use payment_core::Currency;

use super::table::{self, Cut, Kind, Reader, Total};
use crate::bill::{
    BillError, BillRefundStatus, BillRow, BillRowKind, BillTotals, Column, Columns, Days, Halt,
    Lines, Position, Reason, Row, add, count,
};

const KIND: Kind = Kind {
    name: "业务明细",
    header: &["支付宝交易号", "商户订单号"],
    totals: ["#交易合计：", "#退款合计："],
};

/// Reads a file and hands out its rows.
pub(super) fn read(
    file: impl Read + Seek,
    day: Date,
    each: &mut dyn FnMut(BillRow) -> Result<(), Halt>,
) -> Result<BillTotals, Halt> {
    let mut trades = Trades::new(day, each);
    table::read(file, &KIND, day, &mut trades)?;
    trades.days.check()?;
    Ok(trades.totals)
}

/// The same of one bare table.
pub(super) fn read_table(
    table: &[u8],
    day: Date,
    each: &mut dyn FnMut(BillRow) -> Result<(), Halt>,
) -> Result<BillTotals, Halt> {
    let mut trades = Trades::new(day, each);
    let mut lines = Lines::new(table, Position::default());
    table::table(&mut lines, &KIND, day, &mut trades)?;
    trades.days.check()?;
    Ok(trades.totals)
}

struct Layout {
    order_no: Column,
    transaction_id: Column,
    kind: Column,
    /// The one column of free text before the amounts: a comma in it splits its row. Should a
    /// comma stand elsewhere, amounts land in the wrong columns and the footer disagrees.
    subject: Column,
    time: Column,
    face: Column,
    received: Column,
    refund_no: Column,
    fee: Column,
}

impl Layout {
    fn find(columns: &Columns) -> Result<Self, BillError> {
        Ok(Self {
            order_no: columns.required("商户订单号")?,
            transaction_id: columns.required("支付宝交易号")?,
            kind: columns.required("业务类型")?,
            subject: columns.required("商品名称")?,
            time: columns.required("完成时间")?,
            face: columns.required("订单金额")?,
            received: columns.required("商家实收")?,
            refund_no: columns.required("退款批次号/请求号")?,
            fee: columns.required("服务费")?,
        })
    }

    fn row(&self, row: &Row<'_>, account: Option<&str>) -> Result<BillRow, BillError> {
        let kind = match row.text(self.kind) {
            "交易" => BillRowKind::Payment,
            "退款" => BillRowKind::Refund,
            _ => return Err(row.wrong(self.kind, "is neither 交易 nor 退款")),
        };
        let is_refund = kind == BillRowKind::Refund;
        let amount = |column| {
            let (_, mut money) = row.money(column, Currency::CNY)?;
            if is_refund {
                money.minor = -money.minor;
            }
            if money.minor < 0 {
                return Err(row.wrong(column, "has the wrong sign for such a row"));
            }
            Ok(money)
        };
        let refund_no = row.name_if_any(Some(self.refund_no))?;
        Ok(BillRow {
            line: row.in_bill,
            kind,
            channel_order_no: row.name(self.order_no)?,
            transaction_id: row.required_name(self.transaction_id)?,
            refund_no: refund_no.filter(|_| is_refund),
            // Alipay bills what is done.
            refund_status: is_refund.then_some(BillRefundStatus::Succeeded),
            amount: amount(self.face)?,
            settled: amount(self.received)?,
            // Alipay writes what it takes as negative.
            fee_1e5: -row.yuan_1e5(self.fee)?,
            fee_rate_ppm: None,
            time: row.time(self.time)?,
            merchant_no: account.map(str::to_owned),
            app_id: None,
        })
    }
}

struct Trades<'a> {
    each: &'a mut dyn FnMut(BillRow) -> Result<(), Halt>,
    days: Days,
    totals: BillTotals,
    /// Of the table that is being read, as its footer adds them up.
    payments: Total,
    refunds: Total,
}

impl<'a> Trades<'a> {
    fn new(day: Date, each: &'a mut dyn FnMut(BillRow) -> Result<(), Halt>) -> Self {
        Self {
            each,
            days: Days::new(day),
            totals: BillTotals::default(),
            payments: (0, 0),
            refunds: (0, 0),
        }
    }

    fn add(&mut self, row: &BillRow) -> Result<(), BillError> {
        let totals = &mut self.totals;
        let (part, number, minor) = match row.kind {
            BillRowKind::Payment => (
                &mut self.payments,
                &mut totals.payments,
                &mut totals.payment_minor,
            ),
            BillRowKind::Refund => (
                &mut self.refunds,
                &mut totals.refunds,
                &mut totals.refund_minor,
            ),
        };
        count(number);
        count(&mut part.0);
        add(minor, row.amount.minor)?;
        add(&mut part.1, row.settled.minor)?;
        add(&mut totals.fee_1e5, row.fee_1e5)?;
        self.days.add(row.time);
        Ok(())
    }
}

impl Reader for Trades<'_> {
    type Layout = Layout;

    fn layout(&self, columns: &Columns) -> Result<Layout, BillError> {
        Layout::find(columns)
    }

    fn row(&mut self, layout: &Layout, cut: &Cut<'_>) -> Result<(), Halt> {
        let texts = [(layout.subject, cut.surplus), (layout.subject, 0)];
        let row = layout.row(&cut.row.with_gaps(texts), cut.account)?;
        self.add(&row)?;
        (self.each)(row)
    }

    fn totals(&mut self, [payments, refunds]: [Total; 2]) -> Result<(), BillError> {
        if self.payments != payments {
            return Err(differ("交易合计", payments, self.payments));
        }
        // The footer's sign has varied.
        let size = |(number, sum): Total| (number, sum.unsigned_abs());
        if size(self.refunds) != size(refunds) {
            return Err(differ("退款合计", refunds, self.refunds));
        }
        (self.payments, self.refunds) = ((0, 0), (0, 0));
        Ok(())
    }
}

fn differ(name: &str, theirs: Total, ours: Total) -> BillError {
    let what = format!(
        "{name} in its footer tells {} rows and {} fen, its rows are {} and {} fen",
        theirs.0, theirs.1, ours.0, ours.1
    );
    BillError::file(Reason::TotalsDiffer, what)
}

#[cfg(test)]
pub(super) mod tests;
