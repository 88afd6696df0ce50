//! Callbacks: what a channel says and how it signs it, and what the other side makes of it.
//!
//! Not here: how a callback gets there ([`super::delivery`]).

use std::sync::Arc;

use channels::{CallbackError, Notice, OrderState, RefundNotice, RefundState};
use jiff::{SignedDuration, Timestamp};
use payment_core::guards::holds;
use payment_core::{ChannelKind, Currency, Guard, Money};
use serde::{Deserialize, Serialize};

use super::delivery;
use crate::world::World;

/// A callback's content, before it is signed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Message {
    pub(super) event: String,
    pub(super) order: String,
    pub(super) transaction: String,
    pub(super) refunded: bool,
    pub(super) total: i64,
    pub(super) paid_at_ms: i64,
    pub(super) refund: Option<RefundMessage>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RefundMessage {
    pub(super) number: String,
    pub(super) id: Option<String>,
    pub(super) amount: Option<i64>,
    /// S, F or A.
    pub(super) state: char,
    pub(super) at_ms: Option<i64>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Envelope {
    pub(super) content: String,
    pub(super) sign: String,
}

/// How a callback is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signature {
    Genuine,
    Forged,
    Probe,
}

const PROBE: &str = "WECHATPAY/SIGNTEST/";
/// Never in a log, an event or a problem: its appearance there is a leak.
pub const SIGNATURE_CANARY: &str = "canary-signature-";

pub(super) fn sign(content: &str, timestamp: i64, signature: Signature) -> String {
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    for byte in content.bytes().chain(timestamp.to_be_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    }
    match signature {
        Signature::Genuine => format!("{SIGNATURE_CANARY}{hash:016x}"),
        Signature::Forged => format!("{SIGNATURE_CANARY}{:016x}", hash ^ 1),
        Signature::Probe => format!("{PROBE}{SIGNATURE_CANARY}{hash:016x}"),
    }
}

/// Checks a callback as crate `channels` does: signature, age, then content.
pub fn verify(
    kind: ChannelKind,
    headers: &dyn Fn(&str) -> Option<String>,
    body: &[u8],
    now: Timestamp,
) -> Result<Notice, CallbackError> {
    let malformed = |what: &str| CallbackError::Malformed(what.to_owned());
    let envelope: Envelope =
        serde_json::from_slice(body).map_err(|_| malformed("not an envelope"))?;
    let timestamp = match kind {
        ChannelKind::Wechat => headers("wechatpay-timestamp")
            .and_then(|text| text.parse::<i64>().ok())
            .ok_or_else(|| malformed("no timestamp"))?,
        ChannelKind::Alipay => 0,
    };
    if envelope.sign.starts_with(PROBE) {
        return Err(CallbackError::Probe);
    }
    let expected = sign(&envelope.content, timestamp, Signature::Genuine);
    if envelope.sign != expected && holds(Guard::CallbackIsVerified) {
        return Err(CallbackError::BadSignature);
    }
    if kind == ChannelKind::Wechat {
        let age = SignedDuration::from_secs(now.as_second() - timestamp).abs();
        if age >= SignedDuration::from_mins(5) {
            return Err(CallbackError::Stale);
        }
    }
    let message: Message =
        serde_json::from_str(&envelope.content).map_err(|_| malformed("no message"))?;
    Ok(notice(message))
}

fn cny(minor: i64) -> Money {
    Money::new(minor, Currency::CNY)
}

fn notice(message: Message) -> Notice {
    let moment = |ms: i64| Timestamp::from_millisecond(ms).ok();
    Notice {
        event_id: message.event,
        channel_order_no: message.order,
        transaction_id: message.transaction,
        state: if message.refunded {
            OrderState::Refunded
        } else {
            OrderState::Paid
        },
        amount: cny(message.total),
        paid_at: moment(message.paid_at_ms),
        refund: message.refund.map(|refund| RefundNotice {
            refund_no: Some(refund.number),
            channel_refund_id: refund.id,
            amount: refund.amount.map(cny),
            state: match refund.state {
                'S' => RefundState::Succeeded,
                'F' => RefundState::Failed,
                _ => RefundState::Abnormal,
            },
            refunded_at: refund.at_ms.and_then(moment),
        }),
    }
}

/// Tells that an order was paid.
pub fn paid(world: &Arc<World>, kind: ChannelKind, number: &str) {
    let Some(message) = payment_message(world, kind, number) else {
        return;
    };
    delivery::tell(world, kind, number, &message);
}

pub(super) fn payment_message(world: &World, kind: ChannelKind, number: &str) -> Option<Message> {
    let book = world.book(kind);
    let charge = book.order(number)?.charge.clone()?;
    Some(Message {
        event: match kind {
            ChannelKind::Wechat => "TRANSACTION.SUCCESS".to_owned(),
            ChannelKind::Alipay => "TRADE_SUCCESS".to_owned(),
        },
        order: number.to_owned(),
        transaction: charge.transaction_id,
        refunded: false,
        total: charge.amount.minor,
        paid_at_ms: charge.paid_at.as_millisecond(),
        refund: None,
    })
}

/// Tells what became of a refund.
pub fn refunded(world: &Arc<World>, kind: ChannelKind, number: &str, refund_number: &str) {
    let Some(message) = refund_message(world, kind, number, refund_number) else {
        return;
    };
    delivery::tell(world, kind, number, &message);
}

fn refund_message(
    world: &World,
    kind: ChannelKind,
    number: &str,
    refund_number: &str,
) -> Option<Message> {
    let mut message = payment_message(world, kind, number)?;
    let book = world.book(kind);
    let order = book.order(number)?;
    let refund = book.book_refund(number, refund_number)?;
    let state = match refund.state {
        RefundState::Succeeded => 'S',
        RefundState::Failed => 'F',
        RefundState::Abnormal => 'A',
        RefundState::NotFound | RefundState::Processing => return None,
    };
    let whole = order.given_minor() >= message.total;
    message.event = match (kind, state) {
        (ChannelKind::Wechat, 'S') => format!("REFUND.SUCCESS:{refund_number}"),
        (ChannelKind::Wechat, 'F') => format!("REFUND.CLOSED:{refund_number}"),
        (ChannelKind::Wechat, _) => format!("REFUND.ABNORMAL:{refund_number}"),
        (ChannelKind::Alipay, _) if whole => format!("TRADE_CLOSED:{refund_number}"),
        (ChannelKind::Alipay, _) => format!("TRADE_SUCCESS:{refund_number}"),
    };
    message.refunded = true;
    message.refund = Some(RefundMessage {
        number: refund_number.to_owned(),
        id: refund.id.clone(),
        amount: (kind == ChannelKind::Wechat).then_some(refund.amount.minor),
        state,
        at_ms: refund.finished_at.map(Timestamp::as_millisecond),
    });
    Some(message)
}
