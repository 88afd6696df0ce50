//! Java and Rust on one database and one coordinator: each joins the other's transactions, undoes
//! what the other left, and respects the other's locks.

use std::time::Duration;

use seata_client::at::undo::Classes;
use seata_client::at::{AtConfig, Error, Scope};
use seata_client::branch::Xid;
use seata_client::codec::GlobalStatus;
use serde_json::json;
use sqlx::Row as _;

use crate::support::bank::{Bank, PAY, SOON, Service, at_config, config};
use crate::support::database::Mysql;
use crate::support::java::{Generation, Java};
use crate::support::process::until;
use crate::support::tc::{Store, Tc, Version};

/// Values of many types, and what a statement makes of them.
const KINDS: &str = "CREATE TABLE kinds (
        code VARCHAR(20) PRIMARY KEY, amount DECIMAL(20, 4), big BIGINT UNSIGNED, ratio DOUBLE,
        happened DATETIME(6), day DATE, bytes VARBINARY(50), story TEXT, yes TINYINT);
    INSERT INTO kinds VALUES
        ('full', 1234567890.1234, 9007199254740993, 0.1, '2026-02-03 04:05:06.789012', '2026-02-03',
         x'00FF7F80', 'Grüße, 你好 \\'\"\\\\', 1),
        ('empty', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)";
const CHANGES: [&str; 3] = [
    "UPDATE kinds SET amount = -1, big = 1, ratio = 2, happened = '2020-01-01', day = '2020-01-01', \
     bytes = x'AA', story = 'changed', yes = 0",
    "DELETE FROM kinds WHERE code = 'full'",
    "INSERT INTO kinds (code, amount) VALUES ('new', 5.5)",
];

struct Ground {
    mysql: Mysql,
    tc: Tc,
}

/// One database with both clients on it.
struct Pair {
    bank: Bank,
    rust: Service,
    java: Java,
}

impl Ground {
    async fn new() -> Self {
        Self {
            tc: Tc::start(Version::V1_8, Store::File).await,
            mysql: Mysql::start().await,
        }
    }

    async fn pair(&self, generation: Generation) -> Pair {
        let bank = Bank::new(&self.mysql).await;
        self.mysql.run(&bank.database, KINDS).await;
        let rust = self.rust(&bank, generation).await;
        let java = self.java(&bank, generation).await;
        Pair { bank, rust, java }
    }

    async fn rust(&self, bank: &Bank, generation: Generation) -> Service {
        let at = AtConfig {
            classes: match generation {
                Generation::Io => Classes::IoSeata,
                Generation::OrgApache => Classes::ApacheSeata,
            },
            lock_deadline: Duration::from_millis(300),
            ..at_config()
        };
        Service::start_with(config(&self.tc.address(), bank), at, bank).await
    }

    async fn java(&self, bank: &Bank, generation: Generation) -> Java {
        Java::start(generation, &self.tc, &self.mysql, &bank.database).await
    }
}

/// Everything in the table of many types.
async fn kinds(bank: &Bank) -> Vec<String> {
    let sql = "SELECT CONCAT_WS('|', code, IFNULL(amount, '-'), IFNULL(big, '-'),
        IFNULL(ratio, '-'), IFNULL(happened, '-'), IFNULL(day, '-'), IFNULL(HEX(bytes), '-'),
        IFNULL(story, '-'), IFNULL(yes, '-')) FROM kinds ORDER BY code";
    sqlx::query_scalar(sql)
        .fetch_all(&bank.plain)
        .await
        .unwrap()
}

async fn change_by_rust(service: &Service, xid: &Xid) {
    let mut local = service.at.begin(xid).await.unwrap();
    for sql in CHANGES {
        local.execute(sql, &[]).await.unwrap();
    }
    local.commit().await.unwrap();
}

async fn change_by_java(java: &mut Java) {
    for sql in CHANGES {
        java.execute(sql, json!([])).await.unwrap();
    }
    java.commit_local().await.unwrap();
}

/// Both clients have a branch each; whoever began ends it.
async fn transfer_together(pair: &mut Pair) {
    let Pair { bank, rust, java } = pair;
    for commits in [false, true] {
        let before = bank.balances().await;
        let xid = java.begin().await;
        java.branch(PAY, json!([-10, 1])).await.unwrap();
        rust.pay(&Xid::new(&xid), 10, 2).await.unwrap();
        let ended = if commits {
            java.commit().await
        } else {
            java.rollback().await
        };
        assert_eq!(ended, if commits { "Committed" } else { "Rollbacked" });
        assert_eq!(bank.balances().await != before, commits, "Java began");
        rust.settled().await;

        let before = bank.balances().await;
        let xid = rust.client.begin("mixed", SOON).await.unwrap();
        java.bind(xid.as_str()).await;
        java.branch(PAY, json!([-10, 1])).await.unwrap();
        java.unbind().await;
        rust.pay(&xid, 10, 2).await.unwrap();
        if commits {
            rust.client.commit(&xid).await.unwrap();
        } else {
            rust.client.rollback(&xid).await.unwrap();
        }
        assert_eq!(bank.balances().await != before, commits, "Rust began");
        rust.settled().await;
    }
    assert_eq!(bank.balances().await, [80, 120, 100]);
}

