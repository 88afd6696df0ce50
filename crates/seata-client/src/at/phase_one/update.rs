//! `UPDATE`.

use super::Executed;
use super::step::{Step, refused};
use crate::at::error::Error;
use crate::at::image::Read;
use crate::at::sql::Update;
use crate::at::table::Table;
use crate::at::value::Value;

impl Step<'_> {
    pub(super) async fn update(
        &mut self,
        sql: &str,
        update: &Update,
        args: &[Value],
    ) -> Result<Executed, Error> {
        let table = self.table(&update.table).await?;
        let assigned = Self::positions(&table, &update.columns)?;
        check_assigned(&table, &assigned)?;
        let read = if self.shared.config.only_changed_columns {
            let by_server = (0..table.columns.len()).filter(|at| {
                table
                    .columns
                    .get(*at)
                    .is_some_and(|column| column.on_update)
            });
            Read::some(&table, assigned.iter().copied().chain(by_server))
        } else {
            Read::all(&table)
        };
        let before = self
            .before(&read, &update.table, &update.rows, args)
            .await?;
        if before.rows.is_empty() {
            return Ok(Executed::default());
        }
        let done = self
            .write(sql, args, &update.head, &update.rows, &before)
            .await?;
        Self::check_count(&table, before.rows.len(), done)?;
        let after = read.by_keys(self.connection, &before.keys()).await?;
        if after.rows.len() != before.rows.len() {
            return Err(Error::Moved {
                table: table.name.clone(),
                what: "the updated rows are not found again".to_owned(),
            });
        }
        self.record("UPDATE", &before, &after)?;
        Ok(done)
    }
}

fn check_assigned(table: &Table, assigned: &[usize]) -> Result<(), Error> {
    if assigned.iter().any(|at| table.is_primary(*at)) {
        return Err(refused(
            "UPDATE of a primary key",
            format!(
                "the row of {} could not be found again by its old key",
                table.name
            ),
            "delete the row and insert it with the new key",
        ));
    }
    if table.cascades && assigned.iter().any(|at| table.referenced.contains(at)) {
        return Err(refused(
            "UPDATE of a referenced key",
            format!("foreign keys to {} change other tables with it", table.name),
            "use foreign keys without CASCADE and SET NULL",
        ));
    }
    Ok(())
}
