//! Orders in the words both channels share.
//!
//! Guarantees: nothing here names a field of a channel; amounts are [`Money`].
//!
//! Not here: the states of a payment (`payment-core`); these are the channel's view alone.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use payment_core::{ChannelKind, Currency, Money, PayMethod};
use serde::{Deserialize, Serialize};

use crate::outcome::{Fail, Refusal};

/// What is asked of a channel. Repeating the same value sends the same parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOrder {
    /// What the channel knows as `out_trade_no`.
    pub channel_order_no: String,
    pub method: PayMethod,
    pub amount: Money,
    /// Shown to the payer; shortened and cleaned to what the channel takes.
    pub subject: String,
    /// Without a query string: its parameters would become part of signed notices.
    pub notify_url: String,
    pub expires_at: Timestamp,
    pub payer: Payer,
}

/// Who pays, as far as the method needs it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Payer {
    /// The openid at WeChat Pay, the buyer's id or open id at Alipay.
    pub id: Option<String>,
    pub client_ip: Option<String>,
    /// Where the payer's browser goes afterwards. That it comes back proves no payment.
    pub return_url: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    pub action: Action,
}

/// What the payer's side does next. Stored as it is and shown by the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "SCREAMING_SNAKE_CASE",
    rename_all_fields = "camelCase"
)]
pub enum Action {
    /// Show this text as a QR code.
    QrCode { url: String },
    /// Send the payer's browser there.
    Redirect { url: String },
    /// Hand these to `WeixinJSBridge` or `wx.requestPayment`: appId, timeStamp, nonceStr, package,
    /// signType, paySign.
    WechatJsapi {
        parameters: BTreeMap<String, String>,
    },
    /// Hand these to WeChat's app SDK: appid, partnerid, prepayid, package, noncestr, timestamp,
    /// sign.
    WechatApp {
        parameters: BTreeMap<String, String>,
    },
    /// Hand this to Alipay's app SDK.
    AlipayApp { order_string: String },
    /// Hand this to `my.tradePay`.
    AlipayTrade { trade_no: String },
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

impl OrderStatus {
    pub(crate) const fn not_found() -> Self {
        Self {
            state: OrderState::NotFound,
            transaction_id: None,
            amount: None,
            paid_at: None,
        }
    }
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

/// How cancelling ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cancelled {
    /// It was not paid and can no longer be.
    Closed,
    /// It was paid, and all of it went back.
    Refunded,
    /// There was nothing to do: the channel knows no such order, or it had ended before.
    Nothing,
}

/// The rules both channels share, each of them independent of the clock: a repeat must never be
/// refused here when its first attempt was let through.
pub(crate) fn check(order: &NewOrder, channel: ChannelKind) -> Result<(), Fail> {
    if order.method.channel() != channel {
        return Err(Fail::invalid("the method belongs to another channel"));
    }
    if order.amount.currency != Currency::CNY {
        return Err(Fail::Refused(Refusal::not_sent(
            Refusal::CURRENCY_NOT_SUPPORTED,
            format!("{} cannot be charged", order.amount.currency.code()),
        )));
    }
    if order.amount.minor < 1 {
        return Err(Fail::invalid("the amount must be at least 0.01"));
    }
    if order.amount.minor > channel.amount_minor_max() {
        return Err(Fail::invalid("the amount is larger than the channel takes"));
    }
    check_notify_url(&order.notify_url)
}

pub(crate) fn check_notify_url(url: &str) -> Result<(), Fail> {
    if url.contains(['?', '#']) || url.len() > 255 {
        return Err(Fail::invalid(
            "the notify URL must have no query and at most 255 bytes",
        ));
    }
    Ok(())
}

/// For methods that need it.
pub(crate) fn payer_id(order: &NewOrder) -> Result<&str, Fail> {
    let id = order.payer.id.as_deref().unwrap_or_default();
    if id.is_empty() {
        return Err(Fail::invalid("the method needs the payer's id"));
    }
    Ok(id)
}

/// For methods that need it.
pub(crate) fn client_ip(order: &NewOrder) -> Result<IpAddr, Fail> {
    let ip = order.payer.client_ip.as_deref().unwrap_or_default();
    ip.parse()
        .map_err(|_| Fail::invalid("the method needs the payer's IP address"))
}

/// Cuts to at most `max` bytes, at a character.
pub(crate) fn shortened(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
