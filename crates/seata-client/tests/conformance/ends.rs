//! Commit, rollback and time-out of transactions over two databases and an action.

use std::sync::Arc;
use std::time::Duration;

use seata_client::at::Undone;
use seata_client::branch::{PhaseTwo, Resource as _, Xid};
use seata_client::codec::GlobalStatus;
use seata_client::tcc::TccResource;
use seata_client::tm::{GlobalError, TxContext, TxOptions};

use crate::hold::{Hold, all, hold, holds};
use crate::support::bank::{PAY, SOON, Service};
use crate::support::process::until;
use crate::support::tc::Version;
use crate::{Failure, both, service};

/// Two banks, and an action beside the second.
struct Town {
    from: Service,
    to: Service,
    holds: Arc<TccResource<Hold>>,
}

impl Town {
    async fn new(version: Version) -> Self {
        let (from, to) = (service(version).await, service(version).await);
        let holds = holds(&to).await;
        Self { from, to, holds }
    }

    /// Three branches: 10 leave one bank and come to two accounts of the other, where a name is
    /// held.
    async fn transfer(&self, xid: &Xid) -> Result<(), Failure> {
        self.from.pay(xid, -10, 1).await?;
        let mut local = self.to.at.begin(xid).await?;
        local.execute(PAY, &[4.into(), 1.into()]).await?;
        local.execute(PAY, &[6.into(), 2.into()]).await?;
        local.commit().await?;
        hold(&self.holds, &self.to, xid, "transfer").await?;
        Ok(())
    }

    async fn is_untouched(&self) {
        assert_eq!(self.from.bank.balances().await, [100, 100, 100]);
        assert_eq!(self.to.bank.balances().await, [100, 100, 100]);
        assert_eq!(all(&self.to).await, []);
    }

    async fn settled(&self) {
        self.from.settled().await;
        self.to.settled().await;
    }
}

#[tokio::test]
async fn three_branches_are_committed_together() {
    both(async |version| {
        let town = Town::new(version).await;
        let body = async |context: TxContext| town.transfer(&context.xid.unwrap()).await;
        let options = TxOptions::new("transfer");
        let ended: Result<(), _> = town.from.client.global_tx(options, body).await;
        ended.unwrap();
        assert_eq!(town.from.bank.balances().await, [90, 100, 100]);
        assert_eq!(town.to.bank.balances().await, [104, 106, 100]);
        let kept = until("the action to be confirmed", SOON, async || {
            let holds = all(&town.to).await;
            holds.iter().all(|(_, kept)| *kept).then_some(holds)
        })
        .await;
        assert_eq!(kept, [("transfer".to_owned(), true)]);
        town.settled().await;
    })
    .await;
}

#[tokio::test]
async fn three_branches_are_rolled_back_together() {
    both(async |version| {
        let town = Town::new(version).await;
        let body = async |context: TxContext| {
            town.transfer(&context.xid.unwrap()).await?;
            assert_eq!(town.from.bank.undo_rows().await, 1);
            Err::<(), _>(Failure::from("changed my mind"))
        };
        let options = TxOptions::new("transfer");
        let ended = town.from.client.global_tx(options, body).await;
        let Err(GlobalError::Body { rollback, .. }) = ended else {
            panic!("{ended:?}")
        };
        assert_eq!(rollback, Some(Ok(GlobalStatus::Rollbacked)));
        town.is_untouched().await;
        town.settled().await;
    })
    .await;
}

#[tokio::test]
async fn after_a_time_out_everything_is_undone_and_nothing_can_be_added() {
    both(async |version| {
        let town = Town::new(version).await;
        let body = async |context: TxContext| {
            let xid = context.xid.unwrap();
            town.transfer(&xid).await?;
            town.from.ended(&xid).await;
            town.is_untouched().await;
            let late = town.from.pay(&xid, -10, 2).await.unwrap_err();
            let told = format!("{late:?}");
            assert!(told.contains("TransactionOver"), "{told}");
            assert!(hold(&town.holds, &town.to, &xid, "late").await.is_err());
            Ok::<(), Failure>(())
        };
        let options = TxOptions::new("slow").timeout(Duration::from_secs(1));
        let ended = town.from.client.global_tx(options, body).await;
        let told = matches!(ended, Err(GlobalError::NotCommitted { .. }));
        assert!(told, "{ended:?}");
        town.is_untouched().await;
        town.settled().await;
    })
    .await;
}

