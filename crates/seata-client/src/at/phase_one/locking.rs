//! `SELECT … FOR UPDATE`: the rows' keys are read with them, so that exactly the rows that were
//! locked here are asked for at the coordinator.

use sqlx::AssertSqlSafe;
use sqlx::mysql::MySqlRow;

use super::step::Step;
use crate::at::error::Error;
use crate::at::image::key_at_end;
use crate::at::lock_key::LockKeys;
use crate::at::sql::Locking;
use crate::at::table::quoted;
use crate::at::value::{Value, arguments};

impl Step<'_> {
    /// The rows, each with its key's columns behind its own, and the global locks to ask for.
    pub(super) async fn locking(
        &mut self,
        locking: &Locking,
        args: &[Value],
    ) -> Result<(Vec<MySqlRow>, LockKeys), Error> {
        let table = self.table(&locking.table).await?;
        let mut sql = locking.head.sql.clone();
        let qualifier = quoted(&locking.qualifier);
        for (number, &position) in table.primary.iter().enumerate() {
            let name = quoted(&table.column(position)?.name);
            sql = format!("{sql}, {qualifier}.{name} AS `_key_{number}`");
        }
        let sql = format!("{sql} {}", locking.tail.sql);
        let bound = arguments(args).map_err(Error::Statement)?;
        let rows = sqlx::query_with(AssertSqlSafe(sql), bound)
            .fetch_all(&mut *self.connection)
            .await
            .map_err(Error::Statement)?;
        let mut locks = LockKeys::default();
        for row in &rows {
            locks.add_key(&table, &key_at_end(&table, row)?)?;
        }
        Ok((rows, locks))
    }
}
