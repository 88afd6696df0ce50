//! What is done with a payment: record it, call the channel, apply what was learnt.
//!
//! Guarantees: the payment is durable before the channel hears of it; every channel answer becomes
//! evidence and goes through the transition table; no answer is ever taken as "not charged"
//! unless it proves that; another attempt begins only where the one before is proven uncharged.
//!
//! Deliberately not here: HTTP of our own (`api`, `callback`), when to ask (`worker`), refunds
//! (`refunds`), money that came too late (`late`).

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use channels::{Closed, Created, NewOrder, OrderState, OrderStatus, Outcome, Payer};
use contract::RuntimeConfig;
use jiff::Timestamp;
use payment_core::guards::holds;
use payment_core::ladder::{VISIBILITY_DELAY, pause_before};
use payment_core::refund::ReserveError;
use payment_core::{
    ChannelKind, Decision, Evidence, Guard, Money, Observation, PayMethod, PaymentState, Source,
};

use crate::ports::{Host, OrderCache, PayChannel, PayChannels, Records, Seen, StoreError};
use crate::records::{
    Applied, AttemptInserted, Begun, Change, Facts, Finish, Inserted, NewPayment, NewRequest,
    PaymentRecord, StoredAnswer, after,
};
use crate::telemetry::Metrics;

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

/// A checked request for a payment.
#[derive(Clone, Debug)]
pub struct Order {
    pub order_id: String,
    pub user_id: String,
    pub amount: Money,
    pub method: PayMethod,
    pub subject: String,
    pub payer: Payer,
    /// SHA-256 of the canonical request: tells a repeat from a conflict.
    pub request_hash: String,
    pub expires_in: Duration,
}

/// A checked request for another attempt of an order.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub method: PayMethod,
    pub payer: Payer,
    pub expires_in: Duration,
}

/// A request that came under a key, and how its answer is made.
pub struct Keyed<'a> {
    pub request: &'a NewRequest,
    pub answer: &'a (dyn Fn(&PaymentRecord) -> StoredAnswer + Send + Sync),
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

/// How an order came to its payment.
#[derive(Debug)]
pub enum Placed {
    Payment {
        payment: Box<PaymentRecord>,
        repeated: bool,
    },
    /// The answer that stands under the request's key; `replayed`: it was given before.
    Answer {
        answer: StoredAnswer,
        replayed: bool,
    },
    /// Somebody works on a request with this key.
    KeyInFlight,
    /// The key came before with another body.
    KeyReused,
}

/// How another attempt ended.
#[derive(Debug)]
pub enum Attempted {
    New(PaymentRecord),
    /// The same was asked for before: this came of it.
    Repeated(PaymentRecord),
    /// The order has another later attempt.
    Superseded(PaymentRecord),
    /// Nothing proves that this attempt charged nothing.
    NotProven(PaymentRecord),
}

/// What came of asking the channel about a payment.
#[derive(Debug)]
pub struct Asked {
    pub payment: PaymentRecord,
    /// The channel gave a verified answer.
    pub answered: bool,
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

    /// Places an order: exactly one payment, and one call to the channel, for each order id.
    pub async fn place(
        &self,
        order: &Order,
        keyed: Option<&Keyed<'_>>,
    ) -> Result<Placed, PayError> {
        let channel = self.channel(order.method.channel())?;
        if let Some(payment) = self.remembered(order).await? {
            return self.repeat(payment, order, keyed).await;
        }
        let new = self.new_payment(order);
        let request = keyed.map(|keyed| keyed.request);
        match self.records.insert(&new, request).await? {
            Inserted::New(payment) => self.submit_first(&*channel, payment, keyed).await,
            Inserted::OrderExists(payment) => self.repeat(payment, order, keyed).await,
            Inserted::KeyExists => match keyed {
                Some(keyed) => self.place_again(&*channel, order, keyed).await,
                None => Ok(Placed::KeyInFlight),
            },
        }
    }

