//! Values of columns and bind parameters, exact: decimals are text, instants are microseconds, and
//! nothing goes through a binary floating point number that is not one in the table.
//!
//! Not here: how a value is written into an undo log (`undo::field`).

mod binary;
mod convert;
mod kind;
mod temporal;

use sqlx::Arguments as _;
use sqlx::mysql::MySqlArguments;

pub(crate) use binary::decode;
pub(crate) use convert::{same_number, to_kind};
pub use kind::Kind;
pub(crate) use temporal::split_fraction;
pub use temporal::{Date, DateTime, Time};

/// A value of a column or a bind parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    /// A signed integer, also `YEAR`.
    Int(i64),
    /// An unsigned integer, also `BIT`.
    UInt(u64),
    /// An exact decimal number as text, for example `-12.3400`.
    Decimal(String),
    Float(f32),
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
    Date(Date),
    Time(Time),
    DateTime(DateTime),
    /// A `TIMESTAMP`: microseconds since 1970-01-01 UTC; 0 is MySQL's zero timestamp.
    Timestamp(i64),
}

impl Value {
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// A `TIMESTAMP` as text in the zone UTC.
    pub(crate) fn timestamp_text(micros: i64) -> String {
        if micros == 0 {
            return "0000-00-00 00:00:00".to_owned();
        }
        jiff::Timestamp::from_microsecond(micros)
            .ok()
            .map(|at| at.to_zoned(jiff::tz::TimeZone::UTC).datetime())
            .and_then(DateTime::from_civil)
            .map_or_else(|| micros.to_string(), |at| at.to_string())
    }

    /// Adds it to a statement's parameters. The session's zone must be UTC if it is a timestamp.
    pub(crate) fn bind(&self, args: &mut MySqlArguments) -> Result<(), sqlx::Error> {
        match self {
            Self::Null => args.add(None::<i64>),
            Self::Int(value) => args.add(value),
            Self::UInt(value) => args.add(value),
            Self::Float(value) => args.add(value),
            Self::Double(value) => args.add(value),
            Self::Decimal(text) | Self::Text(text) => args.add(text.as_str()),
            Self::Bytes(bytes) => args.add(bytes.as_slice()),
            Self::Date(date) => args.add(date.to_string()),
            Self::Time(time) => args.add(time.to_string()),
            Self::DateTime(at) => args.add(at.to_string()),
            Self::Timestamp(micros) => args.add(Self::timestamp_text(*micros)),
        }
        .map_err(sqlx::Error::Encode)
    }
}

/// The parameters of a statement, in order.
pub(crate) fn arguments<'a>(
    values: impl IntoIterator<Item = &'a Value>,
) -> Result<MySqlArguments, sqlx::Error> {
    let mut args = MySqlArguments::default();
    for value in values {
        value.bind(&mut args)?;
    }
    Ok(args)
}

macro_rules! from {
    ($variant:ident: $($type:ty),*) => {
        $(impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        })*
    };
}

from!(Int: i8, i16, i32, i64, bool);
from!(UInt: u8, u16, u32, u64);
from!(Float: f32);
from!(Double: f64);
from!(Text: &str, String);
from!(Bytes: &[u8], Vec<u8>);
from!(Date: Date);
from!(Time: Time);
from!(DateTime: DateTime);

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
