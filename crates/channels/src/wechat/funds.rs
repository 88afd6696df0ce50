//! The fund flow bill of WeChat Pay (`account_type=BASIC`): what moved on the merchant's balance.
//!
//! Guarantees: the file's SHA-1, its day, its numbers of rows and its sums of income and expense
//! are right, or no row comes out.
//!
//! Not here: names, remarks and applicants, which no comparison needs.

use jiff::civil::Date;
use payment_core::{Currency, Money};

use super::table::{self, Summary};
use crate::bill::{BillError, Columns, FundDirection, FundRow, beijing_time, check_funds, fen};

pub(super) fn read(file: &[u8], hash: &str, day: Date) -> Result<Vec<FundRow>, BillError> {
    parse(&table::text(file, hash)?, day)
}

pub(super) fn parse(text: &str, day: Date) -> Result<Vec<FundRow>, BillError> {
    let (rows, summary) = table::read(text, "资金流水总笔数", row)?;
    if rows.iter().any(|row| row.time.date() != day) {
        return Err(BillError::new("it is about another day"));
    }
    if summary.field("资金流水总笔数")? != rows.len().to_string() {
        return Err(BillError::new("the number of rows is not 资金流水总笔数"));
    }
    for (direction, count, total) in [
        (FundDirection::Income, "收入笔数", "收入金额"),
        (FundDirection::Expense, "支出笔数", "支出金额"),
    ] {
        let announced = (number(&summary, count)?, fen(summary.field(total)?)?);
        check_funds(&rows, direction, announced, total)?;
    }
    Ok(rows)
}

fn number(summary: &Summary, name: &str) -> Result<usize, BillError> {
    let text = summary.field(name)?;
    text.parse()
        .map_err(|_| BillError(format!("{name} is {text:?} and no number")))
}

fn row(columns: &Columns, fields: &[&str]) -> Result<FundRow, BillError> {
    let field = |name: &str| columns.field(fields, name);
    let amount = fen(field("收支金额")?)?;
    if amount < 0 {
        return Err(BillError::new("a row's amount has a sign"));
    }
    let voucher = field("业务凭证号").ok().filter(|text| !text.is_empty());
    Ok(FundRow {
        entry_no: field("资金流水单号")?.to_owned(),
        business_no: field("微信支付业务单号")?.to_owned(),
        reference: voucher.map(str::to_owned),
        business_type: field("业务类型")?.to_owned(),
        direction: match field("收支类型")? {
            "收入" => FundDirection::Income,
            "支出" => FundDirection::Expense,
            other => return Err(BillError(format!("unknown 收支类型 {other:?}"))),
        },
        amount: Money::new(amount, Currency::CNY),
        balance: Money::new(fen(field("账户结余")?)?, Currency::CNY),
        time: beijing_time(field("记账时间")?)?,
    })
}

#[cfg(test)]
pub(super) mod tests;
