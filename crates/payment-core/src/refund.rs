//! Refunds: their states, what evidence does to them, how much may be refunded, and what a refund
//! does to its payment.
//!
//! The ladder of sources is the payments' own, with one difference: a refund is idempotent on its
//! number at both channels, so "no such refund" leads back to asking again under the same number,
//! and a signed answer to that call may end it.

use std::fmt;

use crate::evidence::{Decision, Rejection, Source};
use crate::guards::{Guard, holds};
use crate::{Money, PaymentState};

/// Where a refund stands. Names are part of the API and of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefundState {
    /// Its amount is reserved; the channel is asked later, because it wants a pause between two
    /// refunds of one payment.
    Created,
    /// The intent to call the channel is durable; the call may or may not have happened.
    Submitting,
    /// The channel took it and has not finished.
    Pending,
    /// A call was made and its outcome is not known.
    Unknown,
    Succeeded,
    /// Surely not refunded, and nothing at the channel that could still be.
    Failed,
    /// Succeeded once, undone by the channel later.
    Reversed,
}

impl RefundState {
    pub const ALL: [Self; 7] = [
        Self::Created,
        Self::Submitting,
        Self::Pending,
        Self::Unknown,
        Self::Succeeded,
        Self::Failed,
        Self::Reversed,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "CREATED",
            Self::Submitting => "SUBMITTING",
            Self::Pending => "PENDING",
            Self::Unknown => "UNKNOWN",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Reversed => "REVERSED",
        }
    }

    /// The state of that name, if there is one.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Whether somebody still has to find out how this refund ends.
    pub const fn is_open(self) -> bool {
        match self {
            Self::Created | Self::Submitting | Self::Pending | Self::Unknown => true,
            Self::Succeeded | Self::Failed | Self::Reversed => false,
        }
    }

    /// Whether its amount counts against what may still be refunded.
    pub const fn holds_amount(self) -> bool {
        match self {
            Self::Created | Self::Submitting | Self::Pending | Self::Unknown | Self::Succeeded => {
                true
            }
            Self::Failed | Self::Reversed => false,
        }
    }
}

impl fmt::Display for RefundState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a source saw of a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefundObservation {
    /// Our clock: the pause after the refund before is over.
    Due,
    /// The request surely did not reach the channel.
    NotSent,
    /// The channel declined this call, verified.
    Refused,
    /// The channel took it and works on it.
    Accepted,
    /// No verified answer.
    Unclear,
    /// The channel has no such refund, and its visibility delay is over.
    NotFound,
    /// The channel gave this amount back.
    Succeeded(Money),
    /// The channel ended it without giving anything back.
    Failed,
    /// Stuck at the channel until a person acts there.
    Abnormal,
}

impl RefundObservation {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::NotSent => "not-sent",
            Self::Refused => "refused",
            Self::Accepted => "accepted",
            Self::Unclear => "unclear",
            Self::NotFound => "not-found",
            Self::Succeeded(_) => "succeeded",
            Self::Failed => "failed",
            Self::Abnormal => "abnormal",
        }
    }
}

/// One piece of evidence about one refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefundEvidence {
    pub source: Source,
    pub observation: RefundObservation,
}

/// Decides what `evidence` does to a refund of `amount` in `state`.
pub fn decide_refund(
    state: RefundState,
    amount: Money,
    evidence: RefundEvidence,
) -> Decision<RefundState> {
    let source = evidence.source;
    match evidence.observation {
        RefundObservation::Due => on_due(state, source),
        RefundObservation::NotSent => on_not_sent(state, source),
        RefundObservation::Refused => on_refused(state, source),
        RefundObservation::Accepted => on_accepted(state, source),
        RefundObservation::Unclear => on_unclear(state),
        RefundObservation::NotFound => on_not_found(state, source),
        RefundObservation::Succeeded(given) => on_succeeded(state, amount, given, source),
        RefundObservation::Failed => on_failed(state, source),
        RefundObservation::Abnormal => on_abnormal(state, source),
    }
}

