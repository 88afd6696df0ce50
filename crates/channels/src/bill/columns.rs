//! Columns by their names, and the exact reading of what stands in them.
//!
//! Guarantees: no float anywhere; a number with more decimals than it may have is an error, not
//! rounded; an error names line and column.
//!
//! Not here: how a line is cut into fields.

use jiff::civil::DateTime;
use payment_core::money::parse_scaled;
use payment_core::{Currency, Money};

use super::error::quoted;
use super::{BillError, Reason};

/// The widest bills have 30.
const COLUMNS_MAX: usize = 200;
/// The longest numbers of the channels have 64.
const NUMBER_MAX: usize = 128;
/// Length of `2026-10-03 10:34:56`.
const TIME_LENGTH: usize = 19;
/// Amounts are added up in 1e-5 of the major unit, which is what fees have.
const SCALE: u32 = 5;

/// The names in a header; the order and the set of columns vary.
#[derive(Debug)]
pub(crate) struct Columns {
    names: Vec<String>,
    line: u64,
}

/// One column and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    at: usize,
    name: &'static str,
}

impl Column {
    pub(crate) const fn place(self) -> usize {
        self.at
    }
}

impl Columns {
    pub(crate) fn new(names: impl Iterator<Item = String>, line: u64) -> Result<Self, BillError> {
        let names: Vec<String> = names.take(COLUMNS_MAX + 1).collect();
        if names.len() > COLUMNS_MAX {
            let what = format!("it names more than {COLUMNS_MAX} columns");
            return Err(BillError::line(Reason::TooManyColumns, line, what));
        }
        Ok(Self { names, line })
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn first(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    pub(crate) fn optional(&self, name: &'static str) -> Result<Option<Column>, BillError> {
        let mut places = (0..self.names.len()).filter(|at| self.names[*at] == name);
        let found = places.next().map(|at| Column { at, name });
        if places.next().is_some() {
            let what = "the header names it twice";
            let reason = Reason::RepeatedColumn;
            return Err(BillError::column(reason, self.line, name, what));
        }
        Ok(found)
    }

    pub(crate) fn required(&self, name: &'static str) -> Result<Column, BillError> {
        self.optional(name)?.ok_or_else(|| {
            let what = "the header does not name it";
            BillError::column(Reason::ColumnMissing, self.line, name, what)
        })
    }

    /// A line that names none of these columns is no header.
    pub(crate) fn check_is_header(&self, names: &[&str]) -> Result<(), BillError> {
        if names
            .iter()
            .any(|name| self.names.iter().any(|own| own == name))
        {
            return Ok(());
        }
        let what = format!(
            "a header with the column {} was expected, here is {}",
            names.join(" or "),
            quoted(&self.names.join(","))
        );
        Err(BillError::line(Reason::NoHeader, self.line, what))
    }
}

/// The fields of one line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    pub(crate) line: u64,
    /// The same over all parts of the bill.
    pub(crate) in_bill: u64,
    fields: &'a [&'a str],
    /// Free text that was cut at its own commas: after which column, and into how many fields too
    /// many.
    gaps: [(usize, usize); 2],
}

impl<'a> Row<'a> {
    pub(crate) const fn new(line: u64, in_bill: u64, fields: &'a [&'a str]) -> Self {
        Self {
            line,
            in_bill,
            fields,
            gaps: [(0, 0); 2],
        }
    }

    pub(crate) const fn with_gaps(self, texts: [(Column, usize); 2]) -> Self {
        let [(first, a), (second, b)] = texts;
        Self {
            gaps: [(first.at, a), (second.at, b)],
            ..self
        }
    }

    pub(crate) fn text(&self, column: Column) -> &'a str {
        let shift = |(after, width): (usize, usize)| if column.at > after { width } else { 0 };
        let at = column.at + shift(self.gaps[0]) + shift(self.gaps[1]);
        self.fields.get(at).copied().unwrap_or_default()
    }

    /// The text of a column that is there and not empty.
    pub(crate) fn filled(&self, column: Option<Column>) -> Option<&'a str> {
        column
            .map(|column| self.text(column))
            .filter(|text| !text.is_empty())
    }

    pub(crate) fn wrong(&self, column: Column, what: &str) -> BillError {
        let what = format!("{} {what}", quoted(self.text(column)));
        BillError::column(Reason::RowMalformed, self.line, column.name, what)
    }

    /// A number that names something; may be empty.
    pub(crate) fn name(&self, column: Column) -> Result<String, BillError> {
        let text = self.text(column);
        if text.len() > NUMBER_MAX {
            return Err(self.wrong(column, "is longer than any number of the channel"));
        }
        Ok(text.to_owned())
    }

    /// The same of a column that may be missing; `0` stands for none.
    pub(crate) fn name_if_any(&self, column: Option<Column>) -> Result<Option<String>, BillError> {
        let column = column.filter(|column| !matches!(self.text(*column), "" | "0"));
        column.map(|column| self.name(column)).transpose()
    }

    /// The same of a column that must be filled.
    pub(crate) fn required_name(&self, column: Column) -> Result<String, BillError> {
        if self.text(column).is_empty() {
            return Err(self.wrong(column, "stands where a number must be"));
        }
        self.name(column)
    }

    fn scaled(&self, column: Column, text: &str, decimals: u32) -> Result<i64, BillError> {
        parse_scaled(text, decimals).map_err(|_| {
            let what = format!("is not an amount with at most {decimals} decimals");
            self.wrong(column, &what)
        })
    }

    pub(crate) fn fen(&self, column: Column) -> Result<i64, BillError> {
        self.scaled(column, self.text(column), 2)
    }

    /// The same where a plus may stand before it.
    pub(crate) fn signed_fen(&self, column: Column) -> Result<i64, BillError> {
        let text = self.text(column);
        self.scaled(column, text.strip_prefix('+').unwrap_or(text), 2)
    }

    pub(crate) fn yuan_1e5(&self, column: Column) -> Result<i64, BillError> {
        self.scaled(column, self.text(column), SCALE)
    }

    /// An amount in 1e-5 of the currency's major unit, and the same as money.
    pub(crate) fn money(
        &self,
        column: Column,
        currency: Currency,
    ) -> Result<(i64, Money), BillError> {
        let value = self.yuan_1e5(column)?;
        let unit = 10_i64.pow(SCALE.saturating_sub(currency.exponent()));
        if value % unit != 0 {
            let what = format!("is not an amount in {}", currency.code());
            return Err(self.wrong(column, &what));
        }
        Ok((value, Money::new(value / unit, currency)))
    }

    pub(crate) fn time(&self, column: Column) -> Result<DateTime, BillError> {
        beijing_time(self.text(column))
            .ok_or_else(|| self.wrong(column, "is not a time such as 2026-10-03 10:34:56"))
    }
}

/// As both channels write it: `2026-10-03 10:34:56`.
pub(crate) fn beijing_time(text: &str) -> Option<DateTime> {
    (text.len() == TIME_LENGTH)
        .then(|| text.parse().ok())
        .flatten()
}
