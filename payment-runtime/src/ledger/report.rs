//! What a check of the ledger found.

use std::fmt;

use serde::Serialize;

/// Violations that are told one by one; all are counted.
const LISTED_MAX: usize = 100;

/// The kind of something that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// A sealed entry, or its seal, is not what was sealed.
    Altered,
    /// A sealed entry is gone.
    EntryMissing,
    /// A seal is gone, or stands where none belongs.
    SealMissing,
    /// The end of a chain is not where its shard says.
    ChainEnd,
    /// An entry is neither sealed nor waiting for it.
    Unsealed,
    /// The queue names an entry that is not there, or is sealed.
    Queue,
    /// An entry is not one that this program writes.
    Malformed,
    /// A balance is not the sum of its entries.
    Balance,
    /// The balances of a currency do not sum to zero.
    CurrencySum,
    /// A payment's entries are not what its record says.
    Position,
    /// Entries of a payment that has no record.
    NoRecord,
}

impl Finding {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Altered => "altered",
            Self::EntryMissing => "entry-missing",
            Self::SealMissing => "seal-missing",
            Self::ChainEnd => "chain-end",
            Self::Unsealed => "unsealed",
            Self::Queue => "queue",
            Self::Malformed => "malformed",
            Self::Balance => "balance",
            Self::CurrencySum => "currency-sum",
            Self::Position => "position",
            Self::NoRecord => "no-record",
        }
    }
}

/// One thing that is wrong: what, where, and what was seen there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Violation {
    pub finding: Finding,
    pub place: String,
    pub detail: String,
}

/// The end of one shard's chain. Whoever keeps these elsewhere can tell later whether a whole
/// chain was written anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    pub shard: u8,
    pub sequence: u64,
    pub hash: String,
}

/// What a check saw and what it found wrong.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LedgerReport {
    pub entries: u64,
    pub sealed: u64,
    /// Entries that wait for their seal.
    pub waiting: u64,
    pub payments: u64,
    pub heads: Vec<Head>,
    /// All violations, counted.
    pub violation_count: u64,
    /// The first hundred.
    pub violations: Vec<Violation>,
}

impl LedgerReport {
    pub const fn is_clean(&self) -> bool {
        self.violation_count == 0
    }

    pub(super) fn found(
        &mut self,
        finding: Finding,
        place: impl fmt::Display,
        detail: impl fmt::Display,
    ) {
        self.violation_count += 1;
        if self.violations.len() < LISTED_MAX {
            self.violations.push(Violation {
                finding,
                place: place.to_string(),
                detail: detail.to_string(),
            });
        }
    }
}

impl fmt::Display for LedgerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} entries, {} sealed, {} waiting for their seal; {} payments",
            self.entries, self.sealed, self.waiting, self.payments
        )?;
        for head in &self.heads {
            writeln!(
                f,
                "shard {}: {} seals, the last is {}",
                head.shard, head.sequence, head.hash
            )?;
        }
        for violation in &self.violations {
            let name = violation.finding.as_str();
            writeln!(f, "{name}: {}: {}", violation.place, violation.detail)?;
        }
        let listed = self.violations.len() as u64;
        if self.violation_count > listed {
            writeln!(f, "and {} more", self.violation_count - listed)?;
        }
        match self.violation_count {
            0 => write!(f, "the ledger is sound"),
            n => write!(f, "the ledger is NOT sound: {n} violations"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_lists_a_hundred_and_counts_all() {
        let mut report = LedgerReport::default();
        for n in 0..150 {
            report.found(Finding::Altered, format!("entry {n}"), "another amount");
        }
        let text = report.to_string();
        assert_eq!(
            (report.violations.len(), report.violation_count),
            (100, 150)
        );
        assert!(text.contains("altered: entry 7: another amount"), "{text}");
        assert!(text.contains("and 50 more"), "{text}");
        assert!(!report.is_clean());
    }
}
