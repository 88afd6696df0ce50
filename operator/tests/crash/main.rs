//! The operator dies, or is refused, at any of its requests, and the system ends as if nothing
//! had happened.
//!
//! Without more, a sample of all points runs. `CRASH=all` runs every one, `POINT=create:17:after`
//! one of them; of two (`create:17:after,3:before`) the second spoils the next operator's request.
//! `POINT=image:late:jobs` holds back the watch of a kind, `SCENARIO=create` runs one scenario,
//! `LANES=16` so many runs at once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    reason = "helpers of tests"
)]

mod plan;
mod safety;
#[path = "../support/mod.rs"]
mod support;
mod trial;
mod verdict;

use kube::Client;
use support::{cluster::Cluster, faults, operator, run, scenario, stale, state, world};
use world::World;

/// One API server for all runs; the operator has a client of its own there.
async fn start() -> (Cluster, World, Client) {
    let cluster = Cluster::start().await;
    let mut configuration = cluster.operator_configuration();
    // The client's own retry comes above the faults.
    configuration.default_retry = false;
    let operators = Client::try_from(configuration).unwrap();
    scenario::growing_volumes(&cluster.client).await;
    let world = World::record(cluster.client.clone()).await;
    (cluster, world, operators)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_request_is_repaired() {
    let (_cluster, world, operators) = start().await;
    let breaches = plan::run(&world, &operators).await;
    assert!(breaches == 0, "{breaches} points are not safe");
}
