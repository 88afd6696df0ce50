//! A coordinator, a MySQL, and a Rust client with AT on a database of it.

use std::sync::Arc;
use std::time::Duration;

use seata_client::at::undo::Classes;
use seata_client::at::{AtConfig, AtPool, Error, Value};
use seata_client::branch::Xid;
use seata_client::config::Config;
use seata_client::connection::Client;
use serde_json::Value as Json;
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::{AssertSqlSafe, MySqlPool};
use tokio::sync::OnceCell;

use crate::support::database::Mysql;
use crate::support::java::Generation;
use crate::support::process::START_WITHIN;
use crate::support::tc::{Store, Tc, Version};

pub(crate) async fn mysql() -> &'static Mysql {
    static MYSQL: OnceCell<Mysql> = OnceCell::const_new();
    MYSQL.get_or_init(Mysql::start).await
}

/// One for all tests that do it no harm.
pub(crate) async fn tc() -> &'static Tc {
    static TC: OnceCell<Tc> = OnceCell::const_new();
    TC.get_or_init(|| Tc::start(Version::V1_8, Store::File))
        .await
}

pub(crate) fn classes(generation: Generation) -> Classes {
    match generation {
        Generation::Io => Classes::IoSeata,
        Generation::OrgApache => Classes::ApacheSeata,
    }
}

/// A new database with these tables and one for undo rows.
pub(crate) async fn database(tables: &str) -> String {
    let mysql = mysql().await;
    let database = mysql.database().await;
    mysql
        .run(&database, include_str!("../support/undo_log.sql"))
        .await;
    mysql.run(&database, tables).await;
    database
}

pub(crate) struct Rust {
    pub(crate) client: Client,
    pub(crate) at: AtPool,
    pool: MySqlPool,
}

impl Rust {
    pub(crate) async fn start(database: &str, generation: Generation) -> Self {
        let _ = tracing_subscriber::fmt()
            .with_test_writer()
            .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
            .try_init();
        // Each test's is another application, as `Java::start` explains.
        let config = Config::new([tc().await.address()], database, "peer_tx_group");
        let client = Client::start(config).unwrap();
        client.ready(START_WITHIN).await.unwrap();
        let options = MySqlConnectOptions::new()
            .host("127.0.0.1")
            .port(mysql().await.port)
            .username("root")
            .database(database);
        let pool = MySqlPoolOptions::new()
            .max_connections(8)
            .connect_with(options)
            .await
            .unwrap();
        let config = AtConfig {
            classes: classes(generation),
            lock_deadline: Duration::from_millis(300),
            ..AtConfig::default()
        };
        let coordinator = Arc::new(client.clone());
        let at = AtPool::new(pool.clone(), coordinator, config)
            .await
            .unwrap();
        client.register_resource(at.resource()).await.unwrap();
        Self { client, at, pool }
    }

    pub(crate) async fn begin(&self) -> Xid {
        let begun = self.client.begin("mixed", Duration::from_mins(5));
        begun.await.unwrap()
    }

    /// A branch of these statements.
    pub(crate) async fn branch(
        &self,
        xid: &Xid,
        statements: &[(String, Json)],
    ) -> Result<(), Error> {
        let mut transaction = self.at.begin(xid).await?;
        for (sql, arguments) in statements {
            let arguments: Vec<Value> = arguments.as_array().unwrap().iter().map(value).collect();
            if let Err(error) = transaction.execute(sql, &arguments).await {
                let _ = transaction.rollback().await;
                return Err(error);
            }
        }
        transaction.commit().await
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// Leaves the coordinator, and with it the branches to others.
    pub(crate) async fn leave(self) {
        self.at.shutdown().await;
        self.client.shutdown(Duration::from_secs(5)).await;
        self.pool.close().await;
    }
}

/// As the Java client takes them.
pub(crate) fn value(argument: &Json) -> Value {
    match argument {
        Json::Null => Value::Null,
        Json::Bool(value) => (*value).into(),
        Json::String(text) => text.as_str().into(),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => whole.into(),
            (None, Some(whole)) => whole.into(),
            (None, None) => number.as_f64().unwrap().into(),
        },
        other => bytes(other["hex"].as_str().unwrap()).into(),
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}
