//! A column's value in an undo log: how Java tags it, and which value of which column it is.
//!
//! What Java's types cannot hold (zero dates, times beyond a day, wall times that a zone skips) is
//! written as plain text: this client reads it back exactly, and Java finds it different from what
//! its driver reads and refuses to undo, instead of undoing something else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::tz::TimeZone;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::UndoError;
use crate::at::value::{Date, DateTime, Kind, Time, Value};

/// A value as it is tagged in the log.
#[derive(Clone, Debug, PartialEq)]
pub enum UndoValue {
    Null,
    Bool(bool),
    /// A number without tag, as text: Java's `Integer` and `Double`.
    Number(String),
    Text(String),
    /// `java.lang.Long`, and its smaller brothers.
    Long(i64),
    BigInteger(String),
    BigDecimal(String),
    Float(String),
    Bytes(Vec<u8>),
    /// `java.sql.Date`: milliseconds since 1970 of that day's midnight in the writer's zone.
    Date(i64),
    /// `java.sql.Time`.
    Time(String),
    /// `java.time.LocalDateTime`: microseconds since 1970 in the writer's zone.
    LocalDateTime(i64),
    /// `java.sql.Timestamp`: microseconds since 1970.
    Timestamp(i64),
}

impl Serialize for UndoValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw =
            |text: &str| RawValue::from_string(text.to_owned()).map_err(serde::ser::Error::custom);
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(flag) => serializer.serialize_bool(*flag),
            Self::Number(text) => raw(text)?.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Long(n) => ("java.lang.Long", n).serialize(serializer),
            Self::BigInteger(text) => ("java.math.BigInteger", raw(text)?).serialize(serializer),
            Self::BigDecimal(text) => ("java.math.BigDecimal", raw(text)?).serialize(serializer),
            Self::Float(text) => ("java.lang.Float", raw(text)?).serialize(serializer),
            Self::Bytes(bytes) => ("[B", BASE64.encode(bytes)).serialize(serializer),
            Self::Date(millis) => ("java.sql.Date", millis).serialize(serializer),
            Self::Time(text) => ("java.sql.Time", text).serialize(serializer),
            Self::LocalDateTime(micros) => instant("java.time.LocalDateTime", *micros, serializer),
            Self::Timestamp(micros) => instant("java.sql.Timestamp", *micros, serializer),
        }
    }
}

/// Milliseconds, or milliseconds and the nanoseconds of the second if that is not all.
fn instant<S: Serializer>(class: &str, micros: i64, serializer: S) -> Result<S::Ok, S::Error> {
    let millis = micros.div_euclid(1000);
    if micros.rem_euclid(1000) == 0 {
        return (class, millis).serialize(serializer);
    }
    let nanos = micros.rem_euclid(1_000_000) * 1000;
    (class, (millis, nanos)).serialize(serializer)
}

impl UndoValue {
    /// Reads the JSON text of a value.
    pub(super) fn read(json: &str) -> Result<Self, UndoError> {
        let what = || UndoError::Value {
            what: json.chars().take(80).collect(),
        };
        Ok(match json.bytes().next() {
            Some(b'n') => Self::Null,
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'"') => Self::Text(serde_json::from_str(json).map_err(UndoError::Json)?),
            Some(b'[') => {
                let (class, value): (String, &RawValue) =
                    serde_json::from_str(json).map_err(|_| what())?;
                tagged(&class, value.get()).ok_or_else(what)?
            }
            Some(b'-' | b'0'..=b'9') => Self::Number(json.to_owned()),
            _ => return Err(what()),
        })
    }
}

fn tagged(class: &str, json: &str) -> Option<UndoValue> {
    let text = || serde_json::from_str::<String>(json).ok();
    let number = || {
        let numeric = json.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        numeric.then(|| json.to_owned())
    };
    Some(match class {
        "java.lang.Long" | "java.lang.Short" | "java.lang.Byte" | "java.lang.Integer" => {
            UndoValue::Long(json.parse().ok()?)
        }
        "java.math.BigInteger" => UndoValue::BigInteger(number()?),
        "java.math.BigDecimal" => UndoValue::BigDecimal(number()?),
        "java.lang.Float" | "java.lang.Double" => UndoValue::Float(number()?),
        "[B" | "javax.sql.rowset.serial.SerialBlob" => {
            UndoValue::Bytes(BASE64.decode(text()?).ok()?)
        }
        "javax.sql.rowset.serial.SerialClob" => UndoValue::Text(text()?),
        "java.sql.Date" => UndoValue::Date(json.parse().ok()?),
        "java.sql.Time" => UndoValue::Time(text()?),
        "java.time.LocalDateTime" => UndoValue::LocalDateTime(micros(json)?),
        "java.sql.Timestamp" => UndoValue::Timestamp(micros(json)?),
        _ => return None,
    })
}

