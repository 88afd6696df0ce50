//! Undoing branches.

use seata_client::at::{Error, RollbackError, Undone};
use seata_client::branch::{Branch, BranchType, PhaseTwo, Resource as _, Xid};

use crate::coordinator::Forgetful;
use crate::world::{ACCOUNT, World, execute};

const PAY: &str = "UPDATE account SET money = money + ? WHERE id = ?";

fn branch(world: &World, xid: &Xid, branch_id: i64) -> Branch {
    Branch {
        xid: xid.clone(),
        branch_id,
        branch_type: BranchType::At,
        resource_id: world.at.resource().resource_id().to_owned(),
        application_data: String::new(),
    }
}

#[tokio::test]
async fn two_updates_of_one_row_in_two_branches_are_undone_in_reverse() {
    let world = World::new(ACCOUNT).await;
    let before = world.contents("account").await;
    let xid = world.begin();
    for amount in [1, 2] {
        let done = world
            .at
            .execute(&xid, PAY, &[amount.into(), 1.into()])
            .await
            .unwrap();
        assert_eq!(done.rows_affected, 1);
    }
    assert_eq!(
        world
            .number("SELECT money FROM account WHERE id = 1")
            .await
            .wrapping_sub(103),
        0
    );
    assert_eq!(world.undo_rows().await, 2);
    assert_eq!(world.tc.lock_keys(&xid), ["account:1", "account:1"]);
    world.roll_back(&xid).await;
    assert_eq!(world.contents("account").await, before);
    assert_eq!(world.undo_rows().await, 0);
}

#[tokio::test]
async fn a_local_transaction_of_several_statements_is_one_branch() {
    let world = World::new(ACCOUNT).await;
    let before = world.contents("account").await;
    let xid = world.begin();
    let mut local = world.at.begin(&xid).await.unwrap();
    local.execute(PAY, &[(-5).into(), 1.into()]).await.unwrap();
    local.execute(PAY, &[5.into(), 2.into()]).await.unwrap();
    local
        .execute("DELETE FROM account WHERE id = 3", &[])
        .await
        .unwrap();
    let insert = "INSERT INTO account (id, money, note) VALUES (?, 7, ?), (5, 8, DEFAULT)";
    local
        .execute(insert, &[4.into(), "four".into()])
        .await
        .unwrap();
    local
        .execute("UPDATE account SET note = 'x' WHERE id = 4", &[])
        .await
        .unwrap();
    local.commit().await.unwrap();
    assert_eq!(world.tc.lock_keys(&xid), ["account:1,2,3,4,5"]);
    assert_eq!(world.undo_rows().await, 1);
    world.roll_back(&xid).await;
    assert_eq!(world.contents("account").await, before);
}

#[tokio::test]
async fn what_others_wrote_is_not_overwritten() {
    let world = World::new(ACCOUNT).await;
    let xid = world.begin();
    world
        .at
        .execute(&xid, PAY, &[1.into(), 1.into()])
        .await
        .unwrap();
    execute(&world.plain, "UPDATE account SET money = 500 WHERE id = 1").await;
    let answers = world.tc.roll_back(&xid, &*world.at.resource()).await;
    assert_eq!(answers, [PhaseTwo::Never]);
    let branch = world.tc.branches(&xid).remove(0);
    let Err(RollbackError::Dirty(dirty)) = world.at.resource().undo(&branch).await else {
        panic!("it was undone");
    };
    assert_eq!(dirty.key, [("id".to_owned(), "1".to_owned())]);
    let [difference] = dirty.differences.as_slice() else {
        panic!("{dirty}");
    };
    assert_eq!(difference.column, "money");
    assert_eq!(
        (difference.expected.as_str(), difference.found.as_str()),
        ("101", "500")
    );
    assert!(!dirty.to_string().contains("\"one\""), "{dirty}");
    assert_eq!(
        world
            .number("SELECT CAST(money AS SIGNED) FROM account WHERE id = 1")
            .await,
        500
    );
    assert_eq!(world.at.metrics().dirty, 1);
    // A person decides for what the branch left; then it can be undone.
    execute(&world.plain, "UPDATE account SET money = 101 WHERE id = 1").await;
    world.roll_back(&xid).await;
    assert_eq!(
        world
            .number("SELECT CAST(money AS SIGNED) FROM account WHERE id = 1")
            .await,
        100
    );
}

/// Locks are of primary keys, so another row can take a unique key that a branch gave up.
#[tokio::test]
async fn a_row_whose_unique_key_others_took_waits_for_a_person() {
    for give_up in [
        "DELETE FROM account WHERE id = 1",
        "UPDATE account SET note = 'other' WHERE id = 1",
    ] {
        let world = World::new(ACCOUNT).await;
        let xid = world.begin();
        world.at.execute(&xid, give_up, &[]).await.unwrap();
        execute(&world.plain, "UPDATE account SET note = 'one' WHERE id = 3").await;
        let left = world.contents("account").await;
        let answers = world.tc.roll_back(&xid, &*world.at.resource()).await;
        assert_eq!(answers, [PhaseTwo::Never], "{give_up}");
        assert_eq!(world.contents("account").await, left);
        let branch = world.tc.branches(&xid).remove(0);
        let Err(RollbackError::Dirty(dirty)) = world.at.resource().undo(&branch).await else {
            panic!("it was undone");
        };
        assert_eq!(dirty.key, [("id".to_owned(), "1".to_owned())]);
        let told = dirty.to_string();
        assert!(told.contains("others took its unique key"), "{told}");
        assert!(told.contains("note"), "{told}");
        // A person frees the key; then it can be undone.
        execute(&world.plain, "UPDATE account SET note = NULL WHERE id = 3").await;
        world.roll_back(&xid).await;
        let one = "SELECT COUNT(*) FROM account WHERE id = 1 AND note = 'one'";
        assert_eq!(world.number(one).await, 1);
    }
}

