//! The payment API of the api role.
//!
//! Guarantees: every answer that is not a success is `application/problem+json` with a stable
//! code and says whether a charge may exist; bodies, pages and concurrency are bounded; a client
//! that hangs up stops nothing half-way.
//!
//! Deliberately not here: what a payment does (`payments`, `refunds`), SQL.

mod code;
#[doc(hidden)]
pub mod fuzzing;
mod idempotency;
mod openapi;
mod problem;
mod request;
mod views;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Extension, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use payment_core::{PaymentState, RefundState};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::RequestId;
use crate::payments::{Attempted, Keyed, Order, PayError, Payments, Placed};
use crate::records::{PaymentRecord, RefundRecord, StoredAnswer};
use crate::refunds::Refunded;

pub(crate) use code::Code;
pub use code::catalogue;
pub use problem::Problem;
pub(crate) use request::{check_id, items, json, positive};

use request::{AttemptBody, OrderBody, RefundBody};
use views::{EventView, PageView, PaymentView, RefundView};

/// A real request is below 2 kB.
pub(crate) const BODY_BYTES_MAX: usize = 64 * 1024;
const PAGE_MAX: u32 = 200;

/// The routes of the api role.
pub fn router(payments: Arc<Payments>) -> Router {
    let (router, _) = documented().split_for_parts();
    router
        .route("/api/openapi.json", get(openapi::serve))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(payments)
}

/// What is served is what is documented: there is one list of routes.
fn documented() -> OpenApiRouter<Arc<Payments>> {
    OpenApiRouter::with_openapi(openapi::introduction())
        .routes(routes!(create, list))
        .routes(routes!(show))
        .routes(routes!(attempt))
        .routes(routes!(close))
        .routes(routes!(events))
        .routes(routes!(create_refund, refunds))
        .routes(routes!(show_refund))
}

/// The OpenAPI document of the api role: docs/openapi.json.
pub fn document() -> String {
    openapi::complete(&documented().into_openapi())
}

/// Answers what no route takes.
pub async fn no_such_route() -> Problem {
    Problem::new(code::Code::NotFound, "There is nothing at this path.")
}

/// Place an order
///
/// Records one payment for the order and asks the channel for it. The same order with the same
/// contents returns the same payment, whenever it comes.
#[utoipa::path(
    post, path = "/api/payments", operation_id = "createPayment", request_body = OrderBody,
    responses((status = 201, body = PaymentView), (status = 202, body = PaymentView)),
)]
async fn create(
    State(payments): State<Arc<Payments>>,
    Extension(RequestId(request_id)): Extension<RequestId>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    require_json(&headers)?;
    let scope = "POST /api/payments".to_owned();
    let request = idempotency::request(&payments, &headers, scope, &body)?;
    let order = request::order(&body, &payments)?;
    let answer = |payment: &PaymentRecord| created(payment, &request_id);
    let keyed = request.as_ref().map(|request| Keyed {
        request,
        answer: &answer,
    });
    let placed = match payments.place(&order, keyed.as_ref()).await {
        Err(PayError::OrderReused { .. }) => {
            let order = as_placed(order, &body, &payments).await?;
            payments.place(&order, keyed.as_ref()).await?
        }
        placed => placed?,
    };
    match placed {
        Placed::Payment { payment, repeated } if repeated => {
            Ok(idempotency::replay(created(&payment, &request_id)))
        }
        Placed::Payment { payment, .. } => Ok(idempotency::respond(created(&payment, &request_id))),
        Placed::Answer { answer, replayed } if replayed => Ok(idempotency::replay(answer)),
        Placed::Answer { answer, .. } => Ok(idempotency::respond(answer)),
        Placed::KeyInFlight => Err(Problem::key_in_flight()),
        Placed::KeyReused => Err(Problem::key_reused()),
    }
}

/// What a repeated request leaves out is as its order was placed, whatever the defaults are by now.
async fn as_placed(order: Order, body: &[u8], payments: &Payments) -> Result<Order, Problem> {
    let attempts = payments.records.payments_of_order(&order.order_id).await?;
    match attempts.iter().find(|payment| payment.attempt == 1) {
        Some(first) => request::order_as_placed(body, payments, first),
        None => Ok(order),
    }
}

