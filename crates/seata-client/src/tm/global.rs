//! One global transaction around a piece of work.

use std::future::Future;

use crate::branch::{CoordinatorError, Xid};
use crate::codec::GlobalStatus;
use crate::connection::Client;

use super::options::{Plan, PropagationError, TxOptions};
use super::outcome::Commit;
use super::{end, without_transaction};

/// What a body is told of the transaction it runs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxContext {
    /// None where it runs without.
    pub xid: Option<Xid>,
    /// Whether this very call began the transaction and will end it.
    pub launcher: bool,
}

/// Why a global transaction did not give its body's result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GlobalError<E> {
    /// The body was not run.
    #[error("{0}")]
    Propagation(PropagationError),
    /// The body was not run.
    #[error("the global transaction could not begin: {0}")]
    Begin(CoordinatorError),
    /// The body failed.
    #[error("{error}")]
    Body {
        error: E,
        /// What came of the rollback: [`GlobalStatus::Rollbacked`], a status that says it goes on
        /// by itself (`RollbackRetrying`) or needs people (`RollbackFailed`), or no answer, in which
        /// case the coordinator's time-out rolls back. `None` if the transaction is another's to
        /// end, or there is none.
        rollback: Option<Result<GlobalStatus, CoordinatorError>>,
    },
    /// The body succeeded and the transaction was surely not committed: it is rolled back, or will
    /// be. `status` is the coordinator's word, if it gave one.
    #[error("global transaction {xid} was not committed ({status:?}){cause}")]
    NotCommitted {
        xid: Xid,
        status: Option<GlobalStatus>,
        cause: String,
    },
    /// The body succeeded and nobody can say from here whether the transaction was committed. Look
    /// at what it was to change before doing it again.
    #[error("whether global transaction {xid} was committed is unknown ({status:?}){cause}")]
    OutcomeUnknown {
        xid: Xid,
        status: Option<GlobalStatus>,
        cause: String,
    },
    /// The transaction is committed and a branch of it will never be without somebody's help.
    #[error("global transaction {xid} is committed but a branch cannot follow ({status:?})")]
    CommitStuck {
        xid: Xid,
        status: Option<GlobalStatus>,
    },
}

/// A transaction begun here. Dropped without having been ended, it is rolled back.
struct Launched {
    client: Client,
    xid: Option<Xid>,
}

impl Drop for Launched {
    fn drop(&mut self) {
        let Some(xid) = self.xid.take() else { return };
        let client = self.client.clone();
        client.hub.metrics.transaction("abandoned");
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            tracing::warn!(%xid, "abandoned outside of a runtime: its time-out will roll it back");
            return;
        };
        let tasks = client.hub.tasks.clone();
        tasks.spawn_on(
            async move {
                if let Err(error) = end::rollback(&client, &xid).await {
                    tracing::warn!(%xid, %error, "an abandoned transaction was not rolled back");
                }
            },
            &runtime,
        );
    }
}

impl Client {
    /// Runs `body` in a global transaction, as `options` say.
    ///
    /// Whoever launched the transaction ends it: with a commit if the body succeeds, with a rollback
    /// if it fails. If the returned future is dropped, or the body panics, it is rolled back in the
    /// background; once the commit has begun it is seen through instead.
    pub async fn global_tx<T, E, F, Fut>(
        &self,
        options: TxOptions,
        body: F,
    ) -> Result<T, GlobalError<E>>
    where
        F: FnOnce(TxContext) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let not_ended_here = |error| GlobalError::Body {
            error,
            rollback: None,
        };
        let plan = options
            .propagation
            .plan(Xid::current())
            .map_err(GlobalError::Propagation)?;
        match plan {
            Plan::Launch => self.launch(options, body).await,
            Plan::Join(xid) => {
                let context = TxContext {
                    xid: Some(xid),
                    launcher: false,
                };
                body(context).await.map_err(not_ended_here)
            }
            Plan::Without => {
                let context = TxContext {
                    xid: None,
                    launcher: false,
                };
                let work = async { body(context).await };
                without_transaction(work).await.map_err(not_ended_here)
            }
        }
    }

    async fn launch<T, E, F, Fut>(&self, options: TxOptions, body: F) -> Result<T, GlobalError<E>>
    where
        F: FnOnce(TxContext) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let (launched, xid) = self.launched(options).await.map_err(|error| {
            self.hub.metrics.transaction("not_begun");
            GlobalError::Begin(error)
        })?;
        let context = TxContext {
            xid: Some(xid.clone()),
            launcher: true,
        };
        let result = xid.clone().scope(async { body(context).await }).await;
        match result {
            Ok(value) => self.commit_launched(launched, xid).await.map(|()| value),
            Err(error) => {
                let rollback = self.roll_back_launched(launched, xid).await;
                self.hub.metrics.transaction("rolled_back");
                Err(GlobalError::Body {
                    error,
                    rollback: Some(rollback),
                })
            }
        }
    }

    /// In a task of its own: if whoever wants it is gone when the answer comes, what was begun is
    /// dropped there and so rolled back.
    async fn launched(&self, options: TxOptions) -> Result<(Launched, Xid), CoordinatorError> {
        let client = self.clone();
        let begun = self.hub.tasks.spawn(async move {
            let xid = client.begin(&options.name, options.timeout).await?;
            let launched = Launched {
                xid: Some(xid.clone()),
                client,
            };
            Ok((launched, xid))
        });
        begun.await.map_err(|error| ended_early(&error))?
    }

    /// In a task of its own, so that it is seen through.
    async fn commit_launched<E>(
        &self,
        mut launched: Launched,
        xid: Xid,
    ) -> Result<(), GlobalError<E>> {
        // From here on a drop must not roll back what may be committed.
        launched.xid = None;
        let (client, asked) = (self.clone(), xid.clone());
        let commit = self
            .hub
            .tasks
            .spawn(async move { end::commit(&client, &asked).await });
        let ended = commit.await.unwrap_or_else(|error| end::Committed {
            outcome: Commit::Unknown,
            status: None,
            cause: error.to_string(),
        });
        let status = ended.status;
        let cause = match ended.cause {
            cause if cause.is_empty() => cause,
            cause => format!(": {cause}"),
        };
        let (outcome, result) = match ended.outcome {
            Commit::Committed => ("committed", Ok(())),
            Commit::NotCommitted => {
                if status.is_none() {
                    // It was never asked for: do not leave locks until the time-out.
                    launched.xid = Some(xid.clone());
                }
                let error = GlobalError::NotCommitted { xid, status, cause };
                ("not_committed", Err(error))
            }
            Commit::Unknown => {
                let error = GlobalError::OutcomeUnknown { xid, status, cause };
                ("unknown", Err(error))
            }
            Commit::Stuck => ("stuck", Err(GlobalError::CommitStuck { xid, status })),
        };
        self.hub.metrics.transaction(outcome);
        result
    }

    async fn roll_back_launched(
        &self,
        mut launched: Launched,
        xid: Xid,
    ) -> Result<GlobalStatus, CoordinatorError> {
        launched.xid = None;
        let client = self.clone();
        let rollback = self
            .hub
            .tasks
            .spawn(async move { end::rollback(&client, &xid).await });
        rollback.await.map_err(|error| ended_early(&error))?
    }
}

/// A task that was to talk to the coordinator panicked, or its runtime is going down.
fn ended_early(error: &tokio::task::JoinError) -> CoordinatorError {
    CoordinatorError::Unanswered {
        after: std::time::Duration::ZERO,
        message: error.to_string(),
    }
}
