//! How hard a seed's world is: which classes of faults strike, and how often.
//!
//! Each class is on in some seeds and off in others, so that every class is also seen alone and in
//! every company (swarm testing); one seed in ten is calm.

use crate::chance::Chance;
use crate::points::{Point, Site, Strike};

/// A strike that a seed promises: this one at this point, the `nth` time it is passed.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub point: Point,
    pub strike: Strike,
    pub nth: u64,
}

/// What a channel does wrong with its bills, and how reconciliation is set up against it. Slips in
/// rows are per cent of the rows.
#[derive(Clone, Debug)]
pub struct BillSlips {
    pub late_percent: u64,
    pub empty_percent: u64,
    pub unreadable_percent: u64,
    pub lost_percent: u64,
    pub next_day_percent: u64,
    pub twice_percent: u64,
    pub amount_percent: u64,
    pub fee_percent: u64,
    pub stranger_percent: u64,
    /// The workers are away from the shop's end until the last morning.
    pub workers_away: bool,
    /// Somebody takes a payment's entries out of the ledger.
    pub ledger_loses: bool,
    /// The shop is open around midnight.
    pub around_midnight: bool,
    /// Two runs at once.
    pub overlap_percent: u64,
    pub trial_percent: u64,
    pub batch_size: u32,
    pub daily_count: u32,
}

impl BillSlips {
    fn of(chance: &mut Chance) -> Self {
        let mut on = |most: u64| {
            if chance.percent(40) {
                0
            } else {
                chance.between(1, most)
            }
        };
        let mut slips = Self {
            late_percent: on(60),
            empty_percent: on(30),
            unreadable_percent: on(40),
            lost_percent: on(12),
            next_day_percent: on(15),
            twice_percent: on(12),
            amount_percent: on(12),
            fee_percent: on(12),
            stranger_percent: on(60),
            workers_away: false,
            ledger_loses: false,
            around_midnight: false,
            overlap_percent: on(60),
            trial_percent: on(20),
            batch_size: 1_000,
            daily_count: 100,
        };
        slips.workers_away = chance.percent(40);
        slips.ledger_loses = chance.percent(30);
        slips.around_midnight = chance.percent(40);
        slips.batch_size = *chance.pick(&[1, 2, 3, 1_000]);
        slips.daily_count = *chance.pick(&[1, 1, 2, 100]);
        slips
    }

    /// So that a point that is rarely passed is passed.
    fn towards(&mut self, site: Site) {
        match site {
            Site::RefuseBill => self.unreadable_percent = 60,
            Site::ForgetTrial => self.trial_percent = 60,
            Site::Repost => {
                self.ledger_loses = true;
                self.daily_count = 100;
            }
            Site::BookedFor | Site::TakeStepWithin | Site::CorrectedSince => {
                self.stranger_percent = 90;
            }
            Site::OnOtherBills => self.next_day_percent = 40,
            Site::UnsettledSince => self.workers_away = true,
            _ => {}
        }
    }
}

/// How often what happens. Rates are per hundred thousand passes of a point, or per cent.
#[derive(Clone, Debug)]
pub struct Profile {
    pub crash_rate: u64,
    pub cancel_rate: u64,
    /// Clients who do not wait for their answer.
    pub hang_up_percent: u64,
    pub database_fault_rate: u64,
    pub channel_fault_rate: u64,
    pub cache_fault_rate: u64,
    pub answer_fault_rate: u64,
    /// Times the database is away for a while.
    pub database_outages: u64,
    pub clock_steps: u64,
    pub rolling_restarts: u64,
    pub callbacks_lost_percent: u64,
    pub callbacks_repeated_percent: u64,
    pub callbacks_late_percent: u64,
    /// Forged, misaddressed, with another amount, or a probe.
    pub callbacks_false_percent: u64,
    pub query_lag_percent: u64,
    pub pay_late_percent: u64,
    pub pay_despite_close_percent: u64,
    pub refund_trouble_percent: u64,
    pub decline_percent: u64,
    /// Late money is taken as paid after all, where the order has no later attempt.
    pub reopen_late: bool,
    /// Orders that live for a minute and are mostly codes to scan.
    pub short_lived: bool,
    /// The world goes on until its bills are compared.
    pub bills: Option<BillSlips>,
    pub target: Option<Target>,
}

