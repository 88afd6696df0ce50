//! WeChat Pay APIv3, direct merchant, public-key mode.
//!
//! One way for every request: find the call, authenticate it over its exact bytes, let faults
//! strike, act on the book, let faults strike again, sign. Every answer is signed, errors too,
//! except the bill file itself.

mod auth;
mod bill;
mod call;
mod callback;
mod orders;
mod refunds;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, StatusCode, header, request::Parts};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::connection::Cut;
use crate::faults::{Fault, Point, Site};
use crate::{Channel, Simulator, clock, ids};
use call::Call;

pub(crate) use callback::callback;

const BODY_BYTES_MAX: usize = 64 * 1024;
const SLOW_SECONDS: u64 = 20;
const STALE_SECONDS: i64 = 3600;
const SIGNTEST: &str = "WECHATPAY/SIGNTEST/";

/// What a call gives, before it is signed.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    body: String,
    /// The number that ends `Request-ID`; 0 when all is well.
    cause: u64,
}

#[derive(Debug)]
struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    detail: Option<Box<Value>>,
    cause: u64,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            detail: None,
            cause: 0,
        }
    }

    fn parameter(field: &str, issue: &str) -> Self {
        let detail = json!({"location": "body", "field": field, "issue": issue});
        let message = format!("参数错误：{field} {issue}");
        let error = Self::new(StatusCode::BAD_REQUEST, "PARAM_ERROR", message);
        Self {
            detail: Some(Box::new(detail)),
            ..error
        }
    }

    fn answer(self) -> Answer {
        let mut body = json!({"code": self.code, "message": self.message});
        if let Some(detail) = self.detail {
            body["detail"] = *detail;
        }
        let cause = if self.cause == 0 {
            268_435_456
        } else {
            self.cause
        };
        Answer {
            status: self.status,
            body: body.to_string(),
            cause,
        }
    }
}

impl Answer {
    fn ok(body: &Value) -> Self {
        Self {
            status: StatusCode::OK,
            body: body.to_string(),
            cause: 0,
        }
    }

    fn no_content() -> Self {
        Self {
            status: StatusCode::NO_CONTENT,
            body: String::new(),
            cause: 0,
        }
    }
}

/// Everything under `/v3/`.
pub(crate) async fn serve(
    State(simulator): State<Arc<Simulator>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let (call, body) = match authenticated(&simulator, &parts, body).await {
        Ok(authenticated) => authenticated,
        Err(error) => return sign(&simulator, error.answer(), None),
    };
    let input = Input {
        simulator: &simulator,
        parts: &parts,
        body: &body,
    };
    let number = call.out_trade_no(&input);
    let site = Site {
        channel: Channel::Wechat,
        operation: call.operation(),
        out_trade_no: number.as_deref(),
    };
    if let Some(fired) = simulator.faults.at(Point::Before, &site) {
        return sign(&simulator, before(fired.fault), Some(&site));
    }
    if matches!(call, Call::BillFile) {
        return bill::download(&input).unwrap_or_else(|e| sign(&simulator, e.answer(), None));
    }
    let answer = perform(&call, &input, &site).unwrap_or_else(ApiError::answer);
    tracing::debug!(operation = ?site.operation, out_trade_no = number,
        status = answer.status.as_u16(), "wechat answered");
    let Some(fired) = simulator.faults.at(Point::Answer, &site) else {
        return sign(&simulator, answer, Some(&site));
    };
    match fired.fault {
        Fault::DropAnswer => cut.cut(),
        Fault::SlowAnswer => {
            tokio::time::sleep(Duration::from_secs(fired.seconds.unwrap_or(SLOW_SECONDS))).await;
        }
        Fault::Error500 => return sign(&simulator, system_error().answer(), Some(&site)),
        Fault::RateLimited429WithEffect => return sign(&simulator, rate_limited(), Some(&site)),
        _ => {}
    }
    sign(&simulator, answer, Some(&site))
}

/// A request as the calls see it.
struct Input<'a> {
    simulator: &'a Simulator,
    parts: &'a Parts,
    body: &'a Bytes,
}

