//! Real servers for the tests: transaction coordinators, MySQL, and Seata's Java client; and what
//! the tests do with them.
//!
//! Each is a process of its own on a port of its own with its data in a folder of its own. It is
//! killed when its owner is dropped, and by the kernel when the test program ends in any other way;
//! what such a program leaves on disk is removed by the next one. Where the servers are says
//! `.local/servers.env`, which `e2e/cluster/test-servers.sh` writes.

#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod bank;
pub(crate) mod database;
pub(crate) mod java;
mod mariadb;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod rerun;
pub(crate) mod tc;

use std::path::PathBuf;

/// A folder that `make integration` tells of in the environment.
fn folder(variable: &str) -> PathBuf {
    match std::env::var_os(variable) {
        Some(path) => PathBuf::from(path),
        None => panic!(
            "{variable} is not set: run e2e/cluster/test-servers.sh, then `set -a; . .local/servers.env`"
        ),
    }
}
