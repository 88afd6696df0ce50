//! Everything of one seed that is outside the processes: time, chance, the database, the
//! channels' books, and what has been seen of it all.
//!
//! Guarantees: one thread, one virtual clock; nothing here waits. Every lock is held for one
//! step only.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use payment_core::ChannelKind;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::chance::Chance;
use crate::channel::book::Book;
use crate::database::Database;
use crate::faults::{BillSlips, Profile};
use crate::invariants::Verdict;
use crate::invariants::answers::Answers;
use crate::points::{Hits, Point, Strike};
use crate::process::Life;
use crate::trace::Trace;

/// When most seeds begin: ten in the morning in Beijing.
pub const BEGINNING: Timestamp = Timestamp::constant(1_767_578_400, 0);

/// What a seed did, for the totals of a sweep.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub payments: u64,
    pub charges: u64,
    pub refunds: u64,
    pub crashes: u64,
    pub cancels: u64,
    pub faults: u64,
    pub answers: u64,
    pub callbacks: u64,
    pub virtual_seconds: u64,
    /// Bills that were compared to their ends.
    pub bills: u64,
    /// Differences that stood at the end, and those that were corrected.
    pub differences: u64,
    pub corrected: u64,
    /// Charges that a channel made although it had confirmed the close.
    pub charges_despite_close: u64,
}

impl Tally {
    pub const fn add(&mut self, other: &Self) {
        self.payments += other.payments;
        self.charges += other.charges;
        self.refunds += other.refunds;
        self.crashes += other.crashes;
        self.cancels += other.cancels;
        self.faults += other.faults;
        self.answers += other.answers;
        self.callbacks += other.callbacks;
        self.virtual_seconds += other.virtual_seconds;
        self.bills += other.bills;
        self.differences += other.differences;
        self.corrected += other.corrected;
        self.charges_despite_close += other.charges_despite_close;
    }
}

/// The world of one seed.
pub struct World {
    pub seed: u64,
    pub profile: Profile,
    pub beginning: Timestamp,
    began: Instant,
    chance: Mutex<Chance>,
    database: Mutex<Database>,
    wechat: Mutex<Book>,
    alipay: Mutex<Book>,
    trace: Mutex<Trace>,
    hits: Mutex<Hits>,
    verdict: Mutex<Verdict>,
    answers: Mutex<Answers>,
    tally: Mutex<Tally>,
    lives: Mutex<Vec<Option<Arc<Life>>>>,
    /// Something was written: whoever waits for work looks again.
    pub changed: Notify,
    quiet: AtomicBool,
    /// No worker runs.
    pub workers_are_away: AtomicBool,
    target_passes: AtomicU64,
    database_back_at_ms: AtomicU64,
    /// Deliveries, payers, clients and restarts that are still under way.
    under_way: AtomicU64,
    ended_at_ms: AtomicU64,
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub fn new(seed: u64, with_story: bool) -> Arc<Self> {
        let mut chance = Chance::new(seed ^ 0xA5A5_0000_5A5A_FFFF);
        let profile = Profile::of(seed, &mut chance);
        let around_midnight = |bills: &BillSlips| bills.around_midnight;
        let beginning = if profile.bills.as_ref().is_some_and(around_midnight) {
            // Half an hour to two minutes before it.
            BEGINNING + Duration::from_mins(13 * 60 + chance.between(30, 58))
        } else {
            BEGINNING
        };
        Arc::new(Self {
            seed,
            profile,
            beginning,
            began: Instant::now(),
            chance: Mutex::new(chance),
            database: Mutex::default(),
            wechat: Mutex::new(Book::new(ChannelKind::Wechat)),
            alipay: Mutex::new(Book::new(ChannelKind::Alipay)),
            trace: Mutex::new(Trace::new(with_story)),
            hits: Mutex::default(),
            verdict: Mutex::default(),
            answers: Mutex::default(),
            tally: Mutex::default(),
            lives: Mutex::default(),
            changed: Notify::new(),
            quiet: AtomicBool::new(false),
            workers_are_away: AtomicBool::new(false),
            target_passes: AtomicU64::new(0),
            database_back_at_ms: AtomicU64::new(0),
            under_way: AtomicU64::new(0),
            ended_at_ms: AtomicU64::new(0),
        })
    }

    /// Milliseconds since the beginning.
    pub fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The right time.
    pub fn now(&self) -> Timestamp {
        self.at(self.elapsed_ms())
    }

