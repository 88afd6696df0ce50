//! Orders and notices in the words both channels share.
//!
//! Guarantees: nothing here names a field of a channel; amounts are [`Money`].
//!
//! Not here: the states of a payment (`payment-core`); these are the channel's view alone.

use jiff::Timestamp;
use payment_core::{Currency, Money};

use crate::outcome::{Fail, Refusal};

/// What is asked of a channel. Repeating the same value sends the same parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOrder {
    /// What the channel knows as `out_trade_no`.
    pub channel_order_no: String,
    pub amount: Money,
    /// Shown to the payer; shortened and cleaned to what the channel takes.
    pub subject: String,
    /// Without a query string: its parameters would become part of signed notices.
    pub notify_url: String,
    pub expires_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// The text of the QR code that the payer scans.
    pub qr_code_url: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderStatus {
    pub state: OrderState,
    /// The channel's own number; always there once paid.
    pub transaction_id: Option<String>,
    /// The order's full amount; always there once paid.
    pub amount: Option<Money>,
    pub paid_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderState {
    /// The channel has no such order. At Alipay also: nobody scanned the code *yet*.
    NotFound,
    NotPaid,
    Paid,
    /// Closed without having been paid (Alipay also says so after a full refund).
    Closed,
    /// Was paid, and at least one refund was begun since.
    Refunded,
}

/// How closing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Closed {
    Closed,
    /// The order no longer waits for its payer; a query says what it became.
    AlreadyPaid,
    NotFound,
}

/// A verified callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Names the event of this order, equal on every repeat: `TRANSACTION.SUCCESS`,
    /// `TRADE_SUCCESS:<refund number>`. Unique together with the transaction id.
    pub event_id: String,
    pub channel_order_no: String,
    pub transaction_id: String,
    pub state: OrderState,
    /// The order's full amount, also in a refund's notice.
    pub amount: Money,
    pub paid_at: Option<Timestamp>,
    /// The refund that the notice is about, if it is about one.
    pub refund: Option<RefundNotice>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundNotice {
    /// Our number of the refund; absent when the channel did not repeat it.
    pub refund_no: Option<String>,
    /// This refund alone; absent where the channel tells only the order's sum so far (Alipay).
    pub amount: Option<Money>,
    pub state: RefundState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefundState {
    Succeeded,
    /// The channel gave it up; another attempt needs a new number.
    Failed,
    /// Stuck with the channel until a person acts.
    Abnormal,
}

/// Why a callback is not believed. The receiver answers each with a failure; none is stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallbackError {
    /// The channel tests that we do verify; it sends the real one afterwards.
    #[error("signature probe")]
    Probe,
    #[error("the signature does not fit")]
    BadSignature,
    #[error("signed with a key that is not configured")]
    UnknownKey,
    #[error("the timestamp is more than five minutes away")]
    Stale,
    #[error("malformed: {0}")]
    Malformed(String),
    #[error("about another merchant or application")]
    WrongMerchant,
}

impl CallbackError {
    /// Probes are routine and must not raise alarms.
    pub const fn is_probe(&self) -> bool {
        matches!(self, Self::Probe)
    }

    /// The label on metrics; never reword.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::BadSignature => "bad_signature",
            Self::UnknownKey => "unknown_key",
            Self::Stale => "stale",
            Self::Malformed(_) => "malformed",
            Self::WrongMerchant => "wrong_merchant",
        }
    }
}

/// The rules both channels share, each of them independent of the clock: a repeat must never be
/// refused here when its first attempt was let through.
pub(crate) fn check(order: &NewOrder) -> Result<(), Fail> {
    if order.amount.currency != Currency::CNY {
        return Err(Fail::Refused(Refusal::not_sent(
            Refusal::CURRENCY_NOT_SUPPORTED,
            format!("{} cannot be charged", order.amount.currency.code()),
        )));
    }
    if order.amount.minor < 1 {
        return Err(Fail::invalid("the amount must be at least 0.01"));
    }
    if order.notify_url.contains(['?', '#']) || order.notify_url.len() > 255 {
        return Err(Fail::invalid(
            "the notify URL must have no query and at most 255 bytes",
        ));
    }
    Ok(())
}

/// Cuts to at most `max` bytes, at a character.
pub(crate) fn shortened(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
