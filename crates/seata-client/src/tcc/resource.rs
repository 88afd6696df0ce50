//! A TCC action as a resource of the coordinator.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use sqlx::{Acquire as _, MySqlConnection, MySqlPool};

use super::fence::{self, Fence, Key, Step};
use crate::branch::{
    Branch, BranchType, Coordinator, CoordinatorError, NewBranch, PhaseTwo, Resource, Xid,
};
use crate::registration::{BELIEVED_WITHIN, register};

/// The fence's column.
const NAME_BYTES: usize = 64;
/// The column of a coordinator that keeps its sessions in a database.
const ARGUMENTS_BYTES: usize = 2000;

/// Whatever an action fails with.
pub type ActionError = Box<dyn std::error::Error + Send + Sync>;

/// A branch as its action sees it in the second phase.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    pub xid: Xid,
    pub branch_id: i64,
    /// What was given to [`TccResource::attempt`].
    pub arguments: Value,
}

/// The second phase of an action. The first is the caller's, after [`TccResource::attempt`].
///
/// Both methods change the database through the given connection only: it is in the local
/// transaction that also moves the fence, so they take effect together, once. An error rolls that
/// back, and the coordinator asks again.
#[async_trait]
pub trait TccAction: Send + Sync + fmt::Debug {
    /// Names the action among all of the application's: its resource id. At most 64 bytes.
    fn name(&self) -> &str;

    async fn confirm(
        &self,
        attempt: &Attempt,
        connection: &mut MySqlConnection,
    ) -> Result<(), ActionError>;

    async fn cancel(
        &self,
        attempt: &Attempt,
        connection: &mut MySqlConnection,
    ) -> Result<(), ActionError>;
}

/// Why a branch could not be tried.
#[derive(Debug, thiserror::Error)]
pub enum TccError {
    #[error("{0}")]
    Coordinator(CoordinatorError),
    #[error("the fence of a TCC branch: {0}")]
    Database(sqlx::Error),
    /// The transaction was rolled back before this try got so far. Roll the local one back too.
    #[error("branch {branch_id} of {xid} was cancelled before it was tried")]
    Cancelled { xid: Xid, branch_id: i64 },
    #[error("{what} has {bytes} bytes: it must have 1 to {max}")]
    Length {
        what: &'static str,
        bytes: usize,
        max: usize,
    },
}

/// An action with its fence. Register it with
/// [`Client::register_resource`](crate::connection::Client::register_resource).
#[derive(Debug)]
pub struct TccResource<A> {
    action: A,
    pool: MySqlPool,
    coordinator: Arc<dyn Coordinator>,
}

impl<A: TccAction> TccResource<A> {
    /// `pool` is the database that holds what the action changes, and its fence.
    pub fn new(
        action: A,
        pool: MySqlPool,
        coordinator: Arc<dyn Coordinator>,
    ) -> Result<Self, TccError> {
        fits("the action's name", action.name(), NAME_BYTES)?;
        Ok(Self {
            action,
            pool,
            coordinator,
        })
    }

    /// Registers a branch and raises its fence in the caller's local transaction, in which the
    /// caller then does the action's first phase; gives the branch's id. On an error, roll back.
    ///
    /// `arguments` come back in the second phase; they may have 1,980 bytes as JSON.
    pub async fn attempt(
        &self,
        xid: &Xid,
        arguments: &Value,
        transaction: &mut sqlx::Transaction<'_, sqlx::MySql>,
    ) -> Result<i64, TccError> {
        let application_data = format!(r#"{{"actionContext":{arguments}}}"#);
        fits("the arguments", &application_data, ARGUMENTS_BYTES)?;
        let branch = NewBranch {
            xid: xid.clone(),
            branch_type: BranchType::Tcc,
            resource_id: self.action.name().to_owned(),
            lock_keys: String::new(),
            application_data,
        };
        let branch_id = register(&*self.coordinator, &branch, BELIEVED_WITHIN)
            .await
            .map_err(TccError::Coordinator)?;
        let key = Key {
            xid: xid.as_str(),
            branch_id,
        };
        match fence::insert(transaction, key, self.action.name(), Fence::Tried).await {
            Ok(()) => Ok(branch_id),
            Err(error) if is_duplicate(&error) => Err(TccError::Cancelled {
                xid: xid.clone(),
                branch_id,
            }),
            Err(error) => Err(TccError::Database(error)),
        }
    }

    async fn second_phase(
        &self,
        branch: &Branch,
        decide: fn(Option<Fence>) -> Step,
    ) -> Result<PhaseTwo, ActionError> {
        let key = Key {
            xid: branch.xid.as_str(),
            branch_id: branch.branch_id,
        };
        let mut connection = self.pool.acquire().await?;
        // For the one transaction that follows: a look for a row that is not there would otherwise
        // lock the gap, and empty rollbacks beside each other would deadlock.
        sqlx::query("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
            .execute(&mut *connection)
            .await?;
        let mut transaction = connection.begin().await?;
        let found = fence::locked(&mut transaction, key).await?;
        match decide(found) {
            Step::Answer(answer) => {
                transaction.rollback().await?;
                if answer != PhaseTwo::Done {
                    tracing::warn!(xid = %branch.xid, branch_id = branch.branch_id, ?found,
                        "the fence does not fit what is asked");
                }
                Ok(answer)
            }
            Step::Suspend => {
                let name = self.action.name();
                fence::insert(&mut transaction, key, name, Fence::Suspended).await?;
                transaction.commit().await?;
                Ok(PhaseTwo::Done)
            }
            Step::Act(after) => {
                let attempt = attempt(branch)?;
                fence::update(&mut transaction, key, after).await?;
                match after {
                    Fence::Committed => self.action.confirm(&attempt, &mut transaction).await?,
                    _ => self.action.cancel(&attempt, &mut transaction).await?,
                }
                transaction.commit().await?;
                Ok(PhaseTwo::Done)
            }
        }
    }

    async fn answered(&self, branch: &Branch, decide: fn(Option<Fence>) -> Step) -> PhaseTwo {
        match self.second_phase(branch, decide).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::warn!(xid = %branch.xid, branch_id = branch.branch_id, %error,
                    action = self.action.name(), "a TCC action's second phase failed");
                PhaseTwo::Retry
            }
        }
    }
}

fn fits(what: &'static str, text: &str, max: usize) -> Result<(), TccError> {
    if text.is_empty() || text.len() > max {
        return Err(TccError::Length {
            what,
            bytes: text.len(),
            max,
        });
    }
    Ok(())
}

fn is_duplicate(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

/// The arguments are a field of what was registered.
fn attempt(branch: &Branch) -> Result<Attempt, ActionError> {
    let mut data: Value = serde_json::from_str(&branch.application_data)?;
    let arguments = data
        .get_mut("actionContext")
        .map(Value::take)
        .ok_or("the branch's application data has no actionContext")?;
    Ok(Attempt {
        xid: branch.xid.clone(),
        branch_id: branch.branch_id,
        arguments,
    })
}

#[async_trait]
impl<A: TccAction> Resource for TccResource<A> {
    fn resource_id(&self) -> &str {
        self.action.name()
    }

    fn branch_type(&self) -> BranchType {
        BranchType::Tcc
    }

    async fn commit(&self, branch: &Branch) -> PhaseTwo {
        self.answered(branch, fence::confirm).await
    }

    async fn rollback(&self, branch: &Branch) -> PhaseTwo {
        self.answered(branch, fence::cancel).await
    }

    /// Only AT has undo rows; the fence is [`super::purge`]d by its owner.
    async fn delete_undo(&self, _save_days: u16) {}
}
