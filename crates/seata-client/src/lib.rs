//! Apache Seata for Rust.
//!
//! The seam between the two halves of this crate is in [`branch`]: the connection to the
//! transaction coordinator (TC) implements [`branch::Coordinator`] and drives every
//! [`branch::Resource`]; a resource manager (AT, TCC) is a `Resource` and uses a `Coordinator`.

pub mod at;
pub mod branch;
