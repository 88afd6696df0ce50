//! The command line of the payment runtime: a role and a configuration file.

mod difference_commands;
mod ledger_commands;
mod prove_command;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use contract::{Role, RuntimeConfig};
use jiff::civil::Date;
use payment_core::ChannelKind;
use payment_runtime::orders::OrdersService;
use payment_runtime::reconcile::Plan;
use payment_runtime::roles::{self, Parts, Service};
use payment_runtime::rotate::{self, Phase};
use payment_runtime::telemetry;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Takes payments, receives callbacks, finds out what is unknown, reconciles.
#[derive(Parser)]
#[command(name = "payment-runtime", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the payment API
    Api(Serve),
    /// Receive the channels' callbacks
    Callback(Serve),
    /// Ask the channels about payments whose outcome is open
    Worker(File),
    /// Compare bills with payments: once with --days or --date, else serve reports
    Reconcile(Reconcile),
    /// Keep orders and stock, and take part in confirming payments
    Orders(File),
    /// Bring the database schema up to date
    Migrate(File),
    /// Let the stores accept next passwords, or forget former ones
    Rotate(Rotate),
    /// List differences, show one, act on it
    #[command(subcommand)]
    Differences(difference_commands::Differences),
    /// Check the ledger, or print a statement
    #[command(subcommand)]
    Ledger(ledger_commands::Ledger),
    /// Prove that a day's orders, payments, ledger and bill add up; exit with 1 if they do not,
    /// with 2 if the bill is not there yet
    Prove(prove_command::Prove),
    /// Every serving role in one process
    All(Serve),
    /// Print the OpenAPI document of the payment API (docs/openapi.json)
    Openapi,
    /// Print the error catalogue of the payment API (docs/errors.md)
    Errors,
}

#[derive(clap::Args)]
struct File {
    /// The configuration file (YAML)
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(clap::Args)]
struct Serve {
    #[command(flatten)]
    file: File,
    /// Serve HTTPS with tls.crt and tls.key of this directory; renewed files are taken up
    #[arg(long, value_name = "DIRECTORY")]
    certificate: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Rotate {
    /// What the stores are to do (accept or discard)
    #[arg(value_parser = Phase::parse)]
    phase: Phase,
    #[command(flatten)]
    file: File,
    /// The directory with the passwords, one directory per Secret
    #[arg(long, value_name = "DIRECTORY", default_value = contract::names::rotation::DIRECTORY)]
    passwords: PathBuf,
}

#[derive(clap::Args)]
struct Reconcile {
    #[command(flatten)]
    file: File,
    /// Compare the last N finished days
    #[arg(long, value_name = "N", conflicts_with = "date", value_parser = clap::value_parser!(u32).range(1..=90))]
    days: Option<u32>,
    /// Compare this day (Beijing calendar)
    #[arg(long, value_name = "YYYY-MM-DD")]
    date: Option<Date>,
    /// Compare only this channel (wechat or alipay)
    #[arg(long, value_parser = parse_channel)]
    channel: Option<ChannelKind>,
    /// Compare and print, store nothing
    #[arg(long)]
    dry_run: bool,
}

fn parse_channel(name: &str) -> Result<ChannelKind, String> {
    ChannelKind::parse(name).ok_or_else(|| "must be wechat or alipay".to_owned())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    telemetry::init_logs();
    match start(arguments.command) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the process cannot go on");
            ExitCode::FAILURE
        }
    }
}

fn start(command: Command) -> anyhow::Result<ExitCode> {
    // Two threads: pods get fractions of a core, and idle threads cost memory.
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the async runtime")?
        .block_on(run(command))
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    let done = match command {
        Command::Prove(asked) => return prove_command::run(asked).await,
        Command::Api(asked) => serve_public(Role::Api, asked).await,
        Command::Callback(asked) => serve_public(Role::Callback, asked).await,
        Command::Worker(file) => serve(Role::Worker, read(&file.config)?).await,
        Command::Orders(file) => serve_orders(&file.config).await,
        Command::All(asked) => serve_public(Role::All, asked).await,
        Command::Migrate(file) => roles::migrate(&read(&file.config)?).await,
        Command::Rotate(asked) => {
            rotate::run(&read(&asked.file.config)?, &asked.passwords, asked.phase).await
        }
        Command::Differences(command) => difference_commands::run(command).await,
        Command::Ledger(command) => ledger_commands::run(command).await,
        Command::Reconcile(reconcile) => run_reconcile(reconcile).await,
        Command::Openapi => {
            print!("{}", payment_runtime::api::document());
            Ok(())
        }
        Command::Errors => {
            print!("{}", payment_runtime::api::catalogue());
            Ok(())
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}

fn read(file: &Path) -> anyhow::Result<RuntimeConfig> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    RuntimeConfig::parse(&text).with_context(|| format!("{} cannot be used", file.display()))
}

fn prepare(config: RuntimeConfig) -> anyhow::Result<Arc<Parts>> {
    // It names files with secrets and holds none.
    tracing::info!(config = serde_json::to_string(&config)?, "configuration");
    roles::prepare(config)
}

/// A role that may be asked for from outside. Roles share a file, and each has its certificate.
async fn serve_public(role: Role, asked: Serve) -> anyhow::Result<()> {
    let mut config = read(&asked.file.config)?;
    if let Some(directory) = asked.certificate {
        config.listen.certificate_directory = Some(directory);
    }
    serve(role, config).await
}

async fn serve(role: Role, config: RuntimeConfig) -> anyhow::Result<()> {
    let parts = prepare(config)?;
    let stop = CancellationToken::new();
    stop_on_signal(stop.clone())?;
    Service::bind(role, parts).await?.run(stop).await
}

/// Without the payment database and the channels' keys.
async fn serve_orders(file: &Path) -> anyhow::Result<()> {
    let config = read(file)?;
    tracing::info!(config = serde_json::to_string(&config)?, "configuration");
    let stop = CancellationToken::new();
    stop_on_signal(stop.clone())?;
    OrdersService::bind(config).await?.run(stop).await
}

fn stop_on_signal(stop: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    });
    Ok(())
}

async fn run_reconcile(arguments: Reconcile) -> anyhow::Result<()> {
    if arguments.days.is_none() && arguments.date.is_none() {
        if arguments.channel.is_some() || arguments.dry_run {
            bail!("--channel and --dry-run go with --days or --date");
        }
        return serve(Role::Reconcile, read(&arguments.file.config)?).await;
    }
    let parts = prepare(read(&arguments.file.config)?)?;
    let mut plan = match arguments.date {
        Some(day) => Plan::day(&parts.payments, day),
        None => Plan::last_days(&parts.payments, arguments.days.unwrap_or(1)),
    };
    if let Some(kind) = arguments.channel {
        plan.channels.retain(|configured| *configured == kind);
        if plan.channels.is_empty() {
            bail!("channel {kind} is not configured");
        }
    }
    plan.dry_run = arguments.dry_run;
    let summary = roles::reconcile_once(&parts, &plan).await?;
    println!("{}", serde_json::to_string(&summary)?);
    Ok(())
}