/// The rows of one transaction that was begun at 1 after another.
async fn twice(service: &Service) -> Xid {
    let xid = service.client.begin("twice", SOON).await.unwrap();
    service.pay(&xid, -10, 1).await.unwrap();
    service.pay(&xid, -20, 1).await.unwrap();
    xid
}

#[tokio::test]
async fn two_branches_on_one_row_are_undone_in_reverse_order() {
    let service = service(Version::V1_8).await;
    let xid = twice(&service).await;
    assert_eq!(service.bank.balances().await, [70, 100, 100]);
    let ended = service.client.rollback(&xid).await;
    assert_eq!(ended, Ok(GlobalStatus::Rollbacked));
    assert_eq!(service.bank.balances().await, [100, 100, 100]);
    service.settled().await;
}

/// Coordinator 2.0.0 asks for the oldest branch first. The client finds its row changed and leaves
/// everything as it is; Java's client ends with a balance of neither time.
#[tokio::test]
async fn known_fault_of_coordinator_2_0_0_two_branches_on_one_row_are_not_undone_but_left_whole() {
    let service = service(Version::V2_0).await;
    let xid = twice(&service).await;
    let ended = service.client.rollback(&xid).await;
    assert_eq!(
        ended,
        Ok(GlobalStatus::RollbackFailed),
        "coordinator 2.0.0 rolls branches back in the order of their registration; if it does no \
         longer, this test can go"
    );
    assert_eq!(service.bank.balances().await, [70, 100, 100]);
    assert_eq!(service.bank.undo_rows().await, 2, "nothing is lost");
    // What a person does: undo the branches in the right order.
    let resource = service.at.resource();
    let branches = service.bank.branches(resource.resource_id()).await;
    for branch in branches.iter().rev() {
        assert_eq!(resource.undo(branch).await.unwrap(), Undone::Rows);
    }
    assert_eq!(service.bank.balances().await, [100, 100, 100]);
    assert_eq!(service.bank.undo_rows().await, 0);
}

#[tokio::test]
async fn two_updates_of_one_row_in_one_branch_are_undone_by_both_coordinators() {
    both(async |version| {
        let service = service(version).await;
        let xid = service.client.begin("once", SOON).await.unwrap();
        let mut local = service.at.begin(&xid).await.unwrap();
        local.execute(PAY, &[(-10).into(), 1.into()]).await.unwrap();
        local.execute(PAY, &[(-20).into(), 1.into()]).await.unwrap();
        local.commit().await.unwrap();
        let ended = service.client.rollback(&xid).await;
        assert_eq!(ended, Ok(GlobalStatus::Rollbacked));
        assert_eq!(service.bank.balances().await, [100, 100, 100]);
        service.settled().await;
    })
    .await;
}

#[tokio::test]
async fn second_phases_that_are_asked_for_again_change_nothing_more() {
    both(async |version| {
        let service = service(version).await;
        let resource = service.at.resource();
        for commits in [true, false] {
            let before = service.bank.balances().await;
            let xid = service.client.begin("again", SOON).await.unwrap();
            service.pay(&xid, -10, 1).await.unwrap();
            let branches = service.bank.branches(resource.resource_id()).await;
            if commits {
                service.client.commit(&xid).await.unwrap();
            } else {
                service.client.rollback(&xid).await.unwrap();
            }
            service.ended(&xid).await;
            let after = service.bank.balances().await;
            assert_eq!(after != before, commits);
            for _ in 0..2 {
                for branch in &branches {
                    let again = if commits {
                        resource.commit(branch).await
                    } else {
                        resource.rollback(branch).await
                    };
                    assert_eq!(again, PhaseTwo::Done);
                }
            }
            assert_eq!(service.bank.balances().await, after);
            service.settled().await;
        }
    })
    .await;
}
