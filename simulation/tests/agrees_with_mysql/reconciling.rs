//! Random operations on both databases: bills, runs, differences and what is done about them.

use std::time::Duration;

use jiff::ToSpan as _;
use jiff::civil::Date;
use payment_core::ledger::{Account, Cause};
use payment_core::reconciliation::{AtChannel, DifferenceClass, Kind};
use payment_core::{ChannelKind, Money};
use payment_runtime::clock;
use payment_runtime::reconcile::books::{
    AcceptedBill, Action, Allowance, Begun, BillLine, BillRefused, Booked, Books as _,
    DifferenceRecord, DifferenceState, Held, Importing, NewAction, NewDifference, Step, Sums,
};
use payment_runtime::records::{NewEntry, SYSTEM, after};
use simulation::world::BEGINNING;

use super::pair::{Compared, Pair, cny, compared, fate, plain_payments};

const CHANNELS: [ChannelKind; 2] = ChannelKind::ALL;

pub(crate) async fn reconcile(pair: &mut Pair) -> Compared {
    match pair.chance.below(10) {
        0 | 1 => import(pair).await,
        2..5 => run(pair).await,
        5..8 => step(pair).await,
        8 => own(pair).await,
        _ => sums(pair).await,
    }
}

fn day(pair: &mut Pair) -> Date {
    let days = i64::try_from(pair.chance.below(3)).unwrap();
    clock::bill_day(BEGINNING).checked_add(days.days()).unwrap()
}

fn kind(pair: &mut Pair) -> Kind {
    *pair.chance.pick(&Kind::ALL)
}

/// A number that both sides know, or that nobody does.
fn some_number(pair: &mut Pair, kind: Kind) -> String {
    if kind == Kind::Payment {
        return pair.known_payment().trim_start_matches("pay_").to_owned();
    }
    let (payment_no, refund_no) = pair.known_refund();
    let refund = pair.model.refund(&payment_no, &refund_no);
    refund.map_or(refund_no, |refund| refund.channel_refund_no)
}

fn plain_bill(mut bill: AcceptedBill) -> AcceptedBill {
    bill.id = 0;
    bill
}

async fn import(pair: &mut Pair) -> Compared {
    let (channel, day, now) = (*pair.chance.pick(&CHANNELS), day(pair), pair.now());
    let digest = format!("{:064x}", pair.chance.below(4));
    let trial = pair.chance.percent(15);
    let model = pair.model.begin_import(channel, day, &digest, trial, now);
    let real = pair.real.begin_import(channel, day, &digest, trial, now);
    let (ours, theirs) = match (model, real.await.unwrap()) {
        (Importing::New(ours), Importing::New(theirs)) => (ours, theirs),
        (Importing::Known(ours), Importing::Known(theirs)) => {
            return compared("known", &plain_bill(ours), &plain_bill(theirs));
        }
        (model, real) => return compared(&digest, &model, &real),
    };
    let lines = lines(pair, day);
    let model = fate(pair.model.add_lines(ours, &lines));
    let real = fate(pair.real.add_lines(theirs, &lines).await);
    assert_eq!(model, real, "{lines:?}");
    match pair.chance.below(8) {
        0 => {
            let refused = BillRefused {
                reason: "truncated".to_owned(),
                detail: "half of it is missing".to_owned(),
            };
            pair.model.refuse_bill(ours, now);
            pair.real.refuse_bill(theirs, &refused, now).await.unwrap();
        }
        1 => {
            pair.model.forget_trial(ours);
            pair.real.forget_trial(theirs).await.unwrap();
        }
        // It breaks off.
        2 => {}
        3 => {
            accepted_beside(pair, channel, day, &digest).await;
            return accept(pair, (ours, theirs), &lines).await;
        }
        _ => return accept(pair, (ours, theirs), &lines).await,
    }
    let model = pair.model.accepted_bill(channel, day).map(plain_bill);
    let real = pair.real.accepted_bill(channel, day).await.unwrap();
    compared(&lines, &model, &real.map(plain_bill))
}

async fn accept(pair: &mut Pair, (ours, theirs): (u64, u64), lines: &[BillLine]) -> Compared {
    let (now, rows) = (pair.now(), lines.len() as u64);
    let sums = Sums::from([((Kind::Payment, "CNY".to_owned()), (rows, 7))]);
    let model = pair.model.accept_bill(ours, &sums, 60, now).unwrap();
    let real = pair.real.accept_bill(theirs, &sums, 60, now);
    let real = real.await.unwrap();
    assert_eq!(model.id == ours, real.id == theirs);
    compared(lines, &plain_bill(model), &plain_bill(real))
}

