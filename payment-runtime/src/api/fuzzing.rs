//! Entry points for fuzzing: requests, handed to the parsers without a server around them.
//!
//! Guarantees: each function is total. Whatever the bytes are, it returns; what was taken is
//! within the documented limits, and what was refused gets a short answer.

use axum::http::{HeaderMap, HeaderValue};
use payment_core::{ChannelKind, Currency};

use super::request::{AttemptBody, check_order, check_refund, json};
use super::{Problem, idempotency, views};

const EXPIRES_IN_SECONDS: u64 = 7200;
const ANSWER_BYTES_MAX: usize = 4096;

/// Every kind of body, an `Idempotency-Key` and a cursor.
pub fn request(bytes: &[u8]) {
    let order =
        json(bytes).and_then(|body| check_order(body, &ChannelKind::ALL, EXPIRES_IN_SECONDS));
    if let Some(order) = taken(order) {
        assert!(order.amount.minor > 0 && order.amount.currency == Currency::CNY);
        assert!((1..=64).contains(&order.order_id.len()));
    }
    let refund = json(bytes).and_then(|body| check_refund(body, Currency::CNY));
    if let Some(refund) = taken(refund) {
        assert!(refund.amount.minor > 0 && !refund.refund_no.starts_with("late-"));
    }
    let _ = taken(json::<AttemptBody>(bytes));
    if let Ok(value) = HeaderValue::from_bytes(bytes) {
        let _ = taken(idempotency::key(&HeaderMap::from_iter([(
            idempotency::HEADER,
            value,
        )])));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = taken(views::parse_cursor(text));
    }
}

fn taken<T>(result: Result<T, Problem>) -> Option<T> {
    if let Err(problem) = &result {
        assert!(problem.answer("req_0").body.len() <= ANSWER_BYTES_MAX);
    }
    result.ok()
}
