//! A value as the column of a key will hold it.
//!
//! Only conversions that lose nothing are done: what the server would round, cut or guess is
//! `None`, and the statement is refused rather than imaged by a key that it will not have.

use super::{Date, DateTime, Kind, Value};

/// The value as a column of that type holds it; `None` if that is not certain.
pub(crate) fn to_kind(value: &Value, kind: &Kind) -> Option<Value> {
    if value.is_null() {
        return None;
    }
    match kind {
        Kind::Int { unsigned, .. } => integer(value, *unsigned),
        Kind::Decimal { scale, .. } => decimal(value, *scale),
        Kind::Text => match value {
            Value::Text(text) | Value::Decimal(text) => Some(Value::Text(text.clone())),
            Value::Int(n) => Some(Value::Text(n.to_string())),
            Value::UInt(n) => Some(Value::Text(n.to_string())),
            _ => None,
        },
        Kind::Bytes { padded } => bytes(value, *padded),
        Kind::Date => match value {
            Value::Date(_) => Some(value.clone()),
            Value::Text(text) => Date::parse(text).map(Value::Date),
            _ => None,
        },
        Kind::DateTime => match value {
            Value::DateTime(_) => Some(value.clone()),
            Value::Text(text) => DateTime::parse(text).map(Value::DateTime),
            _ => None,
        },
        _ => None,
    }
}

fn integer(value: &Value, unsigned: bool) -> Option<Value> {
    let wide: i128 = match value {
        Value::Int(n) => i128::from(*n),
        Value::UInt(n) => i128::from(*n),
        Value::Text(text) | Value::Decimal(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    if unsigned {
        return u64::try_from(wide).ok().map(Value::UInt);
    }
    i64::try_from(wide).ok().map(Value::Int)
}

fn decimal(value: &Value, scale: u32) -> Option<Value> {
    let text = match value {
        Value::Int(n) => n.to_string(),
        Value::UInt(n) => n.to_string(),
        Value::Text(text) | Value::Decimal(text) => plain(text)?,
        _ => return None,
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let scale = usize::try_from(scale).ok()?;
    if fraction.len() > scale {
        return None;
    }
    if scale == 0 {
        return Some(Value::Decimal(whole.to_owned()));
    }
    Some(Value::Decimal(format!("{whole}.{fraction:0<scale$}")))
}

fn bytes(value: &Value, padded: Option<u32>) -> Option<Value> {
    let mut bytes = match value {
        Value::Bytes(bytes) => bytes.clone(),
        Value::Text(text) => text.clone().into_bytes(),
        _ => return None,
    };
    if let Some(length) = padded {
        let length = usize::try_from(length).ok()?;
        if bytes.len() > length {
            return None;
        }
        bytes.resize(length, 0);
    }
    Some(Value::Bytes(bytes))
}

/// A decimal number without exponent, without needless zeros on either side, as text.
/// `None` if it is no number or has an exponent beyond all columns.
pub(crate) fn plain(text: &str) -> Option<String> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) || exponent.abs() > 200 {
        return None;
    }
    let point = i32::try_from(whole.len()).ok()?.checked_add(exponent)?;
    let (whole, fraction) = place_point(&digits, point)?;
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    let mut out = String::new();
    if negative && !(whole.is_empty() && fraction.is_empty()) {
        out.push('-');
    }
    out.push_str(if whole.is_empty() { "0" } else { whole });
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
    Some(out)
}

fn place_point(digits: &str, point: i32) -> Option<(String, String)> {
    let Ok(point) = usize::try_from(point) else {
        let zeros = usize::try_from(point.unsigned_abs()).ok()?;
        return Some((String::new(), format!("{}{digits}", "0".repeat(zeros))));
    };
    if point >= digits.len() {
        let zeros = "0".repeat(point - digits.len());
        return Some((format!("{digits}{zeros}"), String::new()));
    }
    let (whole, fraction) = digits.split_at(point);
    Some((whole.to_owned(), fraction.to_owned()))
}

/// Whether two texts are the same decimal number.
pub(crate) fn same_number(left: &str, right: &str) -> bool {
    match (plain(left), plain(right)) {
        (Some(left), Some(right)) => left == right,
        _ => left == right,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_plainly() {
        for (text, expected) in [
            ("1E-8", "0.00000001"),
            ("12.3400", "12.34"),
            ("-0.00", "0"),
            ("1.5e3", "1500"),
            ("-007.10", "-7.1"),
            (
                "123456789012345678901234567890.5",
                "123456789012345678901234567890.5",
            ),
        ] {
            assert_eq!(plain(text).unwrap(), expected, "{text}");
        }
        for text in ["", "-", "1e999999", "0x1", "1.2.3", "NaN"] {
            assert_eq!(plain(text), None, "{text}");
        }
        assert!(same_number("1.10", "1.1") && !same_number("1.10", "1.11"));
    }

    #[test]
    fn keys_take_only_what_they_hold_exactly() {
        let unsigned = Kind::Int {
            unsigned: true,
            size: 8,
        };
        assert_eq!(to_kind(&Value::Int(-1), &unsigned), None);
        assert_eq!(
            to_kind(&"18446744073709551615".into(), &unsigned),
            Some(Value::UInt(u64::MAX))
        );
        let decimal = Kind::Decimal {
            precision: 10,
            scale: 2,
        };
        assert_eq!(
            to_kind(&"1.5".into(), &decimal),
            Some(Value::Decimal("1.50".into()))
        );
        assert_eq!(to_kind(&"1.555".into(), &decimal), None);
        assert_eq!(to_kind(&Value::Double(1.0), &decimal), None);
        let binary = Kind::Bytes { padded: Some(3) };
        assert_eq!(
            to_kind(&"a".into(), &binary),
            Some(Value::Bytes(vec![b'a', 0, 0]))
        );
        assert_eq!(to_kind(&Value::Null, &binary), None);
    }
}
