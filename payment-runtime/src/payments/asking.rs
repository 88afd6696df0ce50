//! Finding out where a payment stands, and ending it at the channel before it is ended here.

use channels::{Closed, OrderState, Outcome};
use payment_core::guards::holds;
use payment_core::ladder::VISIBILITY_DELAY;
use payment_core::{Evidence, Guard, Observation, PaymentState, Source};

use super::{PayError, Payments};
use crate::ports::{PayChannel, StoreError};
use crate::records::{Facts, PaymentRecord, after};

/// What came of asking the channel about a payment.
#[derive(Debug)]
pub struct Asked {
    pub payment: PaymentRecord,
    /// The channel gave a verified answer.
    pub answered: bool,
}

impl Payments {
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
}

const fn is_charged(state: OrderState) -> bool {
    matches!(state, OrderState::Paid | OrderState::Refunded)
}
