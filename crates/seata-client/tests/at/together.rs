//! Many at once on the same rows, in both common isolation levels.

use std::sync::Arc;
use std::time::Duration;

use seata_client::at::{AtConfig, Error, Value};

use crate::world::{World, config};

const LEVELS: [&str; 2] = [
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
];
const SCHEMA: &str = "CREATE TABLE counter (id INT AUTO_INCREMENT PRIMARY KEY,
    name VARCHAR(10) NOT NULL UNIQUE, n INT NOT NULL)";

async fn world(level: &'static str) -> Arc<World> {
    let config = AtConfig {
        lock_deadline: Duration::from_secs(20),
        ..config()
    };
    Arc::new(World::prepared(SCHEMA, config, "+00:00", level).await)
}

/// What may happen to a statement among many: the server's deadlocks, and rows that moved.
fn expected(error: &Error) -> bool {
    matches!(
        error,
        Error::Statement(_) | Error::Image(_) | Error::Moved { .. } | Error::LockConflict { .. }
    )
}

/// One global transaction of one statement; `true`: it was committed.
async fn once(world: Arc<World>, sql: &'static str, args: Vec<Value>, keep: bool) -> bool {
    let xid = world.begin();
    match world.at.execute(&xid, sql, &args).await {
        Ok(_) if keep => {
            world.commit(&xid).await;
            true
        }
        Ok(_) => {
            world.roll_back(&xid).await;
            false
        }
        Err(error) => {
            assert!(expected(&error), "{error:?}");
            world.roll_back(&xid).await;
            false
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upserts_of_one_key_count_exactly_what_was_committed() {
    let sql = "INSERT INTO counter (name, n) VALUES (?, 1) ON DUPLICATE KEY UPDATE n = n + 1";
    for level in LEVELS {
        let world = world(level).await;
        let mut committed = 0;
        for round in 0..6 {
            let tasks: Vec<_> = (0..8)
                .map(|n| {
                    let keep = (n + round) % 2 == 0;
                    // Spawned: a branch may be on any thread.
                    tokio::spawn(once(world.clone(), sql, vec!["a".into()], keep))
                })
                .collect();
            for task in tasks {
                committed += i64::from(task.await.unwrap());
            }
        }
        let n = "SELECT CAST(COALESCE(SUM(n), 0) AS SIGNED) FROM counter";
        assert_eq!(world.number(n).await, committed, "{level}");
        assert!(committed > 0, "{level}");
        world.until("SELECT COUNT(*) FROM undo_log", 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ignored_inserts_undo_only_what_they_inserted() {
    let sql = "INSERT IGNORE INTO counter (name, n) VALUES (?, 1), (?, 1)";
    for level in LEVELS {
        let world = world(level).await;
        for round in 0..8_i64 {
            let name =
                |n: i64| Value::from(format!("{}", (n + round) % if round < 2 { 3 } else { 6 }));
            // Half of the keys are there before others come and go.
            let keep = round < 2;
            let before = world.contents("counter").await;
            let tasks: Vec<_> = (0..6)
                .map(|n| {
                    let args = vec![name(n), name(n + 1)];
                    tokio::spawn(once(world.clone(), sql, args, keep))
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            let after = world.contents("counter").await;
            assert!(keep || after == before, "{level}: {before:#?} {after:#?}");
        }
        assert!(
            world.number("SELECT COUNT(*) FROM counter").await > 1,
            "{level}"
        );
        world.until("SELECT COUNT(*) FROM undo_log", 0).await;
    }
}