/// A file is imported and accepted by another process while this one is at something else.
async fn accepted_beside(pair: &mut Pair, channel: ChannelKind, day: Date, digest: &str) {
    let now = pair.now();
    let model = pair.model.begin_import(channel, day, digest, false, now);
    let real = pair.real.begin_import(channel, day, digest, false, now);
    if let (Importing::New(ours), Importing::New(theirs)) = (model, real.await.unwrap()) {
        accept(pair, (ours, theirs), &[]).await;
    }
}

fn lines(pair: &mut Pair, day: Date) -> Vec<BillLine> {
    let count = pair.chance.below(7);
    let line = |pair: &mut Pair, line: u64| {
        let kind = kind(pair);
        let amount = cny(pair.chance.between(1, 5_000));
        BillLine {
            kind,
            number: some_number(pair, kind),
            line,
            channel_order_no: "order".to_owned(),
            transaction_id: "4200".to_owned(),
            amount,
            settled: amount,
            fee_1e5: 6 * amount.minor,
            foreign: pair.chance.percent(10),
            status: *pair.chance.pick(&[AtChannel::Done, AtChannel::Processing]),
            at: day.at(12, 0, 5, 0),
        }
    };
    (1..=count).map(|n| line(pair, n)).collect()
}

/// The accepted bill of some day, as each side knows it.
async fn bills(pair: &mut Pair) -> Option<(AcceptedBill, AcceptedBill)> {
    let (channel, day) = (*pair.chance.pick(&CHANNELS), day(pair));
    let ours = pair.model.accepted_bill(channel, day);
    let theirs = pair.real.accepted_bill(channel, day).await.unwrap();
    assert_eq!(ours.is_some(), theirs.is_some(), "{channel} {day}");
    ours.zip(theirs)
}

async fn run(pair: &mut Pair) -> Compared {
    let Some((ours, theirs)) = bills(pair).await else {
        return compared("no bill", &(), &());
    };
    let (now, owner) = (pair.now(), pair.number());
    let until = after(now, pair.chance.millis(0, 30_000));
    let model = pair.model.begin_run(&ours, &owner, now, until);
    let real = pair.real.begin_run(&theirs, &owner, now, until);
    let (mine, other) = match (model, real.await.unwrap()) {
        (Begun::Held(mine), Begun::Held(other)) => (mine, other),
        (model, real) => return compared("busy", &model, &real),
    };
    assert_eq!(plain_held(&mine), plain_held(&other));
    let (mut mine, mut other) = (*mine, *other);
    if pair.chance.percent(15) {
        let digest = format!("{:064x}", pair.chance.below(4));
        accepted_beside(pair, ours.channel, ours.day, &digest).await;
    }
    let found: Vec<NewDifference> = (0..pair.chance.below(4))
        .map(|_| difference(pair))
        .collect();
    let now = pair.now();
    for held in [&mut mine, &mut other] {
        held.progress.chain = format!("{:064x}", found.len());
        held.progress.after = Some(("number".to_owned(), 3));
        held.progress.differences = found.len() as u64;
    }
    let model = pair.model.checkpoint(&ours, &mine, &found, now, until);
    let real = pair.real.checkpoint(&theirs, &other, &found, now, until);
    assert_eq!(model, real.await.unwrap(), "{found:?}");
    if pair.chance.percent(70) {
        let model = pair.model.finish_run(&ours, &mine);
        let real = pair.real.finish_run(&theirs, &other, now).await.unwrap();
        assert_eq!(model, real);
    }
    let model = plain_all(pair.model.healed(&ours, mine.run_id, 10));
    let real = pair.real.healed(&theirs, other.run_id, 10).await.unwrap();
    compared(&found, &model, &plain_all(real))
}

fn plain_held(held: &Held) -> Held {
    Held {
        run_id: 0,
        ..held.clone()
    }
}

fn difference(pair: &mut Pair) -> NewDifference {
    let kind = kind(pair);
    let amount = |pair: &mut Pair| {
        let some = pair.chance.percent(70);
        some.then(|| cny(pair.chance.between(1, 3)))
    };
    let (ours, bill) = (amount(pair), amount(pair));
    NewDifference {
        kind,
        class: *pair.chance.pick(&[
            DifferenceClass::Amount,
            DifferenceClass::MissingWithUs,
            DifferenceClass::Duplicate,
        ]),
        number: format!("{}", pair.chance.below(4)),
        line: pair.chance.below(2),
        channel_order_no: "order".to_owned(),
        payment_no: pair.chance.percent(50).then(|| "pay_x".to_owned()),
        refund_no: None,
        transaction_id: None,
        our_state: pair.chance.percent(50).then_some("PAID"),
        ours,
        bill,
        fee_1e5: pair.chance.percent(50).then_some(12),
        at: Some(clock::bill_day(BEGINNING).at(1, 2, 3, 0)),
        at_the_edge: pair.chance.percent(50),
    }
}

