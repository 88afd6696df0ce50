//! The states of a payment.

use std::fmt;

/// Where a payment stands. Names are part of the API and of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PaymentState {
    /// Recorded; the channel has not been asked for anything.
    Created,
    /// The intent to call the channel is durable; the call may or may not have happened.
    Submitting,
    /// The channel holds the order and waits for the payer.
    Pending,
    /// A call was made and its outcome is not known. Only the channel's evidence ends this.
    Unknown,
    Paid,
    /// Surely not charged, and nothing at the channel that could still be.
    Failed,
    /// Closed at the channel and seen unpaid afterwards.
    Closed,
    PartlyRefunded,
    Refunded,
    /// The channel charged although we had closed or failed the payment: money to give back.
    PaidAfterClose,
}

impl PaymentState {
    pub const ALL: [Self; 10] = [
        Self::Created,
        Self::Submitting,
        Self::Pending,
        Self::Unknown,
        Self::Paid,
        Self::Failed,
        Self::Closed,
        Self::PartlyRefunded,
        Self::Refunded,
        Self::PaidAfterClose,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "CREATED",
            Self::Submitting => "SUBMITTING",
            Self::Pending => "PENDING",
            Self::Unknown => "UNKNOWN",
            Self::Paid => "PAID",
            Self::Failed => "FAILED",
            Self::Closed => "CLOSED",
            Self::PartlyRefunded => "PARTLY_REFUNDED",
            Self::Refunded => "REFUNDED",
            Self::PaidAfterClose => "PAID_AFTER_CLOSE",
        }
    }

    /// The state of that name, if there is one.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether somebody still has to find out how this payment ends.
    pub const fn is_open(self) -> bool {
        match self {
            Self::Created | Self::Submitting | Self::Pending | Self::Unknown => true,
            Self::Paid
            | Self::Failed
            | Self::Closed
            | Self::PartlyRefunded
            | Self::Refunded
            | Self::PaidAfterClose => false,
        }
    }

    /// Whether the channel charged the payer, as far as we know.
    pub const fn was_charged(self) -> bool {
        match self {
            Self::Paid | Self::PartlyRefunded | Self::Refunded | Self::PaidAfterClose => true,
            Self::Created
            | Self::Submitting
            | Self::Pending
            | Self::Unknown
            | Self::Failed
            | Self::Closed => false,
        }
    }
}

impl fmt::Display for PaymentState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
