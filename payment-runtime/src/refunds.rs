//! What is done with a refund: reserve it, ask the channel for it, find out how it ended.
//!
//! Guarantees: the amount is reserved and the intent durable before the channel hears of it; a
//! refund is only ever asked for under its own number, so asking again cannot give money twice;
//! what the channel says becomes evidence and goes through the refund table.
//!
//! Deliberately not here: when to ask (`worker`), money that came too late (`late`).

use channels::{NewRefund as RefundCall, Outcome, RefundState as AtChannel, RefundStatus};
use payment_core::guards::holds;
use payment_core::ladder::VISIBILITY_DELAY;
use payment_core::{
    Decision, Guard, Money, RefundEvidence, RefundObservation, RefundState, Source,
};

use crate::payments::{PayError, Payments};
use crate::ports::StoreError;
use crate::records::{
    NewRefund, PaymentRecord, RefundChange, RefundFacts, RefundOrigin, RefundRecord,
    ReservedRefund, SeenRefund, after,
};

/// A checked request for a refund.
#[derive(Clone, Debug)]
pub struct RefundRequest {
    pub refund_no: String,
    pub amount: Money,
    pub reason: Option<String>,
    /// SHA-256 of the canonical request: tells a repeat from a conflict.
    pub request_hash: String,
    pub origin: RefundOrigin,
}

/// How a request came to its refund.
#[derive(Debug)]
pub struct Refunded {
    pub refund: RefundRecord,
    pub repeated: bool,
}

impl Payments {
    /// Begins a refund: exactly one for each number of a payment.
    pub async fn refund(
        &self,
        payment: PaymentRecord,
        request: &RefundRequest,
    ) -> Result<Refunded, PayError> {
        let payment = self.ask_before_acting(payment).await?;
        let now = self.now();
        let new = NewRefund {
            payment_no: payment.payment_no,
            refund_no: request.refund_no.clone(),
            channel_refund_no: self.host.new_id(),
            amount: request.amount,
            reason: request.reason.clone(),
            request_hash: request.request_hash.clone(),
            origin: request.origin,
            next_question_at: self.call_is_over_at(now),
            now,
        };
        match self.records.reserve_refund(&new).await? {
            ReservedRefund::New(refund) if refund.status == RefundState::Submitting => {
                Ok(Refunded {
                    refund: self.submit_refund(refund).await?,
                    repeated: false,
                })
            }
            ReservedRefund::New(refund) => Ok(Refunded {
                refund,
                repeated: false,
            }),
            ReservedRefund::Existing(refund) if refund.request_hash == new.request_hash => {
                Ok(Refunded {
                    refund,
                    repeated: true,
                })
            }
            ReservedRefund::Existing(refund) => Err(PayError::RefundReused {
                refund_no: refund.refund_no,
            }),
            ReservedRefund::Refused(why) => Err(why.into()),
        }
    }

    /// Asks the channel for a refund, or again under the same number.
    async fn submit_refund(&self, refund: RefundRecord) -> Result<RefundRecord, PayError> {
        let channel = self.channel(refund.channel)?;
        let number = if refund.question_count == 0 || holds(Guard::RefundKeepsItsNumber) {
            refund.channel_refund_no.clone()
        } else {
            self.host.new_id()
        };
        let call = RefundCall {
            channel_order_no: refund.channel_order_no.clone(),
            channel_refund_no: number,
            amount: refund.amount,
            total: refund.payment_amount,
            reason: refund.reason.clone(),
            notify_url: self.callback_url(refund.channel),
        };
        let call = channel.refund(&call, self.now());
        let outcome = self.measured(refund.channel, "refund", call).await;
        let (observation, facts) = answered(&refund, outcome);
        self.apply_refund(&refund, Source::SyncAnswer, observation, facts)
            .await
    }

    /// Finds out where an open refund stands, and asks for it again if the channel surely does
    /// not have it.
    pub async fn ask_refund(&self, refund: RefundRecord) -> Result<RefundRecord, PayError> {
        if refund.status == RefundState::Created {
            return self.submit_when_due(refund).await;
        }
        let refund = self.give_up_waiting_for(refund).await?;
        let channel = self.channel(refund.channel)?;
        let query = channel.query_refund(
            &refund.channel_order_no,
            &refund.channel_refund_no,
            self.now(),
        );
        let outcome = self.measured(refund.channel, "refund-query", query).await;
        let Outcome::Done(status) = outcome else {
            return Ok(refund);
        };
        if status.state == AtChannel::NotFound {
            return self.submit_if_surely_absent(refund).await;
        }
        let (observation, facts) = seen(&refund, &status);
        self.apply_refund(&refund, Source::Query, observation, facts)
            .await
    }

    async fn submit_when_due(&self, refund: RefundRecord) -> Result<RefundRecord, PayError> {
        let facts = RefundFacts::default();
        let refund = self
            .apply_refund(&refund, Source::Clock, RefundObservation::Due, facts)
            .await?;
        if refund.status == RefundState::Submitting {
            return self.submit_refund(refund).await;
        }
        Ok(refund)
    }

    /// The caller of a refund still in SUBMITTING is gone: its outcome is unknown from now on.
    async fn give_up_waiting_for(&self, refund: RefundRecord) -> Result<RefundRecord, PayError> {
        if refund.status != RefundState::Submitting {
            return Ok(refund);
        }
        let facts = RefundFacts {
            detail: "nobody waits for the answer".into(),
            ..RefundFacts::default()
        };
        self.apply_refund(&refund, Source::Clock, RefundObservation::Unclear, facts)
            .await
    }

