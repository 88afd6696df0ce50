//! Random statements of every form on a table with every type.

use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use seata_client::at::{AtTransaction, Error, Value};
use sqlx::{AssertSqlSafe, Executor as _, MySqlPool};

/// Every type with a name; `?` in the generated statements are of these columns.
const TYPES: [(&str, &str); 35] = [
    ("c_tiny", "TINYINT"),
    ("c_bool", "TINYINT(1)"),
    ("c_utiny", "TINYINT UNSIGNED"),
    ("c_small", "SMALLINT"),
    ("c_medium", "MEDIUMINT"),
    ("c_umedium", "MEDIUMINT UNSIGNED"),
    ("c_int", "INT"),
    ("c_uint", "INT UNSIGNED"),
    ("c_big", "BIGINT"),
    ("c_ubig", "BIGINT UNSIGNED"),
    ("c_dec", "DECIMAL(40,10)"),
    ("c_filled", "DECIMAL(10,2) ZEROFILL"),
    ("c_float", "FLOAT"),
    ("c_double", "DOUBLE"),
    ("c_bit1", "BIT(1)"),
    ("c_bit12", "BIT(12)"),
    ("c_bit64", "BIT(64)"),
    ("c_char", "CHAR(10)"),
    ("c_varchar", "VARCHAR(100)"),
    ("c_sorted", "VARCHAR(100) COLLATE utf8mb4_bin"),
    ("c_latin", "VARCHAR(100) CHARACTER SET latin1"),
    ("c_text", "TEXT"),
    ("c_long", "LONGTEXT"),
    ("c_enum", "ENUM('a', 'b', 'c d')"),
    ("c_set", "SET('x', 'y', 'z')"),
    ("c_json", "JSON"),
    ("c_binary", "BINARY(4)"),
    ("c_varbinary", "VARBINARY(50)"),
    ("c_blob", "BLOB"),
    ("c_date", "DATE"),
    ("c_time", "TIME(6)"),
    ("c_datetime", "DATETIME(6)"),
    ("c_seconds", "DATETIME"),
    ("c_timestamp", "TIMESTAMP(6) NULL"),
    ("c_year", "YEAR"),
];

/// The table `everything`.
pub(crate) fn schema() -> String {
    let types = TYPES.map(|(name, kind)| format!("{name} {kind}"));
    format!(
        "CREATE TABLE everything (id INT AUTO_INCREMENT PRIMARY KEY, {}, \
         u_text VARCHAR(10) UNIQUE, u_a INT, u_b DATE, hidden INT INVISIBLE, \
         doubled BIGINT GENERATED ALWAYS AS (c_tiny * 2) STORED, \
         virtually BIGINT GENERATED ALWAYS AS (c_tiny * 3) VIRTUAL, \
         changed TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) \
         ON UPDATE CURRENT_TIMESTAMP(3), UNIQUE KEY (u_a, u_b))",
        types.join(", ")
    )
}

fn text(random: &mut StdRng, latin: bool) -> String {
    let characters: Vec<char> = if latin {
        "ab'\"\\% é_;--".chars().collect()
    } else {
        "ab'\"\\% é;數据🦀\n\u{0}".chars().collect()
    };
    let length = random.random_range(0..10);
    (0..length)
        .map(|_| *characters.choose(random).unwrap())
        .collect()
}

fn bytes(random: &mut StdRng, longest: usize) -> Vec<u8> {
    let length = random.random_range(0..=longest);
    (0..length).map(|_| random.random()).collect()
}

fn date(random: &mut StdRng) -> String {
    format!(
        "{:04}-{:02}-{:02}",
        random.random_range(1000..=9999),
        random.random_range(1..=12),
        random.random_range(1..=28)
    )
}

fn clock(random: &mut StdRng) -> String {
    let micros = *[0, 120_000, random.random_range(0..1_000_000)]
        .choose(random)
        .unwrap();
    format!(
        "{:02}:{:02}:{:02}.{micros:06}",
        random.random_range(0..24),
        random.random_range(0..60),
        random.random_range(0..60)
    )
}

