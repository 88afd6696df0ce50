//! What a statement is, and whether it can be undone.
//!
//! An allow-list: a statement whose rows are certainly known before and after it is planned, reads
//! pass, everything else is refused with its way out. Parts of statements are cut out of the text
//! that the caller wrote, never printed from a syntax tree, so the server sees what was meant.
//!
//! Pure. Not here: what the tables are (`table`), which also decides about keys.

mod cache;
mod classify;
mod insert;
mod scan;

use std::ops::Range;

pub(crate) use cache::Plans;

use super::error::Error;
use super::value::Value;

/// A piece of a statement with the numbers of the parameters in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) sql: String,
    pub(crate) args: Range<usize>,
}

impl Part {
    /// The parameters of this piece.
    pub(crate) fn of<'a>(&self, args: &'a [Value]) -> &'a [Value] {
        args.get(self.args.clone()).unwrap_or_default()
    }
}

/// A table as a statement names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableRef {
    pub(crate) schema: Option<String>,
    pub(crate) name: String,
    /// With alias and index hints, as it was written.
    pub(crate) part: Part,
}

/// Which rows a statement is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    /// `WHERE …`
    pub(crate) condition: Option<Part>,
    /// `ORDER BY …`
    pub(crate) order: Option<Part>,
    /// `LIMIT …`
    pub(crate) limit: Option<Part>,
    /// Whether the same rows match again as long as they are locked: no functions, no subqueries,
    /// no variables, no `LIMIT`.
    pub(crate) repeatable: bool,
}

impl Selection {
    pub(crate) fn parts(&self) -> impl Iterator<Item = &Part> {
        [&self.condition, &self.order, &self.limit]
            .into_iter()
            .flatten()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Update {
    pub(crate) table: TableRef,
    /// `UPDATE … SET …`
    pub(crate) head: Part,
    /// The columns that are assigned.
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Selection,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delete {
    pub(crate) table: TableRef,
    /// `DELETE FROM …`
    pub(crate) head: Part,
    pub(crate) rows: Selection,
}

/// A value in `VALUES`, as far as it can be known.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum InsertValue {
    Param(usize),
    Literal(Value),
    Null,
    Default,
    /// Computed by the server.
    Expression,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct InsertRow {
    /// `(…)`
    pub(crate) part: Part,
    pub(crate) values: Vec<InsertValue>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Insert {
    pub(crate) table: TableRef,
    pub(crate) ignore: bool,
    /// Empty: all visible columns.
    pub(crate) columns: Vec<String>,
    /// `INSERT … VALUES`
    pub(crate) head: Part,
    pub(crate) rows: Vec<InsertRow>,
    /// `AS new`, if it is there.
    pub(crate) alias: Option<Part>,
    /// `ON DUPLICATE KEY UPDATE …` and the columns it assigns.
    pub(crate) duplicate: Option<(Part, Vec<String>)>,
}

/// `SELECT … FOR UPDATE` of one table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Locking {
    pub(crate) table: TableRef,
    /// The table's name in the statement: its alias, or itself.
    pub(crate) qualifier: String,
    /// Everything before `FROM`.
    pub(crate) head: Part,
    /// `FROM` and everything after it.
    pub(crate) tail: Part,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    /// Reads without global lock.
    Pass,
    Insert(Insert),
    Update(Update),
    Delete(Delete),
    Locking(Locking),
    Refused(Refusal),
}

/// Why a statement is not executed in a global transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) statement: &'static str,
    pub(crate) reason: String,
    pub(crate) way_out: &'static str,
}

impl Refusal {
    fn new(statement: &'static str, reason: impl Into<String>, way_out: &'static str) -> Self {
        Self {
            statement,
            reason: reason.into(),
            way_out,
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused {
            statement: refusal.statement,
            reason: refusal.reason,
            way_out: refusal.way_out,
        }
    }
}

/// A statement that was understood.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) sql: String,
    /// How many `?` it has.
    pub(crate) parameters: usize,
    pub(crate) shape: Shape,
}

/// Understands a statement. Never fails: what cannot be understood is refused.
pub(crate) fn plan(sql: &str) -> Plan {
    let scanned = scan::scan(sql);
    let (parameters, shape) = match scanned {
        Ok(scan) => {
            let shape = classify::classify(&scan).unwrap_or_else(Shape::Refused);
            (scan.parameters, shape)
        }
        Err(refusal) => (0, Shape::Refused(refusal)),
    };
    Plan {
        sql: sql.to_owned(),
        parameters,
        shape,
    }
}

#[cfg(test)]
mod tests;
