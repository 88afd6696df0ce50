//! Seata's Java client with real coordinators and a real MySQL, in one program: the ground on which
//! the Rust client is compared with it.

#![cfg(test)]

mod golden;
mod java;
#[path = "../support/mod.rs"]
mod support;
