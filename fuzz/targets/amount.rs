//! Amounts: what is read is exact, and what is written reads back the same.

#![no_main]

use payment_core::money::parse_scaled;
use payment_core::{Currency, Money};

/// With 0, 2, 3 and 4 decimals.
const CURRENCIES: [&str; 4] = ["JPY", "CNY", "KWD", "CLF"];

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = Currency::parse(text);
    for code in CURRENCIES {
        let Ok(currency) = Currency::parse(code) else {
            unreachable!("{code} is a currency")
        };
        if let Ok(money) = Money::parse(text, currency) {
            assert_eq!(Money::parse(&money.to_decimal(), currency), Ok(money));
        }
    }
    for decimals in 0..=8 {
        let Ok(scaled) = parse_scaled(text, decimals) else {
            continue;
        };
        // One more decimal is ten times the number, unless that no longer fits.
        if let Ok(finer) = parse_scaled(text, decimals + 1) {
            assert_eq!(scaled.checked_mul(10), Some(finer));
        }
    }
});
