//! The connection against a coordinator that answers as it is told.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::Client;
use crate::branch::{BranchType, Coordinator as _, CoordinatorError, NewBranch};
use crate::codec::{
    BranchEnd, BranchStatus, FrameKind, GlobalBegun, GlobalStatus, Merged, Message, ResultHead,
};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::testing::{Act, Fake, Puppet, Reply, SOON, agreeable, begun, ended, xid};

const SHORT: Duration = Duration::from_millis(50);
const MINUTE: Duration = Duration::from_mins(1);

fn is_no_channel<T>(result: &Result<T, CoordinatorError>) -> bool {
    matches!(result, Err(CoordinatorError::NoChannel { .. }))
}

fn is_unanswered<T>(result: &Result<T, CoordinatorError>) -> bool {
    matches!(result, Err(CoordinatorError::Unanswered { .. }))
}

#[tokio::test]
async fn without_a_channel_a_request_fails_at_once() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address").to_string();
    drop(free);
    let client = Client::start(Config::new([address], "app", "group")).expect("starts");
    let started = Instant::now();
    assert!(is_no_channel(&client.begin("tx", MINUTE).await));
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(!*client.readiness().borrow());
    assert!(is_no_channel(&client.ready(SHORT).await));
}

#[tokio::test]
async fn one_request_too_many_is_refused_and_was_not_sent() {
    let fake = Fake::start("1.8.0", |_| Reply::Never).await;
    let mut config = fake.config();
    config.outstanding_max = 2;
    config.tm_timeout = SOON;
    let client = fake.client(config).await;
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.begin("tx", MINUTE).await })
        })
        .collect();
    fake.seen(2, |_, it| matches!(it, Some(Message::GlobalBegin(_))))
        .await;
    assert_eq!(client.outstanding(), 2);
    let refused = client.begin("tx", MINUTE).await;
    assert!(
        matches!(refused, Err(CoordinatorError::NoChannel { message })
        if message.contains("2 requests are outstanding"))
    );
    // Who stops waiting makes room.
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    for one in waiting {
        assert!(one.await.is_err());
    }
    assert_eq!(client.outstanding(), 0);
}

#[tokio::test]
async fn an_answer_that_comes_late_is_ignored() {
    let fake = Fake::start("1.8.0", |message| match message {
        Message::GlobalBegin(_) => Reply::Never,
        other => agreeable(other),
    })
    .await;
    let mut config = fake.config();
    config.tm_timeout = SHORT;
    let client = fake.client(config).await;
    let begin = client.begin("tx", MINUTE).await;
    assert!(is_unanswered(&begin), "{begin:?}");
    let seen = fake
        .seen(1, |_, it| matches!(it, Some(Message::GlobalBegin(_))))
        .await;
    fake.answer(seen[0].0, &begun("127.0.0.1:8091:1"));
    // The channel goes on, and its own answers are its own.
    let deadline = Instant::now() + SOON;
    while client.metrics().late_answers() == 0 {
        assert!(Instant::now() < deadline);
        tokio::task::yield_now().await;
        let _ = client.status(&xid()).await;
    }
    assert_eq!(client.metrics().late_answers(), 1);
}

#[tokio::test]
async fn a_channel_that_ends_leaves_its_requests_unanswered_and_is_replaced() {
    let fake = Fake::start("1.8.0", |message| match message {
        Message::GlobalCommit(_) => Reply::HangUp,
        other => agreeable(other),
    })
    .await;
    let client = fake.client(fake.config()).await;
    let commit = client.commit(&xid()).await;
    assert!(is_unanswered(&commit), "{commit:?}");
    client.ready(SOON).await.expect("again");
    fake.seen(2, |_, it| matches!(it, Some(Message::RegisterTm(_))))
        .await;
    let mut readiness = client.readiness();
    readiness.wait_for(|ready| *ready).await.expect("again");
    assert_eq!(client.status(&xid()).await, Ok(GlobalStatus::Begin));
}

