//! Differences and what was done about them.

use jiff::Timestamp;
use jiff::civil::Date;
use payment_core::ChannelKind;
use payment_core::{Account, Cause, Money};
use payment_runtime::ports::StoreError;
use payment_runtime::reconcile::books::{
    AcceptedBill, Action, Allowance, Booked, DifferenceRecord, DifferenceState, NewAction,
    NewDifference, Step,
};
use payment_runtime::records::{NewEntry, SYSTEM, reposting};

use crate::database::{Database, vanished};

/// A difference, and the run that found it last.
#[derive(Clone, Debug)]
pub struct KeptDifference {
    pub record: DifferenceRecord,
    last_run_id: u64,
}

/// A line of a trail.
#[derive(Clone, Debug)]
pub struct Done {
    pub difference_id: u64,
    pub channel: ChannelKind,
    pub action: NewAction,
}

fn clipped(text: &str) -> String {
    text.chars().take(255).collect()
}

impl Database {
    pub(super) fn upsert_difference(
        &mut self,
        bill: &AcceptedBill,
        run_id: u64,
        new: &NewDifference,
        now: Timestamp,
    ) {
        let known = self.books.differences.values_mut().find(|kept| {
            let known = &kept.record;
            (known.channel, known.day, known.kind, &known.number)
                == (bill.channel, bill.day, new.kind, &new.number)
                && (known.class, known.line) == (new.class, new.line)
        });
        match known {
            Some(kept) => kept.found_again(run_id, new, now),
            None => self.insert_difference(bill, run_id, new, now),
        }
    }

    fn insert_difference(
        &mut self,
        bill: &AcceptedBill,
        run_id: u64,
        new: &NewDifference,
        now: Timestamp,
    ) {
        let id = self.next_id();
        let record = DifferenceRecord {
            id,
            channel: bill.channel,
            day: bill.day,
            kind: new.kind,
            class: new.class,
            number: new.number.clone(),
            line: new.line,
            channel_order_no: new.channel_order_no.clone(),
            payment_no: new.payment_no.clone(),
            refund_no: new.refund_no.clone(),
            transaction_id: new.transaction_id.clone(),
            our_state: new.our_state.map(str::to_owned),
            ours: new.ours,
            bill: new.bill,
            fee_1e5: new.fee_1e5,
            at: new.at,
            at_the_edge: new.at_the_edge,
            state: state_when_found(new),
            why: String::new(),
            assignee: None,
            resolution: None,
            found_at: now,
            changed_at: now,
        };
        let last_run_id = run_id;
        let kept = KeptDifference {
            record,
            last_run_id,
        };
        self.books.differences.insert(id, kept);
    }

    /// Unresolved differences of the day that only earlier runs found.
    pub fn healed(&self, bill: &AcceptedBill, run_id: u64, limit: u32) -> Vec<DifferenceRecord> {
        let of_day = self.unresolved_of(bill.channel, bill.day);
        let healed = of_day.filter(|kept| kept.last_run_id < run_id);
        healed
            .take(limit as usize)
            .map(|kept| kept.record.clone())
            .collect()
    }

    pub fn unresolved(
        &self,
        channel: ChannelKind,
        day: Date,
        after: u64,
        limit: u32,
    ) -> Vec<DifferenceRecord> {
        let of_day = self.unresolved_of(channel, day);
        of_day
            .filter(|kept| kept.record.id > after)
            .take(limit as usize)
            .map(|kept| kept.record.clone())
            .collect()
    }

    fn unresolved_of(
        &self,
        channel: ChannelKind,
        day: Date,
    ) -> impl Iterator<Item = &KeptDifference> {
        let all = self.books.differences.values();
        all.filter(move |kept| {
            let record = &kept.record;
            (record.channel, record.day) == (channel, day)
                && record.state != DifferenceState::Resolved
        })
    }

    pub fn difference(&self, id: u64) -> Option<&DifferenceRecord> {
        self.books.differences.get(&id).map(|kept| &kept.record)
    }

    pub fn all_differences(&self) -> impl Iterator<Item = &DifferenceRecord> {
        self.books.differences.values().map(|kept| &kept.record)
    }

    /// Every line of every trail.
    pub fn all_actions(&self) -> impl Iterator<Item = &Done> {
        self.books.actions.iter()
    }

    /// A difference's trail.
    pub fn actions(&self, id: u64) -> Vec<Action> {
        let lines = self.all_actions().enumerate();
        lines
            .filter(|(_, done)| done.difference_id == id)
            .map(|(place, done)| Action {
                id: place as u64,
                at: done.action.at,
                actor: done.action.actor.clone(),
                action: done.action.action.to_owned(),
                rule: done.action.rule.map(str::to_owned),
                reason: clipped(&done.action.reason),
                note: done.action.note.clone(),
                evidence: done.action.evidence.clone(),
            })
            .collect()
    }

    pub fn take_step(&mut self, step: &Step) -> Result<bool, StoreError> {
        let Some(kept) = self.books.differences.get(&step.id) else {
            return Ok(false);
        };
        if kept.record.state != step.from {
            return Ok(false);
        }
        let channel = kept.record.channel;
        self.post(&step.entries)?;
        let mut known = self.books.actions.iter();
        if !known.any(|done| done.difference_id == step.id && done.action.key == step.action.key) {
            self.books.actions.push(Done {
                difference_id: step.id,
                channel,
                action: step.action.clone(),
            });
        }
        if let Some(kept) = self.books.differences.get_mut(&step.id) {
            let record = &mut kept.record;
            record.state = step.to;
            record.why = clipped(&step.why);
            record.assignee.clone_from(&step.assignee);
            record.resolution.clone_from(&step.resolution);
            if step.from != step.to {
                record.changed_at = step.action.at;
            }
        }
        Ok(true)
    }