#[tokio::test]
async fn a_change_that_others_took_back_or_that_was_none_needs_no_undoing() {
    let world = World::new(ACCOUNT).await;
    let xid = world.begin();
    world
        .at
        .execute(&xid, PAY, &[1.into(), 1.into()])
        .await
        .unwrap();
    world
        .at
        .execute(&xid, PAY, &[0.into(), 2.into()])
        .await
        .unwrap();
    execute(&world.plain, "UPDATE account SET money = 100 WHERE id = 1").await;
    world.roll_back(&xid).await;
    assert_eq!(
        world
            .number("SELECT CAST(SUM(money) AS SIGNED) FROM account")
            .await,
        300
    );
}

#[tokio::test]
async fn rolling_back_again_changes_nothing() {
    let world = World::new(ACCOUNT).await;
    let xid = world.begin();
    world
        .at
        .execute(&xid, PAY, &[1.into(), 1.into()])
        .await
        .unwrap();
    let branch = world.tc.branches(&xid).remove(0);
    let resource = world.at.resource();
    assert_eq!(resource.undo(&branch).await.unwrap(), Undone::Rows);
    execute(&world.plain, "UPDATE account SET money = 7 WHERE id = 1").await;
    assert_eq!(resource.undo(&branch).await.unwrap(), Undone::NotBegun);
    assert_eq!(resource.undo(&branch).await.unwrap(), Undone::Before);
    assert_eq!(
        world
            .number("SELECT CAST(money AS SIGNED) FROM account WHERE id = 1")
            .await,
        7
    );
}

#[tokio::test]
async fn many_at_once_roll_back_a_branch_once() {
    let world = World::new(ACCOUNT).await;
    let before = world.contents("account").await;
    let xid = world.begin();
    world
        .at
        .execute(&xid, PAY, &[1.into(), 1.into()])
        .await
        .unwrap();
    let branch = world.tc.branches(&xid).remove(0);
    let resource = world.at.resource();
    let all = (0..8).map(|_| resource.undo(&branch));
    let all = futures::future::join_all(all).await;
    let rows = all
        .iter()
        .filter(|undone| matches!(undone, Ok(Undone::Rows)))
        .count();
    assert_eq!(rows, 1, "{all:?}");
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(world.contents("account").await, before);
}

#[tokio::test]
async fn a_branch_that_was_rolled_back_before_it_began_cannot_begin() {
    let world = World::new(ACCOUNT).await;
    let before = world.contents("account").await;
    let xid = world.begin();
    let mut local = world.at.begin(&xid).await.unwrap();
    local.execute(PAY, &[1.into(), 1.into()]).await.unwrap();
    let branch = branch(&world, &xid, world.tc.next_branch());
    assert_eq!(world.at.resource().rollback(&branch).await, PhaseTwo::Done);
    let error = local.commit().await.unwrap_err();
    assert!(matches!(error, Error::AlreadyRolledBack(_)), "{error:?}");
    assert_eq!(world.tc.failed(), [branch.branch_id]);
    assert_eq!(world.contents("account").await, before);
    assert_eq!(world.undo_rows().await, 1);
    assert_eq!(world.at.metrics().markers, 1);
    execute(
        &world.plain,
        "UPDATE undo_log SET log_created = NOW(6) - INTERVAL 2 DAY",
    )
    .await;
    assert_eq!(world.at.resource().sweep().await.unwrap(), 1);
}

#[tokio::test]
async fn old_undo_rows_are_deleted_when_the_coordinator_says_so() {
    let world = World::new(ACCOUNT).await;
    for _ in 0..3 {
        let xid = world.begin();
        world
            .at
            .execute(&xid, PAY, &[1.into(), 1.into()])
            .await
            .unwrap();
        world.tc.commit(&xid, &Forgetful).await;
    }
    let old =
        "UPDATE undo_log SET log_created = NOW(6) - INTERVAL 8 DAY ORDER BY branch_id LIMIT 2";
    execute(&world.plain, old).await;
    world.at.resource().delete_undo(7).await;
    assert_eq!(world.undo_rows().await, 1);
    assert_eq!(world.at.metrics().swept, 2);
}

#[tokio::test]
async fn a_row_whose_equal_but_not_same_key_another_took_is_dirty() {
    let schema = "CREATE TABLE word (id VARCHAR(10) PRIMARY KEY, v INT);
                  INSERT INTO word VALUES ('a', 1)";
    let world = World::new(schema).await;
    let xid = world.begin();
    world
        .at
        .execute(&xid, "DELETE FROM word WHERE id = 'A'", &[])
        .await
        .unwrap();
    assert_eq!(world.tc.lock_keys(&xid), ["word:a"]);
    execute(&world.plain, "INSERT INTO word VALUES ('A', 2)").await;
    let answers = world.tc.roll_back(&xid, &*world.at.resource()).await;
    assert_eq!(answers, [PhaseTwo::Never]);
    execute(&world.plain, "DELETE FROM word").await;
    world.roll_back(&xid).await;
    assert_eq!(
        world
            .number("SELECT COUNT(*) FROM word WHERE BINARY id = 'a'")
            .await,
        1
    );
}
