//! A local transaction, statement by statement.

use std::sync::Arc;

use sqlx::AssertSqlSafe;
use sqlx::mysql::MySqlRow;

use super::step::Step;
use super::{Executed, Scope, Work, commit};
use crate::at::error::Error;
use crate::at::lock_key::LockKeys;
use crate::at::pool::Shared;
use crate::at::session::Session;
use crate::at::sql::{Plan, Shape};
use crate::at::value::{Value, arguments};

/// A local transaction. Dropped without [`commit`](Self::commit) it is rolled back; a call that is
/// dropped in the middle closes its connection, so that the pool never sees it again.
#[derive(Debug)]
pub struct AtTransaction {
    pub(super) shared: Arc<Shared>,
    pub(super) session: Session,
    pub(super) scope: Scope,
    pub(super) work: Work,
    /// One statement of its own: on a lock conflict its caller begins anew.
    pub(super) autocommit: bool,
    /// Something was changed without image; only a rollback is left.
    pub(super) broken: bool,
}

/// What a statement gave.
pub(crate) type Outcome = (Executed, Vec<MySqlRow>);

impl AtTransaction {
    pub(crate) async fn begin(
        shared: Arc<Shared>,
        scope: Scope,
        autocommit: bool,
    ) -> Result<Self, Error> {
        let session = Session::begin(&shared.pool).await?;
        Ok(Self {
            shared,
            session,
            scope,
            work: Work::default(),
            autocommit,
            broken: false,
        })
    }

    /// Executes a statement with its `?` bound to `args`, and images what it changes.
    ///
    /// After an error that left changes without image every further call gives [`Error::Broken`].
    pub async fn execute(&mut self, sql: &str, args: &[Value]) -> Result<Executed, Error> {
        let (executed, _) = self.run(sql, args, false).await?;
        Ok(executed)
    }

    /// Executes a statement and gives its rows. Rows of `SELECT … FOR UPDATE` in a global
    /// transaction have the primary key's columns behind their own.
    pub async fn fetch(&mut self, sql: &str, args: &[Value]) -> Result<Vec<MySqlRow>, Error> {
        let (_, rows) = self.run(sql, args, true).await?;
        Ok(rows)
    }

    /// Registers the branch if anything was changed, and commits it with its undo log.
    ///
    /// On every error but [`Error::CommitUnknown`] nothing of it stays.
    pub async fn commit(self) -> Result<(), Error> {
        commit::commit(self).await
    }

    pub async fn rollback(self) -> Result<(), Error> {
        self.session.rollback().await.map_err(Error::Database)
    }

    pub(crate) async fn run(
        &mut self,
        sql: &str,
        args: &[Value],
        rows: bool,
    ) -> Result<Outcome, Error> {
        if self.broken {
            return Err(Error::Broken);
        }
        if self.scope == Scope::Local {
            let connection = self.session.work()?;
            let outcome = plain(connection, sql, args, rows).await;
            self.session.rest();
            return outcome;
        }
        let plan = self.shared.plans.get(sql);
        if let Shape::Refused(refusal) = &plan.shape {
            return Err(refusal.clone().into());
        }
        if plan.parameters != args.len() {
            return Err(Error::Parameters {
                expected: plan.parameters,
                given: args.len(),
            });
        }
        let (outcome, executed) = self.attempt(&plan, args, rows).await;
        // The table is not as it is remembered: once more with fresh metadata.
        let stale = matches!(outcome, Err(Error::Stale { .. }));
        if stale {
            self.shared.tables.forget();
        }
        let (outcome, executed) = if stale && !executed {
            self.attempt(&plan, args, rows).await
        } else {
            (outcome, executed)
        };
        let outcome = outcome.inspect_err(|error| self.broken |= executed || ends(error))?;
        self.ask_for(outcome).await
    }

    async fn attempt(
        &mut self,
        plan: &Plan,
        args: &[Value],
        rows: bool,
    ) -> (Result<(Outcome, LockKeys), Error>, bool) {
        let connection = match self.session.work() {
            Ok(connection) => connection,
            Err(error) => return (Err(error), true),
        };
        let mut step = Step {
            shared: &self.shared,
            connection,
            work: &mut self.work,
            executed: false,
        };
        let outcome = step.run(plan, args, rows).await;
        let executed = step.executed;
        self.session.rest();
        (outcome, executed)
    }

    /// Rows of a locking read are given out only if no other global transaction holds them.
    async fn ask_for(&self, (outcome, locks): (Outcome, LockKeys)) -> Result<Outcome, Error> {
        if !locks.is_empty() {
            commit::wait_until_lockable(self, &locks).await?;
        }
        Ok(outcome)
    }
}

impl Step<'_> {
    async fn run(
        &mut self,
        plan: &Plan,
        args: &[Value],
        rows: bool,
    ) -> Result<(Outcome, LockKeys), Error> {
        let sql = plan.sql.as_str();
        let done = match &plan.shape {
            Shape::Refused(refusal) => return Err(refusal.clone().into()),
            Shape::Pass => {
                let outcome = plain(self.connection, sql, args, rows).await?;
                return Ok((outcome, LockKeys::default()));
            }
            Shape::Locking(locking) => {
                let (rows, locks) = self.locking(locking, args).await?;
                return Ok(((Executed::default(), rows), locks));
            }
            Shape::Update(update) => self.update(sql, update, args).await?,
            Shape::Delete(delete) => self.delete(sql, delete, args).await?,
            Shape::Insert(insert) => match &insert.duplicate {
                Some(duplicate) => self.upsert(insert, duplicate, args).await?,
                None => self.insert(sql, insert, args).await?,
            },
        };
        Ok(((done, Vec::new()), LockKeys::default()))
    }
}

/// Executes a statement as it is.
async fn plain(
    connection: &mut sqlx::MySqlConnection,
    sql: &str,
    args: &[Value],
    rows: bool,
) -> Result<Outcome, Error> {
    let args = arguments(args).map_err(Error::Statement)?;
    let query = sqlx::query_with(AssertSqlSafe(sql.to_owned()), args);
    if rows {
        let rows = query
            .fetch_all(connection)
            .await
            .map_err(Error::Statement)?;
        return Ok((Executed::default(), rows));
    }
    let result = query.execute(connection).await.map_err(Error::Statement)?;
    Ok((result.into(), Vec::new()))
}

/// Whether the server ended the whole local transaction with this error, or may have.
fn ends(error: &Error) -> bool {
    const LOCK_WAIT_TIMEOUT: u16 = 1205;
    const DEADLOCK: u16 = 1213;
    match error {
        Error::Metadata(_) | Error::Image(_) | Error::Statement(_) | Error::Database(_) => {
            matches!(
                error.server_code(),
                None | Some(LOCK_WAIT_TIMEOUT | DEADLOCK)
            )
        }
        _ => false,
    }
}
