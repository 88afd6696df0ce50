//! Confirmations of charged payments: a queue of workers, and the branch of the global
//! transaction that confirms.
//!
//! Guarantees: a confirmation begins in the transaction that records the charge. Whether it is
//! confirmed or refused is written only as a branch or under the branch's locks, and only where it
//! is still waiting, so any number of processes end it once. Leases, tries and what is told of its
//! end are other columns, which no branch touches.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use payment_core::confirmation::Refusal;
use seata_client::at::{AtConfig, AtPool, AtTransaction, Error as AtError, Scope};
use seata_client::branch::{Resource, Xid};
use seata_client::connection::Client;
use sqlx::mysql::MySqlRow;
use sqlx::{MySqlConnection, Row as _};

use super::payments::lock_payment;
use super::rows::{insert_event, lease_end, named, vanished};
use super::{Failure, Store, StoreError, from_datetime, retried, to_datetime};
use crate::records::{
    Confirmation, ConfirmationCounts, ConfirmationState, PaymentRecord, ReleasedConfirmation,
    begins_confirmation, confirmation_event,
};

const STATE: &str = "a confirmation's state";
/// How long a branch waits for a row that another global transaction holds; the queue tries again.
const LOCK_DEADLINE: Duration = Duration::from_secs(2);
/// The width of the column.
const PROBLEM_CHARACTERS_MAX: usize = 255;

