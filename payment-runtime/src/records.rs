//! Payments, refunds, callbacks and requests as they are recorded, and what one piece of evidence
//! does to a record: pure, so that every implementation of [`crate::ports::Records`] only has to
//! keep what comes out.
//!
//! Guarantees: facts are kept only of believed evidence and never overwritten by their absence;
//! every change of state comes with the event that explains it.

use std::time::Duration;

use channels::{Action, OrderState, Payer, RefundState as ChannelRefundState};
use jiff::Timestamp;
use payment_core::refund::{ReserveError, Reserved, may_refund, state_after_refunds};
use payment_core::{
    ChannelKind, Decision, Evidence, Money, PayMethod, PaymentState, RefundEvidence, RefundState,
    Source, decide, decide_refund,
};

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
    Step {
        payment,
        decision,
        event,
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

/// Every change and every refusal is recorded; an answer that says nothing new is not, because the
/// polling ladder would fill the table with it.
fn is_worth_recording<State: Copy>(decision: Decision<State>, source: Source) -> bool {
    match decision {
        Decision::Move(_) | Decision::Reject(_) => true,
        Decision::Keep => source == Source::Callback,
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
    Some(Step {
        payment,
        decision,
        event: Some(event),
    })
}

/// Why a refund exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefundOrigin {
    /// A merchant asked for it.
    Api,
    /// The charge came after the payment was given up.
    PaidAfterClose,
}

impl RefundOrigin {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::PaidAfterClose => "paid-after-close",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Self::Api, Self::PaidAfterClose]
            .into_iter()
            .find(|origin| origin.as_str() == name)
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
}

/// Applies evidence to a refund and its payment.
pub fn apply_refund_evidence(
    payment_before: &PaymentRecord,
    before: &RefundRecord,
    change: &RefundChange,
) -> RefundStep {
    use payment_core::RefundObservation;
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
    RefundStep {
        payment,
        refund,
        decision,
        events,
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
        // Its policy looks again at its own pace: a refund that is always refused must not be
        // begun anew at once.
        payment.next_question_at = payment.next_question_at.or(Some(now)).filter(|_| late);
        payment.status = next;
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

/// One line of a payment's history, about to be recorded. With a refund's number it is the
/// refund's line, and its states are the refund's.
#[derive(Clone, Debug)]
pub struct NewEvent {
    pub payment_no: String,
    pub at: Timestamp,
    /// Who says so: api, policy, paid-after-close, or a [`Source`].
    pub source: &'static str,
    pub observation: &'static str,
    pub from: Option<&'static str>,
    pub to: &'static str,
    /// moved, kept, or why it was not believed.
    pub decision: &'static str,
    pub transaction_id: Option<String>,
    pub refund_no: Option<String>,
    pub detail: String,
}

/// One line of a payment's history.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub id: u64,
    pub at: Timestamp,
    pub source: String,
    pub observation: String,
    pub from: Option<String>,
    pub to: String,
    pub decision: String,
    pub transaction_id: Option<String>,
    pub refund_no: Option<String>,
    pub detail: String,
}

/// When a payment is looked at next, in the eyes of the worker that looked into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextLook {
    /// Then, unless it has ended meanwhile.
    At(Timestamp),
    /// As the evidence found on the way left it.
    AsRecorded,
    /// Never, if it is still closed or failed.
    Never,
}

impl NextLook {
    /// The record's own next look, after a worker gave it back.
    pub fn after(self, recorded: Option<Timestamp>, status: PaymentState) -> Option<Timestamp> {
        let ended = matches!(status, PaymentState::Closed | PaymentState::Failed);
        match self {
            Self::At(at) => recorded.map(|_| at),
            Self::Never if ended => None,
            Self::Never | Self::AsRecorded => recorded,
        }
    }
}

/// A page of payments; `next` is the id to continue after.
#[derive(Debug)]
pub struct Page {
    pub payments: Vec<PaymentRecord>,
    pub next: Option<u64>,
}

