//! What the admin port answers when it refuses: problem JSON with a stable `code`.

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::faults::ArmError;
use crate::keyring;
use crate::keys::KeyError;
use crate::wechat::ChangeError;

#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
        }
    }
}

impl Problem {
    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", detail)
    }

    fn internal(detail: String) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason(),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        (self.status, kind, body.to_string()).into_response()
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), "BAD_REQUEST", rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), "BAD_REQUEST", rejection.body_text())
    }
}

impl From<ArmError> for Problem {
    fn from(error: ArmError) -> Self {
        let (status, code) = match error {
            ArmError::Unknown(_) => (StatusCode::NOT_FOUND, "FAULT_UNKNOWN"),
            ArmError::OtherChannel { .. } | ArmError::Probability | ArmError::Range => {
                (StatusCode::BAD_REQUEST, "BAD_REQUEST")
            }
            ArmError::Full => (StatusCode::CONFLICT, "FAULTS_FULL"),
        };
        Self::new(status, code, error.to_string())
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Percent => Self::bad_request(error.to_string()),
            ChangeError::Key(cause) => {
                Self::internal(format!("cannot make a certificate: {cause}"))
            }
        }
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        Self::internal(format!("cannot change the keys: {error}"))
    }
}

impl From<keyring::ChangeError> for Problem {
    fn from(error: keyring::ChangeError) -> Self {
        match error {
            keyring::ChangeError::NoNext => {
                Self::new(StatusCode::CONFLICT, "NO_NEXT_KEYS", error.to_string())
            }
            keyring::ChangeError::Key(cause) => cause.into(),
        }
    }
}