pub(crate) fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE);
    let is_json = |value: &header::HeaderValue| value.to_str().is_ok_and(is_json_in_utf8);
    if given.is_some_and(is_json) {
        return Ok(());
    }
    Err(Problem::not_json())
}

/// JSON is always UTF-8 (RFC 8259); who announces another charset may well send it, too.
fn is_json_in_utf8(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let charset = parts.filter_map(|part| part.split_once('='));
    essence.eq_ignore_ascii_case("application/json")
        && charset
            .filter(|(name, _)| name.eq_ignore_ascii_case("charset"))
            .all(|(_, value)| value.trim_matches('"').eq_ignore_ascii_case("utf-8"))
}

/// The answer to a request for a payment, as the payment stands.
fn created(payment: &PaymentRecord, request_id: &str) -> StoredAnswer {
    let status = match payment.status {
        PaymentState::Failed => return Problem::declined(payment).answer(request_id),
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
    let location = format!("/api/payments/{}", payment.payment_no);
    stored(status, location, &views::payment(payment), request_id)
}

fn stored(
    status: StatusCode,
    location: String,
    view: &impl Serialize,
    request_id: &str,
) -> StoredAnswer {
    match serde_json::to_string(view) {
        Ok(body) => StoredAnswer {
            status: status.as_u16(),
            content_type: "application/json".to_owned(),
            location: Some(location),
            body,
        },
        Err(_) => Problem::internal().answer(request_id),
    }
}

async fn find(payments: &Payments, payment_id: &str) -> Result<PaymentRecord, Problem> {
    // The database's collation ignores spaces at the end; an id is exact.
    let found = payments.records.payment(payment_id).await?;
    found
        .filter(|found| found.payment_no == payment_id)
        .ok_or_else(|| Problem::no_such_payment(payment_id))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ShowQuery {
    /// `channel`: asks the channel first, while the outcome is open.
    #[param(inline, value_type = Option<openapi::Refresh>)]
    refresh: Option<String>,
}

/// Whether the channel is to be asked first.
fn refresh(query: Result<Query<ShowQuery>, QueryRejection>) -> Result<bool, Problem> {
    let Query(query) = query.map_err(|error| Problem::bad_query(&error))?;
    match query.refresh.as_deref() {
        None => Ok(false),
        Some("channel") => Ok(true),
        Some(_) => Err(Problem::invalid("refresh", "takes only the value channel")),
    }
}

/// Show a payment
#[utoipa::path(
    get, path = "/api/payments/{payment_id}", operation_id = "showPayment",
    params(("payment_id" = String, Path, description = "The payment's `paymentId`."), ShowQuery),
    responses((status = 200, body = PaymentView)),
)]
async fn show(
    State(payments): State<Arc<Payments>>,
    Path(payment_id): Path<String>,
    query: Result<Query<ShowQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let refresh = refresh(query)?;
    let payment = find(&payments, &payment_id).await?;
    let payment = if refresh && payment.status.is_open() {
        payments.ask(payment).await?.payment
    } else {
        payment
    };
    Ok(Json(views::payment(&payment)).into_response())
}

#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// All attempts of this order, latest first, instead of a page.
    order_id: Option<String>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
    /// How many payments to show.
    #[param(minimum = 1, maximum = 200, default = 20)]
    limit: Option<u32>,
}

/// List payments
///
/// Newest first, a page at a time; or all attempts of one order.
#[utoipa::path(
    get, path = "/api/payments", operation_id = "listPayments", params(ListQuery),
    responses((status = 200, body = PageView<PaymentView>)),
)]
async fn list(
    State(payments): State<Arc<Payments>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|error| Problem::bad_query(&error))?;
    let limit = page_limit(query.limit, 20)?;
    let before = cursor(query.cursor.as_deref())?;
    if let Some(order_id) = &query.order_id {
        request::check_id("orderId", order_id)?;
        let found = payments.records.payments_of_order(order_id).await?;
        let data = found.iter().map(views::payment).collect();
        return Ok(Json(views::page(data, None)).into_response());
    }
    let page = payments.records.payments(before, limit).await?;
    let data = page.payments.iter().map(views::payment).collect();
    Ok(Json(views::page(data, page.next)).into_response())
}

