//! The admin port: plays the payer, arms faults, moves the calendar, shows the book.
//!
//! Errors are problem JSON with a stable `code`. No authentication: keys and forged callbacks are
//! handed out freely, so this port belongs on a test network.

use std::sync::Arc;

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::book::{Charge, PayError, Refund, State as ChargeState};
use crate::callbacks::{Notice, Subject, Tamper};
use crate::clock::rfc3339;
use crate::faults::{Arm, ArmError, TABLE};
use crate::{Channel, Simulator, clock, delivery};

const REPLAYS_MAX: u32 = 1000;

pub(crate) fn router(simulator: Arc<Simulator>) -> Router {
    Router::new()
        .route("/health", get(|| async { Json(json!({"status": "UP"})) }))
        .route("/keys", get(keys))
        .route("/pay", post(pay))
        .route("/scan", post(scan))
        .route("/faults", get(faults).post(arm).delete(disarm))
        .route("/book", get(book))
        .route("/clock", get(clock).post(advance))
        .route("/callbacks/replay", post(replay))
        .route("/callbacks/forge", post(forge))
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "NOT_FOUND", "no such path") })
        .with_state(simulator)
}

type Shared = State<Arc<Simulator>>;
type Body<T> = Result<Json<T>, JsonRejection>;

#[derive(Debug)]
struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
        }
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

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Payer {
    channel: Channel,
    out_trade_no: String,
}

impl Payer {
    fn problem(&self, error: &PayError) -> Problem {
        let (status, code) = match error {
            PayError::Unknown => (StatusCode::NOT_FOUND, "ORDER_UNKNOWN"),
            PayError::Closed => (StatusCode::CONFLICT, "ORDER_CLOSED"),
            PayError::AlreadyPaid => (StatusCode::CONFLICT, "ORDER_ALREADY_PAID"),
            PayError::Expired => (StatusCode::CONFLICT, "ORDER_EXPIRED"),
        };
        let (channel, number) = (self.channel, &self.out_trade_no);
        Problem::new(status, code, format!("{channel} order {number}: {error}"))
    }

    fn unknown(&self) -> Problem {
        self.problem(&PayError::Unknown)
    }
}

fn shown(charge: &Charge) -> Value {
    json!({
        "outTradeNo": charge.out_trade_no,
        "transactionId": transaction_id(charge),
        "state": state(charge),
    })
}

fn transaction_id(charge: &Charge) -> Option<&str> {
    let paid = charge
        .payment()
        .map(|payment| payment.transaction_id.as_str());
    paid.or(charge.opened.as_deref())
}

const fn state(charge: &Charge) -> &'static str {
    match charge.state {
        ChargeState::Unpaid => "UNPAID",
        ChargeState::Paid(_) => "PAID",
        ChargeState::Closed => "CLOSED",
    }
}

async fn keys(State(simulator): Shared) -> Response {
    Json(&simulator.keys.client).into_response()
}

async fn pay(State(simulator): Shared, body: Body<Payer>) -> Result<Json<Value>, Problem> {
    let Json(payer) = body?;
    let paid = delivery::pay(&simulator, payer.channel, &payer.out_trade_no);
    paid.map(|charge| Json(shown(&charge)))
        .map_err(|error| payer.problem(&error))
}

async fn scan(State(simulator): Shared, body: Body<Payer>) -> Result<Json<Value>, Problem> {
    let Json(payer) = body?;
    if payer.channel == Channel::Wechat {
        let detail = "a WeChat order exists from the start; only alipay is scanned";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", detail));
    }
    let opened = delivery::open(&simulator, payer.channel, &payer.out_trade_no);
    opened
        .map(|charge| Json(shown(&charge)))
        .map_err(|error| payer.problem(&error))
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
struct BookQuery {
    channel: Channel,
}

async fn book(
    State(simulator): Shared,
    query: Result<Query<BookQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(BookQuery { channel }) = query?;
    let book = simulator.book(channel);
    let mut charges: Vec<Charge> = book.charges().cloned().collect();
    let mut refunds: Vec<Refund> = book.refunds().cloned().collect();
    drop(book);
    charges.sort_by(|a, b| (a.created, &a.out_trade_no).cmp(&(b.created, &b.out_trade_no)));
    refunds.sort_by(|a, b| (a.accepted, &a.out_refund_no).cmp(&(b.accepted, &b.out_refund_no)));
    let charges: Vec<Value> = charges.iter().map(charge_line).collect();
    let refunds: Vec<Value> = refunds.iter().map(refund_line).collect();
    Ok(Json(json!({"charges": charges, "refunds": refunds})))
}

/// `time` is when it was paid, or else when it was created.
fn charge_line(charge: &Charge) -> Value {
    let time = charge
        .payment()
        .map_or(charge.created, |payment| payment.time);
    json!({
        "outTradeNo": charge.out_trade_no,
        "transactionId": transaction_id(charge),
        "amountMinor": charge.amount_minor,
        "currency": "CNY",
        "state": state(charge),
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
        return Err(Problem::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", detail));
    }
    shared.deliveries.wake();
    Ok(clock(shared).await)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Replay {
    channel: Channel,
    out_trade_no: String,
    times: Option<u32>,
}

async fn replay(State(simulator): Shared, body: Body<Replay>) -> Result<Json<Value>, Problem> {
    let Json(Replay {
        channel,
        out_trade_no,
        times,
    }) = body?;
    let times = times.unwrap_or(1);
    if !(1..=REPLAYS_MAX).contains(&times) {
        let detail = format!("times must be between 1 and {REPLAYS_MAX}");
        return Err(Problem::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", detail));
    }
    let payer = Payer {
        channel,
        out_trade_no,
    };
    if simulator
        .book(channel)
        .charge(&payer.out_trade_no)
        .is_none()
    {
        return Err(payer.unknown());
    }
    let notice = Notice::read(&simulator, channel, &payer.out_trade_no, &Subject::Paid);
    let Some(notice) = notice else {
        let detail = format!("{channel} order {} is not paid", payer.out_trade_no);
        return Err(Problem::new(StatusCode::CONFLICT, "ORDER_NOT_PAID", detail));
    };
    let mut statuses = Vec::new();
    let mut acknowledged = 0_u32;
    for _ in 0..times {
        let receipt = delivery::send(&simulator, channel, notice.clone(), None).await;
        statuses.push(receipt.status);
        acknowledged += u32::from(receipt.acknowledged);
    }
    Ok(Json(
        json!({"statuses": statuses, "acknowledged": acknowledged}),
    ))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Forge {
    channel: Channel,
    out_trade_no: String,
    kind: Tamper,
}

/// An order need not be paid to be lied about.
async fn forge(State(simulator): Shared, body: Body<Forge>) -> Result<Response, Problem> {
    let Json(Forge {
        channel,
        out_trade_no,
        kind,
    }) = body?;
    let payer = Payer {
        channel,
        out_trade_no,
    };
    let notice = Notice::invent(&simulator, channel, &payer.out_trade_no);
    let notice = notice.ok_or_else(|| payer.unknown())?;
    Ok(Json(delivery::send(&simulator, channel, notice, Some(kind)).await).into_response())
}