    pub fn take_step_within(
        &mut self,
        step: &Step,
        allowance: &Allowance,
    ) -> Result<bool, StoreError> {
        let Some(channel) = self.difference(step.id).map(|known| known.channel) else {
            return Ok(false);
        };
        let (count, minor) = self.corrected_since(channel, allowance.since);
        let counted = self.all_actions().any(|done| {
            let key = (done.difference_id, &done.action.key);
            key == (step.id, &step.action.key) && done.action.at >= allowance.since
        });
        let allowed = step.action.moved.is_none_or(|moved| {
            counted || count < allowance.count && moved.minor <= allowance.minor - minor
        });
        if allowed {
            self.take_step(step)
        } else {
            Ok(false)
        }
    }

    pub fn booked_for(&self, id: u64) -> Vec<Booked> {
        let reference = format!("difference:{id}");
        let mut booked: Vec<Booked> = Vec::new();
        let entries: Vec<&NewEntry> = self
            .all_entries()
            .filter(|entry| entry.reference == reference)
            .collect();
        for entry in entries {
            let swapped = entry.credit.as_str() < entry.debit.as_str();
            let (debit, credit, minor) = if swapped {
                (entry.credit, entry.debit, -entry.amount.minor)
            } else {
                (entry.debit, entry.credit, entry.amount.minor)
            };
            let currency = entry.amount.currency;
            let same = booked.iter_mut().find(|known| {
                (known.debit, known.credit, known.amount.currency) == (debit, credit, currency)
            });
            match same {
                Some(known) => known.amount.minor += minor,
                None => booked.push(Booked {
                    debit,
                    credit,
                    amount: Money::new(minor, currency),
                }),
            }
        }
        booked.retain(|known| known.amount.minor != 0);
        for known in &mut booked {
            if known.amount.minor < 0 {
                std::mem::swap(&mut known.debit, &mut known.credit);
                known.amount.minor = -known.amount.minor;
            }
        }
        booked
    }

    pub fn repost(&mut self, payment_no: &str, now: Timestamp) -> Result<u64, StoreError> {
        let payment = self
            .payment(payment_no)
            .ok_or_else(|| vanished(payment_no))?;
        let mut shown = payment_core::ledger::Balances::new();
        for entry in self.entries_of(payment_no) {
            if entry.cause.follows_record() {
                *shown.entry(entry.debit).or_default() += entry.amount.minor;
                *shown.entry(entry.credit).or_default() -= entry.amount.minor;
            }
        }
        shown.retain(|_, minor| *minor != 0);
        let known = i64::try_from(self.entries_of(payment_no).count()).unwrap_or(i64::MAX);
        let entries = reposting(&payment, &shown, known, now);
        self.write_entries(&entries)?;
        self.lost.remove(payment_no);
        Ok(entries.len() as u64)
    }

    pub fn corrected_since(&self, channel: ChannelKind, since: Timestamp) -> (u64, i64) {
        let done = self.all_actions().filter(|done| {
            done.channel == channel && done.action.at >= since && done.action.actor == SYSTEM
        });
        let moved: Vec<i64> = done
            .filter_map(|done| Some(done.action.moved?.minor))
            .collect();
        (moved.len() as u64, moved.iter().sum())
    }

    pub fn posted_fee(&self, channel: ChannelKind, day: Date) -> i64 {
        let fees = Account::Fees(channel);
        self.all_entries()
            .filter(|entry| {
                entry.cause == Cause::Fee && entry.day == day && entry.channel == channel
            })
            .map(|entry| {
                if entry.debit == fees {
                    entry.amount.minor
                } else {
                    -entry.amount.minor
                }
            })
            .sum()
    }
}

fn state_when_found(new: &NewDifference) -> DifferenceState {
    if new.at_the_edge && new.bill.is_none() {
        DifferenceState::Waiting
    } else {
        DifferenceState::Open
    }
}

impl KeptDifference {
    /// As the real database words it: what a person resolved and what still is the same stays.
    fn found_again(&mut self, run_id: u64, new: &NewDifference, now: Timestamp) {
        let known = &mut self.record;
        let minor = |amount: Option<Money>| amount.map(|amount| amount.minor);
        let same = (minor(known.ours), minor(known.bill)) == (minor(new.ours), minor(new.bill));
        let by_itself = matches!(
            known.resolution.as_deref(),
            Some("agreed-later" | "corrected")
        );
        if known.state == DifferenceState::Resolved && (by_itself || !same) {
            known.changed_at = now;
        }
        if known.changed_at == now {
            known.state = state_when_found(new);
            known.why = String::new();
        }
        if known.state != DifferenceState::Resolved {
            known.resolution = None;
        }
        known.payment_no.clone_from(&new.payment_no);
        known.refund_no.clone_from(&new.refund_no);
        known.transaction_id.clone_from(&new.transaction_id);
        known.our_state = new.our_state.map(str::to_owned);
        (known.ours, known.bill) = (new.ours, new.bill);
        (known.fee_1e5, known.at) = (new.fee_1e5, new.at);
        known.at_the_edge = new.at_the_edge;
        self.last_run_id = run_id;
    }
}
