//! The checks that keep money safe, by name.
//!
//! Guarantees: in a normal build every guard holds and costs nothing: [`holds`] is constantly
//! true. With the feature `switchable-guards`, which only the simulation uses, one guard at a time
//! can be switched off in the calling thread, to show that the simulation notices.
//!
//! Deliberately not here: the guarded code. Each guard stands where it decides.

/// One check without which money could be lost, doubled or silently wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guard {
    /// One payment for each order and attempt: the unique key decides.
    OnePaymentPerOrder,
    /// No answer is no decline: it leaves the payment UNKNOWN.
    NoAnswerIsUnknown,
    /// A decline speaks of its own call, not of an earlier one that nobody heard back from.
    DeclineProvesOneCall,
    /// A charge of another amount or currency is not believed.
    AmountMustMatch,
    /// A terminal state is never overwritten by a lower one.
    TerminalIsFinal,
    /// A close counts only with a query after it that still says unpaid.
    CloseIsVerified,
    /// A callback counts only with a fitting signature.
    CallbackIsVerified,
    /// A callback is acknowledged only after it was committed.
    KeepBeforeAcknowledging,
    /// A refund reserves its amount before the channel is asked.
    ReserveBeforeRefund,
    /// A refund is asked for again only under its own number.
    RefundKeepsItsNumber,
    /// Another attempt needs proof that the one before charged nothing.
    AttemptNeedsProof,
    /// Money that came after we gave up is dealt with, not only noted.
    LateMoneyIsHandled,
    /// Whoever knows the key but sends another body is refused.
    KeyBindsBody,
    /// One request of a key at a time.
    OneRequestPerKey,
    /// An answer under a key is stored before it is sent.
    AnswerIsStored,
    /// What is unknown is asked about until it is known.
    UnknownIsAsked,
    /// A bill whose end is missing or wrong counts for nothing, not for what could be read of it.
    BillCountsWhole,
    /// A difference is corrected on the channel's fresh word, never on silence.
    CorrectionNeedsFreshEvidence,
    /// What is booked for a difference is booked once, however often it is looked at.
    CorrectionOnce,
}

impl Guard {
    pub const ALL: [Self; 19] = [
        Self::OnePaymentPerOrder,
        Self::NoAnswerIsUnknown,
        Self::DeclineProvesOneCall,
        Self::AmountMustMatch,
        Self::TerminalIsFinal,
        Self::CloseIsVerified,
        Self::CallbackIsVerified,
        Self::KeepBeforeAcknowledging,
        Self::ReserveBeforeRefund,
        Self::RefundKeepsItsNumber,
        Self::AttemptNeedsProof,
        Self::LateMoneyIsHandled,
        Self::KeyBindsBody,
        Self::OneRequestPerKey,
        Self::AnswerIsStored,
        Self::UnknownIsAsked,
        Self::BillCountsWhole,
        Self::CorrectionNeedsFreshEvidence,
        Self::CorrectionOnce,
    ];
}

/// Whether the guard holds; constantly true unless built for the simulation.
#[cfg(not(feature = "switchable-guards"))]
#[inline]
pub const fn holds(_guard: Guard) -> bool {
    true
}

#[cfg(feature = "switchable-guards")]
mod switch {
    use std::cell::Cell;

    use super::Guard;

    thread_local! {
        static OFF: Cell<Option<Guard>> = const { Cell::new(None) };
    }

    /// Whether the guard holds in this thread.
    pub fn holds(guard: Guard) -> bool {
        OFF.get() != Some(guard)
    }

    /// Switches one guard off in this thread, or all of them on.
    pub fn switch_off(guard: Option<Guard>) {
        OFF.set(guard);
    }
}

#[cfg(feature = "switchable-guards")]
pub use switch::{holds, switch_off};
