//! Apache Seata for Rust.
//!
//! The seam between the two halves of this crate is in [`branch`]: the connection to the
//! transaction coordinator (TC) implements [`branch::Coordinator`] and drives every
//! [`branch::Resource`]; a resource manager (AT, TCC) is a `Resource` and uses a `Coordinator`.
//!
//! Where to look: [`connection::Client`] is the way in; [`tm`] runs global transactions; `tcc`
//! has the resource manager for actions that are tried, confirmed and cancelled; `http` carries
//! transactions between services; [`config`] and [`metrics`] are what they say; [`codec`] is the
//! protocol. Servers from 1.8 on are spoken to; 2.0.0 itself rolls branches back in the wrong order.

#[cfg(feature = "mysql")]
pub mod at;
pub mod branch;
pub mod codec;
pub mod config;
pub mod connection;
#[cfg(feature = "http")]
pub mod http;
pub mod metrics;
#[cfg(feature = "mysql")]
mod registration;
#[cfg(feature = "mysql")]
pub mod tcc;
#[cfg(test)]
mod testing;
pub mod tm;

/// Compiles what the README shows.
#[cfg(all(doctest, feature = "http", feature = "mysql"))]
#[doc = include_str!("../README.md")]
struct Readme;
