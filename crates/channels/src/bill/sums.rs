//! What rows add up to, and which days they are of.
//!
//! Guarantees: a sum cannot wrap around unnoticed.
//!
//! Not here: which totals a file claims.

use jiff::civil::{Date, DateTime};

use super::{BillError, Reason};

/// So many rows of the days beside the bill's may make up a bill alone.
const STRANGERS_MAX: u64 = 16;

pub(crate) fn add(sum: &mut i64, value: i64) -> Result<(), BillError> {
    *sum = sum.checked_add(value).ok_or_else(|| {
        let what = "a total is larger than can be represented";
        BillError::file(Reason::RowMalformed, what)
    })?;
    Ok(())
}

pub(crate) const fn count(number: &mut u64) {
    *number = number.saturating_add(1);
}

/// The unit, in 1e-5, of the last decimal that a text shows: how far a rounded total may be off.
pub(crate) fn unit_of(text: &str) -> u64 {
    let decimals = text.split_once('.').map_or(0, |(_, digits)| digits.len());
    10_u64.pow(5_u32.saturating_sub(u32::try_from(decimals).unwrap_or(5)))
}

/// Whether the rows are of the bill's day.
///
/// Channels put single rows into the bill of the day beside: a payment around midnight, one they
/// booked late. Such rows are kept. A bill without any row of its own day is another day's, unless
/// it consists of a few such strangers, as after a quiet day.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Days {
    day: Date,
    own: bool,
    neighbours: u64,
    far: Option<Date>,
}

impl Days {
    pub(crate) const fn new(day: Date) -> Self {
        Self {
            day,
            own: false,
            neighbours: 0,
            far: None,
        }
    }

    pub(crate) fn add(&mut self, time: DateTime) {
        let date = time.date();
        if date == self.day {
            self.own = true;
        } else if [date.tomorrow(), date.yesterday()]
            .into_iter()
            .any(|beside| beside.ok() == Some(self.day))
        {
            count(&mut self.neighbours);
        } else {
            self.far = Some(date);
        }
    }

    pub(crate) fn check(&self) -> Result<(), BillError> {
        if self.own || (self.far.is_none() && self.neighbours <= STRANGERS_MAX) {
            return Ok(());
        }
        let what = match self.far {
            Some(date) => format!("no row is of {}, but one of {date}", self.day),
            None => format!("all rows are of a day beside {}", self.day),
        };
        Err(BillError::file(Reason::AnotherDay, what))
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn a_bill_is_of_its_day_though_single_rows_are_not() {
        let noon = |month, day| date(2026, month, day).at(12, 0, 0, 0);
        let few = vec![noon(10, 2); 16];
        let many = vec![noon(10, 4); 17];
        let mixed = [many.clone(), vec![noon(10, 3), noon(1, 1)]].concat();
        for (times, expected) in [
            (vec![], true),
            (vec![noon(10, 3)], true),
            (few, true),
            (many, false),
            (mixed, true),
            (vec![noon(10, 1)], false),
            (vec![noon(10, 4), noon(9, 3)], false),
        ] {
            let mut days = Days::new(date(2026, 10, 3));
            for time in &times {
                days.add(*time);
            }
            assert_eq!(days.check().is_ok(), expected, "{times:?}");
        }
    }

    #[test]
    fn a_total_is_as_exact_as_it_is_written() {
        for (text, unit) in [
            ("1", 100_000),
            ("1.0", 10_000),
            ("1.00", 1_000),
            ("1.00000", 1),
            ("1.000000", 1),
        ] {
            assert_eq!(unit_of(text), unit, "{text}");
        }
    }

    #[test]
    fn a_sum_does_not_wrap_around() {
        let mut sum = i64::MAX;
        assert!(add(&mut sum, 1).is_err());
    }
}
