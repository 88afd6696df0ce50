//! What is done with a payment: record it, call the channel, apply what was learnt.
//!
//! Guarantees: the payment is durable before the channel hears of it; every channel answer becomes
//! evidence and goes through the transition table; no answer is ever taken as "not charged"
//! unless it proves that; another attempt begins only where the one before is proven uncharged.
//!
//! Deliberately not here: HTTP of our own (`api`, `callback`), when to ask (`worker`), refunds
//! (`refunds`), money that came too late (`late`).

mod asking;
mod placing;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use channels::{Created, NewOrder, OrderState, OrderStatus, Outcome};
use contract::RuntimeConfig;
use jiff::Timestamp;
use payment_core::ladder::pause_before;
use payment_core::refund::ReserveError;
use payment_core::{ChannelKind, Decision, Evidence, Observation, PaymentState, Source};

use crate::ports::{Host, OrderCache, PayChannel, PayChannels, Records, StoreError};
use crate::records::{Applied, Change, Facts, Finish, PaymentRecord, after};
use crate::telemetry::Metrics;

pub use asking::Asked;
pub use placing::{Attempt, Attempted, Keyed, Order, Placed};

/// A worker takes over what another process began once its channel call must be over.
const TAKE_OVER_MARGIN: Duration = Duration::from_secs(3);

