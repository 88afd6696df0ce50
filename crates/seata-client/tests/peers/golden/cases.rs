//! The tables, the rows that are there, and the branches that change them.

use serde_json::{Value, json};

/// Name, type, and two values. A value is what JDBC is given.
pub(super) fn columns() -> Vec<(&'static str, &'static str, Value, Value)> {
    let hex = |text: &str| json!({"hex": text});
    vec![
        ("c_tinyint", "TINYINT", json!(-128), json!(127)),
        (
            "c_tinyint_unsigned",
            "TINYINT UNSIGNED",
            json!(0),
            json!(255),
        ),
        ("c_bool", "TINYINT(1)", json!(0), json!(1)),
        ("c_smallint", "SMALLINT", json!(-32768), json!(32767)),
        (
            "c_smallint_unsigned",
            "SMALLINT UNSIGNED",
            json!(0),
            json!(65535),
        ),
        (
            "c_mediumint",
            "MEDIUMINT",
            json!(-8_388_608),
            json!(8_388_607),
        ),
        (
            "c_mediumint_unsigned",
            "MEDIUMINT UNSIGNED",
            json!(0),
            json!(16_777_215),
        ),
        ("c_int", "INT", json!(i32::MIN), json!(i32::MAX)),
        ("c_int_unsigned", "INT UNSIGNED", json!(0), json!(u32::MAX)),
        ("c_bigint", "BIGINT", json!(i64::MIN), json!(i64::MAX)),
        (
            "c_bigint_unsigned",
            "BIGINT UNSIGNED",
            json!(1),
            json!("18446744073709551615"),
        ),
        (
            "c_decimal",
            "DECIMAL(20,4)",
            json!("12.3400"),
            json!("-9999999999999999.9999"),
        ),
        (
            "c_decimal_long",
            "DECIMAL(65,30)",
            json!("0.000000000000000000000000000001"),
            json!("12345678901234567890123456789012345.123456789012345678901234567890"),
        ),
        (
            "c_decimal_whole",
            "DECIMAL(12,0)",
            json!("0"),
            json!("999999999999"),
        ),
        ("c_float", "FLOAT", json!(1.5), json!(-0.1)),
        ("c_double", "DOUBLE", json!(2.25), json!(-1.5e-10)),
        ("c_bit1", "BIT(1)", json!(0), json!(1)),
        ("c_bit10", "BIT(10)", json!(5), json!(1023)),
        ("c_char", "CHAR(5)", json!("ab"), json!("五")),
        (
            "c_varchar",
            "VARCHAR(100)",
            json!("it's \"quoted\" \\ and\ttabbed\n"),
            json!("支付 🙂"),
        ),
        ("c_tinytext", "TINYTEXT", json!(""), json!("x")),
        ("c_text", "TEXT", json!("text"), json!("other text")),
        (
            "c_mediumtext",
            "MEDIUMTEXT",
            json!("text"),
            json!("other text"),
        ),
        ("c_longtext", "LONGTEXT", json!("text"), json!("other text")),
        ("c_enum", "ENUM('one','two')", json!("one"), json!("two")),
        ("c_set", "SET('a','b','c')", json!("a,c"), json!("")),
        (
            "c_json",
            "JSON",
            json!("{\"a\": [1, 2.50, null, \"é\"]}"),
            json!("[]"),
        ),
        ("c_binary", "BINARY(4)", hex("00ff"), hex("deadbeef")),
        ("c_varbinary", "VARBINARY(20)", hex(""), hex("000102")),
        ("c_tinyblob", "TINYBLOB", hex("01"), hex("02")),
        ("c_blob", "BLOB", hex("01ff"), hex("0200")),
        ("c_mediumblob", "MEDIUMBLOB", hex("01"), hex("02")),
        ("c_longblob", "LONGBLOB", hex("01"), hex("02")),
        ("c_date", "DATE", json!("2024-02-29"), json!("1969-12-31")),
        ("c_time", "TIME", json!("23:59:59"), json!("00:00:00")),
        (
            "c_time3",
            "TIME(3)",
            json!("12:34:56.789"),
            json!("01:02:03.004"),
        ),
        (
            "c_datetime",
            "DATETIME",
            json!("2024-06-01 12:34:56"),
            json!("1969-12-31 23:59:59"),
        ),
        (
            "c_datetime3",
            "DATETIME(3)",
            json!("2024-06-01 12:34:56.789"),
            json!("1969-12-31 23:59:59.001"),
        ),
        (
            "c_datetime6",
            "DATETIME(6)",
            json!("2024-06-01 12:34:56.789012"),
            json!("2000-01-01 00:00:00.000001"),
        ),
        (
            "c_timestamp",
            "TIMESTAMP NULL",
            json!("2024-06-01 12:34:56"),
            json!("1970-01-01 00:00:01"),
        ),
        (
            "c_timestamp6",
            "TIMESTAMP(6) NULL",
            json!("2024-06-01 12:34:56.789012"),
            json!("2000-01-01 00:00:00.100000"),
        ),
        ("c_year", "YEAR", json!(2024), json!(1970)),
    ]
}

