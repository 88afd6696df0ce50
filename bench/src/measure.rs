//! What is measured, in which order, and what is printed of it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use channels::{Channels, NewOrder, Outcome, Payer};
use payment_core::{ChannelKind, Currency, Money, PayMethod};

use crate::baseline::Baseline;
use crate::figures::{print, print_rounds};
use crate::load::{self, Seen, Users};
use crate::mysql::Counts;
use crate::process::Process;
use crate::scene::{Runtime, Scene, Setting};

#[derive(clap::Args)]
pub(crate) struct Plan {
    /// Interleaved rounds; figures are medians over them
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Length of one measurement
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Merchants, each with one connection; B gets as many to the database
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Where the database's files go: the real disk
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Another option of mysqld, to see what it changes
    #[arg(long, value_name = "OPTION", allow_hyphen_values = true)]
    mysqld: Vec<String>,
    /// Print what the database spends its time on
    #[arg(long)]
    digests: bool,
}

/// What the simulated channel takes while R2 is measured.
const CHANNEL_MILLISECONDS: u64 = 50;
/// Connections of R2's merchants: more than ever wait at once.
const OPEN_CONNECTIONS: usize = 256;

/// What one stretch of load cost.
struct Cost {
    seen: Seen,
    statements: f64,
    fsyncs: f64,
    runtime_cpu_ms: f64,
    database_cpu_ms: f64,
}

/// The values of every round, by figure.
#[derive(Default)]
struct Rounds {
    b: Vec<f64>,
    b_one: Vec<f64>,
    b_cpu_ms: Vec<f64>,
    r1_plain: Vec<f64>,
    r1_batched: Vec<f64>,
    r4_hot: Vec<f64>,
    plain: Vec<Cost>,
    batched: Vec<Cost>,
    /// One merchant alone: what batching adds when there is nothing to batch.
    alone_plain_ms: Vec<f64>,
    alone_batched_ms: Vec<f64>,
}

/// What is under measurement.
struct Bench<'a> {
    plan: &'a Plan,
    period: Duration,
    scene: Scene,
    baseline: Baseline,
    plain: Runtime,
    batched: Runtime,
}

pub(crate) async fn run(plan: &Plan) -> anyhow::Result<()> {
    let mut bench = Bench::new(plan).await?;
    bench.warm_up().await?;
    let mut rounds = Rounds::default();
    for _ in 0..plan.rounds {
        bench.round(&mut rounds).await?;
    }
    rounds.print()?;
    bench.explain().await?;
    bench.overhead(&rounds).await?;
    bench.real().await
}

impl<'a> Bench<'a> {
    async fn new(plan: &'a Plan) -> anyhow::Result<Self> {
        let directory = plan
            .directory
            .clone()
            .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench"));
        let scene = Scene::new(&directory, &plan.mysqld).await?;
        for (name, value) in scene.mysql.settings().await? {
            println!("# {name} = {value}");
        }
        let cores = std::thread::available_parallelism()?;
        println!(
            "# {} connections, {} rounds of {} s, {cores} cores shared by merchants, runtime, \
             database and cache",
            plan.connections, plan.rounds, plan.seconds
        );
        let setting = |batching| Setting {
            batching,
            channel_milliseconds: 0,
        };
        let baseline = Baseline::new(&scene.mysql, plan.connections).await?;
        let single = scene.runtime("plain", setting(false)).await?;
        let batched = scene.runtime("batched", setting(true)).await?;
        Ok(Self {
            plan,
            period: Duration::from_secs(plan.seconds),
            scene,
            baseline,
            plain: single,
            batched,
        })
    }

    /// The first commits of a server are several times slower: its files grow.
    async fn warm_up(&mut self) -> anyhow::Result<()> {
        let (connections, period) = (self.plan.connections, 2 * self.period);
        let mysql = &self.scene.mysql;
        self.baseline.measure(mysql, connections, period).await?;
        for runtime in [&self.plain, &self.batched] {
            load::closed(runtime.port, connections, period, Users::Uniform).await?;
            runtime.timings().await?;
        }
        if self.plan.digests {
            self.scene.mysql.reset_digests().await?;
        }
        Ok(())
    }

