//! Refunds at WeChat Pay.
//!
//! Guarantees: a refund goes out under our number and the order's number, never under a new one;
//! "accepted" stays [`RefundState::Processing`] until WeChat Pay says what became of it; an answer
//! that does not name both numbers is unverifiable.
//!
//! Not here: `apply-abnormal-refund` (a person decides about those), when to ask again.

use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::answer::{self, Code, Stop};
use super::orders::check_number;
use super::{Wechat, money, time};
use crate::limit::Operation;
use crate::order;
use crate::outcome::{Fail, UncertaintyReason};
use crate::refund::{self, NewRefund, RefundState, RefundStatus};

const PATH: &str = "/v3/refund/domestic/refunds";
/// The longest `reason`, in bytes to be on the safe side of "80 characters".
const REASON_BYTES: usize = 80;

impl Wechat {
    pub(crate) async fn refund(
        &self,
        refund: &NewRefund,
        now: Timestamp,
    ) -> Result<RefundStatus, Fail> {
        refund::check(refund)?;
        check_number(&refund.channel_order_no)?;
        check_refund_number(&refund.channel_refund_no)?;
        order::check_notify_url(&refund.notify_url)?;
        let mut body = json!({
            "out_trade_no": refund.channel_order_no,
            "out_refund_no": refund.channel_refund_no,
            "notify_url": refund.notify_url,
            "amount": {
                "refund": refund.amount.minor,
                "total": refund.total.minor,
                "currency": refund.amount.currency.code(),
            },
        });
        if let Some(reason) = refund::reason(refund, REASON_BYTES) {
            body["reason"] = json!(reason);
        }
        let answer = self
            .call(
                Operation::WechatRefund,
                Method::POST,
                PATH,
                body.to_string(),
                now,
            )
            .await;
        match answer {
            Ok(body) => read(&body, &refund.channel_order_no, &refund.channel_refund_no),
            // The number was used before with other parameters: that refund may have happened.
            Err(Stop::Refused(refused)) if refused.is_changed_repeat() => {
                Err(refused.as_unknown(UncertaintyReason::InProgress))
            }
            Err(stop) => Err(stop.into()),
        }
    }

    pub(crate) async fn query_refund(
        &self,
        order: &str,
        refund: &str,
        now: Timestamp,
    ) -> Result<RefundStatus, Fail> {
        check_number(order)?;
        check_refund_number(refund)?;
        let path = format!("{PATH}/{refund}");
        let answer = self
            .call(
                Operation::WechatRefundQuery,
                Method::GET,
                &path,
                String::new(),
                now,
            )
            .await;
        match answer {
            Ok(body) => read(&body, order, refund),
            Err(Stop::Refused(refused)) if refused.code == Code::NoResource => {
                Ok(RefundStatus::not_found())
            }
            Err(stop) => Err(stop.into()),
        }
    }
}

#[derive(Deserialize)]
struct Body {
    refund_id: Option<String>,
    out_refund_no: String,
    out_trade_no: String,
    status: String,
    success_time: Option<String>,
    amount: Amount,
}

#[derive(Deserialize)]
struct Amount {
    refund: i64,
    currency: Option<String>,
}

/// The answer to both calls. The signature does not cover the question, so both numbers are held
/// against it.
fn read(body: &[u8], order: &str, refund: &str) -> Result<RefundStatus, Fail> {
    let body: Body = answer::parse(body)?;
    if body.out_refund_no != refund || body.out_trade_no != order {
        return Err(Fail::unverifiable("the answer is about another refund"));
    }
    let amount = money(body.amount.refund, body.amount.currency.as_deref());
    Ok(RefundStatus {
        state: state(&body.status)?,
        channel_refund_id: body.refund_id.filter(|id| !id.is_empty()),
        amount: Some(amount.map_err(Fail::unverifiable)?),
        refunded_at: body.success_time.as_deref().and_then(time),
    })
}

fn state(status: &str) -> Result<RefundState, Fail> {
    match status {
        "PROCESSING" => Ok(RefundState::Processing),
        "SUCCESS" => Ok(RefundState::Succeeded),
        "CLOSED" => Ok(RefundState::Failed),
        "ABNORMAL" => Ok(RefundState::Abnormal),
        other => Err(Fail::unverifiable(format!("unknown status {other:?}"))),
    }
}

fn check_refund_number(number: &str) -> Result<(), Fail> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-|*@".contains(&byte);
    if (1..=64).contains(&number.len()) && number.bytes().all(allowed) {
        Ok(())
    } else {
        Err(Fail::invalid(
            "the refund number must have 1 to 64 characters of 0-9 A-Z a-z _ - | * @",
        ))
    }
}
