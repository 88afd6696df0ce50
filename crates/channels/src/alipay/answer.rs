//! Alipay's answers: cut out, verified, read.
//!
//! Guarantees: the signature is checked over the node's text exactly as received; an unsigned
//! `error_response` is evidence of nothing; an answer that lacks what it must have is
//! unverifiable, never half used.
//!
//! Not here: HTTP.

use std::collections::HashMap;

use payment_core::{Currency, Money};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::instant;
use crate::crypto::VerifyingKey;
use crate::order::{Cancelled, OrderState, OrderStatus};
use crate::outcome::{Fail, Refusal, UncertaintyReason};

/// A call that did not succeed.
pub(super) enum Stop {
    Fail(Fail),
    /// A signed error answer; each method reads its code first.
    Refused(Refused),
}

impl From<Fail> for Stop {
    fn from(fail: Fail) -> Self {
        Self::Fail(fail)
    }
}

impl From<Stop> for Fail {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Fail(fail) => fail,
            Stop::Refused(refused) => refused.into(),
        }
    }
}

/// The codes that change what we do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    NotFound,
    /// Not waiting for its payer any more.
    Paid,
    Closed,
    /// The number was used with other parameters.
    NumberUsed,
    BillNotReady,
    Server,
    Busy,
    InProgress,
    Other,
}

impl Code {
    /// `sub_code` under `code`. The prefix is optional because Alipay itself varies it (`ACQ.`,
    /// `AQC.`, none).
    fn read(code: &str, sub_code: &str) -> Self {
        match code {
            "10003" => return Self::InProgress,
            "20000" => return Self::Server,
            "40005" => return Self::Busy,
            _ => {}
        }
        let name = sub_code
            .strip_prefix("ACQ.")
            .or_else(|| sub_code.strip_prefix("AQC."))
            .unwrap_or(sub_code);
        match name {
            "SYSTEM_ERROR" | "UNKNOWN_ERROR" => Self::Server,
            "TRADE_NOT_EXIST" => Self::NotFound,
            "TRADE_HAS_SUCCESS"
            | "TRADE_HAS_FINISHED"
            | "TRADE_STATUS_ERROR"
            | "REASON_TRADE_STATUS_INVALID" => Self::Paid,
            "TRADE_HAS_CLOSE" => Self::Closed,
            "CONTEXT_INCONSISTENT" | "DISCORDANT_REPEAT_REQUEST" => Self::NumberUsed,
            "NO_BILL_DATA" | "BILL_NOT_EXIST" | "isp.bill_not_exist" => Self::BillNotReady,
            "isv.app-call-limited" => Self::Busy,
            _ if name.starts_with("isp.") || name.starts_with("aop.") => Self::Server,
            _ => Self::Other,
        }
    }
}

/// A signed error answer.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) code: Code,
    pub(super) text: String,
    pub(super) message: String,
    /// Alipay asks for the same request again.
    pub(super) retry: bool,
}

impl Refused {
    /// A refusal that does not tell what became of an earlier attempt.
    pub(super) fn as_unknown(&self, reason: UncertaintyReason) -> Fail {
        Fail::unknown(reason, format!("{} {}", self.text, self.message))
    }
}

impl From<Refused> for Fail {
    fn from(refused: Refused) -> Self {
        let reason = match refused.code {
            Code::Server => UncertaintyReason::ServerError,
            Code::Busy => UncertaintyReason::Busy,
            Code::InProgress => UncertaintyReason::InProgress,
            Code::NotFound
            | Code::Paid
            | Code::Closed
            | Code::NumberUsed
            | Code::BillNotReady
            | Code::Other => {
                return Self::Refused(Refusal {
                    code: refused.text,
                    message: refused.message,
                    sent: true,
                });
            }
        };
        refused.as_unknown(reason)
    }
}

/// A verified node with code 10000.
#[derive(Debug)]
pub(super) struct Node(String);

impl Node {
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T, Fail> {
        serde_json::from_str(&self.0)
            .map_err(|error| Fail::unverifiable(format!("the answer cannot be read: {error}")))
    }
}

impl std::fmt::Debug for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fail(fail) => fail.fmt(f),
            Self::Refused(refused) => refused.fmt(f),
        }
    }
}

#[derive(Deserialize)]
struct Head {
    code: String,
    #[serde(default)]
    msg: String,
    #[serde(default)]
    sub_code: String,
    #[serde(default)]
    sub_msg: String,
    #[serde(default)]
    retry_flag: String,
}

/// Finds the method's node, verifies it and reads its code.
/// `keys` finds the trusted keys by the certificate that the answer names, if it names one.
pub(super) fn open<'k>(
    keys: &dyn Fn(Option<&str>) -> Vec<&'k VerifyingKey>,
    method: &str,
    body: &[u8],
) -> Result<Node, Stop> {
    let Signed {
        node,
        signature,
        certificate,
    } = cut(method, body)?;
    let keys = keys(certificate.as_deref());
    if keys.is_empty() {
        let detail = match certificate {
            Some(sn) => format!("the answer is signed with the unknown certificate {sn:?}"),
            None => "the answer does not name its certificate".to_owned(),
        };
        return Err(Fail::unverifiable(detail).into());
    }
    let fits = |key: &&VerifyingKey| key.verifies(node.as_bytes(), &signature);
    if !keys.iter().any(fits) {
        return Err(Fail::unverifiable("the answer's signature does not fit").into());
    }
    let head: Head = Node(node.to_owned()).parse()?;
    if head.code == "10000" {
        return Ok(Node(node.to_owned()));
    }
    let (text, message) = if head.sub_code.is_empty() {
        (head.code.clone(), head.msg)
    } else {
        (head.sub_code.clone(), head.sub_msg)
    };
    Err(Stop::Refused(Refused {
        code: Code::read(&head.code, &head.sub_code),
        text,
        message,
        retry: head.retry_flag == "Y",
    }))
}

