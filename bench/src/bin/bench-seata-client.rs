//! The Rust client of Seata under measurement, as a program that takes the same steps as the Java
//! client: `connect` and `bench`. Local transactions go past Seata: the base of what AT costs.
//!
//! `bench` starts it. It is a program of its own so that its memory is that of the client.

#![expect(
    clippy::float_arithmetic,
    reason = "figures are ratios; no amount of money is computed here"
)]

use std::collections::BTreeSet;
use std::io::{BufRead as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use seata_client::at::{AtConfig, AtPool, Value as Parameter};
use seata_client::branch::Xid;
use seata_client::codec::GlobalStatus;
use seata_client::config::Config;
use seata_client::tm::{GlobalError, TxContext, TxOptions};
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions};
use tokio::task::JoinSet;

use bench::figures::quantile;
use bench::process::{own_cpu, status_mb};

const UPDATE: &str = "UPDATE account SET balance = balance + ? WHERE id = ?";
const CONNECTS_WITHIN: Duration = Duration::from_secs(30);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(run())
}

/// Takes steps until its standard input ends.
async fn run() -> anyhow::Result<()> {
    let mut client = None;
    for line in std::io::stdin().lock().lines() {
        let answer = answer(&mut client, &line?).await;
        let answer = answer.unwrap_or_else(|error| json!({"error": format!("{error:#}")}));
        writeln!(std::io::stdout(), "{answer}")?;
    }
    Ok(())
}

async fn answer(client: &mut Option<Client>, line: &str) -> anyhow::Result<Value> {
    let step: Value = serde_json::from_str(line)?;
    match step["op"].as_str() {
        Some("connect") => {
            *client = Some(Client::connect(&step).await?);
            Ok(json!({}))
        }
        Some("bench") => client.as_ref().context("connect first")?.bench(&step).await,
        other => bail!("no step is called {other:?}"),
    }
}

#[derive(Clone)]
struct Client {
    pool: MySqlPool,
    at: AtPool,
    coordinator: seata_client::connection::Client,
}

/// Why a transaction's body ended without success.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error("asked to roll back")]
    RollBack,
    #[error("outside of a global transaction")]
    Outside,
    #[error(transparent)]
    At(#[from] seata_client::at::Error),
}

/// What the transactions of a round look like.
#[derive(Clone, Copy)]
struct Load {
    global: bool,
    branches: u64,
    rows: u64,
    rollback_percent: u64,
    until: Instant,
}

#[derive(Default)]
struct Tally {
    microseconds: Vec<f64>,
    rolled_back: u64,
    failed: u64,
    failure: Option<String>,
}

impl Client {
    async fn connect(step: &Value) -> anyhow::Result<Self> {
        let text = |name: &str| step[name].as_str().with_context(|| format!("no {name}"));
        let url = text("url")?;
        let address = url.strip_prefix("jdbc:mysql://").context("no JDBC url")?;
        let (server, database) = address.split_once('/').context("no database")?;
        let (host, port) = server.split_once(':').context("no port")?;
        let options = MySqlConnectOptions::new()
            .host(host)
            .port(port.parse()?)
            .username(text("user")?)
            .password(text("password")?)
            .database(database);
        let connections = u32::try_from(whole(step, "pool")?)?;
        let pool = MySqlPoolOptions::new()
            .min_connections(connections)
            .max_connections(connections)
            .test_before_acquire(false)
            .connect_with(options)
            .await?;
        let config = Config::new([text("tc")?], "bench-rust", "bench-group");
        let coordinator = seata_client::connection::Client::start(config)?;
        coordinator.ready(CONNECTS_WITHIN).await?;
        let config = AtConfig {
            resource_id: Some(url.to_owned()),
            ..AtConfig::default()
        };
        let at = AtPool::new(pool.clone(), Arc::new(coordinator.clone()), config).await?;
        coordinator.register_resource(at.resource()).await?;
        Ok(Self {
            pool,
            at,
            coordinator,
        })
    }

