//! A database with accounts, and a service that works on it with the client under test.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use seata_client::at::{AtConfig, AtPool, Scope};
use seata_client::branch::{Branch, BranchType, PhaseTwo, Resource, Xid};
use seata_client::codec::GlobalStatus;
use seata_client::config::Config;
use seata_client::connection::Client;
use sqlx::MySqlPool;
use tokio::sync::watch;

use super::database::{Mysql, pool};
use super::process::until;

/// Everything that goes on by itself has happened within this: a coordinator waits half a minute
/// for a client that was killed, and computers are busy.
pub(crate) const SOON: Duration = Duration::from_mins(2);
/// `?` more on account `?`.
pub(crate) const PAY: &str = "UPDATE account SET balance = balance + ? WHERE id = ?";
const TABLES: &str = concat!(
    include_str!("undo_log.sql"),
    "CREATE TABLE account (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL, note VARCHAR(50));
     INSERT INTO account VALUES (1, 100, 'one'), (2, 100, NULL), (3, 100, 'three');"
);

#[derive(Clone, Debug)]
pub(crate) struct Bank {
    /// The server's.
    pub(crate) port: u16,
    pub(crate) database: String,
    /// Connections that no client knows of.
    pub(crate) plain: MySqlPool,
}

impl Bank {
    /// Three accounts with 100 each.
    pub(crate) async fn new(mysql: &Mysql) -> Self {
        let database = mysql.database().await;
        mysql.run(&database, TABLES).await;
        Self::existing(mysql.port, &database)
    }

    pub(crate) fn existing(port: u16, database: &str) -> Self {
        Self {
            port,
            database: database.to_owned(),
            plain: pool(port, database, 4),
        }
    }

    pub(crate) async fn balances(&self) -> Vec<i64> {
        sqlx::query_scalar("SELECT balance FROM account ORDER BY id")
            .fetch_all(&self.plain)
            .await
            .unwrap()
    }

    /// Without the markers of branches that were rolled back before they began.
    pub(crate) async fn undo_rows(&self) -> i64 {
        sqlx::query_scalar("SELECT COUNT(*) FROM undo_log WHERE log_status = 0")
            .fetch_one(&self.plain)
            .await
            .unwrap()
    }

    pub(crate) async fn run(&self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&self.plain).await.unwrap();
    }

    /// The branches that have undo rows, in the order of their beginning.
    pub(crate) async fn branches(&self, resource_id: &str) -> Vec<Branch> {
        let rows: Vec<(String, i64)> =
            sqlx::query_as("SELECT xid, branch_id FROM undo_log ORDER BY log_created, branch_id")
                .fetch_all(&self.plain)
                .await
                .unwrap();
        let branch = |(xid, branch_id)| Branch {
            xid: Xid::new(xid),
            branch_id,
            branch_type: BranchType::At,
            resource_id: resource_id.to_owned(),
            application_data: String::new(),
        };
        rows.into_iter().map(branch).collect()
    }
}

/// One replica: a connection to a coordinator and one bank.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) client: Client,
    pub(crate) at: AtPool,
    pub(crate) bank: Bank,
}

/// Settings that keep tests short. Each bank is an application of its own: a coordinator takes it
/// that all processes of one application on one address have the same resources.
pub(crate) fn config(address: &str, bank: &Bank) -> Config {
    let mut config = Config::new([address], &bank.database, "group");
    config.end_wait = Duration::from_millis(200);
    config
}

pub(crate) fn at_config() -> AtConfig {
    AtConfig {
        delete_every: Duration::from_millis(20),
        sweep_every: None,
        markers_kept: Duration::ZERO,
        ..AtConfig::default()
    }
}

impl Service {
    pub(crate) async fn start(address: &str, bank: &Bank) -> Self {
        Self::start_with(config(address, bank), at_config(), bank).await
    }

    pub(crate) async fn start_with(config: Config, at: AtConfig, bank: &Bank) -> Self {
        let service = Self::unregistered(config, at, bank).await;
        service.register(service.at.resource()).await;
        service
    }

