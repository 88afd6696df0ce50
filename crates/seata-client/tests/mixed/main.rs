//! Rust and Java in the same global transactions on the same database, with a real coordinator.

#![cfg(test)]

#[path = "../peers/golden/cases.rs"]
#[allow(dead_code, reason = "another test tells of them")]
mod cases;
mod locks;
#[path = "../support/mod.rs"]
mod support;
mod undo;
mod world;
