//! Trades that exist: query, close, cancel.
//!
//! Of the end of a trade that was not paid, or can no longer be refunded, the channel tells for
//! app and wap trades only; a trade that merely ran out of time is not told of.

use serde_json::{Value, json};

use super::create::Kind;
use super::{Failure, Input, refund, success};
use crate::book::{Charge, State};
use crate::callbacks::Subject;
use crate::clock::{Moment, plain};
use crate::faults::Fault;
use crate::money::yuan;
use crate::{Channel, Simulator, delivery};

pub(super) const BUYER_LOGON: &str = "159****5620";

pub(super) fn invalid(message: &str) -> Failure {
    Failure::business("ACQ.INVALID_PARAMETER", format!("参数无效：{message}"))
}

pub(super) fn not_exist() -> Failure {
    Failure::business("ACQ.TRADE_NOT_EXIST", "交易不存在")
}

pub(super) fn wrong_state() -> Failure {
    Failure::business("ACQ.TRADE_STATUS_ERROR", "交易状态不合法")
}

/// The trade a request names, trade_no before out_trade_no; a code nobody scanned is none.
fn find(input: &Input<'_>) -> Result<Option<Charge>, Failure> {
    let book = input.simulator.book(Channel::Alipay);
    let charge = match (input.text("trade_no"), input.text("out_trade_no")) {
        (Some(trade_no), _) => book.charge_by_transaction(trade_no),
        (None, Some(number)) => book.charge(number),
        (None, None) => return Err(invalid("trade_no和out_trade_no不能同时为空")),
    };
    Ok(charge.filter(|charge| trade_no(charge).is_some()).cloned())
}

pub(super) fn trade(input: &Input<'_>) -> Result<Charge, Failure> {
    find(input)?.ok_or_else(not_exist)
}

pub(super) fn trade_no(charge: &Charge) -> Option<&str> {
    let paid = charge
        .payment()
        .map(|payment| payment.transaction_id.as_str());
    paid.or(charge.opened.as_deref())
}

/// A trade not paid in time closes by itself; one paid long ago is finished.
pub(super) fn trade_status(charge: &Charge, now: Moment) -> &'static str {
    match charge.state {
        State::Paid(_) if charge.refunded_minor >= charge.amount_minor => "TRADE_CLOSED",
        State::Paid(_) if !charge.refundable(now.calendar) => "TRADE_FINISHED",
        State::Paid(_) => "TRADE_SUCCESS",
        State::Closed => "TRADE_CLOSED",
        State::Unpaid if charge.expired(now.wall) => "TRADE_CLOSED",
        State::Unpaid => "WAIT_BUYER_PAY",
    }
}

pub(super) fn query(input: &Input<'_>) -> Result<Value, Failure> {
    let charge = trade(input)?;
    if charge.payment().is_some() && input.strikes(Fault::QueryLag) {
        return Err(not_exist());
    }
    let mut node = json!({
        "buyer_logon_id": BUYER_LOGON,
        "buyer_pay_amount": "0.00",
        "invoice_amount": "0.00",
        "out_trade_no": charge.out_trade_no,
        "point_amount": "0.00",
        "receipt_amount": "0.00",
        "total_amount": yuan(charge.amount_minor),
        "trade_no": trade_no(&charge),
        "trade_status": trade_status(&charge, input.simulator.clock.moment()),
    });
    if let Some(payment) = charge.payment() {
        let amount = yuan(charge.amount_minor);
        node["buyer_pay_amount"] = amount.as_str().into();
        node["receipt_amount"] = amount.as_str().into();
        node["invoice_amount"] = amount.as_str().into();
        node["send_pay_date"] = plain(payment.time).into();
        node["buyer_user_id"] = payment.payer.as_str().into();
        node["fund_bill_list"] = json!([{"amount": amount, "fund_channel": "ALIPAYACCOUNT"}]);
    }
    Ok(success(node))
}

pub(super) fn close(input: &Input<'_>) -> Result<Value, Failure> {
    let race = input.strikes(Fault::PayAfterCloseRace);
    let despite = !race && input.strikes(Fault::PaidDespiteClose);
    if (race || despite)
        && let Some(number) = input.text("out_trade_no")
        && let Err(error) = delivery::pay(input.simulator, Channel::Alipay, number)
    {
        tracing::info!(%error, out_trade_no = number, "nothing to pay during the close");
    }
    let charge = trade(input)?;
    if !despite {
        if trade_status(&charge, input.simulator.clock.moment()) != "WAIT_BUYER_PAY" {
            return Err(wrong_state());
        }
        shut(input, &charge)?;
    }
    Ok(success(
        json!({"out_trade_no": charge.out_trade_no, "trade_no": trade_no(&charge)}),
    ))
}

fn shut(input: &Input<'_>, charge: &Charge) -> Result<(), Failure> {
    let closed = input
        .simulator
        .book(Channel::Alipay)
        .close(&charge.out_trade_no)
        .map(drop);
    closed.map_err(|_| wrong_state())?;
    tell_end(input.simulator, charge, Subject::Closed);
    Ok(())
}

/// App and wap trades are told of to the end.
pub(crate) fn tell_end(simulator: &Simulator, charge: &Charge, end: Subject) {
    let told = [Kind::App, Kind::Wap].map(Kind::trade_type);
    if told.contains(&charge.trade_type) {
        delivery::schedule(simulator, Channel::Alipay, &charge.out_trade_no, end);
    }
}

/// Undoes a payment whatever became of it: closes an unpaid trade, refunds a paid one, and leaves
/// what does not exist without an `action`. Repeating it is no mistake.
pub(super) fn cancel(input: &Input<'_>) -> Result<Value, Failure> {
    let found = find(input)?;
    let answer = |action: Option<&str>, retry: &str| {
        let mut node = json!({"retry_flag": retry});
        if let Some(charge) = &found {
            node["out_trade_no"] = charge.out_trade_no.as_str().into();
            node["trade_no"] = trade_no(charge).into();
        } else if let Some(number) = input.text("out_trade_no") {
            node["out_trade_no"] = number.into();
        }
        if let Some(action) = action {
            node["action"] = action.into();
        }
        success(node)
    };
    if input.strikes(Fault::RetryFlagYes) {
        return Ok(answer(None, "Y"));
    }
    let Some(charge) = &found else {
        return Ok(answer(None, "N"));
    };
    let now = input.simulator.clock.moment();
    match (charge.payment(), trade_status(charge, now)) {
        (None, "WAIT_BUYER_PAY") => shut(input, charge)?,
        (Some(_), "TRADE_SUCCESS") => refund::refund_rest(input, charge)?,
        (Some(_), "TRADE_FINISHED") => return Err(refund::finished()),
        _ => {}
    }
    let action = if charge.payment().is_some() {
        "refund"
    } else {
        "close"
    };
    Ok(answer(Some(action), "N"))
}
