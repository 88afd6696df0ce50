//! AT branches on a real MySQL, with a coordinator in memory.

#![cfg(test)]

mod cancelled;
mod commits;
mod coordinator;
mod everything;
mod images;
mod locks;
#[path = "../support/mysql.rs"]
mod mysql;
mod refusals;
mod rollbacks;
mod samples;
mod together;
mod world;
