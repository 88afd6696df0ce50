//! A TCC action on a real MySQL, driven by a real coordinator.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use seata_client::branch::{
    Branch, BranchType, Coordinator, CoordinatorError, NewBranch, PhaseTwo, Resource as _, Xid,
};
use seata_client::codec::GlobalStatus;
use seata_client::connection::Client;
use seata_client::tcc::{
    ActionError, Attempt, FENCE_TABLE, TccAction, TccError, TccResource, purge,
};
use seata_client::tm::{GlobalError, TxContext, TxOptions};
use serde_json::json;
use sqlx::{MySqlConnection, MySqlPool, Row as _};
use tokio::sync::OnceCell;

use crate::client;
use crate::recorder::SOON;
use crate::support::database::Mysql;

const TABLES: &str = "CREATE TABLE account (
    id INT PRIMARY KEY, free BIGINT NOT NULL, held BIGINT NOT NULL);
    INSERT INTO account VALUES (1, 100, 0)";

/// Takes money: the try holds it, the confirm takes what is held, the cancel gives it back.
#[derive(Debug, Default)]
struct Debit {
    name: &'static str,
    fails: AtomicBool,
}

impl Debit {
    async fn settle(
        &self,
        attempt: &Attempt,
        connection: &mut MySqlConnection,
        back: i64,
    ) -> Result<(), ActionError> {
        let amount = attempt.arguments["amount"].as_i64().ok_or("no amount")?;
        sqlx::query("UPDATE account SET held = held - ?, free = free + ? WHERE id = 1")
            .bind(amount)
            .bind(amount * back)
            .execute(connection)
            .await?;
        // After the change, so that its undoing shows.
        if self.fails.load(Ordering::SeqCst) {
            return Err("as it was told".into());
        }
        Ok(())
    }
}

#[async_trait]
impl TccAction for Debit {
    fn name(&self) -> &str {
        self.name
    }

    async fn confirm(
        &self,
        attempt: &Attempt,
        connection: &mut MySqlConnection,
    ) -> Result<(), ActionError> {
        self.settle(attempt, connection, 0).await
    }

    async fn cancel(
        &self,
        attempt: &Attempt,
        connection: &mut MySqlConnection,
    ) -> Result<(), ActionError> {
        self.settle(attempt, connection, 1).await
    }
}

struct World {
    client: Client,
    debit: Arc<TccResource<Debit>>,
    pool: MySqlPool,
}

/// One server, and a database per test.
async fn mysql() -> &'static Mysql {
    static MYSQL: OnceCell<Mysql> = OnceCell::const_new();
    MYSQL.get_or_init(Mysql::start).await
}

impl World {
    async fn new(name: &'static str) -> Self {
        let mysql = mysql().await;
        let pool = mysql.pool(&mysql.database().await, 4);
        for sql in [FENCE_TABLE, TABLES] {
            sqlx::raw_sql(sql).execute(&pool).await.unwrap();
        }
        let client = client().await;
        let action = Debit {
            name,
            ..Debit::default()
        };
        let debit = TccResource::new(action, pool.clone(), Arc::new(client.clone())).unwrap();
        let debit = Arc::new(debit);
        client
            .register_resource(Arc::clone(&debit) as _)
            .await
            .unwrap();
        Self {
            client,
            debit,
            pool,
        }
    }

    async fn hold(
        &self,
        debit: &TccResource<Debit>,
        xid: &Xid,
        amount: i64,
    ) -> Result<i64, TccError> {
        let mut transaction = self.pool.begin().await.unwrap();
        let arguments = json!({ "amount": amount });
        let branch_id = debit.attempt(xid, &arguments, &mut transaction).await?;
        sqlx::query("UPDATE account SET free = free - ?, held = held + ? WHERE id = 1")
            .bind(amount)
            .bind(amount)
            .execute(&mut *transaction)
            .await
            .unwrap();
        transaction.commit().await.unwrap();
        Ok(branch_id)
    }

    /// Free, held.
    async fn account(&self) -> (i64, i64) {
        let row = sqlx::query("SELECT free, held FROM account").fetch_one(&self.pool);
        let row = row.await.unwrap();
        (row.get(0), row.get(1))
    }