pub(crate) fn page_limit(given: Option<u32>, default: u32) -> Result<u32, Problem> {
    let limit = given.unwrap_or(default);
    if (1..=PAGE_MAX).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::invalid("limit", "must be between 1 and 200"))
}

fn cursor(given: Option<&str>) -> Result<Option<u64>, Problem> {
    given.map(views::parse_cursor).transpose()
}

#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PageQuery {
    /// `nextCursor` of the page before.
    cursor: Option<String>,
    /// How many lines to show.
    #[param(minimum = 1, maximum = 200, default = 200)]
    limit: Option<u32>,
}

/// List what happened to a payment
///
/// Oldest first, each line with its evidence; its refunds' lines among them.
#[utoipa::path(
    get, path = "/api/payments/{payment_id}/events", operation_id = "listEvents",
    params(("payment_id" = String, Path, description = "The payment's `paymentId`."), PageQuery),
    responses((status = 200, body = PageView<EventView>)),
)]
async fn events(
    State(payments): State<Arc<Payments>>,
    Path(payment_id): Path<String>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|error| Problem::bad_query(&error))?;
    let limit = page_limit(query.limit, PAGE_MAX)?;
    let after = cursor(query.cursor.as_deref())?.unwrap_or(0);
    let payment = find(&payments, &payment_id).await?;
    let records = &payments.records;
    let events = records.events(&payment.payment_no, after, limit).await?;
    let full = events.len() == limit as usize;
    let next = events.last().filter(|_| full).map(|last| last.id);
    let data = events.into_iter().map(views::event).collect();
    Ok(Json(views::page(data, next)).into_response())
}

