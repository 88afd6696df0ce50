//! Many seeds, over several threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::faults::seeds_of;
use crate::points::Hits;
use crate::run::{Outcome, run};
use crate::world::{Tally, lock};

/// A seed that did not hold.
#[derive(Debug)]
pub struct Failure {
    pub seed: u64,
    pub invariant: &'static str,
    pub sentence: &'static str,
    pub what: String,
}

/// What came of a sweep.
#[derive(Debug, Default)]
pub struct Report {
    pub seeds: u64,
    pub tally: Tally,
    pub hits: Hits,
    pub failures: Vec<Failure>,
    /// The seed added last is the last of the failures.
    pub last_failed: bool,
    pub took: Duration,
}

impl Report {
    fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.tally.add(&outcome.tally);
        self.hits.add(&outcome.hits);
        self.last_failed = !outcome.violations.is_empty();
        if let Some(violation) = outcome.violations.first() {
            self.failures.push(Failure {
                seed: outcome.seed,
                invariant: violation.invariant,
                sentence: violation.sentence(),
                what: violation.what.clone(),
            });
        }
    }

    /// Seeds a second.
    pub fn rate(&self) -> u64 {
        let ms = u64::try_from(self.took.as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        self.seeds * 1000 / ms
    }
}

/// Runs seeds `first` to `first + count`, telling `progress` about each failure and every so many
/// seeds.
pub fn sweep(first: u64, count: u64, threads: usize, progress: impl Fn(&Report) + Sync) -> Report {
    let began = Instant::now();
    let next = AtomicU64::new(first);
    let report = Mutex::new(Report::default());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let outcome = run(seed, false);
                    let mut report = lock(&report);
                    report.add(&outcome);
                    report.took = began.elapsed();
                    progress(&report);
                }
            });
        }
    });
    let mut report = report.into_inner().unwrap_or_default();
    report.failures.sort_by_key(|failure| failure.seed);
    report.took = began.elapsed();
    report
}

/// Runs further seeds, from `first` on, for every strike that met its point in none of a report's:
/// at most so many for each.
pub fn meet_the_rest(report: &mut Report, first: u64, seeds_each: usize) {
    for (point, strike) in report.hits.missing() {
        for seed in seeds_of(point, strike, first).take(seeds_each) {
            report.add(&run(seed, false));
            if report.hits.of(point, strike) > 0 {
                break;
            }
        }
    }
}

/// The first of `count` seeds from `first` for which `search` finds something, whatever the
/// number of threads.
pub fn first_of<T: Send>(
    first: u64,
    count: u64,
    threads: usize,
    search: impl Fn(u64) -> Option<T> + Sync,
) -> Option<(u64, T)> {
    let (next, done) = (AtomicU64::new(first), AtomicBool::new(false));
    let found: Mutex<Option<(u64, T)>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    if let Some(hit) = search(seed) {
                        done.store(true, Ordering::Relaxed);
                        let mut found = lock(&found);
                        if found.as_ref().is_none_or(|(other, _)| seed < *other) {
                            *found = Some((seed, hit));
                        }
                    }
                }
            });
        }
    });
    found.into_inner().unwrap_or_default()
}
