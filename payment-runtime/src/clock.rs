//! The only place where the runtime reads the clock, and the calendar of the bills.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};

/// To the millisecond, as the database keeps it: what is answered now is what is shown later.
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
}

/// China has one zone and no summer time: the channels' days are UTC+8.
fn beijing() -> TimeZone {
    TimeZone::fixed(Offset::constant(8))
}

/// The day on whose bill something of this moment stands.
pub fn bill_day(at: Timestamp) -> Date {
    at.to_zoned(beijing()).date()
}

/// The moment a Beijing wall-clock time names.
pub fn from_beijing(at: DateTime) -> Option<Timestamp> {
    at.to_zoned(beijing()).ok().map(|zoned| zoned.timestamp())
}

/// What a Beijing wall clock shows at this moment.
pub fn to_beijing(at: Timestamp) -> DateTime {
    at.to_zoned(beijing()).datetime()
}

/// The moment at which a Beijing day begins.
pub fn beginning_of(day: Date) -> Timestamp {
    from_beijing(day.at(0, 0, 0, 0)).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payment_after_sixteen_hours_utc_is_on_tomorrows_bill() {
        let day = |text: &str| bill_day(text.parse().unwrap()).to_string();
        assert_eq!(day("2026-11-22T15:59:59Z"), "2026-11-22");
        assert_eq!(day("2026-11-22T16:00:00Z"), "2026-11-23");
    }
}
