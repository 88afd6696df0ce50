//! RFC 9457 problems: what went wrong, whether trying again helps, whether a charge may exist.
//!
//! Guarantees: whatever is quoted of a request is bounded, so no answer outgrows its cause.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use payment_core::refund::ReserveError;
use payment_core::{MoneyError, PaymentState};
use serde_json::{Value, json};

use super::code::{ChargeMayExist, Code};
use crate::payments::PayError;
use crate::ports::StoreError;
use crate::records::{PaymentRecord, StoredAnswer};

pub(super) const CONTENT_TYPE: &str = "application/problem+json";
/// Parsers quote what they could not read.
const QUOTED_CHARACTERS_MAX: usize = 300;

/// An error answer.
#[derive(Clone, Debug)]
pub struct Problem {
    code: Code,
    detail: String,
    param: Option<&'static str>,
    charge_may_exist: bool,
    payment_id: Option<String>,
}

impl Problem {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            param: None,
            charge_may_exist: code.facts().charge == ChargeMayExist::Yes,
            payment_id: None,
        }
    }

    /// One field of the request cannot be used.
    pub fn invalid(param: &'static str, problem: &str) -> Self {
        let detail = format!("{param} {problem}.");
        Self {
            param: Some(param),
            ..Self::new(Code::ValidationFailed, detail)
        }
    }

    pub fn money(error: &MoneyError) -> Self {
        let param = if matches!(error, MoneyError::UnknownCurrency(_)) {
            "currency"
        } else {
            "amount"
        };
        Self {
            param: Some(param),
            ..Self::invalid(param, &format!("cannot be used: {error}"))
        }
    }

    pub fn bad_json(error: &serde_json::Error) -> Self {
        let error = quoted(&error.to_string());
        let detail = format!("The body is not the JSON this call takes: {error}.");
        Self::new(Code::BadRequest, detail)
    }

    pub fn no_object() -> Self {
        Self::new(
            Code::BadRequest,
            "The body, and each of its items, must be a JSON object.",
        )
    }

    pub fn bad_query(error: &axum::extract::rejection::QueryRejection) -> Self {
        Self::new(Code::BadRequest, quoted(&error.body_text()))
    }

    pub fn not_json() -> Self {
        let detail = "Send the request as application/json in UTF-8.";
        Self::new(Code::UnsupportedMediaType, detail)
    }

    pub fn no_such_payment(payment_id: &str) -> Self {
        let shown: String = payment_id.chars().take(40).collect();
        let detail = format!("There is no payment {shown}.");
        Self::new(Code::PaymentNotFound, detail)
    }

    /// The channel declined, or was surely never reached: nothing was charged.
    pub fn declined(payment: &PaymentRecord) -> Self {
        let detail = format!(
            "The channel did not take order {}: nothing was charged. Its events say why; POST its \
             attempts to try again.",
            payment.order_id
        );
        let problem = Self::new(Code::PaymentFailed, detail);
        Self {
            payment_id: Some(payment.payment_no.clone()),
            ..problem
        }
    }

    pub fn already_charged(payment: &PaymentRecord) -> Self {
        let detail = format!(
            "The payment is {}: it can be neither closed nor attempted again.",
            payment.status
        );
        let problem = Self::new(Code::PaymentAlreadyCharged, detail);
        let charge_may_exist = payment.status != PaymentState::Refunded;
        Self {
            charge_may_exist,
            payment_id: Some(payment.payment_no.clone()),
            ..problem
        }
    }

    /// Another attempt may begin only after proof that this one charged nothing.
    pub fn not_proven(payment: &PaymentRecord) -> Self {
        if payment.status.was_charged() {
            return Self::already_charged(payment);
        }
        let detail = format!(
            "The payment is {}: it may still be charged. Close it first; another attempt begins \
             once it is CLOSED or FAILED.",
            payment.status
        );
        Self {
            payment_id: Some(payment.payment_no.clone()),
            ..Self::new(Code::PaymentStillOpen, detail)
        }
    }

    pub fn superseded(latest: &PaymentRecord) -> Self {
        let detail = format!(
            "The order has a later attempt, {}: try that one again.",
            latest.payment_no
        );
        Self {
            payment_id: Some(latest.payment_no.clone()),
            ..Self::new(Code::AttemptSuperseded, detail)
        }
    }

    pub fn no_such_refund(refund_no: &str) -> Self {
        let shown: String = refund_no.chars().take(64).collect();
        let detail = format!("The payment has no refund {shown}.");
        Self::new(Code::RefundNotFound, detail)
    }

    pub fn no_such_run() -> Self {
        let detail = "There is no such run; /api/reconciliation/runs lists them.";
        Self::new(Code::NotFound, detail)
    }

    pub fn bad_key(problem: &str) -> Self {
        let detail = format!("The Idempotency-Key {problem}.");
        Self::new(Code::IdempotencyKeyInvalid, detail)
    }

    /// Somebody works on a request with this key right now.
    pub fn key_in_flight() -> Self {
        let detail = "A request with this Idempotency-Key is being worked on. Send it again \
                      shortly: it gets that request's answer.";
        Self::new(Code::RequestInFlight, detail)
    }

    pub fn key_reused() -> Self {
        let detail = "This Idempotency-Key came before with another body. A new request needs a \
                      new key.";
        Self::new(Code::IdempotencyKeyReused, detail)
    }

    pub fn overloaded() -> Self {
        let detail = "More requests are in flight than this process takes. Try again shortly.";
        Self::new(Code::Overloaded, detail)
    }

    /// The request may have had any effect: the same request again finds out.
    pub fn internal() -> Self {
        let detail = "The request could not be finished. Send the same request again: it finds \
                      the payment if there is one.";
        Self::new(Code::Internal, detail)
    }

    fn unavailable() -> Self {
        let detail = "The database does not answer. Send the same request again: it finds the \
                      payment if there is one.";
        Self::new(Code::DatabaseUnavailable, detail)
    }

    fn body(&self, request_id: &str) -> Value {
        let facts = self.code.facts();
        let mut body = json!({
            "type": self.code.type_uri(),
            "title": facts.status.canonical_reason().unwrap_or("Error"),
            "status": facts.status.as_u16(),
            "code": facts.name,
            "detail": self.detail,
            "retryable": facts.retryable,
            "chargeMayExist": self.charge_may_exist,
            "requestId": request_id,
        });
        if let Some(param) = self.param {
            body["param"] = param.into();
        }
        if let Some(payment_id) = &self.payment_id {
            body["paymentId"] = payment_id.as_str().into();
        }
        body
    }

    /// The problem as an answer that can be stored.
    pub fn answer(&self, request_id: &str) -> StoredAnswer {
        StoredAnswer {
            status: self.code.facts().status.as_u16(),
            content_type: CONTENT_TYPE.to_owned(),
            location: None,
            body: self.body(request_id).to_string(),
        }
    }

    /// Writes the body once the request's id is known; answers of the framework itself (no such
    /// method, body too large) become problems here too.
    pub fn stamp(response: Response, request_id: &str) -> Response {
        let status = response.status();
        let problem = match response.extensions().get::<Self>() {
            Some(problem) => problem.clone(),
            None if is_bare_error(&response) => Self::of_status(status),
            None => return response,
        };
        let (mut parts, _) = response.into_parts();
        let body = problem.body(request_id).to_string();
        let content_type = HeaderValue::from_static(CONTENT_TYPE);
        parts.headers.insert(header::CONTENT_TYPE, content_type);
        parts.headers.remove(header::CONTENT_LENGTH);
        Response::from_parts(parts, Body::from(body))
    }

    fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::METHOD_NOT_ALLOWED => Self::new(
                Code::MethodNotAllowed,
                "This path does not take this method.",
            ),
            StatusCode::PAYLOAD_TOO_LARGE => Self::new(
                Code::PayloadTooLarge,
                "The body is larger than this path takes.",
            ),
            StatusCode::NOT_FOUND => Self::new(Code::NotFound, "There is nothing at this path."),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::not_json(),
            _ => Self::new(Code::BadRequest, "The request could not be read."),
        }
    }
}

