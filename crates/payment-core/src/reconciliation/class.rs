//! The classes of differences.

use std::fmt;

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
    /// A row of the bill names another merchant or app than ours.
    Merchant,
    /// The same number stands on the bill more than once.
    Duplicate,
    /// The order was charged by more than one of its attempts, and none is given back.
    DuplicateCharge,
    /// The channel kept more or less than its contract says.
    Fee,
    /// Bill and record agree, the ledger does not.
    Ledger,
    /// The refund is on the bill; ours has not succeeded.
    RefundShortByStatus,
    /// The refund is on the bill; we have no such refund.
    RefundMissingWithUs,
    /// Our refund succeeded; the bill does not have it.
    RefundMissingAtChannel,
    /// Both have the refund, with different amounts.
    RefundAmount,
    /// Our refund succeeded; the bill says that it failed.
    RefundStatus,
}

impl DifferenceClass {
    pub const ALL: [Self; 15] = [
        Self::ShortByStatus,
        Self::MissingWithUs,
        Self::MissingAtChannel,
        Self::Amount,
        Self::Currency,
        Self::Merchant,
        Self::Duplicate,
        Self::DuplicateCharge,
        Self::Fee,
        Self::Ledger,
        Self::RefundShortByStatus,
        Self::RefundMissingWithUs,
        Self::RefundMissingAtChannel,
        Self::RefundAmount,
        Self::RefundStatus,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ShortByStatus => "short-by-status",
            Self::MissingWithUs => "missing-with-us",
            Self::MissingAtChannel => "missing-at-channel",
            Self::Amount => "amount",
            Self::Currency => "currency",
            Self::Merchant => "merchant",
            Self::Duplicate => "duplicate",
            Self::DuplicateCharge => "duplicate-charge",
            Self::Fee => "fee",
            Self::Ledger => "ledger",
            Self::RefundShortByStatus => "refund-short-by-status",
            Self::RefundMissingWithUs => "refund-missing-with-us",
            Self::RefundMissingAtChannel => "refund-missing-at-channel",
            Self::RefundAmount => "refund-amount",
            Self::RefundStatus => "refund-status",
        }
    }

    /// The class of that name, if there is one.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == name)
    }

    /// What the class means, in a sentence for the person who has to deal with it.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::ShortByStatus => "The channel charged; our payment is not recorded as charged.",
            Self::MissingWithUs => "The channel charged for an order that we do not know.",
            Self::MissingAtChannel => "We recorded a charge that is not on the channel's bill.",
            Self::Amount => "The channel charged another amount than we recorded.",
            Self::Currency => "The channel charged in another currency than we recorded.",
            Self::Merchant => "The bill names another merchant or app than ours.",
            Self::Duplicate => "The bill has the same number more than once.",
            Self::DuplicateCharge => "The payer was charged more than once for one order.",
            Self::Fee => "The channel's fee is not what its contract says.",
            Self::Ledger => "Bill and payment agree; the ledger shows something else.",
            Self::RefundShortByStatus => {
                "The channel gave money back; our refund is not recorded as succeeded."
            }
            Self::RefundMissingWithUs => "The channel gave money back that we never refunded.",
            Self::RefundMissingAtChannel => {
                "We recorded a refund that is not on the channel's bill."
            }
            Self::RefundAmount => "The channel gave back another amount than we recorded.",
            Self::RefundStatus => "We recorded a refund as succeeded; the bill says it failed.",
        }
    }
}

impl fmt::Display for DifferenceClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for class in DifferenceClass::ALL {
            assert_eq!(DifferenceClass::parse(class.as_str()), Some(class));
        }
    }
}
