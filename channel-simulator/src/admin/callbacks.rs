//! Callbacks on demand: true ones again, and lies.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::payer::Payer;
use super::problem::Problem;
use super::{Body, Shared};
use crate::callbacks::{Notice, Subject, Tamper};
use crate::{Channel, delivery};

const REPLAYS_MAX: u32 = 1000;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Replay {
    channel: Channel,
    out_trade_no: String,
    times: Option<u32>,
}

pub(super) async fn replay(
    State(simulator): Shared,
    body: Body<Replay>,
) -> Result<Json<Value>, Problem> {
    let Json(Replay {
        channel,
        out_trade_no,
        times,
    }) = body?;
    let times = times.unwrap_or(1);
    if !(1..=REPLAYS_MAX).contains(&times) {
        let detail = format!("times must be between 1 and {REPLAYS_MAX}");
        return Err(Problem::bad_request(detail));
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
    let notice = notice.ok_or_else(|| payer.not_paid())?;
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
pub(super) struct Forge {
    channel: Channel,
    out_trade_no: String,
    kind: Tamper,
}

/// An order need not be paid to be lied about.
pub(super) async fn forge(
    State(simulator): Shared,
    body: Body<Forge>,
) -> Result<Response, Problem> {
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
