//! Compares the channel's bill with our records: a merge of two sorted streams.
//!
//! Guarantees: every row of either side is counted exactly once, as matched or as a difference;
//! memory does not grow with the length of the streams.
//!
//! Deliberately not here: fetching either side, and what to do about a difference.

use std::cmp::Ordering;

use crate::{Money, PaymentState};

/// One charge on the channel's bill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BillEntry {
    pub channel_order_no: String,
    pub amount: Money,
}

/// One payment of ours that concerns the bill's day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnEntry {
    pub channel_order_no: String,
    pub amount: Money,
    pub state: PaymentState,
}

/// In what the two sides differ. Names are part of the API, the database and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DifferenceClass {
    /// On the bill; our payment is not charged.
    ShortByStatus,
    /// On the bill; we have no such payment.
    MissingWithUs,
    /// We say charged; the bill does not have it.
    MissingAtChannel,
    /// Both have it, with different amounts.
    Amount,
    /// Both have it, in different currencies.
    Currency,
    /// On the bill twice.
    Duplicate,
}

impl DifferenceClass {
    pub const ALL: [Self; 6] = [
        Self::ShortByStatus,
        Self::MissingWithUs,
        Self::MissingAtChannel,
        Self::Amount,
        Self::Currency,
        Self::Duplicate,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ShortByStatus => "short-by-status",
            Self::MissingWithUs => "missing-with-us",
            Self::MissingAtChannel => "missing-at-channel",
            Self::Amount => "amount",
            Self::Currency => "currency",
            Self::Duplicate => "duplicate",
        }
    }
}

/// One difference, with what each side says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub class: DifferenceClass,
    pub channel_order_no: String,
    pub ours: Option<OwnEntry>,
    pub bill: Option<BillEntry>,
}

/// The outcome for one order number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compared {
    Matched(Money),
    Different(Difference),
}

/// Merges two streams that are sorted by order number (byte order). Our entries that were never
/// charged and are not on the bill say nothing and are skipped.
pub fn compare<'a>(
    ours: impl IntoIterator<Item = OwnEntry> + 'a,
    bill: impl IntoIterator<Item = BillEntry> + 'a,
) -> impl Iterator<Item = Compared> + 'a {
    let mut ours = ours.into_iter().peekable();
    let mut bill = bill.into_iter().peekable();
    let mut last_on_bill: Option<String> = None;
    std::iter::from_fn(move || {
        loop {
            if let Some(repeated) =
                bill.next_if(|b| last_on_bill.as_ref() == Some(&b.channel_order_no))
            {
                return Some(different(DifferenceClass::Duplicate, None, Some(repeated)));
            }
            let order = match (ours.peek(), bill.peek()) {
                (None, None) => return None,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(o), Some(b)) => o.channel_order_no.cmp(&b.channel_order_no),
            };
            let own = if order == Ordering::Greater {
                None
            } else {
                ours.next()
            };
            let row = if order == Ordering::Less {
                None
            } else {
                bill.next()
            };
            if let Some(row) = &row {
                last_on_bill = Some(row.channel_order_no.clone());
            }
            if let Some(compared) = judge(own, row) {
                return Some(compared);
            }
        }
    })
}

fn judge(own: Option<OwnEntry>, row: Option<BillEntry>) -> Option<Compared> {
    match (own, row) {
        (None, None) => None,
        (Some(own), None) if !own.state.was_charged() => None,
        (Some(own), None) => Some(different(
            DifferenceClass::MissingAtChannel,
            Some(own),
            None,
        )),
        (None, Some(row)) => Some(different(DifferenceClass::MissingWithUs, None, Some(row))),
        (Some(own), Some(row)) => Some(judge_pair(own, row)),
    }
}

fn judge_pair(own: OwnEntry, row: BillEntry) -> Compared {
    let class = if own.amount.currency != row.amount.currency {
        DifferenceClass::Currency
    } else if own.amount.minor != row.amount.minor {
        DifferenceClass::Amount
    } else if !own.state.was_charged() {
        DifferenceClass::ShortByStatus
    } else {
        return Compared::Matched(row.amount);
    };
    different(class, Some(own), Some(row))
}

fn different(class: DifferenceClass, ours: Option<OwnEntry>, bill: Option<BillEntry>) -> Compared {
    let number = ours.as_ref().map(|o| &o.channel_order_no);
    let number = number.or(bill.as_ref().map(|b| &b.channel_order_no));
    let channel_order_no = number.cloned().unwrap_or_default();
    Compared::Different(Difference {
        class,
        channel_order_no,
        ours,
        bill,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Currency;

    fn own(number: &str, minor: i64, state: PaymentState) -> OwnEntry {
        let amount = Money::new(minor, Currency::CNY);
        OwnEntry {
            channel_order_no: number.to_owned(),
            amount,
            state,
        }
    }

    fn row(number: &str, minor: i64) -> BillEntry {
        let amount = Money::new(minor, Currency::CNY);
        BillEntry {
            channel_order_no: number.to_owned(),
            amount,
        }
    }

    fn classes(ours: Vec<OwnEntry>, bill: Vec<BillEntry>) -> Vec<String> {
        compare(ours, bill)
            .map(|compared| match compared {
                Compared::Matched(money) => format!("matched {money}"),
                Compared::Different(d) => format!("{} {}", d.channel_order_no, d.class.as_str()),
            })
            .collect()
    }

    #[test]
    fn every_class_is_found_beside_what_matches() {
        use PaymentState::{Closed, Paid, Pending};
        let ours = vec![
            own("a", 1, Paid),
            own("b", 2, Pending),
            own("d", 4, Paid),
            own("e", 5, Paid),
            own("f", 6, Closed),
            own("g", 7, Paid),
        ];
        let mut bill = vec![
            row("a", 1),
            row("b", 2),
            row("c", 3),
            row("e", 50),
            row("g", 7),
        ];
        bill.push(row("g", 7));
        let mut dollar = row("h", 8);
        dollar.amount.currency = Currency::parse("USD").unwrap();
        bill.push(dollar);
        let mut ours = ours;
        ours.push(own("h", 8, Paid));
        assert_eq!(
            classes(ours, bill),
            [
                "matched 0.01 CNY",
                "b short-by-status",
                "c missing-with-us",
                "d missing-at-channel",
                "e amount",
                "matched 0.07 CNY",
                "g duplicate",
                "h currency",
            ]
        );
    }

    proptest! {
        #[test]
        fn every_bill_row_is_counted_exactly_once(
            mut ours in prop::collection::vec(0_u8..50, 0..40),
            mut bill in prop::collection::vec(0_u8..50, 0..40),
        ) {
            ours.sort_unstable();
            ours.dedup();
            bill.sort_unstable();
            let rows = bill.len();
            let ours = ours.iter().map(|n| own(&format!("{n:02}"), 1, PaymentState::Paid)).collect::<Vec<_>>();
            let bill = bill.iter().map(|n| row(&format!("{n:02}"), 1)).collect::<Vec<_>>();
            let on_bill = compare(ours, bill)
                .filter(|c| !matches!(c, Compared::Different(d) if d.class == DifferenceClass::MissingAtChannel))
                .count();
            prop_assert_eq!(on_bill, rows);
        }
    }
}
