//! Compares the channel's bill with our records and the ledger: a merge of two sorted streams.
//!
//! Guarantees: every row of either side is counted exactly once, as matched or under one class;
//! memory does not grow with the length of the streams; the streams may be cut into pieces
//! anywhere between two numbers of ours and give the same outcomes.
//!
//! Deliberately not here: fetching either side, and what to do about a difference
//! (`correction`).

use std::cmp::Ordering;

use super::DifferenceClass;
use crate::Money;

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Payment,
    Refund,
}

impl Kind {
    pub const ALL: [Self; 2] = [Self::Payment, Self::Refund];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Payment => "payment",
            Self::Refund => "refund",
        }
    }

    /// The kind of that name, if there is one.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// What the bill says about a refund's fate. WeChat Pay's bills freeze it at the moment they are
/// made, so that it can be behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AtChannel {
    Done,
    Processing,
    Failed,
}

/// One row of the bill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BillEntry {
    /// What both sides know it by: the number we gave the order, or the refund.
    pub number: String,
    /// Face amount; positive on refunds too.
    pub amount: Money,
    /// What the fee is reckoned on: the settled amount.
    pub settled: Money,
    /// In 1e-5 of the currency's unit: positive when the channel keeps it.
    pub fee_1e5: i64,
    /// The row names another merchant or app than ours.
    pub foreign: bool,
    pub status: AtChannel,
}

/// How far a record of ours has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Settled {
    /// A payment that was charged, a refund that succeeded.
    Yes,
    /// Neither that, nor ended.
    NotYet,
    /// A payment that failed or was closed, a refund that failed or was reversed.
    Never,
}

/// One record of ours.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is found out by itself, and any of them may hold with any other"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnEntry {
    pub number: String,
    pub amount: Money,
    pub settled: Settled,
    /// Our records place it on this bill's day: its absence there is a difference.
    pub expected: bool,
    /// It stands on another accepted bill of the channel.
    pub on_another_bill: bool,
    /// The ledger shows what the record says.
    pub ledger_agrees: bool,
    /// Another attempt of its order was charged as well, and neither is given back.
    pub charged_twice: bool,
}

/// One difference, with what each side says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub class: DifferenceClass,
    pub number: String,
    pub ours: Option<OwnEntry>,
    pub bill: Option<BillEntry>,
}

/// The outcome for one row of the bill, or one record that is not on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compared {
    Matched { ours: OwnEntry, bill: BillEntry },
    Different(Difference),
}

/// The channel's fee by contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeeRate {
    /// Millionths of the settled amount.
    pub ppm: u32,
    /// What a row may be off by, in 1e-5 of the currency's unit.
    pub tolerance_1e5: u64,
}

impl FeeRate {
    fn fits(self, entry: &BillEntry) -> bool {
        let decimals = entry.settled.currency.exponent();
        let scale = 10_i128.pow(5_u32.saturating_sub(decimals));
        let settled_1e5 = i128::from(entry.settled.minor) * scale;
        let expected = settled_1e5 * i128::from(self.ppm) / 1_000_000;
        (expected - i128::from(entry.fee_1e5)).unsigned_abs() <= u128::from(self.tolerance_1e5)
    }
}

/// Compares rows of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compares {
    pub kind: Kind,
    /// `None`: fees are taken as they are.
    pub fee_rate: Option<FeeRate>,
}

