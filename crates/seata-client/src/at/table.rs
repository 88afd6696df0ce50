//! What is known of tables: columns, keys, and what would change rows behind a statement's back.
//!
//! Read from `information_schema`, kept for a bounded number of tables and a bounded time, and
//! read again as soon as anything does not fit.

mod cache;
mod load;

use super::error::Error;
use super::value::Kind;

pub(crate) use cache::Tables;

/// A column.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Column {
    pub name: String,
    /// `None` for types that cannot be imaged.
    pub kind: Option<Kind>,
    /// The type's number in JDBC.
    pub jdbc: i32,
    pub auto_increment: bool,
    /// Set by the server when the row is updated (`ON UPDATE CURRENT_TIMESTAMP`).
    pub on_update: bool,
    /// Computed by the server; cannot be written.
    pub generated: bool,
    /// Not part of `SELECT *`.
    pub invisible: bool,
    /// Whether a row that does not name it gets something else than `NULL`.
    pub has_default: bool,
}

/// A unique key as its columns' positions in [`Table::columns`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UniqueKey {
    pub name: String,
    pub columns: Vec<usize>,
    /// Whether equal columns are all there is to it: no prefix, no expression.
    pub plain: bool,
}

/// A table that branches may write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    /// As the server spells it.
    pub name: String,
    pub columns: Vec<Column>,
    /// The primary key's columns, in the key's order.
    pub primary: Vec<usize>,
    /// All unique keys but the primary one.
    pub unique: Vec<UniqueKey>,
    pub triggers: bool,
    /// Whether deleting or re-keying rows changes rows of other tables (`ON DELETE CASCADE`…).
    pub cascades: bool,
    /// The columns that foreign keys of other tables are about.
    pub referenced: Vec<usize>,
}

impl Table {
    /// A column's position; names are compared as the server does, without regard to case.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        let same = |column: &Column| column.name.eq_ignore_ascii_case(name);
        self.columns
            .iter()
            .position(same)
            // Beyond ASCII the server folds case by its own tables; Unicode's are close.
            .or_else(|| {
                let name = name.to_lowercase();
                let same = |column: &Column| column.name.to_lowercase() == name;
                self.columns.iter().position(same)
            })
    }

    pub(crate) fn is_primary(&self, position: usize) -> bool {
        self.primary.contains(&position)
    }

    /// Every column that can be written, in order.
    pub(crate) fn stored(&self) -> Vec<usize> {
        let stored = |at: &usize| self.columns.get(*at).is_some_and(|c| !c.generated);
        (0..self.columns.len()).filter(stored).collect()
    }

    /// The columns of `SELECT *`.
    pub(crate) fn visible(&self) -> Vec<usize> {
        let visible = |at: &usize| self.columns.get(*at).is_some_and(|c| !c.invisible);
        (0..self.columns.len()).filter(visible).collect()
    }

    pub(crate) fn column(&self, position: usize) -> Result<&Column, Error> {
        self.columns.get(position).ok_or_else(|| Error::Stale {
            table: self.name.clone(),
            what: format!("column {position}"),
        })
    }

    pub(crate) fn kind(&self, position: usize) -> Result<&Kind, Error> {
        let column = self.column(position)?;
        column.kind.as_ref().ok_or_else(|| Error::Table {
            table: self.name.clone(),
            problem: format!("column {} has a type that has no image", column.name),
            way_out: "write it outside of global transactions",
        })
    }

    /// Refuses tables whose rows cannot be named.
    pub(crate) fn check_keys(&self) -> Result<(), Error> {
        let refuse = |problem: String, way_out| Error::Table {
            table: self.name.clone(),
            problem,
            way_out,
        };
        if self.primary.is_empty() {
            let way_out = "add a primary key, or write it outside of global transactions";
            return Err(refuse("it has no primary key".to_owned(), way_out));
        }
        for &at in &self.primary {
            let column = self.column(at)?;
            if !self.kind(at)?.can_be_key() || column.generated {
                let problem = format!("its key column {} cannot name rows exactly", column.name);
                let way_out = "use an integer, decimal, text, binary or date key";
                return Err(refuse(problem, way_out));
            }
        }
        if self.triggers {
            let way_out = "do the triggers' work in the transaction, or write outside of it";
            return Err(refuse(
                "it has triggers, which have no images".to_owned(),
                way_out,
            ));
        }
        Ok(())
    }
}

/// An identifier in backticks.
pub(crate) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
