//! From an order to its payment: once, whatever is repeated, and again only with proof.

use std::time::Duration;

use channels::Payer;
use payment_core::guards::holds;
use payment_core::{Guard, Money, PayMethod};

use super::{PayError, Payments};
use crate::ports::{PayChannel, Seen};
use crate::records::{
    AttemptInserted, Begun, Finish, Inserted, Item, Left, NewPayment, NewRequest, PaymentRecord,
    StoredAnswer, after,
};

/// A checked request for a payment.
#[derive(Clone, Debug)]
pub struct Order {
    pub order_id: String,
    pub user_id: String,
    pub amount: Money,
    pub method: PayMethod,
    pub subject: String,
    pub payer: Payer,
    /// What is bought, for the order service.
    pub items: Vec<Item>,
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

impl Payments {
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
        if let Err(error) = &placed {
            self.give_up_request(keyed.request, left_by(error)).await;
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
        if let Err(error) = &placed {
            self.give_up_request(keyed.request, left_by(error)).await;
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

    pub(crate) async fn give_up_request(&self, request: &NewRequest, left: Left) {
        let (key, now) = (&request.key, self.now());
        if let Err(error) = self.records.give_up_request(key, left, now).await {
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
            items: order.items.clone(),
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
            items: previous.items.clone(),
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
            self.give_up_request(keyed.request, Left::Something).await;
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
}

fn same_order(payment: &PaymentRecord, order: &Order) -> Result<(), PayError> {
    if payment.request_hash == order.request_hash {
        return Ok(());
    }
    Err(PayError::OrderReused {
        order_id: order.order_id.clone(),
    })
}

/// Only a database that failed leaves it open what was recorded.
fn left_by(error: &PayError) -> Left {
    match error {
        PayError::Store(_) => Left::Something,
        _ => Left::Nothing,
    }
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