fn plain(mut difference: DifferenceRecord) -> DifferenceRecord {
    difference.id = 0;
    difference
}

fn plain_all(differences: Vec<DifferenceRecord>) -> Vec<DifferenceRecord> {
    differences.into_iter().map(plain).collect()
}

fn plain_actions(mut actions: Vec<Action>) -> Vec<Action> {
    for action in &mut actions {
        action.id = 0;
    }
    actions
}

/// What somebody does about a difference, and everything that shows it afterwards.
async fn step(pair: &mut Pair) -> Compared {
    let (channel, day) = (*pair.chance.pick(&CHANNELS), day(pair));
    let ours = pair.model.unresolved(channel, day, 0, 20);
    let theirs = pair.real.unresolved(channel, day, 0, 20).await.unwrap();
    if ours.is_empty() || ours.len() != theirs.len() {
        return compared(day, &plain_all(ours), &plain_all(theirs));
    }
    let at = usize::try_from(pair.chance.below(ours.len() as u64)).unwrap();
    let (mine, other) = (ours[at].id, theirs[at].id);
    let now = pair.now();
    let made = made_step(pair, &ours[at]);
    let allowance = Allowance {
        since: now - Duration::from_mins(3),
        count: pair.chance.below(4),
        minor: i64::try_from(pair.chance.below(20)).unwrap(),
    };
    let (model, real) = if pair.chance.percent(50) {
        let model = pair.model.take_step(&made(mine));
        (model, pair.real.take_step(&made(other)).await)
    } else {
        let model = pair.model.take_step_within(&made(mine), &allowance);
        let step = made(other);
        (model, pair.real.take_step_within(&step, &allowance).await)
    };
    assert_eq!(fate(model), fate(real), "{:?} {allowance:?}", made(0));
    let since = allowance.since;
    let model = (
        pair.model.difference(mine).cloned().map(plain),
        plain_actions(pair.model.actions(mine)),
        sorted(&pair.model.booked_for(mine)),
        pair.model.corrected_since(channel, since),
    );
    let real = (
        pair.real.difference(other).await.unwrap().map(plain),
        plain_actions(pair.real.actions(other).await.unwrap()),
        sorted(&pair.real.booked_for(other).await.unwrap()),
        pair.real.corrected_since(channel, since).await.unwrap(),
    );
    compared(made(0), &model, &real)
}

fn sorted(booked: &[Booked]) -> Vec<String> {
    let mut texts: Vec<String> = booked.iter().map(|booked| format!("{booked:?}")).collect();
    texts.sort();
    texts
}

/// One step for either side's number of the difference.
fn made_step(pair: &mut Pair, difference: &DifferenceRecord) -> impl Fn(u64) -> Step + use<> {
    let now = pair.now();
    let (channel, day) = (difference.channel, difference.day);
    let (from, to) = (
        if pair.chance.percent(85) {
            difference.state
        } else {
            DifferenceState::Proposed
        },
        *pair.chance.pick(&DifferenceState::ALL),
    );
    let resolved = to == DifferenceState::Resolved;
    let amount = cny(pair.chance.between(1, 9));
    let books = pair.chance.percent(40);
    let moved = pair.chance.percent(50).then_some(amount);
    let ways = [
        (Account::Clearing(channel), Account::Suspense(channel)),
        (Account::Suspense(channel), Account::Clearing(channel)),
        (Account::Merchant, Account::Suspense(channel)),
    ];
    let (debit, credit) = *pair.chance.pick(&ways);
    let resolutions = ["agreed-later", "corrected", "written-off"];
    let resolution = resolved.then(|| (*pair.chance.pick(&resolutions)).to_owned());
    let action = NewAction {
        at: now,
        actor: (*pair.chance.pick(&[SYSTEM, "somebody"])).to_owned(),
        action: "asked",
        rule: pair.chance.percent(50).then_some("corrections-1"),
        reason: "é".repeat(usize::try_from(pair.chance.below(300)).unwrap()),
        note: String::new(),
        evidence: "{}".to_owned(),
        key: format!("key-{}", pair.chance.below(5)),
        moved,
    };
    let entry_key = format!("difference:{}", pair.chance.below(30));
    let assignee = pair.chance.percent(30).then(|| "somebody".to_owned());
    move |id| Step {
        id,
        from,
        to,
        why: action.reason.clone(),
        resolution: resolution.clone(),
        assignee: assignee.clone(),
        action: action.clone(),
        entries: books
            .then(|| {
                entry(
                    &entry_key,
                    (debit, credit),
                    amount,
                    Cause::Suspense,
                    (channel, day),
                )
            })
            .map(|entry| NewEntry {
                reference: format!("difference:{id}"),
                recorded_at: now,
                ..entry
            })
            .into_iter()
            .collect(),
    }
}

