//! The client is killed in each phase; another replica with the same database does what is left.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use seata_client::at::AtPool;
use seata_client::branch::{
    Branch, BranchType, Coordinator, CoordinatorError, NewBranch, PhaseTwo, Resource, Xid,
};
use seata_client::connection::Client;
use serde_json::json;

use crate::support::bank::{Bank, PAY, SOON, Service, at_config, config};
use crate::support::database::pool;
use crate::support::process::until;
use crate::support::rerun::{Rerun, say, task};
use crate::support::tc::Version;
use crate::{coordinator, mysql};

/// Where the client stands still, to be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    Begun,
    /// Statements are done, the branch is not registered.
    Worked,
    /// The branch is registered, its local transaction not committed.
    Registered,
    /// The first phase is over.
    Done,
    /// The coordinator has committed and asks for the second phase.
    CommitAsked,
    /// It was told that the second phase is done, the undo row is not deleted.
    CommitAnswered,
    RollbackAsked,
    /// The branch is undone, the coordinator not told.
    Undone,
}

impl Point {
    const ALL: [Self; 8] = [
        Self::Begun,
        Self::Worked,
        Self::Registered,
        Self::Done,
        Self::CommitAsked,
        Self::CommitAnswered,
        Self::RollbackAsked,
        Self::Undone,
    ];

    fn named(name: &str) -> Self {
        let point = Self::ALL.into_iter().find(|it| format!("{it:?}") == name);
        point.unwrap()
    }

    fn commits(self) -> bool {
        matches!(self, Self::CommitAsked | Self::CommitAnswered)
    }
}

/// A coordinator and a resource that stand still at a point.
#[derive(Debug)]
struct Halting<T> {
    inner: T,
    at: Point,
}

impl<T> Halting<T> {
    async fn pass(&self, point: Point) {
        if self.at == point {
            halt().await;
        }
    }
}

async fn halt() {
    say("here");
    std::future::pending::<()>().await;
}

#[async_trait]
impl Coordinator for Halting<Client> {
    async fn register(&self, branch: &NewBranch) -> Result<i64, CoordinatorError> {
        self.pass(Point::Worked).await;
        let id = self.inner.register(branch).await?;
        self.pass(Point::Registered).await;
        Ok(id)
    }

    async fn report_failed(&self, _: &NewBranch, _: i64) -> Result<(), CoordinatorError> {
        Ok(())
    }

    async fn lockable(&self, branch: &NewBranch) -> Result<bool, CoordinatorError> {
        self.inner.lockable(branch).await
    }
}

#[async_trait]
impl Resource for Halting<Arc<dyn Resource>> {
    fn resource_id(&self) -> &str {
        self.inner.resource_id()
    }

    fn branch_type(&self) -> BranchType {
        BranchType::At
    }

    async fn commit(&self, branch: &Branch) -> PhaseTwo {
        self.pass(Point::CommitAsked).await;
        self.inner.commit(branch).await
    }

    async fn rollback(&self, branch: &Branch) -> PhaseTwo {
        self.pass(Point::RollbackAsked).await;
        let answer = self.inner.rollback(branch).await;
        self.pass(Point::Undone).await;
        answer
    }

    async fn delete_undo(&self, _: u16) {}
}

/// Not a test of its own: what the tests below run as another process.
#[tokio::test]
async fn the_other_process() {
    let Some(task) = task() else { return };
    let text = |name: &str| task[name].as_str().unwrap().to_owned();
    let at = Point::named(&text("point"));
    let port = task["port"].as_u64().unwrap().try_into().unwrap();
    let bank = Bank::existing(port, &text("database"));
    let client = Client::start(config(&text("tc"), &bank)).unwrap();
    client.ready(SOON).await.unwrap();
    let coordinator = Arc::new(Halting {
        inner: client.clone(),
        at,
    });
    let mut settings = at_config();
    if at == Point::CommitAnswered {
        settings.delete_every = Duration::from_hours(1);
    }
    let connections = pool(port, &bank.database, 4);
    let pool = AtPool::new(connections, coordinator, settings).await;
    let pool = pool.unwrap();
    let inner: Arc<dyn Resource> = pool.resource();
    let resource = Arc::new(Halting { inner, at });
    client.register_resource(resource).await.unwrap();
    go(&client, &pool, at).await;
    halt().await;
}

async fn go(client: &Client, pool: &AtPool, at: Point) {
    // Where nobody ends it, the coordinator does.
    let begun = client.begin("killed", Duration::from_secs(3)).await;
    let xid: Xid = begun.unwrap();
    if at == Point::Begun {
        return;
    }
    let paid = pool.execute(&xid, PAY, &[(-10).into(), 1.into()]).await;
    paid.unwrap();
    if at == Point::Done {
        return;
    }
    if at.commits() {
        client.commit(&xid).await.unwrap();
        until("the coordinator to be answered", SOON, async || {
            (pool.metrics().deletes_waiting > 0).then_some(())
        })
        .await;
        return;
    }
    // It stands still before this has an answer.
    let _ = client.rollback(&xid).await;
}

async fn killed_at(point: Point, version: Version) {
    let address = coordinator(version).await.address();
    let bank = Bank::new(mysql().await).await;
    let survivor = Service::start(&address, &bank).await;
    let task = json!({"tc": address, "port": bank.port, "database": bank.database,
        "point": format!("{point:?}")});
    let mut child = Rerun::start("crashes::the_other_process", &task);
    let said = child.says().await;
    assert_eq!(said.as_deref(), Some("here"), "{point:?}");
    child.kill();
    if point == Point::CommitAnswered {
        // The coordinator has nothing more to say of it: old undo rows are swept.
        assert_eq!(bank.undo_rows().await, 1);
        survivor.at.resource().delete_undo(0).await;
    }
    let expected = if point.commits() { 90 } else { 100 };
    until("the other replica to undo it", SOON, async || {
        (bank.balances().await[0] == expected).then_some(())
    })
    .await;
    survivor.settled().await;
    assert_eq!(bank.balances().await, [expected, 100, 100], "{point:?}");
    survivor.stop().await;
}

#[tokio::test]
async fn whenever_a_client_is_killed_another_ends_its_work_with_coordinator_1_8_0() {
    join_all(Point::ALL.map(|point| killed_at(point, Version::V1_8))).await;
}

#[tokio::test]
async fn whenever_a_client_is_killed_another_ends_its_work_with_coordinator_2_0_0() {
    join_all(Point::ALL.map(|point| killed_at(point, Version::V2_0))).await;
}
