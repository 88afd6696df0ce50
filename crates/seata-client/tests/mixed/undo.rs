//! Each rolls back what the other wrote: whoever wrote it is gone, so the coordinator asks another
//! client of the database.

use std::path::Path;

use seata_client::at::Value;
use seata_client::at::undo::{Compression, Context, decode, encode};
use seata_client::branch::Xid;
use serde_json::Value as Json;
use sqlx::mysql::MySqlArguments;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Row as _};

use crate::cases::{Case, cases, seeds, tables};
use crate::support::java::{Generation, Java};
use crate::support::process::{START_WITHIN, until};
use crate::world::{Rust, classes, database, mysql, tc, value};

type MySqlQuery<'q> = Query<'q, sqlx::MySql, MySqlArguments>;

const TABLES: [&str; 6] = [
    "every_type",
    "numbered",
    "composite",
    "uniques",
    "touched",
    "large",
];

/// A checksum over all bytes of each table.
async fn contents(database: &str) -> Vec<(String, i64)> {
    let mut connection = mysql().await.connect(database).await;
    let mut sums = Vec::new();
    for table in TABLES {
        let sql = format!("CHECKSUM TABLE {table} EXTENDED");
        let row = sqlx::query(AssertSqlSafe(sql))
            .fetch_one(&mut connection)
            .await
            .unwrap();
        sums.push((table.to_owned(), row.get("Checksum")));
    }
    sums
}

async fn is_again(database: &str, before: &[(String, i64)]) {
    let is = async || (contents(database).await == before).then_some(());
    until("the tables to be as before", START_WITHIN, is).await;
}

/// The rows that the cases start from.
async fn seed(database: &str) {
    let mut connection = mysql().await.connect(database).await;
    for (sql, arguments) in seeds().iter().map(without_fractions_of_times) {
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for argument in arguments.as_array().unwrap() {
            query = bind(query, argument);
        }
        query.execute(&mut connection).await.unwrap();
    }
}

fn bind<'q>(query: MySqlQuery<'q>, argument: &Json) -> MySqlQuery<'q> {
    match value(argument) {
        Value::Null => query.bind(None::<i64>),
        Value::Int(number) => query.bind(number),
        Value::UInt(number) => query.bind(number),
        Value::Double(number) => query.bind(number),
        Value::Text(text) => query.bind(text),
        Value::Bytes(bytes) => query.bind(bytes),
        other => panic!("{other:?}"),
    }
}

/// Java's undo rows have times without their fractions, so nobody can put those back.
fn without_fractions_of_times(statement: &(String, Json)) -> (String, Json) {
    let (sql, arguments) = statement;
    let mut arguments = arguments.clone();
    for argument in arguments.as_array_mut().unwrap() {
        match argument.as_str() {
            Some("12:34:56.789") => *argument = "12:34:56".into(),
            Some("01:02:03.004") => *argument = "01:02:03".into(),
            _ => {}
        }
    }
    (sql.clone(), arguments)
}

fn statements(case: &Case) -> Vec<(String, Json)> {
    case.statements
        .iter()
        .map(without_fractions_of_times)
        .collect()
}

/// Java cannot roll back unsigned numbers beyond its signed ones, whoever wrote the undo row.
fn is_undone_by_java(case: &Case) -> bool {
    !["insert", "update", "delete"].contains(&case.name)
}

async fn rust_undoes(generation: Generation) {
    let database = database(&tables().join(";")).await;
    let rust = Rust::start(&database, generation).await;
    seed(&database).await;
    let before = contents(&database).await;

    let mut java = Java::start(generation, tc().await, mysql().await, &database).await;
    let xid = rust.begin().await;
    java.bind(xid.as_str()).await;
    let cases = cases();
    for case in &cases {
        for (sql, arguments) in statements(case) {
            java.execute(&sql, arguments).await.unwrap();
        }
        java.commit_local().await.unwrap();
    }
    assert_ne!(contents(&database).await, before);
    java.kill();
    // The coordinator may notice only now that Java is gone, and asks again.
    let _ = rust.client.rollback(&xid).await;
    is_again(&database, &before).await;
    assert_eq!(rust.number("SELECT COUNT(*) FROM undo_log").await, 0);
    rust.leave().await;
}

async fn java_undoes(generation: Generation) {
    let database = database(&tables().join(";")).await;
    let rust = Rust::start(&database, generation).await;
    seed(&database).await;
    let before = contents(&database).await;
    let mut java = Java::start(generation, tc().await, mysql().await, &database).await;
    let xid = Xid::new(java.begin().await);
    for case in cases().iter().filter(|case| is_undone_by_java(case)) {
        let mut statements = statements(case);
        statements.retain(|(sql, _)| !sql.starts_with("SET "));
        let done = rust.branch(&xid, &statements).await;
        done.unwrap_or_else(|error| panic!("{}: {error}", case.name));
    }
    assert_ne!(contents(&database).await, before);
    rust.leave().await;
    java.rollback().await;
    is_again(&database, &before).await;
    java.exit().await;
}

/// The files that the Java clients wrote are read, and written back with the same meaning.
#[test]
fn golden_rows_are_read_and_written_back() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/java-undo");
    for generation in Generation::ALL {
        for case in cases() {
            let name = folder.join(generation.package()).join(case.name);
            let read = |extension: &str| std::fs::read(name.with_extension(extension));
            let Ok(context) = read("context") else {
                assert_eq!((generation, case.name), (Generation::Io, "split"));
                continue;
            };
            let context = Context::parse(&String::from_utf8(context).unwrap()).unwrap();
            let mut info = read("info").unwrap();
            for part in 1.. {
                match read(&format!("{part}.info")) {
                    Ok(more) => info.extend(more),
                    Err(_) => break,
                }
            }
            let undo = decode(info.clone(), context.compression);
            let undo = undo.unwrap_or_else(|error| panic!("{}: {error:?}", name.display()));
            assert!(!undo.items.is_empty());
            if context.compression == Compression::None {
                let (written, _) = encode(&undo, classes(generation)).unwrap();
                let again = decode(written, Compression::None).unwrap();
                assert_eq!(format!("{again:?}"), format!("{undo:?}"), "{}", case.name);
            }
        }
    }
}

#[tokio::test]
async fn rust_undoes_what_java_2_0_wrote() {
    rust_undoes(Generation::Io).await;
}

#[tokio::test]
async fn rust_undoes_what_java_2_6_wrote() {
    rust_undoes(Generation::OrgApache).await;
}

#[tokio::test]
async fn java_2_0_undoes_what_rust_wrote() {
    java_undoes(Generation::Io).await;
}

#[tokio::test]
async fn java_2_6_undoes_what_rust_wrote() {
    java_undoes(Generation::OrgApache).await;
}
