//! One statement on its way: what it needs of its transaction.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, MySqlConnection};

use super::{Executed, Work, records};
use crate::at::error::Error;
use crate::at::image::{Image, KEYS_AT_ONCE, Read, key_condition};
use crate::at::pool::Shared;
use crate::at::sql::{Part, Refusal, Selection, TableRef};
use crate::at::table::Table;
use crate::at::undo::SqlUndo;
use crate::at::value::{Value, arguments};

pub(super) struct Step<'a> {
    pub(super) shared: &'a Shared,
    pub(super) connection: &'a mut MySqlConnection,
    pub(super) work: &'a mut Work,
    /// Whether the caller's statement changed rows: an error after that breaks the transaction.
    pub(super) executed: bool,
}

impl Step<'_> {
    pub(super) async fn table(&mut self, table: &TableRef) -> Result<Arc<Table>, Error> {
        let here = &self.shared.database;
        if let Some(schema) = table.schema.as_ref().filter(|schema| *schema != here) {
            return Err(Error::Table {
                table: format!("{schema}.{}", table.name),
                problem: format!("it is in another database than {here}"),
                way_out: "write it through a pool of its own database",
            });
        }
        let tables = &self.shared.tables;
        let found = tables.get(self.connection, &table.name).await?;
        found.check_keys()?;
        Ok(found)
    }

    /// The positions of columns that a statement names.
    pub(super) fn positions(table: &Table, names: &[String]) -> Result<Vec<usize>, Error> {
        let position = |name: &String| {
            table.position(name).ok_or_else(|| Error::Stale {
                table: table.name.clone(),
                what: format!("there is no column {name}"),
            })
        };
        names.iter().map(position).collect()
    }

    /// Executes a statement of the caller.
    pub(super) async fn execute(
        &mut self,
        sql: &str,
        args: &[Value],
        kept: bool,
    ) -> Result<Executed, Error> {
        let args = arguments(args).map_err(Error::Statement)?;
        let result = sqlx::query_with(AssertSqlSafe(sql.to_owned()), args)
            .persistent(kept)
            .execute(&mut *self.connection)
            .await
            .map_err(Error::Statement)?;
        self.executed = true;
        Ok(result.into())
    }

    /// The rows that a statement will write, locked, in its order.
    pub(super) async fn before(
        &mut self,
        read: &Read,
        table: &TableRef,
        rows: &Selection,
        args: &[Value],
    ) -> Result<Image, Error> {
        let clauses = rows.parts().map(|part| part.sql.as_str());
        let from: Vec<_> = std::iter::once(table.part.sql.as_str())
            .chain(clauses)
            .collect();
        let from = from.join(" ");
        let selecting = rows.parts().flat_map(|part| part.of(args));
        let bound = arguments(table.part.of(args).iter().chain(selecting));
        let bound = bound.map_err(Error::Image)?;
        if rows.repeatable && rows.order.is_none() {
            let image = read.rows(self.connection, &from, bound, true).await?;
            self.check_size(&image)?;
            return Ok(image);
        }
        // A sorted answer may come through a temporary table, in which the server makes dates like
        // 2024-00-00 zero. Only keys are read that way.
        let keys = read
            .keys_only()
            .rows(self.connection, &from, bound, true)
            .await?;
        self.check_size(&keys)?;
        read.by_keys(self.connection, &keys.keys()).await
    }

    fn check_size(&self, image: &Image) -> Result<(), Error> {
        let limit = self.shared.config.max_rows;
        if image.rows.len() <= limit {
            return Ok(());
        }
        Err(Error::TooManyRows {
            table: image.table.name.clone(),
            limit,
        })
    }

    /// Executes a write of exactly the rows that were imaged. If the statement's condition may
    /// match others the second time, the keys of the image take its place.
    pub(super) async fn write(
        &mut self,
        whole: &str,
        args: &[Value],
        head: &Part,
        rows: &Selection,
        before: &Image,
    ) -> Result<Executed, Error> {
        if rows.repeatable {
            return self.execute(whole, args, true).await;
        }
        let keys = before.keys();
        let mut done = Executed::default();
        for keys in keys.chunks(KEYS_AT_ONCE) {
            let condition = key_condition(&before.table, keys.len())?;
            let order = rows.order.as_ref();
            let order_sql = order.map_or("", |order| order.sql.as_str());
            let sql = format!("{} WHERE {condition} {order_sql}", head.sql);
            let order_args = order.map_or(&[][..], |order| order.of(args));
            let args = [head.of(args), &keys.concat(), order_args].concat();
            let part = self.execute(&sql, &args, false).await?;
            done.rows_affected += part.rows_affected;
        }
        Ok(done)
    }

    /// Exactly the imaged rows must have been written.
    pub(super) fn check_count(table: &Table, expected: usize, done: Executed) -> Result<(), Error> {
        if u64::try_from(expected) == Ok(done.rows_affected) {
            return Ok(());
        }
        Err(Error::Moved {
            table: table.name.clone(),
            what: format!("{expected} were imaged, {} written", done.rows_affected),
        })
    }

    /// Remembers what a statement did to a table.
    pub(super) fn record(
        &mut self,
        sql_type: &str,
        before: &Image,
        after: &Image,
    ) -> Result<(), Error> {
        self.work.locks.add(before)?;
        self.work.locks.add(after)?;
        if before.rows.is_empty() && after.rows.is_empty() {
            return Ok(());
        }
        let zone = &self.shared.config.zone;
        self.work.items.push(SqlUndo {
            sql_type: sql_type.to_owned(),
            table: before.table.name.clone(),
            before: records(before, zone),
            after: records(after, zone),
        });
        Ok(())
    }
}

pub(super) fn refused(
    statement: &'static str,
    reason: impl Into<String>,
    way_out: &'static str,
) -> Error {
    Refusal {
        statement,
        reason: reason.into(),
        way_out,
    }
    .into()
}