/// A value that a column of that name takes.
fn value(random: &mut StdRng, column: &str) -> Value {
    if random.random_range(0..8) == 0 {
        return Value::Null;
    }
    match column {
        "c_tiny" | "c_bool" => random.random::<i8>().into(),
        "c_utiny" => random.random::<u8>().into(),
        "c_small" => random.random::<i16>().into(),
        "c_medium" => random.random_range(-8_388_608..=8_388_607).into(),
        "c_umedium" => random.random_range(0..=16_777_215).into(),
        "c_int" => random.random::<i32>().into(),
        "c_uint" => random.random::<u32>().into(),
        "c_big" => random.random::<i64>().into(),
        "c_ubig" | "c_bit64" => random.random::<u64>().into(),
        "c_dec" => {
            let (whole, part) = (
                random.random::<i64>(),
                random.random_range(0..10_000_000_000_u64),
            );
            Value::Decimal(format!("{whole}123456789.{part:010}"))
        }
        "c_filled" => Value::Decimal(format!("{}.07", random.random_range(0..99_999))),
        "c_float" => f32::from_bits(random.random::<u32>() & 0xbf7f_ffff).into(),
        "c_double" => f64::from_bits(random.random::<u64>() & 0xbfef_ffff_ffff_ffff).into(),
        "c_bit1" => random.random_range(0..=1_u8).into(),
        "c_bit12" => random.random_range(0..4096_u16).into(),
        "c_latin" => text(random, true).into(),
        "c_char" | "c_varchar" | "c_sorted" | "c_text" | "c_long" => text(random, false).into(),
        "c_enum" => (*["a", "b", "c d"].choose(random).unwrap()).into(),
        "c_set" => (*["", "x", "x,z", "y,z"].choose(random).unwrap()).into(),
        "c_json" => (*[
            "null",
            "{\"b\": 1, \"a\": [1.5, \"數\", true]}",
            "12345678901234567890",
            "\"quo\\\"te\"",
            "1e10",
        ]
        .choose(random)
        .unwrap())
        .into(),
        "c_binary" => bytes(random, 4).into(),
        "c_varbinary" | "c_blob" => bytes(random, 50).into(),
        "c_date" => date(random).into(),
        "c_time" => {
            let hours = random.random_range(-838..=838);
            format!("{hours:02}:{:02}:12.000001", random.random_range(0..60)).into()
        }
        "c_datetime" | "c_seconds" => format!("{} {}", date(random), clock(random)).into(),
        "c_timestamp" => {
            let year = random.random_range(1971..2037);
            format!(
                "{year}-{:02}-11 {}",
                random.random_range(1..=12),
                clock(random)
            )
            .into()
        }
        "c_year" => random.random_range(1901..=2155).into(),
        _ => unreachable!("{column}"),
    }
}

fn columns(random: &mut StdRng, count: usize) -> Vec<&'static str> {
    TYPES
        .map(|(name, _)| name)
        .choose_multiple(random, count)
        .copied()
        .collect()
}

fn id(random: &mut StdRng) -> i32 {
    random.random_range(1..14)
}

/// The unique columns' values, from so few that rows meet.
fn unique(random: &mut StdRng) -> [Value; 3] {
    let some = |random: &mut StdRng| random.random_range(0..4) > 0;
    [
        some(random)
            .then(|| format!("u{}", random.random_range(0..8)))
            .into(),
        some(random).then(|| random.random_range(0..4)).into(),
        some(random)
            .then(|| format!("2024-01-{:02}", random.random_range(1..4)))
            .into(),
    ]
}

fn insert(random: &mut StdRng, form: &str) -> (String, Vec<Value>) {
    let count = random.random_range(1..6);
    let names = columns(random, count);
    let generated = random.random::<bool>();
    let rows = random.random_range(1..4);
    let mut args = Vec::new();
    let mut tuples = Vec::new();
    for _ in 0..rows {
        if !generated {
            args.push(id(random).into());
        }
        args.extend(unique(random));
        for name in &names {
            args.push(value(random, name));
        }
        let key = if generated { "NULL" } else { "?" };
        tuples.push(format!("({key}, ?, ?, ?{})", ", ?".repeat(names.len())));
    }
    let mut sql = format!(
        "{form} INTO everything (id, u_text, u_a, u_b, {}) VALUES {}",
        names.join(", "),
        tuples.join(", ")
    );
    if form == "INSERT" && random.random::<bool>() {
        let updated = columns(random, 2);
        sql = format!(
            "{sql} ON DUPLICATE KEY UPDATE {0} = VALUES({0}), {1} = ?",
            updated[0], updated[1]
        );
        args.push(value(random, updated[1]));
    }
    (sql, args)
}

