//! Bills as one process gets them: late, refused, unreadable, empty, or whole.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use channels::{Outcome, Refusal, Uncertainty, UncertaintyReason};
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use payment_core::ChannelKind;
use payment_runtime::clock;
use payment_runtime::reconcile::books::{BillLine, BillRefused, BillRows, Bills, FetchedBill};

use crate::chance::Chance;
use crate::channel::name;
use crate::points::{Point, Site};
use crate::process::Life;
use crate::world::World;

/// The channels make the bill of a day at nine the next morning.
const READY_HOUR: i64 = 9;
/// A late one is later by up to so many hours.
const LATE_HOURS_MAX: u64 = 30;
/// Rows handed over at once.
const HEAP: usize = 3;

/// Both channels' bills, as one process gets them.
pub struct SimBills {
    life: Arc<Life>,
}

impl SimBills {
    pub const fn new(life: Arc<Life>) -> Self {
        Self { life }
    }
}

/// When a bill can be had.
pub fn ready_at(world: &World, kind: ChannelKind, day: Date) -> Timestamp {
    let at = clock::beginning_of(day) + (24 + READY_HOUR).hours();
    let days = u64::try_from(day.day_of_year()).unwrap_or_default();
    let mut chance = Chance::new(world.seed ^ (days << 32) ^ ((kind as u64) << 48));
    let late = world.profile.bills.as_ref().map_or(0, |b| b.late_percent);
    if chance.percent(late) {
        at + Duration::from_mins(chance.between(10, LATE_HOURS_MAX * 60))
    } else {
        at
    }
}

/// The moment at which every bill up to that day is there, whatever happens.
pub fn all_ready_after(day: Date) -> Timestamp {
    clock::beginning_of(day) + Duration::from_hours(24 + 9 + LATE_HOURS_MAX + 1)
}

#[async_trait]
impl Bills for SimBills {
    async fn bill(&self, kind: ChannelKind, day: Date, _now: Timestamp) -> Outcome<FetchedBill> {
        let (life, world) = (&self.life, &self.life.world);
        let rate = world.profile.channel_fault_rate;
        if life.at(Point::before(Site::BillFetch), rate).await {
            life.sleep(Duration::from_secs(3)).await;
            return Outcome::Refused(Refusal {
                code: Refusal::NOT_CONNECTED.to_owned(),
                message: "no connection".to_owned(),
                sent: false,
            });
        }
        let pause = world.chance().millis(5, 300);
        life.sleep(pause).await;
        let fetched = fetch(world, kind, day);
        if life.at(Point::after(Site::BillFetch), rate).await {
            life.sleep(Duration::from_secs(12)).await;
            return Outcome::Unknown(Uncertainty {
                reason: UncertaintyReason::Timeout,
                detail: "no answer in time".to_owned(),
            });
        }
        Outcome::Done(fetched)
    }
}

fn fetch(world: &World, kind: ChannelKind, day: Date) -> FetchedBill {
    let Some(slips) = &world.profile.bills else {
        return FetchedBill::NotReady;
    };
    if day < clock::bill_day(world.beginning) || world.now() < ready_at(world, kind, day) {
        return FetchedBill::NotReady;
    }
    if world.strikes(slips.empty_percent) {
        world.say(name(kind), || {
            format!("says that it had no business on {day}")
        });
        return FetchedBill::Empty;
    }
    let seed = world.seed ^ 0xB111 ^ ((kind as u64) << 48);
    let made = world.book(kind).bill(day, world.beginning, slips, seed);
    let lines: Vec<BillLine> = made.rows.iter().map(|row| row.line.clone()).collect();
    if world.strikes(slips.unreadable_percent) {
        world.say(name(kind), || {
            format!("sends the bill of {day}, and half of it is missing")
        });
        let half = lines.len() / 2;
        return FetchedBill::Rows(Box::new(Rows {
            digest: format!("broken{}", &made.digest[6..]),
            left: lines.into_iter().take(half).collect(),
            ends_well: false,
        }));
    }
    if lines.is_empty() {
        return FetchedBill::Empty;
    }
    FetchedBill::Rows(Box::new(Rows {
        digest: made.digest,
        left: lines,
        ends_well: true,
    }))
}

struct Rows {
    digest: String,
    left: Vec<BillLine>,
    ends_well: bool,
}

#[async_trait]
impl BillRows for Rows {
    fn digest(&self) -> &str {
        &self.digest
    }

    async fn next(&mut self) -> Result<Option<Vec<BillLine>>, BillRefused> {
        if !self.left.is_empty() {
            let rest = self.left.split_off(self.left.len().min(HEAP));
            return Ok(Some(std::mem::replace(&mut self.left, rest)));
        }
        if self.ends_well {
            return Ok(None);
        }
        Err(BillRefused {
            reason: "truncated".to_owned(),
            detail: "the totals at the end are missing; ask for the bill again".to_owned(),
        })
    }
}
