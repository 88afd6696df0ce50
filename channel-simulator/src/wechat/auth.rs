//! Who is asking: the `Authorization` header over the exact bytes of the request.

use std::collections::HashMap;

use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde_json::json;

use super::ApiError;
use crate::{Simulator, clock};

pub(super) const SCHEME: &str = "WECHATPAY2-SHA256-RSA2048";
/// Both clocks may differ by this much.
const WINDOW_SECONDS: u64 = 300;
const MESSAGE_CHARS_SHOWN: usize = 128;

/// The header's fields, in whatever order they came.
#[derive(Debug, PartialEq, Eq)]
struct Authorization {
    mchid: String,
    nonce: String,
    signature: String,
    timestamp: i64,
    serial: String,
}

pub(super) fn verify(simulator: &Simulator, parts: &Parts, body: &[u8]) -> Result<(), ApiError> {
    let keys = simulator.keys.wechat();
    let text = parts
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let sent = text
        .and_then(parse)
        .ok_or_else(|| sign_error("Http头Authorization值格式错误"))?;
    if sent.mchid != keys.mch_id {
        return Err(sign_error("商户号不存在或与签名不符"));
    }
    let Some(merchant) = keys.merchant(&sent.serial) else {
        return Err(sign_error("商户证书序列号有误，请检查证书序列号是否正确"));
    };
    if clock::now().as_second().abs_diff(sent.timestamp) > WINDOW_SECONDS {
        return Err(wrong_time());
    }
    let mut message = head(parts, &sent).into_bytes();
    message.extend_from_slice(body);
    message.push(b'\n');
    if !merchant.verifies(&message, &sent.signature) {
        return Err(wrong_signature(parts, &message));
    }
    response_key(simulator, parts)
}

/// The first four lines of what is signed.
fn head(parts: &Parts, sent: &Authorization) -> String {
    let target = parts
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    format!(
        "{}\n{target}\n{}\n{}\n",
        parts.method, sent.timestamp, sent.nonce
    )
}

/// A client may name the key it can verify with; naming one we do not have is answered as the
/// channel answers it.
fn response_key(simulator: &Simulator, parts: &Parts) -> Result<(), ApiError> {
    match asked_serial(parts) {
        Some(serial)
            if !simulator
                .certificates
                .knows(&simulator.keys.wechat(), serial) =>
        {
            Err(super::system_error())
        }
        _ => Ok(()),
    }
}

/// A header that is no text names nothing we have.
pub(super) fn asked_serial(parts: &Parts) -> Option<&str> {
    let header = parts.headers.get("wechatpay-serial")?;
    Some(header.to_str().unwrap_or_default())
}

fn parse(header: &str) -> Option<Authorization> {
    let mut fields = HashMap::new();
    for field in header.strip_prefix(SCHEME)?.strip_prefix(' ')?.split(',') {
        let (name, value) = field.trim().split_once('=')?;
        let value = value.strip_prefix('"')?.strip_suffix('"')?;
        if fields.insert(name, value).is_some() {
            return None;
        }
    }
    let mut take = |name: &str| fields.remove(name).filter(|value| !value.is_empty());
    Some(Authorization {
        mchid: take("mchid")?.to_owned(),
        nonce: take("nonce_str")?.to_owned(),
        signature: take("signature")?.to_owned(),
        timestamp: take("timestamp")?.parse().ok()?,
        serial: take("serial_no")?.to_owned(),
    })
}

fn sign_error(message: &str) -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "SIGN_ERROR", message)
}

pub(super) fn wrong_time() -> ApiError {
    sign_error("Http头Authorization中的timestamp与发起请求的时间不得超过5分钟")
}

fn wrong_signature(parts: &Parts, message: &[u8]) -> ApiError {
    let shown: String = String::from_utf8_lossy(message)
        .chars()
        .take(MESSAGE_CHARS_SHOWN)
        .collect();
    let detail = json!({
        "field": "signature",
        "issue": "sign not match",
        "location": "authorization",
        "sign_information": {
            "method": parts.method.as_str(),
            "url": parts.uri.path_and_query().map_or("/", |target| target.as_str()),
            "truncated_sign_message": shown,
            "sign_message_length": message.len(),
        },
    });
    ApiError {
        detail: Some(Box::new(detail)),
        ..sign_error("签名错误，请检查后再试")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_order_is_understood_and_nonsense_refused() {
        let fields = [
            r#"mchid="1""#,
            r#"nonce_str="n""#,
            r#"signature="a=b==""#,
            r#"timestamp="9""#,
            r#"serial_no="S""#,
        ];
        let forward = format!("{SCHEME} {}", fields.join(","));
        let mut reversed = fields;
        reversed.reverse();
        let parsed = parse(&forward).unwrap();
        assert_eq!(parsed.signature, "a=b==");
        assert_eq!(
            parse(&format!("{SCHEME} {}", reversed.join(", "))),
            Some(parsed)
        );
        for wrong in [
            fields.join(","),
            format!("{SCHEME} {}", fields[1..].join(",")),
            format!("{forward},mchid=\"2\""),
            format!("{SCHEME} mchid=1"),
            forward.replace("\"9\"", "\"nine\""),
        ] {
            assert_eq!(parse(&wrong), None, "{wrong}");
        }
    }
}