/// What JDBC reads as bytes, and `cases.json` tells in hex.
pub(super) fn is_bytes(kind: &str) -> bool {
    [
        "BIT",
        "BINARY",
        "VARBINARY",
        "TINYBLOB",
        "BLOB",
        "MEDIUMBLOB",
        "LONGBLOB",
    ]
    .iter()
    .any(|bytes| kind.starts_with(bytes))
}

pub(super) fn tables() -> Vec<String> {
    let columns: Vec<String> = columns()
        .iter()
        .map(|(name, kind, ..)| format!("{name} {kind}"))
        .collect();
    vec![
        format!("CREATE TABLE every_type (id BIGINT PRIMARY KEY, {})", columns.join(", ")),
        "CREATE TABLE numbered (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, name VARCHAR(20))".to_owned(),
        "CREATE TABLE composite (tenant INT, code VARCHAR(20), amount DECIMAL(12,2) NOT NULL, PRIMARY KEY (tenant, code))".to_owned(),
        "CREATE TABLE uniques (id INT PRIMARY KEY, code VARCHAR(20) NOT NULL UNIQUE, amount BIGINT)".to_owned(),
        "CREATE TABLE touched (id INT PRIMARY KEY, note VARCHAR(20), changed DATETIME(3) ON UPDATE CURRENT_TIMESTAMP(3))".to_owned(),
        "CREATE TABLE large (id INT PRIMARY KEY, body LONGTEXT)".to_owned(),
    ]
}

/// One branch: what it runs, and of which rows it changes.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) table: &'static str,
    /// The rows that the branch touches, before and after.
    pub(super) rows: &'static str,
    pub(super) statements: Vec<(String, Value)>,
}

fn case(
    name: &'static str,
    (table, rows): (&'static str, &'static str),
    statements: &[(&str, Value)],
) -> Case {
    let own = |(sql, arguments): &(&str, Value)| ((*sql).to_owned(), arguments.clone());
    Case {
        name,
        table,
        rows,
        statements: statements.iter().map(own).collect(),
    }
}

/// Of the first or second value of every column.
fn values(second: bool) -> Vec<Value> {
    columns()
        .into_iter()
        .map(|(_, _, one, two)| if second { two } else { one })
        .collect()
}

fn insert(id: i64, values: Vec<Value>) -> (String, Value) {
    let marks = vec!["?"; values.len() + 1].join(", ");
    let mut arguments = vec![json!(id)];
    arguments.extend(values);
    (
        format!("INSERT INTO every_type VALUES ({marks})"),
        Value::Array(arguments),
    )
}

fn update_all(id: i64, second: bool) -> (String, Value) {
    let sets: Vec<String> = columns()
        .iter()
        .map(|(name, ..)| format!("{name} = ?"))
        .collect();
    let mut arguments = values(second);
    arguments.push(json!(id));
    let sql = format!("UPDATE every_type SET {} WHERE id = ?", sets.join(", "));
    (sql, Value::Array(arguments))
}