/// Seeds beside those whose promised strike needs it that go on until their bills are compared.
const BILLS_PERCENT: u64 = 12;

impl Profile {
    /// Nothing ever goes wrong.
    pub const fn calm() -> Self {
        Self {
            crash_rate: 0,
            cancel_rate: 0,
            hang_up_percent: 0,
            database_fault_rate: 0,
            channel_fault_rate: 0,
            cache_fault_rate: 0,
            answer_fault_rate: 0,
            database_outages: 0,
            clock_steps: 0,
            rolling_restarts: 0,
            callbacks_lost_percent: 0,
            callbacks_repeated_percent: 0,
            callbacks_late_percent: 0,
            callbacks_false_percent: 0,
            query_lag_percent: 0,
            pay_late_percent: 0,
            pay_despite_close_percent: 0,
            refund_trouble_percent: 0,
            decline_percent: 0,
            reopen_late: false,
            short_lived: false,
            bills: None,
            target: None,
        }
    }

    /// The world of a seed.
    pub fn of(seed: u64, chance: &mut Chance) -> Self {
        if chance.percent(10) {
            let mut profile = Self::calm();
            profile.bills = chance.percent(BILLS_PERCENT).then(|| BillSlips::of(chance));
            return profile;
        }
        let harshness = chance.between(1, 4);
        let mut on = |most: u64| {
            if chance.percent(50) {
                0
            } else {
                chance.between(1, most * harshness / 4 + 1)
            }
        };
        let mut profile = Self {
            crash_rate: on(800),
            cancel_rate: on(800),
            hang_up_percent: on(20),
            database_fault_rate: on(3_000),
            channel_fault_rate: on(30_000),
            cache_fault_rate: on(40_000),
            answer_fault_rate: on(8_000),
            database_outages: on(3),
            clock_steps: on(4),
            rolling_restarts: on(3),
            callbacks_lost_percent: on(50),
            callbacks_repeated_percent: on(40),
            callbacks_late_percent: on(40),
            callbacks_false_percent: on(40),
            query_lag_percent: on(60),
            pay_late_percent: on(50),
            pay_despite_close_percent: on(60),
            refund_trouble_percent: on(50),
            decline_percent: on(25),
            reopen_late: false,
            short_lived: false,
            bills: None,
            target: None,
        };
        let target = target(seed, chance);
        profile.reopen_late = chance.percent(35);
        profile.short_lived = chance.percent(15) || target.point.site == Site::Now;
        if target.point.site == Site::Reopen {
            // So rare that it has to be brought about.
            profile.reopen_late = true;
            profile.pay_despite_close_percent = 100;
        }
        if target.point.site.of_reconciliation() || chance.percent(BILLS_PERCENT) {
            let mut slips = BillSlips::of(chance);
            slips.towards(target.point.site);
            profile.bills = Some(slips);
        }
        profile.target = Some(target);
        profile
    }
}

/// Every point with every strike.
const STRIKES: u64 = (Point::COUNT * Strike::ALL.len()) as u64;

/// The seeds above `first` that promise this strike. Not each of them keeps its promise: what leads
/// to the point may not happen in it.
pub fn seeds_of(point: Point, strike: Strike, first: u64) -> impl Iterator<Item = u64> {
    let index = (point.index() * Strike::ALL.len() + strike as usize) as u64;
    let round = first.div_ceil(STRIKES);
    (round..).map(move |round| round * STRIKES + index)
}

/// Consecutive seeds take consecutive strikes, so that a sweep meets each of them.
fn target(seed: u64, chance: &mut Chance) -> Target {
    let index = usize::try_from(seed % STRIKES).unwrap_or_default();
    let point = Point::of_index(index / Strike::ALL.len());
    let rare = matches!(
        point.site,
        Site::Now
            | Site::Reopen
            | Site::GiveUpRequest
            | Site::InsertAttempt
            | Site::Refund
            | Site::RefuseBill
            | Site::ForgetTrial
            | Site::AcceptedBill
            | Site::Repost
            | Site::BookedFor
            | Site::TakeStepWithin
            | Site::ChargedTwice
            | Site::Post
    );
    Target {
        point,
        strike: Strike::ALL[index % Strike::ALL.len()],
        nth: if rare { 1 } else { chance.between(1, 3) },
    }
}
