//! A channel's own book: charges, refunds, and the decisions about them.
//!
//! Pure: time and numbers come in as arguments; equal calls give equal books. One out_trade_no is
//! one charge for ever; a charge is paid at most once; what is closed stays closed; the sum of a
//! charge's refunds never passes its amount; sizes are bounded.
//!
//! Not here: wire words for states and errors (`wechat`, `alipay`), faults, locks.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;

use crate::clock::beijing_day;

/// Charges, and refunds, that a book takes before it refuses more.
pub(crate) const ENTRIES_MAX: usize = 1_000_000;

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
    pub created: Timestamp,
    pub expires: Option<Timestamp>,
    /// The channel's number once the payer has opened the charge without paying it (Alipay).
    pub opened: Option<String>,
    pub state: State,
    pub refunded_minor: i64,
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
}

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
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CloseError {
    #[error("no such charge")]
    Unknown,
    #[error("the charge is paid")]
    Paid,
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
    #[error("the book is full")]
    Full,
}

/// One line of a day.
#[derive(Clone, Debug)]
pub(crate) enum DayEntry {
    Paid(Charge, Payment),
    Refunded(Charge, Refund),
}

#[derive(Debug)]
enum DayKey {
    Charge(String),
    Refund(String),
}

#[derive(Debug)]
pub(crate) struct Book {
    scope: RefundScope,
    charges: HashMap<String, Charge>,
    by_transaction: HashMap<String, String>,
    refunds: HashMap<String, Refund>,
    days: BTreeMap<Date, Vec<DayKey>>,
}

impl Book {
    pub(crate) fn new(scope: RefundScope) -> Self {
        Self {
            scope,
            charges: HashMap::new(),
            by_transaction: HashMap::new(),
            refunds: HashMap::new(),
            days: BTreeMap::new(),
        }
    }

    pub(crate) fn create(
        &mut self,
        new: NewCharge,
        now: Timestamp,
    ) -> Result<(&Charge, Novelty), CreateError> {
        if let Some(known) = self.charges.get(&new.out_trade_no) {
            match known.state {
                State::Paid(_) => return Err(CreateError::Paid),
                State::Closed => return Err(CreateError::Closed),
                State::Unpaid if known.fingerprint != new.fingerprint => {
                    return Err(CreateError::Changed);
                }
                State::Unpaid if known.expired(now) => return Err(CreateError::Expired),
                State::Unpaid => {}
            }
        } else if self.charges.len() >= ENTRIES_MAX {
            return Err(CreateError::Full);
        }
        let novelty = if self.charges.contains_key(&new.out_trade_no) {
            Novelty::Repeat
        } else {
            Novelty::New
        };
        let number = new.out_trade_no.clone();
        let charge = self
            .charges
            .entry(number)
            .or_insert_with(|| charge(new, now));
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
        now: Timestamp,
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
    ) -> Result<&Charge, PayError> {
        let charge = payable(&mut self.charges, out_trade_no, payment.time)?;
        if let Some(number) = &charge.opened {
            payment.transaction_id.clone_from(number);
        }
        self.by_transaction
            .insert(payment.transaction_id.clone(), out_trade_no.to_owned());
        let day = self.days.entry(beijing_day(payment.time)).or_default();
        day.push(DayKey::Charge(out_trade_no.to_owned()));
        charge.state = State::Paid(payment);
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

    pub(crate) fn refund(
        &mut self,
        out_trade_no: &str,
        new: NewRefund,
        now: Timestamp,
    ) -> Result<(Charge, Refund, Novelty), RefundError> {
        let key = self.refund_key(out_trade_no, &new.out_refund_no);
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
        if new.amount_minor > charge.amount_minor - charge.refunded_minor {
            return Err(RefundError::TooMuch);
        }
        if self.refunds.len() >= ENTRIES_MAX {
            return Err(RefundError::Full);
        }
        charge.refunded_minor += new.amount_minor;
        let refund = refund(out_trade_no, new, now);
        let charge = charge.clone();
        self.days
            .entry(beijing_day(now))
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
        }
    }

    pub(crate) fn refund_of(&self, out_trade_no: &str, out_refund_no: &str) -> Option<&Refund> {
        self.refunds
            .get(&self.refund_key(out_trade_no, out_refund_no))
    }

    /// Paid charges and accepted refunds of one Beijing day, in the order they happened.
    pub(crate) fn day(&self, day: Date) -> Vec<DayEntry> {
        self.days
            .get(&day)
            .into_iter()
            .flatten()
            .filter_map(|key| self.day_entry(key))
            .collect()
    }

    fn day_entry(&self, key: &DayKey) -> Option<DayEntry> {
        match key {
            DayKey::Charge(number) => {
                let charge = self.charges.get(number)?;
                Some(DayEntry::Paid(charge.clone(), charge.payment()?.clone()))
            }
            DayKey::Refund(key) => {
                let refund = self.refunds.get(key)?;
                let charge = self.charges.get(&refund.out_trade_no)?;
                Some(DayEntry::Refunded(charge.clone(), refund.clone()))
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
        match self.scope {
            RefundScope::Merchant => out_refund_no.to_owned(),
            RefundScope::Trade => format!("{out_trade_no}\n{out_refund_no}"),
        }
    }
}

fn payable<'a>(
    charges: &'a mut HashMap<String, Charge>,
    out_trade_no: &str,
    now: Timestamp,
) -> Result<&'a mut Charge, PayError> {
    let charge = charges.get_mut(out_trade_no).ok_or(PayError::Unknown)?;
    match charge.state {
        State::Closed => Err(PayError::Closed),
        State::Paid(_) => Err(PayError::AlreadyPaid),
        State::Unpaid if charge.expired(now) => Err(PayError::Expired),
        State::Unpaid => Ok(charge),
    }
}