fn entry(
    key: &str,
    (debit, credit): (Account, Account),
    amount: Money,
    cause: Cause,
    (channel, day): (ChannelKind, Date),
) -> NewEntry {
    NewEntry {
        entry_key: key.to_owned(),
        payment_no: None,
        refund_no: None,
        channel,
        debit,
        credit,
        amount,
        day,
        cause,
        source: "bill",
        actor: SYSTEM.to_owned(),
        rule: None,
        reference: "bill:x".to_owned(),
        recorded_at: BEGINNING,
    }
}

/// Our side of a comparison, and a bill's.
async fn own(pair: &mut Pair) -> Compared {
    let (channel, day, kind) = (*pair.chance.pick(&CHANNELS), day(pair), kind(pair));
    let number = some_number(pair, kind);
    let numbers = [
        number.clone(),
        some_number(pair, kind),
        some_number(pair, kind),
    ];
    let payments = [pair.known_payment(), pair.known_payment()];
    let orders = [pair.order_id(), pair.order_id()];
    let now = pair.now();
    let after = pair.chance.percent(40).then_some(number.as_str());
    let until = pair.chance.percent(40).then_some(numbers[1].as_str());
    let since = now - Duration::from_mins(5);
    let model = (
        pair.model.own_of_day(channel, day, kind, (after, until), 3),
        sorted_rows(&pair.model.own_by_number(channel, kind, &numbers)),
        pair.model.clearing_of(channel, &payments),
        pair.model.charged_twice(&orders),
        plain_payments(pair.model.unsettled_since(channel, since, now, 2)),
    );
    let books = &pair.real;
    let real = (
        books
            .own_of_day(channel, day, kind, after, until, 3)
            .await
            .unwrap(),
        sorted_rows(&books.own_by_number(channel, kind, &numbers).await.unwrap()),
        books.clearing_of(channel, &payments).await.unwrap(),
        books.charged_twice(&orders).await.unwrap(),
        plain_payments(books.unsettled_since(channel, since, now, 2).await.unwrap()),
    );
    let what = (channel, day, kind, &numbers);
    assert_eq!(format!("{model:#?}"), format!("{real:#?}"), "{what:?}");
    let Some((ours, theirs)) = bills(pair).await else {
        return compared(what, &(), &());
    };
    let place = pair
        .chance
        .percent(50)
        .then(|| (number, pair.chance.below(4)));
    let model = (
        pair.model.lines(ours.id, kind, place.as_ref(), 3),
        pair.model.on_other_bills(&ours, kind, &numbers),
    );
    let real = (
        pair.real
            .lines(theirs.id, kind, place.as_ref(), 3)
            .await
            .unwrap(),
        pair.real
            .on_other_bills(&theirs, kind, &numbers)
            .await
            .unwrap(),
    );
    compared((channel, day, kind, numbers, place), &model, &real)
}

fn sorted_rows(rows: &[payment_runtime::reconcile::books::OwnRow]) -> Vec<String> {
    let mut texts: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
    texts.sort();
    texts.dedup();
    texts
}

/// Fees, and what the ledger lacks.
async fn sums(pair: &mut Pair) -> Compared {
    let (channel, day, now) = (*pair.chance.pick(&CHANNELS), day(pair), pair.now());
    let ways = [
        (Account::Fees(channel), Account::Clearing(channel)),
        (Account::Clearing(channel), Account::Fees(channel)),
    ];
    let accounts = *pair.chance.pick(&ways);
    let amount = cny(pair.chance.between(1, 3));
    let key = format!("fee:{}", pair.chance.below(8));
    let new = NewEntry {
        recorded_at: now,
        ..entry(&key, accounts, amount, Cause::Fee, (channel, day))
    };
    let model = fate(pair.model.post(std::slice::from_ref(&new)));
    let real = fate(payment_runtime::reconcile::books::Books::post(&pair.real, &[new]).await);
    assert_eq!(model, real, "{key}");
    let number = pair.known_payment();
    let model = (
        fate(pair.model.repost(&number, now)),
        pair.model.posted_fee(channel, day),
    );
    let real = (
        fate(pair.real.repost(&number, now).await),
        pair.real.posted_fee(channel, day).await.unwrap(),
    );
    compared((key, number), &model, &real)
}