    async fn fences(&self) -> Vec<i8> {
        let rows = sqlx::query("SELECT status FROM tcc_fence_log ORDER BY branch_id");
        let rows = rows.fetch_all(&self.pool).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}

fn branch(xid: &Xid, branch_id: i64, resource: &str) -> Branch {
    Branch {
        xid: xid.clone(),
        branch_id,
        branch_type: BranchType::Tcc,
        resource_id: resource.to_owned(),
        application_data: r#"{"actionContext":{"amount":30}}"#.to_owned(),
    }
}

#[tokio::test]
async fn what_was_tried_is_confirmed_or_cancelled_once() {
    let world = World::new("debit").await;
    let body = async |context: TxContext| {
        let xid = context.xid.expect("a transaction");
        let id = world.hold(&world.debit, &xid, 30).await?;
        assert_eq!(world.account().await, (70, 30));
        Ok((xid, id))
    };
    let ended = world.client.global_tx(TxOptions::new("pay"), body).await;
    let ended: Result<_, GlobalError<TccError>> = ended;
    let (xid, id) = ended.unwrap();
    assert_eq!(world.account().await, (70, 0), "confirmed with the commit");
    let confirmed = branch(&xid, id, "debit");
    assert_eq!(world.debit.commit(&confirmed).await, PhaseTwo::Done);
    assert_eq!(world.account().await, (70, 0), "once");
    assert_eq!(world.debit.rollback(&confirmed).await, PhaseTwo::Never);

    let body = async |context: TxContext| {
        let xid = context.xid.expect("a transaction");
        let id = world.hold(&world.debit, &xid, 30).await.unwrap();
        Err::<(), _>((xid, id))
    };
    let ended = world.client.global_tx(TxOptions::new("pay"), body).await;
    let Err(GlobalError::Body {
        error: (xid, id),
        rollback,
    }) = ended
    else {
        panic!("{ended:?}")
    };
    assert_eq!(rollback, Some(Ok(GlobalStatus::Rollbacked)));
    assert_eq!(world.account().await, (70, 0), "given back");
    let cancelled = branch(&xid, id, "debit");
    assert_eq!(world.debit.rollback(&cancelled).await, PhaseTwo::Done);
    assert_eq!(world.account().await, (70, 0), "once");
    assert_eq!(world.debit.commit(&cancelled).await, PhaseTwo::Never);
    assert_eq!(world.fences().await, [2, 3]);

    let mut connection = world.pool.acquire().await.unwrap();
    let purged = purge(&mut connection, Duration::from_hours(1), 10).await;
    assert_eq!(purged.unwrap(), 0);
    sqlx::query("UPDATE tcc_fence_log SET gmt_modified = NOW(3) - INTERVAL 2 HOUR")
        .execute(&mut *connection)
        .await
        .unwrap();
    let purged = purge(&mut connection, Duration::from_hours(1), 1).await;
    assert_eq!(purged.unwrap(), 1, "no more than allowed");
}

/// Has the transaction rolled back between a branch's registration and its try.
#[derive(Debug)]
struct TooLate(Client);

#[async_trait]
impl Coordinator for TooLate {
    async fn register(&self, branch: &NewBranch) -> Result<i64, CoordinatorError> {
        let id = self.0.register(branch).await?;
        let rollback = self.0.rollback(&branch.xid).await;
        assert_eq!(rollback, Ok(GlobalStatus::Rollbacked));
        Ok(id)
    }

    async fn report_failed(&self, _: &NewBranch, _: i64) -> Result<(), CoordinatorError> {
        Ok(())
    }

    async fn lockable(&self, _: &NewBranch) -> Result<bool, CoordinatorError> {
        Ok(true)
    }
}

#[tokio::test]
async fn a_cancel_without_a_try_changes_nothing_and_bars_it() {
    let world = World::new("late-debit").await;
    let action = Debit {
        name: "late-debit",
        ..Debit::default()
    };
    let coordinator = Arc::new(TooLate(world.client.clone()));
    let late = TccResource::new(action, world.pool.clone(), coordinator).unwrap();
    let xid = world.client.begin("late", SOON).await.unwrap();
    let tried = world.hold(&late, &xid, 30).await;
    assert!(
        matches!(&tried, Err(TccError::Cancelled { xid: it, .. }) if *it == xid),
        "{tried:?}"
    );
    assert_eq!(world.account().await, (100, 0));
    assert_eq!(world.fences().await, [4]);
}

#[tokio::test]
async fn an_action_that_fails_leaves_nothing_behind_and_is_asked_again() {
    let world = World::new("failing-debit").await;
    let action = Debit {
        name: "failing-debit",
        ..Debit::default()
    };
    let coordinator = Arc::new(world.client.clone());
    let debit = TccResource::new(action, world.pool.clone(), coordinator).unwrap();
    let xid = world.client.begin("fails", SOON).await.unwrap();
    let id = world.hold(&debit, &xid, 30).await.unwrap();
    let tried = branch(&xid, id, "failing-debit");
    let never_tried = branch(&xid, id + 1, "failing-debit");
    assert_eq!(debit.commit(&never_tried).await, PhaseTwo::Retry);
    let failing = Debit {
        name: "failing-debit",
        fails: AtomicBool::new(true),
    };
    let coordinator = Arc::new(world.client.clone());
    let failing = TccResource::new(failing, world.pool.clone(), coordinator).unwrap();
    assert_eq!(failing.rollback(&tried).await, PhaseTwo::Retry);
    assert_eq!(world.account().await, (70, 30));
    assert_eq!(world.fences().await, [1]);
    assert_eq!(
        world.client.rollback(&xid).await,
        Ok(GlobalStatus::Rollbacked)
    );
    assert_eq!(world.account().await, (100, 0));
    let long = json!({ "text": "x".repeat(2000) });
    let mut transaction = world.pool.begin().await.unwrap();
    let refused = debit.attempt(&xid, &long, &mut transaction).await;
    assert!(
        matches!(refused, Err(TccError::Length { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn cancels_without_a_try_are_in_nobody_s_way() {
    let world = World::new("crowd").await;
    let mut crowd = tokio::task::JoinSet::new();
    for branch_id in 1..=200 {
        let debit = Arc::clone(&world.debit);
        crowd.spawn(async move {
            let xid = Xid::new(format!("127.0.0.2:8091:{}", branch_id % 7));
            debit.rollback(&branch(&xid, branch_id, "crowd")).await
        });
    }
    let answers = crowd.join_all().await;
    assert!(
        answers.iter().all(|answer| *answer == PhaseTwo::Done),
        "{answers:?}"
    );
    assert_eq!(world.fences().await, [4; 200]);
}
