//! `INSERT … ON DUPLICATE KEY UPDATE`, row by row.
//!
//! First the rows that a row would meet, by every unique key, are read and locked. If there is
//! none, the row goes in by a plain INSERT: should somebody else have inserted it meanwhile, that
//! fails, and it is looked again. If there is one, it is locked, so the statement updates it.

use std::sync::Arc;

use super::Executed;
use super::insert::{columns, known};
use super::step::{Step, refused};
use crate::at::error::{DUPLICATE_KEY, Error};
use crate::at::image::{Image, Read};
use crate::at::sql::{Insert, InsertRow, InsertValue, Part};
use crate::at::table::{Table, UniqueKey, quoted};
use crate::at::value::{Value, arguments, to_kind};

const TRIES: usize = 5;
const STATEMENT: &str = "INSERT … ON DUPLICATE KEY UPDATE";

impl Step<'_> {
    pub(super) async fn upsert(
        &mut self,
        insert: &Insert,
        duplicate: &(Part, Vec<String>),
        args: &[Value],
    ) -> Result<Executed, Error> {
        let table = self.table(&insert.table).await?;
        let columns = columns(&table, insert)?;
        let keys = unique_keys(&table)?;
        check_assigned(&table, &keys, &Self::positions(&table, &duplicate.1)?)?;
        let mut done = Executed::default();
        for row in &insert.rows {
            let (condition, values) = meets(&table, &keys, &columns, row, args)?;
            let part = self
                .upsert_row(&table, insert, &duplicate.0, row, args, &condition, &values)
                .await?;
            done.rows_affected += part.rows_affected;
            if part.last_insert_id != 0 {
                done.last_insert_id = part.last_insert_id;
            }
        }
        Ok(done)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a row and everything of its statement"
    )]
    async fn upsert_row(
        &mut self,
        table: &Arc<Table>,
        insert: &Insert,
        duplicate: &Part,
        row: &InsertRow,
        args: &[Value],
        condition: &str,
        values: &[Value],
    ) -> Result<Executed, Error> {
        let read = Read::all(table);
        let alias = insert.alias.as_ref().map_or("", |alias| alias.sql.as_str());
        let plain = format!("{} {} {alias}", insert.head.sql, row.part.sql);
        let plain_args = [insert.head.of(args), row.part.of(args)].concat();
        for _ in 0..TRIES {
            let before = if condition.is_empty() {
                Image::empty(table.clone())
            } else {
                let from = format!("{} WHERE {condition}", quoted(&table.name));
                let values = arguments(values).map_err(Error::Image)?;
                read.rows(self.connection, &from, values, true).await?
            };
            if !before.rows.is_empty() {
                let sql = format!("{plain} {}", duplicate.sql);
                let args = [plain_args.as_slice(), duplicate.of(args)].concat();
                return self.update_met(&read, &before, &sql, &args).await;
            }
            let inserted = self
                .insert_rows(table, &plain, insert, &[row], args, &plain_args)
                .await;
            match inserted {
                Err(error @ Error::Statement(_)) if error.server_code() == Some(DUPLICATE_KEY) => {}
                other => return other,
            }
        }
        Err(Error::Moved {
            table: table.name.clone(),
            what: "others insert and delete the same key".to_owned(),
        })
    }

    async fn update_met(
        &mut self,
        read: &Read,
        before: &Image,
        sql: &str,
        args: &[Value],
    ) -> Result<Executed, Error> {
        let done = self.execute(sql, args, true).await?;
        let after = read.by_keys(self.connection, &before.keys()).await?;
        if after.rows.len() != before.rows.len() {
            return Err(Error::Moved {
                table: before.table.name.clone(),
                what: "the updated rows are not found again".to_owned(),
            });
        }
        // Of several rows that it meets the server updates one; the others are only locked.
        self.work.locks.add(before)?;
        let (mut old, mut new) = (before.clone(), after.clone());
        (old.rows, new.rows) = before
            .rows
            .iter()
            .zip(&after.rows)
            .filter(|(old, new)| old != new)
            .map(|(old, new)| (old.clone(), new.clone()))
            .unzip();
        self.record("UPDATE", &old, &new)?;
        Ok(done)
    }
}

