//! What is told to a merchant, before it is put on the wire of a channel.

use jiff::Timestamp;
use serde::Deserialize;

use crate::book::{Charge, Payment, Refund};
use crate::keys::KeyError;
use crate::{Channel, Simulator, alipay, clock, ids, wechat};

/// What a callback is about.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    Paid,
    /// By out_refund_no.
    Refunded(String),
    /// Never paid (Alipay tells of it for app and wap trades).
    Closed,
    /// Paid, and no longer refundable (likewise).
    Finished,
}

/// The facts of one callback, read from the book at the moment of sending.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    /// The same at every attempt.
    pub(crate) id: String,
    pub(crate) created: Timestamp,
    pub(crate) subject: Subject,
    pub(crate) charge: Charge,
    /// Of a closed charge: whoever opened it, and when this was read.
    pub(crate) payment: Payment,
    pub(crate) refund: Option<Refund>,
}

/// What is wrong with a callback on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tamper {
    /// Signed over other bytes, and about another amount.
    Signature,
    /// Another amount, rightly signed.
    Amount,
    /// Another merchant's app, rightly signed.
    App,
    /// Rightly signed an hour ago (Alipay: `notify_time` only, its signature has no window).
    Stale,
    /// A `WECHATPAY/SIGNTEST/` probe.
    #[serde(skip)]
    Signtest,
    /// Rightly signed with the key whose turn it is not.
    #[serde(skip)]
    OtherKey,
    /// An empty field, signed as one.
    #[serde(skip)]
    EmptyKept,
    /// An empty field that is not part of what is signed.
    #[serde(skip)]
    EmptyDropped,
}

/// A POST ready to go.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) url: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

pub(crate) fn compose(
    simulator: &Simulator,
    channel: Channel,
    mut notice: Notice,
    tamper: Option<Tamper>,
) -> Result<Outgoing, KeyError> {
    if matches!(tamper, Some(Tamper::Amount | Tamper::Signature)) {
        notice.charge.amount_minor += 1;
    }
    match channel {
        Channel::Wechat => wechat::callback(simulator, &notice, tamper),
        Channel::Alipay => alipay::callback(simulator, &notice, tamper),
    }
}

impl Notice {
    /// The present facts; `None` when the charge is unknown or not paid.
    pub(crate) fn read(
        simulator: &Simulator,
        channel: Channel,
        out_trade_no: &str,
        subject: &Subject,
    ) -> Option<Self> {
        let book = simulator.book(channel);
        let charge = book.charge(out_trade_no)?;
        let refund = match subject {
            Subject::Paid | Subject::Closed | Subject::Finished => None,
            Subject::Refunded(number) => Some(book.refund_of(out_trade_no, number)?.clone()),
        };
        let payment = match (charge.payment(), subject) {
            (Some(payment), _) => payment.clone(),
            (None, Subject::Closed) => Payment {
                transaction_id: charge.opened.clone()?,
                ..new_payment(channel, clock::now())
            },
            (None, _) => return None,
        };
        Some(Self::new(subject, charge.clone(), payment, refund))
    }

    /// A payment that never was, for forged callbacks.
    pub(crate) fn invent(
        simulator: &Simulator,
        channel: Channel,
        out_trade_no: &str,
    ) -> Option<Self> {
        let charge = simulator.book(channel).charge(out_trade_no)?.clone();
        let payment = match charge.payment() {
            Some(payment) => payment.clone(),
            None => new_payment(channel, clock::now()),
        };
        Some(Self::new(&Subject::Paid, charge, payment, None))
    }

    fn new(subject: &Subject, charge: Charge, payment: Payment, refund: Option<Refund>) -> Self {
        Self {
            id: uuid::Uuid::new_v4().to_string(),
            created: clock::now(),
            subject: subject.clone(),
            charge,
            payment,
            refund,
        }
    }
}

pub(crate) fn new_payment(channel: Channel, time: Timestamp) -> Payment {
    let (transaction_id, payer) = match channel {
        Channel::Wechat => (
            ids::wechat_transaction(time),
            format!("o{}", &ids::token()[..27]),
        ),
        Channel::Alipay => (ids::alipay_trade(time), "2088102122458832".to_owned()),
    };
    Payment {
        transaction_id,
        payer,
        time,
    }
}
