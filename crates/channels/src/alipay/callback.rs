//! Alipay's callbacks.
//!
//! Guarantees: the form is decoded once and verified as the map that came, unknown fields
//! included; a field named twice is refused, because signer and reader might mean different ones.
//!
//! Not here: an age limit. Alipay repeats a notice for a day; the inbox recognises repeats.

use std::collections::BTreeMap;

use super::answer::{money, state};
use super::{instant, sign};
use crate::crypto::VerifyingKey;
use crate::order::{CallbackError, Notice, OrderState, RefundNotice, RefundState};

type Fields = BTreeMap<String, String>;

pub(super) fn read(key: &VerifyingKey, app_id: &str, body: &[u8]) -> Result<Notice, CallbackError> {
    let fields = decode(body)?;
    verify(key, &fields)?;
    if required(&fields, "app_id")? != app_id {
        return Err(CallbackError::WrongMerchant);
    }
    notice(&fields)
}

fn decode(body: &[u8]) -> Result<Fields, CallbackError> {
    let mut fields = Fields::new();
    for (name, value) in form_urlencoded::parse(body).into_owned() {
        if fields.contains_key(&name) {
            return Err(malformed(format!("{name} comes twice")));
        }
        fields.insert(name, value);
    }
    Ok(fields)
}

/// Two candidates for the signed text: official SDKs differ on whether empty values are part of it.
fn verify(key: &VerifyingKey, fields: &Fields) -> Result<(), CallbackError> {
    let signature = required(fields, "sign")?;
    let signed: Vec<(&str, &str)> = fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .filter(|(name, _)| !matches!(*name, "sign" | "sign_type"))
        .collect();
    let has_empty = signed.iter().any(|(_, value)| value.is_empty());
    let without_empty = sign::message(&signed);
    let fits = key.verifies(sign::joined(signed).as_bytes(), signature)
        || (has_empty && key.verifies(without_empty.as_bytes(), signature));
    if fits {
        Ok(())
    } else {
        Err(CallbackError::BadSignature)
    }
}

fn notice(fields: &Fields) -> Result<Notice, CallbackError> {
    let status = required(fields, "trade_status")?;
    let refund = refund(fields);
    let state = match (state(status).map_err(malformed)?, &refund) {
        (OrderState::Paid | OrderState::Closed, Some(_)) => OrderState::Refunded,
        (state, _) => state,
    };
    let refund_no = refund
        .as_ref()
        .and_then(|refund| refund.refund_no.as_deref());
    Ok(Notice {
        event_id: match (refund_no, &refund) {
            (Some(number), _) => format!("{status}:{number}"),
            // Without a number the order's sum of refunds tells one refund from the next.
            (None, Some(_)) => format!("{status}:{}", present(fields, "refund_fee").unwrap_or("")),
            (None, None) => status.to_owned(),
        },
        channel_order_no: required(fields, "out_trade_no")?.to_owned(),
        transaction_id: required(fields, "trade_no")?.to_owned(),
        state,
        amount: money(required(fields, "total_amount")?).map_err(malformed)?,
        paid_at: present(fields, "gmt_payment").and_then(instant),
        refund,
    })
}

/// A refund repeats the trade's own status; only these fields tell it from a payment.
fn refund(fields: &Fields) -> Option<RefundNotice> {
    let about_refund =
        present(fields, "refund_fee").is_some() || present(fields, "gmt_refund").is_some();
    about_refund.then(|| RefundNotice {
        refund_no: present(fields, "out_biz_no").map(str::to_owned),
        amount: None,
        state: RefundState::Succeeded,
    })
}

fn required<'a>(fields: &'a Fields, name: &str) -> Result<&'a str, CallbackError> {
    present(fields, name).ok_or_else(|| malformed(format!("{name} is missing")))
}

fn present<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields
        .get(name)
        .map(String::as_str)
        .filter(|value| !value.is_empty())
}

fn malformed(text: impl Into<String>) -> CallbackError {
    CallbackError::Malformed(text.into())
}
