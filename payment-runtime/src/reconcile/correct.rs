//! Does what may be done about differences without a person.
//!
//! Guarantees: the channel is asked afresh before money is moved; what is decided is written to
//! the difference's trail before it is done, and doing it again changes nothing; a correction is
//! a new ledger entry or evidence applied to a record, never an edit.
//!
//! Deliberately not here: what may be done (`payment_core::reconciliation::decide_correction`);
//! what people do (`resolve`).

use channels::{OrderState, OrderStatus, Outcome, RefundState as AtChannel, RefundStatus};
use futures::stream::{self, StreamExt as _};
use jiff::civil::Date;
use payment_core::guards::holds;
use payment_core::ledger::{Account, Cause};
use payment_core::reconciliation::{
    Budget, Case, Correction, DifferenceClass, Kind, RULES, Said, Settings, Unprovable,
    decide_correction,
};
use payment_core::{ChannelKind, Guard, Money, Source};
use serde_json::{Value, json};

use super::books::{AcceptedBill, Allowance, DifferenceRecord, DifferenceState, NewAction, Step};
use super::{Reconciler, RunError};
use crate::clock;
use crate::records::{NewEntry, RefundOrigin, SYSTEM};
use crate::refunds::RefundRequest;

/// Differences looked at together.
const PAGE: u32 = 200;

/// Why a difference stays open although a correction was decided on.
const DID_NOT_FOLLOW: &str =
    "bill and channel agree, and our record did not follow; its history says why";
const NOTHING_TO_GIVE_BACK: &str = "no later charge of the order is left to give back";

/// What the channel said, with what it said it about.
struct Answer {
    said: Said,
    order: Option<OrderStatus>,
    refund: Option<RefundStatus>,
}

impl Answer {
    const fn not_asked() -> Self {
        Self {
            said: Said::Nothing,
            order: None,
            refund: None,
        }
    }

    fn evidence(&self) -> Value {
        let order = self.order.as_ref().map(|status| {
            json!({
                "state": format!("{:?}", status.state),
                "transactionId": status.transaction_id,
                "amountMinor": status.amount.map(|amount| amount.minor),
                "paidAt": status.paid_at.map(|at| at.to_string()),
            })
        });
        let refund = self.refund.as_ref().map(|status| {
            json!({
                "state": format!("{:?}", status.state),
                "refundId": status.channel_refund_id,
                "amountMinor": status.amount.map(|amount| amount.minor),
                "refundedAt": status.refunded_at.map(|at| at.to_string()),
            })
        });
        json!({ "order": order, "refund": refund })
    }
}

impl Reconciler {
    /// Looks at every unresolved difference of the bill's day; returns how many it corrected.
    pub(super) async fn correct(&self, bill: &AcceptedBill) -> Result<u64, RunError> {
        let (mut corrected, mut after) = (0, 0);
        loop {
            let page = self
                .books
                .unresolved(bill.channel, bill.day, after, PAGE)
                .await?;
            let Some(last) = page.last() else {
                return Ok(corrected);
            };
            after = last.id;
            let at_once = self.settings().workers.max(1) as usize;
            let asked: Vec<(DifferenceRecord, Result<Answer, RunError>)> = stream::iter(page)
                .filter(|difference| {
                    let proposed = difference.state == DifferenceState::Proposed;
                    std::future::ready(!proposed)
                })
                .map(|difference| async {
                    let answer = self.ask_about(&difference).await;
                    (difference, answer)
                })
                .buffered(at_once)
                .collect()
                .await;
            // One after the other: each counts against the same budget.
            for (difference, answer) in asked {
                corrected += u64::from(self.settle(&difference, &answer?).await?);
            }
        }
    }

    async fn ask_about(&self, difference: &DifferenceRecord) -> Result<Answer, RunError> {
        use DifferenceClass as Class;
        match difference.class {
            Class::ShortByStatus
            | Class::MissingWithUs
            | Class::MissingAtChannel
            | Class::Amount
            | Class::DuplicateCharge => self.ask_about_order(difference).await,
            Class::RefundShortByStatus
            | Class::RefundMissingAtChannel
            | Class::RefundAmount
            | Class::RefundStatus => self.ask_about_refund(difference).await,
            Class::Currency
            | Class::Merchant
            | Class::Duplicate
            | Class::Fee
            | Class::Ledger
            | Class::RefundMissingWithUs => Ok(Answer::not_asked()),
        }
    }

    async fn ask_about_order(&self, difference: &DifferenceRecord) -> Result<Answer, RunError> {
        let channel = self.payments.channel(difference.channel)?;
        let call = channel.query(&difference.channel_order_no, self.now());
        let kind = difference.channel;
        let outcome = self.payments.measured(kind, "query", call).await;
        let Outcome::Done(status) = outcome else {
            return Ok(Answer::not_asked());
        };
        Ok(Answer {
            said: said_of_order(difference, &status),
            order: Some(status),
            refund: None,
        })
    }

