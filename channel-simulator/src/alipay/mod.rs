//! Alipay's gateway (OpenAPI v1, RSA2, key mode).
//!
//! One path for every method: find out who asks for what (failing that, an unsigned
//! `error_response`), verify the request's signature, let faults strike, act on the book, let
//! faults strike again, sign the node's exact bytes. HTTP says 200 whatever happened.

mod archive;
mod bill;
mod callback;
mod request;
mod trade;

use std::sync::Arc;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{ConnectInfo, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::connection::Cut;
use crate::faults::{Fault, Operation, Point, Site};
use crate::{Channel, Simulator};
use request::Parameters;

pub(crate) use bill::{BILL_PATH, DownloadQuery};
pub(crate) use callback::callback;

pub(crate) const GATEWAY_PATH: &str = "/gateway.do";
const BODY_BYTES_MAX: usize = 64 * 1024;
const SLOW_SECONDS: u64 = 20;
/// The seller of every trade here (pid).
const SELLER_ID: &str = "2088102175953034";
const CONTENT_TYPE: &str = "text/html;charset=utf-8";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Precreate,
    Query,
    Close,
    Refund,
    RefundQuery,
    BillUrl,
}

impl Method {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "alipay.trade.precreate" => Self::Precreate,
            "alipay.trade.query" => Self::Query,
            "alipay.trade.close" => Self::Close,
            "alipay.trade.refund" => Self::Refund,
            "alipay.trade.fastpay.refund.query" => Self::RefundQuery,
            "alipay.data.dataservice.bill.downloadurl.query" => Self::BillUrl,
            _ => return None,
        })
    }

    const fn operation(self) -> Operation {
        match self {
            Self::Precreate => Operation::Create,
            Self::Query => Operation::Query,
            Self::Close => Operation::Close,
            Self::Refund => Operation::Refund,
            Self::RefundQuery => Operation::RefundQuery,
            Self::BillUrl => Operation::Bill,
        }
    }
}

/// Why a call failed: the four fields of a node.
#[derive(Debug)]
struct Failure {
    code: &'static str,
    message: &'static str,
    sub_code: &'static str,
    sub_message: String,
}

impl Failure {
    fn new(
        code: &'static str,
        message: &'static str,
        sub_code: &'static str,
        sub_message: impl Into<String>,
    ) -> Self {
        Self {
            code,
            message,
            sub_code,
            sub_message: sub_message.into(),
        }
    }

    fn invalid(sub_code: &'static str, sub_message: impl Into<String>) -> Self {
        Self::new("40002", "Invalid Arguments", sub_code, sub_message)
    }

    fn missing(sub_code: &'static str, sub_message: impl Into<String>) -> Self {
        Self::new("40001", "Missing Required Arguments", sub_code, sub_message)
    }

    fn business(sub_code: &'static str, sub_message: impl Into<String>) -> Self {
        Self::new("40004", "Business Failed", sub_code, sub_message)
    }

    fn unavailable() -> Self {
        Self::new(
            "20000",
            "Service Currently Unavailable",
            "aop.unknow-error",
            "系统繁忙",
        )
    }

    fn limited() -> Self {
        Self::new(
            "40005",
            "Call Limited",
            "isv.app-call-limited",
            "应用调用次数超限",
        )
    }

    fn node(self) -> Value {
        json!({
            "code": self.code,
            "msg": self.message,
            "sub_code": self.sub_code,
            "sub_msg": self.sub_message,
        })
    }
}

/// A node that says yes, with the business fields after `code` and `msg`.
fn success(fields: Value) -> Value {
    let mut node = Map::new();
    node.insert("code".to_owned(), "10000".into());
    node.insert("msg".to_owned(), "Success".into());
    if let Value::Object(fields) = fields {
        node.extend(fields);
    }
    Value::Object(node)
}

/// What the methods see.
struct Input<'a> {
    simulator: &'a Simulator,
    content: &'a Value,
    notify_url: &'a str,
    base_url: String,
    site: Site<'a>,
}

impl Input<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.content
            .get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    }

    fn strikes(&self, fault: Fault) -> bool {
        self.simulator.faults.strikes(fault, &self.site).is_some()
    }
}