#[tokio::test]
async fn heartbeats_fill_the_silence_and_a_silent_coordinator_is_dropped() {
    // This one answers no heartbeats.
    let fake = Fake::start("1.8.0", agreeable).await;
    let mut config = fake.config();
    config.write_idle = SHORT;
    config.read_idle = SHORT * 6;
    let client = fake.client(config).await;
    fake.seen(2, |kind, _| kind == FrameKind::HeartbeatRequest)
        .await;
    fake.seen(2, |_, it| matches!(it, Some(Message::RegisterTm(_))))
        .await;
    drop(client);
}

fn registrations(it: Option<&Message>) -> bool {
    matches!(it, Some(Message::RegisterRm(..)))
}

#[tokio::test]
async fn resources_are_registered_now_and_after_every_reconnect() {
    let fake = Fake::start("1.8.0", agreeable).await;
    let client = fake.client(fake.config()).await;
    for name in ["done", "never"] {
        let puppet = Arc::new(Puppet(name));
        client.register_resource(puppet).await.expect("registered");
    }
    fake.act(Act::HangUp);
    let seen = fake.seen(3, |_, it| registrations(it)).await;
    let ids: Vec<_> = seen
        .into_iter()
        .map(|(_, message)| match message {
            Some(Message::RegisterRm(_, ids)) => ids,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids, ["done", "never", "done,never"]);
    let comma = client.register_resource(Arc::new(Puppet("a,b"))).await;
    assert!(matches!(comma, Err(CoordinatorError::Refused { code, .. }) if code == "ResourceId"));
}

fn branch_end(resource: &str, branch_id: i64) -> BranchEnd {
    BranchEnd {
        xid: xid().to_string(),
        branch_id,
        branch_type: 1,
        resource_id: resource.into(),
        application_data: "{}".into(),
    }
}

#[tokio::test]
async fn second_phases_are_run_and_answered_whatever_happens_in_them() {
    let fake = Fake::start("1.8.0", agreeable).await;
    let mut config = fake.config();
    config.phase_two_running_max = 1;
    config.phase_two_waiting_max = 1;
    config.phase_two_timeout = SOON / 50;
    let client = fake.client(config).await;
    for name in ["done", "never", "hangs", "panics"] {
        let puppet = Arc::new(Puppet(name));
        client.register_resource(puppet).await.expect("registered");
    }
    let table = [
        ("done", BranchStatus::PhaseTwoRollbacked),
        ("never", BranchStatus::PhaseTwoRollbackFailedUnretryable),
        ("panics", BranchStatus::PhaseTwoRollbackFailedRetryable),
        ("nobody", BranchStatus::PhaseTwoRollbackFailedRetryable),
        ("hangs", BranchStatus::PhaseTwoRollbackFailedRetryable),
    ];
    let answered = |it: Option<&Message>| matches!(it, Some(Message::BranchRollbackResponse(_)));
    for (number, (resource, status)) in (1..).zip(table) {
        let id = i32::try_from(number).expect("few");
        let end = branch_end(resource, id.into());
        fake.ask(id, &Message::BranchRollback(end));
        let seen = fake.seen(number, |_, it| answered(it)).await;
        let (answer_id, answer) = &seen[number - 1];
        assert_eq!(*answer_id, id);
        let Some(Message::BranchRollbackResponse(answer)) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!((answer.status, answer.branch_id), (status, id.into()));
    }
    // One runs, one waits, and the third is told to come again.
    for id in 11..=13 {
        let end = branch_end("hangs", id.into());
        fake.ask(id, &Message::BranchCommit(end));
    }
    let committed = |it: Option<&Message>| matches!(it, Some(Message::BranchCommitResponse(_)));
    let seen = fake.seen(3, |_, it| committed(it)).await;
    assert_eq!(seen[0].0, 13);
}

#[tokio::test]
async fn a_follower_is_passed_over_for_the_leader() {
    let follower = Fake::start("2.0.0", |_| {
        Reply::Now(Message::GlobalBeginResponse(GlobalBegun {
            result: ResultHead {
                failure: Some("not raft leader".into()),
                code: 19,
            },
            xid: String::new(),
            extra_data: String::new(),
        }))
    })
    .await;
    let leader = Fake::start("2.0.0", agreeable).await;
    let addresses = [follower.address.to_string(), leader.address.to_string()];
    let client = Client::start(Config::new(addresses, "app", "group")).expect("starts");
    client.ready(SOON).await.expect("ready");
    while client.metrics().channels() < 2 {
        tokio::task::yield_now().await;
    }
    for _ in 0..3 {
        assert_eq!(client.begin("tx", MINUTE).await, Ok(xid()));
    }
    assert!(follower.count(1) > 0, "it was asked");
}

#[tokio::test]
async fn merged_answers_find_their_requests() {
    let fake = Fake::start("1.8.0", |message| match message {
        Message::GlobalBegin(_) => Reply::Now(Message::MergeResult(vec![begun("h:1:7")])),
        _ => Reply::Never,
    })
    .await;
    let client = fake.client(fake.config()).await;
    let begun = client.begin("tx", MINUTE).await.expect("begun");
    assert_eq!(begun.as_str(), "h:1:7");
    let ask = tokio::spawn(async move { client.commit(&xid()).await });
    let seen = fake
        .seen(1, |_, it| matches!(it, Some(Message::GlobalCommit(_))))
        .await;
    let answer = Message::GlobalCommitResponse(ended(GlobalStatus::Committed));
    let messages = vec![(answer, seen[0].0)];
    fake.answer(-7, &Message::BatchResult(Merged { messages }));
    assert_eq!(ask.await.expect("ran"), Ok(GlobalStatus::Committed));
}

#[tokio::test]
async fn stopping_writes_what_was_to_be_said() {
    let fake = Fake::start("1.8.0", agreeable).await;
    let mut config = fake.config();
    config.phase_two_timeout = SOON / 50;
    let client = fake.client(config).await;
    let puppet = Arc::new(Puppet("hangs"));
    client.register_resource(puppet).await.expect("registered");
    fake.ask(9, &Message::BranchCommit(branch_end("hangs", 9)));
    // The status is answered after the second phase was taken on.
    assert_eq!(client.status(&xid()).await, Ok(GlobalStatus::Begin));
    client.shutdown(SOON).await;
    assert_eq!(fake.count(4), 1, "the answer was written before the end");
    assert!(is_no_channel(&client.status(&xid()).await));
    assert!(!*client.readiness().borrow());
}

#[tokio::test]
async fn whatever_is_queued_when_the_client_stops_is_written() {
    let fake = Fake::start("1.8.0", agreeable).await;
    let client = fake.client(fake.config()).await;
    let answer = Message::BranchReportResponse(ResultHead::success());
    let link = &client.hub.links()[0];
    (0..200).for_each(|id| link.answer(id, &answer));
    client.hub.stop.cancel();
    fake.seen(200, |_, it| it == Some(&answer)).await;
}

#[tokio::test]
async fn a_request_the_protocol_has_no_room_for_spoils_nothing() {
    let fake = Fake::start("1.8.0", agreeable).await;
    let client = fake.client(fake.config()).await;
    let name = "x".repeat(40_000);
    let refused = client.begin(&name, MINUTE).await;
    assert!(
        matches!(refused, Err(CoordinatorError::Refused { code, .. }) if code == "NotEncodable")
    );
    let branch = NewBranch {
        xid: xid(),
        branch_type: BranchType::At,
        resource_id: "db".into(),
        lock_keys: "x".repeat(9_000_000),
        application_data: String::new(),
    };
    let refused = client.register(&branch).await;
    assert!(
        matches!(refused, Err(CoordinatorError::Refused { code, .. }) if code == "NotEncodable")
    );
    assert_eq!(client.begin("tx", MINUTE).await, Ok(xid()));
    assert_eq!(fake.count(101), 1, "over the same channel");
}

#[test]
fn a_client_outside_of_a_runtime_is_refused() {
    let config = Config::new(["seata:8091"], "app", "group");
    let refused = Client::start(config).map(|_| ());
    assert_eq!(refused, Err(crate::config::ConfigError::NoRuntime));
}

#[tokio::test]
async fn the_last_clone_closes_the_channels() {
    let fake = Fake::start("1.8.0", agreeable).await;
    let client = fake.client(fake.config()).await;
    let metrics = client.metrics().clone();
    drop(client.clone());
    assert_eq!(metrics.channels(), 1);
    drop(client);
    let gone = async {
        while metrics.channels() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, gone).await.expect("closed");
}

/// A name whose addresses the test decides, and a client of it that looks it up often.
fn named(addresses: &Arc<Mutex<Vec<SocketAddr>>>) -> Client {
    let mut config = Config::new(["seata:8091"], "app", "group");
    config.refresh = SHORT;
    let addresses = Arc::clone(addresses);
    let lookup = Box::new(move |name: String| {
        assert_eq!(name, "seata:8091");
        let found = addresses.lock().expect("whole").clone();
        let found = match found.as_slice() {
            [] => Err(std::io::ErrorKind::NotFound.into()),
            _ => Ok(found),
        };
        Box::pin(std::future::ready(found)) as _
    });
    Client::start_looking_up(config, Metrics::default(), lookup).expect("starts")
}

#[tokio::test]
async fn a_coordinator_that_moved_is_found_under_its_new_address() {
    let addresses = Arc::new(Mutex::new(Vec::new()));
    let client = named(&addresses);
    assert!(is_no_channel(&client.begin("tx", MINUTE).await));
    let old = Fake::start("1.8.0", agreeable).await;
    *addresses.lock().expect("whole") = vec![old.address];
    client.ready(SOON).await.expect("found");
    let new = Fake::start("1.8.0", agreeable).await;
    *addresses.lock().expect("whole") = vec![new.address];
    let mut readiness = client.readiness();
    old.act(Act::HangUp);
    let lost = async { readiness.wait_for(|ready| !ready).await.is_ok() };
    assert_eq!(tokio::time::timeout(SOON, lost).await, Ok(true));
    client.ready(SOON).await.expect("found again");
    assert_eq!(client.status(&xid()).await, Ok(GlobalStatus::Begin));
    let counts = [&old, &new].map(|fake| (fake.count(101), fake.count(15)));
    assert_eq!(counts, [(1, 0), (1, 1)], "the old address was left alone");
}

#[tokio::test]
async fn every_address_of_a_name_is_used_and_a_transaction_stays_where_it_began() {
    let one = Fake::start("1.8.0", |message| match message {
        Message::GlobalBegin(_) => Reply::Now(begun("one:8091:1")),
        other => agreeable(other),
    })
    .await;
    let two = Fake::start("1.8.0", |message| match message {
        Message::GlobalBegin(_) => Reply::Now(begun("two:8091:2")),
        other => agreeable(other),
    })
    .await;
    let addresses = Arc::new(Mutex::new(vec![one.address]));
    let client = named(&addresses);
    client.ready(SOON).await.expect("found");
    // Found without any trouble to cause another look.
    addresses.lock().expect("whole").push(two.address);
    let both = async {
        while client.metrics().channels() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, both).await.expect("both");
    for _ in 0..8 {
        let begun = client.begin("tx", MINUTE).await.expect("begun");
        let committed = client.commit(&begun).await;
        assert_eq!(committed, Ok(GlobalStatus::Committed));
    }
    let counts = [&one, &two].map(|fake| (fake.count(1), fake.count(7)));
    assert_eq!(
        counts,
        [(4, 4), (4, 4)],
        "in turn, and each ended where it began"
    );
    // What its coordinator cannot be reached for goes to another.
    let elsewhere = crate::branch::Xid::new("three:8091:3");
    assert!(client.commit(&elsewhere).await.is_ok());
}
