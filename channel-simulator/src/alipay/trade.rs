//! Trades: precreate, query, close, refund and the refund's query.
//!
//! A precreated code is no trade yet: until the payer scans it (`POST /scan`, `POST /pay`), query
//! and close know nothing of it, and a close does not stop the payer from paying later.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Failure, Input, success};
use crate::book::{
    Charge, CreateError, NewCharge, NewRefund, Novelty, Refund, RefundError, RefundState, State,
};
use crate::callbacks::Subject;
use crate::clock::{parse_plain, plain};
use crate::faults::Fault;
use crate::fingerprint::fingerprint;
use crate::money::{fen, yuan};
use crate::{Channel, clock, delivery, ids};

/// A code without a time of its own lasts two hours.
const CODE_SECONDS: i64 = 2 * 3600;
const AMOUNT_FEN_MAX: i64 = 10_000_000_000;
const BUYER_LOGON: &str = "159****5620";

fn invalid(message: &str) -> Failure {
    Failure::business("ACQ.INVALID_PARAMETER", format!("参数无效：{message}"))
}

fn not_exist() -> Failure {
    Failure::business("ACQ.TRADE_NOT_EXIST", "交易不存在")
}

fn wrong_state() -> Failure {
    Failure::business("ACQ.TRADE_STATUS_ERROR", "交易状态不合法")
}

pub(super) fn precreate(input: &Input<'_>) -> Result<Value, Failure> {
    let number = input
        .text("out_trade_no")
        .filter(|number| valid_number(number));
    let number = number.ok_or_else(|| invalid("out_trade_no"))?;
    let subject = input
        .text("subject")
        .filter(|subject| valid_subject(subject));
    let subject = subject.ok_or_else(|| invalid("subject"))?;
    let amount = input.text("total_amount").and_then(fen);
    let amount = amount.filter(|fen| (1..=AMOUNT_FEN_MAX).contains(fen));
    let amount = amount.ok_or_else(|| invalid("total_amount"))?;
    let now = clock::now();
    let parameters = json!([input.content, input.notify_url]);
    let new = NewCharge {
        out_trade_no: number.to_owned(),
        fingerprint: fingerprint("precreate", &parameters),
        trade_type: "FACE_TO_FACE_PAYMENT",
        description: subject.to_owned(),
        attach: input.text("passback_params").unwrap_or_default().to_owned(),
        amount_minor: amount,
        notify_url: input.notify_url.to_owned(),
        code: format!("https://qr.alipay.com/bax{}", &ids::token()[..24]),
        expires: Some(expiry(input, now)?),
    };
    match input.simulator.book(Channel::Alipay).create(new, now) {
        Ok((charge, _)) => Ok(success(
            json!({"out_trade_no": charge.out_trade_no, "qr_code": charge.code}),
        )),
        Err(error) => Err(create_failure(&error)),
    }
}

fn valid_number(number: &str) -> bool {
    (1..=64).contains(&number.len())
        && number
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn valid_subject(subject: &str) -> bool {
    subject.chars().count() <= 256 && !subject.contains(['/', '=', '&'])
}

fn expiry(input: &Input<'_>, now: Timestamp) -> Result<Timestamp, Failure> {
    if let Some(text) = input.text("time_expire") {
        return parse_plain(text).ok_or_else(|| invalid("time_expire"));
    }
    let seconds = match input.text("timeout_express") {
        None => CODE_SECONDS,
        Some(text) => timeout_seconds(text).ok_or_else(|| invalid("timeout_express"))?,
    };
    Ok(now
        .checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX))
}

/// `90m`, `2h`, `15d`, `1c` (the end of the day, here one day).
fn timeout_seconds(text: &str) -> Option<i64> {
    let (count, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "m" => 60,
        "h" => 3600,
        "d" | "c" => 86_400,
        _ => return None,
    };
    let seconds = count.parse::<i64>().ok()?.checked_mul(unit)?;
    (60..=15 * 86_400).contains(&seconds).then_some(seconds)
}

fn create_failure(error: &CreateError) -> Failure {
    match error {
        CreateError::Changed => Failure::business("ACQ.CONTEXT_INCONSISTENT", "交易信息被篡改"),
        CreateError::Paid => Failure::business("ACQ.TRADE_HAS_SUCCESS", "交易已被支付"),
        CreateError::Closed | CreateError::Expired => {
            Failure::business("ACQ.TRADE_HAS_CLOSE", "交易已经关闭")
        }
        CreateError::Full => Failure::business("ACQ.SYSTEM_ERROR", "系统错误"),
    }
}

/// The trade a request names, trade_no before out_trade_no; a code nobody scanned is none.
fn trade(input: &Input<'_>) -> Result<Charge, Failure> {
    let book = input.simulator.book(Channel::Alipay);
    let charge = match (input.text("trade_no"), input.text("out_trade_no")) {
        (Some(trade_no), _) => book.charge_by_transaction(trade_no),
        (None, Some(number)) => book.charge(number),
        (None, None) => return Err(invalid("trade_no和out_trade_no不能同时为空")),
    };
    charge
        .filter(|charge| trade_no(charge).is_some())
        .cloned()
        .ok_or_else(not_exist)
}

