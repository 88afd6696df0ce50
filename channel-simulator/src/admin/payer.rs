//! The payer: opens, pays, and (as the channel's clock would) finishes charges.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::problem::Problem;
use super::{Body, Shared, state, transaction_id};
use crate::book::{Charge, PayError, RefundError};
use crate::callbacks::Subject;
use crate::{Channel, Simulator, alipay, delivery};

/// Who pays what: a charge by its number, or the order string an app was handed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Asked {
    channel: Channel,
    out_trade_no: Option<String>,
    order_string: Option<String>,
}

impl Asked {
    /// The charge meant; an order string makes it.
    fn payer(self, simulator: &Simulator) -> Result<Payer, Problem> {
        let out_trade_no = match (self.out_trade_no, self.order_string) {
            (Some(number), None) => number,
            (None, Some(order)) if self.channel == Channel::Alipay => {
                alipay::take_order(simulator, &order).map_err(|failure| {
                    let detail = failure.summary();
                    Problem::new(StatusCode::BAD_REQUEST, "ORDER_STRING_REFUSED", detail)
                })?
            }
            (None, Some(_)) => {
                let detail = "only alipay has order strings";
                return Err(Problem::bad_request(detail));
            }
            (Some(_), Some(_)) | (None, None) => {
                let detail = "either outTradeNo or orderString";
                return Err(Problem::bad_request(detail));
            }
        };
        Ok(Payer {
            channel: self.channel,
            out_trade_no,
        })
    }
}

#[derive(Debug)]
pub(super) struct Payer {
    pub(super) channel: Channel,
    pub(super) out_trade_no: String,
}

impl Payer {
    fn problem(&self, error: &PayError) -> Problem {
        let (status, code) = match error {
            PayError::Unknown => (StatusCode::NOT_FOUND, "ORDER_UNKNOWN"),
            PayError::Closed => (StatusCode::CONFLICT, "ORDER_CLOSED"),
            PayError::AlreadyPaid => (StatusCode::CONFLICT, "ORDER_ALREADY_PAID"),
            PayError::Expired => (StatusCode::CONFLICT, "ORDER_EXPIRED"),
            PayError::CodeExpired => (StatusCode::CONFLICT, "CODE_EXPIRED"),
        };
        let (channel, number) = (self.channel, &self.out_trade_no);
        Problem::new(status, code, format!("{channel} order {number}: {error}"))
    }

    pub(super) fn unknown(&self) -> Problem {
        self.problem(&PayError::Unknown)
    }

    pub(super) fn not_paid(&self) -> Problem {
        let (channel, number) = (self.channel, &self.out_trade_no);
        let detail = format!("{channel} order {number} is not paid");
        Problem::new(StatusCode::CONFLICT, "ORDER_NOT_PAID", detail)
    }
}

fn shown(simulator: &Simulator, charge: &Charge) -> Json<Value> {
    Json(json!({
        "outTradeNo": charge.out_trade_no,
        "transactionId": transaction_id(charge),
        "state": state(simulator, charge),
    }))
}

pub(super) async fn pay(
    State(simulator): Shared,
    body: Body<Asked>,
) -> Result<Json<Value>, Problem> {
    let Json(asked) = body?;
    let payer = asked.payer(&simulator)?;
    let paid = delivery::pay(&simulator, payer.channel, &payer.out_trade_no);
    paid.map(|charge| shown(&simulator, &charge))
        .map_err(|error| payer.problem(&error))
}

pub(super) async fn scan(
    State(simulator): Shared,
    body: Body<Asked>,
) -> Result<Json<Value>, Problem> {
    let Json(asked) = body?;
    if asked.channel == Channel::Wechat {
        let detail = "a WeChat order exists from the start; only alipay is scanned";
        return Err(Problem::bad_request(detail));
    }
    let payer = asked.payer(&simulator)?;
    let opened = delivery::open(&simulator, payer.channel, &payer.out_trade_no);
    opened
        .map(|charge| shown(&simulator, &charge))
        .map_err(|error| payer.problem(&error))
}

/// A paid Alipay trade becomes TRADE_FINISHED: no longer refundable.
pub(super) async fn finish(
    State(simulator): Shared,
    body: Body<Asked>,
) -> Result<Json<Value>, Problem> {
    let Json(asked) = body?;
    if asked.channel == Channel::Wechat {
        return Err(Problem::bad_request("only alipay finishes trades"));
    }
    let payer = asked.payer(&simulator)?;
    let now = simulator.clock.moment();
    let finished = simulator
        .book(Channel::Alipay)
        .finish(&payer.out_trade_no, now)
        .cloned();
    let charge = finished.map_err(|error| match error {
        RefundError::NotPaid => payer.not_paid(),
        _ => payer.unknown(),
    })?;
    alipay::tell_end(&simulator, &charge, Subject::Finished);
    Ok(shown(&simulator, &charge))
}