    /// The payment of a repeated order, when the cache says that there may be one.
    async fn remembered(&self, order: &Order) -> Result<Option<PaymentRecord>, PayError> {
        let Some(cache) = &self.cache else {
            return Ok(None);
        };
        if cache.remember(&order.order_id).await != Seen::Before {
            return Ok(None);
        }
        Ok(self.records.payment_of_order(&order.order_id).await?)
    }

    /// The key of the request is known: its answer, or the work that its owner left behind.
    async fn place_again(
        &self,
        channel: &dyn PayChannel,
        order: &Order,
        keyed: &Keyed<'_>,
    ) -> Result<Placed, PayError> {
        match self.records.begin_request(keyed.request).await? {
            Begun::Mine => {}
            begun => return Ok(begun_elsewhere(begun)),
        }
        let placed = match self.records.insert(&self.new_payment(order), None).await? {
            Inserted::New(payment) => self.submit_first(channel, payment, Some(keyed)).await,
            Inserted::OrderExists(payment) => match same_order(&payment, order) {
                Ok(()) => self.answer(payment, keyed).await,
                Err(error) => Err(error),
            },
            Inserted::KeyExists => Ok(Placed::KeyInFlight),
        };
        if placed.is_err() {
            self.give_up_request(keyed.request).await;
        }
        placed
    }

    /// The order has a payment already.
    async fn repeat(
        &self,
        payment: PaymentRecord,
        order: &Order,
        keyed: Option<&Keyed<'_>>,
    ) -> Result<Placed, PayError> {
        let Some(keyed) = keyed else {
            same_order(&payment, order)?;
            return Ok(Placed::Payment {
                payment: Box::new(payment),
                repeated: true,
            });
        };
        match self.records.begin_request(keyed.request).await? {
            Begun::Mine => {}
            begun => return Ok(begun_elsewhere(begun)),
        }
        let placed = match same_order(&payment, order) {
            Ok(()) => self.answer(payment, keyed).await,
            Err(error) => Err(error),
        };
        if placed.is_err() {
            self.give_up_request(keyed.request).await;
        }
        placed
    }

    /// Stores what is known of the payment as the answer to a request that is ours.
    async fn answer(&self, payment: PaymentRecord, keyed: &Keyed<'_>) -> Result<Placed, PayError> {
        if !holds(Guard::AnswerIsStored) {
            return Ok(Placed::Payment {
                payment: Box::new(payment),
                repeated: true,
            });
        }
        let ours = (keyed.answer)(&payment);
        let key = &keyed.request.key;
        let answer = self.records.finish_request(key, &ours).await?;
        Ok(Placed::Answer {
            answer,
            replayed: false,
        })
    }