pub(super) fn trade_no(charge: &Charge) -> Option<&str> {
    let paid = charge
        .payment()
        .map(|payment| payment.transaction_id.as_str());
    paid.or(charge.opened.as_deref())
}

/// A trade not paid in time closes by itself.
pub(super) fn trade_status(charge: &Charge, now: Timestamp) -> &'static str {
    match charge.state {
        State::Paid(_) if charge.refunded_minor >= charge.amount_minor => "TRADE_CLOSED",
        State::Paid(_) => "TRADE_SUCCESS",
        State::Closed => "TRADE_CLOSED",
        State::Unpaid if charge.expired(now) => "TRADE_CLOSED",
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
        "trade_status": trade_status(&charge, clock::now()),
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
        if trade_status(&charge, clock::now()) != "WAIT_BUYER_PAY" {
            return Err(wrong_state());
        }
        let closed = input
            .simulator
            .book(Channel::Alipay)
            .close(&charge.out_trade_no)
            .cloned();
        closed.map_err(|_| wrong_state())?;
    }
    Ok(success(
        json!({"out_trade_no": charge.out_trade_no, "trade_no": trade_no(&charge)}),
    ))
}

pub(super) fn refund(input: &Input<'_>) -> Result<Value, Failure> {
    let charge = trade(input)?;
    let amount = input
        .text("refund_amount")
        .and_then(fen)
        .filter(|fen| *fen > 0);
    let amount = amount.ok_or_else(|| invalid("refund_amount"))?;
    let request_no = match input.text("out_request_no") {
        Some(number) if number.len() <= 64 => number,
        None if amount == charge.amount_minor => charge.out_trade_no.as_str(),
        Some(_) | None => return Err(invalid("部分退款须有out_request_no")),
    };
    let now = clock::now();
    let new = NewRefund {
        out_refund_no: request_no.to_owned(),
        channel_no: ids::alipay_trade(now),
        amount_minor: amount,
        reason: input.text("refund_reason").unwrap_or_default().to_owned(),
        notify_url: charge.notify_url.clone(),
        state: RefundState::Success,
    };
    let made = input
        .simulator
        .book(Channel::Alipay)
        .refund(&charge.out_trade_no, new, now);
    let (charge, refund, novelty) = made.map_err(|error| refund_failure(&error))?;
    if novelty == Novelty::New {
        let subject = Subject::Refunded(refund.out_refund_no.clone());
        delivery::schedule(
            input.simulator,
            Channel::Alipay,
            &charge.out_trade_no,
            subject,
        );
    }
    let moved = novelty == Novelty::New && !input.strikes(Fault::FundChangeNo);
    Ok(refund_node(&charge, &refund, moved))
}

/// `refund_fee` is the sum of all refunds of the trade, as the channel has it.
fn refund_node(charge: &Charge, refund: &Refund, moved: bool) -> Value {
    success(json!({
        "buyer_logon_id": BUYER_LOGON,
        "buyer_user_id": charge.payment().map(|payment| payment.payer.as_str()),
        "fund_change": if moved { "Y" } else { "N" },
        "gmt_refund_pay": plain(refund.accepted),
        "out_trade_no": charge.out_trade_no,
        "refund_fee": yuan(charge.refunded_minor),
        "send_back_fee": yuan(if moved { refund.amount_minor } else { 0 }),
        "trade_no": trade_no(charge),
    }))
}

fn refund_failure(error: &RefundError) -> Failure {
    match error {
        RefundError::Unknown => not_exist(),
        RefundError::NotPaid => wrong_state(),
        RefundError::Changed => Failure::business("ACQ.DISCORDANT_REPEAT_REQUEST", "不一致的请求"),
        RefundError::TooMuch => Failure::business("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", "退款金额超限"),
        RefundError::Full => Failure::business("ACQ.SYSTEM_ERROR", "系统错误"),
    }
}

/// Nothing beside code and msg: no such refund, or one that failed.
pub(super) fn refund_query(input: &Input<'_>) -> Result<Value, Failure> {
    let charge = trade(input)?;
    let request_no = input.text("out_request_no").unwrap_or(&charge.out_trade_no);
    let book = input.simulator.book(Channel::Alipay);
    let Some(refund) = book.refund_of(&charge.out_trade_no, request_no) else {
        return Ok(success(json!({})));
    };
    Ok(success(json!({
        "gmt_refund_pay": plain(refund.accepted),
        "out_request_no": refund.out_refund_no,
        "out_trade_no": charge.out_trade_no,
        "refund_amount": yuan(refund.amount_minor),
        "refund_reason": refund.reason,
        "refund_status": "REFUND_SUCCESS",
        "total_amount": yuan(charge.amount_minor),
        "trade_no": trade_no(&charge),
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_outs_have_units_and_bounds() {
        for (text, seconds) in [
            ("90m", Some(5400)),
            ("2h", Some(7200)),
            ("15d", Some(1_296_000)),
            ("1c", Some(86_400)),
            ("16d", None),
            ("0m", None),
            ("5", None),
            ("", None),
            ("5分", None),
        ] {
            assert_eq!(timeout_seconds(text), seconds, "{text}");
        }
    }
}
