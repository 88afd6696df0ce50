//! The second phase of committed branches, and local work.

use std::time::Duration;

use seata_client::at::{AtConfig, Scope};
use seata_client::branch::{PhaseTwo, Resource as _};

use crate::coordinator::Forgetful;
use crate::world::{ACCOUNT, World, config, execute};

const PAY: &str = "UPDATE account SET money = money + ? WHERE id = ?";

#[tokio::test]
async fn undo_rows_of_committed_branches_are_deleted() {
    let world = World::new(ACCOUNT).await;
    for _ in 0..20 {
        let xid = world.begin();
        world
            .at
            .execute(&xid, PAY, &[1.into(), 1.into()])
            .await
            .unwrap();
        world.commit(&xid).await;
    }
    world.until("SELECT COUNT(*) FROM undo_log", 0).await;
    while world.at.metrics().deletes_waiting > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(world.at.metrics().deletes, 20);
}

#[tokio::test]
async fn waiting_deletions_are_done_at_shutdown() {
    let config = AtConfig {
        delete_every: Duration::from_hours(1),
        ..config()
    };
    let world = World::with(ACCOUNT, config, "+00:00").await;
    let mut branches = Vec::new();
    for _ in 0..20 {
        let xid = world.begin();
        world
            .at
            .execute(&xid, PAY, &[1.into(), 1.into()])
            .await
            .unwrap();
        branches.extend(world.tc.branches(&xid));
        world.commit(&xid).await;
    }
    assert_eq!(world.undo_rows().await, 20);
    world.at.shutdown().await;
    assert_eq!(world.undo_rows().await, 0);
    assert_eq!(
        world.at.resource().commit(&branches[0]).await,
        PhaseTwo::Retry
    );
}

#[tokio::test]
async fn failed_deletions_are_tried_again_and_a_full_queue_asks_for_patience() {
    let config = AtConfig {
        delete_queue: 2,
        delete_batch: 1,
        ..config()
    };
    let world = World::with(ACCOUNT, config, "+00:00").await;
    let mut branches = Vec::new();
    for _ in 0..10 {
        let xid = world.begin();
        world
            .at
            .execute(&xid, PAY, &[1.into(), 1.into()])
            .await
            .unwrap();
        branches.extend(world.tc.branches(&xid));
        world.tc.commit(&xid, &Forgetful).await;
    }
    execute(&world.plain, "RENAME TABLE undo_log TO away").await;
    let resource = world.at.resource();
    let mut full = false;
    for branch in &branches {
        full |= resource.commit(branch).await == PhaseTwo::Retry;
    }
    assert!(full);
    while world.at.metrics().delete_errors == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    execute(&world.plain, "RENAME TABLE away TO undo_log").await;
    for branch in &branches {
        while resource.commit(branch).await == PhaseTwo::Retry {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    world.until("SELECT COUNT(*) FROM undo_log", 0).await;
}

#[tokio::test]
async fn without_a_global_transaction_everything_passes() {
    let world = World::new(ACCOUNT).await;
    for sql in [
        "CREATE TABLE loose (a INT)",
        "INSERT INTO loose SELECT money FROM account",
        "REPLACE INTO account (id, money) VALUES (1, 7)",
        "UPDATE account SET id = 9 WHERE id = 2",
    ] {
        world.at.execute(Scope::Local, sql, &[]).await.unwrap();
    }
    let mut local = world.at.begin(Scope::Local).await.unwrap();
    local.execute("UPDATE loose SET a = 1", &[]).await.unwrap();
    local.commit().await.unwrap();
    let mut local = world.at.begin(None).await.unwrap();
    local.execute("DELETE FROM loose", &[]).await.unwrap();
    drop(local);
    assert_eq!(
        world
            .number("SELECT CAST(SUM(a) AS SIGNED) FROM loose")
            .await,
        3
    );
    assert_eq!(world.undo_rows().await, 0);
    assert_eq!(world.at.metrics().branches, 0);
}

#[tokio::test]
async fn what_changes_nothing_is_no_branch() {
    let world = World::new(ACCOUNT).await;
    let xid = world.begin();
    let mut local = world.at.begin(&xid).await.unwrap();
    local.fetch("SELECT * FROM account", &[]).await.unwrap();
    local.execute(PAY, &[1.into(), 77.into()]).await.unwrap();
    local
        .execute("DELETE FROM account WHERE id = 77", &[])
        .await
        .unwrap();
    let ignored = "INSERT IGNORE INTO account (id, money) VALUES (1, 1)";
    assert_eq!(local.execute(ignored, &[]).await.unwrap().rows_affected, 0);
    local.commit().await.unwrap();
    assert_eq!(world.tc.branches(&xid).len(), 0);
    assert_eq!(world.at.metrics().branches, 0);
}