impl Compares {
    /// Merges two pieces that are sorted by number (byte order) and reach to the same number.
    /// `last_on_bill` is the number that the piece before ended with: the same again is a
    /// duplicate. Records of ours that never took effect and are not on the bill say nothing and
    /// are skipped.
    pub fn merge(
        self,
        ours: Vec<OwnEntry>,
        bill: Vec<BillEntry>,
        mut last_on_bill: Option<String>,
    ) -> Vec<Compared> {
        let mut outcomes = Vec::with_capacity(bill.len());
        let mut ours = ours.into_iter().peekable();
        let mut bill = bill.into_iter().peekable();
        loop {
            if let Some(repeated) = bill.next_if(|b| last_on_bill.as_ref() == Some(&b.number)) {
                let class = DifferenceClass::Duplicate;
                outcomes.push(different(class, None, Some(repeated)));
                continue;
            }
            let order = match (ours.peek(), bill.peek()) {
                (None, None) => return outcomes,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(o), Some(b)) => o.number.cmp(&b.number),
            };
            let own = ours.next_if(|_| order != Ordering::Greater);
            let row = bill.next_if(|_| order != Ordering::Less);
            if let Some(row) = &row {
                last_on_bill = Some(row.number.clone());
            }
            outcomes.extend(self.judge(own, row));
        }
    }

    fn judge(self, own: Option<OwnEntry>, row: Option<BillEntry>) -> Option<Compared> {
        match (own, row) {
            (None, None) => None,
            (Some(own), None) => {
                let absent = own.settled == Settled::Yes && own.expected && !own.on_another_bill;
                let class = self.one_of(
                    DifferenceClass::MissingAtChannel,
                    DifferenceClass::RefundMissingAtChannel,
                );
                absent.then(|| different(class, Some(own), None))
            }
            (None, Some(row)) if row.foreign => {
                Some(different(DifferenceClass::Merchant, None, Some(row)))
            }
            (None, Some(row)) => {
                let class = self.one_of(
                    DifferenceClass::MissingWithUs,
                    DifferenceClass::RefundMissingWithUs,
                );
                Some(different(class, None, Some(row)))
            }
            (Some(ours), Some(bill)) => Some(match self.class_of(&ours, &bill) {
                None => Compared::Matched { ours, bill },
                Some(class) => different(class, Some(ours), Some(bill)),
            }),
        }
    }

    /// The gravest of what differs between two sides that both have it.
    fn class_of(self, ours: &OwnEntry, bill: &BillEntry) -> Option<DifferenceClass> {
        use DifferenceClass as Class;
        if bill.foreign {
            return Some(Class::Merchant);
        }
        if ours.amount.currency != bill.amount.currency {
            return Some(Class::Currency);
        }
        if ours.amount.minor != bill.amount.minor {
            return Some(self.one_of(Class::Amount, Class::RefundAmount));
        }
        if let Some(class) = self.class_of_states(ours.settled, bill.status) {
            return Some(class);
        }
        if ours.charged_twice {
            return Some(Class::DuplicateCharge);
        }
        if !ours.ledger_agrees {
            return Some(Class::Ledger);
        }
        let fee_fits = self.kind == Kind::Refund || self.fee_rate.is_none_or(|r| r.fits(bill));
        (!fee_fits).then_some(Class::Fee)
    }

    fn class_of_states(self, ours: Settled, bill: AtChannel) -> Option<DifferenceClass> {
        match (ours, bill) {
            (Settled::Yes, AtChannel::Done | AtChannel::Processing)
            | (Settled::Never, AtChannel::Failed) => None,
            (Settled::Yes, AtChannel::Failed) => Some(DifferenceClass::RefundStatus),
            (Settled::NotYet | Settled::Never, _) => Some(self.one_of(
                DifferenceClass::ShortByStatus,
                DifferenceClass::RefundShortByStatus,
            )),
        }
    }

    fn one_of(self, payment: DifferenceClass, refund: DifferenceClass) -> DifferenceClass {
        match self.kind {
            Kind::Payment => payment,
            Kind::Refund => refund,
        }
    }
}

fn different(class: DifferenceClass, ours: Option<OwnEntry>, bill: Option<BillEntry>) -> Compared {
    let number = ours.as_ref().map(|o| &o.number);
    let number = number.or(bill.as_ref().map(|b| &b.number));
    Compared::Different(Difference {
        class,
        number: number.cloned().unwrap_or_default(),
        ours,
        bill,
    })
}

#[cfg(test)]
mod tests;
