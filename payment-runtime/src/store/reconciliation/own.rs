//! Our side of a comparison.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::Date;
use payment_core::ledger::Account;
use payment_core::reconciliation::Kind;
use payment_core::{ChannelKind, Money, PaymentState, RefundState};
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::{kind_number, places};
use crate::reconcile::books::{AcceptedBill, OwnRow, settled_payment, settled_refund};
use crate::records::PaymentRecord;
use crate::store::rows::{self, currency, moment, named};
use crate::store::{Store, StoreError, to_datetime, to_day};

const PAYMENT: &str = "SELECT payment_no, business_no, attempt, channel_order_no, transaction_id, \
     amount, currency, status, refunded_minor, paid_at FROM payment_records";
const REFUND: &str = "SELECT payment_no, refund_no, channel_order_no, channel_refund_no, \
     channel_refund_id, amount, currency, status, refunded_at FROM payment_refunds";
/// Days around a bill's own on whose bills a row of it may stand.
const DAYS_AROUND: i64 = 7;

impl Store {
    pub(super) async fn own_on(
        &self,
        channel: ChannelKind,
        day: Date,
        kind: Kind,
        (after, until): (Option<&str>, Option<&str>),
        limit: u32,
    ) -> Result<Vec<OwnRow>, StoreError> {
        let (select, day_column, number) = match kind {
            Kind::Payment => (PAYMENT, "paid_day", "channel_order_no"),
            Kind::Refund => (REFUND, "refunded_day", "channel_refund_no"),
        };
        let upper = if until.is_some() {
            format!("AND {number} <= ?")
        } else {
            String::new()
        };
        // The text is put together from constants.
        let sql = format!(
            "{select} WHERE payment_channel = ? AND {day_column} = ? AND {number} > ? {upper} \
             ORDER BY {number} LIMIT ?"
        );
        let mut query = sqlx::query(AssertSqlSafe(sql))
            .bind(channel.as_str())
            .bind(to_day(day))
            .bind(after.unwrap_or_default());
        if let Some(until) = until {
            query = query.bind(until);
        }
        let found = query.bind(limit).fetch_all(&self.pool).await?;
        found.iter().map(|row| own(row, kind)).collect()
    }

    pub(super) async fn own_named(
        &self,
        channel: ChannelKind,
        kind: Kind,
        numbers: &[String],
    ) -> Result<Vec<OwnRow>, StoreError> {
        let (select, number) = match kind {
            Kind::Payment => (PAYMENT, "channel_order_no"),
            Kind::Refund => (REFUND, "channel_refund_no"),
        };
        let mut found = Vec::new();
        for some in numbers.chunks(NAMED_TOGETHER) {
            let places = places(some.len());
            // The text depends on constants and on the number of values alone.
            let sql = format!("{select} WHERE payment_channel = ? AND {number} IN ({places})");
            let mut query = sqlx::query(AssertSqlSafe(sql)).bind(channel.as_str());
            for number in some {
                query = query.bind(number);
            }
            for row in &query.fetch_all(&self.pool).await? {
                found.push(own(row, kind)?);
            }
        }
        Ok(found)
    }

    pub(super) async fn named_elsewhere(
        &self,
        bill: &AcceptedBill,
        kind: Kind,
        numbers: &[String],
    ) -> Result<BTreeSet<String>, StoreError> {
        let around = |days: i64| bill.day.saturating_add(jiff::Span::new().days(days));
        let mut found = BTreeSet::new();
        for some in numbers.chunks(NAMED_TOGETHER) {
            let places = places(some.len());
            // The text depends on constants and on the number of values alone.
            let sql = format!(
                "SELECT DISTINCT r.number AS number FROM bills b JOIN bill_rows r \
                 ON r.bill_id = b.id AND r.kind = ? AND r.number IN ({places}) \
                 WHERE b.payment_channel = ? AND b.state = 'accepted' AND b.id <> ? \
                 AND b.bill_day BETWEEN ? AND ? AND b.bill_day <> ?"
            );
            let mut query = sqlx::query(AssertSqlSafe(sql)).bind(kind_number(kind));
            for number in some {
                query = query.bind(number);
            }
            let rows = query
                .bind(bill.channel.as_str())
                .bind(bill.id)
                .bind(to_day(around(-DAYS_AROUND)))
                .bind(to_day(around(DAYS_AROUND)))
                .bind(to_day(bill.day))
                .fetch_all(&self.pool)
                .await?;
            for row in &rows {
                found.insert(row.try_get("number")?);
            }
        }
        Ok(found)
    }

