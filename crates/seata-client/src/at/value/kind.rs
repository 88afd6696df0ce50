//! Column types, and the numbers that JDBC has for them.

/// The type of a column, as far as images, keys and undo logs care.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `size` in bytes, 3 for `MEDIUMINT`.
    Int {
        unsigned: bool,
        size: u8,
    },
    /// `TINYINT(1)`, signed: Java takes it for a boolean.
    TinyBool,
    Decimal {
        precision: u32,
        scale: u32,
    },
    Float,
    Double,
    /// `BIT(n)`.
    Bit(u32),
    Text,
    /// `BINARY(n)` has its length, which values are padded to; `VARBINARY` and BLOBs have none.
    Bytes {
        padded: Option<u32>,
    },
    Date,
    Time,
    DateTime,
    Timestamp,
    Year,
}

impl Kind {
    /// Reads `DATA_TYPE` and `COLUMN_TYPE` of `information_schema.COLUMNS`: the type and its JDBC
    /// number. `None` for types that cannot be imaged (spatial and vector types).
    pub fn read(data_type: &str, column_type: &str) -> Option<(Self, i32)> {
        let data_type = data_type.to_ascii_lowercase();
        let full = column_type.to_ascii_lowercase();
        let unsigned = full.contains("unsigned");
        let int = |size| Self::Int { unsigned, size };
        let (first, second) = numbers(&full);
        Some(match data_type.as_str() {
            "tinyint" if first == Some(1) && !unsigned => (Self::TinyBool, -7),
            "tinyint" => (int(1), -6),
            "smallint" => (int(2), 5),
            "mediumint" => (int(3), 4),
            "int" | "integer" => (int(4), 4),
            "bigint" => (int(8), -5),
            "decimal" | "numeric" => {
                let precision = first.unwrap_or(10);
                let scale = second.unwrap_or(0);
                (Self::Decimal { precision, scale }, 3)
            }
            "float" => (Self::Float, 7),
            "double" | "real" => (Self::Double, 8),
            "bit" => (Self::Bit(first.unwrap_or(1)), -7),
            "char" | "enum" | "set" => (Self::Text, 1),
            "varchar" | "tinytext" => (Self::Text, 12),
            "text" | "mediumtext" | "longtext" | "json" => (Self::Text, -1),
            "binary" => (
                Self::Bytes {
                    padded: Some(first.unwrap_or(1)),
                },
                -2,
            ),
            "varbinary" | "tinyblob" => (Self::Bytes { padded: None }, -3),
            "blob" | "mediumblob" | "longblob" => (Self::Bytes { padded: None }, -4),
            "date" => (Self::Date, 91),
            "year" => (Self::Year, 91),
            "time" => (Self::Time, 92),
            "datetime" => (Self::DateTime, 93),
            "timestamp" => (Self::Timestamp, 93),
            _ => return None,
        })
    }

    /// Whether rows can be found again by a column of this type: its values compare exactly, and
    /// their text is the same for every client.
    pub fn can_be_key(&self) -> bool {
        match self {
            Self::Int { .. }
            | Self::Decimal { .. }
            | Self::Text
            | Self::Bytes { .. }
            | Self::Date
            | Self::DateTime => true,
            Self::TinyBool
            | Self::Float
            | Self::Double
            | Self::Bit(_)
            | Self::Time
            | Self::Timestamp
            | Self::Year => false,
        }
    }

    /// Whether the server's result column of that type holds values of this one. A table that was
    /// altered since its metadata were read shows here.
    pub(crate) fn is_wire(&self, name: &str) -> bool {
        match self {
            // The driver calls every TINYINT(1) a boolean, also an unsigned one.
            Self::Int { unsigned, .. } => {
                name == "BOOLEAN" || name.contains("INT") && name.contains("UNSIGNED") == *unsigned
            }
            Self::TinyBool => matches!(name, "BOOLEAN" | "TINYINT"),
            // A timestamp is read as its seconds since 1970.
            Self::Decimal { .. } | Self::Timestamp => name == "DECIMAL",
            Self::Float => name == "FLOAT",
            Self::Double => name == "DOUBLE",
            Self::Bit(_) => name == "BIT",
            Self::Text => {
                name.ends_with("CHAR")
                    || name.ends_with("TEXT")
                    // MySQL sends texts with a binary collation, and JSON of MariaDB, as bytes.
                    || name.ends_with("BINARY")
                    || name.ends_with("BLOB")
                    || matches!(name, "ENUM" | "SET" | "JSON")
            }
            Self::Bytes { .. } => name.ends_with("BINARY") || name.ends_with("BLOB"),
            Self::Date => name == "DATE",
            Self::Time => name == "TIME",
            Self::DateTime => name == "DATETIME",
            Self::Year => name == "YEAR",
        }
    }

    /// The parameter of a comparison with a column of this type. MySQL would compare a decimal
    /// with a text as floating point numbers.
    pub(crate) fn comparable(&self) -> String {
        match self {
            Self::Decimal { precision, scale } => {
                format!("CAST(? AS DECIMAL({precision},{scale}))")
            }
            _ => "?".to_owned(),
        }
    }
}

/// The numbers in the first parentheses, as in `decimal(10,2)`.
fn numbers(full: &str) -> (Option<u32>, Option<u32>) {
    let inside = full
        .split_once('(')
        .and_then(|(_, rest)| rest.split_once(')'))
        .map_or("", |(inside, _)| inside);
    let mut numbers = inside.split(',').map(|part| part.trim().parse().ok());
    (numbers.next().flatten(), numbers.next().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_jdbc_numbers() {
        for (data, full, jdbc) in [
            ("tinyint", "tinyint(1)", -7),
            ("tinyint", "tinyint", -6),
            ("tinyint", "tinyint(1) unsigned", -6),
            ("bigint", "bigint unsigned", -5),
            ("decimal", "decimal(10,2)", 3),
            ("json", "json", -1),
            ("binary", "binary(16)", -2),
            ("timestamp", "timestamp(6)", 93),
        ] {
            assert_eq!(Kind::read(data, full).unwrap().1, jdbc, "{full}");
        }
        assert_eq!(Kind::read("geometry", "geometry"), None);
        let decimal = Kind::read("decimal", "decimal(10,2) unsigned").unwrap().0;
        assert_eq!(
            decimal,
            Kind::Decimal {
                precision: 10,
                scale: 2
            }
        );
    }
}
