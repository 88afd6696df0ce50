//! The runtime against real servers, in one program so that they start once.

#![cfg(test)]

mod authority;
mod bad_bills;
mod bad_input;
mod batching;
mod cancelled;
mod confirming;
mod correcting;
mod differences;
mod encrypted;
mod https;
mod keys;
mod late;
mod ledger;
mod notifying;
mod paying;
mod proving;
mod reconciling;
mod refunding;
mod rotating;
#[path = "../../../crates/seata-client/tests/support/mod.rs"]
mod seata;
mod support;
