//! `simulate`: runs seeds, tells one, or shows that every guard is missed.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use payment_core::Guard;
use simulation::points::{Point, Strike};
use simulation::sweep::{Failure, Report, sweep};
use simulation::{mutation, run, story};

/// The payment system in virtual time, with every fault, from seeds.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    seeds: Seeds,
}

#[derive(Args)]
struct Seeds {
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    #[arg(long = "seeds", default_value_t = 2000)]
    count: u64,
    #[arg(long)]
    threads: Option<usize>,
}

#[derive(Subcommand)]
enum Command {
    /// Tells what happens in one seed.
    Story {
        #[arg(long)]
        seed: u64,
        /// Switches this guard off.
        #[arg(long)]
        without: Option<String>,
    },
    /// Switches each guard off and looks for a seed that notices.
    Guards {
        #[command(flatten)]
        seeds: Seeds,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let good = match arguments.command {
        None => seeds(&arguments.seeds),
        Some(Command::Story { seed, without }) => tell(seed, without.as_deref()),
        Some(Command::Guards { seeds }) => guards(&seeds),
    };
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn threads(seeds: &Seeds) -> usize {
    seeds
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, Into::into))
}

fn seeds(arguments: &Seeds) -> bool {
    let report = sweep(
        arguments.first_seed,
        arguments.count,
        threads(arguments),
        |report| {
            if let Some(failure) = report.failures.last().filter(|_| report.last_failed) {
                show_failure(failure);
            }
            if report.seeds.is_multiple_of(500) {
                let (done, rate, failed) = (report.seeds, report.rate(), report.failures.len());
                println!("{done} seeds, {rate} a second, {failed} failed");
            }
        },
    );
    show_points(&report);
    show_totals(&report);
    let missing = report.hits.missing_in_words();
    let incomplete = report.seeds >= 2000 && !missing.is_empty();
    if incomplete {
        println!("never struck: {}", missing.join(", "));
    }
    show_failures(&report);
    report.failures.is_empty() && !incomplete
}

fn show_points(report: &Report) {
    println!(
        "{:<42} {:>9} {:>7} {:>7} {:>7}",
        "point", "passed", "crash", "cancel", "fault"
    );
    for point in (0..Point::COUNT).map(Point::of_index) {
        let [crash, cancel, fault] = Strike::ALL.map(|strike| report.hits.of(point, strike));
        let (name, passed) = (point.name(), report.hits.times_passed(point));
        println!("{name:<42} {passed:>9} {crash:>7} {cancel:>7} {fault:>7}");
    }
}

fn show_totals(report: &Report) {
    let (tally, seconds) = (&report.tally, report.took.as_secs());
    println!(
        "{} seeds in {seconds} s ({} a second): {} payments, {} charges ({} despite a confirmed \
         close), {} refunds, {} answers, {} callbacks, {} bills compared, {} differences listed, \
         {} corrected, {} crashes, {} lost tasks, {} faults, {} days of virtual time",
        report.seeds,
        report.rate(),
        tally.payments,
        tally.charges,
        tally.charges_despite_close,
        tally.refunds,
        tally.answers,
        tally.callbacks,
        tally.bills,
        tally.differences,
        tally.corrected,
        tally.crashes,
        tally.cancels,
        tally.faults,
        tally.virtual_seconds / 86_400,
    );
}

fn show_failures(report: &Report) {
    for failure in report.failures.iter().take(20) {
        show_failure(failure);
    }
    if report.failures.is_empty() {
        println!("every invariant holds");
    } else {
        println!("{} seeds failed", report.failures.len());
    }
}

fn show_failure(failure: &Failure) {
    let (seed, id) = (failure.seed, failure.invariant);
    let (sentence, what) = (failure.sentence, &failure.what);
    println!("seed {seed} breaks {id} ({sentence}): {what}");
    println!("  replay: make story SEED={seed}");
}

fn tell(seed: u64, without: Option<&str>) -> bool {
    let guard = without.and_then(|name| {
        Guard::ALL
            .into_iter()
            .find(|guard| format!("{guard:?}") == name)
    });
    payment_core::guards::switch_off(guard);
    let outcome = run::run(seed, true);
    print!("{}", story::tell(&outcome));
    outcome.violations.is_empty()
}

fn guards(arguments: &Seeds) -> bool {
    let mut all = true;
    for guard in Guard::ALL {
        let (first, count) = (arguments.first_seed, arguments.count.min(1_000));
        let noticed = mutation::without(guard, first, count, threads(arguments));
        let name = format!("{guard:?}");
        if let Some(by) = noticed.by {
            let (seed, id) = (by.seed, by.invariant);
            println!("{name:<24} seed {seed:>4}  {id:<4} {}", by.what);
        } else {
            all = false;
            println!("{name:<24} NOT NOTICED in {count} seeds");
        }
    }
    all
}
