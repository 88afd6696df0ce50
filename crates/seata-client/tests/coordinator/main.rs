//! The client against a real coordinator, Seata 1.8.0.

#![cfg(test)]

mod outages;
mod recorder;
mod strays;
#[path = "../support/mod.rs"]
mod support;
mod tcc;

use std::sync::Arc;
use std::time::Duration;

use seata_client::branch::{
    BranchType, Coordinator as _, CoordinatorError, PhaseTwo, Resource as _, Xid,
};
use seata_client::codec::GlobalStatus;
use seata_client::config::Config;
use seata_client::connection::Client;
use seata_client::tm::{GlobalError, TxContext, TxOptions};
use tokio::sync::OnceCell;

use recorder::{Recorder, SOON};
use support::tc::{Store, Tc, Version};

async fn new_coordinator() -> Tc {
    Tc::start(Version::V1_8, Store::File).await
}

/// One for all tests that do it no harm.
async fn coordinator() -> String {
    static TC: OnceCell<Tc> = OnceCell::const_new();
    TC.get_or_init(new_coordinator).await.address()
}

async fn client() -> Client {
    let config = Config::new([coordinator().await], "app", "group");
    let client = Client::start(config).expect("a good configuration");
    client.ready(SOON).await.expect("ready");
    client
}

async fn recorder(client: &Client, id: &str, kind: BranchType) -> Arc<Recorder> {
    let recorder = Arc::new(Recorder::new(id, kind));
    let registered = client.register_resource(Arc::clone(&recorder) as _).await;
    registered.expect("registered");
    recorder
}

