//! Undoing a branch.
//!
//! In one local transaction: the undo row is locked, its statements are undone in reverse order,
//! the row is deleted. Rows that are already as before are left alone, so it may run twice; rows
//! that others changed stop everything. A branch that has no undo row yet gets a marker, against
//! which its own late undo row fails.

use std::collections::HashSet;
use std::sync::Arc;

use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, MySqlConnection, MySqlPool, Row as _};

use super::dirty::{DirtyWrite, Verdict, judge};
use super::images::{Images, images};
use crate::at::error::{DUPLICATE_KEY, Error, server_code};
use crate::at::image::{Image, Read, key_condition, named};
use crate::at::pool::Shared;
use crate::at::session::Session;
use crate::at::table::{Table, quoted};
use crate::at::undo::{BranchUndo, Context, SqlUndo, UndoError, decode};
use crate::at::value::{Value, arguments};
use crate::branch::Branch;

const TRIES: usize = 5;

/// What a rollback found and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undone {
    /// The rows are as they were before the branch.
    Rows,
    /// The branch had not begun, or had ended and been cleaned up. It cannot begin any more.
    NotBegun,
    /// The marker of an earlier rollback is there.
    Before,
}

/// Why a branch was not undone.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// Never possible without a person.
    #[error("{0}")]
    Dirty(Box<DirtyWrite>),
    /// The undo log or its table is not understood. Never possible without a person.
    #[error("the undo log cannot be used: {what}")]
    Unreadable {
        what: String,
        #[source]
        source: Option<UndoError>,
    },
    /// The database said no; another time it may work.
    #[error("the database did not do it")]
    Database(#[source] sqlx::Error),
    /// The table cannot be used now.
    #[error("the table cannot be read")]
    Table(#[source] Box<Error>),
    #[error("the undo row came and went {TRIES} times")]
    Restless,
}

impl RollbackError {
    pub(super) fn table(error: Error) -> Self {
        match error {
            Error::Table { .. } => Self::Unreadable {
                what: error.to_string(),
                source: None,
            },
            other => Self::Table(Box::new(other)),
        }
    }

    fn undo(source: UndoError) -> Self {
        Self::Unreadable {
            what: "it is not in Java's format".to_owned(),
            source: Some(source),
        }
    }
}

pub(super) async fn undo(
    shared: &Shared,
    pool: &MySqlPool,
    branch: &Branch,
) -> Result<Undone, RollbackError> {
    for _ in 0..TRIES {
        let mut session = Session::begin(pool).await.map_err(RollbackError::table)?;
        let outcome = attempt(shared, &mut session, branch).await;
        match outcome {
            Ok(Some(undone)) => {
                session.commit().await.map_err(RollbackError::Database)?;
                return Ok(undone);
            }
            Ok(None) => session.rollback().await.map_err(RollbackError::Database)?,
            Err(error) => {
                // What went wrong first is what is told.
                let _ = session.rollback().await;
                return Err(error);
            }
        }
    }
    Err(RollbackError::Restless)
}

/// `None`: the undo row appeared meanwhile.
async fn attempt(
    shared: &Shared,
    session: &mut Session,
    branch: &Branch,
) -> Result<Option<Undone>, RollbackError> {
    let connection = session.work().map_err(RollbackError::table)?;
    let outcome = in_transaction(shared, connection, branch).await;
    session.rest();
    outcome
}

async fn in_transaction(
    shared: &Shared,
    connection: &mut MySqlConnection,
    branch: &Branch,
) -> Result<Option<Undone>, RollbackError> {
    let Some(row) = undo_row(shared, connection, branch).await? else {
        return mark(shared, connection, branch).await;
    };
    let status: i32 = row.try_get("log_status").map_err(RollbackError::Database)?;
    if status != 0 {
        return Ok(Some(Undone::Before));
    }
    let log = read_log(shared, connection, branch, &row).await?;
    for item in log.items.iter().rev() {
        undo_item(shared, connection, item).await?;
    }
    delete_log(shared, connection, branch).await?;
    Ok(Some(Undone::Rows))
}

async fn undo_row(
    shared: &Shared,
    connection: &mut MySqlConnection,
    branch: &Branch,
) -> Result<Option<MySqlRow>, RollbackError> {
    let sql = format!(
        "SELECT context, rollback_info, log_status FROM {} \
         WHERE xid = ? AND branch_id = ? FOR UPDATE",
        shared.undo_table
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(branch.xid.as_str())
        .bind(branch.branch_id)
        .fetch_optional(connection)
        .await
        .map_err(RollbackError::Database)
}

async fn mark(
    shared: &Shared,
    connection: &mut MySqlConnection,
    branch: &Branch,
) -> Result<Option<Undone>, RollbackError> {
    let sql = format!(
        "INSERT INTO {} (branch_id, xid, context, rollback_info, log_status, log_created, \
         log_modified) VALUES (?, ?, ?, '{{}}', 1, NOW(6), NOW(6))",
        shared.undo_table
    );
    let inserted = sqlx::query(AssertSqlSafe(sql))
        .bind(branch.branch_id)
        .bind(branch.xid.as_str())
        .bind(Context::default().to_string())
        .execute(connection)
        .await;
    match inserted {
        Ok(_) => Ok(Some(Undone::NotBegun)),
        Err(error) if server_code(&error) == Some(DUPLICATE_KEY) => Ok(None),
        Err(error) => Err(RollbackError::Database(error)),
    }
}

async fn read_log(
    shared: &Shared,
    connection: &mut MySqlConnection,
    branch: &Branch,
    row: &MySqlRow,
) -> Result<BranchUndo, RollbackError> {
    let context: String = row.try_get("context").map_err(RollbackError::Database)?;
    let mut info: Vec<u8> = row
        .try_get("rollback_info")
        .map_err(RollbackError::Database)?;
    let context = Context::parse(&context).map_err(RollbackError::undo)?;
    let sql = format!(
        "SELECT rollback_info FROM {} WHERE xid = ? AND branch_id = ? FOR UPDATE",
        shared.undo_table
    );
    for id in &context.sub_ids {
        let part = sqlx::query(AssertSqlSafe(sql.clone()))
            .bind(branch.xid.as_str())
            .bind(id)
            .fetch_optional(&mut *connection)
            .await
            .map_err(RollbackError::Database)?;
        let Some(part) = part else {
            return Err(RollbackError::Unreadable {
                what: format!("its part {id} is missing"),
                source: None,
            });
        };
        info.extend(
            part.try_get::<Vec<u8>, _>(0)
                .map_err(RollbackError::Database)?,
        );
    }
    decode(info, context.compression).map_err(RollbackError::undo)
}

async fn delete_log(
    shared: &Shared,
    connection: &mut MySqlConnection,
    branch: &Branch,
) -> Result<(), RollbackError> {
    let sql = format!(
        "DELETE FROM {} WHERE xid = ? AND (branch_id = ? OR context = ?)",
        shared.undo_table
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(branch.xid.as_str())
        .bind(branch.branch_id)
        .bind(format!("branchId={}", branch.branch_id))
        .execute(connection)
        .await
        .map_err(RollbackError::Database)?;
    Ok(())
}

/// Undoes one statement, its rows in reverse order too: of rows that handed a unique value on
/// from one to the next, the last one got it first.
async fn undo_item(
    shared: &Shared,
    connection: &mut MySqlConnection,
    item: &SqlUndo,
) -> Result<(), RollbackError> {
    let Images { before, after } = images(shared, connection, item).await?;
    let touched = if before.rows.is_empty() {
        &after
    } else {
        &before
    };
    if touched.rows.is_empty() {
        return Ok(());
    }
    let read = Read::of(touched);
    let current = read.by_keys(connection, &touched.keys()).await;
    let current = current.map_err(RollbackError::table)?;
    let (before, after, current) = (before.by_key(), after.by_key(), current.by_key());
    // Some keys are equal for the database but not the same: another row took this one's place.
    let own: HashSet<String> = touched.keys().iter().map(|key| named(key)).collect();
    if let Some((_, stranger)) = current.iter().find(|(key, _)| !own.contains(*key)) {
        let dirty = DirtyWrite::new(touched, stranger, None, None);
        return Err(RollbackError::Dirty(Box::new(dirty)));
    }
    for row in touched.rows.iter().rev() {
        let key = touched.key(row);
        let name = named(&key);
        let old = before.get(&name).copied();
        let new = after.get(&name).copied();
        let now = current.get(&name).copied();
        match judge(old, new, now) {
            Verdict::Nothing => {}
            Verdict::Dirty => {
                let dirty = DirtyWrite::new(touched, row, new.or(old), now);
                return Err(RollbackError::Dirty(Box::new(dirty)));
            }
            Verdict::Undo => undo_one(connection, touched, old, new, &key).await?,
        }
    }
    Ok(())
}

async fn undo_one(
    connection: &mut MySqlConnection,
    image: &Image,
    old: Option<&Vec<Value>>,
    new: Option<&Vec<Value>>,
    key: &[Value],
) -> Result<(), RollbackError> {
    let table = &image.table;
    let (sql, values) = match (old, new) {
        (None, _) => (delete_sql(table)?, key.to_vec()),
        (Some(old), None) => insert_sql(image, old),
        (Some(old), Some(_)) => match update_sql(image, old, key)? {
            Some(update) => update,
            None => return Ok(()),
        },
    };
    let args = arguments(&values).map_err(RollbackError::Database)?;
    let done = sqlx::query_with(AssertSqlSafe(sql), args)
        .execute(connection)
        .await;
    let done = match done {
        Ok(done) => done,
        Err(error) if server_code(&error) == Some(DUPLICATE_KEY) => {
            let row = old.or(new).map_or(&[][..], Vec::as_slice);
            let dirty = DirtyWrite::taken(image, row, &error);
            return Err(RollbackError::Dirty(Box::new(dirty)));
        }
        Err(error) => return Err(RollbackError::Database(error)),
    };
    if done.rows_affected() == 1 {
        return Ok(());
    }
    Err(RollbackError::table(Error::Moved {
        table: table.name.clone(),
        what: format!("{} rows were undone instead of one", done.rows_affected()),
    }))
}

fn delete_sql(table: &Table) -> Result<String, RollbackError> {
    let condition = key_condition(table, 1).map_err(RollbackError::table)?;
    Ok(format!(
        "DELETE FROM {} WHERE {condition}",
        quoted(&table.name)
    ))
}

/// The columns that can be written, with their values.
fn writable<'a>(
    image: &'a Image,
    row: &'a [Value],
    keys_too: bool,
) -> impl Iterator<Item = (String, &'a Value)> {
    let table: &Arc<Table> = &image.table;
    image
        .columns
        .iter()
        .zip(row)
        .filter_map(move |(position, value)| {
            let column = table.columns.get(*position)?;
            let wanted = !column.generated && (keys_too || !table.is_primary(*position));
            wanted.then(|| (quoted(&column.name), value))
        })
}

fn insert_sql(image: &Image, row: &[Value]) -> (String, Vec<Value>) {
    let (names, values): (Vec<_>, Vec<_>) = writable(image, row, true).unzip();
    let parameters = vec!["?"; names.len()].join(", ");
    let sql = format!(
        "INSERT INTO {} ({}) VALUES ({parameters})",
        quoted(&image.table.name),
        names.join(", ")
    );
    (sql, values.into_iter().cloned().collect())
}

fn update_sql(
    image: &Image,
    row: &[Value],
    key: &[Value],
) -> Result<Option<(String, Vec<Value>)>, RollbackError> {
    let (names, values): (Vec<_>, Vec<_>) = writable(image, row, false).unzip();
    if names.is_empty() {
        return Ok(None);
    }
    let assignments: Vec<_> = names.iter().map(|name| format!("{name} = ?")).collect();
    let condition = key_condition(&image.table, 1).map_err(RollbackError::table)?;
    let sql = format!(
        "UPDATE {} SET {} WHERE {condition}",
        quoted(&image.table.name),
        assignments.join(", ")
    );
    let values = values.into_iter().chain(key).cloned().collect();
    Ok(Some((sql, values)))
}
