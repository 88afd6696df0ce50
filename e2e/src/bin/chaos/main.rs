//! The invariants on a cluster whose pods are deleted under load, while the channels misbehave:
//! `cargo run -p e2e --bin chaos -- --minutes 10`.
//!
//! A seed fixes the orders, the faults and the deletions (not their timing). Afterwards everything
//! is left alone until nothing is open, and the channels' own books are compared with what the API
//! says. The verdict is about invariants alone; the simulator is spared, because its book is in
//! its memory and the judge.

mod judge;
mod load;
mod quiet;
mod trouble;
mod world;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Parser;
use e2e::{Scene, killing};

use crate::judge::{Case, Finding};
use crate::world::World;

/// What is left of a cluster where pods died gets this long to be whole again.
const WHOLE_WITHIN: Duration = Duration::from_mins(5);
/// Shown of each kind of breach.
const BREACHES_SHOWN: usize = 10;

/// Deletes pods under load and judges what became of the money.
#[derive(Parser)]
struct Arguments {
    /// Minutes of load
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Repeats the schedule of an earlier run
    #[arg(long, env = "SEED")]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match open_and_run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn open_and_run(arguments: &Arguments) -> Result<()> {
    let scene = Scene::open().await?;
    let outcome = run(&scene, arguments).await;
    scene.close(outcome).await
}

async fn run(scene: &Scene, arguments: &Arguments) -> Result<()> {
    // Also what makes this run's orders its own.
    let now = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
    let seed = arguments.seed.unwrap_or(now);
    println!("seed {seed}, {} minutes", arguments.minutes);
    let ends = Instant::now() + Duration::from_mins(arguments.minutes);
    let (api, simulator) = (scene.api.clone(), scene.simulator.clone());
    let world = World::new(api, simulator, format!("CHAOS-{now:x}"), ends);
    let world = Arc::new(world);
    let known = judge::known(&world).await?;
    let (load, (), kills) = futures::join!(
        load::run(&world, seed),
        trouble::arm_faults(&world, seed),
        killing::kill(&scene.demo, &trouble::PARTS, || Instant::now() < ends, seed),
    );
    let orders = load?;
    println!("the load has ended; waiting until nothing is open");
    scene.simulator.disarm().await?;
    scene.demo.wait_settled(WHOLE_WITHIN).await?;
    let open = quiet::come_to_rest(&world).await?;
    let case = Case::read(&world, &known).await?;
    println!("orders {orders}; {}", case.summary());
    let (statuses, unanswered) = world.answers();
    println!("answers {statuses:?}, none {unanswered}; pods deleted {kills:?}");
    let findings = case.findings(&world, open);
    show(&findings);
    let breaches: usize = findings.iter().map(|one| one.breaches.len()).sum();
    if breaches > 0 {
        bail!("{breaches} breaches, seed {seed}");
    }
    println!("every invariant held");
    Ok(())
}

fn show(findings: &[Finding]) {
    println!("\n{:<32}{:>10}{:>10}", "invariant", "looked at", "breaches");
    for finding in findings {
        let (name, looked_at) = (finding.name, finding.looked_at);
        println!("{name:<32}{looked_at:>10}{:>10}", finding.breaches.len());
        for breach in finding.breaches.iter().take(BREACHES_SHOWN) {
            println!("    {breach}");
        }
    }
}
