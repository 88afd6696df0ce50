//! Whether the simulation notices: each guard is switched off in turn, and some seed must fail.

use payment_core::Guard;

use crate::run::run_without;
use crate::sweep::first_of;

/// How a guard's absence was noticed.
#[derive(Clone, Debug)]
pub struct Noticed {
    pub guard: Guard,
    /// `None`: it was not.
    pub by: Option<By>,
}

/// The first seed that failed, and why.
#[derive(Clone, Debug)]
pub struct By {
    pub seed: u64,
    pub invariant: &'static str,
    pub what: String,
}

/// Looks for the first of `count` seeds that fails without the guard.
pub fn without(guard: Guard, first: u64, count: u64, threads: usize) -> Noticed {
    let found = first_of(first, count, threads, |seed| {
        run_without(guard, seed).violations.into_iter().next()
    });
    Noticed {
        guard,
        by: found.map(|(seed, violation)| By {
            seed,
            invariant: violation.invariant,
            what: violation.what,
        }),
    }
}