/// A node's text as it came, and what stands beside it.
struct Signed<'a> {
    node: &'a str,
    signature: String,
    certificate: Option<String>,
}

/// Takes an answer apart. A parser finds the node's ends; looking
/// for `"sign"` or counting braces would be led astray by values.
fn cut<'a>(method: &str, body: &'a [u8]) -> Result<Signed<'a>, Fail> {
    let fields: HashMap<String, &'a RawValue> = serde_json::from_slice(body)
        .map_err(|error| Fail::unverifiable(format!("the answer is not JSON: {error}")))?;
    let name = format!("{}_response", method.replace('.', "_"));
    let Some(node) = fields.get(&name) else {
        return Err(Fail::unverifiable(unsigned(&fields)));
    };
    let text = |name: &str| -> Option<String> {
        let value = fields.get(name)?;
        serde_json::from_str(value.get()).ok()
    };
    Ok(Signed {
        node: node.get(),
        signature: text("sign").ok_or_else(|| Fail::unverifiable("the answer is not signed"))?,
        certificate: text("alipay_cert_sn"),
    })
}

/// What the gateway says without signing, for people only.
fn unsigned(fields: &HashMap<String, &RawValue>) -> String {
    let head = fields
        .get("error_response")
        .and_then(|node| serde_json::from_str::<Head>(node.get()).ok());
    match head {
        Some(head) => format!("unsigned error {} {}", head.code, head.sub_code),
        None => "the answer lacks the method's node".to_owned(),
    }
}

#[derive(Deserialize)]
pub(super) struct Created {
    pub(super) out_trade_no: String,
    pub(super) qr_code: Option<String>,
    pub(super) trade_no: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct ClosedTrade {
    pub(super) out_trade_no: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct CancelledTrade {
    pub(super) out_trade_no: Option<String>,
    retry_flag: Option<String>,
    action: Option<String>,
}

impl CancelledTrade {
    pub(super) fn outcome(&self) -> Result<Cancelled, Fail> {
        match self.retry_flag.as_deref() {
            Some("N") => {}
            Some("Y") => {
                return Err(Fail::unknown(
                    UncertaintyReason::InProgress,
                    "the cancellation has to be repeated",
                ));
            }
            _ => return Err(Fail::unverifiable("the answer has no retry_flag")),
        }
        match self.action.as_deref().unwrap_or_default() {
            "close" => Ok(Cancelled::Closed),
            "refund" => Ok(Cancelled::Refunded),
            "" => Ok(Cancelled::Nothing),
            other => Err(Fail::unverifiable(format!("unknown action {other:?}"))),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Bill {
    bill_download_url: Option<String>,
    bill_file_code: Option<String>,
}

impl Bill {
    /// A day without business.
    pub(super) fn is_empty(&self) -> bool {
        self.bill_file_code.as_deref() == Some("EMPTY_DATA_WITH_BILL_FILE")
    }

    pub(super) fn url(&self) -> Result<&str, Fail> {
        self.bill_download_url
            .as_deref()
            .ok_or_else(|| Fail::unverifiable("the answer has no download URL"))
    }
}

#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "the channel's own names")]
pub(super) struct Trade {
    pub(super) out_trade_no: String,
    pub(super) trade_no: Option<String>,
    trade_status: String,
    total_amount: Option<String>,
    send_pay_date: Option<String>,
}

impl Trade {
    /// Everything it says; paid without a number or an amount is no answer.
    pub(super) fn status(self) -> Result<OrderStatus, String> {
        let state = state(&self.trade_status)?;
        let amount = self.total_amount.as_deref().map(money).transpose()?;
        let transaction_id = self.trade_no.filter(|id| !id.is_empty());
        if state == OrderState::Paid && (transaction_id.is_none() || amount.is_none()) {
            return Err("paid, but without number or amount".to_owned());
        }
        Ok(OrderStatus {
            state,
            transaction_id,
            amount,
            paid_at: self.send_pay_date.as_deref().and_then(instant),
        })
    }
}

pub(super) fn state(trade_status: &str) -> Result<OrderState, String> {
    match trade_status {
        "WAIT_BUYER_PAY" => Ok(OrderState::NotPaid),
        "TRADE_SUCCESS" | "TRADE_FINISHED" => Ok(OrderState::Paid),
        "TRADE_CLOSED" => Ok(OrderState::Closed),
        other => Err(format!("unknown trade_status {other:?}")),
    }
}

/// Yuan with at most two decimals; this product charges CNY alone.
pub(super) fn money(text: &str) -> Result<Money, String> {
    Money::parse(text, Currency::CNY).map_err(|error| format!("amount {text:?}: {error}"))
}
