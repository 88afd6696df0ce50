//! The connection to the coordinators.
//!
//! Guarantees:
//! - one channel per coordinator serves all requests, pipelined; it is kept alive, dropped when
//!   silent, and replaced by itself, with every name looked up afresh;
//! - a request ends in an answer, a refusal, [`CoordinatorError::NoChannel`] (surely not sent, at
//!   once when no channel is live) or [`CoordinatorError::Unanswered`] (may have been sent), within
//!   its time;
//! - every queue has a bound, and what exceeds it is refused;
//! - resources are registered on every channel there is and on every one that comes;
//! - stopping writes what was queued.
//!
//! Deliberately not here: discovery through registries, and what a transaction's end means
//! ([`crate::tm`]).

mod backoff;
mod client;
mod dispatch;
mod handshake;
pub(crate) mod hub;
mod link;
mod pending;
mod refusal;
mod supervisor;
mod transport;

#[cfg(test)]
#[cfg(feature = "tls")]
mod secured;
#[cfg(test)]
mod tests;

pub use client::Client;

#[cfg(doc)]
use crate::branch::CoordinatorError;
