//! Global transactions in AT mode: the Rust client of Seata beside its own Java client.
//!
//! Both are child processes that connect to the same coordinator and the same database, and load
//! them in turns with the same statements: begin, one update of one random row per branch, commit.
//! Connections equal the concurrency, statements are prepared once, autocommit is off.
//!
//! One line per figure, `name value unit`:
//!
//! - `at_vs_java`: transactions per second of the Rust client ÷ those of the Java client, the
//!   median of the rounds' ratios.
//! - `at_vs_java_by_cpu`: the same from processor time of the client alone, which other load on
//!   the machine hardly changes.
//!   Under `--local`, which leaves the coordinator out, both are called `local_vs_java`.
//! - `at_vs_local`: transactions per second of the Rust client ÷ those of local transactions with
//!   the same statements; `at_vs_local_by_cpu`: the same from the client's processor time.
//! - `seata_rss_mb`: resident memory of the Rust client at the end.
//!
//! A round ends when no undo row is left. Afterwards the sum of all balances must be what was
//! committed, or there is no figure.

mod client;
mod tc;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use sqlx::mysql::MySqlConnection;

use crate::figures::{print, print_rounds};
use crate::mysql::Mysql;

use client::Client;
use tc::Tc;

const DATABASE: &str = "seata_bench";
const TABLES: [&str; 2] = [
    "CREATE TABLE account (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL)",
    "CREATE TABLE undo_log (branch_id BIGINT NOT NULL, xid VARCHAR(128) NOT NULL, \
     context VARCHAR(128) NOT NULL, rollback_info LONGBLOB NOT NULL, log_status INT NOT NULL, \
     log_created DATETIME(6) NOT NULL, log_modified DATETIME(6) NOT NULL, \
     UNIQUE KEY ux_undo_log (xid, branch_id), KEY ix_log_created (log_created))",
];
/// Of each client, and in no figure.
const WARM_UP_ROUNDS: u32 = 2;
/// For the coordinator to have every branch committed, also on a busy computer.
const SETTLE_WITHIN: Duration = Duration::from_secs(30);
/// What gives up the guarantee that a commit is on the disk.
const RELAXED: [&str; 2] = ["--innodb-flush-log-at-trx-commit=0", "--sync-binlog=0"];

#[derive(clap::Args)]
pub(crate) struct Plan {
    /// Rounds of each client, after those that warm up
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Seconds of a round
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Transactions at a time
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    concurrency: u32,
    /// Branches of a transaction, each of one update
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10))]
    branches: u32,
    /// Rows among which each update chooses
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    rows: u32,
    /// Of a hundred transactions, how many are rolled back
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    rollback_percent: u32,
    /// Local transactions only, without a coordinator: what AT costs
    #[arg(long)]
    local: bool,
    /// Do not wait for the disk at every commit
    #[arg(long)]
    relaxed: bool,
    /// A setting of the Java client, such as client.rm.lock.retryTimes=30
    #[arg(long, value_name = "NAME=VALUE")]
    java_option: Vec<String>,
    /// Where the database's files go: the real disk
    #[arg(long)]
    directory: Option<PathBuf>,
}

/// What one client did in one round.
struct Round {
    per_second: f64,
    cpu_per_transaction: f64,
}

/// Ratios of one kind of transactions to another, a pair of rounds each.
#[derive(Default)]
struct Ratios {
    per_second: Vec<f64>,
    by_cpu: Vec<f64>,
}

impl Ratios {
    fn add(&mut self, ours: &Round, theirs: &Round) {
        self.per_second.push(ours.per_second / theirs.per_second);
        let by_cpu = theirs.cpu_per_transaction / ours.cpu_per_transaction;
        self.by_cpu.push(by_cpu);
    }

    fn print(&self, name: &str) -> anyhow::Result<()> {
        print_rounds(name, &self.per_second, "ratio")?;
        print_rounds(&format!("{name}_by_cpu"), &self.by_cpu, "ratio")
    }
}

pub(crate) async fn run(plan: &Plan) -> anyhow::Result<()> {
    let directory = plan
        .directory
        .clone()
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench"));
    let options: Vec<String> = RELAXED
        .iter()
        .filter(|_| plan.relaxed)
        .map(|&option| option.to_owned())
        .collect();
    let mysql = Mysql::start(&directory, &options).await?;
    if !plan.relaxed {
        for (name, value) in mysql.settings().await? {
            println!("# {name} = {value}");
        }
    }
    fill(&mysql, plan.rows).await?;
    let tc = Tc::start(&directory).await?;
    let bench = Bench { plan, mysql, tc };
    bench.compare().await
}

async fn fill(mysql: &Mysql, rows: u32) -> anyhow::Result<()> {
    mysql.create_database(DATABASE).await?;
    let mut connection = mysql.connect(DATABASE).await?;
    for table in TABLES {
        sqlx::query(table).execute(&mut connection).await?;
    }
    sqlx::query("SET SESSION cte_max_recursion_depth = 1000000")
        .execute(&mut connection)
        .await?;
    sqlx::query(
        "INSERT INTO account WITH RECURSIVE ids AS \
         (SELECT 1 AS id UNION ALL SELECT id + 1 FROM ids WHERE id < ?) SELECT id, 0 FROM ids",
    )
    .bind(rows)
    .execute(&mut connection)
    .await?;
    Ok(())
}

