//! WeChat Pay (API v3) and Alipay (gateway v1), seen from the merchant's side.
//!
//! Guarantees:
//! - every call ends in an [`Outcome`]: *done* and *refused* rest on an answer whose signature was
//!   verified over the raw bytes, or on the certainty that nothing was sent; everything else is
//!   *unknown* and has to be asked for by our own number;
//! - a callback becomes a [`Notice`] only after its signature, its age and its merchant were
//!   checked;
//! - a bill is accepted whole, with its hash and its totals, or not at all;
//! - amounts are integers, the algorithms are pinned, and keys appear in no `Debug` output.
//!
//! Deliberately not here: what an outcome does to a payment (`payment-core`), when to ask again
//! (the runtime), SQL, and any listening: a receiver hands headers and raw bytes in. The clock
//! comes in as an argument.

mod alipay;
mod bill;
mod channel;
mod credentials;
mod crypto;
mod http;
mod order;
mod outcome;
#[cfg(test)]
mod testing;
mod wechat;

pub use alipay::Alipay;
pub use bill::{Bill, BillRow, BillRowKind};
pub use channel::{Channel, Channels, Reload, acknowledgement, failure};
pub use credentials::LoadError;
pub use order::{
    CallbackError, Closed, Created, NewOrder, Notice, OrderState, OrderStatus, RefundNotice,
    RefundState,
};
pub use outcome::{Outcome, Refusal, Uncertainty, UncertaintyReason};
pub use wechat::Wechat;
