//! `DELETE`.

use super::Executed;
use super::step::{Step, refused};
use crate::at::error::Error;
use crate::at::image::{Image, Read};
use crate::at::sql::Delete;
use crate::at::value::Value;

impl Step<'_> {
    pub(super) async fn delete(
        &mut self,
        sql: &str,
        delete: &Delete,
        args: &[Value],
    ) -> Result<Executed, Error> {
        let table = self.table(&delete.table).await?;
        if table.cascades {
            return Err(refused(
                "DELETE from a referenced table",
                format!("foreign keys to {} change other tables with it", table.name),
                "use foreign keys without CASCADE and SET NULL",
            ));
        }
        let read = Read::all(&table);
        let before = self
            .before(&read, &delete.table, &delete.rows, args)
            .await?;
        if before.rows.is_empty() {
            return Ok(Executed::default());
        }
        let done = self
            .write(sql, args, &delete.head, &delete.rows, &before)
            .await?;
        Self::check_count(&table, before.rows.len(), done)?;
        self.record("DELETE", &before, &Image::empty(table))?;
        Ok(done)
    }
}
