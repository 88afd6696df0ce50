//! A payment's record, and what evidence does to it.

use std::time::Duration;

use channels::{Action, Payer};
use jiff::Timestamp;
use payment_core::refund::{Reserved, state_after_refunds};
use payment_core::{ChannelKind, Decision, Evidence, Money, PayMethod, PaymentState, decide};

use super::confirmation::Item;
use super::entry::{self, NewEntry};
use super::request::StoredAnswer;
use super::{NewEvent, after, is_worth_recording, shortened};

/// A payment as it is recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct PaymentRecord {
    pub id: u64,
    pub payment_no: String,
    pub order_id: String,
    /// 1, 2, …: which try for this order.
    pub attempt: u32,
    pub user_id: String,
    pub channel: ChannelKind,
    pub method: PayMethod,
    pub channel_order_no: String,
    pub amount: Money,
    pub subject: String,
    pub payer: Payer,
    /// What is bought, for the order service.
    pub items: Vec<Item>,
    pub request_hash: String,
    pub status: PaymentState,
    pub action: Option<Action>,
    pub transaction_id: Option<String>,
    pub paid_at: Option<Timestamp>,
    pub expires_at: Timestamp,
    pub question_count: u32,
    /// When somebody looks again; `None`: nothing is open.
    pub next_question_at: Option<Timestamp>,
    pub reserved: Reserved,
    pub refunded_minor: i64,
    /// Charged after we had closed or failed it, and not reopened since.
    pub given_up: bool,
    pub last_refund_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A payment about to be recorded, its call to the channel about to be made.
#[derive(Clone, Debug)]
pub struct NewPayment {
    pub payment_no: String,
    pub order_id: String,
    pub user_id: String,
    pub method: PayMethod,
    pub channel_order_no: String,
    pub amount: Money,
    pub subject: String,
    pub payer: Payer,
    /// What is bought, for the order service.
    pub items: Vec<Item>,
    pub request_hash: String,
    pub expires_at: Timestamp,
    /// When a worker asks the channel if this process does not live to hear the answer.
    pub next_question_at: Timestamp,
    pub now: Timestamp,
}

impl NewPayment {
    /// The record as it is first written.
    pub fn record(&self, id: u64, attempt: u32) -> PaymentRecord {
        PaymentRecord {
            id,
            payment_no: self.payment_no.clone(),
            order_id: self.order_id.clone(),
            attempt,
            user_id: self.user_id.clone(),
            channel: self.method.channel(),
            method: self.method,
            channel_order_no: self.channel_order_no.clone(),
            amount: self.amount,
            subject: self.subject.clone(),
            payer: self.payer.clone(),
            items: self.items.clone(),
            request_hash: self.request_hash.clone(),
            status: PaymentState::Submitting,
            action: None,
            transaction_id: None,
            paid_at: None,
            expires_at: self.expires_at,
            question_count: 0,
            next_question_at: Some(self.next_question_at),
            reserved: Reserved::default(),
            refunded_minor: 0,
            given_up: false,
            last_refund_at: None,
            created_at: self.now,
            updated_at: self.now,
        }
    }

    /// The first line of its history.
    pub fn event(&self) -> NewEvent {
        NewEvent {
            payment_no: self.payment_no.clone(),
            at: self.now,
            source: "api",
            observation: "requested",
            from: None,
            to: PaymentState::Submitting.as_str(),
            decision: "moved",
            transaction_id: None,
            refund_no: None,
            detail: String::new(),
        }
    }
}

/// Whether a payment was recorded now or was there already.
#[derive(Debug)]
pub enum Inserted {
    New(PaymentRecord),
    /// The order has a payment; nothing was recorded, the request neither.
    OrderExists(PaymentRecord),
    /// The request's key is in use; nothing was recorded.
    KeyExists,
}

/// Whether another attempt was recorded.
#[derive(Debug)]
pub enum AttemptInserted {
    New(PaymentRecord),
    /// The order has a later attempt than the one named.
    Superseded(PaymentRecord),
    /// The attempt named is not proven to be uncharged.
    NotProven(PaymentRecord),
}

/// What a piece of evidence carries beside its verdict.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub transaction_id: Option<String>,
    pub paid_at: Option<Timestamp>,
    pub action: Option<Action>,
    pub detail: String,
}

