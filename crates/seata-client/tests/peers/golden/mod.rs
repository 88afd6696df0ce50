//! Undo rows as both generations of the Java client write them, over every type of column: the
//! files in `tests/data/java-undo`, which the Rust reader is tested against.
//!
//! `cases.json` says which statements were run, and the rows before and after them as MySQL prints
//! them (bytes in hex). A folder for each generation holds `CASE.info` and `CASE.context`, the
//! columns `rollback_info` and `context` as they were; a row that was split goes on in `CASE.1.info`
//! and so on. The test writes the rows again and compares them with the files; with `WRITE_UNDO=1`
//! it writes the files.

mod cases;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Row as _};

use self::cases::{Case, cases, is_bytes, seeds, tables};
use crate::support::database::Mysql;
use crate::support::java::{Generation, Java};
use crate::support::tc::{Store, Tc, Version};

/// A row of `undo_log`; ids differ from run to run and are written as these.
const XID: &str = "127.0.0.2:8091:1000";
const BRANCH_ID: i64 = 2000;

struct Undo {
    branch_id: i64,
    context: String,
    info: Vec<u8>,
}

/// The rows as MySQL prints them: texts, with bytes in hex.
async fn print(
    connection: &mut MySqlConnection,
    case: &Case,
) -> Vec<BTreeMap<String, Option<String>>> {
    let sql = format!(
        "SELECT COLUMN_NAME, COLUMN_TYPE FROM information_schema.COLUMNS \
         WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{}' ORDER BY ORDINAL_POSITION",
        case.table
    );
    let columns = sqlx::query(AssertSqlSafe(sql))
        .fetch_all(&mut *connection)
        .await
        .unwrap();
    let columns: Vec<(String, String)> = columns
        .iter()
        .map(|row| (row.get(0), row.get::<String, _>(1).to_uppercase()))
        .collect();
    let selected: Vec<String> = columns
        .iter()
        .map(|(name, kind)| {
            if is_bytes(kind) {
                format!("LOWER(HEX({name}))")
            } else {
                format!("CAST({name} AS CHAR)")
            }
        })
        .collect();
    let sql = format!(
        "SELECT {} FROM {} WHERE {} ORDER BY 1, 2",
        selected.join(", "),
        case.table,
        case.rows
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .fetch_all(&mut *connection)
        .await
        .unwrap();
    let read = |row: &sqlx::mysql::MySqlRow| {
        let values = columns.iter().enumerate();
        values
            .map(|(index, (name, _))| (name.clone(), row.get(index)))
            .collect()
    };
    rows.iter().map(read).collect()
}

/// The undo rows of a transaction, the branch's own first.
async fn undo(connection: &mut MySqlConnection, xid: &str) -> Vec<Undo> {
    let rows = sqlx::query(
        "SELECT branch_id, context, rollback_info, log_status FROM undo_log WHERE xid = ? \
         ORDER BY context LIKE 'branchId=%', branch_id",
    )
    .bind(xid)
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    let rows: Vec<Undo> = rows
        .iter()
        .map(|row| Undo {
            branch_id: row.get("branch_id"),
            context: row.get("context"),
            info: row.get("rollback_info"),
        })
        .collect();
    assert!(!rows.is_empty(), "no undo row of {xid}");
    rows
}

/// Runs one case as a branch of a transaction that never ends, so that its undo rows stay.
async fn write(
    java: &mut Java,
    connection: &mut MySqlConnection,
    case: &Case,
) -> (Value, BTreeMap<String, Vec<u8>>) {
    let before = print(connection, case).await;
    let xid = java.begin().await;
    for (sql, arguments) in &case.statements {
        java.execute(sql, arguments.clone()).await.unwrap();
    }
    java.commit_local().await.unwrap();
    java.unbind().await;
    let after = print(connection, case).await;
    let statements: Vec<Value> = case
        .statements
        .iter()
        .map(|(sql, arguments)| json!({"sql": sql, "arguments": arguments}))
        .collect();
    let told = json!({
        "name": case.name,
        "table": case.table,
        "statements": statements,
        "before": before,
        "after": after,
    });
    let rows = undo(connection, &xid).await;
    (told, files(case.name, &xid, &rows))
}

/// A transaction's undo rows as files, with fixed ids in place of its own.
fn files(name: &str, xid: &str, rows: &[Undo]) -> BTreeMap<String, Vec<u8>> {
    let ids: Vec<(String, String)> = (BRANCH_ID..)
        .zip(rows)
        .map(|(fixed, row)| (row.branch_id.to_string(), fixed.to_string()))
        .chain([(xid.to_owned(), XID.to_owned())])
        .collect();
    let fixed = |text: &str| {
        ids.iter().fold(text.to_owned(), |text, (own, fixed)| {
            text.replace(own, fixed)
        })
    };
    let mut files = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        let part = if index == 0 {
            String::new()
        } else {
            format!(".{index}")
        };
        // What is compressed keeps the ids that it was written with.
        let info = String::from_utf8(row.info.clone())
            .map_or_else(|_| row.info.clone(), |text| fixed(&text).into_bytes());
        files.insert(format!("{name}{part}.info"), info);
        files.insert(
            format!("{name}{part}.context"),
            fixed(&row.context).into_bytes(),
        );
    }
    files
}

