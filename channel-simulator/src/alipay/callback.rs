//! Notifications: a form, signed over its values without `sign` and `sign_type`. No value is
//! empty, as in what the channel is seen to send, unless a fault says so. Certificate mode changes
//! nothing: the key is the same, and no certificate is named.

use std::collections::BTreeMap;

use serde_json::json;

use super::trade;
use crate::callbacks::{Notice, Outgoing, Subject, Tamper};
use crate::clock::plain;
use crate::keys::KeyError;
use crate::money::yuan;
use crate::{Simulator, clock, ids};

const STALE_SECONDS: i64 = 3600;
/// What only a payment gives.
const PAID_FIELDS: [&str; 6] = [
    "buyer_id",
    "buyer_pay_amount",
    "fund_bill_list",
    "gmt_payment",
    "invoice_amount",
    "receipt_amount",
];

pub(crate) fn callback(
    simulator: &Simulator,
    notice: &Notice,
    tamper: Option<Tamper>,
) -> Result<Outgoing, KeyError> {
    let keys = simulator.keys.alipay();
    let mut fields = fields(simulator, notice, tamper);
    if tamper == Some(Tamper::EmptyKept) {
        fields.insert("body", String::new());
    }
    let text: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let mut text = text.join("&");
    if tamper == Some(Tamper::Signature) {
        text.push('!');
    }
    if tamper == Some(Tamper::EmptyDropped) {
        fields.insert("body", String::new());
    }
    let sign = keys.signer.sign(text.as_bytes())?;
    fields.insert("sign", sign);
    fields.insert("sign_type", "RSA2".to_owned());
    let body = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(&fields)
        .finish();
    let kind = "application/x-www-form-urlencoded; charset=utf-8".to_owned();
    Ok(Outgoing {
        url: notice.charge.notify_url.clone(),
        headers: vec![("content-type", kind)],
        body,
    })
}

/// Sorted by name, which is the order they are signed in.
fn fields(
    simulator: &Simulator,
    notice: &Notice,
    tamper: Option<Tamper>,
) -> BTreeMap<&'static str, String> {
    let (charge, payment) = (&notice.charge, &notice.payment);
    let mut now = clock::now();
    if tamper == Some(Tamper::Stale) {
        now = now
            .checked_sub(jiff::SignedDuration::from_secs(STALE_SECONDS))
            .unwrap_or(now);
    }
    let app_id = match tamper {
        Some(Tamper::App) => ids::another(&simulator.keys.alipay().app_id),
        _ => simulator.keys.alipay().app_id.clone(),
    };
    let amount = yuan(charge.amount_minor);
    let bills = json!([{"amount": amount, "fundChannel": "ALIPAYACCOUNT"}]).to_string();
    let mut fields = BTreeMap::from([
        ("app_id", app_id.clone()),
        ("auth_app_id", app_id),
        ("buyer_id", payment.payer.clone()),
        ("buyer_pay_amount", amount.clone()),
        ("charset", "utf-8".to_owned()),
        ("fund_bill_list", bills),
        ("gmt_create", plain(charge.created)),
        ("gmt_payment", plain(payment.time)),
        ("invoice_amount", amount.clone()),
        ("notify_id", notice.id.replace('-', "")),
        ("notify_time", plain(now)),
        ("notify_type", "trade_status_sync".to_owned()),
        ("out_trade_no", charge.out_trade_no.clone()),
        ("point_amount", "0.00".to_owned()),
        ("receipt_amount", amount.clone()),
        ("seller_id", simulator.keys.alipay().seller_id.clone()),
        ("subject", charge.description.clone()),
        ("total_amount", amount),
        ("trade_no", payment.transaction_id.clone()),
        ("trade_status", "TRADE_SUCCESS".to_owned()),
        ("version", "1.0".to_owned()),
    ]);
    if !charge.attach.is_empty() {
        fields.insert("passback_params", charge.attach.clone());
    }
    match &notice.subject {
        Subject::Paid => {}
        Subject::Refunded(_) => {
            let status = trade::trade_status(charge, simulator.clock.moment());
            fields.insert("trade_status", status.to_owned());
            fields.insert("refund_fee", yuan(charge.refunded_minor));
        }
        Subject::Finished => {
            fields.insert("trade_status", "TRADE_FINISHED".to_owned());
        }
        Subject::Closed => {
            fields.retain(|name, _| !PAID_FIELDS.contains(name));
            fields.insert("trade_status", "TRADE_CLOSED".to_owned());
            fields.insert("gmt_close", plain(notice.created));
        }
    }
    if let Some(refund) = &notice.refund {
        fields.insert("gmt_refund", plain(refund.accepted));
        fields.insert("out_biz_no", refund.out_refund_no.clone());
    }
    fields
}