/// Evidence with its facts, ready to be applied.
#[derive(Clone, Debug)]
pub struct Change {
    pub evidence: Evidence,
    pub facts: Facts,
    /// When to ask next if the payment stays open.
    pub next_question_at: Timestamp,
    pub now: Timestamp,
}

/// A payment after evidence was applied to it.
#[derive(Debug)]
pub struct Applied {
    pub payment: PaymentRecord,
    pub decision: Decision,
    /// The answer that stands under the key of the request that waited, if one did.
    pub answer: Option<StoredAnswer>,
}

/// What evidence does to a payment's record.
#[derive(Debug)]
pub struct Step {
    pub payment: PaymentRecord,
    pub decision: Decision,
    pub event: Option<NewEvent>,
    pub entries: Vec<NewEntry>,
}

/// Applies evidence to a payment.
pub fn apply_evidence(before: &PaymentRecord, change: &Change) -> Step {
    let decision = decide(before.status, before.amount, change.evidence);
    let mut payment = before.clone();
    match decision {
        Decision::Move(next) => {
            enter(&mut payment, next, change);
            learn(&mut payment, change);
        }
        Decision::Keep => learn(&mut payment, change),
        Decision::Reject(_) => {}
    }
    let event = is_worth_recording(decision, change.evidence.source)
        .then(|| payment_event(before, &payment, decision, change));
    let entries = entry::of_evidence(before, &payment, change);
    Step {
        payment,
        decision,
        event,
        entries,
    }
}

/// A payment that ended without a charge is asked about once more after this time: should a
/// channel have charged all the same, and its callback be lost, nobody else would notice before
/// the bill.
const LAST_LOOK: Duration = Duration::from_hours(24);

fn enter(payment: &mut PaymentRecord, next: PaymentState, change: &Change) {
    payment.status = next;
    payment.updated_at = change.now;
    payment.given_up = next == PaymentState::PaidAfterClose;
    payment.next_question_at = match next {
        _ if next.is_open() => Some(change.next_question_at),
        // Its policy is work like any other, and due at once.
        PaymentState::PaidAfterClose => Some(change.now),
        PaymentState::Closed | PaymentState::Failed => Some(after(change.now, LAST_LOOK)),
        _ => None,
    };
}

fn learn(payment: &mut PaymentRecord, change: &Change) {
    let facts = &change.facts;
    payment.action = facts.action.clone().or(payment.action.take());
    payment.transaction_id = payment
        .transaction_id
        .take()
        .or(facts.transaction_id.clone());
    if payment.status.was_charged() {
        payment.paid_at = payment.paid_at.or(facts.paid_at).or(Some(change.now));
    }
}
fn payment_event(
    before: &PaymentRecord,
    payment: &PaymentRecord,
    decision: Decision,
    change: &Change,
) -> NewEvent {
    NewEvent {
        payment_no: payment.payment_no.clone(),
        at: change.now,
        source: change.evidence.source.as_str(),
        observation: change.evidence.observation.as_str(),
        from: Some(before.status.as_str()),
        to: payment.status.as_str(),
        decision: decision.as_str(),
        transaction_id: change.facts.transaction_id.clone(),
        refund_no: None,
        detail: shortened(&change.facts.detail),
    }
}

/// Takes a payment that was charged after we had given it up as paid after all.
pub fn reopen(before: &PaymentRecord, now: Timestamp) -> Option<Step> {
    if before.status != PaymentState::PaidAfterClose {
        return None;
    }
    let mut payment = before.clone();
    payment.status = state_after_refunds(payment.amount.minor, payment.refunded_minor, false);
    payment.given_up = false;
    payment.next_question_at = None;
    payment.updated_at = now;
    let event = NewEvent {
        payment_no: payment.payment_no.clone(),
        at: now,
        source: "policy",
        observation: "reopened",
        from: Some(before.status.as_str()),
        to: payment.status.as_str(),
        decision: "moved",
        transaction_id: payment.transaction_id.clone(),
        refund_no: None,
        detail: String::new(),
    };
    let decision = Decision::Move(payment.status);
    let entries = entry::of_reopening(before, &payment, now);
    Some(Step {
        payment,
        decision,
        event: Some(event),
        entries,
    })
}
