//! Which bytes WeChat Pay signs and has signed.
//!
//! Guarantees: messages are built from the raw text of headers and body; the signature is checked
//! before the clock, so a message's age is only ever judged by a time that was signed.
//!
//! Not here: what an answer or callback means.

use std::sync::Arc;

use jiff::Timestamp;
use reqwest::Url;

use crate::crypto::VerifyingKey;
use crate::notice::CallbackError;

const SCHEME: &str = "WECHATPAY2-SHA256-RSA2048";
/// WeChat Pay sends wrong signatures with this prefix to see whether they are refused.
const PROBE: &str = "WECHATPAY/SIGNTEST/";
const WINDOW_SECONDS: u64 = 300;

/// What makes a request's signature unique.
pub(super) struct Stamp {
    pub(super) seconds: i64,
    pub(super) nonce: String,
}

impl Stamp {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            seconds: now.as_second(),
            nonce: hex::encode(rand::random::<[u8; 16]>()),
        }
    }

    pub(super) fn request_message(&self, method: &str, url: &Url, body: &str) -> String {
        let path = url.path();
        let query = url.query().map(|query| format!("?{query}"));
        let query = query.as_deref().unwrap_or_default();
        let (seconds, nonce) = (self.seconds, &self.nonce);
        format!("{method}\n{path}{query}\n{seconds}\n{nonce}\n{body}\n")
    }

    pub(super) fn authorization(&self, merchant: &str, serial: &str, signature: &str) -> String {
        let (seconds, nonce) = (self.seconds, &self.nonce);
        format!(
            "{SCHEME} mchid=\"{merchant}\",nonce_str=\"{nonce}\",signature=\"{signature}\",\
             timestamp=\"{seconds}\",serial_no=\"{serial}\""
        )
    }
}

/// Checks the signature of an answer or a callback. `key` finds a trusted key by its id.
pub(super) fn verify(
    key: &dyn Fn(&str) -> Option<Arc<VerifyingKey>>,
    headers: &dyn Fn(&str) -> Option<String>,
    body: &[u8],
    now: Timestamp,
) -> Result<(), CallbackError> {
    let header = |name: &str| {
        headers(name).ok_or_else(|| CallbackError::Malformed(format!("{name} is missing")))
    };
    let signature = header("Wechatpay-Signature")?;
    if signature.starts_with(PROBE) {
        return Err(CallbackError::Probe);
    }
    let timestamp = header("Wechatpay-Timestamp")?;
    let nonce = header("Wechatpay-Nonce")?;
    let key = key(&header("Wechatpay-Serial")?).ok_or(CallbackError::UnknownKey)?;
    if !key.verifies(&answer_message(&timestamp, &nonce, body), &signature) {
        return Err(CallbackError::BadSignature);
    }
    let seconds: i64 = timestamp
        .parse()
        .map_err(|_| CallbackError::Malformed("Wechatpay-Timestamp is no number".to_owned()))?;
    if now.as_second().abs_diff(seconds) >= WINDOW_SECONDS {
        return Err(CallbackError::Stale);
    }
    Ok(())
}

/// What opens a prepaid order on the payer's side.
pub(super) fn invocation_message(app: &str, seconds: &str, nonce: &str, subject: &str) -> String {
    format!("{app}\n{seconds}\n{nonce}\n{subject}\n")
}

pub(super) fn answer_message(timestamp: &str, nonce: &str, body: &[u8]) -> Vec<u8> {
    let mut message = format!("{timestamp}\n{nonce}\n").into_bytes();
    message.extend_from_slice(body);
    message.push(b'\n');
    message
}
