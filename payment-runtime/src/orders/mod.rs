//! Orders and stock: the other half of a confirmed payment, for whoever has no service of their
//! own (docs/orders.md).
//!
//! Guarantees: an order is paid once and by one payment; its stock is deducted in the same
//! transaction, and never below zero; both are a branch of the caller's global transaction, or a
//! local one that respects its locks. A refusal is definite: nothing that may yet be rolled back
//! was its reason.
//!
//! Deliberately not here: SQL (`store`), what a refusal does to the payment (`confirming`).

pub mod http;
pub mod service;

use jiff::Timestamp;
use payment_core::Money;
use sha2::{Digest as _, Sha256};

pub use crate::store::orders::OrderStore;
pub use service::OrdersService;

/// A product and how much of it, each product once, in the order of their ids: whoever takes
/// several takes them in the same order.
pub type Goods = Vec<(String, u64)>;

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderStatus {
    Open,
    Paid,
}

impl OrderStatus {
    pub const ALL: [Self; 2] = [Self::Open, Self::Paid];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Paid => "PAID",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

/// An order as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub order_id: String,
    pub status: OrderStatus,
    pub payment_id: Option<String>,
    pub amount: Money,
    pub goods: Goods,
    pub created_at: Timestamp,
    pub paid_at: Option<Timestamp>,
}

/// An order to be placed.
#[derive(Clone, Debug)]
pub struct NewOrder {
    pub order_id: String,
    pub amount: Money,
    pub goods: Goods,
}

/// A payment that wants to pay an order.
#[derive(Clone, Debug)]
pub struct Pay {
    pub order_id: String,
    pub payment_id: String,
    pub amount: Money,
    /// What is bought, where the order itself does not say.
    pub goods: Goods,
}

/// What a payment can do for an order as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody placed it: it is recorded as it is paid.
    Record,
    Take,
    /// This payment has paid it before.
    Repeated,
    /// It will never be paid by this payment; why.
    Refused(String),
}

/// Judges a payment for an order, `None`: nobody placed it.
pub fn judge(order: Option<&Order>, pay: &Pay) -> Verdict {
    let Some(order) = order else {
        return Verdict::Record;
    };
    let payer = order.payment_id.as_deref();
    match order.status {
        OrderStatus::Paid if payer == Some(pay.payment_id.as_str()) => Verdict::Repeated,
        OrderStatus::Paid => Verdict::Refused(format!(
            "Order {} is paid by payment {}.",
            order.order_id,
            payer.unwrap_or("unknown")
        )),
        OrderStatus::Open if order.amount != pay.amount => Verdict::Refused(format!(
            "Order {} is of {}, the payment of {}.",
            order.order_id, order.amount, pay.amount
        )),
        OrderStatus::Open => Verdict::Take,
    }
}

/// A part of a product's stock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    pub id: u64,
    pub available: u64,
}

/// From which buckets a quantity is taken, beginning at one: from a single one if any has it all,
/// else from several. `None`: together they have less.
pub fn takes(buckets: &[Bucket], first: usize, quantity: u64) -> Option<Vec<(u64, u64)>> {
    let ring = || buckets.iter().cycle().skip(first).take(buckets.len());
    if let Some(bucket) = ring().find(|bucket| bucket.available >= quantity) {
        return Some(vec![(bucket.id, quantity)]);
    }
    let mut left = quantity;
    let mut takes = Vec::new();
    for bucket in ring() {
        let part = bucket.available.min(left);
        if part > 0 {
            takes.push((bucket.id, part));
            left -= part;
        }
    }
    (left == 0).then_some(takes)
}

/// The bucket at which an order begins to look: evenly spread, and the same at every try.
pub fn first_bucket(order_id: &str, buckets: usize) -> usize {
    let hash = Sha256::digest(order_id.as_bytes());
    let number = hash
        .iter()
        .take(4)
        .fold(0, |n, byte| n * 256 + usize::from(*byte));
    number % buckets.max(1)
}

