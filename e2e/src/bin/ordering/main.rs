//! A thousand paid orders are confirmed or given back while pods of the payment service, the order
//! service and the coordinator die: `cargo run -p e2e --bin ordering -- --orders 1000`.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Parser;
use e2e::{Scene, ordering};

/// Shown of all breaches.
const BREACHES_SHOWN: usize = 20;

/// Confirms orders while pods die, and judges payments, orders and stock.
#[derive(Parser)]
struct Arguments {
    #[arg(long, default_value_t = 1000)]
    orders: usize,
    /// Repeats the orders and the deletions of an earlier run
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
    println!("seed {seed}, {} orders", arguments.orders);
    let began = Instant::now();
    let prefix = format!("ORDERING-{now:x}");
    let verdict = ordering::run(scene, arguments.orders, seed, &prefix).await?;
    println!(
        "{} confirmed, {} refused and given back in {} s; pods deleted {:?}",
        verdict.confirmed,
        verdict.refused,
        began.elapsed().as_secs(),
        verdict.kills
    );
    for breach in verdict.breaches.iter().take(BREACHES_SHOWN) {
        println!("    {breach}");
    }
    if !verdict.breaches.is_empty() {
        bail!("{} breaches, seed {seed}", verdict.breaches.len());
    }
    println!("payments, orders and stock agree");
    Ok(())
}
