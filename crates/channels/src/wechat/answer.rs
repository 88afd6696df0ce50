//! What the bodies of WeChat Pay's answers say, once their signature was checked.
//!
//! Guarantees: an answer that lacks what it must have is unverifiable, never half used; error
//! codes of all generations (`ORDER_PAID`, `ORDERPAID`) are one code here.
//!
//! Not here: signatures, HTTP status classes.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{money, time};
use crate::http::Answer;
use crate::order::{OrderState, OrderStatus};
use crate::outcome::{Fail, Refusal, UncertaintyReason};

/// The cause code of "same number, other parameters", at the end of the `Request-ID` header.
const CHANGED_REPEAT: &str = "268498688";

/// A call that did not succeed.
pub(super) enum Stop {
    Fail(Fail),
    /// A signed error answer; each endpoint reads its code first.
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
    Paid,
    Closed,
    NumberUsed,
    NoBill,
    BillNotReady,
    /// No such refund; to a refund, no such paid order.
    NoResource,
    /// The channel failed in spite of the 4xx.
    Server,
    /// A limit, or a race between two requests for one order.
    Busy,
    InProgress,
    Other,
}

impl Code {
    fn read(text: &str) -> Self {
        match text.replace('_', "").to_ascii_uppercase().as_str() {
            "ORDERNOTEXIST" => Self::NotFound,
            "ORDERPAID" => Self::Paid,
            "ORDERCLOSED" => Self::Closed,
            "OUTTRADENOUSED" => Self::NumberUsed,
            "NOSTATEMENTEXIST" => Self::NoBill,
            "STATEMENTCREATING" => Self::BillNotReady,
            "RESOURCENOTEXISTS" => Self::NoResource,
            "SYSTEMERROR" | "BANKERROR" => Self::Server,
            "FREQUENCYLIMITED" | "FREQUENCYLIMITEXCEED" | "RATELIMITED" | "RATELIMITEXCEEDED" => {
                Self::Busy
            }
            "USERPAYING" => Self::InProgress,
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
    cause: String,
}

#[derive(Deserialize)]
struct ErrorBody {
    code: String,
    #[serde(default)]
    message: String,
}

impl Refused {
    pub(super) fn read(answer: &Answer) -> Result<Self, Fail> {
        let body: ErrorBody = parse(&answer.body)?;
        let request_id = answer.header("Request-ID").unwrap_or_default();
        let cause = request_id.rsplit('-').next().unwrap_or_default();
        Ok(Self {
            code: Code::read(&body.code),
            text: body.code,
            message: body.message,
            cause: cause.to_owned(),
        })
    }

    /// The number was used before with other parameters, whatever code that comes under.
    pub(super) fn is_changed_repeat(&self) -> bool {
        self.cause == CHANGED_REPEAT || self.message.contains("重入")
    }

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
            | Code::NoBill
            | Code::BillNotReady
            | Code::NoResource
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

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fail> {
    serde_json::from_slice(body)
        .map_err(|error| Fail::unverifiable(format!("the answer cannot be read: {error}")))
}

/// The error code an answer claims, for people only.
pub(super) fn code_text(body: &[u8]) -> String {
    serde_json::from_slice::<ErrorBody>(body)
        .map_or_else(|_| "without a code".to_owned(), |body| body.code)
}

/// The answer to a prepay call; each method has its own one field.
#[derive(Deserialize)]
pub(super) struct Prepaid {
    code_url: Option<String>,
    prepay_id: Option<String>,
    h5_url: Option<String>,
}

pub(super) fn prepaid(body: &[u8]) -> Result<Prepaid, Fail> {
    parse(body)
}

impl Prepaid {
    pub(super) fn code_url(self) -> Result<String, Fail> {
        present(self.code_url, "code_url")
    }

    pub(super) fn prepay_id(self) -> Result<String, Fail> {
        present(self.prepay_id, "prepay_id")
    }

    pub(super) fn h5_url(self) -> Result<String, Fail> {
        present(self.h5_url, "h5_url")
    }
}

fn present(value: Option<String>, name: &str) -> Result<String, Fail> {
    value
        .filter(|value| !value.is_empty())
        .ok_or_else(|| Fail::unverifiable(format!("the answer has no {name}")))
}

#[derive(Deserialize)]
pub(super) struct BillPointer {
    hash_type: String,
    pub(super) hash_value: String,
    pub(super) download_url: String,
}

pub(super) fn bill_pointer(body: &[u8]) -> Result<BillPointer, Fail> {
    let pointer: BillPointer = parse(body)?;
    if pointer.hash_type != "SHA1" {
        return Err(Fail::unverifiable("the bill's hash is not SHA1"));
    }
    Ok(pointer)
}

/// An order, as a query answers it and as a callback carries it.
#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "the channel's own names")]
pub(super) struct Transaction {
    appid: String,
    mchid: String,
    pub(super) out_trade_no: String,
    pub(super) transaction_id: Option<String>,
    trade_state: String,
    success_time: Option<String>,
    amount: Option<Amount>,
}

#[derive(Deserialize)]
struct Amount {
    total: Option<i64>,
    currency: Option<String>,
}

impl Transaction {
    pub(super) fn is_of(&self, merchant: &str, app: &str) -> bool {
        self.mchid == merchant && self.appid == app
    }

    /// Everything it says; paid without a number or an amount is no answer.
    pub(super) fn status(self) -> Result<OrderStatus, String> {
        let state = match self.trade_state.as_str() {
            "SUCCESS" => OrderState::Paid,
            "REFUND" => OrderState::Refunded,
            "NOTPAY" | "USERPAYING" | "PAYERROR" => OrderState::NotPaid,
            "CLOSED" | "REVOKED" => OrderState::Closed,
            other => return Err(format!("unknown trade_state {other:?}")),
        };
        let amount = match self.amount {
            Some(Amount {
                total: Some(total),
                currency,
            }) => Some(money(total, currency.as_deref())?),
            _ => None,
        };
        let transaction_id = self.transaction_id.filter(|id| !id.is_empty());
        let paid = matches!(state, OrderState::Paid | OrderState::Refunded);
        if paid && (transaction_id.is_none() || amount.is_none()) {
            return Err("paid, but without number or amount".to_owned());
        }
        Ok(OrderStatus {
            state,
            transaction_id,
            amount,
            paid_at: self.success_time.as_deref().and_then(time),
        })
    }
}
