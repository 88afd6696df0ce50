//! Ledger entries, and which of them a step of a payment's record makes.
//!
//! Guarantees: the entries of a step are the difference of the positions before and after it; each
//! has a key that the same step, taken again, would give again.

use jiff::Timestamp;
use jiff::civil::Date;
use payment_core::ledger::{
    Balances, Difference, PaymentMoney, Position, Transfer, entries_between, entries_to_reach,
    position as position_of,
};
use payment_core::{Account, Cause, ChannelKind, Money};
use serde::Serialize;

use super::payment::{Change, PaymentRecord};
use super::refund::{RefundChange, RefundRecord};
use crate::clock::bill_day;

/// The actor of what nobody decided by hand.
pub const SYSTEM: &str = "system";

/// A ledger entry about to be recorded: `amount`, greater than zero, from `credit` to `debit`.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEntry {
    /// Unique; an entry whose key is there already is there already. At most 190 characters.
    pub entry_key: String,
    pub payment_no: Option<String>,
    pub refund_no: Option<String>,
    pub channel: ChannelKind,
    pub debit: Account,
    pub credit: Account,
    pub amount: Money,
    /// Beijing value day: the day on whose bill the movement stands.
    pub day: Date,
    pub cause: Cause,
    /// Whose evidence: the name of a [`payment_core::Source`], or policy.
    pub source: &'static str,
    /// [`SYSTEM`], or a person.
    pub actor: String,
    /// The version of the rule that decided, if one did.
    pub rule: Option<&'static str>,
    /// What identifies the evidence: the channel's number of the charge or refund.
    pub reference: String,
    pub recorded_at: Timestamp,
}

/// A ledger entry as it is recorded. The names are kept as they stand, so that a check can speak
/// of those that nobody knows.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    pub id: u64,
    pub entry_key: String,
    pub shard: u8,
    pub payment_no: Option<String>,
    pub refund_no: Option<String>,
    pub channel: String,
    pub debit: String,
    pub credit: String,
    pub amount_minor: i64,
    pub currency: String,
    pub day: String,
    pub cause: String,
    pub source: String,
    pub actor: String,
    pub rule: Option<String>,
    pub reference: String,
    pub recorded_at: Timestamp,
}

impl PaymentRecord {
    /// What the ledger must show of this payment.
    pub fn position(&self) -> Position {
        position_of(&PaymentMoney {
            channel: self.channel,
            amount: self.amount,
            status: self.status,
            refunded_minor: self.refunded_minor,
            given_up: self.given_up,
        })
    }

    fn reference(&self) -> String {
        let known = self.transaction_id.as_ref();
        known.unwrap_or(&self.channel_order_no).clone()
    }
}

/// What the entries of one step have in common.
struct Step<'a> {
    payment: &'a PaymentRecord,
    /// What tells this step from the payment's others; the second half of the keys.
    name: String,
    refund_no: Option<String>,
    source: &'static str,
    reference: String,
    now: Timestamp,
}

/// Why one movement of a step happened, and its day.
type Why = (Cause, Date);

impl Step<'_> {
    fn entries(&self, made: Difference, charge: Why, refund: Why) -> Vec<NewEntry> {
        let charges = made.charge.into_iter().map(|transfer| (transfer, charge));
        let refunds = made.refund.into_iter().map(|transfer| (transfer, refund));
        charges
            .chain(refunds)
            .enumerate()
            .map(|(n, (transfer, why))| self.entry(n, transfer, why))
            .collect()
    }

    fn entry(&self, n: usize, transfer: Transfer, (cause, day): Why) -> NewEntry {
        let number = &self.payment.payment_no;
        NewEntry {
            entry_key: format!("{number}:{}:{n}", self.name),
            payment_no: Some(number.clone()),
            refund_no: self.refund_no.clone(),
            channel: self.payment.channel,
            debit: transfer.debit,
            credit: transfer.credit,
            amount: transfer.amount,
            day,
            cause,
            source: self.source,
            actor: SYSTEM.to_owned(),
            rule: None,
            reference: self.reference.clone(),
            recorded_at: self.now,
        }
    }
}

