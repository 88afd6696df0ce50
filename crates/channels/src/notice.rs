//! What a verified callback says, in the words both channels share.
//!
//! Guarantees: a [`Notice`] exists only once its signature, its age and its merchant were checked.
//!
//! Not here: recognising repeats, comparing amounts with our own records.

use jiff::Timestamp;
use payment_core::Money;

use crate::order::OrderState;
use crate::refund::RefundNotice;

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