fn charge(new: NewCharge, now: Timestamp) -> Charge {
    Charge {
        out_trade_no: new.out_trade_no,
        fingerprint: new.fingerprint,
        trade_type: new.trade_type,
        description: new.description,
        attach: new.attach,
        amount_minor: new.amount_minor,
        notify_url: new.notify_url,
        code: new.code,
        created: now,
        expires: new.expires,
        opened: None,
        state: State::Unpaid,
        refunded_minor: 0,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    fn new_charge(number: &str, fingerprint: u8) -> NewCharge {
        NewCharge {
            out_trade_no: number.to_owned(),
            fingerprint: [fingerprint; 32],
            trade_type: "NATIVE",
            description: "thing".to_owned(),
            attach: String::new(),
            amount_minor: 100,
            notify_url: String::new(),
            code: "code".to_owned(),
            expires: Some(at(60)),
        }
    }

    fn payment(second: i64) -> Payment {
        Payment {
            transaction_id: "T1".to_owned(),
            payer: "p".to_owned(),
            time: at(second),
        }
    }

    fn new_refund(number: &str, amount_minor: i64) -> NewRefund {
        NewRefund {
            out_refund_no: number.to_owned(),
            channel_no: format!("R{number}"),
            amount_minor,
            reason: String::new(),
            notify_url: String::new(),
            state: RefundState::Processing,
        }
    }

    /// A book whose charge `A` is in the named state.
    fn book(state: &str) -> Book {
        let mut book = Book::new(RefundScope::Merchant);
        if state != "absent" {
            book.create(new_charge("A", 1), at(0)).unwrap();
        }
        match state {
            "paid" => drop(book.pay("A", payment(1)).unwrap().clone()),
            "closed" => drop(book.close("A").unwrap().clone()),
            _ => {}
        }
        book
    }

    #[test]
    fn every_state_answers_create_pay_and_close() {
        type Row = (
            &'static str,
            Result<Novelty, CreateError>,
            Option<PayError>,
            Option<CloseError>,
        );
        let table: [Row; 4] = [
            (
                "absent",
                Ok(Novelty::New),
                Some(PayError::Unknown),
                Some(CloseError::Unknown),
            ),
            ("unpaid", Ok(Novelty::Repeat), None, None),
            (
                "paid",
                Err(CreateError::Paid),
                Some(PayError::AlreadyPaid),
                Some(CloseError::Paid),
            ),
            (
                "closed",
                Err(CreateError::Closed),
                Some(PayError::Closed),
                None,
            ),
        ];
        for (state, create, pay, close) in table {
            let created = book(state)
                .create(new_charge("A", 1), at(2))
                .map(|(_, novelty)| novelty);
            assert_eq!(created, create, "create, {state}");
            assert_eq!(book(state).pay("A", payment(2)).err(), pay, "pay, {state}");
            assert_eq!(book(state).close("A").err(), close, "close, {state}");
        }
    }

    #[test]
    fn changed_parameters_are_refused_while_unpaid() {
        let error = book("unpaid").create(new_charge("A", 2), at(1)).err();
        assert_eq!(error, Some(CreateError::Changed));
    }

    #[test]
    fn an_expired_charge_can_be_closed_but_neither_paid_nor_created() {
        let mut book = book("unpaid");
        assert_eq!(book.pay("A", payment(60)).err(), Some(PayError::Expired));
        assert_eq!(
            book.create(new_charge("A", 1), at(60)).err(),
            Some(CreateError::Expired)
        );
        assert_eq!(book.charge("A").unwrap().state, State::Unpaid);
        assert!(book.close("A").is_ok());
    }

    #[test]
    fn an_opened_charge_keeps_its_number() {
        let mut book = book("unpaid");
        book.open("A", "T0".to_owned(), at(1)).unwrap();
        book.pay("A", payment(2)).unwrap();
        assert_eq!(
            book.charge("A").unwrap().payment().unwrap().transaction_id,
            "T0"
        );
        assert!(book.charge_by_transaction("T0").is_some());
    }

    #[test]
    fn refunds_never_pass_the_amount_and_repeat_by_number() {
        let mut book = book("paid");
        assert_eq!(
            book.refund("A", new_refund("1", 60), at(3)).unwrap().2,
            Novelty::New
        );
        assert_eq!(
            book.refund("A", new_refund("1", 60), at(4)).unwrap().2,
            Novelty::Repeat
        );
        assert_eq!(
            book.refund("A", new_refund("1", 61), at(4)).err(),
            Some(RefundError::Changed)
        );
        assert_eq!(
            book.refund("A", new_refund("2", 41), at(4)).err(),
            Some(RefundError::TooMuch)
        );
        book.settle("A", "1", RefundState::Closed, at(5));
        assert!(book.refund("A", new_refund("2", 100), at(6)).is_ok());
        book.settle("A", "1", RefundState::Success, at(7));
        assert_eq!(book.refund_of("A", "1").unwrap().state, RefundState::Closed);
    }

    #[test]
    fn a_day_holds_what_was_paid_and_refunded() {
        let mut book = book("paid");
        book.create(new_charge("B", 1), at(1)).unwrap();
        book.refund("A", new_refund("1", 60), at(3)).unwrap();
        assert_eq!(book.day(beijing_day(at(1))).len(), 2);
        assert!(book.day(beijing_day(at(86_400))).is_empty());
    }
}
