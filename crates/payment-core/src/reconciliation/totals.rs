//! Sums of a comparison, and the proof that nothing was left out of it.

use std::collections::BTreeMap;

use super::{Compared, DifferenceClass, Kind};
use crate::{Currency, Money};

/// Rows and minor units of one side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    pub our_rows: u64,
    pub our_minor: i128,
    pub bill_rows: u64,
    pub bill_minor: i128,
}

impl Line {
    fn add(&mut self, ours: Option<Money>, bill: Option<Money>) {
        if let Some(ours) = ours {
            self.our_rows += 1;
            self.our_minor += i128::from(ours.minor);
        }
        if let Some(bill) = bill {
            self.bill_rows += 1;
            self.bill_minor += i128::from(bill.minor);
        }
    }

    fn plus(&mut self, other: &Self) {
        self.our_rows += other.our_rows;
        self.our_minor += other.our_minor;
        self.bill_rows += other.bill_rows;
        self.bill_minor += other.bill_minor;
    }
}

/// What was compared, by kind, class (`None`: matched) and currency.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals(pub BTreeMap<(Kind, Option<DifferenceClass>, String), Line>);

/// Σ matched + Σ differences beside Σ bill, for one kind and currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    pub kind: Kind,
    pub currency: String,
    pub matched: Line,
    pub differences: Line,
    /// What the bill itself adds up to.
    pub bill_rows: u64,
    pub bill_minor: i128,
}

impl Proof {
    pub const fn holds(&self) -> bool {
        self.matched.bill_rows + self.differences.bill_rows == self.bill_rows
            && self.matched.bill_minor + self.differences.bill_minor == self.bill_minor
    }
}

impl Totals {
    /// Counts one outcome. Both sides of a difference may be in different currencies: each side
    /// is counted under its own.
    pub fn add(&mut self, kind: Kind, compared: &Compared) {
        let (class, ours, bill) = match compared {
            Compared::Matched { ours, bill } => (None, Some(ours.amount), Some(bill.amount)),
            Compared::Different(d) => (
                Some(d.class),
                d.ours.as_ref().map(|ours| ours.amount),
                d.bill.as_ref().map(|bill| bill.amount),
            ),
        };
        let mut line = |currency: Currency, ours, bill| {
            let key = (kind, class, currency.code().to_owned());
            self.0.entry(key).or_default().add(ours, bill);
        };
        match (ours, bill) {
            (Some(ours), Some(bill)) if ours.currency == bill.currency => {
                line(ours.currency, Some(ours), Some(bill));
            }
            (ours, bill) => {
                if let Some(ours) = ours {
                    line(ours.currency, Some(ours), None);
                }
                if let Some(bill) = bill {
                    line(bill.currency, None, Some(bill));
                }
            }
        }
    }

    pub fn plus(&mut self, other: &Self) {
        for (key, line) in &other.0 {
            self.0.entry(key.clone()).or_default().plus(line);
        }
    }

    pub fn matched(&self) -> u64 {
        let matched = self.0.iter().filter(|((_, class, _), _)| class.is_none());
        matched.map(|(_, line)| line.bill_rows).sum()
    }

    /// Holds the outcomes against what the bill's own rows add up to.
    pub fn proofs(&self, bill: &BTreeMap<(Kind, String), (u64, i128)>) -> Vec<Proof> {
        let mut proofs: BTreeMap<(Kind, String), Proof> = BTreeMap::new();
        let empty = |kind: Kind, currency: &str| Proof {
            kind,
            currency: currency.to_owned(),
            matched: Line::default(),
            differences: Line::default(),
            bill_rows: 0,
            bill_minor: 0,
        };
        for ((kind, class, currency), line) in &self.0 {
            let proof = proofs
                .entry((*kind, currency.clone()))
                .or_insert_with(|| empty(*kind, currency));
            match class {
                None => proof.matched.plus(line),
                Some(_) => proof.differences.plus(line),
            }
        }
        for ((kind, currency), (rows, minor)) in bill {
            let proof = proofs
                .entry((*kind, currency.clone()))
                .or_insert_with(|| empty(*kind, currency));
            (proof.bill_rows, proof.bill_minor) = (*rows, *minor);
        }
        proofs.into_values().collect()
    }
}
