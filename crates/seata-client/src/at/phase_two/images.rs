//! From the fields of an undo log back to images of a table as it is now.

use std::sync::Arc;

use jiff::tz::TimeZone;
use sqlx::MySqlConnection;

use super::RollbackError;
use crate::at::image::Image;
use crate::at::pool::Shared;
use crate::at::table::Table;
use crate::at::undo::{SqlUndo, UndoField, from_undo};

/// The images of one item.
pub(super) struct Images {
    pub(super) before: Image,
    pub(super) after: Image,
}

/// Looks the table up, anew if the log knows columns that are not remembered.
pub(super) async fn images(
    shared: &Shared,
    connection: &mut MySqlConnection,
    item: &SqlUndo,
) -> Result<Images, RollbackError> {
    let name = bare(&item.table);
    let zone = &shared.config.zone;
    let table = shared
        .tables
        .get(connection, name)
        .await
        .map_err(RollbackError::table)?;
    if let Ok(images) = convert(&table, item, zone) {
        return Ok(images);
    }
    shared.tables.forget();
    let table = shared
        .tables
        .get(connection, name)
        .await
        .map_err(RollbackError::table)?;
    convert(&table, item, zone)
}

/// The table's name without schema and quotes: other clients write it as the statement had it.
fn bare(name: &str) -> &str {
    let last = name.rsplit_once('.').map_or(name, |(_, last)| last);
    last.trim_matches(['`', '"'])
}

fn convert(table: &Arc<Table>, item: &SqlUndo, zone: &TimeZone) -> Result<Images, RollbackError> {
    let before = image(table, &item.before, zone)?;
    let after = image(table, &item.after, zone)?;
    if !before.rows.is_empty() && !after.rows.is_empty() && before.columns != after.columns {
        return Err(unreadable(table, "its images have different columns"));
    }
    Ok(Images { before, after })
}

fn image(
    table: &Arc<Table>,
    rows: &[Vec<UndoField>],
    zone: &TimeZone,
) -> Result<Image, RollbackError> {
    let Some(first) = rows.first() else {
        return Ok(Image::empty(table.clone()));
    };
    let mut image = Image {
        table: table.clone(),
        columns: positions(table, first)?.into(),
        rows: Vec::new(),
    };
    for row in rows {
        if positions(table, row)? != *image.columns {
            return Err(unreadable(table, "its rows have different columns"));
        }
        let mut values = Vec::new();
        for (field, position) in row.iter().zip(&*image.columns) {
            let kind = table.kind(*position).map_err(RollbackError::table)?;
            let value = from_undo(&field.value, kind, zone);
            values.push(value.ok_or_else(|| {
                unreadable(
                    table,
                    &format!("the value of column {} has another type", field.name),
                )
            })?);
        }
        image.rows.push(values);
    }
    Ok(image)
}

fn positions(table: &Table, row: &[UndoField]) -> Result<Vec<usize>, RollbackError> {
    let mut positions = Vec::new();
    for field in row {
        let position = table.position(&field.name).ok_or_else(|| {
            unreadable(
                table,
                &format!("there is no column {} any more", field.name),
            )
        })?;
        positions.push(position);
    }
    if table.primary.is_empty() || table.primary.iter().any(|at| !positions.contains(at)) {
        return Err(unreadable(table, "its rows have not the primary key"));
    }
    Ok(positions)
}

fn unreadable(table: &Table, what: &str) -> RollbackError {
    RollbackError::Unreadable {
        what: format!("table {}: {what}", table.name),
        source: None,
    }
}
