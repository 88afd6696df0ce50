//! The second phase: undo rows of committed branches are deleted in batches, branches are undone,
//! leftovers are swept.
//!
//! It has a few connections of its own, in the zone UTC and with a `sql_mode` in which every value
//! that a column can have can be written back.

mod deletes;
mod dirty;
mod images;
mod rollback;
mod sweep;

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::mysql::{MySqlConnection, MySqlPoolOptions};
use sqlx::{MySqlPool, raw_sql};
use tokio::task::JoinHandle;
use tracing::{error, warn};

pub use dirty::{Difference, DirtyWrite};
pub use rollback::{RollbackError, Undone};

use super::metrics::add;
use super::pool::Shared;
use crate::branch::{Branch, BranchType, PhaseTwo, Resource};
use deletes::Deletes;

/// The resource manager of one database.
#[derive(Debug)]
pub struct AtResource {
    shared: Arc<Shared>,
    pool: MySqlPool,
    deletes: Deletes,
    sweeper: Option<JoinHandle<()>>,
}

impl AtResource {
    pub(crate) fn start(shared: Arc<Shared>) -> Self {
        let pool = own_pool(&shared);
        let deletes = Deletes::start(shared.clone(), pool.clone());
        let sweeper = shared
            .config
            .sweep_every
            .map(|every| tokio::spawn(sweep::forever(shared.clone(), pool.clone(), every)));
        Self {
            shared,
            pool,
            deletes,
            sweeper,
        }
    }

    /// Undoes a branch, and says what was done or why not. May be called again and again.
    pub async fn undo(&self, branch: &Branch) -> Result<Undone, RollbackError> {
        rollback::undo(&self.shared, &self.pool, branch).await
    }

    /// Deletes markers and old undo rows now; gives their number.
    pub async fn sweep(&self) -> Result<u64, sqlx::Error> {
        sweep::sweep(&self.shared, &self.pool).await
    }

    pub(crate) async fn shutdown(&self) {
        if let Some(sweeper) = &self.sweeper {
            sweeper.abort();
        }
        self.deletes.shutdown().await;
        self.pool.close().await;
    }
}

impl Drop for AtResource {
    fn drop(&mut self) {
        if let Some(sweeper) = &self.sweeper {
            sweeper.abort();
        }
    }
}

#[async_trait]
impl Resource for AtResource {
    fn resource_id(&self) -> &str {
        &self.shared.resource_id
    }

    fn branch_type(&self) -> BranchType {
        BranchType::At
    }

    /// Answers at once; `Retry` only if too many undo rows wait for their deletion already.
    async fn commit(&self, branch: &Branch) -> PhaseTwo {
        if self.deletes.add(&branch.xid, branch.branch_id) {
            return PhaseTwo::Done;
        }
        PhaseTwo::Retry
    }

    async fn rollback(&self, branch: &Branch) -> PhaseTwo {
        let metrics = &self.shared.metrics;
        let xid = branch.xid.as_str();
        let branch_id = branch.branch_id;
        match self.undo(branch).await {
            Ok(Undone::Rows) => {
                add(&metrics.rollbacks, 1);
                PhaseTwo::Done
            }
            Ok(Undone::NotBegun) => {
                add(&metrics.markers, 1);
                PhaseTwo::Done
            }
            Ok(Undone::Before) => PhaseTwo::Done,
            Err(RollbackError::Dirty(dirty)) => {
                add(&metrics.dirty, 1);
                error!(xid, branch_id, %dirty, "a branch cannot be undone; a person must decide");
                PhaseTwo::Never
            }
            Err(problem @ RollbackError::Unreadable { .. }) => {
                add(&metrics.rollback_errors, 1);
                error!(xid, branch_id, error = %with_causes(&problem),
                    "a branch cannot be undone; a person must decide");
                PhaseTwo::Never
            }
            Err(problem) => {
                add(&metrics.rollback_errors, 1);
                warn!(xid, branch_id, error = %with_causes(&problem),
                    "a branch was not undone; it will be tried again");
                PhaseTwo::Retry
            }
        }
    }

    async fn delete_undo(&self, save_days: u16) {
        if let Err(error) = sweep::old(&self.shared, &self.pool, save_days).await {
            warn!(%error, "old undo rows were not deleted");
        }
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn own_pool(shared: &Shared) -> MySqlPool {
    let options = shared.pool.connect_options();
    let options = options.as_ref().clone().timezone(Some("+00:00".to_owned()));
    MySqlPoolOptions::new()
        .max_connections(shared.config.phase_two_connections.max(1))
        .after_connect(|connection, _| Box::pin(prepare(connection)))
        .connect_lazy_with(options)
}

/// Values go back as they were: zero and impossible dates, the key 0; nothing is cut silently.
/// Gaps are not locked, so that markers and deletions do not get in each other's way. Rows are not
/// waited for longer than the coordinator waits for an answer.
async fn prepare(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    let sql = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,ALLOW_INVALID_DATES,\
               NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION'; \
               SET SESSION innodb_lock_wait_timeout = 10; \
               SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";
    raw_sql(sql).execute(connection).await?;
    Ok(())
}
