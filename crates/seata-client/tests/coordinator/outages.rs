//! Coordinators that die, come back, or stand still.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use seata_client::branch::{BranchType, Coordinator as _, CoordinatorError};
use seata_client::codec::GlobalStatus;
use seata_client::config::Config;
use seata_client::connection::Client;
use seata_client::tm::{GlobalError, TxContext, TxOptions};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::new_coordinator;
use crate::recorder::{Recorder, SOON};

const WORKERS: usize = 8;

#[tokio::test]
async fn a_killed_coordinator_is_found_again_within_two_seconds() {
    let mut tc = new_coordinator().await;
    let config = Config::new([tc.address()], "app", "group");
    let client = Client::start(config).expect("a good configuration");
    client.ready(SOON).await.expect("ready");
    let recorder = Arc::new(Recorder::new("survivor", BranchType::Tcc));
    let registered = client.register_resource(Arc::clone(&recorder) as _).await;
    registered.expect("registered");

    tc.kill();
    let mut readiness = client.readiness();
    let gone = async { readiness.wait_for(|ready| !ready).await.is_ok() };
    assert_eq!(tokio::time::timeout(SOON, gone).await, Ok(true));
    let refused = client.begin("nobody", SOON).await;
    let at_once = matches!(refused, Err(CoordinatorError::NoChannel { .. }));
    assert!(at_once, "{refused:?}");

    tc.launch();
    tc.ready().await;
    let ready = Instant::now();
    client.ready(SOON).await.expect("again");
    let took = ready.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    let xid = client.begin("again", SOON).await.expect("begun");
    let branch = recorder.branch(&xid, "");
    client.register(&branch).await.expect("registered");
    assert_eq!(client.commit(&xid).await, Ok(GlobalStatus::Committed));
    // The new coordinator was told of the resource without anybody's doing.
    assert_eq!(recorder.asked(1).await[0].0, "commit");
    client.shutdown(SOON).await;
}

/// Runs transactions one after the other and says when one was committed.
async fn work(client: Client, recorder: Arc<Recorder>, committed: mpsc::Sender<usize>, me: usize) {
    loop {
        let body = async |context: TxContext| {
            let branch = recorder.branch(&context.xid.expect("a transaction"), "");
            client.register(&branch).await
        };
        let ended = client.global_tx(TxOptions::new("load"), body).await;
        let ended: Result<_, GlobalError<CoordinatorError>> = ended;
        if ended.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        } else if committed.send(me).await.is_err() {
            return;
        }
    }
}

/// Until every worker has committed again.
async fn all(committed: &mut mpsc::Receiver<usize>) {
    while committed.try_recv().is_ok() {}
    let everybody = async {
        let mut seen = BTreeSet::new();
        while seen.len() < WORKERS {
            seen.insert(committed.recv().await.expect("they work"));
        }
    };
    let in_time = tokio::time::timeout(SOON, everybody).await;
    in_time.expect("everybody commits");
}

#[tokio::test]
async fn work_that_goes_on_while_a_coordinator_is_killed_goes_on_after_it() {
    let mut tc = new_coordinator().await;
    let config = Config::new([tc.address()], "app", "group");
    let client = Client::start(config).expect("a good configuration");
    client.ready(SOON).await.expect("ready");
    let recorder = Arc::new(Recorder::new("load", BranchType::Tcc));
    let registered = client.register_resource(Arc::clone(&recorder) as _).await;
    registered.expect("registered");
    let (committed, mut commits) = mpsc::channel(WORKERS);
    let mut workers = JoinSet::new();
    for me in 0..WORKERS {
        workers.spawn(work(
            client.clone(),
            Arc::clone(&recorder),
            committed.clone(),
            me,
        ));
    }
    all(&mut commits).await;
    tc.kill();
    tc.launch();
    tc.ready().await;
    let ready = Instant::now();
    all(&mut commits).await;
    let took = ready.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    workers.shutdown().await;
    client.shutdown(SOON).await;
    assert_eq!(client.outstanding(), 0);
}

#[tokio::test]
async fn a_coordinator_that_stands_still_costs_time_outs_and_refusals_only() {
    let tc = new_coordinator().await;
    let mut config = Config::new([tc.address()], "app", "group");
    config.tm_timeout = Duration::from_secs(1);
    config.outstanding_max = 4;
    let client = Client::start(config).expect("a good configuration");
    client.ready(SOON).await.expect("ready");
    let before = client.begin("before", SOON).await.expect("begun");

    tc.freeze();
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.begin("waiting", SOON).await })
        })
        .collect();
    while client.outstanding() < 4 {
        tokio::task::yield_now().await;
    }
    let refused = client.begin("too many", SOON).await;
    let full = matches!(&refused, Err(CoordinatorError::NoChannel { message })
        if message.contains("outstanding"));
    assert!(full, "{refused:?}");
    for one in waiting {
        let lost = one.await.expect("ran");
        let unanswered = matches!(lost, Err(CoordinatorError::Unanswered { .. }));
        assert!(unanswered, "{lost:?}");
    }

    tc.thaw();
    // What comes now is nobody's, and the next answers are their own.
    let deadline = Instant::now() + SOON;
    while client.metrics().late_answers() < 4 {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(client.status(&before).await, Ok(GlobalStatus::Begin));
    assert_eq!(client.rollback(&before).await, Ok(GlobalStatus::Rollbacked));
}