    async fn ask_about_refund(&self, difference: &DifferenceRecord) -> Result<Answer, RunError> {
        let channel = self.payments.channel(difference.channel)?;
        let (order, number) = (&difference.channel_order_no, &difference.number);
        let call = channel.query_refund(order, number, self.now());
        let kind = difference.channel;
        let outcome = self.payments.measured(kind, "refund-query", call).await;
        let Outcome::Done(status) = outcome else {
            return Ok(Answer::not_asked());
        };
        Ok(Answer {
            said: match status.state {
                AtChannel::NotFound => Said::Absent,
                AtChannel::Processing => Said::Processing,
                AtChannel::Succeeded => Said::GivenBack(status.amount),
                AtChannel::Failed | AtChannel::Abnormal => Said::NotGivenBack,
            },
            order: None,
            refund: Some(status),
        })
    }

    /// Decides about one difference and does it. `true`: something was corrected.
    async fn settle(
        &self,
        difference: &DifferenceRecord,
        answer: &Answer,
    ) -> Result<bool, RunError> {
        let case = Case {
            class: difference.class,
            kind: difference.kind,
            ours: difference.ours,
            bill: difference.bill,
            age_days: self.age_days(difference.day),
        };
        let settings = self.settings();
        let rules = Settings {
            enabled: settings.corrections.enabled,
            wait_days: i64::from(settings.late_rows.wait_days),
        };
        let left = self.budget(difference.channel).await?;
        let decision = decide_correction(case, answer.said, rules, left);
        if decision == Correction::Person(Unprovable::Capped)
            && !self.books.booked_for(difference.id).await?.is_empty()
        {
            // What is booked already costs nothing more, and says why it stays.
            return Ok(false);
        }
        let done = match decision {
            Correction::Believe => self.believe(difference, answer).await?,
            Correction::RefundLater => self.refund_later(difference, answer).await?,
            Correction::Repost => self.repost(difference).await?,
            Correction::Suspense | Correction::Freeze => {
                self.set_aside(difference, decision, answer).await?
            }
            Correction::TakeFee | Correction::Wait(_) | Correction::Person(_) => {
                self.explain(difference, decision, answer).await?;
                false
            }
        };
        Ok(done)
    }

    fn age_days(&self, day: Date) -> i64 {
        let today = clock::bill_day(self.now());
        today
            .since(day)
            .map_or(0, |span| i64::from(span.get_days()))
    }

    async fn budget(&self, channel: ChannelKind) -> Result<Budget, RunError> {
        let allowed = self.allowance();
        let (count, minor) = self.books.corrected_since(channel, allowed.since).await?;
        Ok(Budget {
            count: allowed.count.saturating_sub(count),
            minor: allowed.minor.saturating_sub(minor),
        })
    }

    fn allowance(&self) -> Allowance {
        let allowed = &self.settings().corrections;
        Allowance {
            since: clock::beginning_of(clock::bill_day(self.now())),
            count: u64::from(allowed.daily_count),
            minor: allowed.daily_amount_minor,
        }
    }

    /// Drives our record to what bill and channel both say.
    async fn believe(
        &self,
        difference: &DifferenceRecord,
        answer: &Answer,
    ) -> Result<bool, RunError> {
        let allowed = self.announce(difference, Correction::Believe, answer);
        if !allowed.await? {
            return Ok(false);
        }
        let moved = match difference.kind {
            Kind::Payment => self.believe_charge(difference, answer).await?,
            Kind::Refund => self.believe_refund(difference, answer).await?,
        };
        if !moved {
            self.stays_open(difference, DID_NOT_FOLLOW, answer).await?;
            return Ok(false);
        }
        self.resolved(difference, "believed", "our record follows the channel")
            .await
    }

    async fn believe_charge(
        &self,
        difference: &DifferenceRecord,
        answer: &Answer,
    ) -> Result<bool, RunError> {
        let (Some(payment_no), Some(status)) = (&difference.payment_no, &answer.order) else {
            return Ok(false);
        };
        let Some(payment) = self.payments.records.payment(payment_no).await? else {
            return Ok(false);
        };
        let applied = self
            .payments
            .apply_status(&payment, status, Source::Bill)
            .await?;
        Ok(applied.payment.status.was_charged())
    }

    async fn believe_refund(
        &self,
        difference: &DifferenceRecord,
        answer: &Answer,
    ) -> Result<bool, RunError> {
        let (Some(payment_no), Some(refund_no), Some(status)) = (
            &difference.payment_no,
            &difference.refund_no,
            &answer.refund,
        ) else {
            return Ok(false);
        };
        let Some(refund) = self.payments.records.refund(payment_no, refund_no).await? else {
            return Ok(false);
        };
        let before = refund.status;
        let refund = self
            .payments
            .apply_refund_status(&refund, status, Source::Bill)
            .await?;
        Ok(refund.status != before)
    }