impl Input<'_> {
    fn json(&self) -> Result<Value, ApiError> {
        serde_json::from_slice(self.body)
            .map_err(|_| ApiError::parameter("/body", "不是合法的JSON"))
    }

    fn query(&self, name: &str) -> Option<String> {
        let query = self.parts.uri.query().unwrap_or_default();
        form_urlencoded::parse(query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }

    fn query_mchid(&self) -> Result<(), ApiError> {
        match self.query("mchid") {
            Some(mchid) if mchid == self.simulator.keys.wechat.mch_id => Ok(()),
            _ => Err(ApiError::parameter("/query/mchid", "与签名的商户号不一致")),
        }
    }
}

async fn authenticated(
    simulator: &Simulator,
    parts: &Parts,
    body: Body,
) -> Result<(Call, Bytes), ApiError> {
    let call = Call::parse(&parts.method, parts.uri.path())
        .ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "RESOURCE_NOT_EXISTS", "接口不存在"))?;
    let body = to_bytes(body, BODY_BYTES_MAX)
        .await
        .map_err(|_| ApiError::parameter("/body", "请求包体过大或不完整"))?;
    auth::verify(simulator, parts, &body)?;
    Ok((call, body))
}

fn perform(call: &Call, input: &Input<'_>, site: &Site<'_>) -> Result<Answer, ApiError> {
    match call {
        Call::Prepay(kind) => orders::prepay(input, *kind),
        Call::QueryByNumber(number) => orders::query_by_number(input, number, site),
        Call::QueryById(id) => orders::query_by_id(input, id, site),
        Call::Close(number) => orders::close(input, number, site),
        Call::Refund => refunds::refund(input, site),
        Call::RefundQuery(number) => refunds::query(input, number),
        Call::TradeBill => bill::trade_bill(input, site),
        Call::BillFile => Err(system_error()),
        Call::Certificates => Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "RESOURCE_NOT_EXISTS",
            "无可用的平台证书，请使用微信支付公钥",
        )),
    }
}

fn before(fault: Fault) -> Answer {
    match fault {
        Fault::Accepted202 => {
            let message = "请求已受理，请使用相同参数重试";
            ApiError::new(StatusCode::ACCEPTED, "USER_PAYING", message).answer()
        }
        Fault::RateLimited429 => rate_limited(),
        _ => system_error().answer(),
    }
}

fn system_error() -> ApiError {
    ApiError::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "SYSTEM_ERROR",
        "系统异常，请用相同参数重新调用",
    )
}

fn rate_limited() -> Answer {
    ApiError::new(
        StatusCode::TOO_MANY_REQUESTS,
        "FREQUENCY_LIMITED",
        "频率限制，请降低频率",
    )
    .answer()
}

/// Puts the `Wechatpay-*` headers on; without a site no fault can strike.
fn sign(simulator: &Simulator, answer: Answer, site: Option<&Site<'_>>) -> Response {
    let keys = &simulator.keys.wechat;
    let fault = site
        .and_then(|site| simulator.faults.at(Point::Signature, site))
        .map(|f| f.fault);
    let mut timestamp = clock::now().as_second();
    if fault == Some(Fault::StaleAnswer) {
        timestamp -= STALE_SECONDS;
    }
    let request_id = format!("{}-{}", ids::token().to_uppercase(), answer.cause);
    let mut headers = vec![
        ("request-id", request_id),
        ("cache-control", "no-cache".to_owned()),
    ];
    if fault != Some(Fault::UnsignedAnswer) {
        let nonce = ids::nonce(32);
        let signed = if fault == Some(Fault::BadSignature) {
            "{}"
        } else {
            answer.body.as_str()
        };
        let message = format!("{timestamp}\n{nonce}\n{signed}\n");
        let message = if fault == Some(Fault::BadSignature) {
            format!("{message}!")
        } else {
            message
        };
        let Ok(mut signature) = keys.signer.sign(message.as_bytes()) else {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        if fault == Some(Fault::SigntestAnswer) {
            signature = probe(&signature);
        }
        let serial = if fault == Some(Fault::UnknownSerial) {
            format!("PUB_KEY_ID_{}", "0".repeat(30))
        } else {
            keys.public_key_id.clone()
        };
        headers.extend([
            ("wechatpay-timestamp", timestamp.to_string()),
            ("wechatpay-nonce", nonce),
            ("wechatpay-signature", signature),
            ("wechatpay-serial", serial),
            ("wechatpay-signature-type", auth::SCHEME.to_owned()),
        ]);
    }
    respond(answer, headers)
}

/// What WeChat Pay sends to see whether signatures are checked.
fn probe(signature: &str) -> String {
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
