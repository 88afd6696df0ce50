//! A channel's own book: orders, charges, refunds. The truth that everything is checked against.

use std::collections::BTreeMap;

use channels::{
    Closed, Created, NewOrder, NewRefund, OrderState, OrderStatus, Outcome, RefundState,
    RefundStatus, UncertaintyReason,
};
use jiff::Timestamp;
use payment_core::{ChannelKind, Money, PayMethod};

use super::spoken::{action, refused, shown, status, unknown};

/// What the payer was charged.
#[derive(Clone, Debug)]
pub struct Charge {
    pub transaction_id: String,
    pub amount: Money,
    pub paid_at: Timestamp,
    pub at_ms: u64,
    /// Until then a query may still show the order as it was before.
    pub visible_at_ms: u64,
    /// The channel had confirmed that the order was closed.
    pub despite_close: bool,
}

/// A refund in the channel's book.
#[derive(Clone, Debug)]
pub struct BookRefund {
    pub number: String,
    pub id: Option<String>,
    pub amount: Money,
    pub state: RefundState,
    pub accepted_at_ms: u64,
    pub visible_at_ms: u64,
    pub finished_at: Option<Timestamp>,
}

/// An order in the channel's book.
#[derive(Clone, Debug)]
pub struct BookOrder {
    pub asked: NewOrder,
    pub created_at_ms: u64,
    /// When payers of this order may begin, at the latest.
    pub payable_until_ms: u64,
    /// Alipay keeps no trade before somebody scanned the code or opened the page.
    pub exists: bool,
    pub visible_at_ms: u64,
    pub closed: bool,
    /// When the channel first said that it had closed the order.
    pub close_confirmed_at_ms: Option<u64>,
    /// When a query last showed the order as unpaid or closed.
    pub seen_unpaid_at_ms: Option<u64>,
    /// A query showed the order as closed: the channel's own word, whoever closed it.
    pub seen_closed: bool,
    pub charge: Option<Charge>,
    pub refunds: Vec<BookRefund>,
}

impl BookOrder {
    /// What was given back, or is on its way.
    pub fn given_or_going_minor(&self) -> i64 {
        self.sum(|state| state != RefundState::Failed)
    }

    pub fn given_minor(&self) -> i64 {
        self.sum(|state| state == RefundState::Succeeded)
    }

    fn sum(&self, counts: impl Fn(RefundState) -> bool) -> i64 {
        let refunds = self.refunds.iter().filter(|refund| counts(refund.state));
        refunds.map(|refund| refund.amount.minor).sum()
    }

    /// Whether a payer could still be charged, if the channel keeps its promises.
    pub const fn can_be_charged(&self, now_ms: u64) -> bool {
        self.charge.is_none() && !self.closed && now_ms <= self.payable_until_ms
    }
}

/// What a call did, beside its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    Nothing,
    /// The order is new: its payer may come.
    Order,
    /// The refund is new: it takes its course.
    Refund,
}

/// A number came again with other parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed;

/// One channel's book.
#[derive(Debug)]
pub struct Book {
    kind: ChannelKind,
    orders: BTreeMap<String, BookOrder>,
    pub(super) strangers: BTreeMap<String, Charge>,
    pub(super) bills: super::bills::Bills,
    last_number: u64,
    /// Numbers that came with other parameters than before.
    pub changed_repeats: Vec<String>,
}

impl Book {
    pub fn new(kind: ChannelKind) -> Self {
        Self {
            kind,
            orders: BTreeMap::new(),
            strangers: BTreeMap::new(),
            bills: super::bills::Bills::default(),
            last_number: 0,
            changed_repeats: Vec::new(),
        }
    }

    pub fn order(&self, number: &str) -> Option<&BookOrder> {
        self.orders.get(number)
    }

    pub fn orders(&self) -> impl Iterator<Item = (&String, &BookOrder)> {
        self.orders.iter()
    }

    pub const fn kind(&self) -> ChannelKind {
        self.kind
    }

    pub(super) fn next_number(&mut self) -> String {
        self.last_number += 1;
        let prefix = match self.kind {
            ChannelKind::Wechat => "4200",
            ChannelKind::Alipay => "2026",
        };
        format!("{prefix}{:012}", self.last_number)
    }