/// Why a step of a global transaction was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BranchError {
    /// Another global transaction holds the rows, or works against this one at the same time:
    /// the same step can succeed shortly.
    #[error("another transaction is at work on the same rows: {0}")]
    Busy(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<AtError> for BranchError {
    fn from(error: AtError) -> Self {
        if is_busy(&error) {
            return Self::Busy(error.to_string());
        }
        Self::Store(StoreError::Failed(Box::new(error)))
    }
}

/// Lost against another transaction: a lock, a deadlock, or a key that has just been taken.
fn is_busy(error: &AtError) -> bool {
    let database = match error {
        AtError::LockConflict { .. } | AtError::Moved { .. } => return true,
        AtError::Statement(error) | AtError::Image(error) | AtError::Database(error) => error,
        _ => return false,
    };
    let number = database.as_database_error().and_then(|error| {
        error
            .try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
            .map(sqlx::mysql::MySqlDatabaseError::number)
    });
    matches!(number, Some(1062 | 1205 | 1213))
}

impl From<sqlx::Error> for BranchError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Makes a database one whose local transactions can be branches, and its second phases known to
/// the coordinator.
pub(super) async fn branches(
    pool: &sqlx::MySqlPool,
    client: &Client,
) -> Result<AtPool, BranchError> {
    let config = AtConfig {
        lock_deadline: LOCK_DEADLINE,
        // A worker that does not hear from the order service in time rolls back while that may be
        // about to register: also a quick registration is looked at once more. Nobody waits for it.
        registration_believed_within: Duration::ZERO,
        ..AtConfig::default()
    };
    let at = AtPool::new(pool.clone(), Arc::new(client.clone()), config).await?;
    let resource: Arc<dyn Resource> = at.resource();
    if let Err(error) = client.register_resource(resource).await {
        at.shutdown().await;
        return Err(StoreError::Failed(Box::new(error)).into());
    }
    Ok(at)
}

/// A moment as a statement of a branch takes it.
pub(super) fn moment_text(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

impl Store {
    /// Begins the payment's confirmation if this step of it asks for one.
    pub(super) async fn begin_confirmation(
        &self,
        connection: &mut MySqlConnection,
        before: &PaymentRecord,
        after: &PaymentRecord,
    ) -> Result<(), Failure> {
        if !self.confirming || !begins_confirmation(before.status, after.status) {
            return Ok(());
        }
        // A charge that was reversed and came again waits in the row it has.
        let now = to_datetime(after.updated_at);
        sqlx::query(
            "INSERT IGNORE INTO payment_confirmations \
             (payment_no, state, next_try_at, created_at) VALUES (?, ?, ?, ?)",
        )
        .bind(&after.payment_no)
        .bind(ConfirmationState::Waiting.as_str())
        .bind(now)
        .bind(now)
        .execute(connection)
        .await?;
        Ok(())
    }

    /// Takes up to `limit` confirmations that are due, for `lease_seconds`, and counts the try.
    pub(crate) async fn claim_confirmations(
        &self,
        now: Timestamp,
        lease_seconds: u64,
        limit: usize,
    ) -> Result<Vec<Confirmation>, StoreError> {
        let mut tx = self.begin().await?;
        let found = sqlx::query(
            "SELECT payment_no, state, attempts, asked FROM payment_confirmations \
             WHERE next_try_at <= ? AND (lease_until IS NULL OR lease_until <= ?) \
             ORDER BY next_try_at LIMIT ? FOR UPDATE SKIP LOCKED",
        )
        .bind(to_datetime(now))
        .bind(to_datetime(now))
        .bind(u32::try_from(limit).unwrap_or(u32::MAX))
        .fetch_all(&mut *tx)
        .await?;
        let claimed = found
            .iter()
            .map(confirmation)
            .collect::<Result<Vec<_>, _>>()?;
        let until = to_datetime(lease_end(now, lease_seconds));
        for one in &claimed {
            sqlx::query(
                "UPDATE payment_confirmations SET lease_until = ?, attempts = attempts + 1 \
                 WHERE payment_no = ?",
            )
            .bind(until)
            .bind(&one.payment_no)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(claimed)
    }

    /// Gives a confirmation back.
    pub(crate) async fn release_confirmation(
        &self,
        payment_no: &str,
        released: &ReleasedConfirmation,
    ) -> Result<(), StoreError> {
        let problem = released.problem.chars();
        let problem: String = problem.take(PROBLEM_CHARACTERS_MAX).collect();
        sqlx::query(
            "UPDATE payment_confirmations SET lease_until = NULL, next_try_at = ?, problem = ?, \
             asked = asked + ?, attention = ? WHERE payment_no = ?",
        )
        .bind(released.next_try_at.map(to_datetime))
        .bind(problem)
        .bind(u32::from(released.asked))
        .bind(released.attention)
        .bind(payment_no)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Tells in the payment's history how its confirmation ended. True: it was not told before.
    /// The caller knows that `state` is final.
    pub(crate) async fn tell_confirmation(
        &self,
        payment_no: &str,
        state: ConfirmationState,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        Ok(retried(|| self.try_tell_end(payment_no, state, now)).await?)
    }

    async fn try_tell_end(
        &self,
        payment_no: &str,
        state: ConfirmationState,
        now: Timestamp,
    ) -> Result<bool, Failure> {
        let mut tx = self.begin().await?;
        let payment = lock_payment(&mut tx, payment_no).await?;
        let done = sqlx::query(
            "UPDATE payment_confirmations SET told = TRUE \
             WHERE payment_no = ? AND state = ? AND NOT told",
        )
        .bind(payment_no)
        .bind(state.as_str())
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            tx.rollback().await?;
            return Ok(false);
        }
        let sql = "SELECT reason FROM payment_confirmations WHERE payment_no = ?";
        let row = sqlx::query(sql)
            .bind(payment_no)
            .fetch_one(&mut *tx)
            .await?;
        let reason: Option<String> = row.try_get("reason")?;
        let event = confirmation_event(&payment, reason.as_deref(), now);
        insert_event(&mut tx, &event).await?;
        tx.commit().await?;
        Ok(true)
    }

    pub(crate) async fn confirmation_counts(&self) -> Result<ConfirmationCounts, StoreError> {
        let waiting = sqlx::query(
            "SELECT COUNT(*) AS n, MIN(created_at) AS oldest FROM payment_confirmations \
             WHERE state = 'waiting'",
        )
        .fetch_one(&self.pool)
        .await?;
        let attention = sqlx::query(
            "SELECT COUNT(*) AS n FROM payment_confirmations c \
             JOIN payment_records p ON p.payment_no = c.payment_no \
             WHERE c.attention AND p.refunded_minor < p.amount",
        )
        .fetch_one(&self.pool)
        .await?;
        let count = |n: i64| u64::try_from(n).unwrap_or_default();
        let oldest: Option<time::PrimitiveDateTime> = waiting.try_get("oldest")?;
        Ok(ConfirmationCounts {
            waiting: count(waiting.try_get("n")?),
            oldest: oldest.map(from_datetime),
            needing_attention: count(attention.try_get("n")?),
        })
    }

    /// The payment database as a branch of global transactions.
    pub(crate) async fn confirmation_branch(
        &self,
        client: &Client,
    ) -> Result<ConfirmationBranch, BranchError> {
        let at = branches(&self.pool, client).await?;
        Ok(ConfirmationBranch { at })
    }
}

fn confirmation(row: &MySqlRow) -> Result<Confirmation, StoreError> {
    let attempts: u32 = row.try_get("attempts")?;
    Ok(Confirmation {
        payment_no: row.try_get("payment_no")?,
        state: named(row, "state", STATE, ConfirmationState::parse)?,
        attempts: attempts.saturating_add(1),
        asked: row.try_get("asked")?,
    })
}

/// The payment database's part of a confirmation.
#[derive(Debug)]
pub(crate) struct ConfirmationBranch {
    at: AtPool,
}

impl ConfirmationBranch {
    /// The first branch of a confirmation. False: it is not waiting (any more), nothing was done.
    pub(crate) async fn confirm(
        &self,
        xid: &Xid,
        payment_no: &str,
        now: Timestamp,
    ) -> Result<bool, BranchError> {
        let sql = "UPDATE payment_confirmations SET state = 'confirmed', xid = ?, ended_at = ? \
                   WHERE payment_no = ? AND state = 'waiting'";
        let (xid_text, at) = (xid.as_str(), moment_text(now));
        let args = [xid_text.into(), at.into(), payment_no.into()];
        let mut tx = self.at.begin(xid).await?;
        let done = tx.execute(sql, &args).await?;
        if done.rows_affected == 0 {
            tx.rollback().await?;
            return Ok(false);
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Where it stands for good: no global transaction holds the row.
    pub(crate) async fn settled(&self, payment_no: &str) -> Result<ConfirmationState, BranchError> {
        let mut tx = self.at.begin(Scope::GlobalLock).await?;
        let state = locked_state(&mut tx, payment_no).await?;
        tx.rollback().await?;
        Ok(state)
    }

    /// Refuses it if it is waiting and no global transaction holds it. Gives where it stands.
    pub(crate) async fn refuse(
        &self,
        payment_no: &str,
        why: Refusal,
        now: Timestamp,
    ) -> Result<ConfirmationState, BranchError> {
        let mut tx = self.at.begin(Scope::GlobalLock).await?;
        let state = locked_state(&mut tx, payment_no).await?;
        if state != ConfirmationState::Waiting {
            tx.rollback().await?;
            return Ok(state);
        }
        let sql = "UPDATE payment_confirmations SET state = 'refused', reason = ?, ended_at = ? \
                   WHERE payment_no = ? AND state = 'waiting'";
        let (why, at) = (why.as_str(), moment_text(now));
        let args = [why.into(), at.into(), payment_no.into()];
        tx.execute(sql, &args).await?;
        tx.commit().await?;
        Ok(ConfirmationState::Refused)
    }

    /// Deletes the undo rows that wait for it, and ends the background work.
    pub(crate) async fn shutdown(&self) {
        self.at.shutdown().await;
    }
}

async fn locked_state(
    tx: &mut AtTransaction,
    payment_no: &str,
) -> Result<ConfirmationState, BranchError> {
    let sql = "SELECT state FROM payment_confirmations WHERE payment_no = ? FOR UPDATE";
    let rows = tx.fetch(sql, &[payment_no.into()]).await?;
    let row = rows.first().ok_or_else(|| vanished(payment_no))?;
    Ok(named(row, "state", STATE, ConfirmationState::parse)?)
}