    pub fn at(&self, elapsed_ms: u64) -> Timestamp {
        let elapsed = Duration::from_millis(elapsed_ms);
        self.beginning
            .checked_add(elapsed)
            .unwrap_or(Timestamp::MAX)
    }

    /// Where a moment lies on the world's clock; moments before the beginning are the beginning.
    pub fn ms_of(&self, at: Timestamp) -> u64 {
        let ms = at.as_millisecond() - self.beginning.as_millisecond();
        u64::try_from(ms).unwrap_or_default()
    }

    pub fn chance(&self) -> MutexGuard<'_, Chance> {
        lock(&self.chance)
    }

    pub fn database(&self) -> MutexGuard<'_, Database> {
        lock(&self.database)
    }

    pub fn book(&self, kind: ChannelKind) -> MutexGuard<'_, Book> {
        match kind {
            ChannelKind::Wechat => lock(&self.wechat),
            ChannelKind::Alipay => lock(&self.alipay),
        }
    }

    pub fn hits(&self) -> MutexGuard<'_, Hits> {
        lock(&self.hits)
    }

    pub fn verdict(&self) -> MutexGuard<'_, Verdict> {
        lock(&self.verdict)
    }

    pub fn answers(&self) -> MutexGuard<'_, Answers> {
        lock(&self.answers)
    }

    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        lock(&self.tally)
    }

    pub fn trace(&self) -> MutexGuard<'_, Trace> {
        lock(&self.trace)
    }

    pub fn lives(&self) -> MutexGuard<'_, Vec<Option<Arc<Life>>>> {
        lock(&self.lives)
    }

    /// Mixes a step into the trace's hash.
    pub fn mark(&self, bytes: &[u8]) {
        let at_ms = self.elapsed_ms();
        self.trace().mark(at_ms, bytes);
    }

    pub fn say(&self, who: &str, what: impl FnOnce() -> String) {
        let at_ms = self.elapsed_ms();
        self.trace().say(at_ms, who, what);
    }

    /// Records that an invariant does not hold.
    pub fn broken(&self, invariant: &'static str, what: impl FnOnce() -> String) {
        let what = what();
        self.say("!", || format!("{invariant} is broken: {what}"));
        self.verdict().add(invariant, what);
    }

    pub fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::Relaxed)
    }

    /// From now on nothing goes wrong any more.
    pub fn be_quiet(&self) {
        self.quiet.store(true, Ordering::Relaxed);
        self.database_back_at_ms.store(0, Ordering::Relaxed);
    }

    /// Whether something with this chance happens; never once the world is quiet.
    pub fn strikes(&self, percent: u64) -> bool {
        percent > 0 && !self.is_quiet() && self.chance().percent(percent)
    }

    pub fn database_away_until(&self, elapsed_ms: u64) {
        self.database_back_at_ms
            .store(elapsed_ms, Ordering::Relaxed);
    }

    pub fn database_is_away(&self) -> bool {
        self.elapsed_ms() < self.database_back_at_ms.load(Ordering::Relaxed)
    }

    /// What strikes at this point, now: decided by the seed alone.
    pub fn strike_at(&self, point: Point, fault_rate: u64) -> Option<Strike> {
        self.hits().passed(point);
        if self.is_quiet() {
            return None;
        }
        if let Some(target) = self.profile.target
            && target.point == point
            && self.target_passes.fetch_add(1, Ordering::Relaxed) + 1 == target.nth
        {
            return Some(target.strike);
        }
        let roll = self.chance().below(100_000);
        let crash = self.profile.crash_rate;
        let cancel = crash + self.profile.cancel_rate;
        if roll < crash {
            Some(Strike::Crash)
        } else if roll < cancel {
            Some(Strike::Cancel)
        } else if roll < cancel + fault_rate {
            Some(Strike::Fault)
        } else {
            None
        }
    }

    /// The seed is over.
    pub fn end(&self) {
        self.ended_at_ms.store(self.elapsed_ms(), Ordering::Relaxed);
    }

    pub fn elapsed_ms_at_end(&self) -> u64 {
        self.ended_at_ms.load(Ordering::Relaxed)
    }

    /// Counts something as under way until the guard is dropped.
    pub fn under_way(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(self.clone())
    }

    pub fn anything_under_way(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) > 0
    }
}

/// Something that has to end before a seed is over.
pub struct UnderWay(Arc<World>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