struct Bench<'a> {
    plan: &'a Plan,
    mysql: Mysql,
    tc: Tc,
}

impl Bench<'_> {
    async fn compare(&self) -> anyhow::Result<()> {
        let global = !self.plan.local;
        let mut java = Client::java()?;
        java.step(&self.connect_java()?)?;
        let mut rust = Client::rust()?;
        rust.step(&self.connect("jdbc:mysql"))?;
        // Compilers and caches are warm after these.
        for _ in 0..WARM_UP_ROUNDS {
            self.round(&mut java, 0, global).await?;
            self.round(&mut rust, 0, global).await?;
        }
        let (mut to_java, mut to_local) = (Ratios::default(), Ratios::default());
        for number in 1..=self.plan.rounds {
            let (theirs, ours) = if number % 2 == 1 {
                let first = self.round(&mut java, number, global).await?;
                (first, self.round(&mut rust, number, global).await?)
            } else {
                let first = self.round(&mut rust, number, global).await?;
                (self.round(&mut java, number, global).await?, first)
            };
            to_java.add(&ours, &theirs);
            if global {
                to_local.add(&ours, &self.round(&mut rust, number, false).await?);
            }
        }
        self.judge(java.committed + rust.committed).await?;
        if global {
            to_java.print("at_vs_java")?;
            to_local.print("at_vs_local")?;
        } else {
            to_java.print("local_vs_java")?;
        }
        println!("# memory of the Java client: {:.0} MiB", java.rss_mb()?);
        print("seata_rss_mb", rust.rss_mb()?, "MiB")
    }

    /// One round of one client, until nothing of it is left to do.
    async fn round(&self, client: &mut Client, number: u32, global: bool) -> anyhow::Result<Round> {
        let plan = self.plan;
        let told = client.step(&json!({
            "op": "bench",
            "global": global,
            "seconds": plan.seconds,
            "concurrency": plan.concurrency,
            "branches": plan.branches,
            "rows": plan.rows,
            "rollbackPercent": plan.rollback_percent,
            "seed": number,
        }))?;
        let number_of = |name: &str| told[name].as_f64().with_context(|| format!("no {name}"));
        let transactions = number_of("transactions")?;
        let (failed, failure) = (number_of("failed")?, &told["failure"]);
        ensure!(transactions > 0.0, "no transaction succeeded: {failure}");
        client.committed += committed(&told, plan.branches)?;
        let cpu_per_transaction = number_of("cpuSeconds")? / transactions;
        let per_second = number_of("perSecond")?;
        println!(
            "# {} {} {number}: {per_second:.0} tx/s, p50 {:.1} ms, p99 {:.1} ms, {:.0} us of processor \
             time each, {:.0} MiB, {failed} failed {failure}",
            client.name,
            if global { "AT" } else { "local" },
            number_of("p50Microseconds")? / 1e3,
            number_of("p99Microseconds")? / 1e3,
            cpu_per_transaction * 1e6,
            number_of("rssMb")?,
        );
        self.settle().await?;
        Ok(Round {
            per_second,
            cpu_per_transaction,
        })
    }

    async fn settle(&self) -> anyhow::Result<()> {
        let mut connection = self.mysql.connect(DATABASE).await?;
        let deadline = Instant::now() + SETTLE_WITHIN;
        loop {
            let left: i64 = count("SELECT COUNT(*) FROM undo_log", &mut connection).await?;
            if left == 0 {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{left} undo rows are left {SETTLE_WITHIN:?} after a round");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What was committed, and nothing else, is in the table.
    async fn judge(&self, committed: i64) -> anyhow::Result<()> {
        let mut connection = self.mysql.connect(DATABASE).await?;
        let sum = "SELECT CAST(SUM(balance) AS SIGNED) FROM account";
        let sum = count(sum, &mut connection).await?;
        ensure!(
            sum == committed,
            "the balances are {sum} and {committed} updates were committed"
        );
        Ok(())
    }

    /// The same resource for both, spelt as Java spells it.
    fn connect(&self, scheme: &str) -> Value {
        json!({
            "op": "connect",
            "tc": self.tc.address(),
            "url": format!("{scheme}://127.0.0.1:{}/{DATABASE}", self.mysql.port),
            "user": "root",
            "password": "",
            "pool": self.plan.concurrency,
        })
    }

    fn connect_java(&self) -> anyhow::Result<Value> {
        let mut step = self.connect("jdbc:mysql");
        let url = step["url"].as_str().context("no url")?;
        step["url"] = json!(format!(
            "{url}?useSSL=false&allowPublicKeyRetrieval=true&connectionTimeZone=UTC\
             &useServerPrepStmts=true&cachePrepStmts=true"
        ));
        step["poolAutocommit"] = json!(false);
        for option in &self.plan.java_option {
            let (name, value) = option
                .split_once('=')
                .context("--java-option must be NAME=VALUE")?;
            step["options"][name] = json!(value);
        }
        Ok(step)
    }
}

/// How many updates of one round stay.
fn committed(told: &Value, branches: u32) -> anyhow::Result<i64> {
    let whole = |name: &str| told[name].as_i64().with_context(|| format!("no {name}"));
    Ok((whole("transactions")? - whole("rolledBack")?) * i64::from(branches))
}

async fn count(sql: &'static str, connection: &mut MySqlConnection) -> anyhow::Result<i64> {
    Ok(sqlx::query_scalar(sql).fetch_one(connection).await?)
}
