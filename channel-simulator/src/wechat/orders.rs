//! Orders that exist: query, close.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Answer, ApiError, Input};
use crate::Channel;
use crate::book::{Charge, CloseError, State};
use crate::clock::rfc3339;
use crate::delivery;
use crate::faults::{Fault, Site};

fn not_exist() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "ORDER_NOT_EXIST", "订单不存在")
}

pub(super) fn query_by_number(
    input: &Input<'_>,
    number: &str,
    site: &Site<'_>,
) -> Result<Answer, ApiError> {
    input.query_mchid()?;
    let charge = input
        .simulator
        .book(Channel::Wechat)
        .charge(number)
        .cloned();
    Ok(order_answer(input, &charge.ok_or_else(not_exist)?, site))
}

pub(super) fn query_by_id(
    input: &Input<'_>,
    id: &str,
    site: &Site<'_>,
) -> Result<Answer, ApiError> {
    input.query_mchid()?;
    let charge = input
        .simulator
        .book(Channel::Wechat)
        .charge_by_transaction(id)
        .cloned();
    Ok(order_answer(input, &charge.ok_or_else(not_exist)?, site))
}

fn order_answer(input: &Input<'_>, charge: &Charge, site: &Site<'_>) -> Answer {
    let paid = matches!(charge.state, State::Paid(_));
    if paid
        && input
            .simulator
            .faults
            .strikes(Fault::QueryLag, site)
            .is_some()
    {
        let unpaid = Charge {
            state: State::Unpaid,
            refunded_minor: 0,
            ..charge.clone()
        };
        return Answer::ok(&order(input, &unpaid));
    }
    Answer::ok(&order(input, charge))
}

/// An order as queries show it. It does not close by itself when its time is over, but a week
/// later.
fn order(input: &Input<'_>, charge: &Charge) -> Value {
    let keys = input.simulator.keys.wechat();
    let Some(payment) = charge.payment() else {
        let closed = charge.closed(input.simulator.clock.calendar());
        let (state, description) = if closed {
            ("CLOSED", "订单已关闭")
        } else {
            ("NOTPAY", "订单未支付")
        };
        return json!({
            "amount": {"payer_currency": "CNY", "total": charge.amount_minor},
            "appid": keys.app_id,
            "attach": charge.attach,
            "mchid": keys.mch_id,
            "out_trade_no": charge.out_trade_no,
            "promotion_detail": [],
            "scene_info": {"device_id": ""},
            "trade_state": state,
            "trade_state_desc": description,
        });
    };
    let mut order = paid_order(&keys, charge, payment);
    if charge.refunded_minor > 0 {
        order["trade_state"] = "REFUND".into();
        order["trade_state_desc"] = "订单发生过退款，退款详情请查询退款单".into();
    }
    order
}

/// A paid order: the same in queries and in callbacks.
pub(super) fn paid_order(
    keys: &crate::keys::WechatKeys,
    charge: &Charge,
    payment: &crate::book::Payment,
) -> Value {
    json!({
        "amount": {
            "currency": "CNY",
            "payer_currency": "CNY",
            "payer_total": charge.amount_minor,
            "total": charge.amount_minor,
        },
        "appid": keys.app_id,
        "attach": charge.attach,
        "bank_type": "OTHERS",
        "mchid": keys.mch_id,
        "out_trade_no": charge.out_trade_no,
        "payer": {"openid": payment.payer},
        "promotion_detail": [],
        "success_time": rfc3339(payment.time),
        "trade_state": "SUCCESS",
        "trade_state_desc": "支付成功",
        "trade_type": charge.trade_type,
        "transaction_id": payment.transaction_id,
    })
}

pub(super) fn close(input: &Input<'_>, number: &str, site: &Site<'_>) -> Result<Answer, ApiError> {
    let body = input.json()?;
    if body.get("mchid").and_then(Value::as_str) != Some(&input.simulator.keys.wechat().mch_id) {
        return Err(ApiError::parameter("/mchid", "与签名的商户号不一致"));
    }
    let faults = &input.simulator.faults;
    if faults.strikes(Fault::PayAfterCloseRace, site).is_some() {
        pay_meanwhile(input, number);
    }
    if faults.strikes(Fault::PaidDespiteClose, site).is_some() {
        pay_meanwhile(input, number);
        return Ok(Answer::no_content());
    }
    if faults.strikes(Fault::CloseRateLimited, site).is_some() {
        pay_meanwhile(input, number);
        return Err(super::rate_limited());
    }
    match input.simulator.book(Channel::Wechat).close(number) {
        Ok(_) => Ok(Answer::no_content()),
        Err(CloseError::Unknown) => Err(not_exist()),
        Err(CloseError::Paid) => Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "ORDER_PAID",
            "该订单已支付",
        )),
    }
}

fn pay_meanwhile(input: &Input<'_>, number: &str) {
    if let Err(error) = delivery::pay(input.simulator, Channel::Wechat, number) {
        tracing::info!(%error, out_trade_no = number, "nothing to pay during the close");
    }
}