/// The beginning of what a parser says about a request.
fn quoted(text: &str) -> String {
    let mut quoted: String = text.chars().take(QUOTED_CHARACTERS_MAX).collect();
    if quoted.len() < text.len() {
        quoted.push('…');
    }
    quoted
}

/// An error that carries no body of its own meaning: plain text of the framework.
fn is_bare_error(response: &Response) -> bool {
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let plain = content_type.is_none_or(|value| value.as_bytes().starts_with(b"text/plain"));
    let status = response.status();
    plain && matches!(status.as_u16(), 400 | 404 | 405 | 413 | 415)
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let facts = self.code.facts();
        let mut response = facts.status.into_response();
        if facts.retryable {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if facts.status == StatusCode::UNAUTHORIZED {
            let basic = HeaderValue::from_static("Basic realm=\"reconciliation\"");
            let headers = response.headers_mut();
            headers.insert(header::WWW_AUTHENTICATE, basic);
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the database failed"
        );
        Self::unavailable()
    }
}

impl From<ReserveError> for Problem {
    fn from(error: ReserveError) -> Self {
        let detail = format!("{error}.");
        match error {
            ReserveError::NotCharged(state) => Self {
                charge_may_exist: state.is_open(),
                ..Self::new(Code::PaymentNotCharged, detail)
            },
            ReserveError::CurrencyDiffers | ReserveError::NotPositive => {
                Self::invalid("amount", &format!("cannot be refunded: {error}"))
            }
            ReserveError::TooMuch { .. } => Self {
                param: Some("amount"),
                ..Self::new(Code::RefundExceedsPayment, detail)
            },
            ReserveError::TooMany => Self::new(Code::TooManyRefunds, detail),
        }
    }
}

fn reused(param: &'static str, code: Code, error: &PayError) -> Problem {
    let detail = format!("{error}. Use another {param}, or send the same request.");
    Problem {
        param: Some(param),
        ..Problem::new(code, detail)
    }
}

impl From<PayError> for Problem {
    fn from(error: PayError) -> Self {
        match error {
            PayError::OrderReused { .. } => reused("orderId", Code::OrderIdReused, &error),
            PayError::RefundReused { .. } => reused("refundNo", Code::RefundNoReused, &error),
            PayError::ChannelMissing(_) => Self::invalid("channel", "is not configured here"),
            PayError::RefundRefused(why) => why.into(),
            PayError::Store(error) => error.into(),
        }
    }
}
