//! Reading a table's metadata.

use sqlx::mysql::MySqlRow;
use sqlx::{MySqlConnection, Row};

use super::{Column, Table, UniqueKey};
use crate::at::error::Error;
use crate::at::value::Kind;

/// Every column is cast: the servers' own types for these views differ between versions.
const TABLES: &str = "SELECT CAST(TABLE_NAME AS CHAR) AS name, CAST(TABLE_TYPE AS CHAR) AS type, \
    CAST(ENGINE AS CHAR) AS engine FROM information_schema.TABLES \
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ?";
const COLUMNS: &str = "SELECT CAST(COLUMN_NAME AS CHAR) AS name, \
    CAST(DATA_TYPE AS CHAR) AS data_type, CAST(COLUMN_TYPE AS CHAR) AS column_type, \
    CAST(EXTRA AS CHAR) AS extra, CAST(COLUMN_DEFAULT AS CHAR) AS initial, \
    CAST(IS_NULLABLE AS CHAR) AS nullable FROM information_schema.COLUMNS \
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION";
const KEYS: &str = "SELECT CAST(INDEX_NAME AS CHAR) AS name, CAST(COLUMN_NAME AS CHAR) AS col, \
    CAST(SUB_PART AS CHAR) AS part FROM information_schema.STATISTICS \
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? AND NON_UNIQUE = 0 \
    ORDER BY INDEX_NAME, SEQ_IN_INDEX";
const SIDE_EFFECTS: &str = "SELECT CAST((SELECT COUNT(*) FROM information_schema.TRIGGERS \
    WHERE EVENT_OBJECT_SCHEMA = DATABASE() AND EVENT_OBJECT_TABLE = ?) AS SIGNED) AS triggers, \
    CAST((SELECT COUNT(*) FROM information_schema.REFERENTIAL_CONSTRAINTS \
    WHERE UNIQUE_CONSTRAINT_SCHEMA = DATABASE() AND REFERENCED_TABLE_NAME = ? \
    AND (DELETE_RULE NOT IN ('RESTRICT', 'NO ACTION') \
    OR UPDATE_RULE NOT IN ('RESTRICT', 'NO ACTION'))) AS SIGNED) AS cascades";

const REFERENCED: &str = "SELECT DISTINCT CAST(REFERENCED_COLUMN_NAME AS CHAR) AS col \
    FROM information_schema.KEY_COLUMN_USAGE \
    WHERE REFERENCED_TABLE_SCHEMA = DATABASE() AND REFERENCED_TABLE_NAME = ?";

/// Reads a table of the connection's database.
pub(super) async fn table(connection: &mut MySqlConnection, name: &str) -> Result<Table, Error> {
    let name = reported_name(connection, name).await?;
    let read = |row: &MySqlRow| column(row);
    let columns = sqlx::query(COLUMNS)
        .bind(&name)
        .fetch_all(&mut *connection)
        .await
        .map_err(Error::metadata)?
        .iter()
        .map(read)
        .collect::<Result<Vec<_>, _>>()
        .map_err(Error::metadata)?;
    let side_effects = sqlx::query(SIDE_EFFECTS)
        .bind(&name)
        .bind(&name)
        .fetch_one(&mut *connection)
        .await
        .map_err(Error::metadata)?;
    let mut table = Table {
        name,
        columns,
        primary: Vec::new(),
        unique: Vec::new(),
        triggers: count(&side_effects, "triggers")? > 0,
        cascades: count(&side_effects, "cascades")? > 0,
        referenced: Vec::new(),
    };
    if table.cascades {
        add_referenced(connection, &mut table).await?;
    }
    add_keys(connection, &mut table).await?;
    Ok(table)
}

fn count(row: &MySqlRow, name: &str) -> Result<i64, Error> {
    row.try_get(name).map_err(Error::metadata)
}

