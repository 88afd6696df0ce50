//! Benchmarks of the payment path, as ratios to what the same machine's database can do raw.
//!
//! One line per figure, `name value unit`; lines that begin with `#` explain. A figure that could
//! not be measured ends the program with an error. Rounds are interleaved, so that what else the
//! machine does hits numerator and denominator alike, and a ratio is the median of the rounds'
//! ratios.

#![expect(
    clippy::float_arithmetic,
    reason = "figures are ratios; no amount of money is computed here"
)]

mod baseline;
mod figures;
mod load;
mod measure;
mod mysql;
mod process;
mod scene;
mod serve;
mod timed;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the payment path and prints one figure a line.
#[derive(Parser)]
#[command(name = "bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    plan: measure::Plan,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Be the runtime under measurement (started by the benchmark itself)
    #[command(hide = true)]
    Serve(serve::Arguments),
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    // As the runtime's own main does: a pod gets fractions of a core.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match arguments.command {
            Some(Command::Serve(arguments)) => serve::run(arguments).await,
            None => measure::run(&arguments.plan).await,
        }
    })
}