    /// "No such refund" counts once the channel must show what it took.
    async fn submit_if_surely_absent(
        &self,
        refund: RefundRecord,
    ) -> Result<RefundRecord, PayError> {
        let visible = after(refund.updated_at, VISIBILITY_DELAY) <= self.now();
        if refund.status != RefundState::Unknown || !visible {
            return Ok(refund);
        }
        let facts = RefundFacts::default();
        let refund = self
            .apply_refund(&refund, Source::Query, RefundObservation::NotFound, facts)
            .await?;
        if refund.status == RefundState::Submitting {
            return self.submit_refund(refund).await;
        }
        Ok(refund)
    }

    /// What a verified status of the channel means for a refund.
    pub(crate) async fn apply_refund_status(
        &self,
        refund: &RefundRecord,
        status: &RefundStatus,
        source: Source,
    ) -> Result<RefundRecord, PayError> {
        let (observation, facts) = seen(refund, status);
        self.apply_refund(refund, source, observation, facts).await
    }

    /// What a verified callback says about a refund.
    pub async fn apply_seen_refund(
        &self,
        refund: &RefundRecord,
        said: &SeenRefund,
    ) -> Result<Decision<RefundState>, PayError> {
        let status = RefundStatus {
            state: said.state,
            channel_refund_id: said.channel_refund_id.clone(),
            amount: said.amount,
            refunded_at: said.refunded_at,
        };
        let (observation, facts) = seen(refund, &status);
        let change = self.refund_change(refund, Source::Callback, observation, facts);
        Ok(self.record_refund(refund, &change).await?.1)
    }

    async fn apply_refund(
        &self,
        refund: &RefundRecord,
        source: Source,
        observation: RefundObservation,
        facts: RefundFacts,
    ) -> Result<RefundRecord, PayError> {
        let change = self.refund_change(refund, source, observation, facts);
        Ok(self.record_refund(refund, &change).await?.0)
    }

    fn refund_change(
        &self,
        refund: &RefundRecord,
        source: Source,
        observation: RefundObservation,
        facts: RefundFacts,
    ) -> RefundChange {
        RefundChange {
            evidence: RefundEvidence {
                source,
                observation,
            },
            facts,
            next_question_at: after(self.now(), self.pause_before(refund.question_count)),
            now: self.now(),
        }
    }

    /// Records evidence, counts and logs what follows from it.
    async fn record_refund(
        &self,
        refund: &RefundRecord,
        change: &RefundChange,
    ) -> Result<(RefundRecord, Decision<RefundState>), StoreError> {
        let applied = self
            .records
            .apply_refund(&refund.payment_no, &refund.refund_no, change)
            .await?;
        let (payment_no, refund_no) = (&refund.payment_no, &refund.refund_no);
        let source = change.evidence.source.as_str();
        match applied.decision {
            Decision::Move(state) => {
                self.metrics.refund_entered(refund.channel, state);
                tracing::info!(%payment_no, %refund_no, source, %state, "refund moved");
                if state == RefundState::Reversed {
                    tracing::error!(%payment_no, %refund_no, "a refund was undone by the channel");
                }
            }
            Decision::Keep => {}
            Decision::Reject(why) => {
                let why = why.as_str();
                tracing::warn!(%payment_no, %refund_no, source, why, "evidence was not believed");
            }
        }
        if applied.refund.attention && !refund.attention {
            tracing::error!(%payment_no, %refund_no, "a refund is stuck until a person acts at the channel");
        }
        Ok((applied.refund, applied.decision))
    }
}

/// What the answer to a refund call shows.
fn answered(
    refund: &RefundRecord,
    outcome: Outcome<RefundStatus>,
) -> (RefundObservation, RefundFacts) {
    let (observation, detail) = match outcome {
        Outcome::Done(status) => return seen(refund, &status),
        Outcome::Refused(refusal) => (
            if refusal.sent {
                RefundObservation::Refused
            } else {
                RefundObservation::NotSent
            },
            format!("{}: {}", refusal.code, refusal.message),
        ),
        Outcome::Unknown(why) => (
            RefundObservation::Unclear,
            format!("{}: {}", why.reason.as_str(), why.detail),
        ),
    };
    let facts = RefundFacts {
        detail,
        ..RefundFacts::default()
    };
    (observation, facts)
}

/// What a verified status of the channel shows. Where the channel tells no amount of this refund
/// alone, its number stands for it: it was asked for with that amount.
fn seen(refund: &RefundRecord, status: &RefundStatus) -> (RefundObservation, RefundFacts) {
    let observation = match status.state {
        AtChannel::NotFound => RefundObservation::Unclear,
        AtChannel::Processing => RefundObservation::Accepted,
        AtChannel::Succeeded => {
            RefundObservation::Succeeded(status.amount.unwrap_or(refund.amount))
        }
        AtChannel::Failed => RefundObservation::Failed,
        AtChannel::Abnormal => RefundObservation::Abnormal,
    };
    let facts = RefundFacts {
        channel_refund_id: status.channel_refund_id.clone(),
        refunded_at: status.refunded_at,
        detail: String::new(),
    };
    (observation, facts)
}
