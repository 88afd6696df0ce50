//! Random statements of every form on a table with every type, rolled back: the table must be
//! byte for byte as before.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use seata_client::at::AtConfig;

use crate::statements::{branch, fill, schema};
use crate::world::{World, config};

async fn round(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let config = AtConfig {
        only_changed_columns: !seed.is_multiple_of(3),
        zone: jiff_zone(seed),
        ..config()
    };
    let zone = ["+00:00", "+05:30", "-08:00"][usize::try_from(seed % 3).unwrap()];
    let world = World::with(&schema(), config, zone).await;
    for _ in 0..6 {
        fill(&world.plain, &mut random).await;
        let before = world.contents("everything").await;
        let xid = world.begin();
        let mut done = Vec::new();
        for _ in 0..random.random_range(1..4) {
            let local = world.at.begin(&xid).await.unwrap();
            branch(local, &mut random, &mut done).await;
        }
        let answers = world.tc.roll_back(&xid, &*world.at.resource()).await;
        let undone = answers
            .iter()
            .all(|a| *a == seata_client::branch::PhaseTwo::Done);
        let story = done.join("\n");
        let mut reasons = Vec::new();
        for branch in world.tc.branches(&xid).iter().rev().filter(|_| !undone) {
            reasons.push(world.at.resource().undo(branch).await);
        }
        assert!(undone, "seed {seed}: {answers:?}\n{story}\n{reasons:#?}");
        let after = world.contents("everything").await;
        let changed: Vec<_> = after.iter().filter(|row| !before.contains(row)).collect();
        let missing: Vec<_> = before.iter().filter(|row| !after.contains(row)).collect();
        assert!(
            after == before,
            "seed {seed}:\n{story}\n{changed:#?}\n{missing:#?}"
        );
        assert_eq!(world.undo_rows().await, 0);
    }
    world.at.shutdown().await;
    world.plain.close().await;
}

fn jiff_zone(seed: u64) -> jiff::tz::TimeZone {
    let hours = i8::try_from(seed % 20).unwrap() - 8;
    jiff::tz::TimeZone::fixed(jiff::tz::offset(hours))
}

/// `AT_SEEDS` says how many; each is a database and six global transactions.
#[tokio::test]
async fn random_statements_on_every_type_are_undone() {
    let seeds = std::env::var("AT_SEEDS").map_or(12, |text| text.parse().unwrap());
    let first = std::env::var("AT_FIRST_SEED").map_or(0, |text| text.parse().unwrap());
    for seed in first..first + seeds {
        round(seed).await;
    }
}