/// How many payments and refunds are in each state that somebody must still end.
#[derive(Clone, Debug, Default)]
pub struct OpenCounts {
    pub payments: Vec<(PaymentState, u64)>,
    pub refunds: Vec<(RefundState, u64)>,
    /// Refunds stuck at the channel until a person acts there.
    pub refunds_needing_attention: u64,
}

/// A verified callback about to be kept.
#[derive(Clone, Debug)]
pub struct NewInboxEntry {
    pub channel: ChannelKind,
    pub channel_order_no: String,
    pub transaction_id: String,
    /// What happened, in the channel's terms; with the transaction and the order's amount it makes
    /// the entry unique.
    pub event: String,
    pub seen: SeenByChannel,
    pub headers: String,
    pub body: Vec<u8>,
    pub now: Timestamp,
}

/// What a callback says, in our terms.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenByChannel {
    pub state: OrderState,
    /// The order's full amount.
    pub amount: Money,
    pub paid_at: Option<Timestamp>,
    pub refund: Option<SeenRefund>,
}

/// What a callback about a refund says.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenRefund {
    /// Our number at the channel; absent when the channel did not repeat it.
    pub channel_refund_no: Option<String>,
    pub channel_refund_id: Option<String>,
    pub state: ChannelRefundState,
    /// This refund alone; absent where the channel tells only the order's sum so far.
    pub amount: Option<Money>,
    pub refunded_at: Option<Timestamp>,
}

/// A kept callback whose turn has come.
#[derive(Clone, Debug)]
pub struct InboxEntry {
    pub id: u64,
    pub channel: ChannelKind,
    pub channel_order_no: String,
    pub transaction_id: String,
    pub event: String,
    pub seen: SeenByChannel,
    pub attempts: u32,
}

/// Under which a client may repeat a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestKey {
    /// Method and path: the same key means something else elsewhere.
    pub scope: String,
    pub key: String,
}

/// A request with a key, about to be carried out.
#[derive(Clone, Debug)]
pub struct NewRequest {
    pub key: RequestKey,
    /// SHA-256 of the body, in hex.
    pub body_hash: String,
    /// When another process may take it over, because this one must be dead.
    pub lease_until: Timestamp,
    pub now: Timestamp,
}

/// An answer as it was sent, to be sent again byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAnswer {
    pub status: u16,
    pub content_type: String,
    pub location: Option<String>,
    pub body: String,
}

/// Whose request it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// The caller's.
    Mine,
    /// Done before: this was the answer.
    Done(StoredAnswer),
    /// Somebody works on it.
    InFlight,
    /// The key came before with another body.
    OtherBody,
}

/// How the answer to a waiting request is made once its payment is known.
pub struct Finish<'a> {
    pub key: &'a RequestKey,
    pub answer: &'a (dyn Fn(&PaymentRecord) -> StoredAnswer + Send + Sync),
}

/// What a recorded request means to a newcomer with the same key.
pub fn judge_repeat(
    recorded_body_hash: &str,
    answer: Option<StoredAnswer>,
    lease_until: Timestamp,
    new: &NewRequest,
) -> Begun {
    use payment_core::Guard;
    use payment_core::guards::holds;
    if recorded_body_hash != new.body_hash && holds(Guard::KeyBindsBody) {
        return Begun::OtherBody;
    }
    match answer {
        Some(answer) => Begun::Done(answer),
        None if lease_until > new.now && holds(Guard::OneRequestPerKey) => Begun::InFlight,
        None => Begun::Mine,
    }
}

/// Details are bounded; what is cut off stands in the log.
fn shortened(detail: &str) -> String {
    detail.chars().take(512).collect()
}

/// `at` plus `pause`, without overflow.
pub fn after(at: Timestamp, pause: Duration) -> Timestamp {
    at.checked_add(pause).unwrap_or(Timestamp::MAX)
}