fn micros(json: &str) -> Option<i64> {
    if let Ok(millis) = json.parse::<i64>() {
        return millis.checked_mul(1000);
    }
    let (millis, nanos): (i64, i64) = serde_json::from_str(json).ok()?;
    let below = nanos.rem_euclid(1_000_000) / 1000;
    millis.checked_mul(1000)?.checked_add(below)
}

/// The value of a column as it is written.
pub(crate) fn to_undo(value: &Value, kind: &Kind, zone: &TimeZone) -> UndoValue {
    match (value, kind) {
        (Value::Null, _) => UndoValue::Null,
        (Value::Int(n @ (0 | 1)), Kind::TinyBool) => UndoValue::Bool(*n == 1),
        (Value::UInt(n @ (0 | 1)), Kind::Bit(1)) => UndoValue::Bool(*n == 1),
        (Value::UInt(n), Kind::Bit(bits)) => UndoValue::Bytes(bit_bytes(*n, *bits)),
        (Value::Int(n), Kind::Year) => year(*n, zone),
        // The tag depends on the column's size, as it does in Java's driver.
        (Value::Int(n), Kind::Int { size: 8, .. }) => UndoValue::Long(*n),
        (Value::UInt(n), Kind::Int { size: 8, .. }) => UndoValue::BigInteger(n.to_string()),
        (Value::UInt(n), Kind::Int { size: 4, .. }) => {
            i64::try_from(*n).map_or_else(|_| UndoValue::Number(n.to_string()), UndoValue::Long)
        }
        (Value::Int(n), _) => UndoValue::Number(n.to_string()),
        (Value::UInt(n), _) => UndoValue::Number(n.to_string()),
        (Value::Decimal(text), _) => UndoValue::BigDecimal(text.clone()),
        (Value::Float(n), _) => UndoValue::Float(float_text(n)),
        (Value::Double(n), _) => UndoValue::Number(float_text(n)),
        (Value::Text(text), _) => UndoValue::Text(text.clone()),
        (Value::Bytes(bytes), _) => UndoValue::Bytes(bytes.clone()),
        (Value::Date(date), _) => date_undo(*date, zone),
        (Value::Time(time), _) => time_undo(*time),
        (Value::DateTime(at), _) => date_time_undo(*at, zone),
        (Value::Timestamp(0), _) => UndoValue::Text(Value::timestamp_text(0)),
        (Value::Timestamp(micros), _) => UndoValue::Timestamp(*micros),
    }
}

/// A floating point number as JSON, with as many digits as it needs to be read back.
fn float_text(n: &impl Serialize) -> String {
    serde_json::to_string(n)
        .unwrap_or_default()
        .replace('e', "E")
}

fn bit_bytes(n: u64, bits: u32) -> Vec<u8> {
    let length = usize::try_from(bits.div_ceil(8)).unwrap_or(8).clamp(1, 8);
    n.to_be_bytes().split_at(8 - length).1.to_vec()
}

fn midnight(date: Date, zone: &TimeZone) -> Option<i64> {
    let at = date.civil()?.to_zoned(zone.clone()).ok()?;
    (at.date() == date.civil()?).then(|| at.timestamp().as_millisecond())
}

fn year(n: i64, zone: &TimeZone) -> UndoValue {
    let date = u16::try_from(n).ok().map(|year| Date {
        year,
        month: 1,
        day: 1,
    });
    let millis = date.and_then(|date| midnight(date, zone));
    millis.map_or_else(|| UndoValue::Number(n.to_string()), UndoValue::Date)
}

fn date_undo(date: Date, zone: &TimeZone) -> UndoValue {
    midnight(date, zone).map_or_else(|| UndoValue::Text(date.to_string()), UndoValue::Date)
}

fn time_undo(time: Time) -> UndoValue {
    if time.negative || time.hours > 23 || time.micros > 0 {
        return UndoValue::Text(time.to_string());
    }
    UndoValue::Time(time.to_string())
}