fn between(before: &PaymentRecord, after: &PaymentRecord) -> Difference {
    entries_between(&before.position(), &after.position())
}

/// What evidence about a payment posts.
pub(super) fn of_evidence(
    before: &PaymentRecord,
    after: &PaymentRecord,
    change: &Change,
) -> Vec<NewEntry> {
    let cause = if !after.status.was_charged() {
        Cause::ChargeReversed
    } else if after.given_up {
        Cause::GivenUp
    } else {
        Cause::Charged
    };
    let step = Step {
        payment: after,
        name: cause.to_string(),
        refund_no: None,
        source: change.evidence.source.as_str(),
        reference: after.reference(),
        now: change.now,
    };
    let paid_at = after.paid_at.filter(|_| after.status.was_charged());
    let paid = bill_day(paid_at.unwrap_or(change.now));
    // Refunds that were known before their charge: their own days stand in their own records.
    let refunded = (Cause::Refunded, bill_day(change.now));
    step.entries(between(before, after), (cause, paid), refunded)
}

/// What it posts that a payment we had given up is taken after all.
pub(super) fn of_reopening(
    before: &PaymentRecord,
    after: &PaymentRecord,
    now: Timestamp,
) -> Vec<NewEntry> {
    let step = Step {
        payment: after,
        name: Cause::Reopened.to_string(),
        refund_no: None,
        source: "policy",
        reference: after.reference(),
        now,
    };
    let why = (Cause::Reopened, bill_day(now));
    step.entries(between(before, after), why, why)
}

/// What evidence about a refund posts.
pub(super) fn of_refund_evidence(
    before: &PaymentRecord,
    after: &PaymentRecord,
    refund: &RefundRecord,
    change: &RefundChange,
) -> Vec<NewEntry> {
    let why = if refund.status.holds_amount() {
        let at = refund.refunded_at.unwrap_or(change.now);
        (Cause::Refunded, bill_day(at))
    } else {
        (Cause::RefundReversed, bill_day(change.now))
    };
    let known = refund.channel_refund_id.as_ref();
    let step = Step {
        payment: after,
        name: format!("{}:{}", why.0, refund.refund_no),
        refund_no: Some(refund.refund_no.clone()),
        source: change.evidence.source.as_str(),
        reference: known.unwrap_or(&refund.channel_refund_no).clone(),
        now: change.now,
    };
    step.entries(between(before, after), why, why)
}

/// What brings the ledger to what the payment's record says, where it shows something else.
/// `known` is how many entries the payment has: the same step has the same keys, the next others.
pub fn reposting(
    payment: &PaymentRecord,
    shown: &Balances,
    known: i64,
    now: Timestamp,
) -> Vec<NewEntry> {
    let step = Step {
        payment,
        name: format!("{}:{known}", Cause::Reposted),
        refund_no: None,
        source: "reconciliation",
        reference: payment.reference(),
        now,
    };
    let paid = bill_day(payment.paid_at.unwrap_or(payment.updated_at));
    let refunded = bill_day(payment.last_refund_at.unwrap_or(payment.updated_at));
    let made = entries_to_reach(&payment.position(), shown);
    step.entries(made, (Cause::Reposted, paid), (Cause::Reposted, refunded))
}

/// What opens the ledger for a payment that is older, where it shows `shown` of the payment so far.
pub fn opening(payment: &PaymentRecord, shown: &Balances, now: Timestamp) -> Vec<NewEntry> {
    let step = Step {
        payment,
        name: Cause::Opening.to_string(),
        refund_no: None,
        source: "migration",
        reference: payment.reference(),
        now,
    };
    let paid = bill_day(payment.paid_at.unwrap_or(payment.updated_at));
    let refunded = bill_day(payment.last_refund_at.unwrap_or(payment.updated_at));
    let made = entries_to_reach(&payment.position(), shown);
    step.entries(made, (Cause::Opening, paid), (Cause::Opening, refunded))
}
