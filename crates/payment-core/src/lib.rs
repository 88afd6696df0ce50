//! Payment decisions: money, states, evidence, reconciliation.
//!
//! Guarantees: pure functions over values; the clock, randomness and ids come in as arguments;
//! every (state, evidence) pair has one decided answer, and no lower state ever overwrites a
//! terminal one.
//!
//! Deliberately not here: any waiting, any I/O, any field name of a channel, any SQL.

pub mod channel;
pub mod confirmation;
pub mod evidence;
pub mod guards;
pub mod ladder;
pub mod ledger;
pub mod money;
pub mod reconciliation;
pub mod refund;
pub mod state;

pub use channel::{ChannelKind, PayMethod};
pub use evidence::{Decision, Evidence, Observation, Rejection, Source, decide, may_try_again};
pub use guards::Guard;
pub use ledger::{Account, Cause};
pub use money::{Currency, Money, MoneyError};
pub use refund::{RefundEvidence, RefundObservation, RefundState, decide_refund};
pub use state::PaymentState;
