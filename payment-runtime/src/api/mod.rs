//! The payment API of the api role.
//!
//! Guarantees: every answer that is not a success is `application/problem+json` with a stable
//! code and says whether a charge may exist; bodies, pages and concurrency are bounded.
//!
//! Deliberately not here: what a payment does (`payments`), SQL.

mod order;
mod problem;
mod views;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use payment_core::PaymentState;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::payments::Payments;
use crate::store::PaymentRecord;

pub use problem::Problem;

/// A real request is below 2 kB.
const BODY_BYTES_MAX: usize = 64 * 1024;
const PAGE_MAX: u32 = 200;

/// The routes of the api role.
pub fn router(payments: Arc<Payments>) -> Router {
    Router::new()
        .route("/api/payments", post(create).get(list))
        .route("/api/payments/{payment_id}", get(show))
        .route("/api/payments/{payment_id}/close", post(close))
        .route("/api/payments/{payment_id}/events", get(events))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(payments)
}

/// Answers what no route takes.
pub async fn no_such_route() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "NOT_FOUND",
        "There is nothing at this path.",
    )
}

async fn create(
    State(payments): State<Arc<Payments>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    require_json(&headers)?;
    let order = order::parse(&body, &payments)?;
    // A client that hangs up must not stop a payment half-way: the work goes on without it.
    let work = tokio::spawn(async move { payments.place(&order).await });
    let placed = work.await.map_err(|_| Problem::internal())??;
    answer_created(&placed.payment, placed.repeated)
}

fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    if given.is_some_and(|value| value.starts_with("application/json")) {
        return Ok(());
    }
    let detail = "Send the request as application/json.";
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "UNSUPPORTED_MEDIA_TYPE",
        detail,
    ))
}

fn answer_created(payment: &PaymentRecord, repeated: bool) -> Result<Response, Problem> {
    let status = match payment.status {
        PaymentState::Failed => return Err(Problem::declined(payment)),
        PaymentState::Created | PaymentState::Submitting | PaymentState::Unknown => {
            StatusCode::ACCEPTED
        }
        PaymentState::Pending
        | PaymentState::Paid
        | PaymentState::Closed
        | PaymentState::PartlyRefunded
        | PaymentState::Refunded
        | PaymentState::PaidAfterClose => StatusCode::CREATED,
    };
    let mut response = (status, Json(views::payment(payment))).into_response();
    if let Ok(location) = format!("/api/payments/{}", payment.payment_no).parse() {
        response.headers_mut().insert(header::LOCATION, location);
    }
    if repeated {
        let replayed = header::HeaderValue::from_static("true");
        response
            .headers_mut()
            .insert("idempotent-replayed", replayed);
    }
    Ok(response)
}

async fn find(payments: &Payments, payment_id: &str) -> Result<PaymentRecord, Problem> {
    payments
        .store
        .payment(payment_id)
        .await?
        .ok_or_else(|| Problem::no_such_payment(payment_id))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShowQuery {
    refresh: Option<String>,
}

async fn show(
    State(payments): State<Arc<Payments>>,
    Path(payment_id): Path<String>,
    query: Result<Query<ShowQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(query) = query.map_err(|error| Problem::bad_query(&error))?;
    let payment = find(&payments, &payment_id).await?;
    let payment = match query.refresh.as_deref() {
        Some("channel") if payment.status.is_open() => payments.ask(payment).await?.payment,
        None | Some("channel") => payment,
        Some(_) => return Err(Problem::invalid("refresh", "takes only the value channel")),
    };
    Ok(Json(views::payment(&payment)))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListQuery {
    order_id: Option<String>,
    cursor: Option<String>,
    limit: Option<u32>,
}

async fn list(
    State(payments): State<Arc<Payments>>,
    query: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(query) = query.map_err(|error| Problem::bad_query(&error))?;
    if let Some(order_id) = &query.order_id {
        let found = payments.store.payment_of_order(order_id).await?;
        let data: Vec<Value> = found.iter().map(views::payment).collect();
        return Ok(Json(
            json!({"data": data, "hasMore": false, "nextCursor": null}),
        ));
    }
    let limit = query.limit.unwrap_or(20);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Problem::invalid("limit", "must be between 1 and 200"));
    }
    let before = query
        .cursor
        .as_deref()
        .map(views::parse_cursor)
        .transpose()?;
    let page = payments.store.payments(before, limit).await?;
    let data: Vec<Value> = page.payments.iter().map(views::payment).collect();
    let next = page.next.map(views::cursor);
    Ok(Json(
        json!({"data": data, "hasMore": next.is_some(), "nextCursor": next}),
    ))
}

async fn close(
    State(payments): State<Arc<Payments>>,
    Path(payment_id): Path<String>,
) -> Result<Response, Problem> {
    let payment = find(&payments, &payment_id).await?;
    let payment = if payment.status.is_open() {
        let work = tokio::spawn(async move { payments.close(payment).await });
        work.await.map_err(|_| Problem::internal())??
    } else {
        payment
    };
    match payment.status {
        PaymentState::Closed | PaymentState::Failed => {
            Ok(Json(views::payment(&payment)).into_response())
        }
        state if state.was_charged() => Err(Problem::already_charged(&payment)),
        _ => Ok((StatusCode::ACCEPTED, Json(views::payment(&payment))).into_response()),
    }
}

async fn events(
    State(payments): State<Arc<Payments>>,
    Path(payment_id): Path<String>,
    query: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(query) = query.map_err(|error| Problem::bad_query(&error))?;
    let payment = find(&payments, &payment_id).await?;
    let after = query
        .cursor
        .as_deref()
        .map(views::parse_cursor)
        .transpose()?
        .unwrap_or(0);
    let events = payments.store.events(&payment.payment_no, after).await?;
    let next = events
        .last()
        .filter(|_| events.len() == 500)
        .map(|last| views::cursor(last.id));
    let data: Vec<Value> = events.iter().map(views::event).collect();
    Ok(Json(
        json!({"data": data, "hasMore": next.is_some(), "nextCursor": next}),
    ))
}
