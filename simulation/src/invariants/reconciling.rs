//! What reconciliation must come to: written down from the channels' books and from the slips
//! that a seed let them make, not from what the runtime compared.

use std::collections::{BTreeMap, BTreeSet};

use channels::RefundState;
use jiff::civil::Date;
use payment_core::ChannelKind;
use payment_core::reconciliation::{DifferenceClass, Kind};
use payment_runtime::clock;
use payment_runtime::reconcile::books::{AcceptedBill, DifferenceRecord, DifferenceState, Step};
use serde_json::Value;

use crate::channel::bills::{MadeBill, MadeRow};
use crate::database::{BillState, Database};
use crate::process::Life;
use crate::setting;
use crate::world::World;

/// Which difference: channel, day, kind, number, class, line.
type Name = (ChannelKind, Date, Kind, String, DifferenceClass, u64);

/// What must not change when nothing does.
#[derive(Debug, PartialEq, Eq)]
pub struct Standing {
    entries: usize,
    trail: usize,
    /// The result hash of each day's last comparison.
    results: BTreeMap<(ChannelKind, Date), String>,
    differences: Vec<(u64, &'static str, String)>,
}

impl Standing {
    pub fn of(world: &World) -> Self {
        let database = world.database();
        let finished = database.runs().filter(|run| run.finished);
        let results = finished.map(|run| ((run.channel, run.day), run.progress.chain.clone()));
        let differences = database.all_differences().map(|difference| {
            let (state, why) = (difference.state.as_str(), difference.why.clone());
            (difference.id, state, why)
        });
        Self {
            entries: database.all_entries().count(),
            trail: database.all_actions().count(),
            results: results.collect(),
            differences: differences.collect(),
        }
    }
}

/// After one more run over the same days.
pub fn nothing_changed(world: &World, before: &Standing) {
    let now = Standing::of(world);
    if now != *before {
        world.broken("II", || format!("it was {before:?}, and now is {now:?}"));
    }
}

/// A bill was accepted: it must be the channel's, and whole.
pub fn accepted(world: &World, database: &Database, bill: &AcceptedBill) {
    let Some(kept) = database.kept_bill(bill.id) else {
        return;
    };
    if kept.state != BillState::Accepted {
        return;
    }
    let rows = kept.lines.len();
    let book = world.book(bill.channel);
    let mut made = book.bills();
    let whole = (bill.digest == "empty" && rows == 0)
        || made.any(|(day, made)| {
            *day == bill.day && made.digest == bill.digest && made.rows.len() == rows
        });
    drop(made);
    drop(book);
    if !whole {
        let (day, channel) = (bill.day, bill.channel);
        world.broken("IW", || {
            format!("{rows} rows count as {channel}'s of {day}")
        });
    }
}

/// A difference went a step, if it was `taken`.
pub fn stepped(life: &Life, database: &Database, step: &Step, taken: bool) {
    let world = &life.world;
    let Some(difference) = database.difference(step.id).filter(|_| taken) else {
        return;
    };
    let (class, number, day) = (difference.class, &difference.number, difference.day);
    world.say(life.name, || {
        let (from, to) = (step.from.as_str(), step.to.as_str());
        let (action, reason) = (step.action.action, &step.action.reason);
        let moved = if from == to {
            String::new()
        } else {
            format!(", {from} -> {to}")
        };
        format!("{class} of {number} of {day}: {action} ({reason}){moved}")
    });
    let corrects = matches!(step.action.action, "correcting" | "suspense" | "freeze");
    let own = class == DifferenceClass::Ledger;
    if corrects && !own && !is_evidence(&step.action.evidence) {
        world.broken("IE", || format!("{class} of {number}: on nobody's word"));
    }
    if step.resolution.as_deref() == Some("corrected") {
        let trail = database.actions(step.id);
        let mut said = trail
            .iter()
            .filter(|line| own || is_evidence(&line.evidence));
        if !said.any(|line| line.action == "correcting") {
            world.broken("IE", || format!("{class} of {number}: without a trail"));
        }
    }
}

/// What a channel said about an order or a refund.
fn is_evidence(text: &str) -> bool {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    !value["order"].is_null() || !value["refund"].is_null()
}

/// At rest, when every bill has been compared to its end.
pub fn at_rest(world: &World, days: &[Date]) {
    everything_is_compared(world, days);
    listed_are_expected(world);
    corrected_once(world);
    within_budgets(world);
    let (unresolved, corrected) = {
        let database = world.database();
        let of = |wanted: fn(&DifferenceRecord) -> bool| {
            database.all_differences().filter(|d| wanted(d)).count() as u64
        };
        (
            of(|difference| difference.state != DifferenceState::Resolved),
            of(|difference| difference.resolution.as_deref() == Some("corrected")),
        )
    };
    world.tally().differences += unresolved;
    world.tally().corrected += corrected;
}

fn everything_is_compared(world: &World, days: &[Date]) {
    for (kind, day) in ChannelKind::ALL
        .into_iter()
        .flat_map(|kind| days.iter().map(move |day| (kind, *day)))
    {
        let database = world.database();
        let bill = database.accepted_bill(kind, day);
        let mut runs = database.runs();
        let compared =
            bill.is_some_and(|bill| runs.any(|run| run.bill_id == bill.id && run.finished));
        drop(runs);
        drop(database);
        if !compared {
            world.broken("IB", || format!("{kind}'s bill of {day} was not compared"));
        }
    }
}

fn listed_are_expected(world: &World) {
    let listed: BTreeSet<Name> = {
        let database = world.database();
        let unresolved = database
            .all_differences()
            .filter(|difference| difference.state != DifferenceState::Resolved);
        unresolved.map(name_of).collect()
    };
    let expected: BTreeSet<Name> = ChannelKind::ALL
        .into_iter()
        .flat_map(|kind| expected_of(world, kind))
        .collect();
    for name in expected.difference(&listed) {
        world.broken("IB", || format!("not found: {}", described(name)));
    }
    for name in listed.difference(&expected) {
        world.broken("IB", || {
            format!("both sides agree about {}", described(name))
        });
    }
}

fn described((channel, day, kind, number, class, _): &Name) -> String {
    format!("{class}, {} {number}, {channel} {day}", kind.as_str())
}

fn name_of(difference: &DifferenceRecord) -> Name {
    (
        difference.channel,
        difference.day,
        difference.kind,
        difference.number.clone(),
        difference.class,
        difference.line,
    )
}

fn expected_of(world: &World, channel: ChannelKind) -> Vec<Name> {
    let bills: Vec<(Date, MadeBill)> = {
        let book = world.book(channel);
        book.bills()
            .map(|(day, bill)| (*day, bill.clone()))
            .collect()
    };
    let mut expected = Vec::new();
    for (day, bill) in &bills {
        for row in &bill.rows {
            if let Some(class) = class_of(world, channel, row) {
                let line = &row.line;
                let repeated = class == DifferenceClass::Duplicate;
                let place = if repeated { line.line } else { 0 };
                let number = line.number.clone();
                expected.push((channel, *day, line.kind, number, class, place));
            }
        }
        for (kind, number, order) in &bill.lost {
            let missed = match kind {
                Kind::Payment => payment_day(world, channel, number)
                    .map(|day| (day, DifferenceClass::MissingAtChannel)),
                Kind::Refund => refund_day(world, channel, number)
                    .filter(|_| ended_well(world, channel, order, number))
                    .map(|day| (day, DifferenceClass::RefundMissingAtChannel)),
            };
            if let Some((day, class)) = missed {
                expected.push((channel, day, *kind, number.clone(), class, 0));
            }
        }
    }
    expected
}

/// What a row of a bill is, against the end of the world.
fn class_of(world: &World, channel: ChannelKind, row: &MadeRow) -> Option<DifferenceClass> {
    if row.slip.is_some() || row.line.kind == Kind::Payment {
        return row.slip;
    }
    // A bill that was made while a refund was under way, of a refund that came to nothing.
    let line = &row.line;
    let hung = line.status == payment_core::reconciliation::AtChannel::Processing;
    let ended_well = ended_well(world, channel, &line.channel_order_no, &line.number);
    (hung && !ended_well).then_some(DifferenceClass::RefundShortByStatus)
}

fn ended_well(world: &World, channel: ChannelKind, order: &str, number: &str) -> bool {
    let book = world.book(channel);
    let refund = book.book_refund(order, number);
    refund.is_some_and(|refund| refund.state == RefundState::Succeeded)
}

fn payment_day(world: &World, channel: ChannelKind, number: &str) -> Option<Date> {
    let database = world.database();
    let payment = database.payment_of_channel_order(channel, number)?;
    payment.paid_at.map(clock::bill_day)
}

fn refund_day(world: &World, channel: ChannelKind, number: &str) -> Option<Date> {
    let database = world.database();
    let refund = database.refund_of_channel_number(channel, number)?;
    refund.refunded_at.map(clock::bill_day)
}

/// What nobody asked for is in suspense, once; nothing else is.
fn corrected_once(world: &World) {
    let differences: Vec<DifferenceRecord> = {
        let database = world.database();
        database.all_differences().cloned().collect()
    };
    for difference in differences {
        let booked: i64 = {
            let booked = world.database().booked_for(difference.id);
            booked.iter().map(|booked| booked.amount.minor).sum()
        };
        let stands = difference.state != DifferenceState::Resolved;
        let expected = match (difference.class, difference.bill) {
            (DifferenceClass::MissingWithUs, Some(amount)) if stands => amount.minor,
            _ => 0,
        };
        if booked != 0 && difference.why.contains("budget") {
            world.broken("IE", || {
                let name = described(&name_of(&difference));
                format!("{name} is booked, and says: {}", difference.why)
            });
        }
        if booked != expected {
            world.broken("IE", || {
                let name = described(&name_of(&difference));
                format!("{name}: {booked} in suspense, it should be {expected}")
            });
        }
    }
}

fn within_budgets(world: &World) {
    let allowed = setting::config(&world.profile).reconciliation.corrections;
    let mut moved: BTreeMap<(ChannelKind, Date), (u64, i64)> = BTreeMap::new();
    for done in world.database().all_actions() {
        if let Some(amount) = done.action.moved {
            let day = (done.channel, clock::bill_day(done.action.at));
            let sum = moved.entry(day).or_default();
            *sum = (sum.0 + 1, sum.1 + amount.minor);
        }
    }
    for ((channel, day), (count, minor)) in moved {
        if count > u64::from(allowed.daily_count) || minor > allowed.daily_amount_minor {
            world.broken("IE", || {
                format!("{count} corrections of {minor} on {channel} {day}")
            });
        }
    }
}

/// What of a channel's book the ledger shows beside the payments: fees that were kept, and money
/// of nobody.
pub(super) fn kept_and_nobodys(world: &World, kind: ChannelKind) -> (i64, i64) {
    let database = world.database();
    let bills = database.accepted_bills();
    let fees = bills
        .filter(|kept| kept.bill.channel == kind)
        .map(|kept| {
            let fee_1e5: i64 = kept.lines.values().map(|line| line.fee_1e5).sum();
            rounded(fee_1e5)
        })
        .sum();
    let stand = database.all_differences().filter(|difference| {
        difference.channel == kind
            && difference.class == DifferenceClass::MissingWithUs
            && difference.state != DifferenceState::Resolved
    });
    let nobodys = stand
        .filter_map(|difference| Some(difference.bill?.minor))
        .sum();
    (fees, nobodys)
}

/// In fen, halves away from zero.
fn rounded(fee_1e5: i64) -> i64 {
    let (whole, rest) = (fee_1e5 / 1_000, fee_1e5 % 1_000);
    whole + i64::from(rest >= 500) - i64::from(rest <= -500)
}
