//! The operator at rest, at scale and after a restart, counted by a real API server.
//!
//! The release program runs against a kube-apiserver and an etcd of the benchmark's own. What it
//! asks for is counted in their audit log, by user; its memory is the kernel's; `player` plays
//! controllers and kubelets. There are no pods, so that a peer can be measured alike (`peer`).
//!
//! One line per figure, `name value unit`, with its bar in the comment above. `N` is the number of
//! resources asked for, 100 unless told otherwise.
//!
//! - `rest_requests_0`, `_1`, `_N`: requests within a minute in which nothing changes. The lease
//!   and watches that begin anew after their five minutes have figures of their own
//!   (`lease_requests_per_minute`, `rest_watches_N`).
//! - `waiting_requests_1`: the same while workloads are not ready.
//! - `create_N_seconds`: from the first resource submitted until every child of all exists.
//! - `create_requests_per_child`, `create_extra_writes_per_system`, `create_reads_per_system`:
//!   what that costs; extra are writes that make no child, such as statuses and events.
//! - `operator_rss_mb_0`, `_N`: resident memory.
//! - `foreign_rss_mb`: what large ConfigMaps and Secrets of others add to it;
//!   `foreign_rss_mb_restarted` the same for an operator that starts when they are there.
//! - `restart_writes_N`: writes of an operator that starts over converged systems.
//! - `edit_p99_ms_M`: from the API server's receipt of an edit to that of the operator's first
//!   write for the edited system, among M systems.

mod audit;
mod cluster;
mod foreign;
mod peer;
mod player;
mod scenes;
mod subject;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use crate::figures::{print, print_whole};

#[derive(clap::Args)]
pub(crate) struct Plan {
    /// Resources that are created at once and then rest
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(2..=5000))]
    resources: u16,
    /// Resources among which edits are timed; 0 leaves that out
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(0..=5000))]
    among: u16,
    /// Edits that are timed, each of another resource
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=5000))]
    edits: u16,
    /// Edits a second
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1000))]
    edits_per_second: u16,
    /// Seconds of a rest
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(5..=3600))]
    rest_seconds: u16,
    /// ConfigMaps and Secrets of others, half of each
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u16).range(2..=5000))]
    foreign: u16,
    /// The operator's release program
    #[arg(long)]
    program: Option<PathBuf>,
}

pub(crate) async fn run(plan: &Plan) -> anyhow::Result<()> {
    let beside = std::env::current_exe()?.with_file_name("payment-operator");
    let program = plan.program.clone().unwrap_or(beside);
    ensure!(
        program.exists(),
        "{} does not exist: build it with cargo build --release -p payment-operator",
        program.display()
    );
    let mut bench = scenes::Bench::start(plan, &program).await?;
    let outcome = all(&mut bench, plan).await;
    if outcome.is_err() {
        eprintln!("the operator's last words:\n{}", bench.last_words());
    }
    outcome
}

async fn all(bench: &mut scenes::Bench<'_>, plan: &Plan) -> anyhow::Result<()> {
    bench.empty().await?;
    let children = bench.one().await?;
    bench.many(children).await?;
    bench.restart().await?;
    if plan.among > plan.resources {
        bench.edits().await?;
    }
    peer::print();
    Ok(())
}

/// A figure with its bar, and whether it is met.
fn figure(name: &str, value: f64, unit: &str, bar: f64) -> anyhow::Result<()> {
    let verdict = if value <= bar { "met" } else { "MISSED" };
    println!("# bar of the next: at most {bar} {unit}: {verdict}");
    print(name, value, unit)
}

/// A count with its bar, and whether it is met.
fn count(name: &str, value: usize, unit: &str, bar: usize) -> anyhow::Result<()> {
    let verdict = if value <= bar { "met" } else { "MISSED" };
    println!("# bar of the next: at most {bar} {unit}: {verdict}");
    print_whole(name, u64::try_from(value)?, unit);
    Ok(())
}

fn tail(file: &Path, lines: usize) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file).context("no log")?;
    let all: Vec<&str> = text.lines().collect();
    Ok(all[all.len().saturating_sub(lines)..].join("\n"))
}
