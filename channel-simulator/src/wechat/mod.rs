//! WeChat Pay APIv3, direct merchant, with the public key and with platform certificates.
//!
//! One way for every request: find the call, authenticate it over its exact bytes, let faults
//! strike, act on the book, let faults strike again, sign. Every answer is signed, errors too,
//! except the bill file itself.

mod auth;
mod bill;
mod call;
mod callback;
mod fund_bill;
mod orders;
mod platform;
mod prepay;
mod refunds;
mod signature;

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, request::Parts};
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::connection::{Caller, Cut};
use crate::faults::{Fault, Fired, Point, Site};
use crate::{Channel, Simulator};
use call::Call;
use signature::Reply;

pub(crate) use callback::callback;
pub(crate) use platform::{Certificates, Change, ChangeError, Rotation, View};

const BODY_BYTES_MAX: usize = 64 * 1024;
const SLOW_SECONDS: u64 = 20;

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

    /// The code of an error without its underscores.
    fn spelt_as_of_old(mut self) -> Self {
        if let Ok(mut body) = serde_json::from_str::<Value>(&self.body)
            && let Some(code) = body["code"].as_str()
        {
            body["code"] = code.replace('_', "").into();
            self.body = body.to_string();
        }
        self
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
    ConnectInfo(caller): ConnectInfo<Caller>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let mut reply = Reply::new(&simulator, &parts);
    let (call, body) = match authenticated(&simulator, &parts, body).await {
        Ok(authenticated) => authenticated,
        Err(error) => return reply.send(error.answer()),
    };
    reply.certificate = matches!(call, Call::Certificates);
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
        caller: Some(caller.address),
    };
    if let Some(fired) = simulator.faults.at(Point::Before, &site) {
        if fired.fault == Fault::DropRequest {
            caller.cut.cut();
        }
        reply.site = Some(&site);
        return reply.send(before(fired.fault));
    }
    if matches!(call, Call::BillFile) {
        return bill::download(&input).unwrap_or_else(|error| reply.send(error.answer()));
    }
    reply.site = Some(&site);
    let answer = perform(&call, &input, &site).unwrap_or_else(ApiError::answer);
    tracing::debug!(operation = ?site.operation, out_trade_no = number,
        status = answer.status.as_u16(), "wechat answered");
    let answer = match simulator.faults.at(Point::Answer, &site) {
        None => answer,
        Some(fired) => spoilt(answer, fired, &caller.cut).await,
    };
    reply.send(answer)
}

/// Lets an answer's fault strike.
async fn spoilt(answer: Answer, fired: Fired, cut: &Cut) -> Answer {
    match fired.fault {
        Fault::DropAnswer => cut.cut(),
        Fault::SlowAnswer => {
            let seconds = fired.seconds.unwrap_or(SLOW_SECONDS);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
        Fault::Error500 => return system_error().answer(),
        Fault::RateLimited429WithEffect => return rate_limited().answer(),
        Fault::OldErrorCode => return answer.spelt_as_of_old(),
        _ => {}
    }
    answer
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
            Some(mchid) if mchid == self.simulator.keys.wechat().mch_id => Ok(()),
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
        Call::Prepay(kind) => prepay::prepay(input, *kind),
        Call::QueryByNumber(number) => orders::query_by_number(input, number, site),
        Call::QueryById(id) => orders::query_by_id(input, id, site),
        Call::Close(number) => orders::close(input, number, site),
        Call::Refund => refunds::refund(input, site),
        Call::RefundQuery(number) => refunds::query(input, number),
        Call::RetryRefund(id) => refunds::retry(input, id, site),
        Call::TradeBill => bill::trade_bill(input, site),
        Call::FundFlowBill => bill::fund_flow_bill(input, site),
        Call::BillFile => Err(system_error()),
        Call::Certificates => certificates(input.simulator),
    }
}

fn certificates(simulator: &Simulator) -> Result<Answer, ApiError> {
    match simulator.certificates.download(&simulator.keys.wechat()) {
        Some(Ok(body)) => Ok(Answer::ok(&body)),
        Some(Err(error)) => {
            tracing::error!(%error, "cannot encrypt a certificate");
            Err(system_error())
        }
        None => Err(ApiError::new(
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
        Fault::RateLimited429 => rate_limited().answer(),
        Fault::ClockSkew => auth::wrong_time().answer(),
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

fn rate_limited() -> ApiError {
    ApiError::new(
        StatusCode::TOO_MANY_REQUESTS,
        "FREQUENCY_LIMITED",
        "频率限制，请降低频率",
    )
}
