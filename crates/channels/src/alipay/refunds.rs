//! Refunds at Alipay.
//!
//! Guarantees: every refund carries our own `out_request_no`, so that a repeat can never become a
//! second refund; "succeeded" rests on `fund_change=Y` or on a query's `REFUND_SUCCESS`.
//!
//! Not here: waiting (Alipay wants ten seconds before a query, three between refunds of a trade).

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::answer::{Code, Stop, money};
use super::gateway::Request;
use super::orders::check_number;
use super::{Alipay, instant};
use crate::limit::Operation;
use crate::outcome::{Fail, UncertaintyReason};
use crate::refund::{self, NewRefund, RefundState, RefundStatus};

pub(super) const REFUND: &str = "alipay.trade.refund";
pub(super) const REFUND_QUERY: &str = "alipay.trade.fastpay.refund.query";
/// The longest `refund_reason`, in bytes to be on the safe side of "256 characters".
const REASON_BYTES: usize = 256;

impl Alipay {
    pub(crate) async fn refund(
        &self,
        refund: &NewRefund,
        now: Timestamp,
    ) -> Result<RefundStatus, Fail> {
        refund::check(refund)?;
        check_number(&refund.channel_order_no)?;
        check_number(&refund.channel_refund_no)?;
        let mut content = json!({
            "out_trade_no": refund.channel_order_no,
            "refund_amount": refund.amount.to_decimal(),
            "out_request_no": refund.channel_refund_no,
        });
        if let Some(reason) = refund::reason(refund, REASON_BYTES) {
            content["refund_reason"] = json!(reason);
        }
        let request = Request::new(REFUND, &content);
        match self.call(Operation::AlipayRefund, request, now).await {
            Ok(node) => node.parse::<Refunded>()?.status(refund),
            // The number was used before with other parameters: that refund may have happened.
            Err(Stop::Refused(refused)) if refused.code == Code::NumberUsed => {
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
        check_number(refund)?;
        let content = json!({
            "out_trade_no": order,
            "out_request_no": refund,
            "query_options": ["gmt_refund_pay"],
        });
        let request = Request::new(REFUND_QUERY, &content);
        match self.call(Operation::AlipayRefundQuery, request, now).await {
            Ok(node) => node.parse::<Found>()?.status(order, refund),
            Err(Stop::Refused(refused)) if refused.code == Code::NotFound => {
                Ok(RefundStatus::not_found())
            }
            Err(stop) => Err(stop.into()),
        }
    }
}

/// The answer to a refund. Its `refund_fee` is the trade's sum of refunds so far and is left out on
/// purpose: it says nothing about this one.
#[derive(Deserialize)]
struct Refunded {
    out_trade_no: String,
    fund_change: Option<String>,
    gmt_refund_pay: Option<String>,
}

impl Refunded {
    fn status(self, refund: &NewRefund) -> Result<RefundStatus, Fail> {
        if self.out_trade_no != refund.channel_order_no {
            return Err(Fail::unverifiable("the answer is about another order"));
        }
        if self.fund_change.as_deref() != Some("Y") {
            // A repeat of a refund that was done before, or one that did nothing: a query tells.
            return Err(Fail::unknown(
                UncertaintyReason::InProgress,
                "the refund was taken but moved no money just now",
            ));
        }
        Ok(RefundStatus {
            state: RefundState::Succeeded,
            channel_refund_id: None,
            amount: None,
            refunded_at: self.gmt_refund_pay.as_deref().and_then(instant),
        })
    }
}

#[derive(Deserialize)]
struct Found {
    out_trade_no: Option<String>,
    out_request_no: Option<String>,
    refund_status: Option<String>,
    refund_amount: Option<String>,
    gmt_refund_pay: Option<String>,
}

impl Found {
    /// A refund that is not there is answered without its status, often without its numbers too;
    /// numbers that are there must be ours.
    fn status(self, order: &str, refund: &str) -> Result<RefundStatus, Fail> {
        let is_other =
            |echo: &Option<String>, ours: &str| echo.as_deref().is_some_and(|echo| echo != ours);
        if is_other(&self.out_trade_no, order) || is_other(&self.out_request_no, refund) {
            return Err(Fail::unverifiable("the answer is about another refund"));
        }
        let status = self.refund_status.as_deref().unwrap_or_default();
        let named = self.out_trade_no.is_some() && self.out_request_no.is_some();
        let (state, amount) = match (status, self.refund_amount.as_deref()) {
            ("", None) => return Ok(RefundStatus::not_found()),
            ("REFUND_SUCCESS", Some(amount)) if named => (RefundState::Succeeded, amount),
            ("REFUND_PROCESSING", Some(amount)) if named => (RefundState::Processing, amount),
            (status, _) => {
                return Err(Fail::unverifiable(format!(
                    "refund_status {status:?} does not fit the rest of the answer"
                )));
            }
        };
        Ok(RefundStatus {
            state,
            channel_refund_id: None,
            amount: Some(money(amount).map_err(Fail::unverifiable)?),
            refunded_at: self.gmt_refund_pay.as_deref().and_then(instant),
        })
    }
}
