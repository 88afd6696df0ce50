//! Exact money text.
//!
//! Amounts are integer fen everywhere inside; yuan exist only as text on Alipay's wire and in bill
//! files. Nothing here rounds, except fees in whole fen, which say so.

/// Yuan with two decimals.
pub(crate) fn yuan(fen: i64) -> String {
    decimal(fen, 100, 2)
}

/// Yuan with five decimals, as WeChat Pay's bills write fees; the unit is 0.00001 yuan.
pub(crate) fn yuan_five(units: i64) -> String {
    decimal(units, 100_000, 5)
}

fn decimal(units: i64, scale: u64, width: usize) -> String {
    let sign = if units < 0 { "-" } else { "" };
    let magnitude = units.unsigned_abs();
    format!("{sign}{}.{:0width$}", magnitude / scale, magnitude % scale)
}

/// Fen from yuan text: digits, at most two decimals, no sign.
pub(crate) fn fen(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 2 || whole.len() > 12 {
        return None;
    }
    let padded = if fraction.len() == 1 {
        format!("{fraction}0")
    } else {
        fraction.to_owned()
    };
    Some(whole.parse::<i64>().ok()? * 100 + padded.parse::<i64>().ok()?)
}

/// WeChat Pay's fee of 0.60 %, in units of 0.00001 yuan: exact, since one fen costs six units.
pub(crate) const fn wechat_fee(fen: i64) -> i64 {
    fen * 6
}

/// The same in whole fen, as it moves on an account: half a fen rounded up.
pub(crate) const fn wechat_fee_fen(fen: i64) -> i64 {
    alipay_fee(fen)
}

/// Alipay's fee of 0.60 % in fen, half a fen rounded up.
pub(crate) const fn alipay_fee(fen: i64) -> i64 {
    (fen * 6 + 500) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yuan_text_round_trips_and_refuses_everything_inexact() {
        for (value, text) in [(1, "0.01"), (10, "0.10"), (12_345, "123.45"), (-5, "-0.05")] {
            assert_eq!(yuan(value), text);
        }
        for (text, value) in [("1", Some(100)), ("1.5", Some(150)), ("0.01", Some(1))] {
            assert_eq!(fen(text), value);
        }
        for text in [
            "",
            ".",
            "1.",
            ".1",
            "-1",
            "+1",
            "1e2",
            "1.001",
            "1,0",
            " 1",
            "9999999999999",
        ] {
            assert_eq!(fen(text), None, "{text}");
        }
        assert_eq!(yuan_five(wechat_fee(100)), "0.00600");
        assert_eq!(yuan_five(-wechat_fee(1)), "-0.00006");
    }
}
