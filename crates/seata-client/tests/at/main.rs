//! AT branches on a real MySQL, with a coordinator in memory.

#![cfg(test)]

mod cancelled;
mod commits;
mod coordinator;
mod everything;
mod images;
mod locks;
mod refusals;
mod rollbacks;
mod samples;
mod statements;
#[path = "../support/mod.rs"]
mod support;
mod together;
mod world;
