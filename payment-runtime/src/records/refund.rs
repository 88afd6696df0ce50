//! A refund's record, what evidence does to it, and what it does to its payment's.

use std::time::Duration;

use jiff::Timestamp;
use payment_core::ladder::pause_before;
use payment_core::refund::{ReserveError, may_refund, state_after_refunds};
use payment_core::{
    ChannelKind, Decision, Money, PaymentState, RefundEvidence, RefundObservation, RefundState,
    decide_refund,
};

use super::entry::{self, NewEntry};
use super::payment::PaymentRecord;
use super::{NewEvent, after, is_worth_recording, shortened};

/// Why a refund exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefundOrigin {
    /// A merchant asked for it.
    Api,
    /// The charge came after the payment was given up.
    PaidAfterClose,
    /// The order service refused to confirm the payment.
    OrderRefused,
    /// Reconciliation found the order charged twice.
    Reconciliation,
}

impl RefundOrigin {
    pub const ALL: [Self; 4] = [
        Self::Api,
        Self::PaidAfterClose,
        Self::OrderRefused,
        Self::Reconciliation,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::PaidAfterClose => "paid-after-close",
            Self::OrderRefused => "order-refused",
            Self::Reconciliation => "reconciliation",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|origin| origin.as_str() == name)
    }
}

/// A refund as it is recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct RefundRecord {
    pub id: u64,
    pub refund_no: String,
    pub payment_no: String,
    pub channel: ChannelKind,
    pub channel_order_no: String,
    pub channel_refund_no: String,
    pub amount: Money,
    /// The whole payment's amount: WeChat Pay wants it beside the refund's.
    pub payment_amount: Money,
    pub reason: Option<String>,
    pub request_hash: String,
    pub origin: RefundOrigin,
    pub status: RefundState,
    pub channel_refund_id: Option<String>,
    pub refunded_at: Option<Timestamp>,
    /// Stuck at the channel until a person acts there.
    pub attention: bool,
    pub question_count: u32,
    pub next_question_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A refund about to be recorded.
#[derive(Clone, Debug)]
pub struct NewRefund {
    pub payment_no: String,
    pub refund_no: String,
    pub channel_refund_no: String,
    pub amount: Money,
    pub reason: Option<String>,
    pub request_hash: String,
    pub origin: RefundOrigin,
    /// When a worker takes over if this process does not live to hear the channel's answer.
    pub next_question_at: Timestamp,
    pub now: Timestamp,
}

/// What came of asking for a refund.
#[derive(Debug)]
pub enum ReservedRefund {
    New(RefundRecord),
    /// The payment has a refund of this number.
    Existing(RefundRecord),
    Refused(ReserveError),
}

/// What reserving does to the records.
#[derive(Debug)]
pub struct ReserveStep {
    pub payment: PaymentRecord,
    pub refund: RefundRecord,
    pub event: NewEvent,
}

/// The channels want a pause between two refunds of one payment (channels.md §3).
const fn pause_between_refunds(channel: ChannelKind) -> Duration {
    match channel {
        ChannelKind::Wechat => Duration::from_mins(1),
        ChannelKind::Alipay => Duration::from_secs(3),
    }
}