fn is_compressed(info: &[u8]) -> bool {
    info.starts_with(b"PK")
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/java-undo")
}

/// Writes the file, or compares with it.
fn settle(path: &Path, content: &[u8]) {
    if std::env::var_os("WRITE_UNDO").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        return std::fs::write(path, content).unwrap();
    }
    let there = std::fs::read(path).unwrap();
    if is_compressed(&there) && is_compressed(content) {
        return;
    }
    assert_eq!(
        String::from_utf8_lossy(&there),
        String::from_utf8_lossy(content),
        "{} is not what the Java client writes; WRITE_UNDO=1 writes the file",
        path.display()
    );
}

/// All cases of one generation; gives what `cases.json` tells of them.
async fn write_all(generation: Generation, tc: &Tc, mysql: &Mysql) -> Vec<Value> {
    let database = mysql.database().await;
    mysql
        .run(&database, include_str!("../../support/undo_log.sql"))
        .await;
    mysql.run(&database, &tables().join(";")).await;
    let mut connection = mysql.connect(&database).await;
    let mut java = Java::start(generation, tc, mysql, &database).await;
    for (sql, arguments) in seeds() {
        java.execute(&sql, arguments).await.unwrap();
    }
    java.commit_local().await.unwrap();
    let mut told = Vec::new();
    let cases = cases();
    for case in cases.iter().filter(|case| case.name != "split") {
        told.push(save(generation, &mut java, &mut connection, case).await);
    }
    java.exit().await;
    // Only the newer generation splits, by what the server says when the client connects.
    if generation == Generation::OrgApache {
        mysql.run("", "SET GLOBAL max_allowed_packet = 8192").await;
        let mut java = Java::start(generation, tc, mysql, &database).await;
        for case in cases.iter().filter(|case| case.name == "split") {
            told.push(save(generation, &mut java, &mut connection, case).await);
        }
        java.exit().await;
    }
    told
}

async fn save(
    generation: Generation,
    java: &mut Java,
    connection: &mut MySqlConnection,
    case: &Case,
) -> Value {
    let (told, files) = write(java, connection, case).await;
    for (name, content) in files {
        settle(&folder().join(generation.package()).join(name), &content);
    }
    told
}

#[tokio::test]
async fn the_undo_rows_are_what_both_generations_of_java_write() {
    let mysql = Mysql::start().await;
    let tc = Tc::start(Version::V1_8, Store::File).await;
    let older = write_all(Generation::Io, &tc, &mysql).await;
    let newer = write_all(Generation::OrgApache, &tc, &mysql).await;
    assert_eq!(older, newer[..older.len()]);
    let told = json!({"xid": XID, "branchId": BRANCH_ID, "tables": tables(), "cases": newer});
    let mut text = serde_json::to_string_pretty(&told).unwrap();
    text.push('\n');
    settle(&folder().join("cases.json"), text.as_bytes());
}
