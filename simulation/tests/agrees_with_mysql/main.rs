//! The simulation's database against the real one: the same operations, in the same random order,
//! must give the same results, so that what the simulation proves holds for MySQL too.
//!
//! Numbers that a database gives out by itself (ids) may differ; everything else may not, the
//! order of lists included.

#![cfg(test)]

mod looking;
mod operations;
mod pair;
mod reconciling;
mod server;

use operations::operate;
use pair::Pair;
use simulation::chance::Chance;

const SEQUENCES: u64 = 24;
const OPERATIONS: u64 = 250;

#[tokio::test]
async fn every_operation_ends_the_same_in_both() {
    for seed in 1..=SEQUENCES {
        let store = server::store(&format!("agrees_{seed}")).await;
        let mut pair = Pair::new(store, Chance::new(seed));
        for step in 0..OPERATIONS {
            let (what, model, real) = operate(&mut pair).await;
            assert_eq!(model, real, "seed {seed}, step {step}: {what}");
        }
        let (model, real) = pair.everything().await;
        assert_eq!(model, real, "seed {seed}: the tables at the end");
        pair.close().await;
    }
}
