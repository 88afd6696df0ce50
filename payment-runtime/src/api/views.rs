//! Payments, refunds and events as the API shows them.

use channels::Action;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::Problem;
use super::openapi::{
    ActionSchema, ChannelName, Decimal, MethodName, PaymentStatus, RefundOriginName, RefundStatus,
};
use crate::records::{Event, PaymentRecord, RefundRecord};

/// A payment. Amounts are exact decimals in text, times RFC 3339 in UTC.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Payment)]
pub(super) struct PaymentView {
    payment_id: String,
    order_id: String,
    /// 1, 2, …: which try for this order.
    attempt: u32,
    /// What the channel knows as `out_trade_no`.
    channel_order_no: String,
    #[schema(value_type = PaymentStatus)]
    status: &'static str,
    #[schema(value_type = Decimal)]
    amount: String,
    /// What refunds have given back so far.
    #[schema(value_type = Decimal)]
    refunded_amount: String,
    currency: &'static str,
    user_id: String,
    #[schema(value_type = ChannelName)]
    channel: &'static str,
    #[schema(value_type = MethodName)]
    method: &'static str,
    subject: String,
    /// What the payer's side does next; null once there is nothing left to do.
    #[schema(value_type = Option<ActionSchema>)]
    action: Option<Action>,
    /// The channel's own number of the charge.
    transaction_id: Option<String>,
    paid_at: Option<Timestamp>,
    expires_at: Timestamp,
    created_at: Timestamp,
    updated_at: Timestamp,
}

pub(super) fn payment(payment: &PaymentRecord) -> PaymentView {
    let refunded = payment_core::Money::new(payment.refunded_minor, payment.amount.currency);
    PaymentView {
        payment_id: payment.payment_no.clone(),
        order_id: payment.order_id.clone(),
        attempt: payment.attempt,
        channel_order_no: payment.channel_order_no.clone(),
        status: payment.status.as_str(),
        amount: payment.amount.to_decimal(),
        refunded_amount: refunded.to_decimal(),
        currency: payment.amount.currency.code(),
        user_id: payment.user_id.clone(),
        channel: payment.channel.as_str(),
        method: payment.method.as_str(),
        subject: payment.subject.clone(),
        action: payment.action.clone().filter(|_| payment.status.is_open()),
        transaction_id: payment.transaction_id.clone(),
        paid_at: payment.paid_at,
        expires_at: payment.expires_at,
        created_at: payment.created_at,
        updated_at: payment.updated_at,
    }
}

/// A refund of a payment.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Refund)]
pub(super) struct RefundView {
    refund_no: String,
    payment_id: String,
    /// What the channel knows as `out_refund_no` or `out_request_no`.
    channel_refund_no: String,
    #[schema(value_type = Decimal)]
    amount: String,
    currency: &'static str,
    #[schema(value_type = RefundStatus)]
    status: &'static str,
    reason: Option<String>,
    /// Why the refund exists: `api`, `paid-after-close`, or `reconciliation`.
    #[schema(value_type = RefundOriginName)]
    origin: &'static str,
    /// The channel's own number of the refund.
    channel_refund_id: Option<String>,
    refunded_at: Option<Timestamp>,
    /// Stuck at the channel until a person acts there.
    needs_attention: bool,
    created_at: Timestamp,
    updated_at: Timestamp,
}

pub(super) fn refund(refund: &RefundRecord) -> RefundView {
    RefundView {
        refund_no: refund.refund_no.clone(),
        payment_id: refund.payment_no.clone(),
        channel_refund_no: refund.channel_refund_no.clone(),
        amount: refund.amount.to_decimal(),
        currency: refund.amount.currency.code(),
        status: refund.status.as_str(),
        reason: refund.reason.clone(),
        origin: refund.origin.as_str(),
        channel_refund_id: refund.channel_refund_id.clone(),
        refunded_at: refund.refunded_at,
        needs_attention: refund.attention,
        created_at: refund.created_at,
        updated_at: refund.updated_at,
    }
}

/// One line of a payment's history. With `refundNo` it is about that refund, and `from` and `to`
/// are the refund's states.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Event)]
pub(super) struct EventView {
    id: u64,
    at: Timestamp,
    /// Who says so: api, policy, paid-after-close, reconciliation, clock, answer, query, callback or bill.
    source: String,
    observation: String,
    from: Option<String>,
    to: String,
    /// moved, kept, or why it was not believed.
    decision: String,
    transaction_id: Option<String>,
    refund_no: Option<String>,
    detail: String,
}

pub(super) fn event(event: Event) -> EventView {
    EventView {
        id: event.id,
        at: event.at,
        source: event.source,
        observation: event.observation,
        from: event.from,
        to: event.to,
        decision: event.decision,
        transaction_id: event.transaction_id,
        refund_no: event.refund_no,
        detail: event.detail,
    }
}

/// A page of a list. `nextCursor` goes into `?cursor=` of the next call.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Page)]
pub(super) struct PageView<T> {
    data: Vec<T>,
    has_more: bool,
    next_cursor: Option<String>,
}

pub(super) fn page<T>(data: Vec<T>, next: Option<u64>) -> PageView<T> {
    PageView {
        data,
        has_more: next.is_some(),
        next_cursor: next.map(cursor),
    }
}

/// Cursors are opaque to clients; they are ids written so that nobody counts on that.
fn cursor(id: u64) -> String {
    format!("c{id:x}")
}

pub(super) fn parse_cursor(text: &str) -> Result<u64, Problem> {
    let id = text
        .strip_prefix('c')
        .and_then(|hex| u64::from_str_radix(hex, 16).ok());
    // Only what was given out: no sign, no leading zeros, no capitals.
    id.filter(|id| cursor(*id) == text)
        .ok_or_else(|| Problem::invalid("cursor", "is not one that this API gave out"))
}
