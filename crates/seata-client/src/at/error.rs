//! Why something was not done, and what to do about it.

use std::time::Duration;

use crate::branch::{CoordinatorError, Xid};

/// Why a statement or a local transaction of a branch failed. Whatever it says, the local
/// transaction can be rolled back, and nothing of it stays.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This statement cannot be rolled back for certain, so it is not executed.
    #[error("{statement} is refused in a global transaction: {reason}; {way_out}")]
    Refused {
        /// The statement's kind, for example `INSERT … SELECT`.
        statement: &'static str,
        reason: String,
        way_out: &'static str,
    },
    /// This table cannot take part in global transactions.
    #[error("table {table} cannot take part in a global transaction: {problem}; {way_out}")]
    Table {
        table: String,
        problem: String,
        way_out: &'static str,
    },
    /// The table is not as its metadata said, also after reading them again.
    #[error("table {table} changed while it was used ({what}); try again")]
    Stale { table: String, what: String },
    /// Other transactions changed what the statement was to change, so its images are not certain.
    #[error("rows of table {table} changed under the statement ({what}); roll back and try again")]
    Moved { table: String, what: String },
    /// A statement would change more rows than are imaged.
    #[error(
        "a statement on table {table} changes more than {limit} rows; \
         do it in parts, or raise the limit `max_rows`"
    )]
    TooManyRows { table: String, limit: usize },
    /// A key would be read as something else in a list of locks.
    #[error("key {key:?} of table {table} cannot be locked: {problem}")]
    Key {
        table: String,
        key: String,
        problem: &'static str,
    },
    /// Another global transaction holds the rows.
    #[error("rows locked by global transaction {} for {waited:?}: {message}",
        holder.as_ref().map_or("unknown", Xid::as_str))]
    LockConflict {
        holder: Option<Xid>,
        /// How long it was tried.
        waited: Duration,
        /// The holder is rolling back; trying longer would have been in its way.
        fail_fast: bool,
        message: String,
    },
    /// The coordinator did not take the branch.
    #[error("the branch was not registered")]
    Coordinator(#[source] CoordinatorError),
    /// An earlier statement broke this local transaction; it can only be rolled back.
    #[error("this local transaction was broken by an earlier error; roll it back")]
    Broken,
    /// The number of parameters is not that of the statement's `?`.
    #[error("the statement has {expected} parameters, {given} were given")]
    Parameters { expected: usize, given: usize },
    /// The undo log does not fit into the database.
    #[error(
        "the undo log of {bytes} bytes is too large for this server; change fewer rows at once"
    )]
    UndoTooLarge { bytes: usize },
    #[error("the undo log cannot be written")]
    Undo(#[source] crate::at::undo::UndoError),
    /// The global transaction was rolled back before this branch committed.
    #[error("the global transaction was already rolled back")]
    AlreadyRolledBack(#[source] sqlx::Error),
    /// The connection broke during COMMIT. Rolling back the global transaction is safe; committing
    /// it is not.
    #[error("it is unknown whether the local transaction was committed; roll back the global one")]
    CommitUnknown(#[source] sqlx::Error),
    #[error("the table's metadata cannot be read")]
    Metadata(#[source] sqlx::Error),
    #[error("the image of the changed rows cannot be read")]
    Image(#[source] sqlx::Error),
    #[error("the statement failed")]
    Statement(#[source] sqlx::Error),
    #[error("the database cannot be used")]
    Database(#[source] sqlx::Error),
    /// The pool's settings do not allow what AT needs.
    #[error("this database cannot be used: {problem}")]
    Unsuitable { problem: String },
}

impl Error {
    pub(crate) fn metadata(source: sqlx::Error) -> Self {
        Self::Metadata(source)
    }

    /// The server's number for this error, if the server said it.
    pub(crate) fn server_code(&self) -> Option<u16> {
        match self {
            Self::Metadata(source)
            | Self::Image(source)
            | Self::Statement(source)
            | Self::Database(source)
            | Self::AlreadyRolledBack(source)
            | Self::CommitUnknown(source) => server_code(source),
            _ => None,
        }
    }
}

/// The server's number for an error.
pub(crate) fn server_code(error: &sqlx::Error) -> Option<u16> {
    let error = error.as_database_error()?;
    error
        .try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
        .map(sqlx::mysql::MySqlDatabaseError::number)
}

/// A row with this key is there already.
pub(crate) const DUPLICATE_KEY: u16 = 1062;
/// The table does not exist.
pub(crate) const NO_SUCH_TABLE: u16 = 1146;