    /// Gives the later of two charges of one order back.
    async fn refund_later(
        &self,
        difference: &DifferenceRecord,
        answer: &Answer,
    ) -> Result<bool, RunError> {
        let Some(payment_no) = &difference.payment_no else {
            return Ok(false);
        };
        let records = &self.payments.records;
        let Some(payment) = records.payment(payment_no).await? else {
            return Ok(false);
        };
        let mut charged = records.payments_of_order(&payment.order_id).await?;
        charged.retain(|payment| payment.status.was_charged() && !payment.given_up);
        charged.retain(|payment| payment.reserved.minor < payment.amount.minor);
        charged.sort_by_key(|payment| payment.attempt);
        let Some(later) = charged.pop().filter(|_| !charged.is_empty()) else {
            self.stays_open(difference, NOTHING_TO_GIVE_BACK, answer)
                .await?;
            return Ok(false);
        };
        let allowed = self.announce(difference, Correction::RefundLater, answer);
        if !allowed.await? {
            return Ok(false);
        }
        let rest = later.amount.minor - later.reserved.minor;
        let refund_no = format!("duplicate-{}", difference.id);
        let request = RefundRequest {
            request_hash: format!("{refund_no}:{}", later.payment_no),
            refund_no,
            amount: Money::new(rest, later.amount.currency),
            reason: None,
            origin: RefundOrigin::Reconciliation,
        };
        self.payments.refund(later, &request).await?;
        self.resolved(difference, "refunded", "the later charge is given back")
            .await
    }

    async fn repost(&self, difference: &DifferenceRecord) -> Result<bool, RunError> {
        let Some(payment_no) = &difference.payment_no else {
            return Ok(false);
        };
        let nothing = Answer::not_asked();
        let allowed = self.announce(difference, Correction::Repost, &nothing);
        if !allowed.await? {
            return Ok(false);
        }
        self.books.repost(payment_no, self.now()).await?;
        self.resolved(difference, "reposted", "the ledger has what it lacked")
            .await
    }

    /// Books money whose owner is not certain to suspense. The difference stays open.
    async fn set_aside(
        &self,
        difference: &DifferenceRecord,
        decision: Correction,
        answer: &Answer,
    ) -> Result<bool, RunError> {
        let booked = self.books.booked_for(difference.id).await?;
        if !booked.is_empty() && holds(Guard::CorrectionOnce) {
            return Ok(false);
        }
        let Some(amount) = difference.amount() else {
            return Ok(false);
        };
        let (clearing, suspense) = (
            Account::Clearing(difference.channel),
            Account::Suspense(difference.channel),
        );
        let (debit, cause, why) = match decision {
            Correction::Freeze => (
                Account::Merchant,
                Cause::Freeze,
                "the channel denies it; the money is frozen in suspense",
            ),
            _ => (
                clearing,
                Cause::Suspense,
                "booked to suspense; whose money it is has to be found out",
            ),
        };
        let name = cause.as_str();
        let entry = self.entry(difference, (cause, name), debit, suspense, amount);
        let action = self.action(difference, name, decision.as_str(), answer, Some(amount));
        let step = Step {
            to: DifferenceState::Open,
            why: why.to_owned(),
            entries: vec![entry],
            ..Step::staying(difference, action)
        };
        let allowance = self.allowance();
        Ok(self.books.take_step_within(&step, &allowance).await?)
    }

    /// Writes down why a difference stays, once.
    async fn explain(
        &self,
        difference: &DifferenceRecord,
        decision: Correction,
        answer: &Answer,
    ) -> Result<(), RunError> {
        let why = match decision {
            Correction::Wait(why) => why,
            Correction::Person(why) => why.as_str(),
            _ => "taken as it is; the contract says another fee",
        };
        let to = if decision.heals_by_itself(difference.at_the_edge) {
            DifferenceState::Waiting
        } else {
            DifferenceState::Open
        };
        self.stays(difference, to, why, answer).await
    }

    /// A correction that was decided on had nothing to change: a person has to look.
    async fn stays_open(
        &self,
        difference: &DifferenceRecord,
        why: &str,
        answer: &Answer,
    ) -> Result<(), RunError> {
        let open = DifferenceState::Open;
        self.stays(difference, open, why, answer).await
    }

