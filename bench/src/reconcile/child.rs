//! The process that imports a bill or compares it: the runtime's own reconciliation, with a bill
//! that comes from a file and a clock that may be ahead.
//!
//! Not here: corrections. They ask the channel, and there is none.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use async_trait::async_trait;
use channels::{BillFile, BillRow, Outcome, Uncertainty, UncertaintyReason};
use contract::RuntimeConfig;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use payment_core::ChannelKind;
use payment_runtime::ledger::{Finding, Violation, fold_once};
use payment_runtime::outside::System;
use payment_runtime::payments::Payments;
use payment_runtime::ports::{Host, PayChannel, PayChannels};
use payment_runtime::prove::{Wanted, prove};
use payment_runtime::reconcile::Reconciler;
use payment_runtime::reconcile::bills::FileRows;
use payment_runtime::reconcile::books::{Bills, Books as _, FetchedBill};
use payment_runtime::store::Store;
use payment_runtime::telemetry::Metrics;
use serde_json::{Value, json};

use super::story::STRANGER;

/// What the process works on.
#[derive(Clone, clap::Args)]
pub(crate) struct Arguments {
    /// The runtime's own configuration file
    #[arg(long)]
    pub(crate) config: PathBuf,
    #[arg(long)]
    pub(crate) channel: String,
    #[arg(long)]
    pub(crate) day: Date,
    /// The bill to import; without it, the imported one is compared
    #[arg(long)]
    pub(crate) bill: Option<PathBuf>,
    /// WeChat Pay's hash of the bill
    #[arg(long)]
    pub(crate) hash: Option<String>,
    /// Prove the day instead
    #[arg(long, conflicts_with = "bill")]
    pub(crate) prove: bool,
    /// Seal the ledger, before it is proven
    #[arg(long, requires = "prove")]
    pub(crate) seal: bool,
    /// How far ahead this process's clock is: what a killed one held is free in its eyes
    #[arg(long, default_value_t = 0)]
    pub(crate) ahead_seconds: i64,
}

/// Does it and prints what came of it as one line of JSON.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let config = std::fs::read_to_string(&arguments.config).context("cannot read the config")?;
    let config = RuntimeConfig::parse(&config)?;
    let channel = ChannelKind::parse(&arguments.channel).context("no such channel")?;
    let store = Store::new(&config.mysql)?;
    let records = Arc::new(store.clone());
    let reconciler = Reconciler {
        payments: Arc::new(Payments {
            config,
            records: records.clone(),
            cache: None,
            channels: Arc::new(Nobody),
            host: Arc::new(Ahead(SignedDuration::from_secs(arguments.ahead_seconds))),
            metrics: Metrics::new(),
        }),
        books: records,
        bills: Arc::new(OnDisk(arguments.clone())),
    };
    let (day, has_bill) = (arguments.day, arguments.bill.is_some());
    let mut told = match (has_bill, arguments.prove) {
        (true, _) => import(&reconciler, channel, day).await?,
        (false, true) if arguments.seal => seal(&store).await?,
        (false, true) => prove_day(&store, channel, day).await?,
        (false, false) => compare(&reconciler, &store, channel, day).await?,
    };
    told["rss_mb"] = peak_rss_mb()?.into();
    told["cpu_seconds"] = crate::process::own_cpu()?.as_secs_f64().into();
    println!("{told}");
    Ok(())
}

async fn import(reconciler: &Reconciler, channel: ChannelKind, day: Date) -> anyhow::Result<Value> {
    let started = Instant::now();
    let bill = reconciler.import(channel, day, false).await?;
    let seconds = started.elapsed().as_secs_f64();
    let bill = bill.context("no bill was imported")?;
    let rows: u64 = bill.sums.values().map(|(rows, _)| rows).sum();
    Ok(json!({"seconds": seconds, "rows": rows}))
}

