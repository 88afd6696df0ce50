//! The first phase: statements are executed in a local transaction with their images, and the
//! branch is registered when it commits.

mod commit;
mod delete;
mod insert;
mod locking;
mod step;
mod transaction;
mod update;
mod upsert;

pub use transaction::AtTransaction;
pub(crate) use transaction::Outcome;

use sqlx::mysql::MySqlQueryResult;

use super::image::Image;
use super::lock_key::LockKeys;
use super::undo::{SqlUndo, UndoField, to_undo};
use crate::branch::Xid;

/// What a local transaction takes part in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Nothing: statements pass untouched.
    #[default]
    Local,
    /// A global transaction, as a branch of it.
    Global(Xid),
    /// No global transaction, but it commits only if none holds the rows it wrote, and its
    /// `SELECT … FOR UPDATE` reads nothing that may yet be rolled back.
    GlobalLock,
}

impl From<Xid> for Scope {
    fn from(xid: Xid) -> Self {
        Self::Global(xid)
    }
}

impl From<&Xid> for Scope {
    fn from(xid: &Xid) -> Self {
        Self::Global(xid.clone())
    }
}

impl From<Option<Xid>> for Scope {
    fn from(xid: Option<Xid>) -> Self {
        xid.map_or(Self::Local, Self::Global)
    }
}

/// What a statement did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Executed {
    /// Rows inserted, matched or deleted, as the server counts them.
    pub rows_affected: u64,
    /// The first key that the server generated; 0 if none.
    pub last_insert_id: u64,
}

impl From<MySqlQueryResult> for Executed {
    fn from(result: MySqlQueryResult) -> Self {
        Self {
            rows_affected: result.rows_affected(),
            last_insert_id: result.last_insert_id(),
        }
    }
}

/// What a local transaction did so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Work {
    items: Vec<SqlUndo>,
    locks: LockKeys,
}

/// An image as the undo log has it.
fn records(image: &Image, zone: &jiff::tz::TimeZone) -> Vec<Vec<UndoField>> {
    let field = |(position, value): (&usize, &super::value::Value)| {
        let column = image.table.columns.get(*position)?;
        Some(UndoField {
            name: column.name.clone(),
            primary: image.table.is_primary(*position),
            jdbc: column.jdbc,
            value: to_undo(value, column.kind.as_ref()?, zone),
        })
    };
    let row = |row: &Vec<_>| image.columns.iter().zip(row).filter_map(field).collect();
    image.rows.iter().map(row).collect()
}
