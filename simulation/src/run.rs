//! One seed, from its beginning to its verdict.
//!
//! Guarantees: nothing but the seed (and the guard that is switched off) decides what happens;
//! no socket, no file, no real clock.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use payment_core::Guard;

use crate::invariants::{Violation, ending};
use crate::logs;
use crate::points::Hits;
use crate::process::{self, REPLICAS};
use crate::reconciling;
use crate::trace::Line;
use crate::world::{Tally, World};

/// After this much quiet, everything must have come to an end.
pub const BOUND: Duration = Duration::from_hours(24 * 10);

/// How far a process's clock may be wrong, either way.
const CLOCK_ERROR_MAX_MS: u64 = 400_000;

/// What came of a seed.
#[derive(Debug)]
pub struct Outcome {
    pub seed: u64,
    pub beginning: Timestamp,
    pub trace_hash: u64,
    pub steps: u64,
    pub violations: Vec<Violation>,
    pub tally: Tally,
    pub hits: Hits,
    pub story: Vec<Line>,
}

/// Runs a seed in the calling thread.
///
/// # Panics
///
/// When the runtime cannot be built, which takes no resource that could be missing.
pub fn run(seed: u64, with_story: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O can always be built");
    logs::install();
    let world = runtime.block_on(async {
        let world = World::new(seed, with_story);
        logs::listen(Some(world.clone()));
        live(&world).await;
        world
    });
    // Whatever still waits is dropped before the verdict is read.
    drop(runtime);
    logs::listen(None);
    // World, lives and their routers hold each other.
    let lives = std::mem::take(&mut *world.lives());
    lives.iter().flatten().for_each(|life| life.die());
    outcome(&world)
}

/// Runs a seed with one guard switched off.
pub fn run_without(guard: Guard, seed: u64) -> Outcome {
    payment_core::guards::switch_off(Some(guard));
    let outcome = run(seed, false);
    payment_core::guards::switch_off(None);
    outcome
}

fn outcome(world: &Arc<World>) -> Outcome {
    let mut tally = *world.tally();
    tally.virtual_seconds = world.elapsed_ms_at_end() / 1000;
    let (violations, hits) = (world.verdict().take(), world.hits().clone());
    let mut trace = world.trace();
    Outcome {
        seed: world.seed,
        beginning: world.beginning,
        trace_hash: trace.hash(),
        steps: trace.steps(),
        violations,
        tally,
        hits,
        story: trace.take_story(),
    }
}

async fn live(world: &Arc<World>) {
    world.lives().resize_with(REPLICAS.len(), || None);
    for replica in 0..REPLICAS.len() {
        tokio::spawn(process::keep_running(world.clone(), replica));
    }
    tokio::task::yield_now().await;
    trouble(world);
    crate::client::open(world).await;
    let last_trouble = world.chance().millis(0, 120_000);
    tokio::time::sleep(last_trouble).await;
    if world.profile.bills.is_some() {
        reconciling::mornings(world).await;
    }
    calm_down(world);
    rest(world).await;
    if world.profile.bills.is_some() {
        reconciling::last_days(world).await;
    }
    ending::look(world);
    world.end();
}

/// Faults stop; what was broken is mended.
fn calm_down(world: &World) {
    world.be_quiet();
    world.workers_are_away.store(false, Ordering::Relaxed);
    world.changed.notify_waiters();
    world.say("world", || {
        "from here on nothing goes wrong any more".to_owned()
    });
    for life in world.lives().iter().flatten() {
        life.set_clock_error(0);
    }
}

pub(crate) async fn rest(world: &World) {
    let mut waited = Duration::ZERO;
    let mut pause = Duration::from_mins(1);
    while waited < BOUND {
        tokio::time::sleep(pause).await;
        waited += pause;
        if ending::is_at_rest(world) {
            return;
        }
        pause = (pause * 2).min(Duration::from_hours(6));
    }
}

/// The troubles that strike at moments instead of points.
fn trouble(world: &Arc<World>) {
    let profile = world.profile.clone();
    for _ in 0..profile.database_outages {
        let (at, length_ms) = {
            let mut chance = world.chance();
            (chance.millis(0, 400_000), chance.between(500, 60_000))
        };
        let world = world.clone();
        tokio::spawn(async move {
            tokio::time::sleep(at).await;
            if world.is_quiet() {
                return;
            }
            world.say("database", || format!("is away for {length_ms} ms"));
            world.database_away_until(world.elapsed_ms() + length_ms);
        });
    }
    for _ in 0..profile.clock_steps {
        tokio::spawn(step_a_clock(world.clone()));
    }
    for _ in 0..profile.rolling_restarts {
        tokio::spawn(rolling_restart(world.clone()));
    }
}

/// One process's clock jumps, and is put right after a while.
async fn step_a_clock(world: Arc<World>) {
    let (at, length_ms, error_ms, replica) = {
        let mut chance = world.chance();
        let error = i64::try_from(chance.between(500, CLOCK_ERROR_MAX_MS)).unwrap_or_default();
        let error = if chance.percent(50) { error } else { -error };
        let replica = chance.below(REPLICAS.len() as u64);
        (
            chance.millis(0, 400_000),
            chance.between(5_000, 300_000),
            error,
            replica,
        )
    };
    tokio::time::sleep(at).await;
    let replica = usize::try_from(replica).unwrap_or_default();
    let life = world.lives()[replica].clone();
    let Some(life) = life.filter(|_| !world.is_quiet()) else {
        return;
    };
    world.say(life.name, || format!("its clock steps by {error_ms} ms"));
    life.set_clock_error(error_ms);
    tokio::time::sleep(Duration::from_millis(length_ms)).await;
    life.set_clock_error(0);
}

/// All processes are replaced, one after the other, with requests in flight.
async fn rolling_restart(world: Arc<World>) {
    let at = world.chance().millis(0, 400_000);
    tokio::time::sleep(at).await;
    if world.is_quiet() {
        return;
    }
    world.say("world", || {
        "all processes are restarted, one after the other".to_owned()
    });
    for replica in 0..REPLICAS.len() {
        let life = world.lives()[replica].clone();
        let Some(life) = life else { continue };
        life.stop.cancel();
        let drain = world.chance().millis(0, 3_000);
        tokio::time::sleep(drain).await;
        life.die();
        let next = world.chance().millis(100, 5_000);
        tokio::time::sleep(next).await;
    }
}
