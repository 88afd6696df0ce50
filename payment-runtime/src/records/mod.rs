//! Payments, refunds, callbacks and requests as they are recorded, and what one piece of evidence
//! does to a record: pure, so that every implementation of [`crate::ports::Records`] only has to
//! keep what comes out.
//!
//! Guarantees: facts are kept only of believed evidence and never overwritten by their absence;
//! every change of state comes with the event that explains it, every movement of money with its
//! ledger entries.

mod confirmation;
mod entry;
mod inbox;
mod payment;
mod refund;
mod request;

use std::time::Duration;

use jiff::Timestamp;
use payment_core::{Decision, PaymentState, RefundState, Source};

pub use confirmation::{
    Confirmation, ConfirmationCounts, ConfirmationState, Item, ReleasedConfirmation,
    begins_confirmation, confirmation_event, without_money,
};
pub use entry::{Entry, NewEntry, SYSTEM, opening, reposting};
pub use inbox::{InboxEntry, NewInboxEntry, SeenByChannel, SeenRefund};
pub use payment::{
    Applied, AttemptInserted, Change, Facts, Inserted, NewPayment, PaymentRecord, Step,
    apply_evidence, reopen,
};
pub use refund::{
    AppliedRefund, NewRefund, RefundChange, RefundFacts, RefundOrigin, RefundRecord, RefundStep,
    ReserveStep, ReservedRefund, apply_refund_evidence, reserve_refund,
};
pub use request::{Begun, Finish, Left, NewRequest, RequestKey, StoredAnswer, judge_repeat};

/// One line of a payment's history, about to be recorded. With a refund's number it is the
/// refund's line, and its states are the refund's.
#[derive(Clone, Debug)]
pub struct NewEvent {
    pub payment_no: String,
    pub at: Timestamp,
    /// Who says so: api, policy, paid-after-close, confirmation, reconciliation, or a [`Source`].
    pub source: &'static str,
    pub observation: &'static str,
    pub from: Option<&'static str>,
    pub to: &'static str,
    /// moved, kept, or why it was not believed.
    pub decision: &'static str,
    pub transaction_id: Option<String>,
    pub refund_no: Option<String>,
    pub detail: String,
}

/// One line of a payment's history.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub id: u64,
    pub at: Timestamp,
    pub source: String,
    pub observation: String,
    pub from: Option<String>,
    pub to: String,
    pub decision: String,
    pub transaction_id: Option<String>,
    pub refund_no: Option<String>,
    pub detail: String,
}

/// When a payment is looked at next, in the eyes of the worker that looked into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextLook {
    /// Then, unless it has ended meanwhile.
    At(Timestamp),
    /// As the evidence found on the way left it.
    AsRecorded,
    /// Never, if it is still closed or failed.
    Never,
}

impl NextLook {
    /// The record's own next look, after a worker gave it back.
    pub fn after(self, recorded: Option<Timestamp>, status: PaymentState) -> Option<Timestamp> {
        let ended = matches!(status, PaymentState::Closed | PaymentState::Failed);
        match self {
            // It ended in other hands meanwhile: that record's last look must not come early.
            Self::At(at) if ended => recorded.map(|recorded| recorded.max(at)),
            Self::At(at) => recorded.map(|_| at),
            Self::Never if ended => None,
            Self::Never | Self::AsRecorded => recorded,
        }
    }
}

/// A page of payments; `next` is the id to continue after.
#[derive(Debug)]
pub struct Page {
    pub payments: Vec<PaymentRecord>,
    pub next: Option<u64>,
}

/// How many payments and refunds are in each state that somebody must still end.
#[derive(Clone, Debug, Default)]
pub struct OpenCounts {
    pub payments: Vec<(PaymentState, u64)>,
    pub refunds: Vec<(RefundState, u64)>,
    /// Refunds stuck at the channel until a person acts there.
    pub refunds_needing_attention: u64,
}

/// Every change and every refusal is recorded; an answer that says nothing new is not, because the
/// polling ladder would fill the table with it.
fn is_worth_recording<State: Copy>(decision: Decision<State>, source: Source) -> bool {
    match decision {
        Decision::Move(_) | Decision::Reject(_) => true,
        Decision::Keep => source == Source::Callback,
    }
}

/// Details are bounded; what is cut off stands in the log.
fn shortened(detail: &str) -> String {
    detail.chars().take(512).collect()
}

/// `at` plus `pause`, without overflow.
pub fn after(at: Timestamp, pause: Duration) -> Timestamp {
    at.checked_add(pause).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker may hold a payment while other hands end it.
    #[test]
    fn the_last_look_of_an_ended_payment_never_comes_early() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let soon = NextLook::At(at(20));
        for ended in [PaymentState::Closed, PaymentState::Failed] {
            assert_eq!(soon.after(Some(at(86_400)), ended), Some(at(86_400)));
            assert_eq!(soon.after(Some(at(0)), ended), Some(at(20)));
            assert_eq!(NextLook::Never.after(Some(at(0)), ended), None);
        }
        assert_eq!(
            soon.after(Some(at(86_400)), PaymentState::Pending),
            Some(at(20))
        );
        assert_eq!(soon.after(None, PaymentState::Paid), None);
        // Charged while the worker thought it was over: its policy still has work.
        let late = PaymentState::PaidAfterClose;
        assert_eq!(NextLook::Never.after(Some(at(1)), late), Some(at(1)));
    }
}
