//! How answers are signed: every one is, errors too, except the bill file itself.

use axum::http::{HeaderValue, StatusCode, header, request::Parts};
use axum::response::{IntoResponse, Response};

use super::platform::Named;
use super::{Answer, auth};
use crate::faults::{Fault, Fired, Point, Site};
use crate::{Simulator, clock, ids};

/// How old a stale signature is, and how far ahead one from the future.
pub(super) const STALE_SECONDS: i64 = 3600;
const SIGNTEST: &str = "WECHATPAY/SIGNTEST/";

/// Everything about an answer but its content.
pub(super) struct Reply<'a> {
    simulator: &'a Simulator,
    /// The request's `Wechatpay-Serial`.
    asked: Option<&'a str>,
    /// Certificates are vouched for by a certificate, whatever was asked.
    pub(super) certificate: bool,
    /// Without a site no fault can strike.
    pub(super) site: Option<&'a Site<'a>>,
}

impl<'a> Reply<'a> {
    pub(super) fn new(simulator: &'a Simulator, parts: &'a Parts) -> Self {
        Self {
            simulator,
            asked: auth::asked_serial(parts),
            certificate: false,
            site: None,
        }
    }

    /// Puts the `Wechatpay-*` headers on.
    pub(super) fn send(&self, answer: Answer) -> Response {
        let fired = self
            .site
            .and_then(|site| self.simulator.faults.at(Point::Signature, site));
        let request_id = format!("{}-{}", ids::token().to_uppercase(), answer.cause);
        let mut headers = vec![
            ("request-id", request_id),
            ("cache-control", "no-cache".to_owned()),
        ];
        if fired.map(|fired| fired.fault) != Some(Fault::UnsignedAnswer) {
            match self.signature(&answer.body, fired) {
                Some(signature) => headers.extend(signature),
                None => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            }
        }
        respond(answer, headers)
    }

    fn signature(&self, body: &str, fired: Option<Fired>) -> Option<[(&'static str, String); 5]> {
        let fault = fired.map(|fired| fired.fault);
        let shift = fired
            .and_then(|fired| i64::try_from(fired.seconds?).ok())
            .unwrap_or(STALE_SECONDS);
        let mut timestamp = clock::now().as_second();
        match fault {
            Some(Fault::StaleAnswer) => timestamp -= shift,
            Some(Fault::FutureAnswer) => timestamp += shift,
            _ => {}
        }
        let nonce = ids::nonce(32);
        let mut message = format!("{timestamp}\n{nonce}\n{body}\n");
        if fault == Some(Fault::BadSignature) {
            message.push('!');
        }
        let named = self.key(fault);
        let mut signature = named.signer.sign(message.as_bytes()).ok()?;
        if fault == Some(Fault::SigntestAnswer) {
            signature = probe(&signature);
        }
        let serial = if fault == Some(Fault::UnknownSerial) {
            format!("PUB_KEY_ID_{}", "0".repeat(30))
        } else {
            named.serial
        };
        Some([
            ("wechatpay-timestamp", timestamp.to_string()),
            ("wechatpay-nonce", nonce),
            ("wechatpay-signature", signature),
            ("wechatpay-serial", serial),
            ("wechatpay-signature-type", auth::SCHEME.to_owned()),
        ])
    }

    fn key(&self, fault: Option<Fault>) -> Named {
        let (keys, all) = (self.simulator.keys.wechat(), &self.simulator.certificates);
        let asked = if self.certificate { None } else { self.asked };
        let named = all.for_answer(&keys, asked);
        if fault == Some(Fault::OtherKey) {
            return all.other_than(&keys, named);
        }
        named
    }
}

/// What WeChat Pay sends to see whether signatures are checked.
pub(super) fn probe(signature: &str) -> String {
    let tail: String = signature.chars().skip(SIGNTEST.len()).collect();
    format!("{SIGNTEST}{tail}")
}

fn respond(answer: Answer, headers: Vec<(&'static str, String)>) -> Response {
    let has_body = !answer.body.is_empty();
    let mut response = (answer.status, answer.body).into_response();
    let all = response.headers_mut();
    all.remove(header::CONTENT_TYPE);
    if has_body {
        let json = HeaderValue::from_static("application/json; charset=utf-8");
        all.insert(header::CONTENT_TYPE, json);
    }
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            all.insert(name, value);
        }
    }
    response
}