/// What every role needs to work on payments.
pub struct Payments {
    pub config: RuntimeConfig,
    pub records: Arc<dyn Records>,
    pub cache: Option<Arc<dyn OrderCache>>,
    pub channels: Arc<dyn PayChannels>,
    pub host: Arc<dyn Host>,
    pub metrics: Metrics,
}

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum PayError {
    #[error("order {order_id} was requested before with other contents")]
    OrderReused { order_id: String },
    #[error("refund {refund_no} was requested before with other contents")]
    RefundReused { refund_no: String },
    #[error("channel {0} is not configured")]
    ChannelMissing(ChannelKind),
    #[error(transparent)]
    RefundRefused(#[from] ReserveError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Payments {
    pub(crate) fn channel(&self, kind: ChannelKind) -> Result<Arc<dyn PayChannel>, PayError> {
        self.channels
            .get(kind)
            .ok_or(PayError::ChannelMissing(kind))
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.host.now()
    }

    /// When a call that begins now is over, whoever made it.
    pub(crate) fn call_is_over_at(&self, now: Timestamp) -> Timestamp {
        let call = Duration::from_millis(self.config.channels.total_timeout_milliseconds);
        after(now, call + TAKE_OVER_MARGIN)
    }

    pub(crate) fn callback_url(&self, kind: ChannelKind) -> String {
        let path = match kind {
            ChannelKind::Wechat => contract::names::WECHAT_CALLBACK_PATH,
            ChannelKind::Alipay => contract::names::ALIPAY_CALLBACK_PATH,
        };
        let base = self.config.channels.callback_base_url.trim_end_matches('/');
        format!("{base}{path}")
    }

    /// Calls the channel for a recorded payment and applies its answer.
    async fn submit(
        &self,
        channel: &dyn PayChannel,
        payment: PaymentRecord,
        finish: Option<&Finish<'_>>,
    ) -> Result<Applied, PayError> {
        let order = NewOrder {
            channel_order_no: payment.channel_order_no.clone(),
            method: payment.method,
            amount: payment.amount,
            subject: payment.subject.clone(),
            notify_url: self.callback_url(payment.channel),
            expires_at: payment.expires_at,
            payer: payment.payer.clone(),
        };
        let call = channel.create(&order, self.now());
        let outcome = self.measured(payment.channel, "create", call).await;
        let (observation, facts) = created(outcome);
        let evidence = Evidence {
            source: Source::SyncAnswer,
            observation,
        };
        Ok(self.apply(&payment, evidence, facts, finish).await?)
    }

    /// Applies evidence, counts and logs what follows from it.
    async fn apply(
        &self,
        payment: &PaymentRecord,
        evidence: Evidence,
        facts: Facts,
        finish: Option<&Finish<'_>>,
    ) -> Result<Applied, StoreError> {
        let now = self.now();
        let change = Change {
            evidence,
            facts,
            next_question_at: self.next_question(payment),
            now,
        };
        let records = &self.records;
        let applied = records.apply(&payment.payment_no, &change, finish).await?;
        let (payment_no, source) = (&applied.payment.payment_no, evidence.source.as_str());
        match applied.decision {
            Decision::Move(state) => {
                self.metrics.payment_entered(payment.channel, state);
                tracing::info!(%payment_no, source, %state, "payment moved");
                if state == PaymentState::PaidAfterClose {
                    tracing::error!(%payment_no, source, "charged after it was given up");
                }
            }
            Decision::Keep => {}
            Decision::Reject(why) => {
                let why = why.as_str();
                tracing::warn!(%payment_no, source, why, "evidence was not believed");
            }
        }
        Ok(applied)
    }

    async fn learn(
        &self,
        payment: &PaymentRecord,
        source: Source,
        observation: Observation,
    ) -> Result<PaymentRecord, PayError> {
        let evidence = Evidence {
            source,
            observation,
        };
        let applied = self
            .apply(payment, evidence, Facts::default(), None)
            .await?;
        Ok(applied.payment)
    }

    /// What a verified status of the channel (query or callback) means for the payment.
    pub async fn apply_status(
        &self,
        payment: &PaymentRecord,
        status: &OrderStatus,
        source: Source,
    ) -> Result<Applied, StoreError> {
        let observation = match status.state {
            OrderState::Paid | OrderState::Refunded => {
                Observation::Paid(status.amount.unwrap_or(payment.amount))
            }
            OrderState::Closed => Observation::Closed,
            OrderState::NotPaid => Observation::Accepted,
            OrderState::NotFound => Observation::Unclear,
        };
        let facts = Facts {
            transaction_id: status.transaction_id.clone(),
            paid_at: status.paid_at,
            ..Facts::default()
        };
        let evidence = Evidence {
            source,
            observation,
        };
        self.apply(payment, evidence, facts, None).await
    }

    /// The next rung of the polling ladder, or the expiry if that comes first.
    pub(crate) fn next_question(&self, payment: &PaymentRecord) -> Timestamp {
        let now = self.now();
        let next = after(now, self.pause_before(payment.question_count));
        let expiry = after(payment.expires_at, Duration::from_secs(1));
        if expiry > now { next.min(expiry) } else { next }
    }

    pub(crate) fn pause_before(&self, question_count: u32) -> Duration {
        let jitter = u32::try_from(self.host.random() & 0xffff).unwrap_or_default();
        pause_before(question_count, jitter)
    }

    pub(crate) async fn measured<T>(
        &self,
        kind: ChannelKind,
        operation: &'static str,
        call: impl Future<Output = Outcome<T>>,
    ) -> Outcome<T> {
        let started = Instant::now();
        let outcome = call.await;
        let name = match &outcome {
            Outcome::Done(_) => "done",
            Outcome::Refused(refusal) => {
                let (code, message) = (&refusal.code, &refusal.message);
                tracing::warn!(channel = %kind, operation, code, message, "the channel refused");
                "refused"
            }
            Outcome::Unknown(uncertainty) => {
                let (reason, detail) = (uncertainty.reason.as_str(), &uncertainty.detail);
                tracing::warn!(channel = %kind, operation, reason, detail, "no verified answer");
                "unknown"
            }
        };
        self.metrics
            .channel_answered(kind, operation, name, started.elapsed());
        outcome
    }
}

/// What the answer to a create call shows.
fn created(outcome: Outcome<Created>) -> (Observation, Facts) {
    let (observation, action, detail) = match outcome {
        Outcome::Done(created) => (Observation::Accepted, Some(created.action), String::new()),
        Outcome::Refused(refusal) => (
            if refusal.sent {
                Observation::Refused
            } else {
                Observation::NotSent
            },
            None,
            format!("{}: {}", refusal.code, refusal.message),
        ),
        Outcome::Unknown(why) => (
            Observation::Unclear,
            None,
            format!("{}: {}", why.reason.as_str(), why.detail),
        ),
    };
    let facts = Facts {
        action,
        detail,
        ..Facts::default()
    };
    (observation, facts)
}
