//! Callbacks: JSON, encrypted under the APIv3 key, signed anew at every attempt.

use serde_json::{Value, json};

use super::signature::{STALE_SECONDS, probe};
use super::{auth, orders};
use crate::book::{Refund, RefundState};
use crate::callbacks::{Notice, Outgoing, Tamper};
use crate::clock::rfc3339;
use crate::ids;
use crate::keys::KeyError;
use crate::{Simulator, clock};

pub(crate) fn callback(
    simulator: &Simulator,
    notice: &Notice,
    tamper: Option<Tamper>,
) -> Result<Outgoing, KeyError> {
    let keys = simulator.keys.wechat();
    let (url, event, summary, kind, mut plain) = match &notice.refund {
        None => (
            notice.charge.notify_url.clone(),
            "TRANSACTION.SUCCESS".to_owned(),
            "支付成功",
            "transaction",
            orders::paid_order(&keys, &notice.charge, &notice.payment),
        ),
        Some(refund) => {
            let (event, summary) = refund_event(refund.state);
            let plain = refund_plain(&keys.mch_id, notice, refund);
            (refund.notify_url.clone(), event, summary, "refund", plain)
        }
    };
    if tamper == Some(Tamper::App) {
        plain["mchid"] = ids::another(&keys.mch_id).into();
        plain["appid"] = ids::another(&keys.app_id).into();
    }
    let nonce = ids::nonce(12);
    let ciphertext = keys.encrypt(&nonce, kind, &plain.to_string())?;
    let body = json!({
        "id": notice.id,
        "create_time": rfc3339(notice.created),
        "resource_type": "encrypt-resource",
        "event_type": event,
        "summary": summary,
        "resource": {
            "original_type": kind,
            "algorithm": "AEAD_AES_256_GCM",
            "ciphertext": ciphertext,
            "associated_data": kind,
            "nonce": nonce,
        },
    })
    .to_string();
    let headers = headers(simulator, &body, tamper)?;
    Ok(Outgoing { url, headers, body })
}

fn headers(
    simulator: &Simulator,
    body: &str,
    tamper: Option<Tamper>,
) -> Result<Vec<(&'static str, String)>, KeyError> {
    let keys = simulator.keys.wechat();
    let mut timestamp = clock::now().as_second();
    if tamper == Some(Tamper::Stale) {
        timestamp -= STALE_SECONDS;
    }
    let nonce = ids::nonce(32);
    let signed = if tamper == Some(Tamper::Signature) {
        "{}"
    } else {
        body
    };
    let mut named = simulator.certificates.for_callback(&keys);
    if tamper == Some(Tamper::OtherKey) {
        named = simulator.certificates.other_than(&keys, named);
    }
    let mut signature = named
        .signer
        .sign(format!("{timestamp}\n{nonce}\n{signed}\n").as_bytes())?;
    if tamper == Some(Tamper::Signtest) {
        signature = probe(&signature);
    }
    Ok(vec![
        ("content-type", "application/json".to_owned()),
        ("accept", "*/*".to_owned()),
        ("wechatpay-timestamp", timestamp.to_string()),
        ("wechatpay-nonce", nonce),
        ("wechatpay-signature", signature),
        ("wechatpay-serial", named.serial),
        ("wechatpay-signature-type", auth::SCHEME.to_owned()),
    ])
}

fn refund_event(state: RefundState) -> (String, &'static str) {
    let (word, summary) = match state {
        RefundState::Success | RefundState::Processing => ("SUCCESS", "退款成功"),
        RefundState::Abnormal => ("ABNORMAL", "退款异常"),
        RefundState::Closed => ("CLOSED", "退款关闭"),
    };
    (format!("REFUND.{word}"), summary)
}

fn refund_plain(mch_id: &str, notice: &Notice, refund: &Refund) -> Value {
    let mut plain = json!({
        "mchid": mch_id,
        "out_trade_no": refund.out_trade_no,
        "transaction_id": notice.payment.transaction_id,
        "out_refund_no": refund.out_refund_no,
        "refund_id": refund.channel_no,
        "refund_status": refund.state,
        "user_received_account": "支付用户零钱",
        "amount": {
            "total": notice.charge.amount_minor,
            "refund": refund.amount_minor,
            "payer_total": notice.charge.amount_minor,
            "payer_refund": refund.amount_minor,
        },
    });
    if let (Some(settled), RefundState::Success) = (refund.settled, refund.state) {
        plain["success_time"] = rfc3339(settled).into();
    }
    plain
}
