//! Requests that came with an Idempotency-Key, and their answers.

use jiff::Timestamp;
use sqlx::mysql::MySqlRow;
use sqlx::{MySqlConnection, Row as _};

use super::{Failure, Store, StoreError, from_datetime, retried, to_datetime};
use crate::records::{Begun, NewRequest, RequestKey, StoredAnswer, judge_repeat};

pub(super) const KEY: &str = "uk_key";

const REQUEST_FOR_UPDATE: &str = "SELECT k.id, k.body_hash, k.lease_until, a.status, a.content_type, a.location, a.body \
     FROM idempotency_keys AS k LEFT JOIN idempotency_answers AS a ON a.key_id = k.id \
     WHERE k.scope = ? AND k.request_key = ? FOR UPDATE";
const ANSWER: &str = "SELECT a.status, a.content_type, a.location, a.body \
     FROM idempotency_keys AS k JOIN idempotency_answers AS a ON a.key_id = k.id \
     WHERE k.scope = ? AND k.request_key = ?";
const STORE_ANSWER: &str = "INSERT INTO idempotency_answers (key_id, status, content_type, location, body) \
     SELECT id, ?, ?, ?, ? FROM idempotency_keys WHERE scope = ? AND request_key = ?";
/// Ids are given in the order of time, but for clocks that differ.
const OLDEST: &str = "SELECT MAX(id) AS last FROM \
     (SELECT id, created_at FROM idempotency_keys ORDER BY id LIMIT ?) AS oldest \
     WHERE created_at < ?";

impl Store {
    pub(super) async fn take_request(&self, new: &NewRequest) -> Result<Begun, StoreError> {
        Ok(retried(|| self.try_take(new)).await?)
    }

    async fn try_take(&self, new: &NewRequest) -> Result<Begun, Failure> {
        match insert_request(&mut *self.pool.acquire().await?, new).await {
            Ok(_) => return Ok(Begun::Mine),
            Err(failure) if failure.duplicate_of() == Some(KEY) => {}
            Err(failure) => return Err(failure),
        }
        let mut tx = self.begin().await?;
        let row = sqlx::query(REQUEST_FOR_UPDATE)
            .bind(&new.key.scope)
            .bind(&new.key.key)
            .fetch_optional(&mut *tx)
            .await?;
        let Some(row) = row else {
            // It was purged between the two statements: its time was over.
            insert_request(&mut tx, new).await?;
            tx.commit().await?;
            return Ok(Begun::Mine);
        };
        let body_hash: String = row.try_get("body_hash")?;
        let lease_until = from_datetime(row.try_get("lease_until")?);
        let begun = judge_repeat(&body_hash, answer(&row)?, lease_until, new);
        if begun == Begun::Mine {
            sqlx::query("UPDATE idempotency_keys SET lease_until = ? WHERE id = ?")
                .bind(to_datetime(new.lease_until))
                .bind(row.try_get::<u64, _>("id")?)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(begun)
    }

    pub(super) async fn end_request(
        &self,
        key: &RequestKey,
        answer: &StoredAnswer,
    ) -> Result<StoredAnswer, StoreError> {
        let mut connection = self.pool.acquire().await?;
        Ok(store_answer(&mut connection, key, answer).await?)
    }

    /// Ends a lease. Where there is an answer, nobody looks at it any more.
    pub(super) async fn return_request(
        &self,
        key: &RequestKey,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE idempotency_keys SET lease_until = ? WHERE scope = ? AND request_key = ?",
        )
        .bind(to_datetime(now))
        .bind(&key.scope)
        .bind(&key.key)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Forgets a key that has no answer.
    pub(super) async fn forget_request(&self, key: &RequestKey) -> Result<(), StoreError> {
        let forgotten =
            sqlx::query("DELETE FROM idempotency_keys WHERE scope = ? AND request_key = ?")
                .bind(&key.scope)
                .bind(&key.key)
                .execute(&self.pool)
                .await
                .map_err(Failure::from);
        match forgotten {
            Err(failure) if !failure.is_of_referenced_row() => Err(failure.into()),
            _ => Ok(()),
        }
    }

    pub(super) async fn delete_requests(
        &self,
        before: Timestamp,
        limit: u32,
    ) -> Result<u64, StoreError> {
        Ok(retried(|| self.try_delete(before, limit)).await?)
    }

    async fn try_delete(&self, before: Timestamp, limit: u32) -> Result<u64, Failure> {
        let oldest = sqlx::query(OLDEST)
            .bind(limit)
            .bind(to_datetime(before))
            .fetch_one(&self.pool)
            .await?;
        let Some(last) = oldest.try_get::<Option<u64>, _>("last")? else {
            return Ok(0);
        };
        let mut tx = self.begin().await?;
        sqlx::query(
            "DELETE a FROM idempotency_answers AS a JOIN idempotency_keys AS k ON k.id = a.key_id \
             WHERE k.id <= ? AND k.created_at < ?",
        )
        .bind(last)
        .bind(to_datetime(before))
        .execute(&mut *tx)
        .await?;
        let done = sqlx::query("DELETE FROM idempotency_keys WHERE id <= ? AND created_at < ?")
            .bind(last)
            .bind(to_datetime(before))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(done.rows_affected())
    }
}

/// Returns the key's id.
pub(super) async fn insert_request(
    connection: &mut MySqlConnection,
    new: &NewRequest,
) -> Result<u64, Failure> {
    let done = sqlx::query(
        "INSERT INTO idempotency_keys (scope, request_key, body_hash, lease_until, created_at) \
         VALUES (?, ?, ?, ?, ?)",
    )
    .bind(&new.key.scope)
    .bind(&new.key.key)
    .bind(&new.body_hash)
    .bind(to_datetime(new.lease_until))
    .bind(to_datetime(new.now))
    .execute(connection)
    .await?;
    Ok(done.last_insert_id())
}

/// The first answer stays, and is returned: a slow process that was taken over must send what the
/// other one stored.
pub(super) async fn store_answer(
    connection: &mut MySqlConnection,
    key: &RequestKey,
    ours: &StoredAnswer,
) -> Result<StoredAnswer, Failure> {
    let stored = sqlx::query(STORE_ANSWER)
        .bind(ours.status)
        .bind(&ours.content_type)
        .bind(&ours.location)
        .bind(&ours.body)
        .bind(&key.scope)
        .bind(&key.key)
        .execute(&mut *connection)
        .await
        .map_err(Failure::from);
    match stored {
        Ok(done) if done.rows_affected() > 0 => return Ok(ours.clone()),
        // There is an answer, or the key has just been forgotten.
        Ok(_) => {}
        Err(failure) if failure.duplicate_of().is_some() || failure.is_of_missing_row() => {}
        Err(failure) => return Err(failure),
    }
    let row = sqlx::query(ANSWER)
        .bind(&key.scope)
        .bind(&key.key)
        .fetch_optional(connection)
        .await?;
    let theirs = row.as_ref().map(answer).transpose()?.flatten();
    Ok(theirs.unwrap_or_else(|| ours.clone()))
}

fn answer(row: &MySqlRow) -> Result<Option<StoredAnswer>, Failure> {
    let Some(status) = row.try_get::<Option<u16>, _>("status")? else {
        return Ok(None);
    };
    Ok(Some(StoredAnswer {
        status,
        content_type: row.try_get("content_type")?,
        location: row.try_get("location")?,
        body: row.try_get("body")?,
    }))
}
