//! Rows that other global transactions hold.

use std::time::Duration;

use seata_client::at::{AtConfig, Error, Scope};
use seata_client::branch::CoordinatorError;
use sqlx::Row as _;

use crate::coordinator::unanswered;
use crate::world::{ACCOUNT, World, config};

const PAY: &str = "UPDATE account SET money = money + ? WHERE id = ?";
const MONEY: &str = "SELECT CAST(money AS SIGNED) FROM account WHERE id = 1";

fn impatient() -> AtConfig {
    AtConfig {
        lock_deadline: Duration::from_millis(100),
        ..config()
    }
}

/// Waits until somebody has met a lock.
async fn until_conflict(world: &World) {
    while world.at.metrics().lock_conflicts == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_statement_waits_for_a_row_and_lets_its_holder_roll_back() {
    let world = World::new(ACCOUNT).await;
    let (first, second) = (world.begin(), world.begin());
    world
        .at
        .execute(&first, PAY, &[1.into(), 1.into()])
        .await
        .unwrap();
    let args = [10.into(), 1.into()];
    let waiting = world.at.execute(&second, PAY, &args);
    let rolling_back = async {
        until_conflict(&world).await;
        world.roll_back(&first).await;
    };
    let (done, ()) = tokio::join!(waiting, rolling_back);
    assert_eq!(done.unwrap().rows_affected, 1);
    assert_eq!(world.number(MONEY).await, 110);
    world.roll_back(&second).await;
    assert_eq!(world.number(MONEY).await, 100);
}

#[tokio::test]
async fn a_transaction_waits_for_a_row_until_its_holder_commits() {
    let world = World::new(ACCOUNT).await;
    let (first, second) = (world.begin(), world.begin());
    world
        .at
        .execute(&first, PAY, &[1.into(), 1.into()])
        .await
        .unwrap();
    let mut local = world.at.begin(&second).await.unwrap();
    local.execute(PAY, &[10.into(), 1.into()]).await.unwrap();
    let committing = async {
        until_conflict(&world).await;
        world.commit(&first).await;
    };
    let (done, ()) = tokio::join!(local.commit(), committing);
    done.unwrap();
    world.roll_back(&second).await;
    assert_eq!(world.number(MONEY).await, 101);
}

#[tokio::test]
async fn a_lock_that_stays_is_told_with_its_holder() {
    let world = World::with(ACCOUNT, impatient(), "+00:00").await;
    let (first, second) = (world.begin(), world.begin());
    world
        .at
        .execute(&first, PAY, &[1.into(), 1.into()])
        .await
        .unwrap();
    let mut local = world.at.begin(&second).await.unwrap();
    local.execute(PAY, &[10.into(), 1.into()]).await.unwrap();
    let explicit = local.commit().await.unwrap_err();
    let autocommit = world
        .at
        .execute(&second, PAY, &[1.into(), 1.into()])
        .await
        .unwrap_err();
    for error in [explicit, autocommit] {
        let Error::LockConflict {
            holder,
            waited,
            fail_fast,
            ..
        } = error
        else {
            panic!("{error:?}");
        };
        assert_eq!(holder.as_ref(), Some(&first));
        assert!(waited >= Duration::from_millis(100) && !fail_fast);
    }
    assert_eq!(world.number(MONEY).await, 101);
}

#[tokio::test]
async fn a_transaction_gives_way_at_once_to_a_holder_that_rolls_back() {
    let world = World::new(ACCOUNT).await;
    let (first, second) = (world.begin(), world.begin());
    world
        .at
        .execute(&first, PAY, &[1.into(), 1.into()])
        .await
        .unwrap();
    world.tc.set_rolling_back(&first);
    let mut local = world.at.begin(&second).await.unwrap();
    local.execute(PAY, &[10.into(), 1.into()]).await.unwrap();
    let error = local.commit().await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::LockConflict {
                fail_fast: true,
                ..
            }
        ),
        "{error:?}"
    );
    world.roll_back(&first).await;
    assert_eq!(world.number(MONEY).await, 100);
}

#[tokio::test]
async fn a_refused_registration_leaves_nothing() {
    let world = World::new(ACCOUNT).await;
    let xid = world.begin();
    world.tc.refuse(unanswered());
    let error = world
        .at
        .execute(&xid, PAY, &[1.into(), 1.into()])
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Coordinator(_)), "{error:?}");
    world.commit(&xid).await;
    let error = world
        .at
        .execute(&xid, PAY, &[1.into(), 1.into()])
        .await
        .unwrap_err();
    let over = matches!(
        error,
        Error::Coordinator(CoordinatorError::TransactionOver { .. })
    );
    assert!(over, "{error:?}");
    assert_eq!(world.number(MONEY).await, 100);
    assert_eq!(world.undo_rows().await, 0);
}

