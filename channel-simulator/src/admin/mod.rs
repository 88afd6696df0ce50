//! The admin port: plays the payer, arms faults, moves the calendar, changes keys and
//! certificates, shows the book.
//!
//! Errors are problem JSON with a stable `code`. No authentication: keys and forged callbacks are
//! handed out freely, so this port belongs on a test network.

mod callbacks;
mod payer;
mod problem;

use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::book::{Charge, Refund, State as ChargeState};
use crate::clock::rfc3339;
use crate::faults::{Arm, TABLE};
use crate::wechat::{Change, Rotation, View};
use crate::{Channel, Simulator, clock};
use problem::Problem;

pub(crate) fn router(simulator: Arc<Simulator>) -> Router {
    Router::new()
        .route("/health", get(|| async { Json(json!({"status": "UP"})) }))
        .route("/keys", get(keys))
        .route("/keys/next", post(make_next_keys))
        .route("/keys/switch", post(switch_keys))
        .route("/keys/give-up", post(give_up_keys))
        .route("/pay", post(payer::pay))
        .route("/scan", post(payer::scan))
        .route("/finish", post(payer::finish))
        .route("/certificates", get(certificates).post(change_certificates))
        .route("/certificates/rotate", post(rotate_certificates))
        .route("/faults", get(faults).post(arm).delete(disarm))
        .route("/book", get(book))
        .route("/clock", get(clock).post(advance))
        .route("/callbacks/replay", post(callbacks::replay))
        .route("/callbacks/forge", post(callbacks::forge))
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "NOT_FOUND", "no such path") })
        .with_state(simulator)
}

type Shared = State<Arc<Simulator>>;
type Body<T> = Result<Json<T>, JsonRejection>;

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Key,
    Certificate,
}

#[derive(Debug, Deserialize)]
struct KeysQuery {
    #[serde(default)]
    mode: Mode,
}

/// Alipay's mode; WeChat Pay's keys are the same in both.
async fn keys(
    State(simulator): Shared,
    query: Result<Query<KeysQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(KeysQuery { mode }) = query?;
    let keys = simulator.keys.current();
    let keys = match mode {
        Mode::Key => &keys.client,
        Mode::Certificate => &keys.certificate_client,
    };
    Ok(Json(keys).into_response())
}

async fn make_next_keys(State(simulator): Shared) -> Result<Response, Problem> {
    Ok(Json(simulator.keys.make_next()?).into_response())
}

async fn switch_keys(State(simulator): Shared) -> Result<StatusCode, Problem> {
    simulator.keys.switch()?;
    Ok(StatusCode::NO_CONTENT)
}

async fn give_up_keys(State(simulator): Shared) -> Result<StatusCode, Problem> {
    simulator.keys.give_up()?;
    Ok(StatusCode::NO_CONTENT)
}

async fn certificates(State(simulator): Shared) -> Json<View> {
    Json(simulator.certificates.view())
}

async fn change_certificates(
    State(simulator): Shared,
    body: Body<Change>,
) -> Result<Json<View>, Problem> {
    let Json(change) = body?;
    Ok(Json(simulator.certificates.change(change)?))
}

async fn rotate_certificates(
    State(simulator): Shared,
    body: Result<Option<Json<Rotation>>, JsonRejection>,
) -> Result<Json<View>, Problem> {
    let rotation = body?.map(|Json(rotation)| rotation).unwrap_or_default();
    Ok(Json(simulator.certificates.rotate(rotation)?))
}

fn transaction_id(charge: &Charge) -> Option<&str> {
    let paid = charge
        .payment()
        .map(|payment| payment.transaction_id.as_str());
    paid.or(charge.opened.as_deref())
}

fn state(simulator: &Simulator, charge: &Charge) -> &'static str {
    match charge.state {
        ChargeState::Paid(_) => "PAID",
        _ if charge.closed(simulator.clock.calendar()) => "CLOSED",
        ChargeState::Unpaid | ChargeState::Closed => "UNPAID",
    }
}

async fn faults(State(simulator): Shared) -> Json<Value> {
    let catalogue: Vec<Value> = TABLE
        .iter()
        .map(|entry| {
            let channels = match entry.only {
                None => vec![Channel::Wechat, Channel::Alipay],
                Some(only) => vec![only],
            };
            json!({
                "name": entry.name,
                "channels": channels,
                "point": entry.point,
                "description": entry.description,
            })
        })
        .collect();
    Json(json!({"faults": catalogue, "armed": simulator.faults.armed()}))
}

async fn arm(State(simulator): Shared, body: Body<Arm>) -> Result<Response, Problem> {
    let Json(arm) = body?;
    let armed = simulator.faults.arm(arm)?;
    Ok((StatusCode::CREATED, Json(armed)).into_response())
}

async fn disarm(State(simulator): Shared) -> StatusCode {
    simulator.faults.clear();
    StatusCode::NO_CONTENT
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BookQuery {
    channel: Channel,
    out_trade_no: Option<String>,
}

async fn book(
    State(simulator): Shared,
    query: Result<Query<BookQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(BookQuery {
        channel,
        out_trade_no,
    }) = query?;
    let wanted = |number: &str| out_trade_no.as_deref().is_none_or(|one| one == number);
    let book = simulator.book(channel);
    let charges = book.charges().filter(|one| wanted(&one.out_trade_no));
    let mut charges: Vec<Charge> = charges.cloned().collect();
    let refunds = book.refunds().filter(|one| wanted(&one.out_trade_no));
    let mut refunds: Vec<Refund> = refunds.cloned().collect();
    drop(book);
    charges.sort_by(|a, b| (a.created, &a.out_trade_no).cmp(&(b.created, &b.out_trade_no)));
    refunds.sort_by(|a, b| (a.accepted, &a.out_refund_no).cmp(&(b.accepted, &b.out_refund_no)));
    let charges: Vec<Value> = charges
        .iter()
        .map(|charge| charge_line(&simulator, charge))
        .collect();
    let refunds: Vec<Value> = refunds.iter().map(refund_line).collect();
    Ok(Json(json!({"charges": charges, "refunds": refunds})))
}

/// `time` is when it was paid, or else when it was created.
fn charge_line(simulator: &Simulator, charge: &Charge) -> Value {
    let time = charge
        .payment()
        .map_or(charge.created, |payment| payment.time);
    json!({
        "outTradeNo": charge.out_trade_no,
        "transactionId": transaction_id(charge),
        "amountMinor": charge.amount_minor,
        "currency": "CNY",
        "state": state(simulator, charge),
        "time": rfc3339(time),
    })
}

fn refund_line(refund: &Refund) -> Value {
    json!({
        "outRefundNo": refund.out_refund_no,
        "refundId": refund.channel_no,
        "outTradeNo": refund.out_trade_no,
        "amountMinor": refund.amount_minor,
        "state": refund.state,
        "time": rfc3339(refund.accepted),
    })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Advance {
    advance_seconds: u64,
}

async fn clock(State(simulator): Shared) -> Json<Value> {
    Json(json!({
        "now": rfc3339(clock::now()),
        "calendar": rfc3339(simulator.clock.calendar()),
        "advancedSeconds": simulator.clock.advanced_seconds(),
    }))
}

async fn advance(shared: Shared, body: Body<Advance>) -> Result<Json<Value>, Problem> {
    let Json(Advance { advance_seconds }) = body?;
    if !shared.clock.advance(advance_seconds) {
        let detail = "the calendar cannot be moved that far";
        return Err(Problem::bad_request(detail));
    }
    shared.deliveries.wake();
    Ok(clock(shared).await)
}
