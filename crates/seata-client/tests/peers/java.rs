//! What the Java client does by itself, with both coordinators and both of their stores.

use serde_json::json;

use crate::support::database::Mysql;
use crate::support::java::{Generation, Java};
use crate::support::process::{START_WITHIN, until};
use crate::support::tc::{Store, Tc, Version};

const TABLES: &str = concat!(
    include_str!("../support/undo_log.sql"),
    "CREATE TABLE account (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL);
     INSERT INTO account VALUES (1, 100), (2, 100);"
);
const UPDATE: &str = "UPDATE account SET balance = balance + ? WHERE id = ?";

async fn balances(mysql: &Mysql, database: &str) -> Vec<i64> {
    let mut connection = mysql.connect(database).await;
    sqlx::query_scalar("SELECT balance FROM account ORDER BY id")
        .fetch_all(&mut connection)
        .await
        .unwrap()
}

async fn undo_rows(mysql: &Mysql, database: &str) -> i64 {
    let mut connection = mysql.connect(database).await;
    sqlx::query_scalar("SELECT COUNT(*) FROM undo_log")
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

async fn no_undo_rows_are_left(mysql: &Mysql, database: &str) {
    until("the undo rows to be deleted", START_WITHIN, async || {
        (undo_rows(mysql, database).await == 0).then_some(())
    })
    .await;
}

/// Two branches of one client commit; two branches of two clients roll back.
async fn works(tc: &Tc, mysql: &Mysql) {
    let database = mysql.database().await;
    mysql.run(&database, TABLES).await;
    let mut launcher = Java::start(Generation::Io, tc, mysql, &database).await;
    let mut participant = Java::start(Generation::OrgApache, tc, mysql, &database).await;

    launcher.begin().await;
    launcher.branch(UPDATE, json!([-10, 1])).await.unwrap();
    launcher.branch(UPDATE, json!([10, 2])).await.unwrap();
    assert_eq!(undo_rows(mysql, &database).await, 2);
    assert_eq!(launcher.commit().await, "Committed");
    assert_eq!(balances(mysql, &database).await, [90, 110]);
    no_undo_rows_are_left(mysql, &database).await;

    let xid = launcher.begin().await;
    participant.bind(&xid).await;
    launcher.branch(UPDATE, json!([-10, 1])).await.unwrap();
    participant.branch(UPDATE, json!([10, 2])).await.unwrap();
    participant.unbind().await;
    assert_eq!(balances(mysql, &database).await, [80, 120]);
    assert_eq!(launcher.rollback().await, "Rollbacked");
    assert_eq!(balances(mysql, &database).await, [90, 110]);
    assert_eq!(undo_rows(mysql, &database).await, 0);

    launcher.exit().await;
    participant.exit().await;
}

#[tokio::test]
async fn both_generations_work_with_a_coordinator_that_keeps_files() {
    let mysql = Mysql::start().await;
    let tc = Tc::start(Version::V2_0, Store::File).await;
    works(&tc, &mysql).await;
}

#[tokio::test]
async fn both_generations_work_with_a_coordinator_in_mysql_that_was_killed() {
    let mysql = Mysql::start().await;
    let mut tc = Tc::start(Version::V1_8, Store::Db(&mysql)).await;
    tc.kill();
    tc.start_again().await;
    works(&tc, &mysql).await;
    tc.stop().await;
    tc.start_again().await;
}

#[tokio::test]
async fn a_second_writer_of_a_row_waits_for_its_global_lock_and_gives_up() {
    let mysql = Mysql::start().await;
    let tc = Tc::start(Version::V1_8, Store::File).await;
    let database = mysql.database().await;
    mysql.run(&database, TABLES).await;
    let mut holder = Java::start(Generation::Io, &tc, &mysql, &database).await;
    let mut other = Java::start(Generation::OrgApache, &tc, &mysql, &database).await;

    holder.begin().await;
    holder.branch(UPDATE, json!([-10, 1])).await.unwrap();
    other.begin().await;
    let refused = other.branch(UPDATE, json!([5, 1])).await.unwrap_err();
    assert!(refused.is("LockWaitTimeoutException"), "{refused:?}");
    other.rollback_local().await.unwrap();
    let read =
        json!({"op": "globalLock", "sql": "SELECT balance FROM account WHERE id = 1 FOR UPDATE"});
    let refused = other.step(read.clone()).await.unwrap_err();
    assert!(refused.is("LockWaitTimeoutException"), "{refused:?}");
    other.rollback().await;
    assert_eq!(holder.commit().await, "Committed");
    let seen = other.step(read).await.unwrap();
    assert_eq!(seen, json!({"rows": [{"balance": "90"}]}));
    holder.exit().await;
    other.exit().await;
}

/// The alert of the operator and the people who get it rely on this.
#[tokio::test]
async fn a_transaction_that_cannot_be_rolled_back_keeps_its_lock_and_counts_as_failed() {
    let mysql = Mysql::start().await;
    let tc = Tc::start(Version::V1_8, Store::File).await;
    let database = mysql.database().await;
    mysql.run(&database, TABLES).await;
    let mut java = Java::start(Generation::OrgApache, &tc, &mysql, &database).await;

    java.begin().await;
    java.branch(UPDATE, json!([-10, 1])).await.unwrap();
    mysql
        .run(&database, "UPDATE account SET balance = 7 WHERE id = 1")
        .await;
    assert_eq!(java.rollback().await, "RollbackFailed");
    assert_eq!(balances(&mysql, &database).await, [7, 100]);
    let failed = |metrics: String| {
        let told = metrics.lines().find(|line| {
            let is = |label| line.contains(label);
            is("status=\"failed\"") && is("meter=\"summary\"") && is("statistic=\"count\"")
        });
        told.map(|line| line.contains("} 1.0 "))
    };
    assert_eq!(failed(tc.metrics().await), Some(true));
    // Each is told at one scrape alone.
    assert_eq!(failed(tc.metrics().await), Some(false));
    java.begin().await;
    let refused = java.branch(UPDATE, json!([5, 1])).await.unwrap_err();
    assert!(refused.is("RmTransactionException"), "{refused:?}");
    java.exit().await;
}
