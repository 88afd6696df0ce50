//! The seeds that every change has to pass, and the proof that they would notice.

use payment_core::Guard;
use simulation::run::run;
use simulation::{mutation, sweep};

/// Seeds of a sweep: enough that nearly every strike meets its point several times.
const SEEDS: u64 = 2_000;
/// More seeds for a strike that met its point in none of them.
const SEEDS_FOR_A_RARE_STRIKE: usize = 40;
/// A guard must be missed within so many.
const SEEDS_PER_GUARD: u64 = 1_000;

/// Seeds that once showed a bug of the runtime, each with the bug. Every bug becomes one: the seed
/// stays here for good, whatever the sweep covers. When the worlds themselves change, a seed is
/// another world: then the bug's own test, beside the code that was mended, keeps it found.
const PINNED: &[(u64, &str)] = &[
    (
        1864,
        "a worker that had taken a payment while it was open put off its last look",
    ),
    (
        65110,
        "an order that closed by itself before our close counted as closed without proof",
    ),
    (
        1403,
        "two days of a channel were corrected at once, and each took the last of one budget",
    ),
    (
        553,
        "money that was booked to suspense said that the budget had not allowed it",
    ),
];

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

#[test]
fn every_invariant_holds_and_every_point_is_struck() {
    let mut report = sweep::sweep(1, SEEDS, threads(), |_| {});
    sweep::meet_the_rest(&mut report, SEEDS + 1, SEEDS_FOR_A_RARE_STRIKE);
    let failures: Vec<String> = report
        .failures
        .iter()
        .map(|failure| {
            let (seed, id, what) = (failure.seed, failure.invariant, &failure.what);
            format!("seed {seed}: {id}: {what}\n  cargo run --release -p simulation --bin simulate -- story --seed {seed}")
        })
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!(report.hits.missing_in_words(), Vec::<String>::new());
    assert!(report.tally.payments > SEEDS && report.tally.refunds > SEEDS / 2);
}

#[test]
fn the_same_seed_is_the_same_world() {
    for seed in 1..=60 {
        let (first, second) = (run(seed, false), run(seed, seed % 2 == 0));
        assert_eq!(first.trace_hash, second.trace_hash, "seed {seed}");
        assert_eq!(first.steps, second.steps, "seed {seed}");
    }
}

#[test]
fn bugs_that_were_found_stay_found() {
    for (seed, bug) in PINNED {
        let outcome = run(*seed, false);
        assert!(
            outcome.violations.is_empty(),
            "{bug}: {:?}",
            outcome.violations
        );
    }
}

#[test]
fn every_guard_is_missed() {
    let mut unnoticed = Vec::new();
    for guard in Guard::ALL {
        let noticed = mutation::without(guard, 1, SEEDS_PER_GUARD, threads());
        match noticed.by {
            Some(by) => println!("{guard:?}: seed {}, {}: {}", by.seed, by.invariant, by.what),
            None => unnoticed.push(guard),
        }
    }
    assert_eq!(unnoticed, [], "no seed notices that these are off");
}
