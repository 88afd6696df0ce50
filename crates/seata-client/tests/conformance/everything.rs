//! Random statements of every form on a table with every type, undone by order of a real
//! coordinator. `tests/at` does many more with a coordinator in memory.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use seata_client::codec::GlobalStatus;

use crate::statements::{branch, fill, schema};
use crate::support::bank::{Bank, SOON, Service};
use crate::support::database::contents;
use crate::support::tc::Version;
use crate::{coordinator, mysql};

const ROUNDS: usize = 8;

/// Coordinator 2.0.0 rolls several branches of one transaction back in the wrong order.
fn branches(version: Version, random: &mut StdRng) -> usize {
    match version {
        Version::V1_8 => random.random_range(1..4),
        Version::V2_0 => 1,
    }
}

async fn rounds(version: Version, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mysql = mysql().await;
    let bank = Bank::new(mysql).await;
    mysql.run(&bank.database, &schema()).await;
    let service = Service::start(&coordinator(version).await.address(), &bank).await;
    for round in 0..ROUNDS {
        fill(&bank.plain, &mut random).await;
        let before = contents(&bank.plain, "everything").await;
        let xid = service.client.begin("everything", SOON).await.unwrap();
        let mut done = Vec::new();
        for _ in 0..branches(version, &mut random) {
            let local = service.at.begin(&xid).await.unwrap();
            branch(local, &mut random, &mut done).await;
        }
        let ended = service.client.rollback(&xid).await;
        let story = format!("seed {seed}, round {round}:\n{}", done.join("\n"));
        assert_eq!(ended, Ok(GlobalStatus::Rollbacked), "{story}");
        let after = contents(&bank.plain, "everything").await;
        assert!(after == before, "{story}\n{before:#?}\n{after:#?}");
    }
    service.settled().await;
}

#[tokio::test]
async fn random_statements_on_every_type_are_undone_by_order_of_coordinator_1_8_0() {
    rounds(Version::V1_8, 1).await;
}

#[tokio::test]
async fn random_statements_on_every_type_are_undone_by_order_of_coordinator_2_0_0() {
    rounds(Version::V2_0, 2).await;
}
