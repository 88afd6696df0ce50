//! Alipay's gateway (OpenAPI v1, RSA2), key mode and certificate mode.
//!
//! One path for every method: find out who asks for what (failing that, an unsigned
//! `error_response`), verify the request's signature, let faults strike, act on the book, let
//! faults strike again, sign the node's exact bytes. HTTP says 200 whatever happened.
//!
//! The mode is the request's: certificate SNs in it are checked and its answer names Alipay's.
//! Both modes use the same key pairs, so an app that changes its mode keeps its book.

mod account_bill;
mod answer;
mod archive;
mod bill;
mod callback;
mod create;
mod refund;
mod request;
mod trade;

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{ConnectInfo, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::connection::Caller;
use crate::faults::{Fault, Operation, Point, Site};
use crate::{Channel, Simulator};
use answer::Reply;
use create::Kind;
use request::{Mode, Parameters};

pub(crate) use bill::{BILL_PATH, DownloadQuery};
pub(crate) use callback::callback;
pub(crate) use trade::tell_end;

pub(crate) const GATEWAY_PATH: &str = "/gateway.do";
const BODY_BYTES_MAX: usize = 64 * 1024;
const CONTENT_TYPE: &str = "text/html;charset=utf-8";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Create(Kind),
    Query,
    Close,
    Cancel,
    Refund,
    RefundQuery,
    BillUrl,
    Certificate,
}

impl Method {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "alipay.trade.precreate" => Self::Create(Kind::Precreate),
            "alipay.trade.page.pay" => Self::Create(Kind::Page),
            "alipay.trade.wap.pay" => Self::Create(Kind::Wap),
            "alipay.trade.app.pay" => Self::Create(Kind::App),
            "alipay.trade.create" => Self::Create(Kind::Create),
            "alipay.trade.query" => Self::Query,
            "alipay.trade.close" => Self::Close,
            "alipay.trade.cancel" => Self::Cancel,
            "alipay.trade.refund" => Self::Refund,
            "alipay.trade.fastpay.refund.query" => Self::RefundQuery,
            "alipay.data.dataservice.bill.downloadurl.query" => Self::BillUrl,
            "alipay.open.app.alipaycert.download" => Self::Certificate,
            _ => return None,
        })
    }

    const fn operation(self) -> Operation {
        match self {
            Self::Create(_) => Operation::Create,
            Self::Query | Self::Certificate => Operation::Query,
            Self::Close => Operation::Close,
            Self::Cancel => Operation::Cancel,
            Self::Refund => Operation::Refund,
            Self::RefundQuery => Operation::RefundQuery,
            Self::BillUrl => Operation::Bill,
        }
    }
}

/// Why a call failed: the four fields of a node.
#[derive(Debug)]
pub(crate) struct Failure {
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
        let (code, message) = ("20000", "Service Currently Unavailable");
        Self::new(code, message, "aop.unknow-error", "系统繁忙")
    }

    fn limited() -> Self {
        let message = "应用调用次数超限";
        Self::new("40005", "Call Limited", "isv.app-call-limited", message)
    }

    fn wrong_time() -> Self {
        Self::invalid("isv.invalid-timestamp", "非法的时间戳参数")
    }

    fn node(self) -> Value {
        json!({
            "code": self.code,
            "msg": self.message,
            "sub_code": self.sub_code,
            "sub_msg": self.sub_message,
        })
    }

    /// For people.
    pub(crate) fn summary(&self) -> String {
        format!("{} {}: {}", self.code, self.sub_code, self.sub_message)
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
    ConnectInfo(caller): ConnectInfo<Caller>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let parameters = Parameters::merge(parts.uri.query().unwrap_or_default(), &body);
    let (method, name) = match identified(&simulator, &parameters) {
        // An app order never comes here: the app hands it to the payer's wallet.
        Ok((Method::Create(Kind::App), _)) => return answer::unsigned(no_method()),
        Ok(identified) => identified,
        Err(failure) => return answer::unsigned(failure),
    };
    let mut reply = Reply {
        simulator: &simulator,
        name: &name,
        page: matches!(method, Method::Create(Kind::Page | Kind::Wap)),
        mode: Mode::of(&parameters),
        site: None,
    };
    let content = match request::verify(&simulator, &parameters) {
        Ok(content) => content,
        Err(failure) => return reply.send(&failure.node()),
    };
    let site = Site {
        channel: Channel::Alipay,
        operation: method.operation(),
        out_trade_no: content.get("out_trade_no").and_then(Value::as_str),
        caller: Some(caller.address),
    };
    reply.site = Some(&site);
    if let Some(fired) = simulator.faults.at(Point::Before, &site) {
        return reply.before(fired.fault, &caller.cut);
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
    reply.after(node, &caller.cut).await
}

fn no_method() -> Failure {
    Failure::invalid("isv.invalid-method", "不存在的方法名")
}

/// The app and method; without both the gateway does not sign.
fn identified(simulator: &Simulator, parameters: &Parameters) -> Result<(Method, String), Failure> {
    if parameters.get("app_id") != Some(simulator.keys.alipay().app_id.as_str()) {
        return Err(Failure::invalid("isv.invalid-app-id", "无效的AppID参数"));
    }
    let Some(name) = parameters.get("method") else {
        return Err(Failure::missing("isv.missing-method", "缺少方法名参数"));
    };
    let method = Method::parse(name).ok_or_else(no_method)?;
    Ok((method, name.replace('.', "_")))
}

fn perform(method: Method, input: &Input<'_>) -> Result<Value, Failure> {
    match method {
        Method::Create(kind) => create::create(input, kind),
        Method::Query => trade::query(input),
        Method::Close => trade::close(input),
        Method::Cancel => trade::cancel(input),
        Method::Refund => refund::refund(input),
        Method::RefundQuery => refund::query(input),
        Method::BillUrl => bill::url(input),
        Method::Certificate => certificate(input),
    }
}

/// Alipay's certificate by its SN, for clients that meet a new one in an answer.
fn certificate(input: &Input<'_>) -> Result<Value, Failure> {
    let keys = input.simulator.keys.alipay();
    let made = &keys.certificates;
    if input.text("alipay_cert_sn") != Some(&made.alipay_sn) {
        return Err(Failure::business("CERT_NOT_EXIST", "证书不存在"));
    }
    let content = STANDARD.encode(&made.alipay);
    Ok(success(json!({"alipay_cert_content": content})))
}

/// The payer's wallet takes an order string (or a page's query string): the trade exists from
/// then on. The answer is its out_trade_no.
pub(crate) fn take_order(simulator: &Simulator, order: &str) -> Result<String, Failure> {
    let parameters = Parameters::merge(order, b"");
    let (method, _) = identified(simulator, &parameters)?;
    let Method::Create(kind @ (Kind::App | Kind::Page | Kind::Wap)) = method else {
        return Err(no_method());
    };
    let content = request::verify(simulator, &parameters)?;
    let number = content.get("out_trade_no").and_then(Value::as_str);
    let input = Input {
        simulator,
        content: &content,
        notify_url: parameters.get("notify_url").unwrap_or_default(),
        base_url: String::new(),
        site: Site {
            channel: Channel::Alipay,
            operation: Operation::Create,
            out_trade_no: number,
            caller: None,
        },
    };
    create::create(&input, kind)?;
    Ok(number.unwrap_or_default().to_owned())
}

/// The bill file beside the gateway.
pub(crate) async fn download_bill(
    State(simulator): State<Arc<Simulator>>,
    Query(query): Query<DownloadQuery>,
) -> Response {
    bill::download(&simulator, &query)
}
