//! Amounts of money: integer minor units with their ISO 4217 currency, parsed exactly.
//!
//! Deliberately not here: binary floats, rounding, conversion between currencies.

use std::fmt;

use iso_currency::Currency as Iso;

/// A currency whose number of decimals is known (ISO 4217: 0 for JPY, 2 for CNY, 3 for KWD).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency(Iso);

impl Currency {
    pub const CNY: Self = Self(Iso::CNY);

    /// Takes the three upper-case letters of ISO 4217.
    pub fn parse(code: &str) -> Result<Self, MoneyError> {
        Iso::from_code(code)
            .filter(|iso| iso.exponent().is_some())
            .map(Self)
            .ok_or_else(|| MoneyError::UnknownCurrency(code.chars().take(8).collect()))
    }

    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// Decimals of the major unit.
    pub fn exponent(self) -> u32 {
        self.0.exponent().map_or(0, u32::from)
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// An amount in minor units (fen, cent, yen) of one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Money {
    pub minor: i64,
    pub currency: Currency,
}

/// Why a text is not an amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("{0:?} is not an ISO 4217 currency code")]
    UnknownCurrency(String),
    #[error("an amount is digits with at most one decimal point, such as 99.99")]
    NotANumber,
    #[error("{currency:?} has {allowed} decimals, the amount has more")]
    TooManyDecimals { currency: Currency, allowed: u32 },
    #[error("the amount is larger than can be represented")]
    TooLarge,
}

impl Money {
    pub const fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Parses a decimal text exactly: `99.99`, `100`, `-0.5`. Trailing zeros beyond the currency's
    /// decimals are accepted because they change nothing; exponents, signs of `+`, spaces and
    /// empty parts are not.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let exponent = currency.exponent();
        let minor = parse_scaled(text, exponent).map_err(|error| match error {
            ScaledError::NotANumber => MoneyError::NotANumber,
            ScaledError::TooManyDecimals => MoneyError::TooManyDecimals {
                currency,
                allowed: exponent,
            },
            ScaledError::TooLarge => MoneyError::TooLarge,
        })?;
        Ok(Self { minor, currency })
    }

    /// The amount in major units, with exactly the currency's decimals: `99.90`.
    pub fn to_decimal(self) -> String {
        let exponent = self.currency.exponent();
        let sign = if self.minor < 0 { "-" } else { "" };
        let scale = 10_u64.pow(exponent);
        let (major, rest) = (
            self.minor.unsigned_abs() / scale,
            self.minor.unsigned_abs() % scale,
        );
        match exponent {
            0 => format!("{sign}{major}"),
            _ => format!("{sign}{major}.{rest:0width$}", width = exponent as usize),
        }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.to_decimal(), self.currency.code())
    }
}

/// Why a decimal text does not fit a scaled integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaledError {
    NotANumber,
    TooManyDecimals,
    TooLarge,
}

/// Parses a decimal text into an integer of 10^-`decimals` units: `("0.00600", 5)` gives 600.
pub fn parse_scaled(text: &str, decimals: u32) -> Result<i64, ScaledError> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) {
        return Err(ScaledError::NotANumber);
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > decimals as usize {
        return Err(ScaledError::TooManyDecimals);
    }
    let padded = format!("{whole}{fraction:0<width$}", width = decimals as usize);
    let value: i64 = padded.parse().map_err(|_| ScaledError::TooLarge)?;
    Ok(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn currency(code: &str) -> Currency {
        Currency::parse(code).unwrap()
    }

    #[test]
    fn amounts_parse_exactly_or_say_why_not() {
        let cases: [(&str, &str, Result<i64, &str>); 16] = [
            ("99.99", "CNY", Ok(9999)),
            ("0.01", "CNY", Ok(1)),
            ("100", "CNY", Ok(10_000)),
            ("1.10", "CNY", Ok(110)),
            ("1.100", "CNY", Ok(110)),
            ("100", "JPY", Ok(100)),
            ("100.00", "JPY", Ok(100)),
            ("1.234", "KWD", Ok(1234)),
            ("-0.50", "CNY", Ok(-50)),
            (
                "1.234",
                "CNY",
                Err("CNY has 2 decimals, the amount has more"),
            ),
            ("1.5", "JPY", Err("JPY has 0 decimals, the amount has more")),
            ("1e3", "CNY", Err("an amount is digits")),
            ("", "CNY", Err("an amount is digits")),
            (".5", "CNY", Err("an amount is digits")),
            ("1.", "CNY", Err("an amount is digits")),
            ("92233720368547758.08", "CNY", Err("the amount is larger")),
        ];
        for (text, code, expected) in cases {
            match (Money::parse(text, currency(code)), expected) {
                (Ok(money), Ok(minor)) => assert_eq!(money.minor, minor, "{text} {code}"),
                (Err(error), Err(start)) => {
                    assert!(
                        error.to_string().starts_with(start),
                        "{text} {code}: {error}"
                    );
                }
                (got, expected) => panic!("{text} {code}: {got:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn an_unknown_currency_is_refused_by_name() {
        let error = Currency::parse("cny").unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"cny\" is not an ISO 4217 currency code"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(minor in any::<i32>(), code in "CNY|JPY|KWD") {
            let money = Money::new(i64::from(minor), currency(&code));
            prop_assert_eq!(Money::parse(&money.to_decimal(), money.currency), Ok(money));
        }
    }
}
