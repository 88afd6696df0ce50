//! The payment runtime: takes payments, receives callbacks, finds out what is unknown, reconciles.
//!
//! One program, one role per pod. Decisions are `payment-core`'s, channel rules are `channels`';
//! here they meet the database, the cache, the clock and HTTP.
//!
//! Guarantees: the intent to call a channel is durable before the call; no network call happens
//! inside a database transaction; only [`store`] speaks SQL; only [`api`], [`callback`] and
//! [`orders`] know HTTP status codes.

pub mod api;
mod authority;
pub mod batch;
pub mod cache;
pub mod callback;
pub mod certificate;
pub mod clock;
pub mod confirming;
mod csv;
mod files;
mod hash;
pub mod http;
mod inbox;
mod late;
pub mod ledger;
pub mod management;
pub mod orders;
pub mod outside;
pub mod payments;
pub mod ports;
pub mod prove;
pub mod reconcile;
pub mod records;
pub mod refunds;
pub mod roles;
pub mod rotate;
mod silence;
pub mod store;
pub mod telemetry;
mod tls;
pub mod worker;
