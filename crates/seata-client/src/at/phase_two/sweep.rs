//! What is left behind: markers of branches that never came, undo rows that nobody deleted.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{AssertSqlSafe, MySqlPool};
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use crate::at::error::{NO_SUCH_TABLE, server_code};
use crate::at::metrics::add;
use crate::at::pool::Shared;

/// Rows are deleted so many at once, so that nobody waits long for their locks.
const ROWS_AT_ONCE: u64 = 3000;

pub(super) async fn forever(shared: Arc<Shared>, pool: MySqlPool, every: Duration) {
    let mut ticks = interval(every.max(Duration::from_secs(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = sweep(&shared, &pool).await {
            warn!(%error, "leftovers of the undo log were not swept");
        }
    }
}

pub(super) async fn sweep(shared: &Shared, pool: &MySqlPool) -> Result<u64, sqlx::Error> {
    let markers = "log_status = 1 AND log_created < NOW(6) - INTERVAL ? SECOND";
    let seconds = shared.config.markers_kept.as_secs();
    let swept = delete(shared, pool, markers, seconds).await?;
    Ok(swept + old(shared, pool, shared.config.undo_kept_days).await?)
}

/// Deletes everything older than that.
pub(super) async fn old(shared: &Shared, pool: &MySqlPool, days: u16) -> Result<u64, sqlx::Error> {
    let old = "log_created < NOW(6) - INTERVAL ? DAY";
    delete(shared, pool, old, u64::from(days)).await
}

async fn delete(
    shared: &Shared,
    pool: &MySqlPool,
    condition: &str,
    age: u64,
) -> Result<u64, sqlx::Error> {
    let table = &shared.undo_table;
    let sql = format!("DELETE FROM {table} WHERE {condition} LIMIT {ROWS_AT_ONCE}");
    let mut total = 0;
    loop {
        let deleted = sqlx::query(AssertSqlSafe(sql.clone()))
            .bind(age)
            .execute(pool)
            .await;
        let deleted = match deleted {
            Ok(result) => result.rows_affected(),
            // This database has no AT branches (any more).
            Err(error) if server_code(&error) == Some(NO_SUCH_TABLE) => return Ok(total),
            Err(error) => return Err(error),
        };
        total += deleted;
        add(
            &shared.metrics.swept,
            usize::try_from(deleted).unwrap_or_default(),
        );
        if deleted < ROWS_AT_ONCE {
            return Ok(total);
        }
    }
}