/// Reserves the refund's amount, or says why not. The caller holds the payment's lock.
pub fn reserve_refund(
    before: &PaymentRecord,
    new: &NewRefund,
) -> Result<ReserveStep, ReserveError> {
    may_refund(before.status, before.amount, before.reserved, new.amount)?;
    let pause = pause_between_refunds(before.channel);
    let earliest = before.last_refund_at.map_or(new.now, |at| after(at, pause));
    let status = if earliest <= new.now {
        RefundState::Submitting
    } else {
        RefundState::Created
    };
    let submit_at = earliest.max(new.now);
    let mut payment = before.clone();
    payment.reserved.minor += new.amount.minor;
    payment.reserved.count += 1;
    payment.last_refund_at = Some(submit_at);
    payment.updated_at = new.now;
    let refund = RefundRecord {
        id: 0,
        refund_no: new.refund_no.clone(),
        payment_no: before.payment_no.clone(),
        channel: before.channel,
        channel_order_no: before.channel_order_no.clone(),
        channel_refund_no: new.channel_refund_no.clone(),
        amount: new.amount,
        payment_amount: before.amount,
        reason: new.reason.clone(),
        request_hash: new.request_hash.clone(),
        origin: new.origin,
        status,
        channel_refund_id: None,
        refunded_at: None,
        attention: false,
        question_count: 0,
        next_question_at: Some(match status {
            RefundState::Created => submit_at,
            _ => new.next_question_at,
        }),
        created_at: new.now,
        updated_at: new.now,
    };
    let event = NewEvent {
        payment_no: payment.payment_no.clone(),
        at: new.now,
        source: new.origin.as_str(),
        observation: "refund-requested",
        from: None,
        to: status.as_str(),
        decision: "moved",
        transaction_id: None,
        refund_no: Some(new.refund_no.clone()),
        detail: new.amount.to_string(),
    };
    Ok(ReserveStep {
        payment,
        refund,
        event,
    })
}

/// What evidence about a refund carries beside its verdict.
#[derive(Clone, Debug, Default)]
pub struct RefundFacts {
    pub channel_refund_id: Option<String>,
    pub refunded_at: Option<Timestamp>,
    pub detail: String,
}

/// Evidence about a refund, ready to be applied.
#[derive(Clone, Debug)]
pub struct RefundChange {
    pub evidence: RefundEvidence,
    pub facts: RefundFacts,
    /// When to ask next if the refund stays open.
    pub next_question_at: Timestamp,
    pub now: Timestamp,
}

/// A refund and its payment after evidence was applied.
#[derive(Debug)]
pub struct AppliedRefund {
    pub refund: RefundRecord,
    pub payment: PaymentRecord,
    pub decision: Decision<RefundState>,
}

/// What evidence about a refund does to the records.
#[derive(Debug)]
pub struct RefundStep {
    pub payment: PaymentRecord,
    pub refund: RefundRecord,
    pub decision: Decision<RefundState>,
    pub events: Vec<NewEvent>,
    pub entries: Vec<NewEntry>,
}

/// Applies evidence to a refund and its payment.
pub fn apply_refund_evidence(
    payment_before: &PaymentRecord,
    before: &RefundRecord,
    change: &RefundChange,
) -> RefundStep {
    let decision = decide_refund(before.status, before.amount, change.evidence);
    let (mut refund, mut payment) = (before.clone(), payment_before.clone());
    let mut events = Vec::new();
    if !matches!(decision, Decision::Reject(_)) {
        let facts = &change.facts;
        refund.channel_refund_id = refund.channel_refund_id.or(facts.channel_refund_id.clone());
        refund.attention = refund.status.is_open()
            && (refund.attention || change.evidence.observation == RefundObservation::Abnormal);
    }
    if let Decision::Move(next) = decision {
        enter_refund(&mut refund, next, change);
        weigh(&mut payment, before, next, change.now);
    }
    if is_worth_recording(decision, change.evidence.source) {
        events.push(refund_event(before, &refund, decision, change));
    }
    if payment.status != payment_before.status {
        events.push(refunded_event(payment_before, &payment, change));
    }
    let entries = entry::of_refund_evidence(payment_before, &payment, &refund, change);
    RefundStep {
        payment,
        refund,
        decision,
        events,
        entries,
    }
}

fn enter_refund(refund: &mut RefundRecord, next: RefundState, change: &RefundChange) {
    refund.status = next;
    refund.updated_at = change.now;
    refund.attention &= next.is_open();
    refund.next_question_at = next.is_open().then_some(change.next_question_at);
    if next == RefundState::Succeeded {
        refund.refunded_at = change.facts.refunded_at.or(Some(change.now));
    }
}

