//! The coordinator is killed between the phases, and comes back with what it has stored.

use std::sync::Arc;
use std::time::Duration;

use seata_client::branch::Xid;
use seata_client::codec::GlobalStatus;
use tokio::task::JoinHandle;

use crate::mysql;
use crate::support::bank::{Bank, Gate, SOON, Service, at_config, config};
use crate::support::process::until;
use crate::support::tc::{Store, Tc, Version};

/// A transaction with a branch that is registered and locally committed.
struct Begun {
    service: Service,
    gate: Arc<Gate>,
    xid: Xid,
}

impl Begun {
    async fn new(tc: &Tc, timeout: Duration) -> Self {
        let bank = Bank::new(mysql().await).await;
        let service = Service::unregistered(config(&tc.address(), &bank), at_config(), &bank).await;
        let gate = Gate::closed(service.at.resource());
        service.register(gate.clone()).await;
        let xid = service.client.begin("restart", timeout).await.unwrap();
        service.pay(&xid, -10, 1).await.unwrap();
        Self { service, gate, xid }
    }

    /// Begins the rollback, which gets as far as the gate.
    async fn rolling_back(&self) -> JoinHandle<()> {
        let (client, xid) = (self.service.client.clone(), self.xid.clone());
        let asking = tokio::spawn(async move {
            let unanswered = client.rollback(&xid).await;
            assert!(unanswered.is_err(), "{unanswered:?}");
        });
        self.gate.reached().await;
        asking
    }

    async fn ends(&self, balance: i64) {
        self.gate.open();
        self.service.ended(&self.xid).await;
        assert_eq!(self.service.bank.balances().await, [balance, 100, 100]);
        self.service.settled().await;
    }
}

async fn survives(version: Version, store: Store<'_>) {
    let mut tc = Tc::start(version, store).await;
    let to_commit = Begun::new(&tc, SOON).await;
    let to_roll_back = Begun::new(&tc, SOON).await;
    let to_forget = Begun::new(&tc, Duration::from_secs(3)).await;
    let committed = Begun::new(&tc, SOON).await;
    let rolling_back = Begun::new(&tc, SOON).await;
    let ended = committed.service.client.commit(&committed.xid).await;
    assert_eq!(ended, Ok(GlobalStatus::Committed));
    committed.gate.reached().await;
    let asking = rolling_back.rolling_back().await;

    tc.kill();
    tc.start_again().await;
    asking.await.unwrap();
    let all = [
        &to_commit,
        &to_roll_back,
        &to_forget,
        &committed,
        &rolling_back,
    ];
    for begun in all {
        begun.service.client.ready(SOON).await.unwrap();
        begun.gate.open();
    }
    let ended = to_commit.service.client.commit(&to_commit.xid).await;
    assert_eq!(ended, Ok(GlobalStatus::Committed));
    let ended = to_roll_back.service.client.rollback(&to_roll_back.xid);
    assert_eq!(ended.await, Ok(GlobalStatus::Rollbacked));
    to_commit.ends(90).await;
    to_roll_back.ends(100).await;
    to_forget.ends(100).await;
    committed.ends(90).await;
    rolling_back.ends(100).await;
}

#[tokio::test]
async fn a_killed_coordinator_1_8_0_with_a_database_goes_on_where_it_was() {
    survives(Version::V1_8, Store::Db(mysql().await)).await;
}

#[tokio::test]
async fn a_killed_coordinator_2_0_0_with_files_goes_on_where_it_was() {
    survives(Version::V2_0, Store::File).await;
}

#[tokio::test]
async fn locks_outlive_a_killed_coordinator() {
    let mut tc = Tc::start(Version::V1_8, Store::File).await;
    let begun = Begun::new(&tc, SOON).await;
    tc.kill();
    tc.start_again().await;
    begun.service.client.ready(SOON).await.unwrap();
    let other = begun.service.client.begin("other", SOON).await.unwrap();
    let conflicts = begun.service.at.metrics().lock_conflicts;
    let paying = begun.service.pay(&other, -1, 1);
    let ending = async {
        until("the lock to be met", SOON, async || {
            (begun.service.at.metrics().lock_conflicts > conflicts).then_some(())
        })
        .await;
        begun.gate.open();
        begun.service.client.rollback(&begun.xid).await
    };
    let (paid, ended) = tokio::join!(paying, ending);
    assert_eq!(ended, Ok(GlobalStatus::Rollbacked));
    paid.unwrap();
    begun.service.client.rollback(&other).await.unwrap();
    begun.ends(100).await;
}