    async fn bench(&self, step: &Value) -> anyhow::Result<Value> {
        let begun = Instant::now();
        let load = Load {
            global: step["global"].as_bool().unwrap_or(true),
            branches: whole(step, "branches")?,
            rows: whole(step, "rows")?,
            rollback_percent: whole(step, "rollbackPercent")?,
            until: begun + Duration::from_secs(whole(step, "seconds")?),
        };
        ensure!(load.branches <= load.rows, "more branches than rows");
        let cpu = own_cpu()?;
        let mut running = JoinSet::new();
        for number in 0..whole(step, "concurrency")? {
            let random = StdRng::seed_from_u64(whole(step, "seed")? * 1000 + number);
            running.spawn(Arc::new(self.clone()).load(load, random));
        }
        let mut all = Tally::default();
        for tally in running.join_all().await {
            all.microseconds.extend(tally.microseconds);
            all.rolled_back += tally.rolled_back;
            all.failed += tally.failed;
            all.failure = tally.failure.or(all.failure);
        }
        let seconds = begun.elapsed().as_secs_f64();
        let cpu = own_cpu()?.saturating_sub(cpu);
        all.tell(seconds, cpu)
    }

    async fn load(self: Arc<Self>, load: Load, mut random: StdRng) -> Tally {
        let mut tally = Tally::default();
        while Instant::now() < load.until {
            let begun = Instant::now();
            let roll_back = load.global && random.random_range(0..100) < load.rollback_percent;
            match self.one(load, roll_back, &mut random).await {
                Ok(()) => {
                    let took = begun.elapsed().as_secs_f64() * 1e6;
                    tally.microseconds.push(took);
                    tally.rolled_back += u64::from(roll_back);
                }
                Err(error) => {
                    tally.failed += 1;
                    tally.failure = Some(format!("{error:#}"));
                }
            }
        }
        tally
    }

    async fn one(&self, load: Load, roll_back: bool, random: &mut StdRng) -> anyhow::Result<()> {
        // Each row once: a branch must not wait for another of its own transaction.
        let mut ids = BTreeSet::new();
        while (ids.len() as u64) < load.branches {
            ids.insert(random.random_range(1..=load.rows));
        }
        if !load.global {
            return self.local(&ids).await;
        }
        let body = async |tx: TxContext| {
            let xid = tx.xid.ok_or(Stop::Outside)?;
            for id in &ids {
                self.branch(&xid, *id).await?;
            }
            if roll_back {
                Err(Stop::RollBack)
            } else {
                Ok(())
            }
        };
        let ended = self.coordinator.global_tx(TxOptions::new("bench"), body);
        match ended.await {
            Ok(())
            | Err(GlobalError::Body {
                error: Stop::RollBack,
                rollback: Some(Ok(GlobalStatus::Rollbacked)),
            }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn local(&self, ids: &BTreeSet<u64>) -> anyhow::Result<()> {
        for id in ids {
            let mut transaction = self.pool.begin().await?;
            sqlx::query(UPDATE)
                .bind(1)
                .bind(id)
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
        }
        Ok(())
    }

    async fn branch(&self, xid: &Xid, id: u64) -> Result<(), seata_client::at::Error> {
        let mut transaction = self.at.begin(xid).await?;
        let parameters = [Parameter::Int(1), Parameter::UInt(id)];
        transaction.execute(UPDATE, &parameters).await?;
        transaction.commit().await
    }
}

impl Tally {
    fn tell(mut self, seconds: f64, cpu: Duration) -> anyhow::Result<Value> {
        self.microseconds.sort_by(f64::total_cmp);
        let percentile = |share| {
            let value = quantile(&self.microseconds, share);
            if value.is_nan() { 0.0 } else { value }
        };
        let transactions = u32::try_from(self.microseconds.len())?;
        Ok(json!({
            "transactions": transactions,
            "rolledBack": self.rolled_back,
            "failed": self.failed,
            "failure": self.failure,
            "seconds": seconds,
            "perSecond": f64::from(transactions) / seconds,
            "p50Microseconds": percentile(0.5),
            "p99Microseconds": percentile(0.99),
            "cpuSeconds": cpu.as_secs_f64(),
            "rssMb": status_mb("self", "VmRSS")?,
        }))
    }
}

fn whole(step: &Value, name: &str) -> anyhow::Result<u64> {
    step[name].as_u64().with_context(|| format!("no {name}"))
}
