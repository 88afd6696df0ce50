//! Callers who go away in the middle, at every step.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::world::{ACCOUNT, World, execute};

const PAY: &str = "UPDATE account SET money = money + ? WHERE id = ?";

/// Polls so often at most; `true`: it ended before.
async fn polls(count: usize, future: impl Future<Output = ()>) -> bool {
    let mut future = pin!(future);
    let mut left = count;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        future.as_mut().poll(context).map(|()| true)
    })
    .await
}

/// However far a branch came before its caller went away (as with a crash between its undo log and
/// its COMMIT): undone it leaves nothing, and no connection is left in an open transaction.
#[tokio::test]
async fn a_branch_can_be_left_at_every_step() {
    let world = World::new(ACCOUNT).await;
    let before = world.contents("account").await;
    let mut ended = 0;
    for count in 0..400 {
        let xid = world.begin();
        let work = async {
            let mut local = world.at.begin(&xid).await.unwrap();
            local.execute(PAY, &[1.into(), 1.into()]).await.unwrap();
            local
                .execute("DELETE FROM account WHERE id = 2", &[])
                .await
                .unwrap();
            local.commit().await.unwrap();
        };
        ended += usize::from(polls(count, work).await);
        world.roll_back(&xid).await;
        // One statement of its own on each connection of the pool: none may be lost.
        let notes = (0..8).map(|_| {
            world.at.execute(
                None,
                "UPDATE account SET money = money + 1 WHERE id = 3",
                &[],
            )
        });
        for done in futures::future::join_all(notes).await {
            done.unwrap();
        }
        let three = "SELECT CAST(money AS SIGNED) FROM account WHERE id = 3";
        assert_eq!(world.number(three).await, 108, "after {count} steps");
        execute(&world.plain, "UPDATE account SET money = 100 WHERE id = 3").await;
        assert_eq!(
            world.contents("account").await,
            before,
            "after {count} steps"
        );
        if ended == 5 {
            return;
        }
    }
    panic!("the work needs more steps");
}

/// The same for a rollback: whoever repeats it finds the branch as it was, or undone.
#[tokio::test]
async fn a_rollback_can_be_left_at_every_step() {
    let world = World::new(ACCOUNT).await;
    let before = world.contents("account").await;
    let resource = world.at.resource();
    let mut ended = 0;
    for count in 0..400 {
        let xid = world.begin();
        world
            .at
            .execute(&xid, PAY, &[1.into(), 1.into()])
            .await
            .unwrap();
        let branch = world.tc.branches(&xid).remove(0);
        let undo = async {
            resource.undo(&branch).await.unwrap();
        };
        ended += usize::from(polls(count, undo).await);
        world.roll_back(&xid).await;
        assert_eq!(
            world.contents("account").await,
            before,
            "after {count} steps"
        );
        if ended == 5 {
            return;
        }
    }
    panic!("the work needs more steps");
}

#[tokio::test]
async fn a_transaction_that_is_forgotten_is_rolled_back() {
    let world = World::new(ACCOUNT).await;
    let xid = world.begin();
    let mut local = world.at.begin(&xid).await.unwrap();
    local.execute(PAY, &[1.into(), 1.into()]).await.unwrap();
    drop(local);
    // Waits for the row's lock, so for the end of the rollback.
    let args = [5.into(), 1.into()];
    let done = tokio::time::timeout(Duration::from_secs(20), world.at.execute(None, PAY, &args));
    done.await.unwrap().unwrap();
    assert_eq!(
        world
            .number("SELECT CAST(money AS SIGNED) FROM account WHERE id = 1")
            .await,
        105
    );
}
