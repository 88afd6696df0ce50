//! Whole transactions against a coordinator that answers as it is told.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::branch::{CoordinatorError, Xid};
use crate::codec::{GlobalStatus, Message};
use crate::testing::{Fake, Reply, agreeable, ended, xid};

const BEGIN: i16 = 1;
const COMMIT: i16 = 7;
const ROLLBACK: i16 = 9;

type Ended = Result<u8, GlobalError<String>>;

fn options() -> TxOptions {
    TxOptions::new("transfer")
}

fn rollbacks(it: Option<&Message>) -> bool {
    matches!(it, Some(Message::GlobalRollback(_)))
}

#[tokio::test]
async fn success_commits_and_the_body_knows_its_transaction() {
    let fake = Fake::start("1.8.0", agreeable).await;
    let client = fake.client(fake.config()).await;
    let body = async |context: TxContext| {
        assert_eq!(context.xid, Xid::current());
        assert!(context.launcher);
        // A spawned task has none unless it is given one.
        let spawned = tokio::spawn(async { Xid::current() });
        assert_eq!(spawned.await.expect("ran"), None);
        Ok(7)
    };
    let ended: Ended = client.global_tx(options(), body).await;
    assert_eq!(ended, Ok(7));
    let counts = [BEGIN, COMMIT, ROLLBACK].map(|code| fake.count(code));
    assert_eq!(counts, [1, 1, 0]);
}

#[tokio::test]
async fn failure_rolls_back_and_keeps_the_body_s_error() {
    let fake = Fake::start("1.8.0", agreeable).await;
    let client = fake.client(fake.config()).await;
    let ended: Ended = client
        .global_tx(options(), async |_| Err("no money".to_owned()))
        .await;
    let expected = GlobalError::Body {
        error: "no money".to_owned(),
        rollback: Some(Ok(GlobalStatus::Rollbacked)),
    };
    assert_eq!(ended, Err(expected));
    assert_eq!([COMMIT, ROLLBACK].map(|code| fake.count(code)), [0, 1]);
}

#[tokio::test]
async fn whoever_joins_does_not_end() {
    let fake = Fake::start("1.8.0", agreeable).await;
    let client = fake.client(fake.config()).await;
    let join = client.global_tx(options(), async |context| {
        assert_eq!(context.xid, Some(xid()));
        assert!(!context.launcher);
        Err("no money".to_owned())
    });
    let joined: Ended = xid().scope(join).await;
    assert!(matches!(
        joined,
        Err(GlobalError::Body { rollback: None, .. })
    ));
    let never = options().propagation(Propagation::Never);
    let refused: Ended = xid().scope(client.global_tx(never, async |_| Ok(1))).await;
    assert!(matches!(refused, Err(GlobalError::Propagation(_))));
    let without = options().propagation(Propagation::NotSupported);
    let outside = client.global_tx(without, async |context| {
        assert_eq!((context.xid, Xid::current()), (None, None));
        Ok(1)
    });
    let outside: Ended = xid().scope(outside).await;
    assert_eq!(outside, Ok(1));
    let counts = [BEGIN, COMMIT, ROLLBACK].map(|code| fake.count(code));
    assert_eq!(counts, [0, 0, 0]);
}

#[tokio::test]
async fn a_cancelled_body_is_rolled_back() {
    let fake = Fake::start("1.8.0", agreeable).await;
    let client = fake.client(fake.config()).await;
    let (started, mut starts) = tokio::sync::mpsc::channel(1);
    let work = {
        let client = client.clone();
        tokio::spawn(async move {
            let body = async |_| {
                started.send(()).await.expect("somebody waits");
                std::future::pending::<Ended>()
                    .await
                    .map_err(|_| String::new())
            };
            client.global_tx(options(), body).await
        })
    };
    starts.recv().await.expect("started");
    work.abort();
    fake.seen(1, |_, it| rollbacks(it)).await;
    assert_eq!(fake.count(COMMIT), 0);
}

#[tokio::test]
async fn cancelled_while_it_begins_it_is_rolled_back_as_soon_as_it_has_begun() {
    let fake = Fake::start("1.8.0", |message| match message {
        Message::GlobalBegin(_) => Reply::Never,
        other => agreeable(other),
    })
    .await;
    let client = fake.client(fake.config()).await;
    let work = {
        let client = client.clone();
        tokio::spawn(async move {
            let ended: Ended = client.global_tx(options(), async |_| Ok(1)).await;
            ended
        })
    };
    let begins = |it: Option<&Message>| matches!(it, Some(Message::GlobalBegin(_)));
    let seen = fake.seen(1, |_, it| begins(it)).await;
    work.abort();
    assert!(work.await.is_err());
    fake.answer(seen[0].0, &crate::testing::begun("127.0.0.1:8091:42"));
    fake.seen(1, |_, it| rollbacks(it)).await;
}

#[tokio::test]
async fn a_body_that_panics_is_rolled_back() {
    let fake = Fake::start("1.8.0", agreeable).await;
    let client = fake.client(fake.config()).await;
    let work = tokio::spawn(async move {
        let ended: Ended = client
            .global_tx(options(), async |_| panic!("as it was told"))
            .await;
        ended
    });
    assert!(work.await.is_err());
    fake.seen(1, |_, it| rollbacks(it)).await;
    assert_eq!(fake.count(COMMIT), 0);
}