    async fn round(&mut self, rounds: &mut Rounds) -> anyhow::Result<()> {
        let (connections, period) = (self.plan.connections, self.period);
        let cpu = bench_cpu(&self.scene.mysql.process)?;
        let mysql = &self.scene.mysql;
        let b = self.baseline.measure(mysql, connections, period).await?;
        let cpu = bench_cpu(&self.scene.mysql.process)?.saturating_sub(cpu);
        rounds.b.push(b);
        let inserts = b * period.as_secs_f64();
        rounds.b_cpu_ms.push(cpu.as_secs_f64() * 1000.0 / inserts);
        let one = self.baseline.measure(mysql, 1, period / 4).await?;
        rounds.b_one.push(one);

        let plain = self.loaded(&self.plain, Users::Uniform).await?;
        rounds.r1_plain.push(plain.seen.per_second() / b);
        rounds.plain.push(plain);
        let batched = self.loaded(&self.batched, Users::Uniform).await?;
        let uniform = batched.seen.per_second();
        rounds.r1_batched.push(uniform / b);
        rounds.batched.push(batched);
        let hot = self.loaded(&self.batched, Users::Hot).await?;
        rounds.r4_hot.push(hot.seen.per_second() / uniform);

        rounds.alone_plain_ms.push(self.alone(&self.plain).await?);
        rounds
            .alone_batched_ms
            .push(self.alone(&self.batched).await?);
        Ok(())
    }

    /// The median latency of one merchant alone.
    async fn alone(&self, runtime: &Runtime) -> anyhow::Result<f64> {
        let seen = load::closed(runtime.port, 1, self.period / 4, Users::Uniform).await?;
        Ok(seen.quantile(0.5))
    }

    /// Puts closed load on a runtime and reads what it cost. The merchants are this process, whose
    /// processor time is not counted.
    async fn loaded(&self, runtime: &Runtime, users: Users) -> anyhow::Result<Cost> {
        let before = self.readings(runtime).await?;
        let seen = load::closed(runtime.port, self.plan.connections, self.period, users).await?;
        let after = self.readings(runtime).await?;
        let payments = seen.count();
        let per = |before: u64, after: u64| -> anyhow::Result<f64> {
            let more = u32::try_from(after.saturating_sub(before)).context("too many to count")?;
            Ok(f64::from(more) / payments)
        };
        let cpu = |before: Duration, after: Duration| {
            after.saturating_sub(before).as_secs_f64() * 1000.0 / payments
        };
        Ok(Cost {
            statements: per(before.counts.statements, after.counts.statements)?,
            fsyncs: per(before.counts.log_fsyncs, after.counts.log_fsyncs)?
                + per(before.counts.binlog_syncs, after.counts.binlog_syncs)?,
            runtime_cpu_ms: cpu(before.runtime, after.runtime),
            database_cpu_ms: cpu(before.database, after.database),
            seen,
        })
    }

    async fn readings(&self, runtime: &Runtime) -> anyhow::Result<Readings> {
        Ok(Readings {
            counts: self.scene.mysql.counts().await?,
            runtime: runtime.process.cpu()?,
            database: self.scene.mysql.process.cpu()?,
        })
    }

    /// Where the time went.
    async fn explain(&self) -> anyhow::Result<()> {
        for (name, runtime) in [("plain", &self.plain), ("batched", &self.batched)] {
            let told = runtime.timings().await?;
            println!("# {name}: its records took, in milliseconds (mean and P99): {told}");
        }
        if self.plan.digests {
            for (text, calls, waited, cpu) in self.scene.mysql.digests(20).await? {
                println!("#   {calls:>8} x {waited:>8.0} us, {cpu:>6.0} us of processor  {text}");
            }
        }
        Ok(())
    }

    /// R2: what the runtime adds to the channel's own time at half of its measured maximum.
    async fn overhead(&self, rounds: &Rounds) -> anyhow::Result<()> {
        let setting = Setting {
            batching: true,
            channel_milliseconds: CHANNEL_MILLISECONDS,
        };
        let runtime = self.scene.runtime("slow", setting).await?;
        let most = rounds.batched.iter().map(|cost| cost.seen.per_second());
        let most = crate::figures::median(most.collect());
        let rate = most / 2.0;
        load::open(runtime.port, OPEN_CONNECTIONS, rate, self.period).await?;
        runtime.timings().await?;
        let (mut p99, mut p50) = (Vec::new(), Vec::new());
        let channel = Duration::from_millis(CHANNEL_MILLISECONDS).as_secs_f64() * 1000.0;
        for _ in 0..self.plan.rounds {
            let seen = load::open(runtime.port, OPEN_CONNECTIONS, rate, self.period).await?;
            p99.push(seen.quantile(0.99) - channel);
            p50.push(seen.quantile(0.5) - channel);
        }
        println!("# R2 at {rate:.0} payments/s, a channel of {CHANNEL_MILLISECONDS} ms");
        print_rounds("R2_p99_ms", &p99, "ms")?;
        print_rounds("R2_p50_ms", &p50, "ms")?;
        let told = runtime.timings().await?;
        println!("# R2: its records took, in milliseconds (mean and P99): {told}");
        Ok(())
    }

