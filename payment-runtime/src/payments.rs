//! What is done with a payment: record it, call the channel, apply what was learnt.
//!
//! Guarantees: the payment is durable before the channel hears of it; every channel answer becomes
//! evidence and goes through the transition table; no answer is ever taken as "not charged"
//! unless it proves that.
//!
//! Deliberately not here: HTTP of our own (`api`, `callback`), when to ask (`worker`).

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use channels::{Channel, Closed, Created, NewOrder, OrderState, OrderStatus, Outcome};
use contract::RuntimeConfig;
use jiff::Timestamp;
use payment_core::ladder::{VISIBILITY_DELAY, pause_before};
use payment_core::{ChannelKind, Decision, Evidence, Money, Observation, PaymentState, Source};
use uuid::Uuid;

use crate::cache::{Cache, Seen};
use crate::clock;
use crate::store::{
    Applied, Change, Facts, Inserted, NewPayment, PaymentRecord, Store, StoreError,
};
use crate::telemetry::Metrics;

/// What every role needs to work on payments.
pub struct Payments {
    pub config: RuntimeConfig,
    pub store: Store,
    pub cache: Option<Cache>,
    pub channels: channels::Channels,
    pub metrics: Metrics,
}

/// A checked request for a payment.
#[derive(Clone, Debug)]
pub struct Order {
    pub order_id: String,
    pub user_id: String,
    pub amount: Money,
    pub channel: ChannelKind,
    pub method: &'static str,
    pub subject: String,
    /// SHA-256 of the canonical request: tells a repeat from a conflict.
    pub request_hash: String,
    pub expires_in: Duration,
}

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum PayError {
    #[error("order {order_id} was requested before with other contents")]
    Conflict { order_id: String },
    #[error("channel {0} is not configured")]
    ChannelMissing(ChannelKind),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How an order came to its payment.
#[derive(Debug)]
pub struct Placed {
    pub payment: PaymentRecord,
    pub repeated: bool,
}

/// What came of asking the channel about a payment.
#[derive(Debug)]
pub struct Asked {
    pub payment: PaymentRecord,
    /// The channel gave a verified answer.
    pub answered: bool,
}

impl Payments {
    fn channel(&self, kind: ChannelKind) -> Result<Arc<Channel>, PayError> {
        self.channels
            .get(kind)
            .ok_or(PayError::ChannelMissing(kind))
    }

    /// The channels that are configured.
    pub fn kinds(&self) -> Vec<ChannelKind> {
        self.channels.iter().map(|channel| channel.kind()).collect()
    }

    /// Places an order: exactly one payment, and one call to the channel, for each order id.
    pub async fn place(&self, order: &Order) -> Result<Placed, PayError> {
        let channel = self.channel(order.channel)?;
        if let Some(known) = self.known(order).await? {
            return Ok(known);
        }
        let new = self.new_payment(order);
        let payment = match self.store.insert(&new).await? {
            Inserted::New(payment) => payment,
            Inserted::Existing(payment) => return repeated(payment, order),
        };
        let payment = self.submit(&channel, payment).await?;
        Ok(Placed {
            payment,
            repeated: false,
        })
    }

    /// The payment of a repeated order, when the cache says that there may be one.
    async fn known(&self, order: &Order) -> Result<Option<Placed>, PayError> {
        let Some(cache) = &self.cache else {
            return Ok(None);
        };
        if cache.remember(&order.order_id).await != Seen::Before {
            return Ok(None);
        }
        let payment = self.store.payment_of_order(&order.order_id).await?;
        payment.map(|payment| repeated(payment, order)).transpose()
    }

    fn new_payment(&self, order: &Order) -> NewPayment {
        let now = clock::now();
        let id = Uuid::now_v7().simple().to_string();
        // If this process dies during the call, a worker takes over once the call must be over.
        let call = Duration::from_millis(self.config.channels.total_timeout_milliseconds);
        NewPayment {
            payment_no: format!("pay_{id}"),
            order_id: order.order_id.clone(),
            user_id: order.user_id.clone(),
            channel: order.channel,
            method: order.method,
            channel_order_no: id,
            amount: order.amount,
            subject: order.subject.clone(),
            request_hash: order.request_hash.clone(),
            expires_at: after(now, order.expires_in),
            next_question_at: after(now, call + Duration::from_secs(3)),
            now,
        }
    }

    /// Calls the channel for a recorded payment and applies its answer.
    pub async fn submit(
        &self,
        channel: &Channel,
        payment: PaymentRecord,
    ) -> Result<PaymentRecord, PayError> {
        let order = NewOrder {
            channel_order_no: payment.channel_order_no.clone(),
            amount: payment.amount,
            subject: payment.subject.clone(),
            notify_url: self.callback_url(payment.channel),
            expires_at: payment.expires_at,
        };
        let call = channel.create(&order, clock::now());
        let outcome = self.measured(payment.channel, "create", call).await;
        let (observation, facts) = created(outcome);
        let evidence = Evidence {
            source: Source::SyncAnswer,
            observation,
        };
        Ok(self.apply(&payment, evidence, facts).await?.payment)
    }

    fn callback_url(&self, kind: ChannelKind) -> String {
        let path = match kind {
            ChannelKind::Wechat => contract::names::WECHAT_CALLBACK_PATH,
            ChannelKind::Alipay => contract::names::ALIPAY_CALLBACK_PATH,
        };
        format!(
            "{}{path}",
            self.config.channels.callback_base_url.trim_end_matches('/')
        )
    }

    /// Applies evidence, counts and logs what follows from it.
    pub async fn apply(
        &self,
        payment: &PaymentRecord,
        evidence: Evidence,
        mut facts: Facts,
    ) -> Result<Applied, StoreError> {
        let now = clock::now();
        if facts.next_question_at.is_none() {
            facts.next_question_at = Some(next_question(payment, now));
        }
        let change = Change {
            evidence,
            facts,
            now,
        };
        let applied = self.store.apply(&payment.payment_no, &change).await?;
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

    /// Asks the channel where an open payment stands, and does what its answer allows: takes the
    /// payment code again, closes what has expired, or waits.
    pub async fn ask(&self, payment: PaymentRecord) -> Result<Asked, PayError> {
        let payment = self.give_up_waiting(payment).await?;
        let channel = self.channel(payment.channel)?;
        let query = channel.query(&payment.channel_order_no, clock::now());
        let outcome = self.measured(payment.channel, "query", query).await;
        let Outcome::Done(status) = outcome else {
            return Ok(Asked {
                payment,
                answered: false,
            });
        };
        let expired = payment.expires_at <= clock::now();
        let payment = match status.state {
            OrderState::Paid | OrderState::Refunded | OrderState::Closed => {
                self.apply_status(&payment, &status, Source::Query)
                    .await?
                    .payment
            }
            OrderState::NotPaid | OrderState::NotFound if expired => {
                self.close_expired(&channel, payment, status.state).await?
            }
            OrderState::NotPaid | OrderState::NotFound if payment.action_url.is_none() => {
                self.submit(&channel, payment).await?
            }
            OrderState::NotPaid => {
                let accepted = Evidence {
                    source: Source::Query,
                    observation: Observation::Accepted,
                };
                self.apply(&payment, accepted, Facts::default())
                    .await?
                    .payment
            }
            OrderState::NotFound => payment,
        };
        Ok(Asked {
            payment,
            answered: true,
        })
    }

    /// The caller of a payment still in SUBMITTING is gone: its outcome is unknown from now on.
    async fn give_up_waiting(&self, payment: PaymentRecord) -> Result<PaymentRecord, PayError> {
        if payment.status != PaymentState::Submitting {
            return Ok(payment);
        }
        let unclear = Evidence {
            source: Source::Clock,
            observation: Observation::Unclear,
        };
        let facts = Facts {
            detail: "nobody waits for the answer".into(),
            ..Facts::default()
        };
        Ok(self.apply(&payment, unclear, facts).await?.payment)
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
        self.apply(
            payment,
            Evidence {
                source,
                observation,
            },
            facts,
        )
        .await
    }

    /// Closes an expired order at the channel and believes it only after a query that still says
    /// unpaid: somebody may pay between the two.
    async fn close_expired(
        &self,
        channel: &Channel,
        payment: PaymentRecord,
        seen: OrderState,
    ) -> Result<PaymentRecord, PayError> {
        if seen == OrderState::NotFound && !visible_by_now(&payment) {
            return Ok(payment);
        }
        self.close_at_channel(channel, payment).await
    }

    /// Asks the channel to close the payment's order, then asks where it stands.
    pub async fn close(&self, payment: PaymentRecord) -> Result<PaymentRecord, PayError> {
        let channel = self.channel(payment.channel)?;
        self.close_at_channel(&channel, payment).await
    }

    async fn close_at_channel(
        &self,
        channel: &Channel,
        payment: PaymentRecord,
    ) -> Result<PaymentRecord, PayError> {
        let close = channel.close(&payment.channel_order_no, clock::now());
        let outcome = self.measured(payment.channel, "close", close).await;
        let closed = match outcome {
            Outcome::Done(closed) => closed,
            Outcome::Refused(_) | Outcome::Unknown(_) => return Ok(payment),
        };
        let query = channel.query(&payment.channel_order_no, clock::now());
        let Outcome::Done(status) = self.measured(payment.channel, "query", query).await else {
            return Ok(payment);
        };
        let observation = match (closed, status.state) {
            (_, OrderState::Paid | OrderState::Refunded | OrderState::Closed) => {
                return Ok(self
                    .apply_status(&payment, &status, Source::Query)
                    .await?
                    .payment);
            }
            (Closed::Closed, OrderState::NotPaid | OrderState::NotFound) => Observation::Closed,
            // An order that nobody opened can still be opened until it expires.
            (Closed::NotFound, OrderState::NotFound) if can_no_longer_be_paid(&payment) => {
                Observation::NotFound
            }
            (Closed::NotFound | Closed::AlreadyPaid, _) => return Ok(payment),
        };
        let evidence = Evidence {
            source: Source::Query,
            observation,
        };
        Ok(self
            .apply(&payment, evidence, Facts::default())
            .await?
            .payment)
    }

    async fn measured<T>(
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

    /// The bill of one day, measured like every channel call.
    pub async fn bill(
        &self,
        kind: ChannelKind,
        day: jiff::civil::Date,
    ) -> Result<Outcome<channels::Bill>, PayError> {
        let channel = self.channel(kind)?;
        Ok(self
            .measured(kind, "bill", channel.bill(day, clock::now()))
            .await)
    }
}

fn repeated(payment: PaymentRecord, order: &Order) -> Result<Placed, PayError> {
    if payment.request_hash == order.request_hash {
        return Ok(Placed {
            payment,
            repeated: true,
        });
    }
    Err(PayError::Conflict {
        order_id: order.order_id.clone(),
    })
}

fn created(outcome: Outcome<Created>) -> (Observation, Facts) {
    match outcome {
        Outcome::Done(created) => {
            let facts = Facts {
                action_url: Some(created.qr_code_url),
                ..Facts::default()
            };
            (Observation::Accepted, facts)
        }
        Outcome::Refused(refusal) => {
            let observation = if refusal.sent {
                Observation::Refused
            } else {
                Observation::NotSent
            };
            let detail = format!("{}: {}", refusal.code, refusal.message);
            (
                observation,
                Facts {
                    detail,
                    ..Facts::default()
                },
            )
        }
        Outcome::Unknown(uncertainty) => {
            let detail = format!("{}: {}", uncertainty.reason.as_str(), uncertainty.detail);
            (
                Observation::Unclear,
                Facts {
                    detail,
                    ..Facts::default()
                },
            )
        }
    }
}

/// The channels show an order only some time after they took it.
fn visible_by_now(payment: &PaymentRecord) -> bool {
    after(payment.created_at, VISIBILITY_DELAY) <= clock::now()
}

/// A minute past its expiry no payer can open the order any more, whatever the clocks' skew.
fn can_no_longer_be_paid(payment: &PaymentRecord) -> bool {
    after(payment.expires_at, VISIBILITY_DELAY) <= clock::now()
}

/// The next rung of the polling ladder, or the expiry if that comes first.
pub fn next_question(payment: &PaymentRecord, now: Timestamp) -> Timestamp {
    let next = after(now, pause_before(payment.question_count, rand::random()));
    let expiry = after(payment.expires_at, Duration::from_secs(1));
    if expiry > now { next.min(expiry) } else { next }
}

pub fn after(at: Timestamp, pause: Duration) -> Timestamp {
    at.checked_add(pause).unwrap_or(Timestamp::MAX)
}
