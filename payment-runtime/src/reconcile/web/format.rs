//! How amounts, moments and names are written for people.
//!
//! Guarantees: amounts keep every decimal of their currency; moments are Beijing time, which is
//! what bills are kept in.
//!
//! Deliberately not here: HTML (templates escape by themselves).

use jiff::Timestamp;
use jiff::civil::Date;
use payment_core::{ChannelKind, Currency, Money};

use crate::clock;
use crate::reconcile::books::DifferenceState;

/// Digits in groups of three: `1,234,567.80 CNY`.
pub(super) fn amount(minor: i128, code: &str) -> String {
    let Ok(currency) = Currency::parse(code) else {
        return format!("{minor} smallest units of {code}");
    };
    let scale = 10_u128.pow(currency.exponent());
    let (major, rest) = (minor.unsigned_abs() / scale, minor.unsigned_abs() % scale);
    let sign = if minor < 0 { "\u{2212}" } else { "" };
    let major = grouped(major);
    match currency.exponent() {
        0 => format!("{sign}{major} {code}"),
        width => format!(
            "{sign}{major}.{rest:0width$} {code}",
            width = width as usize
        ),
    }
}

pub(super) fn money(money: Money) -> String {
    amount(i128::from(money.minor), money.currency.code())
}

/// The amount, or a dash where there is none.
pub(super) fn maybe_money(money: Option<Money>) -> String {
    money.map_or_else(|| "\u{2014}".to_owned(), self::money)
}

/// A fee, which channels keep in hundred-thousandths of a yuan.
pub(super) fn fee(fee_1e5: i64) -> String {
    const UNIT: u64 = 100_000;
    let sign = if fee_1e5 < 0 { "\u{2212}" } else { "" };
    let (whole, rest) = (fee_1e5.unsigned_abs() / UNIT, fee_1e5.unsigned_abs() % UNIT);
    format!("{sign}{}.{rest:05} CNY", grouped(u128::from(whole)))
}

/// `1,234,567`.
pub(super) fn grouped(number: u128) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(super) fn count(number: u64) -> String {
    grouped(u128::from(number))
}

/// `1 difference`, `1,200 differences`.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    let what = if number == 1 { one } else { many };
    format!("{} {what}", count(number))
}

/// Beijing time to the second.
pub(super) fn moment(at: Timestamp) -> String {
    let at = clock::to_beijing(at);
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// Whole days from a bill's day to today, never negative.
pub(super) fn age_days(day: Date, today: Date) -> i64 {
    today
        .since(day)
        .map_or(0, |span| i64::from(span.get_days()))
        .max(0)
}

/// Names of the API and the database as words: `missing-at-channel` is `Missing at channel`.
pub(super) fn words(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    let rest = letters.map(|letter| match letter {
        '-' | '_' => ' ',
        letter => letter.to_ascii_lowercase(),
    });
    first.into_iter().chain(rest).collect()
}

pub(super) const fn channel(kind: ChannelKind) -> &'static str {
    match kind {
        ChannelKind::Wechat => "WeChat Pay",
        ChannelKind::Alipay => "Alipay",
    }
}

/// What a difference's state asks of people.
pub(super) const fn state_meaning(state: DifferenceState) -> &'static str {
    match state {
        DifferenceState::Open => "needs a person",
        DifferenceState::Waiting => "waits for the other side by itself",
        DifferenceState::Proposed => "needs a second person to agree",
        DifferenceState::Resolved => "needs nothing more",
    }
}

/// JSON with line breaks; anything else as it stands.
pub(super) fn pretty_json(text: &str) -> String {
    let pretty = serde_json::from_str::<serde_json::Value>(text)
        .and_then(|value| serde_json::to_string_pretty(&value));
    pretty.unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_keep_their_currencys_decimals() {
        assert_eq!(amount(123_456_780, "CNY"), "1,234,567.80 CNY");
        assert_eq!(amount(-5, "CNY"), "\u{2212}0.05 CNY");
        assert_eq!(amount(1_000, "JPY"), "1,000 JPY");
        assert_eq!(amount(0, "KWD"), "0.000 KWD");
        assert_eq!(amount(7, "???"), "7 smallest units of ???");
        assert_eq!(fee(-123_456), "\u{2212}1.23456 CNY");
    }

    #[test]
    fn digits_stand_in_groups_of_three() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(counted(1, "row", "rows"), "1 row");
        assert_eq!(counted(12_345, "row", "rows"), "12,345 rows");
    }

    #[test]
    fn names_become_words() {
        assert_eq!(words("missing-at-channel"), "Missing at channel");
        assert_eq!(words("PAID"), "Paid");
        assert_eq!(words(""), "");
    }

    #[test]
    fn a_bill_of_tomorrow_is_not_older_than_today() {
        let day = |text: &str| text.parse::<Date>().unwrap();
        assert_eq!(age_days(day("2026-10-30"), day("2026-11-22")), 23);
        assert_eq!(age_days(day("2026-11-23"), day("2026-11-22")), 0);
    }

    #[test]
    fn what_is_no_json_is_shown_as_it_stands() {
        assert_eq!(pretty_json("not json"), "not json");
        assert_eq!(pretty_json(r#"{"a":1}"#), "{\n  \"a\": 1\n}");
    }
}
