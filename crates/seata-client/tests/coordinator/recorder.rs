//! A resource that writes down what it is asked and answers as it is set.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use seata_client::branch::{Branch, BranchType, NewBranch, PhaseTwo, Resource, Xid};
use tokio::sync::watch;

pub(crate) const SOON: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Recorder {
    id: String,
    kind: BranchType,
    answer: Mutex<PhaseTwo>,
    seen: watch::Sender<Vec<(&'static str, Branch)>>,
}

impl Recorder {
    pub(crate) fn new(id: &str, kind: BranchType) -> Self {
        Self {
            id: id.to_owned(),
            kind,
            answer: Mutex::new(PhaseTwo::Done),
            seen: watch::Sender::new(Vec::new()),
        }
    }

    pub(crate) fn set(&self, answer: PhaseTwo) {
        *self.answer.lock().unwrap() = answer;
    }

    /// A branch of it.
    pub(crate) fn branch(&self, xid: &Xid, lock_keys: &str) -> NewBranch {
        NewBranch {
            xid: xid.clone(),
            branch_type: self.kind,
            resource_id: self.id.clone(),
            lock_keys: lock_keys.to_owned(),
            application_data: String::new(),
        }
    }

    /// Waits until it was asked so often, and gives what for.
    pub(crate) async fn asked(&self, count: usize) -> Vec<(&'static str, Branch)> {
        let mut seen = self.seen.subscribe();
        let enough = seen.wait_for(|seen| seen.len() >= count);
        let enough = tokio::time::timeout(SOON, enough).await;
        enough.expect("in time").expect("it lives").clone()
    }

    fn record(&self, what: &'static str, branch: &Branch) -> PhaseTwo {
        self.seen
            .send_modify(|seen| seen.push((what, branch.clone())));
        *self.answer.lock().unwrap()
    }
}

#[async_trait]
impl Resource for Recorder {
    fn resource_id(&self) -> &str {
        &self.id
    }

    fn branch_type(&self) -> BranchType {
        self.kind
    }

    async fn commit(&self, branch: &Branch) -> PhaseTwo {
        self.record("commit", branch)
    }

    async fn rollback(&self, branch: &Branch) -> PhaseTwo {
        self.record("rollback", branch)
    }

    async fn delete_undo(&self, _: u16) {}
}
