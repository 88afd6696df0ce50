//! The fund flow bill of WeChat Pay (`account_type=BASIC`): what moved on the merchant's balance.
//!
//! Guarantees: the file's SHA-1 and its day, its number of rows and the numbers and sums of income
//! and expense are right, or no row comes out.
//!
//! Not here: names, remarks and applicants, which no comparison needs.

use std::io::Cursor;

use jiff::civil::Date;
use payment_core::{Currency, Money};

use super::table::{self, Kind, Summary};
use crate::bill::{
    BillError, Column, Columns, FundDirection, FundRow, Halt, Reason, Row, check_funds,
};

const KIND: Kind = Kind {
    header: &["记账时间", "资金流水单号"],
    summary: "资金流水总笔数",
};

pub(super) fn read(file: &[u8], hash: &str, day: Date) -> Result<Vec<FundRow>, BillError> {
    let mut rows = Vec::new();
    let take = |layout: &Layout, row: &Row<'_>| {
        rows.push(layout.row(row)?);
        Ok(())
    };
    let read = table::read(Cursor::new(file), hash, &KIND, Layout::find, take);
    let summary = read.map_err(Halt::into_error)?;
    if rows.iter().any(|row| row.time.date() != day) {
        let what = format!("a row is not of {day}");
        return Err(BillError::file(Reason::AnotherDay, what));
    }
    check(&rows, &summary)?;
    Ok(rows)
}

fn check(rows: &[FundRow], summary: &Summary) -> Result<(), BillError> {
    let columns = &summary.columns;
    summary.look(|row| {
        let all = columns.required("资金流水总笔数")?;
        if number(row, all)? != rows.len() as u64 {
            let what = "the number of rows is not 资金流水总笔数";
            return Err(BillError::line(Reason::TotalsDiffer, row.line, what));
        }
        for (direction, count, total) in [
            (FundDirection::Income, "收入笔数", "收入金额"),
            (FundDirection::Expense, "支出笔数", "支出金额"),
        ] {
            let count = number(row, columns.required(count)?)?;
            let sum = row.fen(columns.required(total)?)?;
            check_funds(rows, direction, (count, sum), total)?;
        }
        Ok(())
    })
}

fn number(row: &Row<'_>, column: Column) -> Result<u64, BillError> {
    let number = row.text(column).parse();
    number.map_err(|_| row.wrong(column, "is no number"))
}

struct Layout {
    amount: Column,
    voucher: Option<Column>,
    entry_no: Column,
    business_no: Column,
    business_type: Column,
    direction: Column,
    balance: Column,
    time: Column,
}

impl Layout {
    fn find(columns: &Columns) -> Result<Self, BillError> {
        Ok(Self {
            amount: columns.required("收支金额")?,
            voucher: columns.optional("业务凭证号")?,
            entry_no: columns.required("资金流水单号")?,
            business_no: columns.required("微信支付业务单号")?,
            business_type: columns.required("业务类型")?,
            direction: columns.required("收支类型")?,
            balance: columns.required("账户结余")?,
            time: columns.required("记账时间")?,
        })
    }

    fn row(&self, row: &Row<'_>) -> Result<FundRow, BillError> {
        let amount = row.fen(self.amount)?;
        if amount < 0 {
            return Err(row.wrong(self.amount, "has a sign"));
        }
        Ok(FundRow {
            entry_no: row.name(self.entry_no)?,
            business_no: row.name(self.business_no)?,
            reference: row.filled(self.voucher).map(str::to_owned),
            business_type: row.name(self.business_type)?,
            direction: match row.text(self.direction) {
                "收入" => FundDirection::Income,
                "支出" => FundDirection::Expense,
                _ => return Err(row.wrong(self.direction, "is neither 收入 nor 支出")),
            },
            amount: Money::new(amount, Currency::CNY),
            balance: Money::new(row.fen(self.balance)?, Currency::CNY),
            time: row.time(self.time)?,
        })
    }
}

#[cfg(test)]
pub(super) mod tests;
