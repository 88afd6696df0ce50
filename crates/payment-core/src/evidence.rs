//! What a piece of evidence does to a payment: the transition table.
//!
//! The ladder of sources (bill > signed callback = signed query > synchronous answer > clock)
//! says who may decide: a clock may only ask, a synchronous answer cannot speak about money that
//! moved, and only the three verified sources end a payment.

use crate::guards::{Guard, holds};
use crate::{Money, PaymentState};

/// Where a piece of evidence comes from, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Our own clock or a crash found at start: nobody at the channel said anything.
    Clock,
    /// The answer to the call that created the order.
    SyncAnswer,
    /// A verified answer to a query (or to a close followed by a query).
    Query,
    /// A verified callback.
    Callback,
    /// A row of an accepted bill.
    Bill,
}

impl Source {
    pub const ALL: [Self; 5] = [
        Self::Clock,
        Self::SyncAnswer,
        Self::Query,
        Self::Callback,
        Self::Bill,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clock => "clock",
            Self::SyncAnswer => "answer",
            Self::Query => "query",
            Self::Callback => "callback",
            Self::Bill => "bill",
        }
    }
}

/// What the source saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Observation {
    /// The request surely did not reach the channel.
    NotSent,
    /// The channel declined, verified.
    Refused,
    /// The channel took the order and waits for the payer.
    Accepted,
    /// No verified answer.
    Unclear,
    /// The channel has no such order, and its visibility delay is over.
    NotFound,
    /// The channel charged this amount.
    Paid(Money),
    /// The order is closed at the channel and unpaid.
    Closed,
}

impl Observation {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotSent => "not-sent",
            Self::Refused => "refused",
            Self::Accepted => "accepted",
            Self::Unclear => "unclear",
            Self::NotFound => "not-found",
            Self::Paid(_) => "paid",
            Self::Closed => "closed",
        }
    }
}

/// One piece of evidence about one payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    pub source: Source,
    pub observation: Observation,
}

/// What follows from a piece of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<State = PaymentState> {
    /// The payment (or refund) enters another state.
    Move(State),
    /// Known already, or says nothing new.
    Keep,
    /// Recorded and not believed.
    Reject(Rejection),
}

impl<State> Decision<State> {
    /// The word under which a decision is recorded.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Move(_) => "moved",
            Self::Keep => "kept",
            Self::Reject(why) => why.as_str(),
        }
    }
}

/// Why evidence was not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The channel reports an amount or currency that is not ours: a person must look.
    AmountDiffers,
    /// A terminal state never goes back.
    AlreadyFinal,
    /// This source cannot show such a thing.
    SourceTooWeak,
}

impl Rejection {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AmountDiffers => "amount-differs",
            Self::AlreadyFinal => "already-final",
            Self::SourceTooWeak => "source-too-weak",
        }
    }
}

/// Decides what `evidence` does to a payment of `amount` in `state`.
pub fn decide(state: PaymentState, amount: Money, evidence: Evidence) -> Decision {
    match evidence.observation {
        Observation::Paid(charged) => on_paid(state, amount, charged, evidence.source),
        Observation::Closed => on_closed(state, evidence.source),
        Observation::NotFound => on_not_found(state, evidence.source),
        Observation::Accepted => on_accepted(state, evidence.source),
        Observation::NotSent | Observation::Refused => on_declined(state, evidence.source),
        Observation::Unclear => on_unclear(state),
    }
}

/// Whether another attempt for the same order may begin: only where it is proven that this one
/// charged nothing. Both states are entered by evidence alone.
pub fn may_try_again(state: PaymentState) -> bool {
    matches!(state, PaymentState::Failed | PaymentState::Closed)
        || (state.is_open() && !holds(Guard::AttemptNeedsProof))
}

fn on_paid(state: PaymentState, amount: Money, charged: Money, source: Source) -> Decision {
    use PaymentState as S;
    if source < Source::Query {
        return Decision::Reject(Rejection::SourceTooWeak);
    }
    if charged != amount && holds(Guard::AmountMustMatch) {
        return Decision::Reject(Rejection::AmountDiffers);
    }
    match state {
        S::Created | S::Submitting | S::Pending | S::Unknown => Decision::Move(S::Paid),
        S::Failed | S::Closed => Decision::Move(S::PaidAfterClose),
        S::Paid | S::PartlyRefunded | S::Refunded | S::PaidAfterClose => Decision::Keep,
    }
}

fn on_closed(state: PaymentState, source: Source) -> Decision {
    use PaymentState as S;
    if source < Source::Query {
        return Decision::Reject(Rejection::SourceTooWeak);
    }
    match state {
        S::Submitting | S::Pending | S::Unknown => Decision::Move(S::Closed),
        // The channel cannot have closed what it was never asked for.
        S::Created => Decision::Reject(Rejection::SourceTooWeak),
        S::Closed | S::Failed => Decision::Keep,
        S::Paid | S::PartlyRefunded | S::Refunded | S::PaidAfterClose => too_late_for(S::Closed),
    }
}

/// A terminal state stays, whatever a weaker or older message says.
fn too_late_for(next: PaymentState) -> Decision {
    if holds(Guard::TerminalIsFinal) {
        Decision::Reject(Rejection::AlreadyFinal)
    } else {
        Decision::Move(next)
    }
}

