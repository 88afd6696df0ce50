//! The JSON of an undo log, with Java's class names in it.
//!
//! Values are kept as raw text until they are read, so that no number is changed on the way.

use serde::ser::{SerializeMap, SerializeStruct};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::compress::{gzip, unpack};
use super::{BranchUndo, Classes, Compression, SqlUndo, UndoError, UndoField, UndoValue};

const LIST: &str = "java.util.ArrayList";

/// Logs of more bytes are compressed.
const COMPRESSED_ABOVE_BYTES: usize = 64 * 1024;

/// Writes a log as `rollback_info` has it, compressed if it is large.
pub fn encode(undo: &BranchUndo, classes: Classes) -> Result<(Vec<u8>, Compression), UndoError> {
    let tree = Written { undo, classes };
    let bytes = serde_json::to_vec(&tree).map_err(UndoError::Json)?;
    if bytes.len() <= COMPRESSED_ABOVE_BYTES {
        return Ok((bytes, Compression::None));
    }
    let kind = Compression::Gzip;
    let packed = gzip(&bytes).map_err(|source| UndoError::Compression { kind, source })?;
    Ok((packed, kind))
}

/// Reads `rollback_info`, of either generation of class names.
pub fn decode(bytes: Vec<u8>, compression: Compression) -> Result<BranchUndo, UndoError> {
    let bytes = unpack(compression, bytes)?;
    let branch: BranchRead<'_> = serde_json::from_slice(&bytes).map_err(UndoError::Json)?;
    class(&branch.class, "undo.BranchUndoLog")?;
    let items: Result<Vec<_>, _> = branch.items.take()?.into_iter().map(item).collect();
    Ok(BranchUndo {
        xid: branch.xid,
        branch_id: branch.branch_id,
        items: items?,
    })
}

struct Written<'a> {
    undo: &'a BranchUndo,
    classes: Classes,
}

/// A list with its class.
struct List<T>(Vec<T>);

impl<T: Serialize> Serialize for List<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (LIST, &self.0).serialize(serializer)
    }
}

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let prefix = self.classes.prefix();
        let items = self.undo.items.iter().map(|item| Item { item, prefix });
        let mut out = serializer.serialize_struct("", 4)?;
        out.serialize_field("@class", &format!("{prefix}undo.BranchUndoLog"))?;
        out.serialize_field("xid", &self.undo.xid)?;
        out.serialize_field("branchId", &self.undo.branch_id)?;
        out.serialize_field("sqlUndoLogs", &List(items.collect()))?;
        out.end()
    }
}

struct Item<'a> {
    item: &'a SqlUndo,
    prefix: &'static str,
}

impl Serialize for Item<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { item, prefix } = self;
        let records = |rows| Records {
            table: &item.table,
            rows,
            prefix,
        };
        let mut out = serializer.serialize_struct("", 5)?;
        out.serialize_field("@class", &format!("{prefix}undo.SQLUndoLog"))?;
        out.serialize_field("sqlType", &item.sql_type)?;
        out.serialize_field("tableName", &item.table)?;
        out.serialize_field("beforeImage", &records(&item.before))?;
        out.serialize_field("afterImage", &records(&item.after))?;
        out.end()
    }
}

struct Records<'a> {
    table: &'a str,
    rows: &'a [Vec<UndoField>],
    prefix: &'static str,
}

impl Serialize for Records<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let prefix = self.prefix;
        let empty = if self.rows.is_empty() {
            "$EmptyTableRecords"
        } else {
            ""
        };
        let rows = self.rows.iter().map(|fields| Row { fields, prefix });
        let mut out = serializer.serialize_struct("", 3)?;
        out.serialize_field("@class", &format!("{prefix}sql.struct.TableRecords{empty}"))?;
        out.serialize_field("tableName", self.table)?;
        out.serialize_field("rows", &List(rows.collect()))?;
        out.end()
    }
}