/// Neither takes a row that the other's transaction holds, nor shows what it may undo.
async fn respect_each_others_locks(pair: &mut Pair) {
    let Pair { bank, rust, java } = pair;
    let before = bank.balances().await;
    let read = "SELECT balance FROM account WHERE id = 1 FOR UPDATE";
    let xid = rust.client.begin("holder", SOON).await.unwrap();
    rust.pay(&xid, -10, 1).await.unwrap();
    java.begin().await;
    let refused = java.branch(PAY, json!([5, 1])).await.unwrap_err();
    assert!(refused.is("LockWaitTimeoutException"), "{refused:?}");
    java.rollback_local().await.unwrap();
    let locked = json!({"op": "globalLock", "sql": read});
    let refused = java.step(locked.clone()).await.unwrap_err();
    assert!(refused.is("LockWaitTimeoutException"), "{refused:?}");
    rust.client.rollback(&xid).await.unwrap();
    assert_eq!(bank.balances().await, before);
    java.step(locked).await.unwrap();

    java.branch(PAY, json!([5, 1])).await.unwrap();
    let xid = rust.client.begin("other", SOON).await.unwrap();
    let refused = rust.pay(&xid, -10, 1).await;
    assert!(
        matches!(refused, Err(Error::LockConflict { .. })),
        "{refused:?}"
    );
    let refused = rust.at.fetch(Scope::GlobalLock, read, &[]).await;
    assert!(
        matches!(refused, Err(Error::LockConflict { .. })),
        "{refused:?}"
    );
    assert_eq!(java.rollback().await, "Rollbacked");
    let rows = rust.at.fetch(Scope::GlobalLock, read, &[]).await.unwrap();
    assert_eq!(rows[0].get::<i64, _>(0), before[0]);
    rust.pay(&xid, -10, 1).await.unwrap();
    let ended = rust.client.rollback(&xid).await;
    assert_eq!(ended, Ok(GlobalStatus::Rollbacked));
    rust.settled().await;
    assert_eq!(bank.balances().await, before);
}

async fn undone(bank: &Bank, before: &[String], by: &str) {
    until(&format!("{by} to undo it"), SOON, async || {
        (kinds(bank).await == before && bank.undo_rows().await == 0).then_some(())
    })
    .await;
}

/// The Rust service goes away; the coordinator turns to Java.
async fn java_undoes_what_rust_left(pair: Pair) -> (Bank, Java) {
    let Pair { bank, rust, java } = pair;
    let before = kinds(&bank).await;
    let begun = rust.client.begin("left", Duration::from_secs(2)).await;
    change_by_rust(&rust, &begun.unwrap()).await;
    assert_ne!(kinds(&bank).await, before);
    assert_eq!(bank.undo_rows().await, 1);
    rust.stop().await;
    undone(&bank, &before, "Java").await;
    (bank, java)
}

/// The Java service is killed; the coordinator turns to Rust.
async fn rust_undoes_what_java_left(
    ground: &Ground,
    generation: Generation,
    bank: &Bank,
    mut java: Java,
) {
    let before = kinds(bank).await;
    let begin = json!({"op": "begin", "timeoutMs": 4000});
    java.step(begin).await.unwrap();
    change_by_java(&mut java).await;
    assert_ne!(kinds(bank).await, before);
    assert_eq!(bank.undo_rows().await, 1);
    let rust = ground.rust(bank, generation).await;
    java.kill();
    undone(bank, &before, "Rust").await;
    rust.settled().await;
    rust.stop().await;
}

async fn both_agree(ground: &Ground, generation: Generation) {
    let mut pair = ground.pair(generation).await;
    transfer_together(&mut pair).await;
    respect_each_others_locks(&mut pair).await;
    let (bank, java) = java_undoes_what_rust_left(pair).await;
    rust_undoes_what_java_left(ground, generation, &bank, java).await;
}

#[tokio::test]
async fn java_of_both_generations_and_rust_are_one_on_one_database() {
    let ground = Ground::new().await;
    let both = Generation::ALL.map(|generation| both_agree(&ground, generation));
    futures::future::join_all(both).await;
}
