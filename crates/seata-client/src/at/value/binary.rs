//! Values as the server sends them in answers to prepared statements.
//!
//! Decoded here and not by the driver: its types cannot hold zero dates, and it takes
//! `TINYINT(1)` and texts with binary collations for something else.

use super::{Date, DateTime, Kind, Time, Value, split_fraction};

/// One non-null value. `None` if the bytes are no value of that type.
pub(crate) fn decode(kind: &Kind, raw: &[u8]) -> Option<Value> {
    Some(match kind {
        Kind::Int { unsigned: true, .. } => Value::UInt(unsigned(raw)?),
        Kind::Int { .. } | Kind::TinyBool => Value::Int(signed(raw)?),
        Kind::Year => Value::Int(i64::try_from(unsigned(raw)?).ok()?),
        Kind::Bit(_) => Value::UInt(big_endian(raw)?),
        Kind::Float => Value::Float(f32::from_le_bytes(raw.try_into().ok()?)),
        Kind::Double => Value::Double(f64::from_le_bytes(raw.try_into().ok()?)),
        Kind::Decimal { .. } => Value::Decimal(without_zero_fill(&text(raw)?)),
        Kind::Text => Value::Text(text(raw)?),
        Kind::Bytes { .. } => Value::Bytes(raw.to_vec()),
        Kind::Date => Value::Date(date_time(raw)?.date),
        Kind::DateTime => Value::DateTime(date_time(raw)?),
        Kind::Time => Value::Time(time(raw)?),
        Kind::Timestamp => Value::Timestamp(seconds(&text(raw)?)?),
    })
}

fn text(raw: &[u8]) -> Option<String> {
    String::from_utf8(raw.to_vec()).ok()
}

/// `ZEROFILL` columns are padded; JSON numbers and other clients' keys are not.
fn without_zero_fill(text: &str) -> String {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    let digits = digits.trim_start_matches('0');
    let zero = if digits.is_empty() || digits.starts_with('.') {
        "0"
    } else {
        ""
    };
    format!("{sign}{zero}{digits}")
}

fn unsigned(raw: &[u8]) -> Option<u64> {
    let mut bytes = [0; 8];
    bytes.get_mut(..raw.len())?.copy_from_slice(raw);
    Some(u64::from_le_bytes(bytes))
}

fn signed(raw: &[u8]) -> Option<i64> {
    let negative = raw.last()? & 0x80 != 0;
    let mut bytes = if negative { [0xff; 8] } else { [0; 8] };
    bytes.get_mut(..raw.len())?.copy_from_slice(raw);
    Some(i64::from_le_bytes(bytes))
}

fn big_endian(raw: &[u8]) -> Option<u64> {
    let mut bytes = [0; 8];
    let from = 8_usize.checked_sub(raw.len())?;
    bytes.get_mut(from..)?.copy_from_slice(raw);
    Some(u64::from_be_bytes(bytes))
}

/// A length, then year, month and day, then the time of day if it is not midnight, then the
/// fraction if there is one. A zero date has the length 0.
fn date_time(raw: &[u8]) -> Option<DateTime> {
    let (&length, rest) = raw.split_first()?;
    let mut bytes = [0_u8; 11];
    let rest = rest.get(..usize::from(length))?;
    bytes.get_mut(..rest.len())?.copy_from_slice(rest);
    let [y0, y1, month, day, hour, minute, second, f0, f1, f2, f3] = bytes;
    Some(DateTime {
        date: Date {
            year: u16::from_le_bytes([y0, y1]),
            month,
            day,
        },
        hour,
        minute,
        second,
        micros: u32::from_le_bytes([f0, f1, f2, f3]),
    })
}

fn time(raw: &[u8]) -> Option<Time> {
    let (&length, rest) = raw.split_first()?;
    let mut bytes = [0_u8; 12];
    let rest = rest.get(..usize::from(length))?;
    bytes.get_mut(..rest.len())?.copy_from_slice(rest);
    let [
        negative,
        d0,
        d1,
        d2,
        d3,
        hours,
        minutes,
        seconds,
        f0,
        f1,
        f2,
        f3,
    ] = bytes;
    let days = u32::from_le_bytes([d0, d1, d2, d3]);
    Some(Time {
        negative: negative != 0,
        hours: days.checked_mul(24)?.checked_add(u32::from(hours))?,
        minutes,
        seconds,
        micros: u32::from_le_bytes([f0, f1, f2, f3]),
    })
}

/// Seconds with a fraction as microseconds.
fn seconds(text: &str) -> Option<i64> {
    let (whole, micros) = split_fraction(text)?;
    let whole: i64 = whole.parse().ok()?;
    whole.checked_mul(1_000_000)?.checked_add(i64::from(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_keep_their_sign_and_size() {
        let signed = Kind::Int {
            unsigned: false,
            size: 8,
        };
        let unsigned = Kind::Int {
            unsigned: true,
            size: 8,
        };
        assert_eq!(decode(&signed, &[0xff]), Some(Value::Int(-1)));
        assert_eq!(decode(&signed, &[0, 0x80]), Some(Value::Int(-32768)));
        assert_eq!(decode(&unsigned, &[0xff; 8]), Some(Value::UInt(u64::MAX)));
        assert_eq!(
            decode(&Kind::Bit(12), &[0x0a, 0xbc]),
            Some(Value::UInt(0xabc))
        );
        assert_eq!(decode(&signed, &[0; 9]), None);
    }

    #[test]
    fn decimals_have_no_needless_zeros_in_front() {
        let kind = Kind::Decimal {
            precision: 10,
            scale: 2,
        };
        for (text, expected) in [
            ("00000012.30", "12.30"),
            ("00000000.30", "0.30"),
            ("-0.30", "-0.30"),
            ("0", "0"),
            ("100", "100"),
        ] {
            let value = Value::Decimal(expected.to_owned());
            assert_eq!(decode(&kind, text.as_bytes()), Some(value), "{text}");
        }
    }

    #[test]
    fn zero_and_short_dates_are_read() {
        let zero = DateTime::parse("0000-00-00 00:00:00").unwrap();
        assert_eq!(decode(&Kind::DateTime, &[0]), Some(Value::DateTime(zero)));
        let day = Date::parse("2024-02-03").unwrap();
        assert_eq!(
            decode(&Kind::Date, &[4, 0xe8, 7, 2, 3]),
            Some(Value::Date(day))
        );
        assert_eq!(decode(&Kind::Date, &[4, 0xe8]), None);
        let long = Time::parse("-34:00:01").unwrap();
        let raw = [8, 1, 1, 0, 0, 0, 10, 0, 1];
        assert_eq!(decode(&Kind::Time, &raw), Some(Value::Time(long)));
        let instant = Value::Timestamp(1_700_000_000_123_456);
        assert_eq!(
            decode(&Kind::Timestamp, b"1700000000.123456"),
            Some(instant)
        );
    }
}