/// The gateway.
pub(crate) async fn serve(
    State(simulator): State<Arc<Simulator>>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let parameters = Parameters::merge(parts.uri.query().unwrap_or_default(), &body);
    let (method, name) = match identified(&simulator, &parameters) {
        Ok(identified) => identified,
        Err(failure) => return unsigned(failure),
    };
    let content = match request::verify(&simulator, &parameters) {
        Ok(content) => content,
        Err(failure) => return sign(&simulator, &name, &failure.node(), None),
    };
    let site = Site {
        channel: Channel::Alipay,
        operation: method.operation(),
        out_trade_no: content.get("out_trade_no").and_then(Value::as_str),
    };
    match simulator
        .faults
        .at(Point::Before, &site)
        .map(|fired| fired.fault)
    {
        Some(Fault::RateLimited429) => {
            return sign(&simulator, &name, &Failure::limited().node(), Some(&site));
        }
        Some(_) => return server_error(),
        None => {}
    }
    let input = Input {
        simulator: &simulator,
        content: &content,
        notify_url: parameters.get("notify_url").unwrap_or_default(),
        base_url: simulator.base_url(&parts.headers),
        site,
    };
    let node = perform(method, &input).unwrap_or_else(Failure::node);
    tracing::debug!(method = name, out_trade_no = site.out_trade_no, code = %node["code"],
        sub_code = %node["sub_code"], "alipay answered");
    answered(&simulator, &name, node, &site, &cut).await
}

/// Lets the answer's faults strike, then signs what is left.
async fn answered(
    simulator: &Simulator,
    name: &str,
    node: Value,
    site: &Site<'_>,
    cut: &Cut,
) -> Response {
    let Some(fired) = simulator.faults.at(Point::Answer, site) else {
        return sign(simulator, name, &node, Some(site));
    };
    let node = match fired.fault {
        Fault::Error500 => return server_error(),
        Fault::ErrorResponseUnsigned => {
            return unsigned(Failure::invalid("isv.invalid-app-id", "无效的AppID参数"));
        }
        Fault::SystemErrorMisspelt => Failure::business("AQC.SYSTEM_ERROR", "系统错误").node(),
        Fault::ServiceUnavailable20000 => Failure::unavailable().node(),
        Fault::RateLimited429WithEffect => Failure::limited().node(),
        Fault::DropAnswer => {
            cut.cut();
            node
        }
        Fault::SlowAnswer => {
            let seconds = fired.seconds.unwrap_or(SLOW_SECONDS);
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            node
        }
        _ => node,
    };
    sign(simulator, name, &node, Some(site))
}

/// The app and method; without both the gateway does not sign.
fn identified(simulator: &Simulator, parameters: &Parameters) -> Result<(Method, String), Failure> {
    if parameters.get("app_id") != Some(simulator.keys.alipay.app_id.as_str()) {
        return Err(Failure::invalid("isv.invalid-app-id", "无效的AppID参数"));
    }
    let Some(name) = parameters.get("method") else {
        return Err(Failure::missing("isv.missing-method", "缺少方法名参数"));
    };
    let method = Method::parse(name)
        .ok_or_else(|| Failure::invalid("isv.invalid-method", "不存在的方法名"))?;
    Ok((method, name.replace('.', "_")))
}

fn perform(method: Method, input: &Input<'_>) -> Result<Value, Failure> {
    match method {
        Method::Precreate => trade::precreate(input),
        Method::Query => trade::query(input),
        Method::Close => trade::close(input),
        Method::Refund => trade::refund(input),
        Method::RefundQuery => trade::refund_query(input),
        Method::BillUrl => bill::url(input),
    }
}

fn server_error() -> Response {
    let html = "<html><head><title>500 Internal Server Error</title></head></html>";
    let kind = [(header::CONTENT_TYPE, CONTENT_TYPE)];
    (StatusCode::INTERNAL_SERVER_ERROR, kind, html).into_response()
}

fn unsigned(failure: Failure) -> Response {
    let body = json!({"error_response": failure.node()}).to_string();
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response()
}

/// `{"<method>_response":{…},"sign":"…"}` over the node's bytes as sent, slashes escaped as the
/// gateway escapes them.
fn sign(simulator: &Simulator, name: &str, node: &Value, site: Option<&Site<'_>>) -> Response {
    let fault = site
        .and_then(|site| simulator.faults.at(Point::Signature, site))
        .map(|f| f.fault);
    // A slash in JSON text stands only inside strings.
    let node = node.to_string().replace('/', "\\/");
    let kind = [(header::CONTENT_TYPE, CONTENT_TYPE)];
    if fault == Some(Fault::UnsignedAnswer) {
        return (kind, format!(r#"{{"{name}_response":{node}}}"#)).into_response();
    }
    let other = format!("{node} ");
    let signed = if fault == Some(Fault::BadSignature) {
        &other
    } else {
        &node
    };
    match simulator.keys.alipay.signer.sign(signed.as_bytes()) {
        Ok(sign) => (
            kind,
            format!(r#"{{"{name}_response":{node},"sign":"{sign}"}}"#),
        )
            .into_response(),
        Err(_) => server_error(),
    }
}

/// The bill file beside the gateway.
pub(crate) async fn download_bill(
    State(simulator): State<Arc<Simulator>>,
    Query(query): Query<DownloadQuery>,
) -> Response {
    bill::download(&simulator, &query)
}