    /// The coordinator is to be told of a resource in place of its own.
    pub(crate) async fn unregistered(config: Config, at: AtConfig, bank: &Bank) -> Self {
        let client = Client::start(config).unwrap();
        client.ready(SOON).await.unwrap();
        let connections = pool(bank.port, &bank.database, 8);
        let at = AtPool::new(connections, Arc::new(client.clone()), at);
        Self {
            at: at.await.unwrap(),
            client,
            bank: bank.clone(),
        }
    }

    pub(crate) async fn register(&self, resource: Arc<dyn Resource>) {
        self.client.register_resource(resource).await.unwrap();
    }

    /// A branch of one statement.
    pub(crate) async fn pay(
        &self,
        xid: &Xid,
        amount: i64,
        account: i64,
    ) -> Result<(), seata_client::at::Error> {
        let args = [amount.into(), account.into()];
        self.at.execute(xid, PAY, &args).await.map(|_| ())
    }

    /// Waits until there is nothing left to do for a transaction. Some coordinators forget one at
    /// once, others keep it for minutes.
    pub(crate) async fn ended(&self, xid: &Xid) {
        use GlobalStatus::{Committed, Finished, Rollbacked, TimeoutRollbacked};
        until("a global transaction to end", SOON, async || {
            let status = self.client.status(xid).await.ok()?;
            [Committed, Finished, Rollbacked, TimeoutRollbacked]
                .contains(&status)
                .then_some(())
        })
        .await;
    }

    /// Waits until no row is locked any more and no undo row is left.
    pub(crate) async fn settled(&self) {
        until("undo rows to be deleted", SOON, async || {
            (self.bank.undo_rows().await == 0).then_some(())
        })
        .await;
        until("global locks to be released", SOON, async || {
            let read = "SELECT id FROM account FOR UPDATE";
            let rows = self.at.fetch(Scope::GlobalLock, read, &[]).await;
            rows.is_ok().then_some(())
        })
        .await;
        self.at.resource().sweep().await.unwrap();
        let left: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM undo_log")
            .fetch_one(&self.bank.plain)
            .await
            .unwrap();
        assert_eq!(left, 0, "markers are swept");
    }

    /// Ends it in good order.
    pub(crate) async fn stop(self) {
        self.at.shutdown().await;
        self.client.shutdown(SOON).await;
    }
}

/// Does second phases only while it is open.
#[derive(Debug)]
pub(crate) struct Gate {
    inner: Arc<dyn Resource>,
    open: watch::Sender<bool>,
    waiting: watch::Sender<usize>,
}

impl Gate {
    pub(crate) fn closed(inner: Arc<dyn Resource>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            open: watch::Sender::new(false),
            waiting: watch::Sender::new(0),
        })
    }

    pub(crate) fn open(&self) {
        self.open.send_replace(true);
    }

    /// Until somebody stands before it.
    pub(crate) async fn reached(&self) {
        let mut waiting = self.waiting.subscribe();
        let reached = waiting.wait_for(|waiting| *waiting > 0);
        let reached = tokio::time::timeout(SOON, reached).await;
        reached.expect("no second phase").unwrap();
    }

    async fn pass(&self) {
        self.waiting.send_modify(|waiting| *waiting += 1);
        let mut open = self.open.subscribe();
        let _ = open.wait_for(|open| *open).await;
    }
}

#[async_trait]
impl Resource for Gate {
    fn resource_id(&self) -> &str {
        self.inner.resource_id()
    }

    fn branch_type(&self) -> BranchType {
        self.inner.branch_type()
    }

    async fn commit(&self, branch: &Branch) -> PhaseTwo {
        self.pass().await;
        self.inner.commit(branch).await
    }

    async fn rollback(&self, branch: &Branch) -> PhaseTwo {
        self.pass().await;
        self.inner.rollback(branch).await
    }

    async fn delete_undo(&self, save_days: u16) {
        self.inner.delete_undo(save_days).await;
    }
}
