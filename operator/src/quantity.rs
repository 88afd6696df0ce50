//! Kubernetes quantities, compared by value.

/// The value in thousandths of its unit, or `None` if the text is not a quantity.
pub fn milli(text: &str) -> Option<i128> {
    let digits_end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits_end);
    let factor = factor(suffix)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 9 {
        return None;
    }
    let scale = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    Some(digits.checked_mul(factor)? / scale)
}

/// The value in whole units, rounded down.
pub fn units(text: &str) -> Option<i128> {
    milli(text).map(|value| value / 1000)
}

/// Thousandths per suffix.
fn factor(suffix: &str) -> Option<i128> {
    const BINARY: i128 = 1024;
    Some(match suffix {
        "m" => 1,
        "" => 1_000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "P" => 1_000_000_000_000_000_000,
        "Ki" => 1_000 * BINARY,
        "Mi" => 1_000 * BINARY.pow(2),
        "Gi" => 1_000 * BINARY.pow(3),
        "Ti" => 1_000 * BINARY.pow(4),
        "Pi" => 1_000 * BINARY.pow(5),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_equal_however_they_are_written() {
        for (left, right) in [
            ("1", "1000m"),
            ("1Gi", "1024Mi"),
            ("0.5", "500m"),
            ("1.5Gi", "1536Mi"),
            ("2k", "2000"),
        ] {
            assert_eq!(milli(left), milli(right), "{left} {right}");
        }
        assert_ne!(milli("1G"), milli("1Gi"));
    }

    #[test]
    fn what_is_not_a_quantity_has_no_value() {
        for text in ["", "Gi", "1X", "1..5", "-1"] {
            assert_eq!(milli(text), None, "{text}");
        }
    }
}
