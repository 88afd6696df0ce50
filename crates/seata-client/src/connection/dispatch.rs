//! The coordinator's requests to resource managers: found, run within bounds, answered.
//!
//! A second phase is never refused for good here: where it cannot be run (nobody has the resource,
//! too many wait, it takes too long, it panics) the coordinator is told to ask again.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use futures::FutureExt;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::hub::Hub;
use super::link::Link;
use crate::branch::{Branch, BranchType, PhaseTwo, Resource, Xid};
use crate::codec::{BranchEnd, BranchEnded, BranchStatus, Message, ResultHead, UndoLogDelete};
use crate::config::Config;

/// Which half of a second phase is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Commit,
    Rollback,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Rollback => "rollback",
        }
    }

    fn status(self, outcome: PhaseTwo) -> BranchStatus {
        match (self, outcome) {
            (Self::Commit, PhaseTwo::Done) => BranchStatus::PhaseTwoCommitted,
            (Self::Commit, PhaseTwo::Retry) => BranchStatus::PhaseTwoCommitFailedRetryable,
            (Self::Commit, PhaseTwo::Never) => BranchStatus::PhaseTwoCommitFailedUnretryable,
            (Self::Rollback, PhaseTwo::Done) => BranchStatus::PhaseTwoRollbacked,
            (Self::Rollback, PhaseTwo::Retry) => BranchStatus::PhaseTwoRollbackFailedRetryable,
            (Self::Rollback, PhaseTwo::Never) => BranchStatus::PhaseTwoRollbackFailedUnretryable,
        }
    }

    fn answer(self, end: BranchEnd, outcome: PhaseTwo) -> Message {
        let ended = BranchEnded {
            result: ResultHead::success(),
            xid: end.xid,
            branch_id: end.branch_id,
            status: self.status(outcome),
        };
        match self {
            Self::Commit => Message::BranchCommitResponse(ended),
            Self::Rollback => Message::BranchRollbackResponse(ended),
        }
    }
}

/// The wire's number, if a resource manager here can be of that kind.
pub(super) fn branch_type(number: u8) -> Option<BranchType> {
    [
        BranchType::At,
        BranchType::Tcc,
        BranchType::Saga,
        BranchType::Xa,
    ]
    .into_iter()
    .find(|kind| *kind as u8 == number)
}

/// The registered resources and the bounds on what runs.
pub(super) struct Dispatcher {
    resources: RwLock<HashMap<String, Arc<dyn Resource>>>,
    /// Grows with every added resource.
    version: AtomicU64,
    /// Room for those that run and those that wait.
    admitted: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

impl Dispatcher {
    pub(super) fn new(config: &Config) -> Self {
        let running = config.phase_two_running_max;
        let admitted = running.saturating_add(config.phase_two_waiting_max);
        Self {
            resources: RwLock::default(),
            version: AtomicU64::new(0),
            admitted: Arc::new(Semaphore::new(admitted.min(Semaphore::MAX_PERMITS))),
            running: Arc::new(Semaphore::new(running.min(Semaphore::MAX_PERMITS))),
        }
    }

    pub(super) fn add(&self, resource: Arc<dyn Resource>) {
        let id = resource.resource_id().to_owned();
        self.resources
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id, resource);
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    fn find(&self, resource_id: &str, number: u8) -> Option<(Arc<dyn Resource>, BranchType)> {
        let kind = branch_type(number)?;
        let resources = self
            .resources
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let found = resources.get(resource_id)?;
        (found.branch_type() == kind).then(|| (Arc::clone(found), kind))
    }

    /// The ids, separated by commas as the registration has them, and the version they belong to.
    pub(super) fn registered(&self) -> (String, u64) {
        // Before the list: one added in between is at worst registered twice.
        let version = self.version();
        let resources = self
            .resources
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let mut ids: Vec<&str> = resources.keys().map(String::as_str).collect();
        ids.sort_unstable();
        (ids.join(","), version)
    }

    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::SeqCst)
    }
}

/// Takes a second phase on and returns at once: what reads the channel must not wait.
pub(super) fn second_phase(
    hub: &Arc<Hub>,
    link: &Arc<Link>,
    id: i32,
    phase: Phase,
    end: BranchEnd,
) {
    let Ok(admitted) = Arc::clone(&hub.dispatcher.admitted).try_acquire_owned() else {
        hub.metrics.phase_two(phase.name(), "refused");
        link.answer(id, &phase.answer(end, PhaseTwo::Retry));
        return;
    };
    let (hub, link) = (Arc::clone(hub), Arc::clone(link));
    let tracker = hub.tasks.clone();
    tracker.spawn(async move {
        let outcome = run(&hub, phase, &end).await;
        link.answer(id, &phase.answer(end, outcome));
        drop(admitted);
    });
}

#[tracing::instrument(name = "seata.second_phase", skip_all,
    fields(phase = phase.name(), xid = %end.xid, branch_id = end.branch_id))]
async fn run(hub: &Hub, phase: Phase, end: &BranchEnd) -> PhaseTwo {
    let Some((resource, kind)) = hub.dispatcher.find(&end.resource_id, end.branch_type) else {
        tracing::warn!(resource = %end.resource_id, "no such resource is registered here");
        hub.metrics.phase_two(phase.name(), "unknown_resource");
        return PhaseTwo::Retry;
    };
    // Never closed, so there is always a permit in the end.
    let _running = hub.dispatcher.running.acquire().await;
    let branch = Branch {
        xid: Xid::new(end.xid.clone()),
        branch_id: end.branch_id,
        branch_type: kind,
        resource_id: end.resource_id.clone(),
        application_data: end.application_data.clone(),
    };
    let work = AssertUnwindSafe(async {
        match phase {
            Phase::Commit => resource.commit(&branch).await,
            Phase::Rollback => resource.rollback(&branch).await,
        }
    });
    let (outcome, name) = match timeout(hub.config.phase_two_timeout, work.catch_unwind()).await {
        Ok(Ok(PhaseTwo::Done)) => (PhaseTwo::Done, "done"),
        Ok(Ok(PhaseTwo::Retry)) => (PhaseTwo::Retry, "retry"),
        Ok(Ok(PhaseTwo::Never)) => (PhaseTwo::Never, "never"),
        Ok(Err(_)) => (PhaseTwo::Retry, "panicked"),
        Err(_) => (PhaseTwo::Retry, "timed_out"),
    };
    if outcome != PhaseTwo::Done {
        tracing::warn!(outcome = name, "a branch's second phase was not done");
    }
    hub.metrics.phase_two(phase.name(), name);
    outcome
}

/// The daily request to delete old undo rows; nothing is answered.
pub(super) fn delete_undo(hub: &Arc<Hub>, delete: &UndoLogDelete) {
    let Some((resource, _)) = hub.dispatcher.find(&delete.resource_id, delete.branch_type) else {
        return;
    };
    let Ok(admitted) = Arc::clone(&hub.dispatcher.admitted).try_acquire_owned() else {
        return;
    };
    // A negative number of days is nobody's wish: nothing is deleted.
    let Ok(days) = u16::try_from(delete.save_days) else {
        return;
    };
    let stop = hub.stop.clone();
    hub.tasks.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = resource.delete_undo(days) => {}
        }
        drop(admitted);
    });
}
