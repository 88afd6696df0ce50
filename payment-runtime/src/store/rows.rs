//! From rows to records, and what every table shares.

use channels::{OrderState, RefundState as ChannelRefundState};
use jiff::Timestamp;
use payment_core::refund::Reserved;
use payment_core::{ChannelKind, Currency, Money, PayMethod, PaymentState, RefundState};
use sqlx::mysql::MySqlRow;
use sqlx::{MySqlConnection, Row as _};
use time::PrimitiveDateTime;

use super::{Failure, StoreError, from_datetime, to_datetime};
use crate::records::{
    Event, InboxEntry, NewEvent, PaymentRecord, RefundOrigin, RefundRecord, SeenByChannel,
    SeenRefund, after,
};

pub(super) fn payment(row: &MySqlRow) -> Result<PaymentRecord, StoreError> {
    let channel = channel(row)?;
    Ok(PaymentRecord {
        id: row.try_get("id")?,
        payment_no: row.try_get("payment_no")?,
        order_id: row.try_get("business_no")?,
        attempt: row.try_get("attempt")?,
        user_id: row.try_get("user_id")?,
        channel,
        method: named(row, "method", "a method", |name| {
            PayMethod::parse(channel, name)
        })?,
        channel_order_no: row.try_get("channel_order_no")?,
        amount: Money::new(row.try_get("amount")?, currency(row)?),
        subject: row.try_get("subject")?,
        payer: json(row, "payer")?.unwrap_or_default(),
        items: json(row, "items")?.unwrap_or_default(),
        request_hash: row.try_get("request_hash")?,
        status: named(row, "status", "a payment state", PaymentState::parse)?,
        action: json(row, "action")?,
        transaction_id: row.try_get("transaction_id")?,
        paid_at: moment(row, "paid_at")?,
        expires_at: from_datetime(row.try_get("expires_at")?),
        question_count: row.try_get("question_count")?,
        next_question_at: moment(row, "next_question_at")?,
        reserved: Reserved {
            minor: row.try_get("reserved_minor")?,
            count: row.try_get("refund_count")?,
        },
        refunded_minor: row.try_get("refunded_minor")?,
        given_up: row.try_get("given_up")?,
        last_refund_at: moment(row, "last_refund_at")?,
        created_at: from_datetime(row.try_get("created_at")?),
        updated_at: from_datetime(row.try_get("updated_at")?),
    })
}

pub(super) fn refund(row: &MySqlRow) -> Result<RefundRecord, StoreError> {
    let currency = currency(row)?;
    Ok(RefundRecord {
        id: row.try_get("id")?,
        refund_no: row.try_get("refund_no")?,
        payment_no: row.try_get("payment_no")?,
        channel: channel(row)?,
        channel_order_no: row.try_get("channel_order_no")?,
        channel_refund_no: row.try_get("channel_refund_no")?,
        amount: Money::new(row.try_get("amount")?, currency),
        payment_amount: Money::new(row.try_get("payment_amount")?, currency),
        reason: row.try_get("reason")?,
        request_hash: row.try_get("request_hash")?,
        origin: named(row, "origin", "a refund's origin", RefundOrigin::parse)?,
        status: named(row, "status", "a refund state", RefundState::parse)?,
        channel_refund_id: row.try_get("channel_refund_id")?,
        refunded_at: moment(row, "refunded_at")?,
        attention: row.try_get("attention")?,
        question_count: row.try_get("question_count")?,
        next_question_at: moment(row, "next_question_at")?,
        created_at: from_datetime(row.try_get("created_at")?),
        updated_at: from_datetime(row.try_get("updated_at")?),
    })
}

pub(super) fn event(row: &MySqlRow) -> Result<Event, StoreError> {
    Ok(Event {
        id: row.try_get("id")?,
        at: from_datetime(row.try_get("at")?),
        source: row.try_get("source")?,
        observation: row.try_get("observation")?,
        from: row.try_get("from_status")?,
        to: row.try_get("to_status")?,
        decision: row.try_get("decision")?,
        transaction_id: row.try_get("transaction_id")?,
        refund_no: row.try_get("refund_no")?,
        detail: row.try_get("detail")?,
    })
}

pub(super) fn inbox_entry(row: &MySqlRow) -> Result<InboxEntry, StoreError> {
    let currency = currency(row)?;
    let refund_state: Option<String> = row.try_get("refund_state")?;
    let refund = refund_state
        .map(|name| seen_refund(row, &name, currency))
        .transpose()?;
    Ok(InboxEntry {
        id: row.try_get("id")?,
        channel: channel(row)?,
        channel_order_no: row.try_get("channel_order_no")?,
        transaction_id: row.try_get("transaction_id")?,
        event: row.try_get("event")?,
        seen: SeenByChannel {
            state: named(row, "observed", "an order state", order_state)?,
            amount: Money::new(row.try_get("amount")?, currency),
            paid_at: moment(row, "paid_at")?,
            refund,
        },
        attempts: row.try_get("attempts")?,
    })
}

