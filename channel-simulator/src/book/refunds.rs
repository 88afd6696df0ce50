//! Refunds of a book: repeated by number, bounded in sum, count and time, ended once.

use jiff::Timestamp;
use serde::Serialize;

use super::{Book, Charge, DayKey, ENTRIES_MAX, Novelty};
use crate::clock::{Moment, beijing_day};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum RefundState {
    Processing,
    Success,
    Abnormal,
    Closed,
}

#[derive(Clone, Debug)]
pub(crate) struct NewRefund {
    pub out_refund_no: String,
    pub channel_no: String,
    pub amount_minor: i64,
    pub reason: String,
    pub notify_url: String,
    pub state: RefundState,
}

#[derive(Clone, Debug)]
pub(crate) struct Refund {
    pub out_refund_no: String,
    pub channel_no: String,
    pub out_trade_no: String,
    pub amount_minor: i64,
    pub reason: String,
    pub notify_url: String,
    pub accepted: Timestamp,
    pub settled: Option<Timestamp>,
    pub state: RefundState,
}

/// Within what a refund number is unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefundScope {
    Merchant,
    Trade,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RefundError {
    #[error("no such charge")]
    Unknown,
    #[error("the charge is not paid")]
    NotPaid,
    #[error("the refund number was used for another refund")]
    Changed,
    #[error("more than the charge has left")]
    TooMuch,
    #[error("the charge has had as many refunds as it may")]
    TooMany,
    #[error("the charge was paid too long ago, or is finished")]
    TooLate,
    #[error("the book is full")]
    Full,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RetryError {
    #[error("no such refund")]
    Unknown,
    #[error("the refund is not abnormal")]
    NotAbnormal,
}

impl Book {
    pub(crate) fn refund(
        &mut self,
        out_trade_no: &str,
        new: NewRefund,
        now: Moment,
    ) -> Result<(Charge, Refund, Novelty), RefundError> {
        let key = self.refund_key(out_trade_no, &new.out_refund_no);
        let count_max = self.rules.refunds_max;
        let charge = self
            .charges
            .get_mut(out_trade_no)
            .ok_or(RefundError::Unknown)?;
        if charge.payment().is_none() {
            return Err(RefundError::NotPaid);
        }
        if let Some(known) = self.refunds.get(&key) {
            let same = known.out_trade_no == out_trade_no && known.amount_minor == new.amount_minor;
            return if same {
                Ok((charge.clone(), known.clone(), Novelty::Repeat))
            } else {
                Err(RefundError::Changed)
            };
        }
        if !charge.refundable(now.calendar) {
            return Err(RefundError::TooLate);
        }
        if new.amount_minor > charge.amount_minor - charge.refunded_minor {
            return Err(RefundError::TooMuch);
        }
        if count_max.is_some_and(|max| charge.refund_count >= max) {
            return Err(RefundError::TooMany);
        }
        if self.refunds.len() >= ENTRIES_MAX {
            return Err(RefundError::Full);
        }
        charge.refunded_minor += new.amount_minor;
        charge.refund_count += 1;
        let refund = refund(out_trade_no, new, now.wall);
        let charge = charge.clone();
        self.days
            .entry(beijing_day(now.wall))
            .or_default()
            .push(DayKey::Refund(key.clone()));
        self.refunds.insert(key, refund.clone());
        Ok((charge, refund, Novelty::New))
    }

    /// Ends a refund in process; a refund that ended before stays as it is. Money that did not
    /// go back can be refunded anew.
    pub(crate) fn settle(
        &mut self,
        out_trade_no: &str,
        out_refund_no: &str,
        end: RefundState,
        now: Timestamp,
    ) {
        let key = self.refund_key(out_trade_no, out_refund_no);
        let Some(refund) = self.refunds.get_mut(&key) else {
            return;
        };
        if refund.state != RefundState::Processing {
            return;
        }
        refund.state = end;
        refund.settled = Some(now);
        if end == RefundState::Closed
            && let Some(charge) = self.charges.get_mut(&refund.out_trade_no)
        {
            charge.refunded_minor -= refund.amount_minor;
            charge.refund_count -= 1;
        }
    }

    /// An ABNORMAL refund gets a second try; by the channel's number, which must belong to
    /// `out_refund_no`.
    pub(crate) fn retry_abnormal(
        &mut self,
        channel_no: &str,
        out_refund_no: &str,
    ) -> Result<(Charge, Refund), RetryError> {
        let key = self.refund_key("", out_refund_no);
        let refund = self.refunds.get_mut(&key).ok_or(RetryError::Unknown)?;
        if refund.channel_no != channel_no {
            return Err(RetryError::Unknown);
        }
        if refund.state != RefundState::Abnormal {
            return Err(RetryError::NotAbnormal);
        }
        let charge = self.charges.get(&refund.out_trade_no);
        let charge = charge.ok_or(RetryError::Unknown)?.clone();
        refund.state = RefundState::Processing;
        refund.settled = None;
        Ok((charge, refund.clone()))
    }

    /// A paid charge that can no longer be refunded.
    pub(crate) fn finish(
        &mut self,
        out_trade_no: &str,
        now: Moment,
    ) -> Result<&Charge, RefundError> {
        let charge = self
            .charges
            .get_mut(out_trade_no)
            .ok_or(RefundError::Unknown)?;
        if charge.payment().is_none() {
            return Err(RefundError::NotPaid);
        }
        charge.refund_until = Some(now.calendar);
        Ok(charge)
    }

    pub(crate) fn refund_of(&self, out_trade_no: &str, out_refund_no: &str) -> Option<&Refund> {
        self.refunds
            .get(&self.refund_key(out_trade_no, out_refund_no))
    }
}

fn refund(out_trade_no: &str, new: NewRefund, now: Timestamp) -> Refund {
    Refund {
        out_refund_no: new.out_refund_no,
        channel_no: new.channel_no,
        out_trade_no: out_trade_no.to_owned(),
        amount_minor: new.amount_minor,
        reason: new.reason,
        notify_url: new.notify_url,
        accepted: now,
        settled: (new.state != RefundState::Processing).then_some(now),
        state: new.state,
    }
}
