//! The account statement of Alipay (`signcustomer`): what moved on the seller's balance.
//!
//! Guarantees: the file is about the day that was asked for, and its numbers and sums of income and
//! expense are those of its footer, or no row comes out.
//!
//! Not here: names, counterparties and remarks, which no comparison needs.

use std::io::Cursor;

use jiff::civil::Date;
use payment_core::{Currency, Money};

use super::table::{self, Cut, Kind, Reader, Total};
use crate::bill::{
    BillError, Column, Columns, FundDirection, FundRow, Halt, Lines, Position, Row, check_funds,
};

const KIND: Kind = Kind {
    name: "账务明细",
    header: &["账务流水号", "业务流水号"],
    totals: ["#支出合计：", "#收入合计："],
};

pub(super) fn read(file: &[u8], day: Date) -> Result<Vec<FundRow>, BillError> {
    let mut statement = Statement::default();
    let read = table::read(Cursor::new(file), &KIND, day, &mut statement);
    read.map_err(Halt::into_error)?;
    Ok(statement.rows)
}

/// The same of one bare table.
pub(super) fn read_table(table: &[u8], day: Date) -> Result<Vec<FundRow>, BillError> {
    let mut statement = Statement::default();
    let mut lines = Lines::new(table, Position::default());
    let read = table::table(&mut lines, &KIND, day, &mut statement);
    read.map_err(Halt::into_error)?;
    Ok(statement.rows)
}

struct Layout {
    /// The columns of free text, in the order of the columns: commas in them split their row.
    texts: [Column; 2],
    income: Column,
    expense: Column,
    order_no: Column,
    entry_no: Column,
    business_no: Column,
    business_type: Column,
    balance: Column,
    time: Column,
}

impl Layout {
    fn find(columns: &Columns) -> Result<Self, BillError> {
        let mut texts = [columns.required("商品名称")?, columns.required("备注")?];
        texts.sort_by_key(|text| text.place());
        Ok(Self {
            texts,
            income: columns.required("收入金额")?,
            expense: columns.required("支出金额")?,
            order_no: columns.required("商户订单号")?,
            entry_no: columns.required("账务流水号")?,
            business_no: columns.required("业务流水号")?,
            business_type: columns.required("业务类型")?,
            balance: columns.required("账户余额")?,
            time: columns.required("发生时间")?,
        })
    }

    /// Tries out which of the two texts the surplus commas belong to: only one choice leaves a time
    /// and amounts where they have to be.
    fn row(&self, cut: &Cut<'_>) -> Result<FundRow, BillError> {
        let [first, second] = self.texts;
        let attempt = |in_first: usize| {
            let gaps = [(first, in_first), (second, cut.surplus - in_first)];
            self.entry(&cut.row.with_gaps(gaps))
        };
        let found = attempt(0);
        (1..=cut.surplus).fold(found, |found, commas| found.or_else(|_| attempt(commas)))
    }

    fn entry(&self, row: &Row<'_>) -> Result<FundRow, BillError> {
        let income = signed(row, self.income)?;
        let (direction, amount) = match (income, signed(row, self.expense)?) {
            (1.., 0) => (FundDirection::Income, income),
            (0, expense) if expense != 0 => (FundDirection::Expense, expense.saturating_abs()),
            _ => return Err(row.wrong(self.income, "is not either income or expense")),
        };
        Ok(FundRow {
            entry_no: row.name(self.entry_no)?,
            business_no: row.name(self.business_no)?,
            reference: row.filled(Some(self.order_no)).map(str::to_owned),
            business_type: row.name(self.business_type)?,
            direction,
            amount: Money::new(amount, Currency::CNY),
            balance: Money::new(row.fen(self.balance)?, Currency::CNY),
            time: row.time(self.time)?,
        })
    }
}

/// Nothing may stand in the column that does not apply, and income may carry its sign.
fn signed(row: &Row<'_>, column: Column) -> Result<i64, BillError> {
    match row.text(column) {
        "" => Ok(0),
        _ => row.signed_fen(column),
    }
}

#[derive(Default)]
struct Statement {
    rows: Vec<FundRow>,
    /// Rows of the tables before.
    checked: usize,
}

impl Reader for Statement {
    type Layout = Layout;

    fn layout(&self, columns: &Columns) -> Result<Layout, BillError> {
        Layout::find(columns)
    }

    fn row(&mut self, layout: &Layout, cut: &Cut<'_>) -> Result<(), Halt> {
        self.rows.push(layout.row(cut)?);
        Ok(())
    }

    fn totals(&mut self, [expense, income]: [Total; 2]) -> Result<(), BillError> {
        let rows = &self.rows[self.checked..];
        check_funds(rows, FundDirection::Expense, expense, "支出合计")?;
        check_funds(rows, FundDirection::Income, income, "收入合计")?;
        self.checked = self.rows.len();
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests;
