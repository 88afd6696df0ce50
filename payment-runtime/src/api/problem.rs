//! RFC 9457 problems: what went wrong, whether trying again helps, whether a charge may exist.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use payment_core::{MoneyError, PaymentState};
use serde_json::{Value, json};

use crate::payments::PayError;
use crate::store::{PaymentRecord, StoreError};

/// An error answer. `code` is part of the API and listed in docs/errors.md.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    param: Option<&'static str>,
    retryable: bool,
    charge_may_exist: bool,
    payment_id: Option<String>,
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            param: None,
            retryable: false,
            charge_may_exist: false,
            payment_id: None,
        }
    }

    /// One field of the request cannot be used.
    pub fn invalid(param: &'static str, problem: &str) -> Self {
        let detail = format!("{param} {problem}.");
        let problem = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "VALIDATION_FAILED",
            detail,
        );
        Self {
            param: Some(param),
            ..problem
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
        let detail = format!("The body is not the JSON this call takes: {error}.");
        Self::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", detail)
    }

    pub fn bad_query(error: &axum::extract::rejection::QueryRejection) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", error.body_text())
    }

    pub fn no_such_payment(payment_id: &str) -> Self {
        let shown: String = payment_id.chars().take(40).collect();
        let detail = format!("There is no payment {shown}.");
        Self::new(StatusCode::NOT_FOUND, "PAYMENT_NOT_FOUND", detail)
    }

    /// The channel declined, or was surely never reached: nothing was charged.
    pub fn declined(payment: &PaymentRecord) -> Self {
        let detail = format!(
            "The channel did not take order {}: nothing was charged. Its events say why; a new \
             attempt needs a new orderId.",
            payment.order_id
        );
        let problem = Self::new(StatusCode::PAYMENT_REQUIRED, "PAYMENT_FAILED", detail);
        Self {
            payment_id: Some(payment.payment_no.clone()),
            ..problem
        }
    }

    pub fn already_charged(payment: &PaymentRecord) -> Self {
        let detail = format!(
            "The payment is {} and can no longer be closed.",
            payment.status
        );
        let problem = Self::new(StatusCode::CONFLICT, "PAYMENT_ALREADY_CHARGED", detail);
        let charge_may_exist = payment.status != PaymentState::Refunded;
        Self {
            charge_may_exist,
            payment_id: Some(payment.payment_no.clone()),
            ..problem
        }
    }

    pub fn overloaded() -> Self {
        let detail = "More requests are in flight than this process takes. Try again shortly.";
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "OVERLOADED", detail);
        Self {
            retryable: true,
            ..problem
        }
    }

    /// The request may have had any effect: the same request again finds out.
    pub fn internal() -> Self {
        let detail = "The request could not be finished. Send the same request again: it finds \
                      the payment if there is one.";
        let problem = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", detail);
        Self {
            retryable: true,
            charge_may_exist: true,
            ..problem
        }
    }

    fn unavailable() -> Self {
        let detail = "The database does not answer. Send the same request again: it finds the \
                      payment if there is one.";
        let problem = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "DATABASE_UNAVAILABLE",
            detail,
        );
        Self {
            retryable: true,
            charge_may_exist: true,
            ..problem
        }
    }

    fn body(&self, request_id: &str) -> Value {
        let mut body = json!({
            "type": format!("https://paymentsystem.dev/errors/{}", self.code),
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
            "retryable": self.retryable,
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
        let content_type = HeaderValue::from_static("application/problem+json");
        parts.headers.insert(header::CONTENT_TYPE, content_type);
        parts.headers.remove(header::CONTENT_LENGTH);
        Response::from_parts(parts, Body::from(body))
    }

    fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::METHOD_NOT_ALLOWED => Self::new(
                status,
                "METHOD_NOT_ALLOWED",
                "This path does not take this method.",
            ),
            StatusCode::PAYLOAD_TOO_LARGE => Self::new(
                status,
                "PAYLOAD_TOO_LARGE",
                "The body is larger than 64 KiB.",
            ),
            StatusCode::NOT_FOUND => {
                Self::new(status, "NOT_FOUND", "There is nothing at this path.")
            }
            _ => Self::new(status, "BAD_REQUEST", "The request could not be read."),
        }
    }
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
        let mut response = self.status.into_response();
        if self.retryable && self.status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
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

impl From<PayError> for Problem {
    fn from(error: PayError) -> Self {
        match error {
            PayError::Conflict { .. } => {
                let detail = format!("{error}. Use another orderId, or send the same request.");
                let problem =
                    Self::new(StatusCode::UNPROCESSABLE_ENTITY, "ORDER_ID_REUSED", detail);
                Self {
                    param: Some("orderId"),
                    ..problem
                }
            }
            PayError::ChannelMissing(_) => Self::invalid("channel", "is not configured here"),
            PayError::Store(error) => error.into(),
        }
    }
}
