//! A branch that is registered in time and commits too late.

use std::sync::Arc;

use async_trait::async_trait;
use seata_client::at::{AtPool, Error};
use seata_client::branch::{Coordinator, CoordinatorError, NewBranch};
use seata_client::codec::GlobalStatus;
use seata_client::connection::Client;

use crate::support::bank::{PAY, SOON, at_config};
use crate::support::database::pool;
use crate::{both, service};

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