#[tokio::test]
async fn a_commit_that_began_is_seen_through_though_nobody_waits() {
    let asked = AtomicUsize::new(0);
    let fake = Fake::start("1.8.0", move |message| match message {
        // The first is lost; the second comes after the caller has gone.
        Message::GlobalCommit(_) if asked.fetch_add(1, Ordering::SeqCst) == 0 => Reply::Never,
        other => agreeable(other),
    })
    .await;
    let mut config = fake.config();
    config.tm_timeout = Duration::from_millis(300);
    let client = fake.client(config).await;
    let work = {
        let client = client.clone();
        tokio::spawn(async move {
            let ended: Ended = client.global_tx(options(), async |_| Ok(1)).await;
            ended
        })
    };
    let commits = |it: Option<&Message>| matches!(it, Some(Message::GlobalCommit(_)));
    fake.seen(1, |_, it| commits(it)).await;
    work.abort();
    fake.seen(2, |_, it| commits(it)).await;
    client.shutdown(Duration::from_secs(5)).await;
    assert_eq!(fake.count(ROLLBACK), 0);
}

#[tokio::test]
async fn finished_after_a_lost_answer_is_an_unknown_outcome() {
    let asked = AtomicUsize::new(0);
    let fake = Fake::start("1.8.0", move |message| match message {
        Message::GlobalCommit(_) if asked.fetch_add(1, Ordering::SeqCst) == 0 => Reply::HangUp,
        Message::GlobalCommit(_) => {
            Reply::Now(Message::GlobalCommitResponse(ended(GlobalStatus::Finished)))
        }
        other => agreeable(other),
    })
    .await;
    let client = fake.client(fake.config()).await;
    let ended: Ended = client.global_tx(options(), async |_| Ok(1)).await;
    let Err(GlobalError::OutcomeUnknown {
        xid: lost, status, ..
    }) = ended
    else {
        panic!("{ended:?}")
    };
    assert_eq!((lost, status), (xid(), Some(GlobalStatus::Finished)));
}

#[tokio::test]
async fn a_commit_answered_with_a_rollback_is_a_failure() {
    let fake = Fake::start("1.8.0", |message| match message {
        Message::GlobalCommit(_) => Reply::Now(Message::GlobalCommitResponse(ended(
            GlobalStatus::TimeoutRollbacking,
        ))),
        other => agreeable(other),
    })
    .await;
    let client = fake.client(fake.config()).await;
    let ended: Ended = client.global_tx(options(), async |_| Ok(1)).await;
    let status = Some(GlobalStatus::TimeoutRollbacking);
    assert!(matches!(ended, Err(GlobalError::NotCommitted { status: it, .. }) if it == status));
}

#[tokio::test]
async fn ends_are_tried_as_often_as_configured_and_then_told_apart() {
    let fake = Fake::start("1.8.0", |message| match message {
        Message::GlobalCommit(_) | Message::GlobalRollback(_) => Reply::Never,
        other => agreeable(other),
    })
    .await;
    let mut config = fake.config();
    config.tm_timeout = Duration::from_millis(20);
    config.end_tries = 3;
    let client = fake.client(config).await;
    let ended: Ended = client.global_tx(options(), async |_| Ok(1)).await;
    assert!(matches!(
        ended,
        Err(GlobalError::OutcomeUnknown { status: None, .. })
    ));
    assert_eq!(fake.count(COMMIT), 3);
    let ended: Ended = client
        .global_tx(options(), async |_| Err("no".to_owned()))
        .await;
    let Err(GlobalError::Body {
        rollback: Some(Err(error)),
        ..
    }) = ended
    else {
        panic!("{ended:?}")
    };
    assert!(matches!(error, CoordinatorError::Unanswered { .. }));
    assert_eq!(fake.count(ROLLBACK), 3);
}

#[tokio::test]
async fn a_commit_that_was_never_sent_is_not_committed_and_rolled_back() {
    let fake = Fake::start("1.8.0", |message| match message {
        // A coordinator that does not answer is in the way of everything that comes after.
        Message::GlobalStatus(_) => Reply::Never,
        other => agreeable(other),
    })
    .await;
    let mut config = fake.config();
    config.outstanding_max = 1;
    config.end_tries = 2;
    let client = fake.client(config).await;
    let other = client.clone();
    let (full, mut fills) = tokio::sync::mpsc::channel(1);
    let body = async |_| {
        let in_the_way = tokio::spawn(async move { other.status(&xid()).await });
        let waits = |it: Option<&Message>| matches!(it, Some(Message::GlobalStatus(_)));
        fake.seen(1, |_, it| waits(it)).await;
        full.send(in_the_way).await.expect("somebody waits");
        Ok(1)
    };
    let ended: Ended = client.global_tx(options(), body).await;
    assert!(
        matches!(ended, Err(GlobalError::NotCommitted { status: None, .. })),
        "{ended:?}"
    );
    fills.recv().await.expect("full").abort();
    fake.seen(1, |_, it| rollbacks(it)).await;
    assert_eq!(fake.count(COMMIT), 0);
}
