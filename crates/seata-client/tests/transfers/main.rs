//! Transfers between a thousand accounts in two databases, by several client processes, some rolled
//! back at random, while clients and the coordinator are killed or stand still. Afterwards every
//! transfer is there in full or not at all, as its client was told, and nothing is left: no undo
//! row, no lock, no session.
//!
//! Half a minute by itself; `make transfers MINUTES=30` runs it for longer. In the environment:
//! `TRANSFERS_MINUTES`; `TRANSFERS_SEED`, for the same plans again (not the same races);
//! `TRANSFERS_TC=2.0.0`, for that coordinator in place of 1.8.0; `TRANSFERS_STORE=file`, for one
//! that keeps its sessions in files, which are not looked into; `TRANSFERS_LOGS`, for a folder in
//! which the clients and the coordinator (`SEATA_LOG=INFO`) write down what they do.

#![cfg(test)]

mod client;
mod plan;
mod run;
#[path = "../support/mod.rs"]
mod support;
mod tally;
mod town;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use run::Run;
use support::database::Mysql;
use support::tc::{Store, Tc, Version};
use town::Town;

const SHORT: Duration = Duration::from_secs(30);

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// Where everybody is to write down what they do.
fn logs() -> Option<PathBuf> {
    setting("TRANSFERS_LOGS").map(PathBuf::from)
}

fn length() -> Duration {
    setting("TRANSFERS_MINUTES").map_or(SHORT, |minutes| {
        let minutes = minutes.parse();
        Duration::from_mins(minutes.expect("TRANSFERS_MINUTES is a whole number"))
    })
}

fn version() -> Version {
    match setting("TRANSFERS_TC").as_deref() {
        None | Some("1.8.0") => Version::V1_8,
        Some("2.0.0") => Version::V2_0,
        Some(other) => panic!("TRANSFERS_TC is 1.8.0 or 2.0.0, not {other}"),
    }
}

fn store(mysql: &Mysql) -> Store<'_> {
    match setting("TRANSFERS_STORE").as_deref() {
        None | Some("db") => Store::Db(mysql),
        Some("file") => Store::File,
        Some(other) => panic!("TRANSFERS_STORE is db or file, not {other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfers_are_whole_whoever_is_killed() {
    let seed = setting("TRANSFERS_SEED").map_or_else(rand::random, |seed| {
        seed.parse().expect("TRANSFERS_SEED is a number")
    });
    let length = length();
    println!("transfers for {length:?} with TRANSFERS_SEED={seed}");
    let mysql = Mysql::start().await;
    let town = Town::new(&mysql).await;
    let mut tc = Tc::start(version(), store(&mysql)).await;
    let run = Run::new(seed, Instant::now() + length);
    run.go(&town, &mut tc).await;
    let orphans = town.settle(&tc).await;
    let books = town.books().await;
    let tally = run.tally();
    println!("ended: {tally}");
    println!("undo rows of committed branches that killed clients left to the sweeper: {orphans}");
    if let Some(folder) = logs() {
        std::fs::write(folder.join("coordinator.log"), tc.log()).unwrap();
    }
    let breaches = books.breaches(&tally);
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
    println!("{books}");
    assert!(tally.committed() > 0, "nothing was transferred");
}
