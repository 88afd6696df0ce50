//! `INSERT` and `INSERT IGNORE`.

use std::sync::Arc;

use super::Executed;
use super::step::{Step, refused};
use crate::at::error::Error;
use crate::at::image::{Image, Read, named};
use crate::at::sql::{Insert, InsertRow, InsertValue};
use crate::at::table::{Column, Table};
use crate::at::value::{Value, to_kind};

/// One column of a row's key.
#[derive(Clone, Debug, PartialEq)]
enum KeyPart {
    Given(Value),
    /// By the server, from the table's counter.
    Generated,
}

impl Step<'_> {
    pub(super) async fn insert(
        &mut self,
        sql: &str,
        insert: &Insert,
        args: &[Value],
    ) -> Result<Executed, Error> {
        let table = self.table(&insert.table).await?;
        let rows: Vec<_> = insert.rows.iter().collect();
        self.insert_rows(&table, sql, insert, &rows, args, args)
            .await
    }

    /// Executes an INSERT of these rows. `all` are the parameters of the caller's statement, which
    /// the rows' values count; `args` are those of `sql`.
    pub(super) async fn insert_rows(
        &mut self,
        table: &Arc<Table>,
        sql: &str,
        insert: &Insert,
        rows: &[&InsertRow],
        all: &[Value],
        args: &[Value],
    ) -> Result<Executed, Error> {
        if rows.len() > self.shared.config.max_rows {
            return Err(Error::TooManyRows {
                table: table.name.clone(),
                limit: self.shared.config.max_rows,
            });
        }
        let columns = columns(table, insert)?;
        let zero_is_key = self.shared.zero_is_key;
        let keys: Result<Vec<_>, _> = rows
            .iter()
            .map(|row| key(table, &columns, row, all, zero_is_key))
            .collect();
        let keys = keys?;
        let generated = keys
            .iter()
            .filter(|key| key.contains(&KeyPart::Generated))
            .count();
        if generated != 0 && generated != keys.len() {
            return Err(refused(
                "INSERT with given and generated keys",
                "which keys the server generates is then not certain",
                "insert rows with given keys and rows with generated keys separately",
            ));
        }
        if insert.ignore && generated != 0 && table.primary.len() > 1 {
            return Err(refused(
                "INSERT IGNORE with keys generated in part",
                "which row gets which key is then not certain",
                "insert the rows one by one",
            ));
        }
        let existing = if insert.ignore && generated == 0 {
            let read = Read::some(table, []);
            Some(read.by_keys(self.connection, &given(&keys)).await?)
        } else {
            None
        };
        let done = self.execute(sql, args, rows.len() == 1).await?;
        let keys = if generated == 0 {
            given(&keys)
        } else {
            complete(&keys, done, self.shared.key_step)
        };
        let mut after = Read::all(table).by_keys(self.connection, &keys).await?;
        if let Some(existing) = existing {
            let existing = existing.by_key();
            let rows = std::mem::take(&mut after.rows);
            let is_new = |row: &Vec<Value>| !existing.contains_key(&named(&after.key(row)));
            let rows: Vec<_> = rows.into_iter().filter(is_new).collect();
            after.rows = rows;
        }
        Self::check_count(table, after.rows.len(), done)?;
        self.record("INSERT", &Image::empty(table.clone()), &after)?;
        Ok(done)
    }
}

/// The columns that the rows' values are for.
pub(super) fn columns(table: &Table, insert: &Insert) -> Result<Vec<usize>, Error> {
    let columns = if insert.columns.is_empty() {
        table.visible()
    } else {
        Step::positions(table, &insert.columns)?
    };
    if insert
        .rows
        .iter()
        .any(|row| row.values.len() != columns.len())
    {
        return Err(refused(
            "INSERT",
            format!(
                "a row has not as many values as there are columns ({})",
                columns.len()
            ),
            "give each column a value",
        ));
    }
    Ok(columns)
}

fn key(
    table: &Table,
    columns: &[usize],
    row: &InsertRow,
    args: &[Value],
    zero_is_key: bool,
) -> Result<Vec<KeyPart>, Error> {
    let mut parts = Vec::new();
    for &position in &table.primary {
        let column = table.column(position)?;
        let at = columns.iter().position(|column| *column == position);
        let value = at.and_then(|at| row.values.get(at));
        parts.push(key_part(table, position, column, value, args, zero_is_key)?);
    }
    Ok(parts)
}

fn key_part(
    table: &Table,
    position: usize,
    column: &Column,
    value: Option<&InsertValue>,
    args: &[Value],
    zero_is_key: bool,
) -> Result<KeyPart, Error> {
    let unknown = |reason: &str| {
        refused(
            "INSERT",
            format!("{reason} of key column {}.{}", table.name, column.name),
            "compute the key before and give it as a parameter",
        )
    };
    let Some(value) = known(value, args).map_err(|()| unknown("the server computes the value"))?
    else {
        if column.auto_increment {
            return Ok(KeyPart::Generated);
        }
        return Err(unknown("the row has no value"));
    };
    let kind = table.kind(position)?;
    let value = to_kind(&value, kind)
        .ok_or_else(|| unknown("the given value is not exactly a value of the type"))?;
    let zero = matches!(value, Value::Int(0) | Value::UInt(0));
    if column.auto_increment && zero && !zero_is_key {
        return Ok(KeyPart::Generated);
    }
    Ok(KeyPart::Given(value))
}

/// The value that is given; `None` if there is none. `Err`: the server computes it.
pub(super) fn known(value: Option<&InsertValue>, args: &[Value]) -> Result<Option<Value>, ()> {
    match value {
        None | Some(InsertValue::Default | InsertValue::Null) => Ok(None),
        Some(InsertValue::Expression) => Err(()),
        Some(InsertValue::Literal(value)) => Ok(Some(value.clone())),
        Some(InsertValue::Param(at)) => match args.get(*at) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => Ok(Some(value.clone())),
        },
    }
}

fn given(keys: &[Vec<KeyPart>]) -> Vec<Vec<Value>> {
    let value = |part: &KeyPart| match part {
        KeyPart::Given(value) => Some(value.clone()),
        KeyPart::Generated => None,
    };
    keys.iter()
        .map(|key| key.iter().filter_map(value).collect())
        .collect()
}

/// The keys with what the server generated: the rows that one INSERT did put in have them one
/// after another, from the one that the server tells. That they are found is checked afterwards.
fn complete(keys: &[Vec<KeyPart>], done: Executed, step: u64) -> Vec<Vec<Value>> {
    let inserted = usize::try_from(done.rows_affected).unwrap_or(usize::MAX);
    let fill = |(number, key): (usize, &Vec<KeyPart>)| {
        let offset = u64::try_from(number)
            .unwrap_or_default()
            .saturating_mul(step);
        let id = done.last_insert_id.saturating_add(offset);
        let value = |part: &KeyPart| match part {
            KeyPart::Given(value) => value.clone(),
            KeyPart::Generated => Value::UInt(id),
        };
        key.iter().map(value).collect()
    };
    keys.iter().enumerate().take(inserted).map(fill).collect()
}