fn seen_refund(row: &MySqlRow, name: &str, currency: Currency) -> Result<SeenRefund, StoreError> {
    let amount: Option<i64> = row.try_get("refund_amount")?;
    Ok(SeenRefund {
        channel_refund_no: row.try_get("channel_refund_no")?,
        channel_refund_id: row.try_get("channel_refund_id")?,
        state: refund_state(name).ok_or_else(|| unreadable("a refund state", name))?,
        amount: amount.map(|minor| Money::new(minor, currency)),
        refunded_at: moment(row, "refunded_at")?,
    })
}

const ORDER_STATES: [(OrderState, &str); 5] = [
    (OrderState::NotFound, "NOT_FOUND"),
    (OrderState::NotPaid, "NOT_PAID"),
    (OrderState::Paid, "PAID"),
    (OrderState::Closed, "CLOSED"),
    (OrderState::Refunded, "REFUNDED"),
];

const REFUND_STATES: [(ChannelRefundState, &str); 5] = [
    (ChannelRefundState::NotFound, "NOT_FOUND"),
    (ChannelRefundState::Processing, "PROCESSING"),
    (ChannelRefundState::Succeeded, "SUCCEEDED"),
    (ChannelRefundState::Failed, "FAILED"),
    (ChannelRefundState::Abnormal, "ABNORMAL"),
];

/// How an order's state at the channel is written into the inbox.
pub(super) fn order_state_name(state: OrderState) -> &'static str {
    name_in(&ORDER_STATES, state)
}

fn order_state(name: &str) -> Option<OrderState> {
    value_in(&ORDER_STATES, name)
}

/// How a refund's state at the channel is written into the inbox.
pub(super) fn refund_state_name(state: ChannelRefundState) -> &'static str {
    name_in(&REFUND_STATES, state)
}

fn refund_state(name: &str) -> Option<ChannelRefundState> {
    value_in(&REFUND_STATES, name)
}

fn name_in<T: Copy + PartialEq>(table: &[(T, &'static str)], value: T) -> &'static str {
    table
        .iter()
        .find(|(known, _)| *known == value)
        .map_or("", |(_, name)| name)
}

fn value_in<T: Copy>(table: &[(T, &'static str)], name: &str) -> Option<T> {
    table
        .iter()
        .find(|(_, known)| *known == name)
        .map(|(value, _)| *value)
}

pub(super) fn channel(row: &MySqlRow) -> Result<ChannelKind, StoreError> {
    named(row, "payment_channel", "a channel", ChannelKind::parse)
}

pub(super) fn currency(row: &MySqlRow) -> Result<Currency, StoreError> {
    named(row, "currency", "a currency", |code| {
        Currency::parse(code).ok()
    })
}

pub(super) fn named<T>(
    row: &MySqlRow,
    column: &str,
    what: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, StoreError> {
    let name: String = row.try_get(column)?;
    parse(&name).ok_or_else(|| unreadable(what, &name))
}

fn json<T: serde::de::DeserializeOwned>(
    row: &MySqlRow,
    column: &'static str,
) -> Result<Option<T>, StoreError> {
    let text: Option<String> = row.try_get(column)?;
    // The text may name the payer: an error must not quote it.
    text.map(|text| serde_json::from_str(&text).map_err(|_| unreadable(column, "not its JSON")))
        .transpose()
}

pub(super) fn moment(row: &MySqlRow, column: &str) -> Result<Option<Timestamp>, StoreError> {
    let at: Option<PrimitiveDateTime> = row.try_get(column)?;
    Ok(at.map(from_datetime))
}

pub(super) fn unreadable(what: &'static str, value: &str) -> StoreError {
    StoreError::Unreadable {
        what,
        value: value.to_owned(),
    }
}

/// A record that must be there and is not.
pub(super) fn vanished(key: &str) -> StoreError {
    unreadable("no record", key)
}

/// When a worker's hold that begins now ends by itself.
pub(super) fn lease_end(now: Timestamp, lease_seconds: u64) -> Timestamp {
    after(now, std::time::Duration::from_secs(lease_seconds))
}

/// Holds one row of a queue for a worker; `sql` names the queue's table.
pub(super) async fn lease(
    connection: &mut MySqlConnection,
    sql: &'static str,
    id: u64,
    until: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(sql)
        .bind(to_datetime(until))
        .bind(id)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn insert_event(
    connection: &mut MySqlConnection,
    event: &NewEvent,
) -> Result<(), Failure> {
    sqlx::query(
        "INSERT INTO payment_events (payment_no, at, source, observation, from_status, \
         to_status, decision, transaction_id, refund_no, detail) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&event.payment_no)
    .bind(to_datetime(event.at))
    .bind(event.source)
    .bind(event.observation)
    .bind(event.from)
    .bind(event.to)
    .bind(event.decision)
    .bind(&event.transaction_id)
    .bind(&event.refund_no)
    .bind(&event.detail)
    .execute(connection)
    .await?;
    Ok(())
}
