//! A branch that is registered in time and commits too late.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use seata_client::at::{AtPool, Error};
use seata_client::branch::{Coordinator, CoordinatorError, NewBranch, Resource as _};
use seata_client::codec::GlobalStatus;
use seata_client::connection::Client;
use sqlx::Connection as _;

use crate::support::bank::{Bank, PAY, SOON, Service, at_config};
use crate::support::database::pool;
use crate::support::tc::{Store, Tc, Version};
use crate::{both, mysql, service};

/// Rolls the transaction back between a branch's registration and its local commit, as a time-out
/// may.
#[derive(Debug)]
struct TooLate(Client);

#[async_trait]
impl Coordinator for TooLate {
    async fn register(&self, branch: &NewBranch) -> Result<i64, CoordinatorError> {
        let id = self.0.register(branch).await?;
        let ended = self.0.rollback(&branch.xid).await;
        assert_eq!(ended, Ok(GlobalStatus::Rollbacked));
        Ok(id)
    }

    async fn report_failed(
        &self,
        branch: &NewBranch,
        branch_id: i64,
    ) -> Result<(), CoordinatorError> {
        self.0.report_failed(branch, branch_id).await
    }

    async fn lockable(&self, branch: &NewBranch) -> Result<bool, CoordinatorError> {
        self.0.lockable(branch).await
    }
}

#[tokio::test]
async fn a_branch_that_commits_after_its_rollback_leaves_nothing() {
    both(async |version| {
        let service = service(version).await;
        let late = AtPool::new(
            pool(service.bank.port, &service.bank.database, 2),
            Arc::new(TooLate(service.client.clone())),
            at_config(),
        );
        let late = late.await.unwrap();
        let xid = service.client.begin("late", SOON).await.unwrap();
        let refused = late.execute(&xid, PAY, &[(-10).into(), 1.into()]).await;
        let told = matches!(refused, Err(Error::AlreadyRolledBack(_)));
        assert!(told, "{refused:?}");
        assert_eq!(service.bank.balances().await, [100, 100, 100]);
        service.ended(&xid).await;
        service.settled().await;
    })
    .await;
}

/// A coordinator looks whether a transaction is open, takes the branch's locks, and then writes the
/// branch down. If it is slow between these, as after a cold start, a time-out can pass through: it
/// rolls back what is written down, and the branch comes after that.
async fn registered_through_a_time_out(version: Version) {
    let mysql = mysql().await;
    let tc = Tc::start(version, Store::Db(mysql)).await;
    let service = Service::start(&tc.address(), &Bank::new(mysql).await).await;
    let xid = service.client.begin("slow", Duration::from_secs(1)).await;
    let xid = xid.unwrap();
    let resource = service.at.resource();
    let key = format!("{}^^^account^^^1", resource.resource_id());
    let mut slow = mysql.connect(tc.database().unwrap()).await;
    let mut held = slow.begin().await.unwrap();
    sqlx::query("INSERT INTO lock_table (row_key, xid, branch_id) VALUES (?, 'nobody', 1)")
        .bind(key)
        .execute(&mut *held)
        .await
        .unwrap();
    let paying = service.pay(&xid, -10, 1);
    let timing_out = async {
        service.ended(&xid).await;
        held.rollback().await.unwrap();
    };
    let (paid, ()) = tokio::join!(paying, timing_out);
    let told = format!("{paid:?}");
    assert!(told.contains("TransactionOver"), "{told}");
    assert_eq!(service.bank.balances().await, [100, 100, 100]);
    assert_eq!(service.bank.undo_rows().await, 0);
}

#[tokio::test]
async fn a_branch_that_is_registered_through_a_time_out_leaves_nothing() {
    both(registered_through_a_time_out).await;
}
