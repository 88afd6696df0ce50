//! Alipay's callbacks.
//!
//! Guarantees: the form is decoded once and verified as the map that came, unknown fields
//! included; a field named twice is refused, because signer and reader might mean different ones.
//!
//! Not here: an age limit. Alipay repeats a notice for a day; the inbox recognises repeats.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::answer::{money, state};
use super::keys::TrustedKeys;
use super::{instant, sign};
use crate::crypto::VerifyingKey;
use crate::notice::{CallbackError, Notice};
use crate::order::OrderState;
use crate::refund::{RefundNotice, RefundState};

pub(super) type Fields = BTreeMap<String, String>;

/// Names the certificate that a notice is signed with.
const CERTIFICATE: &str = "alipay_cert_sn";

/// Whom notices must be for.
pub(super) struct Recipient<'a> {
    pub(super) app_id: &'a str,
    /// Asked for only when configured.
    pub(super) seller_id: Option<&'a str>,
}

pub(super) fn read(
    keys: &TrustedKeys,
    recipient: &Recipient<'_>,
    body: &[u8],
    now: Timestamp,
) -> Result<Notice, CallbackError> {
    let fields = decode(body)?;
    verify(keys, &fields, now)?;
    content(&fields, recipient)
}

/// What a notice says, once its signature was checked.
pub(super) fn content(fields: &Fields, recipient: &Recipient<'_>) -> Result<Notice, CallbackError> {
    let seller_id = recipient.seller_id;
    if required(fields, "app_id")? != recipient.app_id
        || seller_id.is_some_and(|ours| present(fields, "seller_id") != Some(ours))
    {
        return Err(CallbackError::WrongMerchant);
    }
    notice(fields)
}

pub(super) fn decode(body: &[u8]) -> Result<Fields, CallbackError> {
    let mut fields = Fields::new();
    for (name, value) in form_urlencoded::parse(body).into_owned() {
        if fields.contains_key(&name) {
            return Err(malformed(format!("{name} comes twice")));
        }
        fields.insert(name, value);
    }
    Ok(fields)
}

/// Official SDKs differ on whether empty values are part of the signed text, and others on whether
/// the certificate's name is; each is left out only if it is there and the text as received fails.
fn verify(keys: &TrustedKeys, fields: &Fields, now: Timestamp) -> Result<(), CallbackError> {
    let signature = required(fields, "sign")?;
    let keys_of_notice = keys.of_notice(present(fields, CERTIFICATE), now);
    if keys_of_notice.is_empty() {
        return Err(CallbackError::UnknownKey);
    }
    let signed: Vec<(&str, &str)> = fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .filter(|(name, _)| !matches!(*name, "sign" | "sign_type"))
        .collect();
    let fits = candidates(&signed, keys.by_certificate())
        .iter()
        .any(|text| {
            let fits = |key: &&VerifyingKey| key.verifies(text.as_bytes(), signature);
            keys_of_notice.iter().any(fits)
        });
    if fits {
        Ok(())
    } else {
        Err(CallbackError::BadSignature)
    }
}

/// The texts that may have been signed, the one as received first.
fn candidates(signed: &[(&str, &str)], by_certificate: bool) -> Vec<String> {
    let mut sets = vec![signed.to_vec()];
    if by_certificate && signed.iter().any(|(name, _)| *name == CERTIFICATE) {
        let mut unnamed = signed.to_vec();
        unnamed.retain(|(name, _)| *name != CERTIFICATE);
        sets.push(unnamed);
    }
    let has_empty = signed.iter().any(|(_, value)| value.is_empty());
    let without_empty: Vec<String> = sets
        .iter()
        .filter(|_| has_empty)
        .map(|set| sign::message(set))
        .collect();
    let as_received = sets.into_iter().map(sign::joined);
    as_received.chain(without_empty).collect()
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
        channel_refund_id: None,
        refunded_at: present(fields, "gmt_refund").and_then(instant),
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