fn date_time_undo(at: DateTime, zone: &TimeZone) -> UndoValue {
    let micros = at.civil().and_then(|civil| {
        let instant = civil.to_zoned(zone.clone()).ok()?;
        // In the hour that a zone skips the wall shows something else afterwards.
        (instant.datetime() == civil).then(|| instant.timestamp().as_microsecond())
    });
    micros.map_or_else(|| UndoValue::Text(at.to_string()), UndoValue::LocalDateTime)
}

/// The value that a column of that type has, from a log. `None`: not a value of this type.
pub(crate) fn from_undo(value: &UndoValue, kind: &Kind, zone: &TimeZone) -> Option<Value> {
    if *value == UndoValue::Null {
        return Some(Value::Null);
    }
    Some(match kind {
        Kind::Int { unsigned: true, .. } => Value::UInt(u64::try_from(integer(value)?).ok()?),
        Kind::Int { .. } | Kind::TinyBool => Value::Int(i64::try_from(integer(value)?).ok()?),
        Kind::Year => Value::Int(match value {
            UndoValue::Date(_) => i64::from(wall(value, zone)?.date.year),
            _ => i64::try_from(integer(value)?).ok()?,
        }),
        Kind::Bit(_) => Value::UInt(match value {
            UndoValue::Bytes(bytes) => big_endian(bytes)?,
            _ => u64::try_from(integer(value)?).ok()?,
        }),
        Kind::Decimal { .. } => Value::Decimal(number(value)?.to_owned()),
        Kind::Float => Value::Float(number(value)?.parse().ok()?),
        Kind::Double => Value::Double(number(value)?.parse().ok()?),
        Kind::Text => match value {
            UndoValue::Text(text) => Value::Text(text.clone()),
            UndoValue::Bytes(bytes) => Value::Text(String::from_utf8(bytes.clone()).ok()?),
            _ => return None,
        },
        Kind::Bytes { .. } => match value {
            UndoValue::Bytes(bytes) => Value::Bytes(bytes.clone()),
            UndoValue::Text(text) => Value::Bytes(text.clone().into_bytes()),
            _ => return None,
        },
        Kind::Date => Value::Date(match value {
            UndoValue::Text(text) => Date::parse(text)?,
            _ => wall(value, zone)?.date,
        }),
        Kind::DateTime => Value::DateTime(match value {
            UndoValue::Text(text) => DateTime::parse(text)?,
            _ => wall(value, zone)?,
        }),
        Kind::Time => match value {
            UndoValue::Time(text) | UndoValue::Text(text) => Value::Time(Time::parse(text)?),
            _ => return None,
        },
        Kind::Timestamp => Value::Timestamp(match value {
            UndoValue::Timestamp(micros) | UndoValue::LocalDateTime(micros) => *micros,
            UndoValue::Text(text) if text.starts_with("0000") => 0,
            _ => return None,
        }),
    })
}

fn integer(value: &UndoValue) -> Option<i128> {
    match value {
        UndoValue::Bool(flag) => Some(i128::from(*flag)),
        UndoValue::Long(n) => Some(i128::from(*n)),
        UndoValue::Number(text) | UndoValue::BigInteger(text) | UndoValue::BigDecimal(text) => {
            text.parse().ok()
        }
        _ => None,
    }
}

fn number(value: &UndoValue) -> Option<&str> {
    match value {
        UndoValue::Number(text)
        | UndoValue::BigDecimal(text)
        | UndoValue::BigInteger(text)
        | UndoValue::Float(text) => Some(text),
        _ => None,
    }
}

fn big_endian(bytes: &[u8]) -> Option<u64> {
    let mut all = [0; 8];
    let from = 8_usize.checked_sub(bytes.len())?;
    all.get_mut(from..)?.copy_from_slice(bytes);
    Some(u64::from_be_bytes(all))
}

/// What calendar and clock showed in the writer's zone.
fn wall(value: &UndoValue, zone: &TimeZone) -> Option<DateTime> {
    let micros = match value {
        UndoValue::Date(millis) => millis.checked_mul(1000)?,
        UndoValue::LocalDateTime(micros) | UndoValue::Timestamp(micros) => *micros,
        _ => return None,
    };
    let instant = jiff::Timestamp::from_microsecond(micros).ok()?;
    DateTime::from_civil(zone.to_datetime(instant))
}
