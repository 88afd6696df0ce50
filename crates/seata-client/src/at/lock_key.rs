//! The names of global locks and of resources, spelled exactly as every other client spells them:
//! two spellings of one row would be two locks.

use std::collections::{BTreeMap, BTreeSet};

use super::error::Error;
use super::image::Image;
use super::table::Table;
use super::value::{DateTime, Value};

/// The rows that a branch locks.
#[derive(Clone, Debug, Default)]
pub(crate) struct LockKeys {
    tables: BTreeMap<String, BTreeSet<String>>,
}

impl LockKeys {
    pub(crate) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Adds every row of an image.
    pub(crate) fn add(&mut self, image: &Image) -> Result<(), Error> {
        for key in image.keys() {
            self.add_key(&image.table, &key)?;
        }
        Ok(())
    }

    pub(crate) fn add_key(&mut self, table: &Table, key: &[Value]) -> Result<(), Error> {
        let text = row(table, key)?;
        self.tables
            .entry(table.name.clone())
            .or_default()
            .insert(text);
        Ok(())
    }

    /// `table:key,key;table2:key`, with `_` between the columns of a key.
    pub(crate) fn text(&self) -> String {
        let table = |(name, rows): (&String, &BTreeSet<String>)| {
            let rows: Vec<_> = rows.iter().map(String::as_str).collect();
            format!("{name}:{}", rows.join(","))
        };
        self.tables.iter().map(table).collect::<Vec<_>>().join(";")
    }
}

fn row(table: &Table, key: &[Value]) -> Result<String, Error> {
    let mut parts = Vec::new();
    for value in key {
        let text = part(value);
        if let Some(problem) = problem(&text, key.len() > 1) {
            return Err(Error::Key {
                table: table.name.clone(),
                key: text,
                problem,
            });
        }
        parts.push(text);
    }
    Ok(parts.join("_"))
}

/// What a lock list would not give back as it was put in.
fn problem(text: &str, several: bool) -> Option<&'static str> {
    if text.trim().is_empty() {
        return Some("an empty key is not locked by the coordinator; use another one");
    }
    if text.contains([',', ';']) {
        return Some("`,` and `;` separate the keys of a lock list; use other characters");
    }
    if several && text.contains('_') {
        return Some("`_` separates the columns of a key in a lock list; use other characters");
    }
    None
}

fn part(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Int(n) => n.to_string(),
        Value::UInt(n) => n.to_string(),
        Value::Decimal(text) => java_decimal(text),
        Value::Text(text) => text.clone(),
        // Java would write an object's address, which is a lock that nobody else ever asks for.
        Value::Bytes(bytes) => hex::encode(bytes),
        Value::Date(date) => date.to_string(),
        Value::Time(time) => time.to_string(),
        Value::DateTime(at) => iso(*at),
        Value::Timestamp(micros) => Value::timestamp_text(*micros),
        Value::Float(n) => n.to_string(),
        Value::Double(n) => n.to_string(),
    }
}

/// As Java's `BigDecimal` writes itself: with an exponent if more than six zeros would lead.
fn java_decimal(text: &str) -> String {
    let unsigned = text.trim_start_matches('-');
    let Some((whole, fraction)) = unsigned.split_once('.') else {
        return text.to_owned();
    };
    let digits = fraction.trim_start_matches('0');
    let zero = digits.is_empty();
    // Of a zero its last digit counts.
    let leading = fraction.len() - digits.len() - usize::from(zero);
    if !whole.trim_start_matches('0').is_empty() || leading < 6 {
        return text.to_owned();
    }
    let digits = if zero { "0" } else { digits };
    let exponent = leading + 1;
    let sign = if text.starts_with('-') { "-" } else { "" };
    match digits.split_at(1) {
        (first, "") => format!("{sign}{first}E-{exponent}"),
        (first, rest) => format!("{sign}{first}.{rest}E-{exponent}"),
    }
}

/// As Java's `LocalDateTime` writes itself: seconds and fraction only where there are any, the
/// fraction in groups of three digits.
fn iso(at: DateTime) -> String {
    let minute = format!("{}T{:02}:{:02}", at.date, at.hour, at.minute);
    if at.second == 0 && at.micros == 0 {
        return minute;
    }
    let second = at.second;
    match at.micros {
        0 => format!("{minute}:{second:02}"),
        micros if micros.is_multiple_of(1000) => {
            format!("{minute}:{second:02}.{:03}", micros / 1000)
        }
        micros => format!("{minute}:{second:02}.{micros:06}"),
    }
}