    /// Takes an order, or says what became of the one with this number. `grace_ms`: how long
    /// after its expiry the channel still lets a payer finish.
    pub fn create(
        &mut self,
        order: &NewOrder,
        now: Timestamp,
        now_ms: u64,
        payable_until_ms: u64,
        visible_at_ms: u64,
    ) -> (Outcome<Created>, News) {
        let created = Outcome::Done(Created {
            action: action(order),
        });
        if let Some(known) = self.orders.get(&order.channel_order_no) {
            if known.asked != *order {
                self.changed_repeats.push(order.channel_order_no.clone());
                let answer = unknown(UncertaintyReason::InProgress, "used with other contents");
                return (answer, News::Nothing);
            }
            if known.charge.is_some() || known.closed {
                let answer = unknown(UncertaintyReason::InProgress, "the number was used");
                return (answer, News::Nothing);
            }
            return (created, News::Nothing);
        }
        if order.expires_at <= now {
            return (
                refused("PARAM_ERROR", "time_expire has passed"),
                News::Nothing,
            );
        }
        let exists = match order.method {
            PayMethod::WechatNative
            | PayMethod::WechatJsapi
            | PayMethod::WechatH5
            | PayMethod::WechatApp
            | PayMethod::AlipayCreate => true,
            PayMethod::AlipayPrecreate
            | PayMethod::AlipayPage
            | PayMethod::AlipayWap
            | PayMethod::AlipayApp => false,
        };
        self.orders.insert(
            order.channel_order_no.clone(),
            BookOrder {
                asked: order.clone(),
                created_at_ms: now_ms,
                payable_until_ms,
                exists,
                visible_at_ms,
                closed: false,
                close_confirmed_at_ms: None,
                seen_unpaid_at_ms: None,
                seen_closed: false,
                charge: None,
                refunds: Vec::new(),
            },
        );
        (created, News::Order)
    }

    /// Where an order stands, as far as the channel shows it yet.
    pub fn query(&mut self, number: &str, now: Timestamp, now_ms: u64) -> OrderStatus {
        let kind = self.kind;
        if let Some(charge) = self.strangers.get(number) {
            return status(OrderState::Paid, Some(charge));
        }
        let Some(order) = self.orders.get_mut(number) else {
            return status(OrderState::NotFound, None);
        };
        let shown = order
            .charge
            .as_ref()
            .filter(|charge| charge.visible_at_ms <= now_ms);
        let seen = if let Some(charge) = shown {
            let given = order.given_minor();
            let state = match kind {
                ChannelKind::Wechat if !order.refunds.is_empty() => OrderState::Refunded,
                ChannelKind::Alipay if given >= charge.amount.minor => OrderState::Closed,
                ChannelKind::Wechat | ChannelKind::Alipay => OrderState::Paid,
            };
            status(state, Some(charge))
        } else if !order.exists || order.visible_at_ms > now_ms {
            status(OrderState::NotFound, None)
        } else if order.closed {
            status(OrderState::Closed, None)
        } else if kind == ChannelKind::Alipay
            && now_ms > order.payable_until_ms
            && order.asked.expires_at < now
            && order.charge.is_none()
        {
            // An opened trade that nobody finished closes by itself.
            order.closed = true;
            status(OrderState::Closed, None)
        } else {
            status(OrderState::NotPaid, None)
        };
        if shown.is_none() {
            order.seen_unpaid_at_ms = Some(now_ms);
            order.seen_closed |= order.closed;
        }
        seen
    }

    pub fn close(&mut self, number: &str, now_ms: u64) -> Closed {
        let Some(order) = self.orders.get_mut(number).filter(|order| order.exists) else {
            return Closed::NotFound;
        };
        if order.charge.is_some() {
            return Closed::AlreadyPaid;
        }
        order.closed = true;
        order.close_confirmed_at_ms.get_or_insert(now_ms);
        Closed::Closed
    }

    /// A payer opened the order: from now on it exists.
    pub fn open(&mut self, number: &str) {
        if let Some(order) = self.orders.get_mut(number)
            && !order.closed
        {
            order.exists = true;
        }
    }

