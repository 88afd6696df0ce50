//! The two clocks of a channel.
//!
//! *Wall time* is what both parties share: signatures, `success_time`, refund times and
//! `time_expire` use it, so a test that moves the simulator never breaks a signature window.
//! *The calendar* is wall time plus what `POST /clock` has added; it alone decides whether a day's
//! bill exists yet (from 10:00 Beijing time of the next day), when the next step of a retry
//! ladder is due, and how long ago something happened: the age of a code, of an unpaid order, of a
//! payment to be refunded. The calendar only moves forward.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::civil::{Date, DateTime, date};
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

/// Bills of a day can be fetched from this hour of the next day.
const BILL_HOUR: i8 = 10;
/// One hundred years: keeps the calendar inside what dates can express.
pub(crate) const ADVANCE_SECONDS_MAX: i64 = 100 * 366 * 86_400;

#[derive(Debug, Default)]
pub(crate) struct Clock {
    advanced_seconds: AtomicI64,
}

/// One instant on both clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub wall: Timestamp,
    pub calendar: Timestamp,
}

impl Clock {
    pub(crate) fn moment(&self) -> Moment {
        Moment {
            wall: now(),
            calendar: self.calendar(),
        }
    }

    pub(crate) fn calendar(&self) -> Timestamp {
        let advanced = SignedDuration::from_secs(self.advanced_seconds());
        now().checked_add(advanced).unwrap_or(Timestamp::MAX)
    }

    pub(crate) fn advanced_seconds(&self) -> i64 {
        self.advanced_seconds.load(Ordering::Relaxed)
    }

    /// Moves the calendar forward; `false` when that would pass [`ADVANCE_SECONDS_MAX`].
    pub(crate) fn advance(&self, seconds: u64) -> bool {
        let Ok(seconds) = i64::try_from(seconds) else {
            return false;
        };
        self.advanced_seconds
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
                now.checked_add(seconds)
                    .filter(|sum| *sum <= ADVANCE_SECONDS_MAX)
            })
            .is_ok()
    }
}

/// Wall time.
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// Whether the bill of `day` exists at calendar time `calendar`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BillReadiness {
    /// The day is not over, or lies ahead: asking is a mistake.
    DayNotOver,
    /// The day is over, its bill is being made.
    Creating,
    Ready,
}

pub(crate) fn bill_readiness(day: Date, calendar: Timestamp) -> BillReadiness {
    let now = beijing(calendar);
    if day >= now.date() {
        return BillReadiness::DayNotOver;
    }
    let ready = day.tomorrow().map(|next| next.at(BILL_HOUR, 0, 0, 0));
    match ready {
        Ok(ready) if now >= ready => BillReadiness::Ready,
        _ => BillReadiness::Creating,
    }
}

fn zone() -> TimeZone {
    TimeZone::fixed(Offset::constant(8))
}

fn beijing(time: Timestamp) -> DateTime {
    zone().to_datetime(time)
}

pub(crate) fn beijing_day(time: Timestamp) -> Date {
    beijing(time).date()
}

pub(crate) fn beijing_midnight(day: Date) -> Timestamp {
    zone()
        .to_timestamp(day.at(0, 0, 0, 0))
        .unwrap_or(Timestamp::MAX)
}

pub(crate) fn after(from: Timestamp, seconds: i64) -> Timestamp {
    from.checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX)
}

/// `2026-10-03T12:00:00+08:00`, WeChat Pay's form.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    beijing(time)
        .strftime("%Y-%m-%dT%H:%M:%S+08:00")
        .to_string()
}

/// `2026-10-03 12:00:00`, Alipay's form and both bills'.
pub(crate) fn plain(time: Timestamp) -> String {
    beijing(time).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// `20261003`, a part of many numbers.
pub(crate) fn compact_day(time: Timestamp) -> String {
    beijing(time).strftime("%Y%m%d").to_string()
}

/// Reads [`plain`].
pub(crate) fn parse_plain(text: &str) -> Option<Timestamp> {
    let time = DateTime::strptime("%Y-%m-%d %H:%M:%S", text).ok()?;
    zone().to_timestamp(time).ok()
}

/// `yyyy-MM-dd` and nothing else.
pub(crate) fn parse_day(text: &str) -> Option<Date> {
    if text.len() != 10 {
        return None;
    }
    let day = Date::strptime("%Y-%m-%d", text).ok()?;
    (day >= date(2000, 1, 1)).then_some(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bill_exists_from_ten_on_the_next_day() {
        let day = date(2026, 10, 3);
        for (now, expected) in [
            ("2026-10-02T23:59:59+08:00", BillReadiness::DayNotOver),
            ("2026-10-03T23:59:59+08:00", BillReadiness::DayNotOver),
            ("2026-10-04T00:00:00+08:00", BillReadiness::Creating),
            ("2026-10-04T09:59:59+08:00", BillReadiness::Creating),
            ("2026-10-04T10:00:00+08:00", BillReadiness::Ready),
            ("2027-01-01T00:00:00+08:00", BillReadiness::Ready),
        ] {
            assert_eq!(bill_readiness(day, now.parse().unwrap()), expected, "{now}");
        }
    }

    #[test]
    fn the_day_is_beijing_s() {
        let time: Timestamp = "2026-10-03T16:00:00Z".parse().unwrap();
        assert_eq!(beijing_day(time), date(2026, 10, 4));
        assert_eq!(rfc3339(time), "2026-10-04T00:00:00+08:00");
        assert_eq!(parse_plain(&plain(time)), Some(time));
        assert_eq!(parse_day("2026-10-4"), None);
    }

    #[test]
    fn the_calendar_moves_only_forward_and_not_without_end() {
        let clock = Clock::default();
        assert!(clock.advance(86_400));
        assert!(!clock.advance(u64::MAX));
        assert_eq!(clock.advanced_seconds(), 86_400);
        assert!(clock.calendar() > now());
    }
}