    pub(super) async fn clearing(
        &self,
        channel: ChannelKind,
        payment_nos: &[String],
    ) -> Result<BTreeMap<String, i64>, StoreError> {
        let account = Account::Clearing(channel).to_string();
        let mut sums = BTreeMap::new();
        for some in payment_nos.chunks(NAMED_TOGETHER) {
            let places = places(some.len());
            // The text depends on constants and on the number of values alone.
            let sql = format!(
                "SELECT payment_no, CAST(SUM(CASE WHEN debit_account = ? THEN amount \
                 WHEN credit_account = ? THEN -amount ELSE 0 END) AS SIGNED) AS minor \
                 FROM ledger_entries WHERE payment_no IN ({places}) GROUP BY payment_no"
            );
            let mut query = sqlx::query(AssertSqlSafe(sql))
                .bind(&account)
                .bind(&account);
            for payment_no in some {
                query = query.bind(payment_no);
            }
            for row in &query.fetch_all(&self.pool).await? {
                sums.insert(row.try_get("payment_no")?, row.try_get("minor")?);
            }
        }
        Ok(sums)
    }

    pub(super) async fn orders_charged_twice(
        &self,
        order_ids: &[String],
    ) -> Result<BTreeSet<String>, StoreError> {
        let mut twice = BTreeSet::new();
        for some in order_ids.chunks(NAMED_TOGETHER) {
            let places = places(some.len());
            // The text depends on constants and on the number of values alone.
            let sql = format!(
                "SELECT business_no FROM payment_records WHERE business_no IN ({places}) \
                 AND status IN ('PAID', 'PARTLY_REFUNDED') AND given_up = FALSE \
                 AND reserved_minor < amount GROUP BY business_no HAVING COUNT(*) > 1"
            );
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for order_id in some {
                query = query.bind(order_id);
            }
            for row in &query.fetch_all(&self.pool).await? {
                twice.insert(row.try_get("business_no")?);
            }
        }
        Ok(twice)
    }

    pub(super) async fn unsettled(
        &self,
        channel: ChannelKind,
        since: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<PaymentRecord>, StoreError> {
        let found = sqlx::query(
            "SELECT * FROM payment_records WHERE next_question_at IS NOT NULL \
             AND payment_channel = ? AND created_at >= ? AND created_at <= ? \
             AND status <> 'PAID_AFTER_CLOSE' ORDER BY id LIMIT ?",
        )
        .bind(channel.as_str())
        .bind(to_datetime(since))
        .bind(to_datetime(until))
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        found.iter().map(rows::payment).collect()
    }
}

/// Values of one IN list: few texts are prepared, each of a bounded length, and a statement stays
/// within [`super::SENT_AT_ONCE`].
const NAMED_TOGETHER: usize = super::SENT_AT_ONCE / 40;

fn own(row: &MySqlRow, kind: Kind) -> Result<OwnRow, StoreError> {
    match kind {
        Kind::Payment => own_payment(row),
        Kind::Refund => own_refund(row),
    }
}

fn own_payment(row: &MySqlRow) -> Result<OwnRow, StoreError> {
    let status = named(row, "status", "a payment state", PaymentState::parse)?;
    let amount = Money::new(row.try_get("amount")?, currency(row)?);
    let refunded: i64 = row.try_get("refunded_minor")?;
    let charged = if status.was_charged() {
        amount.minor
    } else {
        0
    };
    Ok(OwnRow {
        number: row.try_get("channel_order_no")?,
        payment_no: row.try_get("payment_no")?,
        refund_no: None,
        order_id: row.try_get("business_no")?,
        attempt: row.try_get("attempt")?,
        channel_order_no: row.try_get("channel_order_no")?,
        transaction_id: row.try_get("transaction_id")?,
        amount,
        settled: settled_payment(status),
        state: status.as_str(),
        at: moment(row, "paid_at")?,
        clearing_minor: charged - refunded,
    })
}

fn own_refund(row: &MySqlRow) -> Result<OwnRow, StoreError> {
    let status = named(row, "status", "a refund state", RefundState::parse)?;
    Ok(OwnRow {
        number: row.try_get("channel_refund_no")?,
        payment_no: row.try_get("payment_no")?,
        refund_no: row.try_get("refund_no")?,
        order_id: String::new(),
        attempt: 1,
        channel_order_no: row.try_get("channel_order_no")?,
        transaction_id: row.try_get("channel_refund_id")?,
        amount: Money::new(row.try_get("amount")?, currency(row)?),
        settled: settled_refund(status),
        state: status.as_str(),
        at: moment(row, "refunded_at")?,
        clearing_minor: 0,
    })
}
