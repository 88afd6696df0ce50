//! The SELECTs that read images.
//!
//! Always `FOR UPDATE`: an image is of the rows as they are, not as an older snapshot has them,
//! and nobody else changes them before the local transaction ends.

use std::sync::Arc;

use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::{AssertSqlSafe, Column as _, MySqlConnection, Row as _};

use super::{Image, values};
use crate::at::error::Error;
use crate::at::table::{Table, quoted};
use crate::at::value::{Kind, Value, arguments};

/// At most so many keys are in one SELECT; more are read in several.
pub(crate) const KEYS_AT_ONCE: usize = 500;
/// Statements for more keys are not kept prepared.
const KEPT_KEYS_MAX: usize = 16;

/// Which columns an image has.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    table: Arc<Table>,
    columns: Arc<[usize]>,
    /// Whether all columns are wanted; then the server is asked for `*`, which shows columns that
    /// were added since the metadata were read.
    all: bool,
}

impl Read {
    /// Every stored column.
    pub(crate) fn all(table: &Arc<Table>) -> Self {
        Self {
            table: table.clone(),
            columns: table.stored().into(),
            all: true,
        }
    }

    /// The primary key and these columns.
    pub(crate) fn some(table: &Arc<Table>, columns: impl IntoIterator<Item = usize>) -> Self {
        let mut wanted = table.primary.clone();
        for column in columns {
            if !wanted.contains(&column) {
                wanted.push(column);
            }
        }
        wanted.sort_unstable();
        Self {
            table: table.clone(),
            columns: wanted.into(),
            all: false,
        }
    }

    /// The columns of an image.
    pub(crate) fn of(image: &Image) -> Self {
        Self {
            table: image.table.clone(),
            columns: image.columns.clone(),
            all: false,
        }
    }

    /// Nothing but the primary key.
    pub(crate) fn keys_only(&self) -> Self {
        Self::some(&self.table, [])
    }

    fn name(&self, position: usize) -> Result<String, Error> {
        Ok(quoted(&self.table.column(position)?.name))
    }

    /// What reads a column's value exactly. A timestamp is read as the instant it is, whatever
    /// the session's zone.
    fn expression(&self, position: usize) -> Result<String, Error> {
        let name = self.name(position)?;
        Ok(match self.table.kind(position)? {
            Kind::Timestamp => format!("CAST(UNIX_TIMESTAMP({name}) AS DECIMAL(20,6))"),
            _ => name,
        })
    }

    /// `SELECT …`, and where in the answer each column is.
    fn list(&self) -> Result<(String, Vec<(usize, usize)>), Error> {
        if !self.all {
            let names: Result<Vec<_>, _> =
                self.columns.iter().map(|at| self.expression(*at)).collect();
            let places = self.columns.iter().copied().zip(0..).collect();
            return Ok((format!("SELECT {}", names?.join(", ")), places));
        }
        let visible = self.table.visible();
        let mut list = "SELECT *".to_owned();
        let mut extra = visible.len();
        let mut places = Vec::new();
        for &position in &*self.columns {
            let in_star = visible.iter().position(|at| *at == position);
            let instant = matches!(self.table.kind(position)?, Kind::Timestamp);
            match in_star {
                Some(at) if !instant => places.push((position, at)),
                _ => {
                    list = format!("{list}, {}", self.expression(position)?);
                    places.push((position, extra));
                    extra += 1;
                }
            }
        }
        Ok((list, places))
    }

    /// The rows of `FROM …`, locked. `kept`: whether this statement will come again.
    pub(crate) async fn rows(
        &self,
        connection: &mut MySqlConnection,
        from: &str,
        args: MySqlArguments,
        kept: bool,
    ) -> Result<Image, Error> {
        let (list, places) = self.list()?;
        let sql = format!("{list} FROM {from} FOR UPDATE");
        let rows = sqlx::query_with(AssertSqlSafe(sql), args)
            .persistent(kept)
            .fetch_all(connection)
            .await
            .map_err(Error::Image)?;
        self.check_star(rows.first())?;
        let rows: Result<Vec<_>, _> = rows
            .iter()
            .map(|row| values(&self.table, &places, row))
            .collect();
        Ok(Image {
            table: self.table.clone(),
            columns: self.columns.clone(),
            rows: rows?,
        })
    }

    /// Whether `*` is what the metadata say.
    fn check_star(&self, row: Option<&MySqlRow>) -> Result<(), Error> {
        let Some(row) = row.filter(|_| self.all) else {
            return Ok(());
        };
        let visible = self.table.visible();
        let extra = |at: &&usize| {
            let column = self.table.columns.get(**at);
            column.is_some_and(|c| c.invisible || c.kind == Some(Kind::Timestamp))
        };
        let expected = visible.len() + self.columns.iter().filter(extra).count();
        let known = |at: &usize| {
            self.table
                .columns
                .get(*at)
                .map(|column| column.name.as_str())
        };
        let same = row.columns().len() == expected
            && visible
                .iter()
                .zip(row.columns())
                .all(|(at, column)| known(at) == Some(column.name()));
        if same {
            return Ok(());
        }
        Err(Error::Stale {
            table: self.table.name.clone(),
            what: "its columns".to_owned(),
        })
    }

    /// The rows with these keys, locked, in the keys' order.
    pub(crate) async fn by_keys(
        &self,
        connection: &mut MySqlConnection,
        keys: &[Vec<Value>],
    ) -> Result<Image, Error> {
        let mut image = Image {
            table: self.table.clone(),
            columns: self.columns.clone(),
            rows: Vec::new(),
        };
        for keys in keys.chunks(KEYS_AT_ONCE) {
            // Rounded up, so that there are few different statements: the last key is repeated.
            let count = keys.len().next_power_of_two().min(KEYS_AT_ONCE);
            let condition = key_condition(&self.table, count)?;
            let from = format!("{} WHERE {condition}", quoted(&self.table.name));
            let padding = keys.last().into_iter().cycle().take(count - keys.len());
            let args = arguments(keys.iter().chain(padding).flatten());
            let args = args.map_err(Error::Image)?;
            let kept = count <= KEPT_KEYS_MAX;
            let part = self.rows(connection, &from, args, kept).await?;
            image.rows.extend(part.rows);
        }
        Ok(image.in_order_of(keys))
    }
}

/// A condition for that many keys.
pub(crate) fn key_condition(table: &Table, count: usize) -> Result<String, Error> {
    let mut names = Vec::new();
    for &position in &table.primary {
        let name = quoted(&table.column(position)?.name);
        names.push((name, table.kind(position)?.comparable()));
    }
    if let [(name, parameter)] = names.as_slice() {
        let list = vec![parameter.as_str(); count].join(", ");
        return Ok(format!("{name} IN ({list})"));
    }
    let one = names
        .iter()
        .map(|(name, parameter)| format!("{name} = {parameter}"))
        .collect::<Vec<_>>()
        .join(" AND ");
    Ok(vec![format!("({one})"); count].join(" OR "))
}