/// Waits until the coordinator knows no such transaction any more.
async fn forgotten(client: &Client, xid: &Xid) {
    let deadline = tokio::time::Instant::now() + SOON;
    while client.status(xid).await != Ok(GlobalStatus::Finished) {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn is_over<T>(result: &Result<T, CoordinatorError>) -> bool {
    matches!(result, Err(CoordinatorError::TransactionOver { .. }))
}

#[tokio::test]
async fn a_transaction_begins_stands_and_ends() {
    let client = client().await;
    for end in [GlobalStatus::Committed, GlobalStatus::Rollbacked] {
        let xid = client.begin("tx", SOON).await.expect("begun");
        assert_eq!(client.status(&xid).await, Ok(GlobalStatus::Begin));
        let ended = if end == GlobalStatus::Committed {
            client.commit(&xid).await
        } else {
            client.rollback(&xid).await
        };
        assert_eq!(ended, Ok(end));
        let late = Recorder::new("late", BranchType::Tcc).branch(&xid, "");
        assert!(is_over(&client.register(&late).await));
        // Whichever way it went.
        forgotten(&client, &xid).await;
    }
    assert_eq!(client.metrics().channels(), 1, "one serves both roles");
}

#[tokio::test]
async fn an_idle_channel_is_kept() {
    let client = client().await;
    let mut readiness = client.readiness();
    // The coordinator closes a channel that is silent for 15 s.
    let lost = async { readiness.wait_for(|ready| !ready).await.is_ok() };
    let lost = tokio::time::timeout(Duration::from_secs(17), lost).await;
    assert!(lost.is_err(), "it was lost");
}

#[tokio::test]
async fn branches_get_their_second_phase_over_the_same_channel() {
    let client = client().await;
    for kind in [BranchType::Tcc, BranchType::At] {
        let recorder = recorder(&client, &format!("phase-two-{kind:?}"), kind).await;
        for (what, times) in [("commit", 1), ("rollback", 2)] {
            let xid = client.begin("tx", SOON).await.expect("begun");
            let mut branch = recorder.branch(&xid, "");
            branch.application_data = r#"{"actionContext":{"amount":7}}"#.to_owned();
            let branch_id = client.register(&branch).await.expect("registered");
            let ended = if what == "commit" {
                client.commit(&xid).await
            } else {
                client.rollback(&xid).await
            };
            assert!(ended.is_ok(), "{ended:?}");
            let asked = recorder.asked(times).await;
            let (asked_for, asked) = &asked[times - 1];
            assert_eq!((*asked_for, &asked.xid), (what, &xid));
            assert_eq!(asked.branch_id, branch_id);
            assert_eq!(asked.resource_id, recorder.resource_id());
            assert_eq!(asked.application_data, branch.application_data);
        }
    }
    assert_eq!(client.metrics().channels(), 1);
}

#[tokio::test]
async fn a_second_phase_that_fails_is_asked_for_again() {
    let client = client().await;
    let recorder = recorder(&client, "again", BranchType::Tcc).await;
    recorder.set(PhaseTwo::Retry);
    let xid = client.begin("tx", SOON).await.expect("begun");
    let branch = recorder.branch(&xid, "");
    client.register(&branch).await.expect("registered");
    let rollback = client.rollback(&xid).await;
    assert_eq!(rollback, Ok(GlobalStatus::RollbackRetrying));
    recorder.asked(2).await;
    recorder.set(PhaseTwo::Done);
    forgotten(&client, &xid).await;
}

#[tokio::test]
async fn a_time_out_rolls_back_and_the_late_commit_is_a_failure() {
    let client = client().await;
    let recorder = recorder(&client, "time-out", BranchType::Tcc).await;
    let options = TxOptions::new("slow").timeout(Duration::from_secs(1));
    let body = async |context: TxContext| {
        let xid = context.xid.expect("a transaction");
        let branch = recorder.branch(&xid, "");
        client.register(&branch).await?;
        let asked = recorder.asked(1).await;
        assert_eq!(asked[0].0, "rollback");
        let joined = client.register(&branch).await;
        assert!(is_over(&joined), "{joined:?}");
        Ok(())
    };
    let ended: Result<(), GlobalError<CoordinatorError>> = client.global_tx(options, body).await;
    assert!(
        matches!(ended, Err(GlobalError::NotCommitted { .. })),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_row_is_locked_by_one_transaction_at_a_time() {
    let client = client().await;
    let recorder = recorder(&client, "jdbc:mysql://locks/db", BranchType::At).await;
    let holder = client.begin("holder", SOON).await.expect("begun");
    let other = client.begin("other", SOON).await.expect("begun");
    let held = recorder.branch(&holder, "account:1,2");
    client.register(&held).await.expect("registered");
    client
        .register(&held)
        .await
        .expect("its own locks are no obstacle");
    let wanted = recorder.branch(&other, "account:2");
    let conflict = client.register(&wanted).await;
    // This server names only the one who asked, which must not be taken for the holder.
    let Err(CoordinatorError::LockConflict {
        holder: named,
        fail_fast,
        message,
    }) = conflict
    else {
        panic!("{conflict:?}")
    };
    assert_eq!((named, fail_fast), (None, false), "{message}");
    assert_eq!(client.lockable(&wanted).await, Ok(false));
    let free = recorder.branch(&other, "account:3");
    assert_eq!(client.lockable(&free).await, Ok(true));
    let committed = client.commit(&holder).await;
    assert_eq!(committed, Ok(GlobalStatus::Committed));
    assert_eq!(client.lockable(&wanted).await, Ok(true), "free at once");
    client.register(&wanted).await.expect("registered");
    assert_eq!(client.rollback(&other).await, Ok(GlobalStatus::Rollbacked));
}

#[tokio::test]
async fn whoever_waits_for_one_that_rolls_back_is_told_to_give_way() {
    let client = client().await;
    let recorder = recorder(&client, "jdbc:mysql://give-way/db", BranchType::At).await;
    recorder.set(PhaseTwo::Retry);
    let holder = client.begin("holder", SOON).await.expect("begun");
    let held = recorder.branch(&holder, "account:1");
    client.register(&held).await.expect("registered");
    let rollback = client.rollback(&holder).await;
    assert_eq!(rollback, Ok(GlobalStatus::RollbackRetrying));
    let other = client.begin("other", SOON).await.expect("begun");
    let mut wanted = recorder.branch(&other, "account:1");
    wanted.application_data = r#"{"autoCommit":false}"#.to_owned();
    // The code is 19 from this server and would be 20 from the next generation.
    let conflict = client.register(&wanted).await;
    let told = matches!(
        &conflict,
        Err(CoordinatorError::LockConflict {
            fail_fast: true,
            ..
        })
    );
    assert!(told, "{conflict:?}");
    recorder.set(PhaseTwo::Done);
    forgotten(&client, &holder).await;
}

#[tokio::test]
async fn a_first_phase_that_failed_is_reported_and_a_cancelled_body_rolled_back() {
    let client = client().await;
    let recorder = recorder(&client, "cancelled", BranchType::Tcc).await;
    let (begun, mut begins) = tokio::sync::mpsc::channel::<Xid>(1);
    let work = tokio::spawn({
        let (client, recorder) = (client.clone(), Arc::clone(&recorder));
        async move {
            let body = async |context: TxContext| {
                let xid = context.xid.expect("a transaction");
                let branch = recorder.branch(&xid, "");
                let branch_id = client.register(&branch).await?;
                client.report_failed(&branch, branch_id).await?;
                begun.send(xid).await.expect("somebody waits");
                std::future::pending::<Result<(), CoordinatorError>>().await
            };
            client.global_tx(TxOptions::new("cancelled"), body).await
        }
    });
    let xid = begins.recv().await.expect("begun");
    work.abort();
    // A branch whose first phase is reported as failed is not asked for its second.
    forgotten(&client, &xid).await;
}
