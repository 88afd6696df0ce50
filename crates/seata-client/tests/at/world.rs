//! A database with AT on it, and how its contents are compared.

use std::sync::Arc;
use std::time::Duration;

use seata_client::at::{AtConfig, AtPool, UNDO_LOG_DDL};
use seata_client::branch::Xid;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::{AssertSqlSafe, Executor as _, MySqlPool, raw_sql};
use tokio::sync::OnceCell;

use crate::coordinator::Memory;
use crate::support::database::{Mysql, contents};

pub(crate) struct World {
    pub(crate) at: AtPool,
    pub(crate) tc: Arc<Memory>,
    /// Connections that AT knows nothing of.
    pub(crate) plain: MySqlPool,
}

/// One server for all tests. Packets are small, so that large undo logs are split.
async fn mysql() -> &'static Mysql {
    static MYSQL: OnceCell<Mysql> = OnceCell::const_new();
    let start = || Mysql::start_with(&["--max-allowed-packet=1M"]);
    MYSQL.get_or_init(start).await
}

/// Connections in that zone, after that statement.
fn pool(options: MySqlConnectOptions, zone: &str, setup: &'static str) -> MySqlPool {
    MySqlPoolOptions::new()
        .max_connections(8)
        .after_connect(move |connection, _| {
            Box::pin(async move { connection.execute(setup).await.map(|_| ()) })
        })
        .connect_lazy_with(options.timezone(Some(zone.to_owned())))
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
        let mysql = mysql().await;
        let database = mysql.database().await;
        let plain = mysql.pool(&database, 5);
        execute(&plain, UNDO_LOG_DDL).await;
        execute(&plain, schema).await;
        let tc = Arc::new(Memory::default());
        let pool = pool(mysql.options(&database), zone, setup);
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

    pub(crate) async fn contents(&self, table: &str) -> Vec<String> {
        contents(&self.plain, table).await
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
