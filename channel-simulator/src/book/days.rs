//! What stands in which day's bill.

use jiff::civil::Date;

use super::{Book, Charge, Payment, Refund};

/// One line of a day.
#[derive(Clone, Debug)]
pub(crate) enum DayEntry {
    Paid(Charge, Payment),
    Refunded(Charge, Refund),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineKind {
    Payment,
    Refund,
}

#[derive(Debug)]
pub(super) enum DayKey {
    Charge(String),
    Refund(String),
}

impl DayKey {
    const fn kind(&self) -> LineKind {
        match self {
            Self::Charge(_) => LineKind::Payment,
            Self::Refund(_) => LineKind::Refund,
        }
    }
}

impl Book {
    /// Paid charges and accepted refunds of one Beijing day, in the order they happened.
    pub(crate) fn day(&self, day: Date) -> Vec<DayEntry> {
        self.days
            .get(&day)
            .into_iter()
            .flatten()
            .filter_map(|key| self.day_entry(key))
            .collect()
    }

    /// Moves a day's first line of a kind to the next day's bill, for ever.
    pub(crate) fn postpone_first(&mut self, day: Date, kind: LineKind) {
        let Ok(next) = day.tomorrow() else {
            return;
        };
        let lines = self.days.entry(day).or_default();
        let first = lines.iter().position(|key| key.kind() == kind);
        if let Some(line) = first.map(|index| lines.remove(index)) {
            self.days.entry(next).or_default().insert(0, line);
        }
    }

    fn day_entry(&self, key: &DayKey) -> Option<DayEntry> {
        match key {
            DayKey::Charge(number) => {
                let charge = self.charges.get(number)?;
                Some(DayEntry::Paid(charge.clone(), charge.payment()?.clone()))
            }
            DayKey::Refund(key) => {
                let refund = self.refunds.get(key)?;
                let charge = self.charges.get(&refund.out_trade_no)?;
                Some(DayEntry::Refunded(charge.clone(), refund.clone()))
            }
        }
    }
}