/// Rows that are there before the branches.
pub(super) fn seeds() -> Vec<(String, Value)> {
    let nulls = vec![Value::Null; columns().len()];
    let plain = |sql: &str| (sql.to_owned(), json!([]));
    let mut large = vec![json!("pay ".repeat(20_000))];
    // Each fits into a packet of the server, and an undo row of all of them does not.
    large.extend(vec![json!("0123456789abcdef".repeat(250)); 4]);
    vec![
        insert(1, values(false)),
        insert(2, nulls),
        insert(3, values(true)),
        plain("INSERT INTO composite VALUES (1, 'a-b', 10.50), (1, 'c', -0.01), (2, 'a-b', 3.00)"),
        plain("INSERT INTO uniques VALUES (1, 'one', 1), (2, 'two', NULL), (3, 'three', 3)"),
        plain("INSERT INTO touched VALUES (1, 'old', '2024-06-01 12:34:56.789')"),
        (
            "INSERT INTO large VALUES (1, ?), (2, ?), (3, ?), (4, ?), (5, ?)".to_owned(),
            Value::Array(large),
        ),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "insert",
            table: "every_type",
            rows: "id = 10",
            statements: vec![insert(10, values(true))],
        },
        Case {
            name: "update",
            table: "every_type",
            rows: "id = 1",
            statements: vec![update_all(1, true)],
        },
        Case {
            name: "update-from-null",
            table: "every_type",
            rows: "id = 2",
            statements: vec![update_all(2, false)],
        },
        case(
            "delete",
            ("every_type", "id = 3"),
            &[("DELETE FROM every_type WHERE id = ?", json!([3]))],
        ),
        case(
            "insert-generated-keys",
            ("numbered", "TRUE"),
            &[(
                "INSERT INTO numbered (name) VALUES (?), (?)",
                json!(["first", "second"]),
            )],
        ),
        case(
            "update-many-rows",
            ("composite", "tenant = 1"),
            &[(
                "UPDATE composite SET amount = amount + ? WHERE tenant = ?",
                json!(["0.10", 1]),
            )],
        ),
        case(
            "delete-composite-key",
            ("composite", "tenant = 2"),
            &[(
                "DELETE FROM composite WHERE tenant = ? AND code = ?",
                json!([2, "a-b"]),
            )],
        ),
        case(
            "on-duplicate-key-update",
            ("uniques", "code = 'one'"),
            &[(
                "INSERT INTO uniques (id, code, amount) VALUES (1, 'one', 5) ON DUPLICATE KEY UPDATE amount = 7",
                json!([]),
            )],
        ),
        case(
            "several-statements",
            ("uniques", "id IN (2, 3, 4)"),
            &[
                ("UPDATE uniques SET amount = ? WHERE id = ?", json!([22, 2])),
                (
                    "INSERT INTO uniques (id, code, amount) VALUES (?, ?, ?)",
                    json!([4, "four", 44]),
                ),
                ("DELETE FROM uniques WHERE id = ?", json!([3])),
                (
                    "UPDATE uniques SET amount = amount + 1 WHERE id = ?",
                    json!([2]),
                ),
            ],
        ),
        case(
            "on-update-current-timestamp",
            ("touched", "id = 1"),
            &[
                ("SET TIMESTAMP = 1735689600.5", json!([])),
                (
                    "UPDATE touched SET note = ? WHERE id = ?",
                    json!(["new", 1]),
                ),
                ("SET TIMESTAMP = DEFAULT", json!([])),
            ],
        ),
        case(
            "compressed",
            ("large", "id = 1"),
            &[(
                "UPDATE large SET body = ? WHERE id = ?",
                json!(["small", 1]),
            )],
        ),
        case(
            "split",
            ("large", "id > 1"),
            &[(
                "UPDATE large SET body = ? WHERE id > ?",
                json!(["small", 1]),
            )],
        ),
    ]
}