/// A quantity in `parts` parts that differ by one at most.
pub fn spread(quantity: u64, parts: u32) -> Vec<u64> {
    let parts = u64::from(parts.max(1));
    (0..parts)
        .map(|n| quantity / parts + u64::from(n < quantity % parts))
        .collect()
}

/// Each product once, by id.
pub fn goods<'a>(items: impl IntoIterator<Item = (&'a str, u64)>) -> Goods {
    let mut sums = std::collections::BTreeMap::new();
    for (product, quantity) in items {
        *sums.entry(product).or_insert(0_u64) += quantity;
    }
    let owned = |(product, sum): (&str, u64)| (product.to_owned(), sum);
    sums.into_iter().map(owned).collect()
}

#[cfg(test)]
mod tests {
    use payment_core::Currency;

    use super::*;

    fn order(status: OrderStatus, payment: Option<&str>) -> Order {
        Order {
            order_id: "O".to_owned(),
            status,
            payment_id: payment.map(str::to_owned),
            amount: Money::new(100, Currency::CNY),
            goods: Vec::new(),
            created_at: Timestamp::UNIX_EPOCH,
            paid_at: None,
        }
    }

    fn pay(minor: i64) -> Pay {
        Pay {
            order_id: "O".to_owned(),
            payment_id: "P".to_owned(),
            amount: Money::new(minor, Currency::CNY),
            goods: Vec::new(),
        }
    }

    #[test]
    fn an_order_is_paid_once_by_one_payment_of_its_amount() {
        let (open, paid) = (OrderStatus::Open, OrderStatus::Paid);
        assert_eq!(judge(None, &pay(100)), Verdict::Record);
        assert_eq!(judge(Some(&order(open, None)), &pay(100)), Verdict::Take);
        let again = judge(Some(&order(paid, Some("P"))), &pay(100));
        assert_eq!(again, Verdict::Repeated);
        for (order, minor) in [(order(open, None), 99), (order(paid, Some("Q")), 100)] {
            let verdict = judge(Some(&order), &pay(minor));
            assert!(matches!(verdict, Verdict::Refused(_)), "{verdict:?}");
        }
    }

    #[test]
    fn a_quantity_comes_from_one_bucket_if_it_can() {
        let bucket = |(id, available): (u64, u64)| Bucket { id, available };
        let buckets: Vec<Bucket> = [(1, 3), (2, 5), (3, 2)].into_iter().map(bucket).collect();
        assert_eq!(takes(&buckets, 0, 3), Some(vec![(1, 3)]));
        assert_eq!(takes(&buckets, 0, 4), Some(vec![(2, 4)]));
        assert_eq!(takes(&buckets, 2, 3), Some(vec![(1, 3)]));
        assert_eq!(takes(&buckets, 2, 9), Some(vec![(3, 2), (1, 3), (2, 4)]));
        assert_eq!(takes(&buckets, 1, 10), Some(vec![(2, 5), (3, 2), (1, 3)]));
        assert_eq!(takes(&buckets, 1, 11), None);
        assert_eq!(takes(&[], 0, 1), None);
    }

    #[test]
    fn stock_is_spread_evenly_and_orders_over_it() {
        assert_eq!(spread(10, 4), [3, 3, 2, 2]);
        assert_eq!(spread(0, 2), [0, 0]);
        assert_eq!(spread(u64::MAX, 1), [u64::MAX]);
        let mut hits = [0; 8];
        for n in 0..800 {
            hits[first_bucket(&format!("O-{n}"), 8)] += 1;
        }
        assert!(hits.iter().all(|hits| (60..140).contains(hits)), "{hits:?}");
    }

    #[test]
    fn a_product_that_is_named_twice_is_taken_once() {
        let items = [("b", 1), ("a", 2), ("b", 3)];
        assert_eq!(goods(items), [("a".to_owned(), 2), ("b".to_owned(), 4)]);
    }
}
