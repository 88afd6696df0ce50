//! Payments and their attempts.

use std::time::Duration;

use jiff::Timestamp;
use payment_core::guards::holds;
use payment_core::{ChannelKind, Guard, PaymentState, may_try_again};
use payment_runtime::ports::StoreError;
use payment_runtime::records::{
    self, Applied, AttemptInserted, Change, Finish, Inserted, NewPayment, NewRequest, NextLook,
    OpenCounts, Page, PaymentRecord, after,
};

use super::{Commit, Database, Leased, vanished};

impl Database {
    pub fn insert(&mut self, new: &NewPayment, request: Option<&NewRequest>) -> Inserted {
        // The schema's order: the request's row comes first, so its key is found taken first.
        if request.is_some_and(|request| self.requests.contains_key(&request.key)) {
            return Inserted::KeyExists;
        }
        if holds(Guard::OnePaymentPerOrder)
            && let Some(payment) = self.payment_of_order(&new.order_id)
        {
            return Inserted::OrderExists(payment);
        }
        if let Some(request) = request {
            self.write_request(request);
        }
        Inserted::New(self.write_new(new, 1))
    }

    pub fn insert_attempt(
        &mut self,
        previous: &str,
        new: &NewPayment,
    ) -> Result<AttemptInserted, StoreError> {
        let before = self.payment(previous).ok_or_else(|| vanished(previous))?;
        let latest = self
            .payment_of_order(&before.order_id)
            .ok_or_else(|| vanished(previous))?;
        if latest.attempt != before.attempt {
            return Ok(AttemptInserted::Superseded(latest));
        }
        if !may_try_again(before.status) {
            return Ok(AttemptInserted::NotProven(before));
        }
        let payment = self.write_new(new, before.attempt + 1);
        Ok(AttemptInserted::New(payment))
    }

    fn write_new(&mut self, new: &NewPayment, attempt: u32) -> PaymentRecord {
        let id = self.next_id();
        let record = new.record(id, attempt);
        self.payment_numbers.insert(record.payment_no.clone(), id);
        self.order_attempts
            .entry(record.order_id.clone())
            .or_default()
            .push(id);
        let number = (record.channel, record.channel_order_no.clone());
        self.channel_orders.insert(number, id);
        self.payments.insert(
            id,
            Leased {
                record: record.clone(),
                lease_until: None,
            },
        );
        self.commits.push(Commit::Payment {
            before: None,
            after: Box::new(record.clone()),
        });
        self.write_event(&new.event());
        record
    }

    fn of_id(&self, id: u64) -> Option<PaymentRecord> {
        self.payments.get(&id).map(|row| row.record.clone())
    }

    pub fn payment(&self, payment_no: &str) -> Option<PaymentRecord> {
        self.of_id(*self.payment_numbers.get(payment_no)?)
    }

    pub fn payment_of_order(&self, order_id: &str) -> Option<PaymentRecord> {
        self.of_id(*self.order_attempts.get(order_id)?.last()?)
    }

    pub fn payments_of_order(&self, order_id: &str) -> Vec<PaymentRecord> {
        let ids = self.order_attempts.get(order_id).into_iter().flatten();
        ids.rev()
            .take(100)
            .filter_map(|id| self.of_id(*id))
            .collect()
    }

    pub fn payment_of_channel_order(
        &self,
        channel: ChannelKind,
        channel_order_no: &str,
    ) -> Option<PaymentRecord> {
        let key = (channel, channel_order_no.to_owned());
        self.of_id(*self.channel_orders.get(&key)?)
    }

    pub fn payments(&self, before: Option<u64>, limit: u32) -> Page {
        let payments: Vec<PaymentRecord> = self
            .payments
            .range(..before.unwrap_or(u64::MAX))
            .rev()
            .take(limit as usize)
            .map(|(_, row)| row.record.clone())
            .collect();
        let full = payments.len() == limit as usize;
        let next = payments.last().filter(|_| full).map(|payment| payment.id);
        Page { payments, next }
    }

