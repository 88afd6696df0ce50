//! Refunds in the words both channels share.
//!
//! Guarantees: a refund is always named by our own number and the order's, so that a repeat can
//! never become a second refund; amounts are [`Money`].
//!
//! Not here: how much of a payment may still be refunded (`payment-core`, the store).

use jiff::Timestamp;
use payment_core::{Currency, Money};

use crate::order::shortened;
use crate::outcome::{Fail, Refusal};

/// What is asked of a channel. Repeating the same value sends the same parameters; an attempt whose
/// outcome is unknown is only ever repeated under the same number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRefund {
    pub channel_order_no: String,
    /// Our number of this refund.
    pub channel_refund_no: String,
    pub amount: Money,
    /// The order's full amount.
    pub total: Money,
    /// Shown to the payer; shortened to what the channel takes.
    pub reason: Option<String>,
    /// Without a query string. Alipay takes none: it tells of refunds where it told of the payment.
    pub notify_url: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundStatus {
    pub state: RefundState,
    /// The channel's own number; Alipay has none.
    pub channel_refund_id: Option<String>,
    /// This refund alone; absent where the channel tells only the order's sum so far.
    pub amount: Option<Money>,
    pub refunded_at: Option<Timestamp>,
}

impl RefundStatus {
    pub(crate) const fn not_found() -> Self {
        Self {
            state: RefundState::NotFound,
            channel_refund_id: None,
            amount: None,
            refunded_at: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefundState {
    /// The channel has no such refund: the request did not arrive, or (Alipay) came to nothing.
    NotFound,
    /// Accepted; the money is on its way.
    Processing,
    Succeeded,
    /// The channel gave it up; another attempt needs a new number.
    Failed,
    /// Stuck with the channel until a person acts.
    Abnormal,
}

/// The part of a notice that is about a refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundNotice {
    /// Our number of the refund; absent when the channel did not repeat it.
    pub refund_no: Option<String>,
    pub channel_refund_id: Option<String>,
    /// This refund alone; absent where the channel tells only the order's sum so far (Alipay).
    pub amount: Option<Money>,
    pub state: RefundState,
    pub refunded_at: Option<Timestamp>,
}

/// The rules both channels share, each of them independent of the clock: a repeat must never be
/// refused here when its first attempt was let through.
pub(crate) fn check(refund: &NewRefund) -> Result<(), Fail> {
    let (amount, total) = (refund.amount, refund.total);
    if amount.currency != Currency::CNY || total.currency != Currency::CNY {
        return Err(Fail::Refused(Refusal::not_sent(
            Refusal::CURRENCY_NOT_SUPPORTED,
            format!("{} cannot be refunded", amount.currency.code()),
        )));
    }
    if amount.minor < 1 || amount.minor > total.minor {
        return Err(Fail::invalid(
            "the amount must be at least 0.01 and at most the order's",
        ));
    }
    Ok(())
}

/// What is shown to the payer, if anything.
pub(crate) fn reason(refund: &NewRefund, max_bytes: usize) -> Option<String> {
    let cleaned = refund.reason.as_deref()?.replace(char::is_control, " ");
    let text = shortened(cleaned.trim(), max_bytes).trim_end();
    (!text.is_empty()).then(|| text.to_owned())
}
