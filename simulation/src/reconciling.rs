//! Reconciliation at work: the jobs that compare bills, on their schedule, and the days that a
//! world is carried over for them.
//!
//! Guarantees: each job is a process of its own, which can be struck like any other; a job that
//! hangs is killed after the time that the runtime's configuration allows it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use payment_core::ChannelKind;
use payment_core::reconciliation::{Kind, Proof};
use payment_runtime::clock;
use payment_runtime::reconcile::{DayResult, Plan, Reconciler, RunResult};

use crate::bills::{SimBills, all_ready_after};
use crate::books::LivingBooks;
use crate::channel::name;
use crate::invariants::reconciling;
use crate::process::{self, Life, REPLICAS, Role};
use crate::run::rest;
use crate::world::World;

/// Jobs' names: one after the schedule, and one that somebody started beside it.
const JOBS: [&str; 2] = ["reconcile-1", "reconcile-2"];
/// The schedule.
const INTERVAL: Duration = Duration::from_mins(30);
/// What the runtime's configuration allows a run.
const TIME_OUT: Duration = Duration::from_mins(10);
/// Finished days that a scheduled run looks back.
const DAYS: u32 = 3;
/// Mornings at which things still go wrong.
const MORNINGS: i64 = 2;

/// The evening and the mornings after the shop has closed, while things still go wrong.
pub async fn mornings(world: &Arc<World>) {
    let Some(slips) = world.profile.bills.clone() else {
        return;
    };
    if slips.workers_away {
        send_workers_away(world);
    }
    if world.chance().percent(40) {
        scheduled(world).await;
    }
    let first_day = clock::bill_day(world.beginning);
    for morning in 1..=MORNINGS {
        let day = first_day.saturating_add(morning.days());
        sleep_until(
            world,
            clock::beginning_of(day) + Duration::from_mins(8 * 60 + 50),
        )
        .await;
        world.say("world", || format!("morning of {day}"));
        let jobs = world.chance().between(2, 4);
        for _ in 0..jobs {
            scheduled(world).await;
            tokio::time::sleep(INTERVAL).await;
        }
        if slips.ledger_loses {
            lose_entries(world);
        }
    }
}

fn send_workers_away(world: &World) {
    world.say("world", || "the workers are taken away".to_owned());
    world.workers_are_away.store(true, Ordering::Relaxed);
    for (replica, (_, role)) in REPLICAS.iter().enumerate() {
        let life = world.lives()[replica].clone();
        if let Some(life) = life.filter(|_| *role == Role::Worker) {
            life.die();
        }
    }
}

/// One run of the schedule, and perhaps another one beside it.
async fn scheduled(world: &Arc<World>) {
    let slips = world.profile.bills.as_ref();
    let overlap = slips.map_or(0, |slips| slips.overlap_percent);
    if !world.strikes(overlap) {
        job(world, 0, None).await;
        return;
    }
    let pause = world.chance().millis(0, 4_000);
    let beside = async {
        tokio::time::sleep(pause).await;
        job(world, 1, None).await
    };
    tokio::join!(job(world, 0, None), beside);
}

/// One run, from the start of its process to its end. `days`: others than the schedule's.
async fn job(world: &Arc<World>, place: usize, days: Option<Vec<Date>>) -> Option<RunResult> {
    let life = Life::new(world.clone(), (JOBS[place], Role::Reconcile), 0);
    may_have_a_wrong_clock(&life);
    let reconciler = Reconciler {
        payments: process::payments(&life),
        books: Arc::new(LivingBooks::new(life.clone())),
        bills: Arc::new(SimBills::new(life.clone())),
    };
    let mut plan = Plan::last_days(&reconciler.payments, DAYS);
    if let Some(days) = days {
        plan.days = days;
    } else {
        let trial = world.profile.bills.as_ref().map_or(0, |b| b.trial_percent);
        plan.dry_run = world.strikes(trial);
    }
    world.say(life.name, || {
        let trial = if plan.dry_run { ", as a trial" } else { "" };
        format!("starts{trial}")
    });
    let told = |day: Date, kind: ChannelKind, result: &DayResult| tell(&life, day, kind, result);
    tokio::select! {
        biased;
        done = reconciler.run(&plan, &told) => match done {
            Ok(result) => Some(result),
            Err(error) => {
                world.say(life.name, || format!("ends: {error}"));
                None
            }
        },
        () = life.died.cancelled() => None,
        () = tokio::time::sleep(TIME_OUT) => {
            world.say(life.name, || "hangs, and is killed".to_owned());
            life.die();
            None
        }
    }
}

fn may_have_a_wrong_clock(life: &Life) {
    let world = &life.world;
    if world.profile.clock_steps > 0 && world.strikes(30) {
        let error = i64::try_from(world.chance().between(500, 90_000)).unwrap_or_default();
        let error = if world.chance().percent(50) {
            error
        } else {
            -error
        };
        life.set_clock_error(error);
    }
}

