//! Decimal texts of a specification as whole numbers, exactly: nothing is rounded, and no float
//! comes near money.

/// Yuan such as `10000.00` in fen.
pub fn fen(text: &str) -> Option<i64> {
    scaled(text, 2)
}

/// A percentage such as `0.6%` in millionths of the whole.
pub fn millionths(text: &str) -> Option<u32> {
    let value = scaled(text.strip_suffix('%')?, 4)?;
    u32::try_from(value).ok()
}

/// A plain decimal times ten to the `places`. `None` if it has more places, a sign, an exponent,
/// or does not fit.
fn scaled(text: &str, places: usize) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > places.max(1) {
        return None;
    }
    format!("{whole}{fraction:0<places$}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        for (text, expected) in [
            ("0", 0),
            ("0.07", 7),
            ("0.7", 70),
            ("1000", 100_000),
            ("100000.00", 10_000_000),
            ("999999999999.99", 99_999_999_999_999),
        ] {
            assert_eq!(fen(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn rates_are_exact() {
        for (text, expected) in [
            ("0%", 0),
            ("0.6%", 6000),
            ("0.38%", 3800),
            ("0.0001%", 1),
            ("99.9999%", 999_999),
        ] {
            assert_eq!(millionths(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_exact_has_no_value() {
        for text in [
            "",
            ".",
            ".5",
            "1.",
            "1.005",
            "-1",
            "+1",
            "1e3",
            "1,000",
            "1.0.0",
            " 1",
            "٣",
            "99999999999999999999",
        ] {
            assert_eq!(fen(text), None, "{text}");
        }
        for text in ["0.6", "0.00001%", "%", "0.6%%", "-0.6%"] {
            assert_eq!(millionths(text), None, "{text}");
        }
    }
}
