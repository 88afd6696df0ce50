//! A callback's record, and what it says in our terms.

use channels::{OrderState, RefundState as ChannelRefundState};
use jiff::Timestamp;
use payment_core::{ChannelKind, Money};

/// A verified callback about to be kept.
#[derive(Clone, Debug)]
pub struct NewInboxEntry {
    pub channel: ChannelKind,
    pub channel_order_no: String,
    pub transaction_id: String,
    /// What happened, in the channel's terms; with the transaction and the order's amount it makes
    /// the entry unique.
    pub event: String,
    pub seen: SeenByChannel,
    pub headers: String,
    pub body: Vec<u8>,
    pub now: Timestamp,
}

/// What a callback says, in our terms.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenByChannel {
    pub state: OrderState,
    /// The order's full amount.
    pub amount: Money,
    pub paid_at: Option<Timestamp>,
    pub refund: Option<SeenRefund>,
}

/// What a callback about a refund says.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenRefund {
    /// Our number at the channel; absent when the channel did not repeat it.
    pub channel_refund_no: Option<String>,
    pub channel_refund_id: Option<String>,
    pub state: ChannelRefundState,
    /// This refund alone; absent where the channel tells only the order's sum so far.
    pub amount: Option<Money>,
    pub refunded_at: Option<Timestamp>,
}

/// A kept callback whose turn has come.
#[derive(Clone, Debug)]
pub struct InboxEntry {
    pub id: u64,
    pub channel: ChannelKind,
    pub channel_order_no: String,
    pub transaction_id: String,
    pub event: String,
    pub seen: SeenByChannel,
    pub attempts: u32,
}
