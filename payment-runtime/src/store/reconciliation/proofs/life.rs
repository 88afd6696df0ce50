//! Whole lives of payments in the ledger, for movements that records and ledger place on
//! different days.

use payment_core::PaymentState;
use sqlx::Row as _;

use super::{ProofView, Scope, big};
use crate::store::rows::named;
use crate::store::{StoreError, ledger};

/// A payment over all days.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    /// What clearing must show by the record; `None`: there is no such payment of this channel
    /// and currency.
    pub(crate) expected: Option<i128>,
    /// What the record's own entries show there.
    pub(crate) shown: i128,
    /// Their days, with commas.
    pub(crate) days: String,
}

impl ProofView {
    pub(crate) async fn life(&mut self, at: &Scope, number: &str) -> Result<Life, StoreError> {
        let sql = "SELECT status, amount, refunded_minor FROM payment_records \
                   WHERE payment_no = ? AND payment_channel = ? AND currency = ?";
        let values = [number.into(), at.channel(), at.currency()];
        let records = self.rows(sql.to_owned(), &values).await?;
        let mut expected = None;
        if let Some(row) = records.first() {
            let status = named(row, "status", "a payment state", PaymentState::parse)?;
            let (amount, refunded): (i64, i64) =
                (row.try_get("amount")?, row.try_get("refunded_minor")?);
            let left = i128::from(amount) - i128::from(refunded);
            expected = Some(if status.was_charged() { left } else { 0 });
        }
        let sql = format!(
            "SELECT CAST(COALESCE(SUM(IF(e.debit_account = ?, e.amount, -e.amount)), 0) AS CHAR) \
             AS minor, COALESCE(GROUP_CONCAT(DISTINCT e.day ORDER BY e.day SEPARATOR ', '), '') \
             AS days FROM ledger_entries e WHERE e.payment_no = ? AND e.currency = ? \
             AND ? IN (e.debit_account, e.credit_account) AND e.cause IN ({})",
            ledger::causes_of_records()
        );
        let clearing = at.clearing();
        let values = [
            clearing.into(),
            number.into(),
            at.currency(),
            clearing.into(),
        ];
        let rows = self.rows(sql, &values).await?;
        let Some(row) = rows.first() else {
            let (shown, days) = (0, String::new());
            return Ok(Life {
                expected,
                shown,
                days,
            });
        };
        Ok(Life {
            expected,
            shown: big(row, "minor")?,
            days: row.try_get("days")?,
        })
    }
}