/// Keeps the payment's sums, and the state that follows from them, with its refunds.
fn weigh(payment: &mut PaymentRecord, before: &RefundRecord, state: RefundState, now: Timestamp) {
    let amount = before.amount.minor;
    payment.reserved.minor +=
        amount * (i64::from(state.holds_amount()) - i64::from(before.status.holds_amount()));
    let given = |at| i64::from(at == RefundState::Succeeded);
    payment.refunded_minor += amount * (given(state) - given(before.status));
    payment.updated_at = now;
    // Evidence about a refund can come before the evidence that its payment was charged.
    if payment.status.was_charged() {
        let (amount, refunded) = (payment.amount.minor, payment.refunded_minor);
        let next = state_after_refunds(amount, refunded, payment.given_up);
        let late = next == PaymentState::PaidAfterClose;
        let freed = before.status.holds_amount() && !state.holds_amount();
        let tries = payment.reserved.count;
        let next_look = next_look(payment.next_question_at, freed.then_some(tries), now);
        payment.next_question_at = Some(next_look).filter(|_| late);
        payment.status = next;
    }
}

/// When its policy looks again at late money. It looks at its own pace, which slows down while a
/// refund is under way; once that has failed it does not wait for longer than a minute, then three,
/// then ten: a refund that is always refused must not be begun anew at once.
///
/// `known`: its own next look, if there is one; `failed`: how many refunds there were, if one has
/// just failed.
fn next_look(known: Option<Timestamp>, failed: Option<u32>, now: Timestamp) -> Timestamp {
    /// The place of two refunds on the ladder: WeChat Pay wants a minute between them.
    const FIRST: u32 = 2;
    match (known, failed) {
        (None, _) => now,
        (Some(at), None) => at,
        (Some(at), Some(tries)) => at.min(after(now, pause_before(FIRST.saturating_add(tries), 0))),
    }
}

fn refund_event(
    before: &RefundRecord,
    refund: &RefundRecord,
    decision: Decision<RefundState>,
    change: &RefundChange,
) -> NewEvent {
    NewEvent {
        payment_no: refund.payment_no.clone(),
        at: change.now,
        source: change.evidence.source.as_str(),
        observation: change.evidence.observation.as_str(),
        from: Some(before.status.as_str()),
        to: refund.status.as_str(),
        decision: decision.as_str(),
        transaction_id: change.facts.channel_refund_id.clone(),
        refund_no: Some(refund.refund_no.clone()),
        detail: shortened(&change.facts.detail),
    }
}

fn refunded_event(
    before: &PaymentRecord,
    payment: &PaymentRecord,
    change: &RefundChange,
) -> NewEvent {
    NewEvent {
        payment_no: payment.payment_no.clone(),
        at: change.now,
        source: change.evidence.source.as_str(),
        observation: "refunded",
        from: Some(before.status.as_str()),
        to: payment.status.as_str(),
        decision: "moved",
        transaction_id: None,
        refund_no: None,
        detail: Money::new(payment.refunded_minor, payment.amount.currency).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_refund_is_begun_anew_soon_and_ever_more_slowly() {
        let now = Timestamp::UNIX_EPOCH;
        let seconds = |known: i64, failed| {
            let known = Timestamp::from_second(known).unwrap();
            next_look(Some(known), failed, now).as_second()
        };
        // The payment's own pace had slowed down to half an hour.
        assert_eq!(seconds(1800, None), 1800);
        assert_eq!(seconds(1800, Some(1)), 60);
        assert_eq!(seconds(1800, Some(2)), 180);
        assert_eq!(seconds(1800, Some(3)), 600);
        assert_eq!(seconds(1800, Some(9)), 1800);
        assert_eq!(seconds(20, Some(1)), 20);
        assert_eq!(next_look(None, Some(1), now), now);
    }
}
