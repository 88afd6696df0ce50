//! The undo log of a branch: what was before, what is after, in the format that Java's clients
//! write and read (its serializer "jackson").
//!
//! Pure. Not here: the table it lies in (`phase_one`, `phase_two`).

mod compress;
mod context;
mod field;
mod json;

pub use context::{Compression, Context};
pub use field::UndoValue;
pub(crate) use field::{from_undo, to_undo};
pub use json::{decode, encode};

/// Why an undo log could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    #[error("the undo log is not JSON as Java writes it")]
    Json(#[source] serde_json::Error),
    #[error("the undo log has a value that is not understood: {what}")]
    Value { what: String },
    #[error("the undo log's context {context:?} is not understood: {problem}")]
    Context { context: String, problem: String },
    #[error("the undo log cannot be decompressed ({kind})")]
    Compression {
        kind: Compression,
        #[source]
        source: std::io::Error,
    },
}

/// Which of Java's class names are written. The two generations cannot load each other's, so all
/// clients of a database must write the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Classes {
    /// `io.seata…`, up to 2.0.
    IoSeata,
    /// `org.apache.seata…`, from 2.1.
    #[default]
    ApacheSeata,
}

impl Classes {
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::IoSeata => "io.seata.rm.datasource.",
            Self::ApacheSeata => "org.apache.seata.rm.datasource.",
        }
    }
}

/// The undo log of a branch.
#[derive(Clone, Debug, PartialEq)]
pub struct BranchUndo {
    pub xid: String,
    pub branch_id: i64,
    /// In the order in which the statements were executed.
    pub items: Vec<SqlUndo>,
}

/// What one statement did to one table.
#[derive(Clone, Debug, PartialEq)]
pub struct SqlUndo {
    /// `INSERT`, `UPDATE` or `DELETE`; other clients write more names. The images decide.
    pub sql_type: String,
    pub table: String,
    /// Empty: the rows were inserted.
    pub before: Vec<Vec<UndoField>>,
    /// Empty: the rows were deleted.
    pub after: Vec<Vec<UndoField>>,
}

/// A column of a row.
#[derive(Clone, Debug, PartialEq)]
pub struct UndoField {
    pub name: String,
    pub primary: bool,
    /// The type's number in JDBC.
    pub jdbc: i32,
    pub value: UndoValue,
}

#[cfg(test)]
mod tests;