fn on_due(state: RefundState, source: Source) -> Decision<RefundState> {
    match state {
        RefundState::Created if source == Source::Clock => Decision::Move(RefundState::Submitting),
        _ => Decision::Keep,
    }
}

/// The same number is simply sent again later, so "surely not sent" ends nothing.
fn on_not_sent(state: RefundState, source: Source) -> Decision<RefundState> {
    if source != Source::SyncAnswer {
        return Decision::Reject(Rejection::SourceTooWeak);
    }
    match state {
        RefundState::Created
        | RefundState::Submitting
        | RefundState::Pending
        | RefundState::Unknown => Decision::Keep,
        RefundState::Succeeded | RefundState::Failed | RefundState::Reversed => {
            Decision::Reject(Rejection::AlreadyFinal)
        }
    }
}

fn on_refused(state: RefundState, source: Source) -> Decision<RefundState> {
    if source != Source::SyncAnswer {
        return Decision::Reject(Rejection::SourceTooWeak);
    }
    match state {
        RefundState::Submitting => Decision::Move(RefundState::Failed),
        RefundState::Failed => Decision::Keep,
        // An earlier call under this number may have gone through: only a query tells.
        RefundState::Created | RefundState::Pending | RefundState::Unknown => {
            Decision::Reject(Rejection::SourceTooWeak)
        }
        RefundState::Succeeded | RefundState::Reversed => Decision::Reject(Rejection::AlreadyFinal),
    }
}

fn on_accepted(state: RefundState, source: Source) -> Decision<RefundState> {
    if source == Source::Clock {
        return Decision::Reject(Rejection::SourceTooWeak);
    }
    match state {
        RefundState::Submitting | RefundState::Unknown => Decision::Move(RefundState::Pending),
        RefundState::Pending => Decision::Keep,
        RefundState::Created => Decision::Reject(Rejection::SourceTooWeak),
        // The callback was faster than the answer to our call.
        RefundState::Succeeded | RefundState::Reversed if source == Source::SyncAnswer => {
            Decision::Keep
        }
        RefundState::Succeeded | RefundState::Failed | RefundState::Reversed => {
            Decision::Reject(Rejection::AlreadyFinal)
        }
    }
}

fn on_unclear(state: RefundState) -> Decision<RefundState> {
    match state {
        RefundState::Submitting => Decision::Move(RefundState::Unknown),
        RefundState::Created
        | RefundState::Pending
        | RefundState::Unknown
        | RefundState::Succeeded
        | RefundState::Failed
        | RefundState::Reversed => Decision::Keep,
    }
}

/// Surely not taken yet: the intent stands, and the same number is sent again.
fn on_not_found(state: RefundState, source: Source) -> Decision<RefundState> {
    if source != Source::Query {
        return Decision::Reject(Rejection::SourceTooWeak);
    }
    match state {
        RefundState::Unknown => Decision::Move(RefundState::Submitting),
        RefundState::Created
        | RefundState::Submitting
        | RefundState::Pending
        | RefundState::Failed
        | RefundState::Reversed => Decision::Keep,
        RefundState::Succeeded => Decision::Reject(Rejection::AlreadyFinal),
    }
}

fn on_succeeded(
    state: RefundState,
    amount: Money,
    given: Money,
    source: Source,
) -> Decision<RefundState> {
    if source == Source::Clock {
        return Decision::Reject(Rejection::SourceTooWeak);
    }
    if given != amount && holds(Guard::AmountMustMatch) {
        return Decision::Reject(Rejection::AmountDiffers);
    }
    match state {
        RefundState::Created
        | RefundState::Submitting
        | RefundState::Pending
        | RefundState::Unknown
        // Money moved although we had given the refund up: what moved is the truth.
        | RefundState::Failed => Decision::Move(RefundState::Succeeded),
        RefundState::Succeeded => Decision::Keep,
        RefundState::Reversed => Decision::Reject(Rejection::AlreadyFinal),
    }
}

