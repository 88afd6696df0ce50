//! Refunds and their query.
//!
//! A refund is done when its answer says `fund_change` Y; repeating its number answers N. The
//! documented pause between refunds of one trade is not enforced, and a refund that failed stays
//! failed under its number.

use serde_json::{Value, json};

use super::trade::{BUYER_LOGON, invalid, not_exist, trade, trade_no, wrong_state};
use super::{Failure, Input, success};
use crate::book::{Charge, NewRefund, Novelty, Refund, RefundError, RefundState};
use crate::callbacks::Subject;
use crate::clock::plain;
use crate::delivery::{self, RefundEnd};
use crate::faults::Fault;
use crate::money::{fen, yuan};
use crate::{Channel, ids};

pub(super) fn refund(input: &Input<'_>) -> Result<Value, Failure> {
    let charge = trade(input)?;
    let amount = input.text("refund_amount").and_then(fen);
    let amount = amount.filter(|fen| *fen > 0);
    let amount = amount.ok_or_else(|| invalid("refund_amount"))?;
    let request_no = match input.text("out_request_no") {
        Some(number) if number.len() <= 64 => number,
        None if amount == charge.amount_minor => charge.out_trade_no.as_str(),
        Some(_) | None => return Err(invalid("部分退款须有out_request_no")),
    };
    let (charge, refund, novelty) = make(input, &charge, request_no, amount)?;
    let moved = novelty == Novelty::New
        && refund.state == RefundState::Success
        && !input.strikes(Fault::FundChangeNo);
    Ok(refund_node(&charge, &refund, moved))
}

/// What a cancel gives back: all that is left.
pub(super) fn refund_rest(input: &Input<'_>, charge: &Charge) -> Result<(), Failure> {
    let rest = charge.amount_minor - charge.refunded_minor;
    make(input, charge, &charge.out_trade_no, rest).map(drop)
}

fn make(
    input: &Input<'_>,
    charge: &Charge,
    request_no: &str,
    amount_minor: i64,
) -> Result<(Charge, Refund, Novelty), Failure> {
    let (simulator, channel) = (input.simulator, Channel::Alipay);
    let now = simulator.clock.moment();
    let number = &charge.out_trade_no;
    let known = simulator
        .book(channel)
        .refund_of(number, request_no)
        .is_some();
    // A repeat does not use up a shot meant for a refund.
    let end = if known {
        None
    } else {
        RefundEnd::drawn(simulator, &input.site)
    };
    let new = NewRefund {
        out_refund_no: request_no.to_owned(),
        channel_no: ids::alipay_trade(now.wall),
        amount_minor,
        reason: input.text("refund_reason").unwrap_or_default().to_owned(),
        notify_url: charge.notify_url.clone(),
        state: match end {
            None => RefundState::Success,
            Some(_) => RefundState::Processing,
        },
    };
    let made = simulator.book(channel).refund(number, new, now);
    let (charge, refund, novelty) = made.map_err(|error| refund_failure(&error))?;
    if novelty == Novelty::New {
        if let Some(end) = end {
            delivery::schedule_refund_end(simulator, channel, &refund, end);
        } else {
            let subject = Subject::Refunded(refund.out_refund_no.clone());
            delivery::schedule(simulator, channel, &charge.out_trade_no, subject);
        }
    }
    Ok((charge, refund, novelty))
}

/// `refund_fee` is the sum of all refunds of the trade, as the channel has it.
fn refund_node(charge: &Charge, refund: &Refund, moved: bool) -> Value {
    let mut node = json!({
        "buyer_logon_id": BUYER_LOGON,
        "buyer_user_id": charge.payment().map(|payment| payment.payer.as_str()),
        "fund_change": if moved { "Y" } else { "N" },
        "out_trade_no": charge.out_trade_no,
        "refund_fee": yuan(charge.refunded_minor),
        "send_back_fee": yuan(if moved { refund.amount_minor } else { 0 }),
        "trade_no": trade_no(charge),
    });
    if refund.state == RefundState::Success {
        node["gmt_refund_pay"] = plain(refund.accepted).into();
    }
    success(node)
}

pub(super) fn finished() -> Failure {
    Failure::business("ACQ.TRADE_HAS_FINISHED", "交易已完结")
}

fn refund_failure(error: &RefundError) -> Failure {
    match error {
        RefundError::Unknown => not_exist(),
        RefundError::NotPaid => wrong_state(),
        RefundError::Changed => Failure::business("ACQ.DISCORDANT_REPEAT_REQUEST", "不一致的请求"),
        RefundError::TooMuch => Failure::business("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", "退款金额超限"),
        RefundError::TooLate => finished(),
        RefundError::TooMany | RefundError::Full => {
            Failure::business("ACQ.SYSTEM_ERROR", "系统错误")
        }
    }
}

/// Nothing beside code and msg: no such refund. Without `refund_status`: not done, or failed.
pub(super) fn query(input: &Input<'_>) -> Result<Value, Failure> {
    let charge = trade(input)?;
    let request_no = input.text("out_request_no").unwrap_or(&charge.out_trade_no);
    let book = input.simulator.book(Channel::Alipay);
    let Some(refund) = book.refund_of(&charge.out_trade_no, request_no) else {
        return Ok(success(json!({})));
    };
    let mut node = json!({
        "out_request_no": refund.out_refund_no,
        "out_trade_no": charge.out_trade_no,
        "refund_amount": yuan(refund.amount_minor),
        "refund_reason": refund.reason,
        "total_amount": yuan(charge.amount_minor),
        "trade_no": trade_no(&charge),
    });
    if refund.state == RefundState::Success {
        node["gmt_refund_pay"] = plain(refund.settled.unwrap_or(refund.accepted)).into();
        node["refund_status"] = "REFUND_SUCCESS".into();
    }
    Ok(success(node))
}
