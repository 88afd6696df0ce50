//! What one run found, for its report.

use sqlx::Row as _;

use crate::reconcile::books::DifferenceRecord;
use crate::store::reconciliation::{Run, differences};
use crate::store::{Store, StoreError, to_day};

impl Store {
    /// Differences that a run found, by id after `after`: those of its day that were there before
    /// it ended, and that it or a later run found still.
    pub async fn differences_of_run(
        &self,
        run: &Run,
        after: u64,
        limit: u32,
    ) -> Result<Vec<DifferenceRecord>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM reconciliation_differences WHERE payment_channel = ? AND bill_day = ? \
             AND first_run_id <= ? AND last_run_id >= ? AND id > ? ORDER BY id LIMIT ?",
        )
        .bind(run.channel.as_str())
        .bind(to_day(run.day))
        .bind(run.id)
        .bind(run.id)
        .bind(after)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(differences::read).collect()
    }

    /// The state of a bill that is kept: accepted, superseded and so on.
    pub async fn bill_state(&self, id: u64) -> Result<Option<String>, StoreError> {
        let row = sqlx::query("SELECT state FROM bills WHERE id = ?")
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| Ok(row.try_get("state")?)).transpose()
    }
}