fn on_failed(state: RefundState, source: Source) -> Decision<RefundState> {
    if source == Source::Clock {
        return Decision::Reject(Rejection::SourceTooWeak);
    }
    match state {
        RefundState::Submitting | RefundState::Pending | RefundState::Unknown => {
            Decision::Move(RefundState::Failed)
        }
        RefundState::Created => Decision::Reject(Rejection::SourceTooWeak),
        RefundState::Succeeded if source >= Source::Query => Decision::Move(RefundState::Reversed),
        RefundState::Succeeded => Decision::Reject(Rejection::AlreadyFinal),
        RefundState::Failed | RefundState::Reversed => Decision::Keep,
    }
}

fn on_abnormal(state: RefundState, source: Source) -> Decision<RefundState> {
    if source == Source::Clock {
        return Decision::Reject(Rejection::SourceTooWeak);
    }
    match state {
        RefundState::Submitting | RefundState::Unknown => Decision::Move(RefundState::Pending),
        RefundState::Pending => Decision::Keep,
        RefundState::Created => Decision::Reject(Rejection::SourceTooWeak),
        RefundState::Succeeded | RefundState::Failed | RefundState::Reversed => {
            Decision::Reject(Rejection::AlreadyFinal)
        }
    }
}

/// Refunds of one payment at most (WeChat Pay's limit; Alipay names none).
pub const REFUNDS_MAX: u32 = 50;

/// What of a payment is spoken for by refunds, in minor units of its currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reserved {
    /// Refunds that succeeded or still may.
    pub minor: i64,
    /// Refunds ever begun.
    pub count: u32,
}

/// Why a refund may not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReserveError {
    #[error("the payment is {0} and holds no money to give back")]
    NotCharged(PaymentState),
    #[error("a refund must be in the payment's currency")]
    CurrencyDiffers,
    #[error("a refund must be greater than zero")]
    NotPositive,
    #[error("at most {refundable_minor} minor units can still be refunded")]
    TooMuch { refundable_minor: i64 },
    #[error("a payment takes at most {REFUNDS_MAX} refunds")]
    TooMany,
}

/// Whether `wanted` may be refunded from a payment of `amount` in `state`, of which `reserved` is
/// spoken for. The caller holds the payment's row, so that two refunds cannot pass together.
pub fn may_refund(
    state: PaymentState,
    amount: Money,
    reserved: Reserved,
    wanted: Money,
) -> Result<(), ReserveError> {
    let charged = matches!(
        state,
        PaymentState::Paid | PaymentState::PartlyRefunded | PaymentState::PaidAfterClose
    );
    if wanted.currency != amount.currency {
        return Err(ReserveError::CurrencyDiffers);
    }
    if wanted.minor <= 0 {
        return Err(ReserveError::NotPositive);
    }
    if state == PaymentState::Refunded {
        return Err(ReserveError::TooMuch {
            refundable_minor: 0,
        });
    }
    if !charged {
        return Err(ReserveError::NotCharged(state));
    }
    let refundable_minor = amount.minor.saturating_sub(reserved.minor).max(0);
    if wanted.minor > refundable_minor && holds(Guard::ReserveBeforeRefund) {
        return Err(ReserveError::TooMuch { refundable_minor });
    }
    if reserved.count >= REFUNDS_MAX {
        return Err(ReserveError::TooMany);
    }
    Ok(())
}

