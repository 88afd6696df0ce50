//! What the ledger must show: written down a second time, by hand, from the records and from the
//! channels' books, so that a slip in the runtime's positions shows as a difference.

use std::collections::BTreeMap;

use payment_core::{ChannelKind, PaymentState};
use payment_runtime::records::{NewEntry, PaymentRecord};

use super::reconciling;
use crate::world::World;

/// Minor units by account and currency.
type Shown = BTreeMap<(String, &'static str), i64>;

/// Looks at an entry that was committed, and at its payment.
pub(super) fn entry(world: &World, entry: &NewEntry) {
    world.mark(entry.entry_key.as_bytes());
    if entry.amount.minor <= 0 || entry.debit == entry.credit {
        world.broken("IL", || format!("{} moves nothing", entry.entry_key));
    }
    let sums = fold(world.database().all_entries());
    for currency in sums.keys().map(|(_, currency)| *currency) {
        let of_currency = sums.iter().filter(|((_, code), _)| *code == currency);
        let sum: i64 = of_currency.map(|(_, minor)| minor).sum();
        if sum != 0 {
            world.broken("IL", || format!("{currency} sums to {sum}"));
        }
    }
    let Some(number) = entry.payment_no.as_deref() else {
        return;
    };
    let payment = world.database().payment(number);
    match payment {
        Some(payment) => of_payment(world, &payment),
        None => world.broken("IL", || format!("{} is of no payment", entry.entry_key)),
    }
}

/// The entries of a payment fold to what its record says.
pub(super) fn of_payment(world: &World, payment: &PaymentRecord) {
    if world.database().has_lost(&payment.payment_no) {
        return;
    }
    let mut seen = fold(world.database().entries_of(&payment.payment_no));
    seen.retain(|_, minor| *minor != 0);
    let expected = expected(payment);
    if seen != expected {
        world.broken("IL", || {
            let (number, state) = (&payment.payment_no, payment.status);
            format!("{number} is {state}, which is {expected:?}, and its entries say {seen:?}")
        });
    }
}

fn expected(payment: &PaymentRecord) -> Shown {
    let charged = matches!(
        payment.status,
        PaymentState::Paid
            | PaymentState::PartlyRefunded
            | PaymentState::Refunded
            | PaymentState::PaidAfterClose
    );
    let mut shown = Shown::new();
    if !charged {
        return shown;
    }
    let (paid, given) = (payment.amount.minor, payment.refunded_minor);
    let (channel, currency) = (payment.channel, payment.amount.currency.code());
    let mut show = |account: String, minor: i64| {
        if minor != 0 {
            shown.insert((account, currency), minor);
        }
    };
    show(format!("clearing:{channel}"), paid - given);
    if payment.given_up {
        show(format!("suspense:{channel}"), given - paid);
    } else {
        show("merchant".to_owned(), -paid);
        show("refunds".to_owned(), given);
    }
    shown
}

fn fold<'a>(entries: impl Iterator<Item = &'a NewEntry>) -> Shown {
    let mut shown = Shown::new();
    for entry in entries {
        let (code, minor) = (entry.amount.currency.code(), entry.amount.minor);
        *shown.entry((entry.debit.to_string(), code)).or_default() += minor;
        *shown.entry((entry.credit.to_string(), code)).or_default() -= minor;
    }
    shown
}

/// At rest, each channel holds what its book says, and no money is without an owner.
pub(super) fn at_rest(world: &World) {
    let sums = fold(world.database().all_entries());
    let of = |account: String| -> i64 {
        let found = sums.iter().filter(|((name, _), _)| *name == account);
        found.map(|(_, minor)| minor).sum()
    };
    for kind in ChannelKind::ALL {
        let book = world.book(kind);
        let held: i64 = book
            .orders()
            .filter_map(|(_, order)| {
                Some(order.charge.as_ref()?.amount.minor - order.given_minor())
            })
            .sum();
        drop(book);
        let (clearing, suspense) = (
            of(format!("clearing:{kind}")),
            of(format!("suspense:{kind}")),
        );
        let (fees, nobodys) = reconciling::kept_and_nobodys(world, kind);
        let held = held + nobodys - fees;
        if clearing != held || suspense != -nobodys {
            world.broken("IL", || {
                format!(
                    "{kind} holds {held} after {fees} of fees, {nobodys} of it nobody's; \
                     the ledger says {clearing}, and {suspense}"
                )
            });
        }
    }
}

/// An order is paid by exactly the payment that was charged and not given up; what the merchant
/// is owed for it is that payment's amount.
pub(super) fn orders_are_paid(world: &World) {
    let payments: Vec<PaymentRecord> = {
        let database = world.database();
        let rows = database.all_payments();
        rows.map(|row| row.record.clone()).collect()
    };
    let mut orders: BTreeMap<&str, (Vec<&PaymentRecord>, i64)> = BTreeMap::new();
    for payment in &payments {
        let (paying, owed) = orders.entry(&payment.order_id).or_default();
        let shown = fold(world.database().entries_of(&payment.payment_no));
        let merchant = shown.iter().filter(|((name, _), _)| name == "merchant");
        *owed -= merchant.map(|(_, minor)| minor).sum::<i64>();
        if payment.status.was_charged() && !payment.given_up {
            paying.push(payment);
        }
    }
    for (order, (paying, owed)) in orders {
        let due: i64 = paying.iter().map(|payment| payment.amount.minor).sum();
        let times = paying.len();
        if times > 1 || owed != due {
            world.broken("IO", || {
                format!("{order} is paid {times} times, {due}, and the ledger owes {owed} for it")
            });
        }
    }
}