    pub(crate) async fn give_up_request(&self, request: &NewRequest) {
        let given_up = self.records.give_up_request(&request.key, self.now()).await;
        if let Err(error) = given_up {
            // Its lease ends by itself.
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "a request's key could not be given back");
        }
    }

    fn new_payment(&self, order: &Order) -> NewPayment {
        let (now, id) = (self.now(), self.host.new_id());
        NewPayment {
            payment_no: format!("pay_{id}"),
            order_id: order.order_id.clone(),
            user_id: order.user_id.clone(),
            method: order.method,
            channel_order_no: id,
            amount: order.amount,
            subject: order.subject.clone(),
            payer: order.payer.clone(),
            request_hash: order.request_hash.clone(),
            expires_at: after(now, order.expires_in),
            next_question_at: self.call_is_over_at(now),
            now,
        }
    }

    /// Tries an order again, possibly over another channel. The one before is asked about first:
    /// only a proof that it charged nothing lets the next one begin.
    pub async fn attempt(
        &self,
        previous: PaymentRecord,
        attempt: &Attempt,
    ) -> Result<Attempted, PayError> {
        let channel = self.channel(attempt.method.channel())?;
        let previous = self.ask_before_acting(previous).await?;
        let order = Order {
            order_id: previous.order_id.clone(),
            user_id: previous.user_id.clone(),
            amount: previous.amount,
            method: attempt.method,
            subject: previous.subject.clone(),
            payer: attempt.payer.clone(),
            request_hash: previous.request_hash.clone(),
            expires_in: attempt.expires_in,
        };
        let new = self.new_payment(&order);
        let inserted = self.records.insert_attempt(&previous.payment_no, &new);
        match inserted.await? {
            AttemptInserted::New(payment) => {
                let applied = self.submit(&*channel, payment, None).await?;
                Ok(Attempted::New(applied.payment))
            }
            AttemptInserted::Superseded(latest) => {
                let repeated = latest.attempt == previous.attempt + 1
                    && (latest.method, &latest.payer) == (attempt.method, &attempt.payer);
                Ok(if repeated {
                    Attempted::Repeated(latest)
                } else {
                    Attempted::Superseded(latest)
                })
            }
            AttemptInserted::NotProven(payment) => Ok(Attempted::NotProven(payment)),
        }
    }

    /// Asks once more before something is decided about a payment that is not known as charged:
    /// even a payment we closed may have been paid at the last moment.
    pub(crate) async fn ask_before_acting(
        &self,
        payment: PaymentRecord,
    ) -> Result<PaymentRecord, PayError> {
        if payment.status.is_open() {
            return Ok(self.ask(payment).await?.payment);
        }
        if payment.status.was_charged() {
            return Ok(payment);
        }
        Ok(self.ask_once_more(payment).await?.payment)
    }

    /// Asks about a payment that ended without a charge whether there is one after all.
    pub(crate) async fn ask_once_more(&self, payment: PaymentRecord) -> Result<Asked, PayError> {
        let channel = self.channel(payment.channel)?;
        let query = channel.query(&payment.channel_order_no, self.now());
        let outcome = self.measured(payment.channel, "query", query).await;
        let payment = match &outcome {
            Outcome::Done(status) if is_charged(status.state) => {
                let applied = self.apply_status(&payment, status, Source::Query).await?;
                applied.payment
            }
            _ => payment,
        };
        Ok(Asked {
            payment,
            answered: matches!(outcome, Outcome::Done(_)),
        })
    }

    async fn submit_first(
        &self,
        channel: &dyn PayChannel,
        payment: PaymentRecord,
        keyed: Option<&Keyed<'_>>,
    ) -> Result<Placed, PayError> {
        let finish = keyed
            .filter(|_| holds(Guard::AnswerIsStored))
            .map(|keyed| Finish {
                key: &keyed.request.key,
                answer: keyed.answer,
            });
        let submitted = self.submit(channel, payment, finish.as_ref()).await;
        if let (Err(_), Some(keyed)) = (&submitted, keyed) {
            self.give_up_request(keyed.request).await;
        }
        let applied = submitted?;
        Ok(match applied.answer {
            Some(answer) => Placed::Answer {
                answer,
                replayed: false,
            },
            None => Placed::Payment {
                payment: Box::new(applied.payment),
                repeated: false,
            },
        })
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

    pub(crate) fn callback_url(&self, kind: ChannelKind) -> String {
        let path = match kind {
            ChannelKind::Wechat => contract::names::WECHAT_CALLBACK_PATH,
            ChannelKind::Alipay => contract::names::ALIPAY_CALLBACK_PATH,
        };
        let base = self.config.channels.callback_base_url.trim_end_matches('/');
        format!("{base}{path}")
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

    /// Asks the channel where an open payment stands, and does what its answer allows: takes the
    /// payment code again, closes what has expired, or waits.
    pub async fn ask(&self, payment: PaymentRecord) -> Result<Asked, PayError> {
        let payment = self.give_up_waiting(payment).await?;
        let channel = self.channel(payment.channel)?;
        let query = channel.query(&payment.channel_order_no, self.now());
        let outcome = self.measured(payment.channel, "query", query).await;
        let Outcome::Done(status) = outcome else {
            return Ok(Asked {
                payment,
                answered: false,
            });
        };
        let expired = payment.expires_at <= self.now();
        let payment = match status.state {
            OrderState::Paid | OrderState::Refunded | OrderState::Closed => {
                self.apply_status(&payment, &status, Source::Query)
                    .await?
                    .payment
            }
            OrderState::NotPaid | OrderState::NotFound if expired => {
                self.close_expired(&*channel, payment, status.state).await?
            }
            OrderState::NotPaid | OrderState::NotFound if payment.action.is_none() => {
                self.submit(&*channel, payment, None).await?.payment
            }
            OrderState::NotPaid => {
                self.learn(&payment, Source::Query, Observation::Accepted)
                    .await?
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
        Ok(self.apply(&payment, unclear, facts, None).await?.payment)
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

    /// Closes an expired order at the channel and believes it only after a query that still says
    /// unpaid: somebody may pay between the two.
    async fn close_expired(
        &self,
        channel: &dyn PayChannel,
        payment: PaymentRecord,
        seen: OrderState,
    ) -> Result<PaymentRecord, PayError> {
        if seen == OrderState::NotFound && !self.visible_by_now(&payment) {
            return Ok(payment);
        }
        self.close_at_channel(channel, payment).await
    }

    /// Asks where the payment stands, and closes its order at the channel if it is still open.
    pub async fn close(&self, payment: PaymentRecord) -> Result<PaymentRecord, PayError> {
        let payment = self.ask(payment).await?.payment;
        if !payment.status.is_open() {
            return Ok(payment);
        }
        let channel = self.channel(payment.channel)?;
        self.close_at_channel(&*channel, payment).await
    }

    async fn close_at_channel(
        &self,
        channel: &dyn PayChannel,
        payment: PaymentRecord,
    ) -> Result<PaymentRecord, PayError> {
        let close = channel.close(&payment.channel_order_no, self.now());
        let outcome = self.measured(payment.channel, "close", close).await;
        let closed = match outcome {
            Outcome::Done(closed) => closed,
            Outcome::Refused(_) | Outcome::Unknown(_) => return Ok(payment),
        };
        if closed == Closed::Closed && !holds(Guard::CloseIsVerified) {
            return self
                .learn(&payment, Source::Query, Observation::Closed)
                .await;
        }
        let query = channel.query(&payment.channel_order_no, self.now());
        let Outcome::Done(status) = self.measured(payment.channel, "query", query).await else {
            return Ok(payment);
        };
        let observation = match (closed, status.state) {
            (_, OrderState::Paid | OrderState::Refunded | OrderState::Closed) => {
                let applied = self.apply_status(&payment, &status, Source::Query).await?;
                return Ok(applied.payment);
            }
            (Closed::Closed, OrderState::NotPaid | OrderState::NotFound) => Observation::Closed,
            // An order that nobody opened can still be opened until it expires.
            (Closed::NotFound, OrderState::NotFound)
                if self.can_no_longer_be_paid(&payment).await? =>
            {
                Observation::NotFound
            }
            (Closed::NotFound | Closed::AlreadyPaid, _) => return Ok(payment),
        };
        self.learn(&payment, Source::Query, observation).await
    }

    /// The channels show an order only some time after they took it.
    fn visible_by_now(&self, payment: &PaymentRecord) -> bool {
        after(payment.created_at, VISIBILITY_DELAY) <= self.now()
    }

    /// A minute past its expiry no payer can open the order any more. Time is part of a proof
    /// here, so one clock does not do: this process's and the database's must both say so.
    async fn can_no_longer_be_paid(&self, payment: &PaymentRecord) -> Result<bool, StoreError> {
        let over = after(payment.expires_at, VISIBILITY_DELAY);
        Ok(over <= self.now() && over <= self.records.now().await?)
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

fn same_order(payment: &PaymentRecord, order: &Order) -> Result<(), PayError> {
    if payment.request_hash == order.request_hash {
        return Ok(());
    }
    Err(PayError::OrderReused {
        order_id: order.order_id.clone(),
    })
}

fn begun_elsewhere(begun: Begun) -> Placed {
    match begun {
        Begun::Done(answer) => Placed::Answer {
            answer,
            replayed: true,
        },
        Begun::OtherBody => Placed::KeyReused,
        Begun::InFlight | Begun::Mine => Placed::KeyInFlight,
    }
}

const fn is_charged(state: OrderState) -> bool {
    matches!(state, OrderState::Paid | OrderState::Refunded)
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
