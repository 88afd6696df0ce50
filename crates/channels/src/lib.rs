//! WeChat Pay (API v3) and Alipay (gateway v1), seen from the merchant's side.
//!
//! Guarantees:
//! - every call ends in an [`Outcome`]: *done* and *refused* rest on an answer whose signature was
//!   verified over the raw bytes, or on the certainty that nothing was sent; everything else is
//!   *unknown* and has to be asked for by our own number;
//! - orders and refunds are named by our own numbers alone, so that repeating one is always safe;
//! - a callback becomes a [`Notice`] only after its signature, its age and its merchant were
//!   checked;
//! - a bill is read as a stream in little memory, and accepted whole, with its hash and its totals,
//!   or not at all;
//! - amounts are integers, the algorithms are pinned, and keys appear in no `Debug` output.
//!
//! Where to look: `channel` is the face of both channels and reloads their keys; `order`, `refund`,
//! `notice`, `bill` and `outcome` are the words both share; `wechat` and `alipay` hold all that is
//! peculiar to one; `http`, `limit`, `crypto`, `certificate` and `credentials` serve both.
//!
//! Deliberately not here: what an outcome does to a payment (`payment-core`), when to ask again
//! (the runtime), SQL, and any listening: a receiver hands headers and raw bytes in. The clock
//! comes in as an argument.

mod alipay;
#[cfg(any(test, feature = "testing"))]
pub mod bad_bills;
mod bill;
mod certificate;
mod channel;
mod credentials;
mod crypto;
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod limit;
mod notice;
mod order;
mod outcome;
mod refund;
#[cfg(test)]
mod testing;
mod wechat;

pub use alipay::Alipay;
pub use bill::{
    Bill, BillError, BillFile, BillRefundStatus, BillRow, BillRowKind, BillTotals, FundBill,
    FundDirection, FundRow, ReadError,
};
pub use channel::{Channel, Channels, Reload, acknowledgement, failure};
pub use credentials::LoadError;
pub use notice::{CallbackError, Notice};
pub use order::{Action, Cancelled, Closed, Created, NewOrder, OrderState, OrderStatus, Payer};
pub use outcome::{Outcome, Refusal, Uncertainty, UncertaintyReason};
pub use refund::{NewRefund, RefundNotice, RefundState, RefundStatus};
pub use wechat::{CertificateError, CertificateRefresh, Wechat};
