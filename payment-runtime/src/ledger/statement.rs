//! Statements: one account, one day.
//!
//! Guarantees: opening balance, entries and closing balance are of one moment within a page; a
//! page is bounded. Entries without a seal count like any other.

use jiff::civil::Date;
use payment_core::{Account, Currency, Money};
use serde::Serialize;

use crate::csv::quoted;
use crate::ports::StoreError;
use crate::records::Entry;
use crate::store::Store;

/// Lines of one page at most.
const LINES_MAX: u32 = 1000;

/// Which statement.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub account: Account,
    pub currency: Currency,
    /// Beijing value day.
    pub day: Date,
}

/// A page of a statement. Balances are debit-positive, in minor units.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    pub account: &'static str,
    pub currency: &'static str,
    pub day: String,
    pub opening_minor: i64,
    /// All of the day, not only of this page.
    pub debit_minor: i64,
    pub credit_minor: i64,
    pub closing_minor: i64,
    pub entries: Vec<Entry>,
    /// Where the next page continues; `None`: this was the last.
    pub next: Option<u64>,
}

impl Statement {
    /// What an entry of this statement did to the account.
    pub fn minor(&self, entry: &Entry) -> i64 {
        if entry.debit == self.account {
            entry.amount_minor
        } else {
            -entry.amount_minor
        }
    }
}

/// A page of at most `limit` entries after the entry `after`.
pub async fn statement(
    store: &Store,
    wanted: &Wanted,
    after: u64,
    limit: u32,
) -> Result<Statement, StoreError> {
    let limit = limit.clamp(1, LINES_MAX);
    let mut view = store.ledger_view().await?;
    let before = view.turnover_before(wanted).await?;
    let day = view.turnover_of_day(wanted).await?;
    let entries = view.lines(wanted, after, limit).await?;
    view.close().await?;
    let opening_minor = before.debit_minor - before.credit_minor;
    let full = entries.len() == limit as usize;
    Ok(Statement {
        account: wanted.account.as_str(),
        currency: wanted.currency.code(),
        day: wanted.day.to_string(),
        opening_minor,
        debit_minor: day.debit_minor,
        credit_minor: day.credit_minor,
        closing_minor: opening_minor + day.debit_minor - day.credit_minor,
        next: entries.last().filter(|_| full).map(|entry| entry.id),
        entries,
    })
}

/// The first line of a statement as CSV (RFC 4180).
pub const fn csv_header() -> &'static str {
    "id,recordedAt,day,cause,amount,currency,debit,credit,paymentId,refundNo,reference,source,\
     actor,rule,key"
}

/// An entry as a line of CSV, its amount signed as the account sees it.
pub fn csv_line(statement: &Statement, currency: Currency, entry: &Entry) -> String {
    let amount = Money::new(statement.minor(entry), currency).to_decimal();
    let fields = [
        entry.id.to_string(),
        entry.recorded_at.to_string(),
        entry.day.clone(),
        entry.cause.clone(),
        amount,
        entry.currency.clone(),
        entry.debit.clone(),
        entry.credit.clone(),
        entry.payment_no.clone().unwrap_or_default(),
        entry.refund_no.clone().unwrap_or_default(),
        entry.reference.clone(),
        entry.source.clone(),
        entry.actor.clone(),
        entry.rule.clone().unwrap_or_default(),
        entry.entry_key.clone(),
    ];
    fields.map(quoted).join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_csv_would_tear_apart_are_quoted() {
        assert_eq!(quoted("plain:0".to_owned()), "plain:0");
        assert_eq!(quoted("a,\"b\"".to_owned()), "\"a,\"\"b\"\"\"");
        let fields = csv_header().split(',').count();
        assert_eq!(fields, 15);
    }
}
