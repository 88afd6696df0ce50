//! The content of a WeChat Pay callback whose signature was checked.
//!
//! Guarantees: decrypted with the APIv3 key after the signature, never instead of it; about our
//! merchant and application.
//!
//! Not here: comparing the amount with the order, recognising repeats.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::answer::Transaction;
use super::{money, time};
use crate::crypto::SealingKeys;
use crate::notice::{CallbackError, Notice};
use crate::order::OrderState;
use crate::refund::{RefundNotice, RefundState};

const ALGORITHM: &str = "AEAD_AES_256_GCM";

#[derive(Deserialize)]
struct Envelope {
    event_type: String,
    resource: Resource,
}

#[derive(Deserialize)]
struct Resource {
    algorithm: String,
    ciphertext: String,
    nonce: String,
    associated_data: Option<String>,
}

#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "the channel's own names")]
struct Refund {
    mchid: String,
    transaction_id: String,
    out_trade_no: String,
    out_refund_no: String,
    refund_id: Option<String>,
    success_time: Option<String>,
    amount: RefundAmount,
}

#[derive(Deserialize)]
struct RefundAmount {
    total: i64,
    refund: i64,
    currency: Option<String>,
}

pub(super) fn read(
    keys: &SealingKeys,
    merchant: &str,
    app: &str,
    body: &[u8],
) -> Result<Notice, CallbackError> {
    let envelope: Envelope = parse(body)?;
    let plain = open(keys, &envelope.resource)?;
    content(&envelope.event_type, &plain, merchant, app)
}

/// The decrypted half of a callback.
pub(super) fn content(
    event: &str,
    plain: &[u8],
    merchant: &str,
    app: &str,
) -> Result<Notice, CallbackError> {
    let state = match event {
        "TRANSACTION.SUCCESS" => return payment(event, parse(plain)?, merchant, app),
        "REFUND.SUCCESS" => RefundState::Succeeded,
        "REFUND.CLOSED" => RefundState::Failed,
        "REFUND.ABNORMAL" => RefundState::Abnormal,
        other => return Err(malformed(format!("unknown event_type {other:?}"))),
    };
    refunded(event, parse(plain)?, merchant, state)
}

fn payment(
    event: &str,
    transaction: Transaction,
    merchant: &str,
    app: &str,
) -> Result<Notice, CallbackError> {
    if !transaction.is_of(merchant, app) {
        return Err(CallbackError::WrongMerchant);
    }
    let channel_order_no = transaction.out_trade_no.clone();
    let status = transaction.status().map_err(malformed)?;
    let (Some(transaction_id), Some(amount)) = (status.transaction_id, status.amount) else {
        return Err(malformed("without number or amount"));
    };
    Ok(Notice {
        event_id: event.to_owned(),
        channel_order_no,
        transaction_id,
        state: status.state,
        amount,
        paid_at: status.paid_at,
        refund: None,
    })
}

fn refunded(
    event: &str,
    refund: Refund,
    merchant: &str,
    state: RefundState,
) -> Result<Notice, CallbackError> {
    if refund.mchid != merchant {
        return Err(CallbackError::WrongMerchant);
    }
    let currency = refund.amount.currency.as_deref();
    let total = money(refund.amount.total, currency).map_err(malformed)?;
    let part = money(refund.amount.refund, currency).map_err(malformed)?;
    Ok(Notice {
        event_id: format!("{event}:{}", refund.out_refund_no),
        channel_order_no: refund.out_trade_no,
        transaction_id: refund.transaction_id,
        state: OrderState::Refunded,
        amount: total,
        paid_at: None,
        refund: Some(RefundNotice {
            refund_no: Some(refund.out_refund_no),
            amount: Some(part),
            state,
            channel_refund_id: refund.refund_id.filter(|id| !id.is_empty()),
            refunded_at: refund.success_time.as_deref().and_then(time),
        }),
    })
}

fn open(keys: &SealingKeys, resource: &Resource) -> Result<Vec<u8>, CallbackError> {
    if resource.algorithm != ALGORITHM {
        return Err(malformed("not encrypted with AEAD_AES_256_GCM"));
    }
    let sealed = STANDARD
        .decode(&resource.ciphertext)
        .map_err(|_| malformed("the ciphertext is not base64"))?;
    let aad = resource.associated_data.as_deref().unwrap_or_default();
    keys.open(resource.nonce.as_bytes(), aad.as_bytes(), &sealed)
        .ok_or_else(|| malformed("cannot be decrypted: was the APIv3 key changed?"))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CallbackError> {
    // serde's text may quote what was decrypted, so only the place is told.
    serde_json::from_slice(bytes)
        .map_err(|error| malformed(format!("cannot be read at column {}", error.column())))
}

fn malformed(text: impl Into<String>) -> CallbackError {
    CallbackError::Malformed(text.into())
}
