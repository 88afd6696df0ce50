//! What the ledger must show: written down a second time, by hand, from the records and from the
//! channels' books, so that a slip in the runtime's positions shows as a difference.

use std::collections::BTreeMap;

use payment_core::{ChannelKind, PaymentState};
use payment_runtime::records::{NewEntry, PaymentRecord};

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
    let number = entry.payment_no.as_deref().unwrap_or_default();
    let payment = world.database().payment(number);
    match payment {
        Some(payment) => of_payment(world, &payment),
        None => world.broken("IL", || format!("{} is of no payment", entry.entry_key)),
    }
}

/// The entries of a payment fold to what its record says.
pub(super) fn of_payment(world: &World, payment: &PaymentRecord) {
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
        if clearing != held || suspense != 0 {
            world.broken("IL", || {
                format!("{kind} holds {held}; the ledger says {clearing}, and {suspense} of nobody")
            });
        }
    }
}
