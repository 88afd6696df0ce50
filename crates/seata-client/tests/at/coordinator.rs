//! A coordinator in memory, with the locks' rules of a real one: all or none, again and again for
//! the same transaction, an answer at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use seata_client::branch::{
    Branch, BranchType, Coordinator, CoordinatorError, NewBranch, PhaseTwo, Resource, Xid,
};

#[derive(Debug, Default)]
struct State {
    transactions: i64,
    branches: Vec<(i64, NewBranch)>,
    locks: BTreeMap<(String, String), Xid>,
    rolling_back: BTreeSet<Xid>,
    over: BTreeSet<Xid>,
    failed: Vec<i64>,
    next_branch: i64,
    refuse: Option<CoordinatorError>,
}

#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<State>);

fn keys(branch: &NewBranch) -> Vec<(String, String)> {
    let mut keys = Vec::new();
    for table in branch.lock_keys.split(';').filter(|part| !part.is_empty()) {
        let (name, rows) = table.split_once(':').unwrap();
        for row in rows.split(',') {
            assert!(!row.is_empty(), "{}", branch.lock_keys);
            keys.push((branch.resource_id.clone(), format!("{name}:{row}")));
        }
    }
    keys
}

impl State {
    fn holder(&self, branch: &NewBranch) -> Option<&Xid> {
        let others = |key| self.locks.get(&key).filter(|xid| **xid != branch.xid);
        keys(branch).into_iter().find_map(others)
    }
}

impl Memory {
    pub(crate) fn begin(&self) -> Xid {
        let mut state = self.0.lock().unwrap();
        state.transactions += 1;
        Xid::new(format!("127.0.0.1:8091:{}", state.transactions))
    }

    /// The id that the next branch gets.
    pub(crate) fn next_branch(&self) -> i64 {
        self.0.lock().unwrap().next_branch + 1
    }

    pub(crate) fn set_rolling_back(&self, xid: &Xid) {
        self.0.lock().unwrap().rolling_back.insert(xid.clone());
    }

    /// The next registration is refused like that.
    pub(crate) fn refuse(&self, error: CoordinatorError) {
        self.0.lock().unwrap().refuse = Some(error);
    }

    pub(crate) fn failed(&self) -> Vec<i64> {
        self.0.lock().unwrap().failed.clone()
    }

    pub(crate) fn branches(&self, xid: &Xid) -> Vec<Branch> {
        let state = self.0.lock().unwrap();
        let of = |(id, branch): &(i64, NewBranch)| Branch {
            xid: branch.xid.clone(),
            branch_id: *id,
            branch_type: branch.branch_type,
            resource_id: branch.resource_id.clone(),
            application_data: branch.application_data.clone(),
        };
        let own = state
            .branches
            .iter()
            .filter(|(_, branch)| branch.xid == *xid);
        own.map(of).collect()
    }

    pub(crate) fn lock_keys(&self, xid: &Xid) -> Vec<String> {
        let state = self.0.lock().unwrap();
        let own = state
            .branches
            .iter()
            .filter(|(_, branch)| branch.xid == *xid);
        own.map(|(_, branch)| branch.lock_keys.clone()).collect()
    }

    fn end(&self, xid: &Xid) {
        let mut state = self.0.lock().unwrap();
        state.over.insert(xid.clone());
        state.locks.retain(|_, holder| holder != xid);
        state.branches.retain(|(_, branch)| branch.xid != *xid);
    }

    pub(crate) async fn commit(&self, xid: &Xid, resource: &dyn Resource) {
        for branch in self.branches(xid) {
            assert_eq!(resource.commit(&branch).await, PhaseTwo::Done);
        }
        self.end(xid);
    }

    /// Rolls back in reverse order; ends the transaction if all were undone.
    pub(crate) async fn roll_back(&self, xid: &Xid, resource: &dyn Resource) -> Vec<PhaseTwo> {
        self.set_rolling_back(xid);
        let mut answers = Vec::new();
        for branch in self.branches(xid).iter().rev() {
            answers.push(resource.rollback(branch).await);
        }
        if answers.iter().all(|answer| *answer == PhaseTwo::Done) {
            self.end(xid);
        }
        answers
    }
}

#[async_trait]
impl Coordinator for Memory {
    async fn register(&self, branch: &NewBranch) -> Result<i64, CoordinatorError> {
        // As a real one it is not there at once.
        tokio::task::yield_now().await;
        let mut state = self.0.lock().unwrap();
        if let Some(error) = state.refuse.take() {
            return Err(error);
        }
        if state.over.contains(&branch.xid) {
            let message = "it has ended".to_owned();
            return Err(CoordinatorError::TransactionOver { message });
        }
        if let Some(holder) = state.holder(branch).cloned() {
            let asked = branch.application_data.contains("\"autoCommit\":false");
            return Err(CoordinatorError::LockConflict {
                fail_fast: asked && state.rolling_back.contains(&holder),
                message: format!("held by {holder}"),
                holder: Some(holder),
            });
        }
        for key in keys(branch) {
            state.locks.insert(key, branch.xid.clone());
        }
        state.next_branch += 1;
        let id = state.next_branch;
        state.branches.push((id, branch.clone()));
        Ok(id)
    }

    async fn report_failed(&self, _: &NewBranch, branch_id: i64) -> Result<(), CoordinatorError> {
        let mut state = self.0.lock().unwrap();
        state.failed.push(branch_id);
        state.branches.retain(|(id, _)| *id != branch_id);
        Ok(())
    }

    async fn lockable(&self, branch: &NewBranch) -> Result<bool, CoordinatorError> {
        tokio::task::yield_now().await;
        Ok(self.0.lock().unwrap().holder(branch).is_none())
    }
}

pub(crate) fn unanswered() -> CoordinatorError {
    CoordinatorError::Unanswered {
        after: Duration::from_secs(1),
        message: "lost".to_owned(),
    }
}

/// A resource manager that says yes and does nothing.
#[derive(Debug)]
pub(crate) struct Forgetful;

#[async_trait]
impl Resource for Forgetful {
    fn resource_id(&self) -> &'static str {
        ""
    }

    fn branch_type(&self) -> BranchType {
        BranchType::At
    }

    async fn commit(&self, _: &Branch) -> PhaseTwo {
        PhaseTwo::Done
    }

    async fn rollback(&self, _: &Branch) -> PhaseTwo {
        PhaseTwo::Done
    }

    async fn delete_undo(&self, _: u16) {}
}