#[tokio::test]
async fn a_locking_read_gives_nothing_that_may_be_rolled_back() {
    let world = World::with(ACCOUNT, impatient(), "+00:00").await;
    let (first, second) = (world.begin(), world.begin());
    world
        .at
        .execute(&first, PAY, &[1.into(), 1.into()])
        .await
        .unwrap();
    let read =
        "SELECT money AS m, note FROM account a WHERE a.id IN (?, 2) ORDER BY a.id FOR UPDATE";
    for scope in [Scope::from(&second), Scope::GlobalLock] {
        let error = world
            .at
            .fetch(scope.clone(), read, &[1.into()])
            .await
            .unwrap_err();
        assert!(matches!(error, Error::LockConflict { .. }), "{error:?}");
        let mut local = world.at.begin(scope.clone()).await.unwrap();
        let error = local.fetch(read, &[1.into()]).await.unwrap_err();
        assert!(matches!(error, Error::LockConflict { .. }), "{error:?}");
        local.rollback().await.unwrap();
        let rows = world
            .at
            .fetch(scope, "SELECT money FROM account WHERE id = 1", &[])
            .await;
        assert_eq!(rows.unwrap()[0].get::<i32, _>(0), 101);
    }
    world.roll_back(&first).await;
    for scope in [Scope::from(&second), Scope::GlobalLock] {
        let rows = world.at.fetch(scope, read, &[1.into()]).await.unwrap();
        let money: Vec<i32> = rows.iter().map(|row| row.get("m")).collect();
        assert_eq!(money, [100, 100]);
    }
}

#[tokio::test]
async fn a_read_waits_for_the_row() {
    let world = World::new(ACCOUNT).await;
    let (first, second) = (world.begin(), world.begin());
    world
        .at
        .execute(&first, PAY, &[1.into(), 1.into()])
        .await
        .unwrap();
    let read = world.at.fetch(
        &second,
        "SELECT * FROM account WHERE id = 1 FOR UPDATE",
        &[],
    );
    let rolling_back = async {
        until_conflict(&world).await;
        world.roll_back(&first).await;
    };
    let (rows, ()) = tokio::join!(read, rolling_back);
    assert_eq!(rows.unwrap()[0].get::<i32, _>("money"), 100);
}

#[tokio::test]
async fn a_write_under_the_global_lock_respects_it_and_leaves_no_branch() {
    let world = World::with(ACCOUNT, impatient(), "+00:00").await;
    let first = world.begin();
    world
        .at
        .execute(&first, PAY, &[1.into(), 1.into()])
        .await
        .unwrap();
    let error = world
        .at
        .execute(Scope::GlobalLock, PAY, &[5.into(), 1.into()])
        .await
        .unwrap_err();
    assert!(matches!(error, Error::LockConflict { .. }), "{error:?}");
    let mut local = world.at.begin(Scope::GlobalLock).await.unwrap();
    local.execute(PAY, &[5.into(), 1.into()]).await.unwrap();
    local.commit().await.unwrap_err();
    assert_eq!(world.number(MONEY).await, 101);
    world.commit(&first).await;
    world
        .at
        .execute(Scope::GlobalLock, PAY, &[5.into(), 1.into()])
        .await
        .unwrap();
    assert_eq!(world.number(MONEY).await, 106);
    world.until("SELECT COUNT(*) FROM undo_log", 0).await;
}

#[tokio::test]
async fn no_money_is_lost_when_many_transfer_at_once() {
    // They wait for each other in a circle, which only the deadline ends.
    let world = World::with(ACCOUNT, impatient(), "+00:00").await;
    let transfer = |n: i32| {
        let world = &world;
        async move {
            let xid = world.begin();
            let (from, to) = (1 + n % 3, 1 + (n + 1) % 3);
            let paid = world
                .at
                .execute(&xid, PAY, &[(-n).into(), from.into()])
                .await;
            let got = world.at.execute(&xid, PAY, &[n.into(), to.into()]).await;
            if paid.is_ok() && got.is_ok() && n % 3 != 0 {
                world.commit(&xid).await;
                return;
            }
            world.roll_back(&xid).await;
        }
    };
    for round in 0..5 {
        let all = (0..6).map(|n| transfer(round * 6 + n));
        futures::future::join_all(all).await;
    }
    assert_eq!(
        world
            .number("SELECT CAST(SUM(money) AS SIGNED) FROM account")
            .await,
        300
    );
    world.until("SELECT COUNT(*) FROM undo_log", 0).await;
}