/// Every unique key, the primary one first.
fn unique_keys(table: &Table) -> Result<Vec<UniqueKey>, Error> {
    let generated = |at: &usize| table.columns.get(*at).is_none_or(|column| column.generated);
    let odd = |key: &&UniqueKey| !key.plain || key.columns.iter().any(generated);
    if let Some(key) = table.unique.iter().find(odd) {
        return Err(refused(
            STATEMENT,
            format!(
                "unique key {} of {} has prefixes or computed parts",
                key.name, table.name
            ),
            "select the row FOR UPDATE, then UPDATE or INSERT",
        ));
    }
    let mut keys = vec![UniqueKey {
        name: "PRIMARY".to_owned(),
        columns: table.primary.clone(),
        plain: true,
    }];
    keys.extend(table.unique.iter().cloned());
    Ok(keys)
}

fn check_assigned(table: &Table, keys: &[UniqueKey], assigned: &[usize]) -> Result<(), Error> {
    let unique = |at: &&usize| {
        let referenced = table.cascades && table.referenced.contains(at);
        referenced || keys.iter().any(|key| key.columns.contains(at))
    };
    let Some(at) = assigned.iter().find(unique) else {
        return Ok(());
    };
    Err(refused(
        STATEMENT,
        format!(
            "it changes {}.{}, part of a unique or referenced key",
            table.name,
            table.column(*at)?.name
        ),
        "select the row FOR UPDATE, then UPDATE or INSERT",
    ))
}

/// The condition for the rows that a row meets, with its parameters; empty if it can meet none.
fn meets(
    table: &Table,
    keys: &[UniqueKey],
    columns: &[usize],
    row: &InsertRow,
    args: &[Value],
) -> Result<(String, Vec<Value>), Error> {
    let mut conditions = Vec::new();
    let mut values = Vec::new();
    for key in keys {
        let Some(parts) = key_values(table, key, columns, row, args)? else {
            continue;
        };
        let mut terms = Vec::new();
        for (&position, value) in key.columns.iter().zip(parts) {
            let name = quoted(&table.column(position)?.name);
            terms.push(format!("{name} = {}", table.kind(position)?.comparable()));
            values.push(value);
        }
        conditions.push(format!("({})", terms.join(" AND ")));
    }
    Ok((conditions.join(" OR "), values))
}

/// The row's values of a unique key; `None` if one is null or generated, which meets nothing.
fn key_values(
    table: &Table,
    key: &UniqueKey,
    columns: &[usize],
    row: &InsertRow,
    args: &[Value],
) -> Result<Option<Vec<Value>>, Error> {
    let mut values = Vec::new();
    let mut meets = true;
    for &position in &key.columns {
        let column = table.column(position)?;
        let unknown = |reason: &str| {
            refused(
                STATEMENT,
                format!(
                    "{reason} of {}.{}, part of a unique key",
                    table.name, column.name
                ),
                "give it as a parameter",
            )
        };
        let at = columns.iter().position(|column| *column == position);
        let given = at.and_then(|at| row.values.get(at));
        let value = known(given, args).map_err(|()| unknown("the server computes the value"))?;
        let by_default = matches!(given, None | Some(InsertValue::Default));
        match value {
            Some(value) => {
                let exact = to_kind(&value, table.kind(position)?);
                values.push(exact.ok_or_else(|| unknown("the value has not exactly the type"))?);
            }
            None if column.auto_increment => meets = false,
            None if by_default && column.has_default => {
                return Err(unknown("the server gives the default value"));
            }
            None => meets = false,
        }
    }
    Ok(meets.then_some(values))
}