/// The name of a database as every client of the coordinator must spell it: the JDBC URL without
/// its parameters. For several hosts the commas become `|`, as `,` separates names.
pub fn resource_id(host: &str, port: u16, database: &str) -> String {
    format!("jdbc:mysql://{host}:{port}/{database}").replace(',', "|")
}

/// The same from a JDBC URL.
pub fn resource_id_of_url(url: &str) -> String {
    let url = url.split_once('?').map_or(url, |(url, _)| url);
    url.replace(',', "|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::at::table::Column;
    use crate::at::value::Kind;

    fn table(name: &str, keys: usize) -> Table {
        let column = |n: usize| Column {
            name: format!("k{n}"),
            kind: Some(Kind::Text),
            jdbc: 12,
            auto_increment: false,
            on_update: false,
            generated: false,
            invisible: false,
            has_default: false,
        };
        Table {
            name: name.to_owned(),
            columns: (0..keys).map(column).collect(),
            primary: (0..keys).collect(),
            unique: Vec::new(),
            triggers: false,
            cascades: false,
            referenced: Vec::new(),
        }
    }

    #[test]
    fn keys_are_listed_by_table() {
        let mut keys = LockKeys::default();
        keys.add_key(&table("b", 1), &[Value::Int(-4)]).unwrap();
        keys.add_key(&table("Account", 1), &[Value::UInt(u64::MAX)])
            .unwrap();
        keys.add_key(&table("b", 1), &["a_b:c".into()]).unwrap();
        keys.add_key(&table("b", 1), &[Value::Int(-4)]).unwrap();
        assert_eq!(keys.text(), "Account:18446744073709551615;b:-4,a_b:c");
        let mut keys = LockKeys::default();
        keys.add_key(&table("t", 2), &[Value::Int(1), "x".into()])
            .unwrap();
        keys.add_key(&table("t", 2), &[Value::Bytes(vec![0xab, 1]), "x".into()])
            .unwrap();
        assert_eq!(keys.text(), "t:1_x,ab01_x");
    }

    #[test]
    fn separators_and_empty_keys_are_refused() {
        for (key, several) in [
            ("a,b", false),
            ("a;b", false),
            ("", false),
            (" ", false),
            ("a_b", true),
        ] {
            let mut values = vec![Value::from(key)];
            if several {
                values.push(1.into());
            }
            let error = LockKeys::default().add_key(&table("t", values.len()), &values);
            assert!(matches!(error, Err(Error::Key { .. })), "{key}");
        }
    }

    #[test]
    fn times_are_spelled_as_java_does() {
        for (text, expected) in [
            ("2024-01-02 03:04:00", "2024-01-02T03:04"),
            ("2024-01-02 03:04:05", "2024-01-02T03:04:05"),
            ("2024-01-02 03:04:00.120000", "2024-01-02T03:04:00.120"),
            ("2024-01-02 03:04:05.000120", "2024-01-02T03:04:05.000120"),
        ] {
            assert_eq!(iso(DateTime::parse(text).unwrap()), expected);
        }
    }

    #[test]
    fn decimals_are_spelled_as_java_does() {
        for (text, expected) in [
            ("12.3400", "12.3400"),
            ("0.000001", "0.000001"),
            ("0.0000012", "0.0000012"),
            ("0.0000001", "1E-7"),
            ("-0.000000120", "-1.20E-7"),
            ("0.000000", "0.000000"),
            ("0.0000000", "0E-7"),
            ("7", "7"),
        ] {
            assert_eq!(java_decimal(text), expected, "{text}");
        }
    }

    #[test]
    fn a_database_has_one_name() {
        assert_eq!(resource_id("db", 3306, "pay"), "jdbc:mysql://db:3306/pay");
        let url = "jdbc:mysql:loadbalance://a:1,b:2/pay?useSSL=false&x=a,b";
        assert_eq!(
            resource_id_of_url(url),
            "jdbc:mysql:loadbalance://a:1|b:2/pay"
        );
    }
}