/// The name as the server spells it, if it is a table that has transactions.
async fn reported_name(connection: &mut MySqlConnection, name: &str) -> Result<String, Error> {
    let found = sqlx::query(TABLES)
        .bind(name)
        .fetch_all(connection)
        .await
        .map_err(Error::metadata)?;
    let mut candidates = Vec::new();
    for row in &found {
        let text = |column: &str| {
            row.try_get::<Option<String>, _>(column)
                .map_err(Error::metadata)
        };
        let reported = text("name")?.unwrap_or_default();
        candidates.push((reported, text("type")?, text("engine")?));
    }
    let exact = candidates
        .iter()
        .position(|(reported, ..)| reported == name);
    let refuse = |problem: String, way_out| Error::Table {
        table: name.to_owned(),
        problem,
        way_out,
    };
    let Some((reported, kind, engine)) = candidates.into_iter().nth(exact.unwrap_or(0)) else {
        let way_out = "check its name; temporary tables and other databases cannot take part";
        return Err(refuse(
            "there is no such table in this database".to_owned(),
            way_out,
        ));
    };
    let engine = engine.unwrap_or_default();
    if kind.as_deref() != Some("BASE TABLE") {
        let way_out = "write to the tables under it";
        return Err(refuse("it is a view".to_owned(), way_out));
    }
    if !engine.eq_ignore_ascii_case("InnoDB") {
        let way_out = "use InnoDB";
        return Err(refuse(
            format!("its engine {engine} has no transactions"),
            way_out,
        ));
    }
    Ok(reported)
}

fn column(row: &MySqlRow) -> Result<Column, sqlx::Error> {
    let text = |name: &str| {
        row.try_get::<Option<String>, _>(name)
            .map(Option::unwrap_or_default)
    };
    let extra = text("extra")?.to_ascii_lowercase();
    let generated = extra.contains("virtual generated") || extra.contains("stored generated");
    // MariaDB writes a missing default as the text NULL.
    let initial: Option<String> = row.try_get("initial")?;
    let has_default = initial.is_some_and(|text| !text.eq_ignore_ascii_case("null"));
    let known = Kind::read(&text("data_type")?, &text("column_type")?);
    let (kind, jdbc) = match known {
        Some((kind, jdbc)) => (Some(kind), jdbc),
        None => (None, 0),
    };
    Ok(Column {
        name: text("name")?,
        kind,
        jdbc,
        auto_increment: extra.contains("auto_increment"),
        on_update: extra.contains("on update"),
        generated,
        invisible: extra.contains("invisible"),
        has_default: has_default || text("nullable")? == "NO",
    })
}

async fn add_referenced(connection: &mut MySqlConnection, table: &mut Table) -> Result<(), Error> {
    let rows = sqlx::query(REFERENCED)
        .bind(&table.name)
        .fetch_all(connection)
        .await
        .map_err(Error::metadata)?;
    for row in rows {
        let column: String = row.try_get("col").map_err(Error::metadata)?;
        table.referenced.extend(table.position(&column));
    }
    Ok(())
}

async fn add_keys(connection: &mut MySqlConnection, table: &mut Table) -> Result<(), Error> {
    let rows = sqlx::query(KEYS)
        .bind(&table.name)
        .fetch_all(connection)
        .await
        .map_err(Error::metadata)?;
    let mut keys: Vec<UniqueKey> = Vec::new();
    for row in rows {
        let name: String = row.try_get("name").map_err(Error::metadata)?;
        let column: Option<String> = row.try_get("col").map_err(Error::metadata)?;
        let part: Option<String> = row.try_get("part").map_err(Error::metadata)?;
        if keys.last().is_none_or(|key| key.name != name) {
            keys.push(UniqueKey {
                name,
                columns: Vec::new(),
                plain: true,
            });
        }
        let position = column.and_then(|column| table.position(&column));
        if let Some(key) = keys.last_mut() {
            key.plain &= part.is_none() && position.is_some();
            key.columns.extend(position);
        }
    }
    for key in keys {
        if key.name != "PRIMARY" {
            table.unique.push(key);
        } else if key.plain {
            table.primary = key.columns;
        }
    }
    Ok(())
}
