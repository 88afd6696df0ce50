//! The account statement of Alipay (`signcustomer`): what moved on the seller's balance.
//!
//! Guarantees: the file is about the day that was asked for, and its numbers and sums of income and
//! expense are those of its footer, or no row comes out.
//!
//! Not here: names, counterparties and remarks, which no comparison needs.

use jiff::civil::Date;
use payment_core::{Currency, Money};

use super::table::{Cut, Table, unpacked};
use crate::bill::{BillError, Columns, FundDirection, FundRow, beijing_time, check_funds, fen};

/// The columns of free text: commas in them split their row.
const TEXTS: [&str; 2] = ["商品名称", "备注"];

pub(super) fn read(file: &[u8], day: Date) -> Result<Vec<FundRow>, BillError> {
    parse(&unpacked(file, "账务明细")?, day)
}

pub(super) fn parse(text: &str, day: Date) -> Result<Vec<FundRow>, BillError> {
    let table = Table::read(text, day)?;
    let rows: Vec<FundRow> = table
        .rows
        .iter()
        .map(|line| row(&table.columns, line))
        .collect::<Result<_, _>>()?;
    for (direction, name) in [
        (FundDirection::Expense, "#支出合计："),
        (FundDirection::Income, "#收入合计："),
    ] {
        check_funds(&rows, direction, table.total(name)?, name)?;
    }
    Ok(rows)
}

/// Tries out which of the two texts the surplus commas belong to: only one choice leaves a time and
/// amounts where they have to be.
fn row(columns: &Columns, line: &str) -> Result<FundRow, BillError> {
    let cut = Cut::new(columns, line)?;
    let mut texts = TEXTS;
    texts.sort_by_key(|name| columns.position(name));
    let attempt = |in_first: usize| {
        let commas = [(texts[0], in_first), (texts[1], cut.surplus - in_first)];
        entry(columns, &cut.fields(columns, &commas)?)
    };
    let first = attempt(0);
    (1..=cut.surplus).fold(first, |found, commas| found.or_else(|_| attempt(commas)))
}

fn entry(columns: &Columns, fields: &[String]) -> Result<FundRow, BillError> {
    let field = |name: &str| columns.field(fields, name);
    let (direction, amount) = moved(signed(field("收入金额")?)?, signed(field("支出金额")?)?)?;
    let order = Some(field("商户订单号")?).filter(|text| !text.is_empty());
    Ok(FundRow {
        entry_no: field("账务流水号")?.to_owned(),
        business_no: field("业务流水号")?.to_owned(),
        reference: order.map(str::to_owned),
        business_type: field("业务类型")?.to_owned(),
        direction,
        amount: Money::new(amount, Currency::CNY),
        balance: Money::new(fen(field("账户余额")?)?, Currency::CNY),
        time: beijing_time(field("发生时间")?)?,
    })
}

/// Nothing may stand in the column that does not apply, and income may carry its sign.
fn signed(text: &str) -> Result<i64, BillError> {
    match text.strip_prefix('+').unwrap_or(text) {
        "" => Ok(0),
        text => fen(text),
    }
}

fn moved(income: i64, expense: i64) -> Result<(FundDirection, i64), BillError> {
    match (income, expense) {
        (1.., 0) => Ok((FundDirection::Income, income)),
        (0, expense) if expense != 0 => Ok((FundDirection::Expense, expense.abs())),
        _ => Err(BillError::new("a row is not either income or expense")),
    }
}

#[cfg(test)]
pub(super) mod tests;
