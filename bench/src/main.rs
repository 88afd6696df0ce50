//! Benchmarks of the payment path, as ratios to what the same machine's database can do raw; and
//! of reconciliation ([`reconcile`]), which are seconds, memory and counts; and of global
//! transactions ([`seata`]), which are ratios to Seata's own Java client; and of the operator
//! ([`operator`]), which are counts, memory and milliseconds.
//!
//! One line per figure, `name value unit`; lines that begin with `#` explain. A figure that could
//! not be measured ends the program with an error. Rounds are interleaved, so that what else the
//! machine does hits numerator and denominator alike, and a ratio is the median of the rounds'
//! ratios.
//!
//! - `B`: durable single-row INSERTs per second over as many connections as there are merchants.
//! - `R1_plain`, `R1_batched`: payments accepted per second ÷ B. A payment counts when its 201 has
//!   arrived, and a 201 needs two durable transactions: what is about to be sent to the channel
//!   (key, payment, event), and what the channel answered (payment, event, answer under the key).
//!   There is no figure for the first alone: nobody is answered after it.
//! - `…_by_cpu`: the same from processor time, which other load on the machine hardly changes.
//!   The merchants' own time is in neither.
//! - `R2_p99_ms`: what the runtime adds to the channel's own time at half of its maximum.
//! - `R4_hot`: payments per second when one user pays everything ÷ when all pay alike.
//! - `alone_ms`: one merchant alone, with nothing to batch.
//!
//! Figures without a suffix are those with batching; `_plain` are those without.

#![expect(
    clippy::float_arithmetic,
    reason = "figures are ratios; no amount of money is computed here"
)]

mod baseline;
mod load;
mod measure;
mod mysql;
mod operator;
mod reconcile;
mod scene;
mod seata;
mod serve;
mod timed;

use bench::{figures, process};
use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the payment path, reconciliation, global transactions or the operator, and prints one
/// figure a line.
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
    /// Compare a day of very many payments with its bill
    Reconcile(reconcile::Plan),
    /// Be the process that imports or compares (started by the benchmark itself)
    #[command(hide = true)]
    ReconcileOne(reconcile::child::Arguments),
    /// Compare global transactions of the Rust and the Java client of Seata
    Seata(seata::Plan),
    /// Count what the operator asks of the API server, and its memory
    Operator(operator::Plan),
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
            Some(Command::Reconcile(plan)) => reconcile::run(&plan).await,
            Some(Command::ReconcileOne(arguments)) => reconcile::child::run(arguments).await,
            Some(Command::Seata(plan)) => seata::run(&plan).await,
            Some(Command::Operator(plan)) => operator::run(&plan).await,
            None => measure::run(&arguments.plan).await,
        }
    })
}
