//! Refunds.

use std::time::Duration;

use jiff::Timestamp;
use payment_core::ChannelKind;
use payment_runtime::ports::StoreError;
use payment_runtime::records::{
    self, AppliedRefund, NewRefund, RefundChange, RefundRecord, ReservedRefund, after,
};

use super::{Commit, Database, Leased, vanished};

impl Database {
    pub fn reserve_refund(&mut self, new: &NewRefund) -> Result<ReservedRefund, StoreError> {
        let payment_no = &new.payment_no;
        let payment = self
            .payment(payment_no)
            .ok_or_else(|| vanished(payment_no))?;
        if let Some(refund) = self.refund(payment_no, &new.refund_no) {
            return Ok(ReservedRefund::Existing(refund));
        }
        let step = match records::reserve_refund(&payment, new) {
            Ok(step) => step,
            Err(why) => return Ok(ReservedRefund::Refused(why)),
        };
        let channel_key = (step.refund.channel, step.refund.channel_refund_no.clone());
        if self.channel_refunds.contains_key(&channel_key) {
            return Err(vanished("a channel refund number that is taken"));
        }
        let mut refund = step.refund;
        refund.id = self.next_id();
        self.channel_refunds.insert(channel_key, refund.id);
        let key = (refund.payment_no.clone(), refund.refund_no.clone());
        self.refund_numbers.insert(key, refund.id);
        self.refunds.insert(
            refund.id,
            Leased {
                record: refund.clone(),
                lease_until: None,
            },
        );
        self.commits.push(Commit::Refund {
            before: None,
            after: Box::new(refund.clone()),
        });
        self.write_payment(step.payment);
        self.write_event(&step.event);
        Ok(ReservedRefund::New(refund))
    }

    pub fn refund(&self, payment_no: &str, refund_no: &str) -> Option<RefundRecord> {
        let key = (payment_no.to_owned(), refund_no.to_owned());
        let id = self.refund_numbers.get(&key)?;
        self.refunds.get(id).map(|row| row.record.clone())
    }

    pub fn refunds(&self, payment_no: &str) -> Vec<RefundRecord> {
        let rows = self.refunds.values().map(|row| &row.record);
        rows.filter(|refund| refund.payment_no == payment_no)
            .take(100)
            .cloned()
            .collect()
    }

    pub fn refund_of_channel_number(
        &self,
        channel: ChannelKind,
        channel_refund_no: &str,
    ) -> Option<RefundRecord> {
        let key = (channel, channel_refund_no.to_owned());
        let id = self.channel_refunds.get(&key)?;
        self.refunds.get(id).map(|row| row.record.clone())
    }

    pub fn apply_refund(
        &mut self,
        payment_no: &str,
        refund_no: &str,
        change: &RefundChange,
    ) -> Result<AppliedRefund, StoreError> {
        let payment = self
            .payment(payment_no)
            .ok_or_else(|| vanished(payment_no))?;
        let before = self
            .refund(payment_no, refund_no)
            .ok_or_else(|| vanished(refund_no))?;
        let step = records::apply_refund_evidence(&payment, &before, change);
        self.write_entries(&step.entries)?;
        if step.refund != before
            && let Some(row) = self.refunds.get_mut(&before.id)
        {
            row.record = step.refund.clone();
            self.commits.push(Commit::Refund {
                before: Some(Box::new(before)),
                after: Box::new(step.refund.clone()),
            });
        }
        self.write_payment(step.payment.clone());
        for event in &step.events {
            self.write_event(event);
        }
        Ok(AppliedRefund {
            refund: step.refund,
            payment: step.payment,
            decision: step.decision,
        })
    }

    pub fn claim_due_refunds(
        &mut self,
        now: Timestamp,
        lease_seconds: u64,
        limit: u32,
    ) -> Vec<RefundRecord> {
        let mut due: Vec<(Timestamp, u64)> = self
            .refunds
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
            if let Some(row) = self.refunds.get_mut(&id) {
                row.lease_until = Some(until);
                claimed.push(row.record.clone());
            }
        }
        claimed
    }

    pub fn release_refund(
        &mut self,
        payment_no: &str,
        refund_no: &str,
        next_question_at: Timestamp,
    ) {
        let key = (payment_no.to_owned(), refund_no.to_owned());
        let Some(id) = self.refund_numbers.get(&key) else {
            return;
        };
        if let Some(row) = self.refunds.get_mut(id) {
            row.lease_until = None;
            row.record.question_count += 1;
            if row.record.next_question_at.is_some() {
                row.record.next_question_at = Some(next_question_at);
            }
        }
    }
}
