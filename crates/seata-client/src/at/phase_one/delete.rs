//! `DELETE`.

use super::Executed;
use super::step::{Step, clauses, refused};
use crate::at::error::Error;
use crate::at::image::{Image, Read};
use crate::at::sql::Delete;
use crate::at::value::{Value, arguments};

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
        let from = format!("{}{}", delete.table.part.sql, clauses(&delete.rows));
        let image_args = arguments(delete.rows.parts().flat_map(|part| part.of(args)));
        let image_args = image_args.map_err(Error::Image)?;
        let read = Read::all(&table);
        let before = read.rows(self.connection, &from, image_args, true).await?;
        self.check_size(&before)?;
        if before.rows.is_empty() {
            return Ok(Executed::default());
        }
        let done = self.write(sql, args, &delete.head, &delete.rows, &before).await?;
        Self::check_count(&table, before.rows.len(), done)?;
        self.record("DELETE", &before, &Image::empty(table))?;
        Ok(done)
    }
}