async fn compare(
    reconciler: &Reconciler,
    store: &Store,
    channel: ChannelKind,
    day: Date,
) -> anyhow::Result<Value> {
    let bill = store.accepted_bill(channel, day).await?;
    let bill = bill.context("no bill was imported")?;
    let started = Instant::now();
    let comparison = reconciler.compare(&bill).await?;
    let seconds = started.elapsed().as_secs_f64();
    let held = comparison
        .context("another process compares this day")?
        .held;
    reconciler.post_fee(&bill).await?;
    let mut proofs = held.progress.totals.proofs(&bill.sums).into_iter();
    ensure!(
        held.progress.done && proofs.all(|proof| proof.holds()),
        "the sums of the comparison are not those of the bill"
    );
    Ok(json!({
        "seconds": seconds,
        "chain": held.progress.chain,
        "resumed": held.resumed,
        "run": held.run_id,
    }))
}

/// Seals what the set-up left to be sealed, as a worker does.
async fn seal(store: &Store) -> anyhow::Result<Value> {
    let started = Instant::now();
    let mut sealed = 0;
    loop {
        match fold_once(store).await? {
            0 => break,
            some => sealed += some,
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    Ok(json!({"seconds": seconds, "entries": sealed}))
}

/// Every equation has to hold. That a difference has no reason does not count here: reasons come
/// from the channel, and there is none. That a payment's entries are not what its record says does:
/// how many were seeded is known outside.
async fn prove_day(store: &Store, channel: ChannelKind, day: Date) -> anyhow::Result<Value> {
    let wanted = Wanted {
        day,
        channels: vec![channel],
    };
    let started = Instant::now();
    let proof = prove(store, &wanted).await?;
    let seconds = started.elapsed().as_secs_f64();
    let days = proof.channels.iter();
    let equations: Vec<_> = days.flat_map(|day| &day.equations).collect();
    let broken: Vec<&str> = equations
        .iter()
        .filter(|equation| equation.residual_minor != 0)
        .map(|equation| equation.name)
        .collect();
    ensure!(
        !equations.is_empty() && broken.is_empty(),
        "{broken:?} do not add up"
    );
    let places = |violation: &Violation| violation.finding == Finding::Position;
    let other = proof.ledger.violations.iter().find(|found| !places(found));
    ensure!(other.is_none(), "the ledger is not sound: {other:?}");
    Ok(json!({
        "seconds": seconds,
        "equations": equations.len(),
        "sealed": proof.ledger.sealed,
        "violations": proof.ledger.violation_count,
    }))
}

/// The most memory that this process ever had, in MiB.
fn peak_rss_mb() -> anyhow::Result<f64> {
    crate::process::status_mb("self", "VmHWM")
}

/// Serves one file.
struct OnDisk(Arguments);

#[async_trait]
impl Bills for OnDisk {
    async fn bill(&self, kind: ChannelKind, day: Date, _now: Timestamp) -> Outcome<FetchedBill> {
        let Some(path) = &self.0.bill else {
            return Outcome::Done(FetchedBill::NotReady);
        };
        let opened =
            File::open(path).and_then(|file| BillFile::open(kind, day, file, self.0.hash.clone()));
        match opened {
            Ok(file) => {
                let ours = |row: &BillRow| row.app_id.as_deref() != Some(STRANGER);
                Outcome::Done(FetchedBill::Rows(Box::new(FileRows::read(file, ours))))
            }
            Err(error) => Outcome::Unknown(Uncertainty {
                reason: UncertaintyReason::ServerError,
                detail: format!("{}: {error}", path.display()),
            }),
        }
    }
}

/// No channel at all: whoever asks for one is told so.
struct Nobody;

impl PayChannels for Nobody {
    fn get(&self, _kind: ChannelKind) -> Option<Arc<dyn PayChannel>> {
        None
    }
}

/// This computer's clock, put forward.
struct Ahead(SignedDuration);

impl Host for Ahead {
    fn now(&self) -> Timestamp {
        let now = System.now();
        now.checked_add(self.0).unwrap_or(now)
    }

    fn random(&self) -> u64 {
        System.random()
    }
}
