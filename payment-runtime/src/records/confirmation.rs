//! The confirmation of a charged payment with the order service, as it is recorded.

use jiff::Timestamp;
use payment_core::PaymentState;
use payment_core::confirmation::Refusal;
use serde::{Deserialize, Serialize};

use super::{NewEvent, PaymentRecord};

/// One thing that is bought, so many times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    pub product_id: String,
    pub quantity: u32,
}

/// Where a confirmation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfirmationState {
    /// Charged, and the order service has not taken it yet.
    Waiting,
    /// The order is paid.
    Confirmed,
    /// The order will never be paid by this payment: its money goes back.
    Refused,
}

impl ConfirmationState {
    pub const ALL: [Self; 3] = [Self::Waiting, Self::Confirmed, Self::Refused];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Confirmed => "confirmed",
            Self::Refused => "refused",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// A confirmation that a worker holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmation {
    pub payment_no: String,
    /// As a plain read shows it: `Confirmed` may yet be rolled back, `Refused` is final.
    pub state: ConfirmationState,
    /// Looks so far, this one included.
    pub attempts: u32,
    /// Tries so far that the order service did not answer clearly.
    pub asked: u32,
}

/// How a worker gives a confirmation back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReleasedConfirmation {
    /// When it is looked at again; `None`: nothing is left to do.
    pub next_try_at: Option<Timestamp>,
    /// Why this look came to nothing.
    pub problem: String,
    /// The order service did not answer clearly.
    pub asked: bool,
    /// A person decides about the money of a refused payment.
    pub attention: bool,
}

/// How many confirmations somebody must still end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConfirmationCounts {
    pub waiting: u64,
    pub oldest: Option<Timestamp>,
    /// Refused, and nothing is done with the money unless a person does it.
    pub needing_attention: u64,
}

/// Whether this step of a payment begins its confirmation: it is charged now, was not before, and
/// is not money that came too late.
pub fn begins_confirmation(before: PaymentState, after: PaymentState) -> bool {
    let counts = |state: PaymentState| state.was_charged() && state != PaymentState::PaidAfterClose;
    counts(after) && !counts(before)
}

/// The line in a payment's history that tells how its confirmation ended; `reason`: why it was
/// refused.
pub fn confirmation_event(
    payment: &PaymentRecord,
    reason: Option<&str>,
    now: Timestamp,
) -> NewEvent {
    NewEvent {
        payment_no: payment.payment_no.clone(),
        at: now,
        source: "confirmation",
        observation: if reason.is_some() {
            "refused"
        } else {
            "confirmed"
        },
        from: Some(payment.status.as_str()),
        to: payment.status.as_str(),
        decision: "kept",
        transaction_id: None,
        refund_no: None,
        detail: reason.unwrap_or_default().to_owned(),
    }
}

/// How the confirmation of a payment that can no longer be confirmed ends.
pub fn without_money(payment: &PaymentRecord) -> Option<Refusal> {
    let asked_back = payment.reserved.minor >= payment.amount.minor;
    (asked_back || !payment.status.was_charged()).then_some(Refusal::Refunded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confirmation_begins_when_a_payment_is_charged_and_only_then() {
        use PaymentState::{Closed, PaidAfterClose, PartlyRefunded, Pending, Refunded, Unknown};
        let paid = PaymentState::Paid;
        for before in [Pending, Unknown, PaidAfterClose] {
            assert!(begins_confirmation(before, paid), "{before}");
        }
        for (before, after) in [
            (paid, paid),
            (PartlyRefunded, paid),
            (Refunded, PartlyRefunded),
            (Closed, PaidAfterClose),
            (Pending, Unknown),
            (paid, Refunded),
        ] {
            assert!(!begins_confirmation(before, after), "{before} {after}");
        }
    }
}
