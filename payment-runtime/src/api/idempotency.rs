//! `Idempotency-Key`: one answer for each key and body.
//!
//! Guarantees: the same key with the same body gets the same bytes, for [`crate::worker::KEYS_KEPT`];
//! with another body it is refused; while it is being worked on, it is told so; what a dead
//! process began is taken over. Only ends are kept: an answer of 2xx, or 402. What may be sent
//! again to better effect (5xx, validation, conflicts) gives the key back.
//!
//! The draft of the HTTP header (IETF, `draft-ietf-httpapi-idempotency-key-header`) makes its value
//! a quoted string; bare ones are taken too, because most clients send those.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use crate::hash::sha256_hex;
use crate::payments::Payments;
use crate::records::{Begun, Left, NewRequest, RequestKey, StoredAnswer};

pub(super) const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
const LENGTH_MAX: usize = 255;
/// Far above any answer of this API.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// The request's key, if it has one, as something to be recorded. `scope` is method and path.
pub(super) fn request(
    payments: &Payments,
    headers: &HeaderMap,
    scope: String,
    body: &[u8],
) -> Result<Option<NewRequest>, Problem> {
    let Some(key) = key(headers)? else {
        return Ok(None);
    };
    let now = payments.now();
    Ok(Some(NewRequest {
        key: RequestKey { scope, key },
        body_hash: sha256_hex(body),
        lease_until: payments.call_is_over_at(now),
        now,
    }))
}

pub(super) fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Problem::bad_key("comes twice"));
    }
    let text = value.to_str().unwrap_or_default().trim();
    let quoted = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let key = quoted.unwrap_or(text);
    // The database's collation ignores spaces at the end.
    let trimmed = key == key.trim();
    let printable = trimmed && key.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'"');
    if key.is_empty() || key.len() > LENGTH_MAX || !printable {
        return Err(Problem::bad_key(
            "must have 1 to 255 printable ASCII characters without quotes inside and spaces around",
        ));
    }
    Ok(Some(key.to_owned()))
}

/// Carries `work` out once for the request's key. Without a key it is simply carried out.
pub(super) async fn once(
    payments: &Arc<Payments>,
    request: Option<NewRequest>,
    request_id: &str,
    work: impl Future<Output = Result<Response, Problem>>,
) -> Result<Response, Problem> {
    let Some(request) = request else {
        return work.await;
    };
    match payments.records.begin_request(&request).await? {
        Begun::Mine => {}
        Begun::Done(answer) => return Ok(replay(answer)),
        Begun::InFlight => return Err(Problem::key_in_flight()),
        Begun::OtherBody => return Err(Problem::key_reused()),
    }
    let response = work.await.unwrap_or_else(Problem::into_response);
    match final_answer(response, request_id).await {
        Ok(answer) => {
            let records = &payments.records;
            let stands = records.finish_request(&request.key, &answer).await?;
            Ok(respond(stands))
        }
        Err(response) => {
            payments.give_up_request(&request, Left::Something).await;
            Ok(response)
        }
    }
}

/// The response as an answer to keep, or as it is when it is no end.
async fn final_answer(response: Response, request_id: &str) -> Result<StoredAnswer, Response> {
    let status = response.status();
    if !status.is_success() && status != StatusCode::PAYMENT_REQUIRED {
        return Err(response);
    }
    if let Some(problem) = response.extensions().get::<Problem>() {
        return Ok(problem.answer(request_id));
    }
    let (parts, body) = response.into_parts();
    let text = |name| {
        let value = parts.headers.get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    let (content_type, location) = (text(header::CONTENT_TYPE), text(header::LOCATION));
    match to_bytes(body, ANSWER_BYTES_MAX).await {
        Ok(bytes) => Ok(StoredAnswer {
            status: status.as_u16(),
            content_type: content_type.unwrap_or_default(),
            location,
            body: String::from_utf8_lossy(&bytes).into_owned(),
        }),
        Err(_) => Err(Problem::internal().into_response()),
    }
}

/// An answer given before.
pub(super) fn replay(answer: StoredAnswer) -> Response {
    replayed(respond(answer))
}

/// Marks an answer as one that was given before.
pub(super) fn replayed(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert("idempotent-replayed", HeaderValue::from_static("true"));
    response
}

/// An answer as a response.
pub(super) fn respond(answer: StoredAnswer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&answer.content_type) {
        headers.insert(header::CONTENT_TYPE, value);
    }
    if let Some(location) = answer.location
        && let Ok(value) = HeaderValue::from_str(&location)
    {
        headers.insert(header::LOCATION, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(value: &[u8]) -> Result<Option<String>, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, HeaderValue::from_bytes(value).unwrap());
        key(&headers)
    }

    #[test]
    fn a_key_may_be_quoted_or_bare() {
        assert_eq!(key(&HeaderMap::new()).unwrap(), None);
        let expected = Some("8e03978e-40d5".to_owned());
        assert_eq!(parsed(b"8e03978e-40d5").unwrap(), expected);
        assert_eq!(parsed(b"\"8e03978e-40d5\"").unwrap(), expected);
    }

    #[test]
    fn a_key_that_cannot_be_kept_is_refused() {
        let long = vec![b'k'; 256];
        for value in [
            b"".as_slice(),
            b"\"\"",
            b"a\"b",
            b"\"a \"",
            "schlüssel".as_bytes(),
            &long,
        ] {
            assert!(parsed(value).is_err(), "{value:?}");
        }
        let mut twice = HeaderMap::new();
        twice.append(HEADER, HeaderValue::from_static("a"));
        twice.append(HEADER, HeaderValue::from_static("a"));
        assert!(key(&twice).is_err());
    }
}