    pub(super) fn write_payment(&mut self, after: PaymentRecord) {
        let Some(row) = self.payments.get_mut(&after.id) else {
            return;
        };
        if row.record == after {
            return;
        }
        let before = std::mem::replace(&mut row.record, after.clone());
        self.commits.push(Commit::Payment {
            before: Some(Box::new(before)),
            after: Box::new(after),
        });
    }

    pub fn apply(
        &mut self,
        payment_no: &str,
        change: &Change,
        finish: Option<&Finish<'_>>,
    ) -> Result<Applied, StoreError> {
        let before = self
            .payment(payment_no)
            .ok_or_else(|| vanished(payment_no))?;
        let step = records::apply_evidence(&before, change);
        self.write_entries(&step.entries)?;
        self.write_payment(step.payment.clone());
        if let Some(event) = &step.event {
            self.write_event(event);
        }
        let answer = finish.map(|finish| {
            let ours = (finish.answer)(&step.payment);
            self.finish_request(finish.key, &ours)
        });
        Ok(Applied {
            payment: step.payment,
            decision: step.decision,
            answer,
        })
    }

    pub fn reopen(
        &mut self,
        payment_no: &str,
        now: Timestamp,
    ) -> Result<Option<PaymentRecord>, StoreError> {
        let before = self
            .payment(payment_no)
            .ok_or_else(|| vanished(payment_no))?;
        let latest = self.payment_of_order(&before.order_id);
        let is_latest = latest.is_some_and(|latest| latest.attempt == before.attempt);
        let Some(step) = records::reopen(&before, now).filter(|_| is_latest) else {
            return Ok(None);
        };
        self.write_entries(&step.entries)?;
        self.write_payment(step.payment.clone());
        if let Some(event) = &step.event {
            self.write_event(event);
        }
        Ok(Some(step.payment))
    }

    pub fn claim_due(
        &mut self,
        now: Timestamp,
        lease_seconds: u64,
        limit: u32,
    ) -> Vec<PaymentRecord> {
        let mut due: Vec<(Timestamp, u64)> = self
            .payments
            .values()
            .filter(|row| row.lease_until.is_none_or(|until| until <= now))
            .filter_map(|row| Some((row.record.next_question_at?, row.record.id)))
            .filter(|(at, _)| *at <= now)
            .collect();
        due.sort_unstable();
        due.truncate(limit as usize);
        let until = after(now, Duration::from_secs(lease_seconds));
        let mut claimed = Vec::new();
        for (_, id) in due {
            if let Some(row) = self.payments.get_mut(&id) {
                row.lease_until = Some(until);
                claimed.push(row.record.clone());
            }
        }
        claimed
    }

    pub fn release(&mut self, payment_no: &str, next: NextLook) {
        let Some(id) = self.payment_numbers.get(payment_no) else {
            return;
        };
        if let Some(row) = self.payments.get_mut(id) {
            row.lease_until = None;
            row.record.question_count += 1;
            let recorded = row.record.next_question_at;
            row.record.next_question_at = next.after(recorded, row.record.status);
        }
    }

    pub fn open_counts(&self) -> OpenCounts {
        let mut counts = OpenCounts::default();
        for row in self.payments.values() {
            let ended = matches!(
                row.record.status,
                PaymentState::Closed | PaymentState::Failed
            );
            if row.record.next_question_at.is_some() && !ended {
                count(&mut counts.payments, row.record.status);
            }
        }
        for row in self.refunds.values() {
            if row.record.next_question_at.is_some() {
                count(&mut counts.refunds, row.record.status);
                counts.refunds_needing_attention += u64::from(row.record.attention);
            }
        }
        counts
    }
}

fn count<State: PartialEq>(counts: &mut Vec<(State, u64)>, state: State) {
    match counts.iter_mut().find(|(other, _)| *other == state) {
        Some((_, n)) => *n += 1,
        None => counts.push((state, 1)),
    }
}
