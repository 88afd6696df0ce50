//! Refunds: an answer means accepted; the end comes two seconds of calendar time later, with a
//! callback if the request named a URL. The documented pause between partial refunds of one order
//! is not enforced.

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, ApiError, Input};
use crate::book::{Charge, NewRefund, Novelty, Refund, RefundError, RefundState, RetryError};
use crate::clock::rfc3339;
use crate::delivery::RefundEnd;
use crate::faults::Site;
use crate::{Channel, delivery, ids};

#[derive(Debug, Deserialize)]
struct Request {
    transaction_id: Option<String>,
    out_trade_no: Option<String>,
    out_refund_no: Option<String>,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    notify_url: String,
    amount: Option<Amount>,
}

#[derive(Debug, Deserialize)]
struct Amount {
    refund: i64,
    total: i64,
    currency: Option<String>,
}

pub(super) fn refund(input: &Input<'_>, site: &Site<'_>) -> Result<Answer, ApiError> {
    let body = input.json()?;
    let request = Request::deserialize(&body)
        .map_err(|error| ApiError::parameter("/body", &error.to_string()))?;
    let amount = request.amount.as_ref();
    let amount = amount.ok_or_else(|| ApiError::parameter("/amount", "缺少必填字段"))?;
    let number = request
        .out_refund_no
        .clone()
        .filter(|number| valid_refund_number(number));
    let number = number.ok_or_else(|| ApiError::parameter("/out_refund_no", "须为1至64位"))?;
    if amount.refund < 1 || amount.currency.as_deref() != Some("CNY") {
        return Err(ApiError::parameter(
            "/amount",
            "退款金额须大于0，币种须为CNY",
        ));
    }
    let charge = charge(input, &request)?;
    if amount.total != charge.amount_minor {
        return Err(invalid("订单金额与原订单不一致"));
    }
    let now = input.simulator.clock.moment();
    let new = NewRefund {
        out_refund_no: number,
        channel_no: ids::wechat_refund(now.wall),
        amount_minor: amount.refund,
        reason: request.reason,
        notify_url: request.notify_url,
        state: RefundState::Processing,
    };
    let accepted = input
        .simulator
        .book(Channel::Wechat)
        .refund(&charge.out_trade_no, new, now);
    let (charge, refund, novelty) = accepted.map_err(|error| refund_error(&error))?;
    if novelty == Novelty::New {
        schedule_end(input, &refund, site);
    }
    Ok(Answer::ok(&refund_body(&charge, &refund)))
}

fn schedule_end(input: &Input<'_>, refund: &Refund, site: &Site<'_>) {
    let end = RefundEnd::drawn(input.simulator, site).unwrap_or(RefundEnd::success());
    delivery::schedule_refund_end(input.simulator, Channel::Wechat, refund, end);
}

#[derive(Debug, Deserialize)]
struct Retry {
    out_refund_no: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    bank_account: Option<String>,
    real_name: Option<String>,
}

/// An ABNORMAL refund goes to a bank card of the payer's, or back to the merchant. The card's
/// number and name come encrypted; nobody reads them here.
pub(super) fn retry(input: &Input<'_>, id: &str, site: &Site<'_>) -> Result<Answer, ApiError> {
    let retry = Retry::deserialize(&input.json()?)
        .map_err(|error| ApiError::parameter("/body", &error.to_string()))?;
    let number = retry.out_refund_no.unwrap_or_default();
    let card = retry.bank_account.is_some() && retry.real_name.is_some();
    match retry.kind.as_deref() {
        Some("MERCHANT_BANK_CARD") => {}
        Some("USER_BANK_CARD") if card => {}
        Some("USER_BANK_CARD") => {
            return Err(ApiError::parameter("/bank_account", "缺少必填字段"));
        }
        _ => {
            let issue = "须为USER_BANK_CARD或MERCHANT_BANK_CARD";
            return Err(ApiError::parameter("/type", issue));
        }
    }
    let retried = input
        .simulator
        .book(Channel::Wechat)
        .retry_abnormal(id, &number);
    let (charge, refund) = retried.map_err(|error| match error {
        RetryError::Unknown => not_exists(),
        RetryError::NotAbnormal => invalid("退款单状态不是退款异常"),
    })?;
    schedule_end(input, &refund, site);
    Ok(Answer::ok(&refund_body(&charge, &refund)))
}

fn valid_refund_number(number: &str) -> bool {
    (1..=64).contains(&number.len())
        && number
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-|*@".contains(&b))
}

fn charge(input: &Input<'_>, request: &Request) -> Result<Charge, ApiError> {
    let book = input.simulator.book(Channel::Wechat);
    let charge = match (&request.transaction_id, &request.out_trade_no) {
        (Some(id), None) => book.charge_by_transaction(id),
        (None, Some(number)) => book.charge(number),
        (Some(_), Some(_)) | (None, None) => {
            let issue = "与out_trade_no二选一";
            return Err(ApiError::parameter("/transaction_id", issue));
        }
    };
    charge.cloned().ok_or_else(not_exists)
}

fn invalid(message: &str) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "INVALID_REQUEST", message)
}

fn not_exists() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "RESOURCE_NOT_EXISTS",
        "订单不存在或未支付",
    )
}

fn refund_error(error: &RefundError) -> ApiError {
    match error {
        RefundError::Unknown | RefundError::NotPaid => not_exists(),
        RefundError::Changed => invalid("退款单号重复，且与首次请求的参数不一致"),
        RefundError::TooMuch => invalid("退款金额累计超过订单金额"),
        RefundError::TooMany => invalid("一笔订单最多退款50次"),
        RefundError::TooLate => invalid("订单已超过可退款的最大期限"),
        RefundError::Full => super::system_error(),
    }
}

pub(super) fn query(input: &Input<'_>, number: &str) -> Result<Answer, ApiError> {
    let book = input.simulator.book(Channel::Wechat);
    let refund = book.refund_of("", number).ok_or_else(not_exists)?;
    let charge = book.charge(&refund.out_trade_no).ok_or_else(not_exists)?;
    Ok(Answer::ok(&refund_body(charge, refund)))
}

fn refund_body(charge: &Charge, refund: &Refund) -> Value {
    let mut body = json!({
        "amount": {
            "currency": "CNY",
            "discount_refund": 0,
            "from": [],
            "payer_refund": refund.amount_minor,
            "payer_total": charge.amount_minor,
            "refund": refund.amount_minor,
            "refund_fee": 0,
            "settlement_refund": refund.amount_minor,
            "settlement_total": charge.amount_minor,
            "total": charge.amount_minor,
        },
        "channel": "ORIGINAL",
        "create_time": rfc3339(refund.accepted),
        "funds_account": "AVAILABLE",
        "out_refund_no": refund.out_refund_no,
        "out_trade_no": refund.out_trade_no,
        "promotion_detail": [],
        "refund_id": refund.channel_no,
        "status": refund.state,
        "transaction_id": charge.payment().map(|payment| payment.transaction_id.as_str()),
        "user_received_account": "支付用户零钱",
    });
    if let (Some(settled), RefundState::Success) = (refund.settled, refund.state) {
        body["success_time"] = rfc3339(settled).into();
    }
    body
}
