//! What several tests of the operator play a cluster with: the controllers and kubelets, a
//! recorder of all that happens, scenarios, and the operator as a task or as a program.
//!
//! The API server itself is in `cluster`, which the kubectl plugin's tests share too.

#![allow(dead_code, reason = "each test binary uses its own part")]

#[path = "../cluster/mod.rs"]
pub mod cluster;
pub mod faults;
pub mod kubelet;
pub mod operator;
pub mod optional;
pub mod process;
pub mod run;
pub mod scenario;
pub mod stale;
pub mod state;
pub mod world;