    /// The real binary with the real channels: its memory under load, and what signing costs.
    async fn real(&self) -> anyhow::Result<()> {
        let (runtime, _simulator) = self.scene.real().await?;
        let load = load::closed(
            runtime.port,
            self.plan.connections,
            2 * self.period,
            Users::Uniform,
        );
        let load = tokio::spawn(load);
        let mut most: f64 = 0.0;
        while !load.is_finished() {
            most = most.max(runtime.process.rss_mb()?);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let seen = load.await??;
        println!(
            "# the real binary with the channel simulator: {:.0} payments/s",
            seen.per_second()
        );
        print("runtime_rss_mb", most, "MiB")?;
        print("channel_sign_ms", self.sign_ms().await?, "ms")
    }

    /// An order that the payer's browser carries to the channel is signed here and sent nowhere.
    async fn sign_ms(&self) -> anyhow::Result<f64> {
        const TIMES: u32 = 200;
        let config = contract::config::Channels {
            callback_base_url: "http://127.0.0.1".to_owned(),
            credentials_directory: self.scene.keys(),
            wechat: None,
            alipay: Some(contract::config::Alipay {
                gateway_url: "http://127.0.0.1/gateway.do".to_owned(),
            }),
            connect_timeout_milliseconds: 1000,
            total_timeout_milliseconds: 1000,
        };
        let channels = Channels::load(&config).context("the simulator's keys cannot be used")?;
        let channel = channels.get(ChannelKind::Alipay).context("no channel")?;
        let now = jiff::Timestamp::now();
        let order = NewOrder {
            channel_order_no: "0".repeat(32),
            method: PayMethod::AlipayPage,
            amount: Money::new(9999, Currency::parse("CNY").context("no such currency")?),
            subject: "an order".to_owned(),
            notify_url: "http://127.0.0.1/callbacks/alipay".to_owned(),
            expires_at: now + Duration::from_hours(1),
            payer: Payer::default(),
        };
        let started = Instant::now();
        for _ in 0..TIMES {
            let Outcome::Done(_) = channel.create(&order, now).await else {
                bail!("the order was not signed");
            };
        }
        Ok(started.elapsed().as_secs_f64() * 1000.0 / f64::from(TIMES))
    }
}

struct Readings {
    counts: Counts,
    runtime: Duration,
    database: Duration,
}

/// Processor time of the database and of this process, which is the client of B.
fn bench_cpu(database: &Process) -> anyhow::Result<Duration> {
    Ok(database.cpu()? + crate::process::own_cpu()?)
}

impl Rounds {
    fn print(&self) -> anyhow::Result<()> {
        ensure!(!self.b.is_empty(), "no round was measured");
        print_rounds("B", &self.b, "inserts/s")?;
        print_rounds("B_one_connection", &self.b_one, "inserts/s")?;
        print_rounds("B_cpu_ms_per_insert", &self.b_cpu_ms, "ms")?;
        print_rounds("R1_plain", &self.r1_plain, "ratio")?;
        print_rounds("R1_batched", &self.r1_batched, "ratio")?;
        print_rounds("R4_hot", &self.r4_hot, "ratio")?;
        // Threads of a crowded machine wait for a processor, and a few batches wait longer than
        // 64 single statements: the ratio of processor times does not depend on that.
        let by_cpu = |costs: &[Cost]| {
            let pairs = costs.iter().zip(&self.b_cpu_ms);
            pairs
                .map(|(c, b)| b / (c.runtime_cpu_ms + c.database_cpu_ms))
                .collect::<Vec<_>>()
        };
        print_rounds("R1_plain_by_cpu", &by_cpu(&self.plain), "ratio")?;
        print_rounds("R1_batched_by_cpu", &by_cpu(&self.batched), "ratio")?;
        costs("_plain", &self.plain)?;
        costs("", &self.batched)?;
        print_rounds("alone_ms_plain", &self.alone_plain_ms, "ms")?;
        print_rounds("alone_ms", &self.alone_batched_ms, "ms")?;
        Ok(())
    }
}

fn costs(suffix: &str, costs: &[Cost]) -> anyhow::Result<()> {
    let figure = |name: &str, unit, of: &dyn Fn(&Cost) -> f64| {
        let values: Vec<f64> = costs.iter().map(of).collect();
        print_rounds(&format!("{name}{suffix}"), &values, unit)
    };
    figure("payments_per_second", "payments/s", &|c| {
        c.seen.per_second()
    })?;
    figure("p50_ms", "ms", &|c| c.seen.quantile(0.5))?;
    figure("p99_ms", "ms", &|c| c.seen.quantile(0.99))?;
    figure("statements_per_payment", "statements", &|c| c.statements)?;
    figure("fsyncs_per_payment", "fsyncs", &|c| c.fsyncs)?;
    figure("cpu_ms_per_payment", "ms", &|c| c.runtime_cpu_ms)?;
    figure("database_cpu_ms_per_payment", "ms", &|c| c.database_cpu_ms)?;
    Ok(())
}
