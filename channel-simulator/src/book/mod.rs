//! A channel's own book: charges, refunds, and the decisions about them.
//!
//! Pure: time and numbers come in as arguments; equal calls give equal books. One out_trade_no is
//! one charge for ever; a charge is paid at most once; what is closed stays closed; the sum of a
//! charge's refunds never passes its amount; sizes are bounded. A merchant's own `time_expire` is
//! wall time; ages (of a code, of an unpaid charge, of a payment) are calendar time, so that a
//! test need not wait for them and a new charge is as young as ever after the calendar moved.
//!
//! Not here: wire words for states and errors (`wechat`, `alipay`), faults, locks.

mod days;
mod refunds;

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use jiff::civil::Date;

use crate::clock::{Moment, after, beijing_day};

use days::DayKey;

pub(crate) use days::{DayEntry, LineKind};
pub(crate) use refunds::{NewRefund, Refund, RefundError, RefundScope, RefundState, RetryError};

/// Charges, and refunds, that a book takes before it refuses more.
pub(crate) const ENTRIES_MAX: usize = 1_000_000;

/// The whole-book rules of a channel; times are calendar time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub refund_scope: RefundScope,
    pub refunds_max: Option<usize>,
    /// How long after its payment a charge can be refunded.
    pub refund_seconds: i64,
    /// After which an unpaid charge closes by itself.
    pub unpaid_seconds: Option<i64>,
}

const DAY_SECONDS: i64 = 86_400;

impl Rules {
    pub(crate) const WECHAT: Self = Self {
        refund_scope: RefundScope::Merchant,
        refunds_max: Some(50),
        refund_seconds: 365 * DAY_SECONDS,
        unpaid_seconds: Some(7 * DAY_SECONDS),
    };
    /// The contract with Alipay sets the refund window; a year is usual.
    pub(crate) const ALIPAY: Self = Self {
        refund_scope: RefundScope::Trade,
        refunds_max: None,
        refund_seconds: 365 * DAY_SECONDS,
        unpaid_seconds: None,
    };
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Unpaid,
    Paid(Payment),
    Closed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Payment {
    pub transaction_id: String,
    pub payer: String,
    pub time: Timestamp,
}

/// What a merchant asks for.
#[derive(Clone, Debug)]
pub(crate) struct NewCharge {
    pub out_trade_no: String,
    /// Digest of all parameters: a repeat must carry the same.
    pub fingerprint: [u8; 32],
    pub trade_type: &'static str,
    pub description: String,
    pub attach: String,
    pub amount_minor: i64,
    pub notify_url: String,
    /// What the payer is led to: a QR code's or prepay id.
    pub code: String,
    /// How long the code is good for; a repeat then gets a fresh one.
    pub code_seconds: Option<i64>,
    pub expires: Option<Timestamp>,
}

#[derive(Clone, Debug)]
pub(crate) struct Charge {
    pub out_trade_no: String,
    pub fingerprint: [u8; 32],
    pub trade_type: &'static str,
    pub description: String,
    pub attach: String,
    pub amount_minor: i64,
    pub notify_url: String,
    pub code: String,
    /// Calendar time, as everything called `until`.
    pub code_until: Option<Timestamp>,
    pub created: Timestamp,
    pub expires: Option<Timestamp>,
    pub unpaid_until: Option<Timestamp>,
    /// The channel's number once the payer has opened the charge without paying it (Alipay).
    pub opened: Option<String>,
    pub state: State,
    pub refund_until: Option<Timestamp>,
    pub refunded_minor: i64,
    /// Refunds that did not fail.
    pub refund_count: usize,
}

impl Charge {
    pub(crate) fn payment(&self) -> Option<&Payment> {
        match &self.state {
            State::Paid(payment) => Some(payment),
            State::Unpaid | State::Closed => None,
        }
    }

