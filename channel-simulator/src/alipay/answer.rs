//! How the gateway answers: a signed node, or for page.pay and wap.pay a page for the payer.
//!
//! `{"<method>_response":{…},"sign":"…"}` over the node's bytes as sent, slashes escaped as the
//! gateway escapes them; certificate mode puts `alipay_cert_sn` between the two. Pages are not
//! signed: whoever sees one is no machine.

use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::request::Mode;
use super::{CONTENT_TYPE, Failure};
use crate::Simulator;
use crate::connection::Cut;
use crate::faults::{Fault, Point, Site};

const SLOW_SECONDS: u64 = 20;

/// Everything about an answer but its content.
pub(super) struct Reply<'a> {
    pub(super) simulator: &'a Simulator,
    pub(super) name: &'a str,
    pub(super) page: bool,
    pub(super) mode: Mode,
    /// Without a site no fault can strike.
    pub(super) site: Option<&'a Site<'a>>,
}

impl Reply<'_> {
    /// A fault that struck before anything happened.
    pub(super) fn before(&self, fault: Fault, cut: &Cut) -> Response {
        match fault {
            Fault::RateLimited429 => self.send(&Failure::limited().node()),
            Fault::ClockSkew => self.send(&Failure::wrong_time().node()),
            Fault::DropRequest => {
                cut.cut();
                server_error()
            }
            _ => server_error(),
        }
    }

    /// Lets the answer's faults strike, then sends what is left.
    pub(super) async fn after(&self, node: Value, cut: &Cut) -> Response {
        let fired = self
            .site
            .and_then(|site| self.simulator.faults.at(Point::Answer, site));
        let Some(fired) = fired else {
            return self.send(&node);
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
        self.send(&node)
    }

    pub(super) fn send(&self, node: &Value) -> Response {
        if self.page {
            let kind = [(header::CONTENT_TYPE, CONTENT_TYPE)];
            return (kind, page(node)).into_response();
        }
        let fault = self
            .site
            .and_then(|site| self.simulator.faults.at(Point::Signature, site));
        self.signed(node, fault.map(|fired| fired.fault))
    }

    fn signed(&self, node: &Value, fault: Option<Fault>) -> Response {
        let (name, keys) = (self.name, self.simulator.keys.alipay());
        let kind = [(header::CONTENT_TYPE, CONTENT_TYPE)];
        // A slash in JSON text stands only inside strings.
        let node = node.to_string().replace('/', "\\/");
        if fault == Some(Fault::UnsignedAnswer) {
            return (kind, format!(r#"{{"{name}_response":{node}}}"#)).into_response();
        }
        let named = (self.mode == Mode::Certificate) != (fault == Some(Fault::OtherKey));
        let certificate = if named {
            format!(r#","alipay_cert_sn":"{}""#, keys.certificates.alipay_sn)
        } else {
            String::new()
        };
        let mut text = node.clone();
        if fault == Some(Fault::BadSignature) {
            text.push(' ');
        }
        match keys.signer.sign(text.as_bytes()) {
            Ok(sign) => {
                let body = format!(r#"{{"{name}_response":{node}{certificate},"sign":"{sign}"}}"#);
                (kind, body).into_response()
            }
            Err(_) => server_error(),
        }
    }
}

/// The cashier, or why there is none.
fn page(node: &Value) -> String {
    let text = |name: &str| escaped(node[name].as_str().unwrap_or_default());
    let (title, lines) = if node["code"] == "10000" {
        let lines = ["subject", "total_amount", "out_trade_no", "trade_no"];
        ("收银台", lines.map(text).join("<br>"))
    } else {
        let lines = ["code", "sub_code", "sub_msg"];
        ("订单信息有误", lines.map(text).join("<br>"))
    };
    format!(
        "<!doctype html><html><head><meta charset=\"utf-8\"><title>{title}</title></head>\
         <body><h1>{title}</h1><p>{lines}</p></body></html>"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

fn server_error() -> Response {
    let html = "<html><head><title>500 Internal Server Error</title></head></html>";
    let kind = [(header::CONTENT_TYPE, CONTENT_TYPE)];
    (StatusCode::INTERNAL_SERVER_ERROR, kind, html).into_response()
}

pub(super) fn unsigned(failure: Failure) -> Response {
    let body = json!({"error_response": failure.node()}).to_string();
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response()
}
