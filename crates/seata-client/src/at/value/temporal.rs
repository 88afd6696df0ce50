//! Dates and times exactly as MySQL has them: also zero dates, days that no calendar knows and
//! times of day beyond 24 hours, which calendar libraries refuse.

use std::fmt;

/// A `DATE`. Zero dates (`0000-00-00`) are values like any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Date {
    pub year: u16,
    pub month: u8,
    pub day: u8,
}

/// A `TIME`: a signed span of up to 838 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Time {
    pub negative: bool,
    pub hours: u32,
    pub minutes: u8,
    pub seconds: u8,
    pub micros: u32,
}

/// A `DATETIME`: what the wall's calendar and clock show, in no zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DateTime {
    pub date: Date,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
    pub micros: u32,
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.negative { "-" } else { "" };
        let Self {
            hours,
            minutes,
            seconds,
            ..
        } = self;
        write!(f, "{sign}{hours:02}:{minutes:02}:{seconds:02}")?;
        fraction(f, self.micros)
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            date,
            hour,
            minute,
            second,
            ..
        } = self;
        write!(f, "{date} {hour:02}:{minute:02}:{second:02}")?;
        fraction(f, self.micros)
    }
}

fn fraction(f: &mut fmt::Formatter<'_>, micros: u32) -> fmt::Result {
    if micros == 0 {
        return Ok(());
    }
    write!(f, ".{micros:06}")
}

impl Date {
    /// Reads `YYYY-MM-DD`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '-');
        let date = Self {
            year: digits(parts.next()?)?,
            month: digits(parts.next()?)?,
            day: digits(parts.next()?)?,
        };
        (date.month <= 12 && date.day <= 31).then_some(date)
    }

    /// The date of the calendar, if there is such a day.
    pub fn civil(self) -> Option<jiff::civil::Date> {
        let year = i16::try_from(self.year).ok()?;
        let month = i8::try_from(self.month).ok()?;
        let day = i8::try_from(self.day).ok()?;
        jiff::civil::Date::new(year, month, day).ok()
    }

    /// The date of a calendar's day; MySQL knows no years before 0.
    pub fn from_civil(date: jiff::civil::Date) -> Option<Self> {
        Some(Self {
            year: u16::try_from(date.year()).ok()?,
            month: u8::try_from(date.month()).ok()?,
            day: u8::try_from(date.day()).ok()?,
        })
    }
}

impl Time {
    /// Reads `[-]HHH:MM:SS[.ffffff]`.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (clock, micros) = split_fraction(text)?;
        let mut parts = clock.splitn(3, ':');
        let time = Self {
            negative,
            hours: digits(parts.next()?)?,
            minutes: digits(parts.next()?)?,
            seconds: digits(parts.next()?)?,
            micros,
        };
        (time.minutes < 60 && time.seconds < 60).then_some(time)
    }
}

impl DateTime {
    /// Reads `YYYY-MM-DD HH:MM:SS[.ffffff]`, also with a `T` between.
    pub fn parse(text: &str) -> Option<Self> {
        let (date, clock) = text.split_once([' ', 'T']).unwrap_or((text, "00:00:00"));
        let time = Time::parse(clock)?;
        if time.negative || time.hours > 23 {
            return None;
        }
        Some(Self {
            date: Date::parse(date)?,
            hour: u8::try_from(time.hours).ok()?,
            minute: time.minutes,
            second: time.seconds,
            micros: time.micros,
        })
    }

    /// The calendar's date and time, if there are such.
    pub fn civil(self) -> Option<jiff::civil::DateTime> {
        let time = jiff::civil::Time::new(
            i8::try_from(self.hour).ok()?,
            i8::try_from(self.minute).ok()?,
            i8::try_from(self.second).ok()?,
            i32::try_from(self.micros).ok()?.checked_mul(1000)?,
        )
        .ok()?;
        Some(self.date.civil()?.to_datetime(time))
    }

    /// What a calendar and a clock show, cut to microseconds.
    pub fn from_civil(at: jiff::civil::DateTime) -> Option<Self> {
        Some(Self {
            date: Date::from_civil(at.date())?,
            hour: u8::try_from(at.hour()).ok()?,
            minute: u8::try_from(at.minute()).ok()?,
            second: u8::try_from(at.second()).ok()?,
            micros: u32::try_from(at.subsec_nanosecond()).ok()? / 1000,
        })
    }
}

fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    let all = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

/// Splits off `.ffffff`, at most six digits, as microseconds.
pub(crate) fn split_fraction(text: &str) -> Option<(&str, u32)> {
    let Some((whole, fraction)) = text.split_once('.') else {
        return Some((text, 0));
    };
    if fraction.len() > 6 {
        return None;
    }
    let micros: u32 = digits(&format!("{fraction:0<6}"))?;
    Some((whole, micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_back() {
        for text in ["0000-00-00", "2024-02-31", "9999-12-31"] {
            assert_eq!(Date::parse(text).unwrap().to_string(), text);
        }
        for text in ["00:00:00", "-838:59:59.000001", "12:34:56.500000"] {
            assert_eq!(Time::parse(text).unwrap().to_string(), text);
        }
        for text in ["0000-00-00 00:00:00", "2024-01-02 03:04:05.000006"] {
            assert_eq!(DateTime::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "2024-1", "2024-13-01", "+024-01-01", "a-b-c"] {
            assert_eq!(Date::parse(text), None, "{text}");
        }
        for text in ["12", "12:60:00", "12:00:00.1234567", "--1:00:00"] {
            assert_eq!(Time::parse(text), None, "{text}");
        }
        assert_eq!(DateTime::parse("2024-01-01 24:00:00"), None);
    }
}