    pub(crate) fn expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|end| now >= end)
    }

    /// Closed, by the merchant or by itself.
    pub(crate) fn closed(&self, calendar: Timestamp) -> bool {
        match self.state {
            State::Closed => true,
            State::Unpaid => self.unpaid_until.is_some_and(|end| calendar >= end),
            State::Paid(_) => false,
        }
    }

    pub(crate) fn refundable(&self, calendar: Timestamp) -> bool {
        self.payment().is_some() && self.refund_until.is_none_or(|end| calendar < end)
    }

    fn code_old(&self, calendar: Timestamp) -> bool {
        self.code_until.is_some_and(|end| calendar >= end)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Novelty {
    New,
    Repeat,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CreateError {
    #[error("the parameters differ from the first request's")]
    Changed,
    #[error("the charge is paid")]
    Paid,
    #[error("the charge is closed")]
    Closed,
    #[error("the charge has expired")]
    Expired,
    #[error("the book is full")]
    Full,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PayError {
    #[error("no such charge")]
    Unknown,
    #[error("the charge is closed")]
    Closed,
    #[error("the charge is already paid")]
    AlreadyPaid,
    #[error("the charge has expired")]
    Expired,
    #[error("the code the payer holds is too old")]
    CodeExpired,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CloseError {
    #[error("no such charge")]
    Unknown,
    #[error("the charge is paid")]
    Paid,
}

#[derive(Debug)]
pub(crate) struct Book {
    rules: Rules,
    charges: HashMap<String, Charge>,
    by_transaction: HashMap<String, String>,
    refunds: HashMap<String, Refund>,
    days: BTreeMap<Date, Vec<DayKey>>,
}

impl Book {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            charges: HashMap::new(),
            by_transaction: HashMap::new(),
            refunds: HashMap::new(),
            days: BTreeMap::new(),
        }
    }

    pub(crate) fn create(
        &mut self,
        new: NewCharge,
        now: Moment,
    ) -> Result<(&Charge, Novelty), CreateError> {
        let known = self.charges.get(&new.out_trade_no);
        let novelty = if known.is_some() {
            Novelty::Repeat
        } else {
            Novelty::New
        };
        match known {
            Some(known) => repeatable(known, &new, now)?,
            None if self.charges.len() >= ENTRIES_MAX => return Err(CreateError::Full),
            None => {}
        }
        let unpaid_seconds = self.rules.unpaid_seconds;
        let (code, until) = (new.code.clone(), code_until(&new, now));
        let charge = self
            .charges
            .entry(new.out_trade_no.clone())
            .or_insert_with(|| charge(new, now, unpaid_seconds));
        if charge.code_old(now.calendar) {
            (charge.code, charge.code_until) = (code, until);
        }
        Ok((charge, novelty))
    }

    pub(crate) fn charge(&self, out_trade_no: &str) -> Option<&Charge> {
        self.charges.get(out_trade_no)
    }

    pub(crate) fn charge_by_transaction(&self, transaction_id: &str) -> Option<&Charge> {
        self.charges.get(self.by_transaction.get(transaction_id)?)
    }

    /// The payer opens the charge without paying: from now on the channel has a number for it.
    pub(crate) fn open(
        &mut self,
        out_trade_no: &str,
        transaction_id: String,
        now: Moment,
    ) -> Result<&Charge, PayError> {
        let charge = payable(&mut self.charges, out_trade_no, now)?;
        let number = charge.opened.get_or_insert(transaction_id).clone();
        self.by_transaction.insert(number, out_trade_no.to_owned());
        Ok(charge)
    }

    /// The payer pays. A charge opened before keeps the number it got then.
    pub(crate) fn pay(
        &mut self,
        out_trade_no: &str,
        mut payment: Payment,
        calendar: Timestamp,
    ) -> Result<&Charge, PayError> {
        let wall = payment.time;
        let charge = payable(&mut self.charges, out_trade_no, Moment { wall, calendar })?;
        if let Some(number) = &charge.opened {
            payment.transaction_id.clone_from(number);
        }
        self.by_transaction
            .insert(payment.transaction_id.clone(), out_trade_no.to_owned());
        let day = self.days.entry(beijing_day(payment.time)).or_default();
        day.push(DayKey::Charge(out_trade_no.to_owned()));
        charge.state = State::Paid(payment);
        charge.refund_until = Some(after(calendar, self.rules.refund_seconds));
        Ok(charge)
    }

    /// Closing again is no mistake.
    pub(crate) fn close(&mut self, out_trade_no: &str) -> Result<&Charge, CloseError> {
        let charge = self
            .charges
            .get_mut(out_trade_no)
            .ok_or(CloseError::Unknown)?;
        match charge.state {
            State::Paid(_) => Err(CloseError::Paid),
            State::Unpaid | State::Closed => {
                charge.state = State::Closed;
                Ok(charge)
            }
        }
    }

    pub(crate) fn charges(&self) -> impl Iterator<Item = &Charge> {
        self.charges.values()
    }

    pub(crate) fn refunds(&self) -> impl Iterator<Item = &Refund> {
        self.refunds.values()
    }

    fn refund_key(&self, out_trade_no: &str, out_refund_no: &str) -> String {
        match self.rules.refund_scope {
            RefundScope::Merchant => out_refund_no.to_owned(),
            RefundScope::Trade => format!("{out_trade_no}\n{out_refund_no}"),
        }
    }
}

fn payable<'a>(
    charges: &'a mut HashMap<String, Charge>,
    out_trade_no: &str,
    now: Moment,
) -> Result<&'a mut Charge, PayError> {
    let charge = charges.get_mut(out_trade_no).ok_or(PayError::Unknown)?;
    match charge.state {
        State::Paid(_) => Err(PayError::AlreadyPaid),
        _ if charge.closed(now.calendar) => Err(PayError::Closed),
        _ if charge.expired(now.wall) => Err(PayError::Expired),
        _ if charge.code_old(now.calendar) => Err(PayError::CodeExpired),
        State::Unpaid | State::Closed => Ok(charge),
    }
}

/// Whether a request for a known number is a repeat of its first one.
fn repeatable(known: &Charge, new: &NewCharge, now: Moment) -> Result<(), CreateError> {
    match known.state {
        State::Paid(_) => Err(CreateError::Paid),
        _ if known.closed(now.calendar) => Err(CreateError::Closed),
        _ if known.fingerprint != new.fingerprint => Err(CreateError::Changed),
        _ if known.expired(now.wall) => Err(CreateError::Expired),
        State::Unpaid | State::Closed => Ok(()),
    }
}

fn code_until(new: &NewCharge, now: Moment) -> Option<Timestamp> {
    new.code_seconds.map(|seconds| after(now.calendar, seconds))
}

fn charge(new: NewCharge, now: Moment, unpaid_seconds: Option<i64>) -> Charge {
    Charge {
        code_until: code_until(&new, now),
        unpaid_until: unpaid_seconds.map(|seconds| after(now.calendar, seconds)),
        out_trade_no: new.out_trade_no,
        fingerprint: new.fingerprint,
        trade_type: new.trade_type,
        description: new.description,
        attach: new.attach,
        amount_minor: new.amount_minor,
        notify_url: new.notify_url,
        code: new.code,
        created: now.wall,
        expires: new.expires,
        opened: None,
        state: State::Unpaid,
        refund_until: None,
        refunded_minor: 0,
        refund_count: 0,
    }
}

#[cfg(test)]
mod tests;
