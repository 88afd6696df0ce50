//! Images: the rows that a statement touches, before and after it.

mod select;

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::mysql::MySqlRow;
use sqlx::{Column as _, Row as _, TypeInfo as _, ValueRef as _};

use super::error::Error;
use super::table::Table;
use super::value::{self, Value};

pub(crate) use select::{KEYS_AT_ONCE, Read, key_condition};

/// Rows of a table. Every row has the values of `columns`, which contain the primary key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Image {
    pub(crate) table: Arc<Table>,
    pub(crate) columns: Arc<[usize]>,
    pub(crate) rows: Vec<Vec<Value>>,
}

impl Image {
    pub(crate) fn empty(table: Arc<Table>) -> Self {
        Self {
            columns: table.stored().into(),
            table,
            rows: Vec::new(),
        }
    }

    /// The values of a row's primary key, in the key's order.
    pub(crate) fn key(&self, row: &[Value]) -> Vec<Value> {
        let value = |position: &usize| {
            let at = self.columns.iter().position(|column| column == position);
            at.and_then(|at| row.get(at)).cloned()
        };
        self.table.primary.iter().filter_map(value).collect()
    }

    pub(crate) fn keys(&self) -> Vec<Vec<Value>> {
        self.rows.iter().map(|row| self.key(row)).collect()
    }

    /// The rows by their keys' [`named`] form.
    pub(crate) fn by_key(&self) -> HashMap<String, &Vec<Value>> {
        self.rows
            .iter()
            .map(|row| (named(&self.key(row)), row))
            .collect()
    }

    /// Puts the rows into the order of these keys.
    pub(crate) fn in_order_of(mut self, keys: &[Vec<Value>]) -> Self {
        let places: HashMap<String, usize> = keys.iter().map(|key| named(key)).zip(0..).collect();
        let rows = std::mem::take(&mut self.rows);
        let place = |row: &Vec<Value>| places.get(&named(&self.key(row))).copied();
        let mut rows: Vec<_> = rows.into_iter().map(|row| (place(&row), row)).collect();
        rows.sort_by_key(|(place, _)| *place);
        self.rows = rows.into_iter().map(|(_, row)| row).collect();
        self
    }
}

/// A key as a text that only equal keys have.
pub(crate) fn named(key: &[Value]) -> String {
    format!("{key:?}")
}

/// A row of an image's answer. `at` is where the first of the columns is in the answer.
fn values(table: &Table, columns: &[(usize, usize)], row: &MySqlRow) -> Result<Vec<Value>, Error> {
    let mut out = Vec::with_capacity(columns.len());
    for &(position, at) in columns {
        out.push(one(table, position, row, at)?);
    }
    Ok(out)
}

fn one(table: &Table, position: usize, row: &MySqlRow, at: usize) -> Result<Value, Error> {
    let column = table.column(position)?;
    let kind = table.kind(position)?;
    let stale = || Error::Stale {
        table: table.name.clone(),
        what: format!("type of column {}", column.name),
    };
    let wire = row.columns().get(at).ok_or_else(stale)?.type_info();
    if !kind.is_wire(wire.name()) && !wire.is_null() {
        return Err(stale());
    }
    let raw = row.try_get_raw(at).map_err(Error::Image)?;
    // Zero dates look null to the driver; only the absence of bytes is null here.
    match <&[u8] as sqlx::Decode<'_, sqlx::MySql>>::decode(raw.clone()) {
        Ok(bytes) => value::decode(kind, bytes).ok_or_else(stale),
        Err(_) if raw.is_null() => Ok(Value::Null),
        Err(_) => Err(stale()),
    }
}

/// The primary key that stands in a row's last columns.
pub(crate) fn key_at_end(table: &Table, row: &MySqlRow) -> Result<Vec<Value>, Error> {
    let first = row.columns().len().saturating_sub(table.primary.len());
    let places: Vec<_> = table.primary.iter().copied().zip(first..).collect();
    values(table, &places, row)
}
