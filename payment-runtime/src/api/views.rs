//! Payments and events as the API shows them.

use serde_json::{Value, json};

use super::Problem;
use crate::store::{Event, PaymentRecord};

pub(super) fn payment(payment: &PaymentRecord) -> Value {
    let action = payment
        .action_url
        .as_ref()
        .filter(|_| payment.status.is_open())
        .map(|url| json!({"type": "QR_CODE", "url": url}));
    json!({
        "paymentId": payment.payment_no,
        "orderId": payment.order_id,
        "channelOrderNo": payment.channel_order_no,
        "status": payment.status.as_str(),
        "amount": payment.amount.to_decimal(),
        "currency": payment.amount.currency.code(),
        "userId": payment.user_id,
        "channel": payment.channel.as_str(),
        "method": payment.method,
        "subject": payment.subject,
        "action": action,
        "transactionId": payment.transaction_id,
        "paidAt": payment.paid_at.map(|at| at.to_string()),
        "expiresAt": payment.expires_at.to_string(),
        "createdAt": payment.created_at.to_string(),
        "updatedAt": payment.updated_at.to_string(),
    })
}

pub(super) fn event(event: &Event) -> Value {
    json!({
        "id": event.id,
        "at": event.at.to_string(),
        "source": event.source,
        "observation": event.observation,
        "from": event.from,
        "to": event.to,
        "decision": event.decision,
        "transactionId": event.transaction_id,
        "detail": event.detail,
    })
}

/// Cursors are opaque to clients; they are ids written so that nobody counts on that.
pub(super) fn cursor(id: u64) -> String {
    format!("c{id:x}")
}

pub(super) fn parse_cursor(text: &str) -> Result<u64, Problem> {
    text.strip_prefix('c')
        .and_then(|hex| u64::from_str_radix(hex, 16).ok())
        .ok_or_else(|| Problem::invalid("cursor", "is not one that this API gave out"))
}
