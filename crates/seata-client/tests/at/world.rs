//! A database with AT on it, and how its contents are compared.

use std::sync::Arc;
use std::time::Duration;

use seata_client::at::{AtConfig, AtPool, UNDO_LOG_DDL};
use seata_client::branch::Xid;
use sqlx::{AssertSqlSafe, MySqlPool, Row as _, ValueRef as _, raw_sql};

use crate::coordinator::Memory;
use crate::mysql;

pub(crate) struct World {
    pub(crate) at: AtPool,
    pub(crate) tc: Arc<Memory>,
    /// Connections that AT knows nothing of.
    pub(crate) plain: MySqlPool,
}

/// Settings that keep tests short.
pub(crate) fn config() -> AtConfig {
    AtConfig {
        lock_deadline: Duration::from_secs(30),
        delete_every: Duration::from_millis(20),
        sweep_every: None,
        ..AtConfig::default()
    }
}

impl World {
    pub(crate) async fn new(schema: &str) -> Self {
        Self::with(schema, config(), "+00:00").await
    }

    pub(crate) async fn with(schema: &str, config: AtConfig, zone: &str) -> Self {
        Self::prepared(schema, config, zone, "DO 0").await
    }

    /// The connections execute a statement first.
    pub(crate) async fn prepared(
        schema: &str,
        config: AtConfig,
        zone: &str,
        setup: &'static str,
    ) -> Self {
        let database = mysql::database().await;
        let plain = mysql::pool(&database, 5, "+00:00", "DO 0");
        execute(&plain, UNDO_LOG_DDL).await;
        execute(&plain, schema).await;
        let tc = Arc::new(Memory::default());
        let pool = mysql::pool(&database, 8, zone, setup);
        let at = AtPool::new(pool, tc.clone(), config).await.unwrap();
        Self { at, tc, plain }
    }

    pub(crate) fn begin(&self) -> Xid {
        self.tc.begin()
    }

    pub(crate) async fn roll_back(&self, xid: &Xid) {
        let answers = self.tc.roll_back(xid, &*self.at.resource()).await;
        let done = |answer| matches!(answer, &seata_client::branch::PhaseTwo::Done);
        assert!(answers.iter().all(done), "{answers:?}");
    }

    pub(crate) async fn commit(&self, xid: &Xid) {
        self.tc.commit(xid, &*self.at.resource()).await;
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
            .fetch_one(&self.plain)
            .await
            .unwrap()
    }

    pub(crate) async fn undo_rows(&self) -> i64 {
        self.number("SELECT COUNT(*) FROM undo_log").await
    }

    /// Everything in a table: the server's checksum, and every value's bytes.
    pub(crate) async fn contents(&self, table: &str) -> Vec<String> {
        let checksum = format!("CHECKSUM TABLE {table} EXTENDED");
        let rows = format!("SELECT * FROM {table} ORDER BY 1");
        let mut contents = Vec::new();
        for sql in [checksum, rows] {
            for row in raw_sql(AssertSqlSafe(sql))
                .fetch_all(&self.plain)
                .await
                .unwrap()
            {
                let mut text = String::new();
                for at in 0..row.len() {
                    let value = row.try_get_raw(at).unwrap();
                    let bytes = <&[u8] as sqlx::Decode<'_, sqlx::MySql>>::decode(value.clone());
                    let bytes = bytes.map_or("NULL".to_owned(), |b| b.escape_ascii().to_string());
                    text = format!("{text} | {}", if value.is_null() { "NULL" } else { &bytes });
                }
                contents.push(text);
            }
        }
        contents
    }

    /// Asks until it is so.
    pub(crate) async fn until(&self, sql: &str, expected: i64) {
        let deadline = tokio::time::Instant::now() + Duration::from_mins(1);
        while self.number(sql).await != expected {
            assert!(
                tokio::time::Instant::now() < deadline,
                "gave up waiting: {sql} = {expected}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

pub(crate) async fn execute(pool: &MySqlPool, sql: &str) {
    let done = raw_sql(AssertSqlSafe(sql.to_owned())).execute(pool).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

pub(crate) const ACCOUNT: &str = "CREATE TABLE account (
        id BIGINT PRIMARY KEY, money INT NOT NULL, note VARCHAR(50) UNIQUE);
    INSERT INTO account VALUES (1, 100, 'one'), (2, 100, 'two'), (3, 100, NULL)";