/// "No such order" ends a payment only when nobody can have been charged: the caller passes it
/// only after the visibility delay and a successful close.
fn on_not_found(state: PaymentState, source: Source) -> Decision {
    use PaymentState as S;
    if source != Source::Query {
        return Decision::Reject(Rejection::SourceTooWeak);
    }
    match state {
        S::Submitting | S::Unknown => Decision::Move(S::Failed),
        S::Pending => Decision::Move(S::Closed),
        S::Created => Decision::Reject(Rejection::SourceTooWeak),
        S::Closed | S::Failed => Decision::Keep,
        S::Paid | S::PartlyRefunded | S::Refunded | S::PaidAfterClose => {
            Decision::Reject(Rejection::AlreadyFinal)
        }
    }
}

fn on_accepted(state: PaymentState, source: Source) -> Decision {
    use PaymentState as S;
    if source == Source::Clock {
        return Decision::Reject(Rejection::SourceTooWeak);
    }
    match state {
        S::Submitting | S::Unknown => Decision::Move(S::Pending),
        S::Pending => Decision::Keep,
        S::Created => Decision::Reject(Rejection::SourceTooWeak),
        // The payer was faster than the answer to our call.
        S::Paid | S::PartlyRefunded | S::Refunded | S::PaidAfterClose
            if source == Source::SyncAnswer =>
        {
            Decision::Keep
        }
        S::Paid | S::Failed | S::Closed | S::PartlyRefunded | S::Refunded | S::PaidAfterClose => {
            too_late_for(S::Pending)
        }
    }
}

/// A decline answers the one call of SUBMITTING. Once the outcome was unknown, an earlier try of
/// the same order may have gone through, so a decline of a later one proves nothing.
fn on_declined(state: PaymentState, source: Source) -> Decision {
    use PaymentState as S;
    if source != Source::SyncAnswer {
        return Decision::Reject(Rejection::SourceTooWeak);
    }
    match state {
        S::Submitting => Decision::Move(S::Failed),
        S::Failed => Decision::Keep,
        S::Unknown if !holds(Guard::DeclineProvesOneCall) => Decision::Move(S::Failed),
        S::Created | S::Pending | S::Unknown => Decision::Reject(Rejection::SourceTooWeak),
        S::Paid | S::Closed | S::PartlyRefunded | S::Refunded | S::PaidAfterClose => {
            Decision::Reject(Rejection::AlreadyFinal)
        }
    }
}

fn on_unclear(state: PaymentState) -> Decision {
    use PaymentState as S;
    match state {
        S::Submitting if holds(Guard::NoAnswerIsUnknown) => Decision::Move(S::Unknown),
        S::Submitting => Decision::Move(S::Failed),
        S::Created
        | S::Pending
        | S::Unknown
        | S::Paid
        | S::Failed
        | S::Closed
        | S::PartlyRefunded
        | S::Refunded
        | S::PaidAfterClose => Decision::Keep,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::Currency;

    const OURS: Money = Money::new(9999, Currency::CNY);

    fn observations() -> [(&'static str, Observation); 8] {
        [
            ("not-sent", Observation::NotSent),
            ("refused", Observation::Refused),
            ("accepted", Observation::Accepted),
            ("unclear", Observation::Unclear),
            ("not-found", Observation::NotFound),
            ("paid", Observation::Paid(OURS)),
            (
                "paid-other",
                Observation::Paid(Money::new(1, Currency::CNY)),
            ),
            ("closed", Observation::Closed),
        ]
    }

    fn every_pair() -> impl Iterator<Item = (PaymentState, &'static str, Evidence)> {
        PaymentState::ALL.into_iter().flat_map(|state| {
            observations()
                .into_iter()
                .flat_map(move |(name, observation)| {
                    Source::ALL.into_iter().map(move |source| {
                        (
                            state,
                            name,
                            Evidence {
                                source,
                                observation,
                            },
                        )
                    })
                })
        })
    }

    /// The whole table, one line a pair: a changed decision shows as a changed line.
    #[test]
    fn the_transition_table_is_what_the_snapshot_says() {
        let mut table = String::new();
        for (state, name, evidence) in every_pair() {
            let decision = match decide(state, OURS, evidence) {
                Decision::Move(next) => format!("-> {next}"),
                Decision::Keep => "keep".to_owned(),
                Decision::Reject(why) => format!("reject {}", why.as_str()),
            };
            writeln!(
                table,
                "{state:<16} {:<8} {name:<10} {decision}",
                evidence.source.as_str()
            )
            .unwrap();
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn the_clock_never_ends_a_payment() {
        for (state, name, evidence) in every_pair().filter(|(.., e)| e.source == Source::Clock) {
            if let Decision::Move(next) = decide(state, OURS, evidence) {
                assert_eq!(next, PaymentState::Unknown, "{state} {name}");
            }
        }
    }

    #[test]
    fn what_was_charged_never_becomes_uncharged() {
        for (state, name, evidence) in every_pair().filter(|(state, ..)| state.was_charged()) {
            if let Decision::Move(next) = decide(state, OURS, evidence) {
                assert!(next.was_charged(), "{state} {name} -> {next}");
            }
        }
    }

    #[test]
    fn only_verified_sources_show_a_charge() {
        for (state, name, evidence) in every_pair() {
            if let Decision::Move(next) = decide(state, OURS, evidence)
                && next.was_charged()
            {
                assert!(evidence.source >= Source::Query, "{state} {name}");
            }
        }
    }

    #[test]
    fn unknown_ends_only_by_verified_evidence() {
        for (state, name, evidence) in every_pair() {
            if state == PaymentState::Unknown
                && let Decision::Move(next) = decide(state, OURS, evidence)
            {
                let verified = evidence.source >= Source::Query || next == PaymentState::Pending;
                assert!(
                    verified,
                    "{name} from {} -> {next}",
                    evidence.source.as_str()
                );
            }
        }
    }
}