/// Close a payment
///
/// Ends the order at the channel. 200 once it surely cannot be paid any more, 202 while the
/// channel has not confirmed that: send the request again.
#[utoipa::path(
    post, path = "/api/payments/{payment_id}/close", operation_id = "closePayment",
    params(("payment_id" = String, Path, description = "The payment's `paymentId`.")),
    responses((status = 200, body = PaymentView), (status = 202, body = PaymentView)),
)]
async fn close(
    State(payments): State<Arc<Payments>>,
    Extension(RequestId(request_id)): Extension<RequestId>,
    Path(payment_id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let scope = format!("POST /api/payments/{payment_id}/close");
    let payment = find(&payments, &payment_id).await?;
    let request = idempotency::request(&payments, &headers, scope, &body)?;
    request::nothing(&body)?;
    let work = close_now(&payments, payment);
    idempotency::once(&payments, request, &request_id, work).await
}

async fn close_now(payments: &Payments, payment: PaymentRecord) -> Result<Response, Problem> {
    let payment = if payment.status.is_open() {
        payments.close(payment).await?
    } else {
        payment
    };
    let view = Json(views::payment(&payment));
    match payment.status {
        PaymentState::Closed | PaymentState::Failed => Ok(view.into_response()),
        state if state.was_charged() => Err(Problem::already_charged(&payment)),
        _ => Ok((StatusCode::ACCEPTED, view).into_response()),
    }
}

/// Try an order again
///
/// Begins another payment of the same order and amount, over the same or another channel. It must
/// be proven that the one before charged nothing: it is `CLOSED` or `FAILED`, and is asked about
/// once more.
#[utoipa::path(
    post, path = "/api/payments/{payment_id}/attempts", operation_id = "createAttempt",
    params(("payment_id" = String, Path, description = "The payment's `paymentId`.")),
    request_body = AttemptBody,
    responses((status = 201, body = PaymentView), (status = 202, body = PaymentView)),
)]
async fn attempt(
    State(payments): State<Arc<Payments>>,
    Extension(RequestId(request_id)): Extension<RequestId>,
    Path(payment_id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    require_json(&headers)?;
    let previous = find(&payments, &payment_id).await?;
    let scope = format!("POST /api/payments/{payment_id}/attempts");
    let request = idempotency::request(&payments, &headers, scope, &body)?;
    let attempt = request::attempt(&body, &payments, &previous)?;
    let work = async {
        match payments.attempt(previous, &attempt).await? {
            Attempted::New(payment) => Ok(idempotency::respond(created(&payment, &request_id))),
            Attempted::Repeated(payment) => Ok(idempotency::replay(created(&payment, &request_id))),
            Attempted::Superseded(latest) => Err(Problem::superseded(&latest)),
            Attempted::NotProven(payment) => Err(Problem::not_proven(&payment)),
        }
    };
    idempotency::once(&payments, request, &request_id, work).await
}

/// Refund a payment, wholly or in part
///
/// One refund for each `refundNo`: the same number with the same contents returns the same refund.
/// 201 once the channel gave the money back, 202 until then.
#[utoipa::path(
    post, path = "/api/payments/{payment_id}/refunds", operation_id = "createRefund",
    params(("payment_id" = String, Path, description = "The payment's `paymentId`.")),
    request_body = RefundBody,
    responses((status = 201, body = RefundView), (status = 202, body = RefundView)),
)]
async fn create_refund(
    State(payments): State<Arc<Payments>>,
    Extension(RequestId(request_id)): Extension<RequestId>,
    Path(payment_id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    require_json(&headers)?;
    let payment = find(&payments, &payment_id).await?;
    let scope = format!("POST /api/payments/{payment_id}/refunds");
    let request = idempotency::request(&payments, &headers, scope, &body)?;
    let wanted = request::refund(&body, &payment)?;
    let work = async {
        let Refunded { refund, repeated } = payments.refund(payment, &wanted).await?;
        let response = refunded(&refund, &request_id);
        Ok(if repeated {
            idempotency::replayed(response)
        } else {
            response
        })
    };
    idempotency::once(&payments, request, &request_id, work).await
}

/// 201 once the channel gave the money back, 202 while it has not, or the refund ended without.
fn refunded(refund: &RefundRecord, request_id: &str) -> Response {
    let status = match refund.status {
        RefundState::Succeeded => StatusCode::CREATED,
        RefundState::Created
        | RefundState::Submitting
        | RefundState::Pending
        | RefundState::Unknown
        | RefundState::Failed
        | RefundState::Reversed => StatusCode::ACCEPTED,
    };
    let (payment, number) = (&refund.payment_no, &refund.refund_no);
    let location = format!("/api/payments/{payment}/refunds/{number}");
    idempotency::respond(stored(status, location, &views::refund(refund), request_id))
}

/// A query that takes no parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoQuery {}

/// List a payment's refunds
///
/// Oldest first; there are at most 50.
#[utoipa::path(
    get, path = "/api/payments/{payment_id}/refunds", operation_id = "listRefunds",
    params(("payment_id" = String, Path, description = "The payment's `paymentId`.")),
    responses((status = 200, body = PageView<RefundView>)),
)]
async fn refunds(
    State(payments): State<Arc<Payments>>,
    Path(payment_id): Path<String>,
    query: Result<Query<NoQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    query.map_err(|error| Problem::bad_query(&error))?;
    let payment = find(&payments, &payment_id).await?;
    let found = payments.records.refunds(&payment.payment_no).await?;
    let data = found.iter().map(views::refund).collect();
    Ok(Json(views::page(data, None)).into_response())
}

/// Show a refund
#[utoipa::path(
    get, path = "/api/payments/{payment_id}/refunds/{refund_no}", operation_id = "showRefund",
    params(
        ("payment_id" = String, Path, description = "The payment's `paymentId`."),
        ("refund_no" = String, Path, description = "The refund's `refundNo`."),
        ShowQuery,
    ),
    responses((status = 200, body = RefundView)),
)]
async fn show_refund(
    State(payments): State<Arc<Payments>>,
    Path((payment_id, refund_no)): Path<(String, String)>,
    query: Result<Query<ShowQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let refresh = refresh(query)?;
    let payment = find(&payments, &payment_id).await?;
    let found = payments
        .records
        .refund(&payment.payment_no, &refund_no)
        .await?;
    let refund = found
        .filter(|found| found.refund_no == refund_no)
        .ok_or_else(|| Problem::no_such_refund(&refund_no))?;
    let refund = if refresh && refund.status.is_open() {
        payments.ask_refund(refund).await?
    } else {
        refund
    };
    Ok(Json(views::refund(&refund)).into_response())
}