    /// Charges an order, if it may be charged. `despite_close`: even if it was closed.
    pub fn charge(
        &mut self,
        number: &str,
        now: Timestamp,
        now_ms: u64,
        lag_ms: u64,
        despite_close: bool,
    ) -> Option<Charge> {
        let order = self.orders.get(number)?;
        let broken_promise = order.closed && despite_close && order.charge.is_none();
        if !order.can_be_charged(now_ms) && !broken_promise {
            return None;
        }
        let transaction_id = self.next_number();
        let order = self.orders.get_mut(number)?;
        let charge = Charge {
            transaction_id,
            amount: order.asked.amount,
            paid_at: now,
            at_ms: now_ms,
            visible_at_ms: now_ms + lag_ms,
            despite_close: order.closed,
        };
        order.exists = true;
        order.charge = Some(charge.clone());
        Some(charge)
    }

    /// Takes a refund, or says what became of the one with this number.
    pub fn refund(
        &mut self,
        refund: &NewRefund,
        now_ms: u64,
        visible_at_ms: u64,
    ) -> (Outcome<RefundStatus>, News) {
        let kind = self.kind;
        let id = (kind == ChannelKind::Wechat).then(|| self.next_number());
        let number = &refund.channel_order_no;
        let Some(order) = self.orders.get_mut(number) else {
            return (
                refused("RESOURCE_NOT_EXISTS", "no such order"),
                News::Nothing,
            );
        };
        let Some(charge) = order.charge.clone() else {
            return (
                refused("TRADE_STATUS_ERROR", "the order is not paid"),
                News::Nothing,
            );
        };
        let known = order
            .refunds
            .iter()
            .find(|known| known.number == refund.channel_refund_no);
        if let Some(known) = known {
            if known.amount != refund.amount || refund.total != charge.amount {
                self.changed_repeats.push(refund.channel_refund_no.clone());
                let answer = unknown(UncertaintyReason::InProgress, "used with other contents");
                return (answer, News::Nothing);
            }
            return (Outcome::Done(shown(kind, known)), News::Nothing);
        }
        if refund.total != charge.amount
            || order.given_or_going_minor() + refund.amount.minor > charge.amount.minor
        {
            let answer = refused("REFUND_AMT_NOT_EQUAL_TOTAL", "more than is left");
            return (answer, News::Nothing);
        }
        let pause_ms = match kind {
            ChannelKind::Wechat => 59_000,
            ChannelKind::Alipay => 2_900,
        };
        let last = order
            .refunds
            .iter()
            .map(|refund| refund.accepted_at_ms)
            .max();
        if last.is_some_and(|last| last + pause_ms > now_ms) {
            let answer = unknown(UncertaintyReason::Busy, "too soon after the last refund");
            return (answer, News::Nothing);
        }
        let taken = BookRefund {
            number: refund.channel_refund_no.clone(),
            id,
            amount: refund.amount,
            state: RefundState::Processing,
            accepted_at_ms: now_ms,
            visible_at_ms,
            finished_at: None,
        };
        let answer = Outcome::Done(shown(kind, &taken));
        order.refunds.push(taken);
        (answer, News::Refund)
    }

    pub fn query_refund(&self, order: &str, number: &str, now_ms: u64) -> RefundStatus {
        let refund = self.book_refund(order, number);
        match refund.filter(|refund| refund.visible_at_ms <= now_ms) {
            Some(refund) => shown(self.kind, refund),
            None => RefundStatus {
                state: RefundState::NotFound,
                channel_refund_id: None,
                amount: None,
                refunded_at: None,
            },
        }
    }

    pub fn book_refund(&self, order: &str, number: &str) -> Option<&BookRefund> {
        let refunds = &self.orders.get(order)?.refunds;
        refunds.iter().find(|refund| refund.number == number)
    }

    /// A refund takes its course at the channel.
    pub fn settle_refund(&mut self, order: &str, number: &str, state: RefundState, now: Timestamp) {
        let refunds = self.orders.get_mut(order).map(|order| &mut order.refunds);
        let refund = refunds
            .into_iter()
            .flatten()
            .find(|refund| refund.number == number);
        if let Some(refund) = refund {
            refund.state = state;
            refund.finished_at = (state == RefundState::Succeeded).then_some(now);
        }
    }
}
