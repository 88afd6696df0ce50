//! Apache Seata for Rust.
//!
//! The seam between the two halves of this crate is in [`branch`]: the connection to the
//! transaction coordinator (TC) implements [`branch::Coordinator`] and drives every
//! [`branch::Resource`]; a resource manager (AT, TCC) is a `Resource` and uses a `Coordinator`.

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
pub mod tcc;
#[cfg(test)]
mod testing;
pub mod tm;