struct Row<'a> {
    fields: &'a [UndoField],
    prefix: &'static str,
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let prefix = self.prefix;
        let fields = self.fields.iter().map(|field| Field { field, prefix });
        let mut out = serializer.serialize_struct("", 2)?;
        out.serialize_field("@class", &format!("{prefix}sql.struct.Row"))?;
        out.serialize_field("fields", &List(fields.collect()))?;
        out.end()
    }
}

struct Field<'a> {
    field: &'a UndoField,
    prefix: &'static str,
}

impl Serialize for Field<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { field, prefix } = self;
        let key = if field.primary { "PRIMARY_KEY" } else { "NULL" };
        let mut out = serializer.serialize_map(Some(5))?;
        out.serialize_entry("@class", &format!("{prefix}sql.struct.Field"))?;
        out.serialize_entry("name", &field.name)?;
        out.serialize_entry("keyType", key)?;
        out.serialize_entry("type", &field.jdbc)?;
        out.serialize_entry("value", &field.value)?;
        out.end()
    }
}

#[derive(Deserialize)]
struct BranchRead<'a> {
    #[serde(rename = "@class")]
    class: String,
    xid: String,
    #[serde(rename = "branchId")]
    branch_id: i64,
    #[serde(borrow, rename = "sqlUndoLogs")]
    items: ListRead<ItemRead<'a>>,
}

/// `["java.util.ArrayList", […]]`, whatever the list's class is.
#[derive(Deserialize)]
struct ListRead<T>(String, Vec<T>);

impl<T> ListRead<T> {
    fn take(self) -> Result<Vec<T>, UndoError> {
        if self.0.starts_with("java.util.") {
            return Ok(self.1);
        }
        Err(UndoError::Value {
            what: format!("a list of class {}", self.0),
        })
    }
}

#[derive(Deserialize)]
struct ItemRead<'a> {
    #[serde(rename = "@class")]
    class: String,
    #[serde(rename = "sqlType")]
    sql_type: String,
    #[serde(rename = "tableName")]
    table: String,
    #[serde(borrow, rename = "beforeImage")]
    before: Option<RecordsRead<'a>>,
    #[serde(borrow, rename = "afterImage")]
    after: Option<RecordsRead<'a>>,
}

#[derive(Deserialize)]
struct RecordsRead<'a> {
    #[serde(borrow)]
    rows: Option<ListRead<RowRead<'a>>>,
}

#[derive(Deserialize)]
struct RowRead<'a> {
    #[serde(borrow)]
    fields: ListRead<FieldRead<'a>>,
}

#[derive(Deserialize)]
struct FieldRead<'a> {
    name: String,
    #[serde(rename = "keyType")]
    key: String,
    #[serde(rename = "type")]
    jdbc: i32,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

fn class(found: &str, expected: &str) -> Result<(), UndoError> {
    let known = [Classes::IoSeata, Classes::ApacheSeata];
    if known
        .iter()
        .any(|classes| found.strip_prefix(classes.prefix()) == Some(expected))
    {
        return Ok(());
    }
    Err(UndoError::Value {
        what: format!("an object of class {found}"),
    })
}

fn item(item: ItemRead<'_>) -> Result<SqlUndo, UndoError> {
    class(&item.class, "undo.SQLUndoLog")?;
    Ok(SqlUndo {
        sql_type: item.sql_type,
        table: item.table,
        before: records(item.before)?,
        after: records(item.after)?,
    })
}

fn records(records: Option<RecordsRead<'_>>) -> Result<Vec<Vec<UndoField>>, UndoError> {
    let Some(rows) = records.and_then(|records| records.rows) else {
        return Ok(Vec::new());
    };
    rows.take()?.into_iter().map(row).collect()
}

fn row(row: RowRead<'_>) -> Result<Vec<UndoField>, UndoError> {
    let field = |field: FieldRead<'_>| {
        Ok(UndoField {
            name: field.name,
            primary: field.key.eq_ignore_ascii_case("PRIMARY_KEY"),
            jdbc: field.jdbc,
            value: UndoValue::read(field.value.map_or("null", RawValue::get))?,
        })
    };
    row.fields.take()?.into_iter().map(field).collect()
}