    async fn stays(
        &self,
        difference: &DifferenceRecord,
        to: DifferenceState,
        why: &str,
        answer: &Answer,
    ) -> Result<(), RunError> {
        if (difference.state, difference.why.as_str()) == (to, why) {
            return Ok(());
        }
        let action = self.action(difference, "asked", why, answer, None);
        let step = Step {
            to,
            why: why.to_owned(),
            ..Step::staying(difference, action)
        };
        self.books.take_step(&step).await?;
        Ok(())
    }

    /// Says on the trail what is about to be done. `false`: it may not be done any more.
    async fn announce(
        &self,
        difference: &DifferenceRecord,
        decision: Correction,
        answer: &Answer,
    ) -> Result<bool, RunError> {
        let name = decision.as_str();
        let action = self.action(difference, "correcting", name, answer, difference.amount());
        let step = Step::staying(difference, action);
        let allowance = self.allowance();
        Ok(self.books.take_step_within(&step, &allowance).await?)
    }

    /// Ends a difference that was corrected.
    async fn resolved(
        &self,
        difference: &DifferenceRecord,
        action: &'static str,
        why: &str,
    ) -> Result<bool, RunError> {
        self.end(difference, "corrected", action, why).await
    }

    /// Ends the differences of the day that the run no longer found.
    pub(super) async fn heal(&self, bill: &AcceptedBill, run_id: u64) -> Result<(), RunError> {
        loop {
            let healed = self.books.healed(bill, run_id, PAGE).await?;
            if healed.is_empty() {
                return Ok(());
            }
            for difference in healed {
                let why = "both sides agree by now";
                self.end(&difference, "agreed-later", "agreed", why).await?;
            }
        }
    }

    /// Resolves a difference, and takes back what is booked for it. `false`: it stands elsewhere
    /// by now.
    async fn end(
        &self,
        difference: &DifferenceRecord,
        resolution: &str,
        action: &'static str,
        why: &str,
    ) -> Result<bool, RunError> {
        let action = self.action(difference, action, why, &Answer::not_asked(), None);
        let step = Step {
            to: DifferenceState::Resolved,
            why: why.to_owned(),
            resolution: Some(resolution.to_owned()),
            entries: self.taken_back(difference).await?,
            ..Step::staying(difference, action)
        };
        Ok(self.books.take_step(&step).await?)
    }

    /// Entries that take back what is booked for a difference.
    pub(super) async fn taken_back(
        &self,
        difference: &DifferenceRecord,
    ) -> Result<Vec<NewEntry>, RunError> {
        let booked = self.books.booked_for(difference.id).await?;
        let back = booked.iter().map(|booked| {
            let back = booked.taken_back();
            let name = (Cause::Correction, "taken-back");
            self.entry(difference, name, back.debit, back.credit, back.amount)
        });
        Ok(back.collect())
    }

    /// An entry for a difference. Its key names the stand of the difference it was made at, so
    /// that doing the same again books nothing.
    pub(super) fn entry(
        &self,
        difference: &DifferenceRecord,
        (cause, name): (Cause, &str),
        debit: Account,
        credit: Account,
        amount: Money,
    ) -> NewEntry {
        let id = difference.id;
        let stand = if holds(Guard::CorrectionOnce) {
            difference.changed_at.as_millisecond()
        } else {
            self.now().as_millisecond()
        };
        NewEntry {
            entry_key: format!("difference:{id}:{name}:{stand}:{debit}"),
            payment_no: None,
            refund_no: None,
            channel: difference.channel,
            debit,
            credit,
            amount,
            day: difference.day,
            cause,
            source: Source::Bill.as_str(),
            actor: SYSTEM.to_owned(),
            rule: Some(RULES),
            reference: format!("difference:{id}"),
            recorded_at: self.now(),
        }
    }

    fn action(
        &self,
        difference: &DifferenceRecord,
        action: &'static str,
        reason: &str,
        answer: &Answer,
        moved: Option<Money>,
    ) -> NewAction {
        let stand = difference.changed_at.as_millisecond();
        NewAction {
            at: self.now(),
            actor: SYSTEM.to_owned(),
            action,
            rule: Some(RULES),
            reason: reason.to_owned(),
            note: String::new(),
            evidence: answer.evidence().to_string(),
            key: format!("{action}:{stand}"),
            moved,
        }
    }
}

fn said_of_order(difference: &DifferenceRecord, status: &OrderStatus) -> Said {
    let refunded = difference.our_state.as_deref() == Some("REFUNDED");
    match status.state {
        OrderState::NotFound => Said::Absent,
        // Alipay closes a trade that was given back whole.
        OrderState::Closed if refunded && difference.channel == ChannelKind::Alipay => {
            difference.ours.map_or(Said::NotCharged, Said::Charged)
        }
        OrderState::NotPaid | OrderState::Closed => Said::NotCharged,
        OrderState::Paid | OrderState::Refunded => {
            status.amount.map_or(Said::Nothing, Said::Charged)
        }
    }
}
