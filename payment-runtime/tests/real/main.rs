//! The runtime against real servers, in one program so that they start once.

#![cfg(test)]

mod paying;
mod reconciling;
mod support;
