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
use super::money;
use crate::crypto::SealingKey;
use crate::order::{CallbackError, Notice, OrderState, RefundNotice, RefundState};

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
struct Refund {
    mchid: String,
    transaction_id: String,
    out_trade_no: String,
    out_refund_no: String,
    amount: RefundAmount,
}

#[derive(Deserialize)]
struct RefundAmount {
    total: i64,
    refund: i64,
    currency: Option<String>,
}

pub(super) fn read(
    key: &SealingKey,
    merchant: &str,
    app: &str,
    body: &[u8],
) -> Result<Notice, CallbackError> {
    let envelope: Envelope = parse(body)?;
    let plain = open(key, &envelope.resource)?;
    let refund = match envelope.event_type.as_str() {
        "TRANSACTION.SUCCESS" => None,
        "REFUND.SUCCESS" => Some(RefundState::Succeeded),
        "REFUND.CLOSED" => Some(RefundState::Failed),
        "REFUND.ABNORMAL" => Some(RefundState::Abnormal),
        other => return Err(malformed(format!("unknown event_type {other:?}"))),
    };
    match refund {
        None => payment(envelope.event_type, parse(&plain)?, merchant, app),
        Some(state) => refunded(&envelope.event_type, parse(&plain)?, merchant, state),
    }
}

fn payment(
    event_id: String,
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
        event_id,
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
        }),
    })
}

fn open(key: &SealingKey, resource: &Resource) -> Result<Vec<u8>, CallbackError> {
    if resource.algorithm != ALGORITHM {
        return Err(malformed("not encrypted with AEAD_AES_256_GCM"));
    }
    let sealed = STANDARD
        .decode(&resource.ciphertext)
        .map_err(|_| malformed("the ciphertext is not base64"))?;
    let aad = resource.associated_data.as_deref().unwrap_or_default();
    key.open(resource.nonce.as_bytes(), aad.as_bytes(), sealed)
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
