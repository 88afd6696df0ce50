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
    pub target: Option<Target>,
}

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
            target: None,
        }
    }

    /// The world of a seed.
    pub fn of(seed: u64, chance: &mut Chance) -> Self {
        if chance.percent(10) {
            return Self::calm();
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
        profile.target = Some(target);
        profile
    }
}

/// Consecutive seeds take consecutive strikes, so that a sweep meets each of them.
fn target(seed: u64, chance: &mut Chance) -> Target {
    let all = (Point::COUNT * Strike::ALL.len()) as u64;
    let index = usize::try_from(seed % all).unwrap_or_default();
    let point = Point::of_index(index / Strike::ALL.len());
    let rare = matches!(
        point.site,
        Site::Now | Site::Reopen | Site::GiveUpRequest | Site::InsertAttempt
    );
    Target {
        point,
        strike: Strike::ALL[index % Strike::ALL.len()],
        nth: if rare { 1 } else { chance.between(1, 3) },
    }
}
