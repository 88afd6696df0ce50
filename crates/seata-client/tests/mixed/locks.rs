//! Rust and Java respect each other's global locks, and commit and roll back together.

use serde_json::{Value, json};

use seata_client::at::{Error, Scope};
use seata_client::branch::Xid;
use seata_client::codec::GlobalStatus;

use crate::support::java::{Generation, Java};
use crate::support::process::{START_WITHIN, until};
use crate::world::{Rust, database, mysql, tc};

const TABLE: &str = "CREATE TABLE account (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL);
     INSERT INTO account VALUES (1, 100), (2, 100);";
const UPDATE: &str = "UPDATE account SET balance = balance + ? WHERE id = ?";
const SUM: &str = "SELECT CAST(SUM(balance * id) AS SIGNED) FROM account";

async fn both(generation: Generation) -> (Rust, Java) {
    let database = database(TABLE).await;
    let rust = Rust::start(&database, generation).await;
    let java = Java::start(generation, tc().await, mysql().await, &database).await;
    (rust, java)
}

fn update(change: i64, id: i64) -> [(String, Value); 1] {
    [(UPDATE.to_owned(), json!([change, id]))]
}

#[tokio::test]
async fn they_wait_for_each_others_locks() {
    let (rust, mut java) = both(Generation::OrgApache).await;

    let held = Xid::new(java.begin().await);
    java.branch(UPDATE, json!([-10, 1])).await.unwrap();
    let other = rust.begin().await;
    let refused = rust.branch(&other, &update(5, 1)).await.unwrap_err();
    assert!(
        matches!(refused, Error::LockConflict { .. }),
        "{refused}, held by {held}"
    );
    let read = "SELECT balance FROM account WHERE id = 1 FOR UPDATE";
    let refused = rust.at.fetch(Scope::GlobalLock, read, &[]).await;
    assert!(matches!(refused, Err(Error::LockConflict { .. })));
    assert_eq!(java.commit().await, "Committed");
    rust.branch(&other, &update(5, 1)).await.unwrap();

    java.begin().await;
    let refused = java.branch(UPDATE, json!([1, 1])).await.unwrap_err();
    assert!(refused.is("LockWaitTimeoutException"), "{refused:?}");
    java.rollback_local().await.unwrap();
    let locking_read = json!({"op": "globalLock", "sql": read});
    let refused = java.step(locking_read).await.unwrap_err();
    assert!(refused.is("LockWaitTimeoutException"), "{refused:?}");
    let status = rust.client.commit(&other).await.unwrap();
    assert_eq!(status, GlobalStatus::Committed);
    java.branch(UPDATE, json!([1, 1])).await.unwrap();
    assert_eq!(java.commit().await, "Committed");
    assert_eq!(rust.number(SUM).await, 96 + 200);
    java.exit().await;
    rust.leave().await;
}

/// Branches of both; whoever began ends it. Gives the coordinator's word.
async fn together(rust: &Rust, java: &mut Java, java_begins: bool, commit: bool) -> String {
    let xid = if java_begins {
        Xid::new(java.begin().await)
    } else {
        let xid = rust.begin().await;
        java.bind(xid.as_str()).await;
        xid
    };
    java.branch(UPDATE, json!([-10, 1])).await.unwrap();
    rust.branch(&xid, &update(10, 2)).await.unwrap();
    java.branch(UPDATE, json!([-1, 1])).await.unwrap();
    match (java_begins, commit) {
        (true, true) => return java.commit().await,
        (true, false) => return java.rollback().await,
        (false, _) => java.unbind().await,
    }
    let status = if commit {
        rust.client.commit(&xid).await
    } else {
        rust.client.rollback(&xid).await
    };
    format!("{:?}", status.unwrap())
}

#[tokio::test]
async fn they_commit_and_roll_back_together() {
    let (rust, mut java) = both(Generation::Io).await;
    for (java_begins, commit) in [(true, true), (true, false), (false, true), (false, false)] {
        let before = rust.number(SUM).await;
        let status = together(&rust, &mut java, java_begins, commit).await;
        let (expected, after) = if commit {
            ("Committed", before - 11 + 20)
        } else {
            ("Rollbacked", before)
        };
        assert_eq!(status, expected);
        assert_eq!(rust.number(SUM).await, after);
        let none = async || (rust.number("SELECT COUNT(*) FROM undo_log").await == 0).then_some(());
        until("the undo rows to go", START_WITHIN, none).await;
    }
    java.exit().await;
    rust.leave().await;
}