fn condition(random: &mut StdRng) -> (String, Vec<Value>) {
    match random.random_range(0..7) {
        0 => ("WHERE id = ?".to_owned(), vec![id(random).into()]),
        1 => (
            "WHERE id IN (?, ?, 3)".to_owned(),
            vec![id(random).into(), id(random).into()],
        ),
        2 => (
            "WHERE id > ? ORDER BY id DESC LIMIT 2".to_owned(),
            vec![id(random).into()],
        ),
        3 => (
            "ORDER BY RAND() LIMIT ?".to_owned(),
            vec![random.random_range(1..4).into()],
        ),
        4 => ("WHERE RAND() < 0.5".to_owned(), vec![]),
        5 => (
            "WHERE id IN (SELECT x.n FROM (SELECT 1 AS n UNION SELECT ?) x)".to_owned(),
            vec![id(random).into()],
        ),
        _ => (
            "WHERE u_text LIKE 'u%' OR u_a IS NULL AND c_tiny <> ?".to_owned(),
            vec![1.into()],
        ),
    }
}

fn statement(random: &mut StdRng) -> (String, Vec<Value>) {
    match random.random_range(0..9) {
        0..=2 => insert(random, "INSERT"),
        3 => insert(random, "INSERT IGNORE"),
        4 | 5 => {
            let (condition, args) = condition(random);
            (format!("DELETE FROM everything {condition}"), args)
        }
        6 => {
            let (condition, mut args) = condition(random);
            args.insert(0, unique(random)[0].clone());
            (
                format!("UPDATE everything SET u_text = ?, hidden = id {condition}"),
                args,
            )
        }
        _ => {
            let names = columns(random, 3);
            let (condition, rest) = condition(random);
            let mut args: Vec<Value> = names.iter().map(|name| value(random, name)).collect();
            args.extend(rest);
            let set: Vec<_> = names.iter().map(|name| format!("e.{name} = ?")).collect();
            (
                format!("UPDATE everything AS e SET {} {condition}", set.join(", ")),
                args,
            )
        }
    }
}

/// Rows as no strict session could write them are there, too.
pub(crate) async fn fill(pool: &MySqlPool, random: &mut StdRng) {
    let mut connection = pool.acquire().await.unwrap();
    connection
        .execute("SET SESSION sql_mode = ''")
        .await
        .unwrap();
    for _ in 0..random.random_range(0..9) {
        let (sql, args) = insert(random, "INSERT IGNORE");
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for arg in args {
            query = bind(query, arg);
        }
        query.execute(&mut *connection).await.unwrap();
    }
    let zero = "UPDATE everything SET c_date = '0000-00-00', c_datetime = '2024-00-00', \
                c_timestamp = 0, c_year = 0 WHERE id % 3 = 0";
    connection.execute(zero).await.unwrap();
    connection
        .execute("SET SESSION sql_mode = DEFAULT")
        .await
        .unwrap();
}

type Query = sqlx::query::Query<'static, sqlx::MySql, sqlx::mysql::MySqlArguments>;

fn bind(query: Query, value: Value) -> Query {
    match value {
        Value::Null => query.bind(None::<i64>),
        Value::Int(n) => query.bind(n),
        Value::UInt(n) => query.bind(n),
        Value::Float(n) => query.bind(n),
        Value::Double(n) => query.bind(n),
        Value::Text(text) | Value::Decimal(text) => query.bind(text),
        Value::Bytes(bytes) => query.bind(bytes),
        other => unreachable!("{other:?}"),
    }
}

/// One local transaction of a few statements; those that the server refuses are left out.
pub(crate) async fn branch(mut local: AtTransaction, random: &mut StdRng, done: &mut Vec<String>) {
    for _ in 0..random.random_range(1..5) {
        let (sql, args) = statement(random);
        let outcome = local.execute(&sql, &args).await;
        done.push(format!("{sql} {args:?}: {outcome:?}"));
        match outcome {
            Ok(_) | Err(Error::Statement(_) | Error::Refused { .. }) => {}
            Err(Error::Broken) => break,
            Err(error) => panic!("{error:?}\n{}", done.join("\n")),
        }
    }
    match local.commit().await {
        Ok(()) | Err(Error::Broken) => {}
        Err(error) => panic!("{error:?}\n{}", done.join("\n")),
    }
}
