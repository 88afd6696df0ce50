//! The whole payment system in one thread and virtual time, with every fault, from one seed.
//!
//! Real: the API, the callback receiver, the worker, reconciliation, and everything they decide.
//! Imitated, behind the runtime's own ports: the database, the cache, the channels with their
//! books, bills and payers, the network between all of them, the clock and chance.
//!
//! Guarantees: the same seed gives the same trace, bit by bit; every point at which a process
//! touches the world outside can be struck by a crash, a cancellation or a fault; what must hold
//! ([`invariants::INVARIANTS`]) is checked at every commit, every answer and at the end.
//!
//! Deliberately not here: SQL, sockets, the channels' protocols. The real ones are tested where
//! they are; one test compares this crate's database with MySQL, operation by operation.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test tool: what cannot be is best said loudly"
)]

pub mod bills;
pub mod books;
pub mod cache;
pub mod chance;
pub mod channel;
pub mod client;
pub mod database;
pub mod door;
pub mod faults;
pub mod invariants;
pub mod logs;
pub mod mutation;
pub mod points;
pub mod process;
pub mod reconciling;
pub mod records;
pub mod run;
pub mod setting;
pub mod story;
pub mod sweep;
pub mod trace;
pub mod world;