/// The state of a charged payment of which `refunded_minor` was given back. `given_up`: the charge
/// came after we had closed or failed the payment, and nobody reopened it; such a payment stays
/// PAID_AFTER_CLOSE until all of it is given back.
pub const fn state_after_refunds(
    amount_minor: i64,
    refunded_minor: i64,
    given_up: bool,
) -> PaymentState {
    if refunded_minor >= amount_minor {
        PaymentState::Refunded
    } else if given_up {
        PaymentState::PaidAfterClose
    } else if refunded_minor > 0 {
        PaymentState::PartlyRefunded
    } else {
        PaymentState::Paid
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::Currency;

    const OURS: Money = Money::new(500, Currency::CNY);

    fn observations() -> [(&'static str, RefundObservation); 10] {
        use RefundObservation as O;
        [
            ("due", O::Due),
            ("not-sent", O::NotSent),
            ("refused", O::Refused),
            ("accepted", O::Accepted),
            ("unclear", O::Unclear),
            ("not-found", O::NotFound),
            ("succeeded", O::Succeeded(OURS)),
            (
                "succeeded-other",
                O::Succeeded(Money::new(1, Currency::CNY)),
            ),
            ("failed", O::Failed),
            ("abnormal", O::Abnormal),
        ]
    }

    fn every_pair() -> Vec<(RefundState, &'static str, RefundEvidence)> {
        let mut pairs = Vec::new();
        for state in RefundState::ALL {
            for (name, observation) in observations() {
                for source in Source::ALL {
                    let evidence = RefundEvidence {
                        source,
                        observation,
                    };
                    pairs.push((state, name, evidence));
                }
            }
        }
        pairs
    }

    /// The whole table, one line a pair: a changed decision shows as a changed line.
    #[test]
    fn the_refund_table_is_what_the_snapshot_says() {
        let mut table = String::new();
        for (state, name, evidence) in every_pair() {
            let decision = match decide_refund(state, OURS, evidence) {
                Decision::Move(next) => format!("-> {next}"),
                Decision::Keep => "keep".to_owned(),
                Decision::Reject(why) => format!("reject {}", why.as_str()),
            };
            let source = evidence.source.as_str();
            writeln!(table, "{state:<10} {source:<8} {name:<15} {decision}").unwrap();
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn the_clock_never_ends_a_refund() {
        for (state, name, evidence) in every_pair() {
            if evidence.source == Source::Clock
                && let Decision::Move(next) = decide_refund(state, OURS, evidence)
            {
                assert!(next.is_open(), "{state} {name} -> {next}");
            }
        }
    }

    #[test]
    fn what_was_given_back_is_undone_only_by_a_verified_source() {
        for (state, name, evidence) in every_pair() {
            if state == RefundState::Succeeded
                && let Decision::Move(next) = decide_refund(state, OURS, evidence)
            {
                assert_eq!(next, RefundState::Reversed, "{name}");
                assert!(evidence.source >= Source::Query, "{name}");
            }
        }
    }

    #[test]
    fn refunds_together_never_exceed_the_payment() {
        let reserved = |minor, count| Reserved { minor, count };
        let may = |state, taken, wanted| {
            may_refund(state, OURS, taken, Money::new(wanted, Currency::CNY))
        };
        assert_eq!(may(PaymentState::Paid, reserved(0, 0), 500), Ok(()));
        assert_eq!(
            may(PaymentState::PartlyRefunded, reserved(300, 1), 200),
            Ok(())
        );
        assert_eq!(
            may(PaymentState::PartlyRefunded, reserved(300, 1), 201),
            Err(ReserveError::TooMuch {
                refundable_minor: 200
            })
        );
        assert_eq!(
            may(PaymentState::Paid, reserved(0, REFUNDS_MAX), 1),
            Err(ReserveError::TooMany)
        );
        assert_eq!(
            may(PaymentState::Unknown, reserved(0, 0), 1),
            Err(ReserveError::NotCharged(PaymentState::Unknown))
        );
        assert_eq!(
            may(PaymentState::Paid, reserved(0, 0), 0),
            Err(ReserveError::NotPositive)
        );
        let dollars = Money::new(1, Currency::parse("USD").unwrap());
        assert_eq!(
            may_refund(PaymentState::Paid, OURS, reserved(0, 0), dollars),
            Err(ReserveError::CurrencyDiffers)
        );
    }

    #[test]
    fn a_payment_follows_the_sum_of_its_refunds() {
        assert_eq!(state_after_refunds(500, 0, false), PaymentState::Paid);
        assert_eq!(
            state_after_refunds(500, 0, true),
            PaymentState::PaidAfterClose
        );
        assert_eq!(
            state_after_refunds(500, 1, true),
            PaymentState::PaidAfterClose
        );
        assert_eq!(
            state_after_refunds(500, 1, false),
            PaymentState::PartlyRefunded
        );
        assert_eq!(state_after_refunds(500, 500, false), PaymentState::Refunded);
    }
}