fn tell(life: &Life, day: Date, kind: ChannelKind, result: &DayResult) {
    let world = &life.world;
    let head = format!("bill of {} of {day}", name(kind));
    match result {
        DayResult::NotReady => {}
        DayResult::Busy => world.say(life.name, || format!("{head}: another run is at it")),
        DayResult::Failed(error) => world.say(life.name, || format!("{head}: {error}")),
        DayResult::Compared {
            bill,
            comparison,
            proofs,
            corrected,
        } => {
            let progress = &comparison.held.progress;
            world.mark(progress.chain.as_bytes());
            world.tally().bills += 1;
            if !proofs.iter().all(Proof::holds) && still_stands(world, bill.id) {
                world.broken("IB", || format!("{head}: the proof does not hold"));
            }
            world.say(life.name, || {
                let rows: u64 = bill.sums.values().map(|(rows, _)| rows).sum();
                let (matched, found) = (progress.totals.matched(), progress.differences);
                format!(
                    "{head}: {rows} rows, {matched} agree, {found} differences, {corrected} corrected"
                )
            });
        }
    }
}

/// Rows of a bill that was replaced meanwhile may be gone.
fn still_stands(world: &World, bill_id: u64) -> bool {
    let database = world.database();
    database
        .accepted_bills()
        .any(|kept| kept.bill.id == bill_id)
}

/// Somebody takes out of the ledger what it has of one payment that its bill shows rightly.
fn lose_entries(world: &World) {
    let shown: Vec<(ChannelKind, String)> = ChannelKind::ALL
        .into_iter()
        .flat_map(|kind| {
            let book = world.book(kind);
            let rows = book.bills().flat_map(|(_, bill)| &bill.rows);
            let right = rows.filter(|row| row.slip.is_none() && row.line.kind == Kind::Payment);
            let numbers: Vec<_> = right.map(|row| (kind, row.line.number.clone())).collect();
            numbers
        })
        .collect();
    let mut database = world.database();
    let payments = shown
        .iter()
        .filter_map(|(kind, number)| database.payment_of_channel_order(*kind, number));
    let at_rest = payments.filter(|payment| payment.next_question_at.is_none());
    // A comparison looks at what the channel still holds of a payment.
    let mut charged = at_rest.filter(|payment| {
        payment.status.was_charged() && payment.refunded_minor < payment.amount.minor
    });
    let found = charged.next();
    drop(charged);
    let Some(payment) = found else { return };
    let number = payment.payment_no;
    world.say("somebody", || {
        format!("takes what the ledger has of {number} away")
    });
    database.lose_entries(&number);
}

/// Nothing goes wrong any more: the bills that were late come, and are compared until the end.
pub async fn last_days(world: &Arc<World>) {
    let first = clock::bill_day(world.beginning);
    let last = last_day(world);
    sleep_until(world, all_ready_after(last)).await;
    let days = days_between(first, last);
    for _ in 0..2 {
        job(world, 0, Some(days.clone())).await;
        rest(world).await;
    }
    // Budgets are a day's: with a small one, more days are needed.
    let mut before = reconciling::Standing::of(world);
    for _ in 0..DAYS_FOR_BUDGETS {
        tokio::time::sleep(Duration::from_hours(24)).await;
        job(world, 0, Some(days.clone())).await;
        rest(world).await;
        let now = reconciling::Standing::of(world);
        if now == before {
            break;
        }
        before = now;
    }
    job(world, 0, Some(days.clone())).await;
    reconciling::nothing_changed(world, &before);
    reconciling::at_rest(world, &days);
}

/// More days are never needed to correct what a few orders can bring about.
const DAYS_FOR_BUDGETS: u32 = 20;

/// The last day on whose bill something stands: the day after the last on which something
/// happened, because a row may come a day late.
fn last_day(world: &World) -> Date {
    let mut last = clock::bill_day(world.beginning);
    for kind in ChannelKind::ALL {
        let book = world.book(kind);
        for (_, order) in book.orders() {
            let charged = order.charge.as_ref().map(|charge| charge.paid_at);
            let refunds = order.refunds.iter();
            let refunded = refunds.map(|r| r.finished_at.unwrap_or(world.at(r.accepted_at_ms)));
            for at in charged.into_iter().chain(refunded) {
                last = last.max(clock::bill_day(at));
            }
        }
    }
    last.saturating_add(1.day())
}

fn days_between(first: Date, last: Date) -> Vec<Date> {
    first
        .series(1.day())
        .take_while(|day| *day <= last)
        .collect()
}

async fn sleep_until(world: &World, at: Timestamp) {
    let left = world.ms_of(at).saturating_sub(world.elapsed_ms());
    tokio::time::sleep(Duration::from_millis(left)).await;
}
