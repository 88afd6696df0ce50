//! The network between client and coordinator is cut, or stands still.

use std::time::Duration;

use seata_client::branch::{CoordinatorError, Xid};
use seata_client::tm::{GlobalError, TxContext, TxOptions};

use crate::support::bank::{Bank, Gate, SOON, Service, at_config, config};
use crate::support::proxy::{Network, Proxy};
use crate::support::tc::Version;
use crate::{Failure, both, coordinator, mysql};

/// A service whose way to the coordinator is in the test's hands.
async fn behind(proxy: &Proxy) -> Service {
    let bank = Bank::new(mysql().await).await;
    let mut config = config(proxy.address(), &bank);
    config.tm_timeout = Duration::from_secs(1);
    config.write_idle = Duration::from_millis(300);
    config.read_idle = Duration::from_secs(2);
    config.end_tries = 2;
    Service::start_with(config, at_config(), &bank).await
}

async fn proxy(version: Version) -> Proxy {
    Proxy::start(coordinator(version).await.address()).await
}

#[tokio::test]
async fn a_network_cut_between_the_phases_commits_nothing() {
    both(async |version| {
        let proxy = proxy(version).await;
        let service = behind(&proxy).await;
        let body = async |context: TxContext| {
            let xid = context.xid.unwrap();
            service.pay(&xid, -10, 1).await?;
            service.pay(&xid, 10, 2).await?;
            proxy.set(Network::Cut);
            let mut readiness = service.client.readiness();
            readiness.wait_for(|ready| !ready).await?;
            Ok::<_, Failure>(())
        };
        let options = TxOptions::new("cut").timeout(Duration::from_secs(3));
        let ended = service.client.global_tx(options, body).await;
        let Err(GlobalError::NotCommitted { xid, .. }) = ended else {
            panic!("{ended:?}")
        };
        assert_eq!(service.bank.balances().await, [90, 110, 100]);
        proxy.set(Network::Open);
        service.client.ready(SOON).await.unwrap();
        service.ended(&xid).await;
        assert_eq!(service.bank.balances().await, [100, 100, 100]);
        service.settled().await;
    })
    .await;
}

/// What became of it in the end: everything or nothing.
async fn one_outcome(service: &Service, xid: &Xid) {
    service.ended(xid).await;
    let balances = service.bank.balances().await;
    assert!(
        [[90, 110, 100], [100, 100, 100]].contains(&[balances[0], balances[1], balances[2]]),
        "{balances:?}"
    );
    service.settled().await;
}

#[tokio::test]
async fn a_network_that_stands_still_during_the_commit_leaves_it_open_and_one_outcome() {
    both(async |version| {
        let proxy = proxy(version).await;
        let service = behind(&proxy).await;
        let body = async |context: TxContext| {
            let xid = context.xid.unwrap();
            service.pay(&xid, -10, 1).await?;
            service.pay(&xid, 10, 2).await?;
            proxy.set(Network::Still);
            Ok::<_, Failure>(())
        };
        let options = TxOptions::new("still").timeout(Duration::from_secs(5));
        let ended = service.client.global_tx(options, body).await;
        let Err(GlobalError::OutcomeUnknown { xid, .. }) = ended else {
            panic!("{ended:?}")
        };
        proxy.set(Network::Open);
        service.client.ready(SOON).await.unwrap();
        one_outcome(&service, &xid).await;
    })
    .await;
}

/// The branch is undone, the answer is lost, and so it is asked for again.
#[tokio::test]
async fn a_second_phase_whose_answer_is_lost_is_done_once() {
    both(async |version| {
        let proxy = proxy(version).await;
        let bank = Bank::new(mysql().await).await;
        let service =
            Service::unregistered(config(proxy.address(), &bank), at_config(), &bank).await;
        let gate = Gate::closed(service.at.resource());
        service.register(gate.clone()).await;
        let xid = service.client.begin("lost", SOON).await.unwrap();
        service.pay(&xid, -10, 1).await.unwrap();
        let asking = service.client.clone();
        let rollback = tokio::spawn({
            let xid = xid.clone();
            async move { asking.rollback(&xid).await }
        });
        gate.reached().await;
        proxy.set(Network::Cut);
        let unanswered = rollback.await.unwrap();
        let told = matches!(unanswered, Err(CoordinatorError::Unanswered { .. }));
        assert!(told, "{unanswered:?}");
        gate.open();
        crate::support::process::until("the branch to be undone", SOON, async || {
            (bank.undo_rows().await == 0).then_some(())
        })
        .await;
        assert_eq!(bank.balances().await, [100, 100, 100]);
        proxy.set(Network::Open);
        service.client.ready(SOON).await.unwrap();
        service.ended(&xid).await;
        assert_eq!(bank.balances().await, [100, 100, 100]);
        service.settled().await;
    })
    .await;
}

#[tokio::test]
async fn a_cut_before_the_first_branch_is_a_clear_error() {
    both(async |version| {
        let proxy = proxy(version).await;
        let service = behind(&proxy).await;
        let xid = service.client.begin("cut", Duration::from_secs(2)).await;
        let xid = xid.unwrap();
        proxy.set(Network::Cut);
        let mut readiness = service.client.readiness();
        readiness.wait_for(|ready| !ready).await.unwrap();
        let refused = service.pay(&xid, -10, 1).await;
        let told = format!("{refused:?}");
        assert!(told.contains("NoChannel"), "{told}");
        assert_eq!(service.bank.balances().await, [100, 100, 100]);
        proxy.set(Network::Open);
        service.client.ready(SOON).await.unwrap();
        service.ended(&xid).await;
        service.settled().await;
    })
    .await;
}
