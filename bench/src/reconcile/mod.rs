//! Reconciliation of a day with very many payments: whether every difference is found and nothing
//! else, how long that takes, in how much memory, and whether being killed changes the result.
//!
//! One line per figure, `name value unit`, for each channel (`_wechat`, `_alipay`: the files are in
//! the channels' own formats) and without a suffix the worse of the two:
//!
//! - `reconcile_missed`, `reconcile_false`: seeded differences that were not found as what they
//!   are, and found ones that were not seeded. Both must be 0.
//! - `reconcile_same_hash`: a comparison that was killed at a third and at two thirds of its way
//!   came to the result hash of one that was left alone. Must be 1.
//! - `reconcile_seconds`, `reconcile_rss_mb`: comparing the bill with the records and the ledger,
//!   by a process that does nothing else, and that process's peak of memory.
//! - `reconcile_import_seconds`, `reconcile_import_rss_mb`: the same of reading the file into the
//!   database.
//! - `prove_seconds`, `prove_rss_mb`: the same of proving that day, the whole ledger included.
//!
//! Filling the tables and writing the file are no part of any figure.

pub(crate) mod child;
mod fill;
mod found;
mod story;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use jiff::civil::{Date, date};
use payment_core::ChannelKind;
use payment_core::reconciliation::DifferenceClass;
use payment_runtime::store::Store;
use serde_json::Value;
use sqlx::Row as _;

use crate::figures::{print, print_whole};
use crate::mysql::Mysql;
use crate::process::{Process, bound};

use fill::BillOnDisk;
use story::Stories;

/// The day that is compared.
const DAY: Date = date(2026, 11, 20);
/// Longer than a comparison holds a day without a word.
const AHEAD_SECONDS: i64 = 60;
const SECONDS_MAX: f64 = 60.0;
const RSS_MB_MAX: f64 = 100.0;

#[derive(clap::Args)]
pub(crate) struct Plan {
    /// Rows of the bill
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(10_000..=10_000_000))]
    rows: u64,
    /// Only this channel's bill
    #[arg(long)]
    channel: Option<String>,
    /// Where the database's files go: the real disk
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Print what the database spends its time on while it compares
    #[arg(long)]
    digests: bool,
}

/// The figures of one channel.
#[derive(Default)]
struct Figures {
    missed: u64,
    wrong: u64,
    same_hash: bool,
    seconds: f64,
    rss_mb: f64,
    import_seconds: f64,
    import_rss_mb: f64,
    prove_seconds: f64,
    prove_rss_mb: f64,
}

pub(crate) async fn run(plan: &Plan) -> anyhow::Result<()> {
    let directory = plan
        .directory
        .clone()
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench"));
    let mysql = Mysql::start(&directory, &[]).await?;
    for (name, value) in mysql.settings().await? {
        println!("# {name} = {value}");
    }
    let channels = match &plan.channel {
        Some(name) => vec![ChannelKind::parse(name).context("no such channel")?],
        None => ChannelKind::ALL.to_vec(),
    };
    let mut all = Vec::new();
    for channel in channels {
        let figures = Bench::new(plan, &directory, &mysql, channel)
            .await?
            .run()
            .await?;
        figures.print(&format!("_{channel}"))?;
        all.push(figures);
    }
    let worst = Figures::worst(&all);
    worst.print("")?;
    worst.judge()
}

/// One channel's day in a database of its own.
struct Bench<'a> {
    plan: &'a Plan,
    mysql: &'a Mysql,
    database: String,
    stories: Stories,
    files: tempfile::TempDir,
}

impl<'a> Bench<'a> {
    async fn new(
        plan: &'a Plan,
        directory: &Path,
        mysql: &'a Mysql,
        channel: ChannelKind,
    ) -> anyhow::Result<Self> {
        let bench = Self {
            plan,
            mysql,
            database: format!("reconcile_{channel}"),
            stories: Stories::new(channel, DAY, plan.rows),
            files: tempfile::Builder::new()
                .prefix("bench-bills-")
                .tempdir_in(directory.canonicalize()?)?,
        };
        mysql.create_database(&bench.database).await?;
        std::fs::write(bench.files.path().join("password"), "")?;
        std::fs::write(bench.config(), bench.config_text())?;
        Ok(bench)
    }

    async fn run(self) -> anyhow::Result<Figures> {
        let [bill, next_bill] = self.set_up().await?;
        let mut figures = Figures::default();
        let imported = self.import(DAY, &bill)?;
        figures.import_seconds = number(&imported, "seconds")?;
        figures.import_rss_mb = number(&imported, "rss_mb")?;
        self.import(DAY.tomorrow()?, &next_bill)?;
        say_load(&format!("{} rows imported", imported["rows"]));

        if self.plan.digests {
            self.mysql.reset_digests().await?;
        }
        let database = self.mysql.process.cpu()?;
        let alone = self.compare(0)?;
        let database = self.mysql.process.cpu()?.saturating_sub(database);
        figures.seconds = number(&alone, "seconds")?;
        figures.rss_mb = number(&alone, "rss_mb")?;
        println!(
            "# processor seconds of the comparison: {:.1} its own, {:.1} the database's",
            number(&alone, "cpu_seconds")?,
            database.as_secs_f64()
        );
        self.print_digests().await?;
        let (missed, wrong) = self.found().await?;

        let killed = self.compare_killed_twice().await?;
        figures.same_hash = killed["chain"] == alone["chain"];
        let again = self.found().await?;
        figures.missed = missed.max(again.0);
        figures.wrong = wrong.max(again.1);
        let (prove, seal) = ("--prove".to_owned(), "--seal".to_owned());
        let sealed = answer(self.child(DAY, &[prove.clone(), seal])?)?;
        self.print_digests().await?;
        println!(
            "# {} entries sealed in {:.0} s",
            sealed["entries"],
            number(&sealed, "seconds")?
        );
        let proven = answer(self.child(DAY, &[prove])?)?;
        self.judge_ledger(&proven)?;
        figures.prove_seconds = number(&proven, "seconds")?;
        figures.prove_rss_mb = number(&proven, "rss_mb")?;
        self.mysql.drop_database(&self.database).await?;
        Ok(figures)
    }

    /// The ledger has to be found wrong where it was made so, and nowhere else.
    fn judge_ledger(&self, proven: &Value) -> anyhow::Result<()> {
        let mut expected = self.stories.expected();
        expected.retain(|(_, _, class)| *class == DifferenceClass::Ledger);
        let seeded = expected.len();
        println!(
            "# {} entries of the ledger proven; {seeded} payments booked wrongly, {} found",
            proven["sealed"], proven["violations"]
        );
        ensure!(
            proven["violations"] == seeded,
            "the proof does not find what is wrong in the ledger"
        );
        Ok(())
    }

    async fn set_up(&self) -> anyhow::Result<[BillOnDisk; 2]> {
        let started = Instant::now();
        let config = contract::RuntimeConfig::parse(&self.config_text())?;
        Store::new(&config.mysql)?.migrate().await?;
        let mut connection = self.mysql.connect(&self.database).await?;
        fill::tables(&self.stories, self.files.path(), &mut connection).await?;
        let bills = fill::bills(&self.stories, self.files.path())?;
        let seconds = started.elapsed().as_secs();
        say_load(&format!(
            "{} was set up in {seconds} s",
            self.stories.channel
        ));
        Ok(bills)
    }

    fn import(&self, day: Date, bill: &BillOnDisk) -> anyhow::Result<Value> {
        let mut options = vec!["--bill".to_owned(), text(&bill.path)?];
        if let Some(hash) = &bill.hash {
            options.extend(["--hash".to_owned(), hash.clone()]);
        }
        answer(self.child(day, &options)?)
    }

    fn compare(&self, ahead_seconds: i64) -> anyhow::Result<Value> {
        answer(self.comparing(ahead_seconds)?)
    }

    fn comparing(&self, ahead_seconds: i64) -> anyhow::Result<Process> {
        let ahead = ahead_seconds.to_string();
        self.child(DAY, &["--ahead-seconds".to_owned(), ahead])
    }

    fn child(&self, day: Date, options: &[String]) -> anyhow::Result<Process> {
        let program = text(&std::env::current_exe()?)?;
        let mut command = bound(&program);
        command
            .arg("reconcile-one")
            .arg("--config")
            .arg(self.config())
            .args(["--channel", self.stories.channel.as_str()])
            .args(["--day", &day.to_string()])
            .args(options)
            .stdout(std::process::Stdio::piped());
        Process::start(command)
    }

    /// A process is killed at a third, the next at two thirds, and a third one ends it.
    async fn compare_killed_twice(&self) -> anyhow::Result<Value> {
        let mut connection = self.mysql.connect(&self.database).await?;
        sqlx::query("TRUNCATE reconciliation_differences")
            .execute(&mut connection)
            .await?;
        let before = self.progress(&mut connection).await?;
        for part in [1, 2] {
            let mut process = self.comparing((part - 1) * AHEAD_SECONDS)?;
            let enough = self.plan.rows * u64::try_from(part)? / 3;
            loop {
                let progress = self.progress(&mut connection).await?;
                if progress.0 != before.0 && progress.1 >= enough {
                    ensure!(
                        !progress.2,
                        "the comparison was through before it was killed"
                    );
                    println!("# killed after {} of {} rows", progress.1, self.plan.rows);
                    break;
                }
                ensure!(
                    process.is_running()?,
                    "the comparison ended before it was killed"
                );
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            process.kill()?;
        }
        let ended = self.compare(2 * AHEAD_SECONDS)?;
        let run = self.progress(&mut connection).await?.0;
        ensure!(
            ended["resumed"] == true && ended["run"] == run && run != before.0,
            "the last process did not go on where the others were"
        );
        Ok(ended)
    }

    /// The newest comparison of the day: its number, rows it has dealt with, whether it is through.
    async fn progress(
        &self,
        connection: &mut sqlx::MySqlConnection,
    ) -> anyhow::Result<(u64, u64, bool)> {
        let row = sqlx::query(
            "SELECT id, matched + differences AS rows_done, finished_at IS NOT NULL AS finished \
             FROM reconciliation_runs ORDER BY id DESC LIMIT 1",
        )
        .fetch_one(connection)
        .await?;
        let rows: i64 = row.try_get("rows_done")?;
        Ok((
            row.try_get("id")?,
            rows.unsigned_abs(),
            row.try_get("finished")?,
        ))
    }

    async fn found(&self) -> anyhow::Result<(u64, u64)> {
        let mut connection = self.mysql.connect(&self.database).await?;
        let expected = self.stories.expected();
        found::judge(&mut connection, &expected).await
    }

    async fn print_digests(&self) -> anyhow::Result<()> {
        if self.plan.digests {
            for (text, calls, waited, cpu) in self.mysql.digests(12).await? {
                println!("#   {calls:>8} x {waited:>8.0} us, {cpu:>6.0} us of processor  {text}");
            }
        }
        Ok(())
    }

    fn config(&self) -> PathBuf {
        self.files.path().join("config.yaml")
    }

    fn config_text(&self) -> String {
        format!(
            "
system: bench/bench
listen: {{http: '127.0.0.1:0', management: '127.0.0.1:0'}}
mysql: {{host: 127.0.0.1, port: {port}, database: {database}, username: root, passwordFile: {password}}}
channels: {{callbackBaseUrl: 'http://127.0.0.1', wechat: {{baseUrl: 'http://127.0.0.1'}}}}
reconciliation: {{feeRates: {{wechatPpm: 6000, alipayPpm: 6000}}}}
",
            port = self.mysql.port,
            database = self.database,
            password = self.files.path().join("password").display(),
        )
    }
}

impl Figures {
    fn worst(all: &[Self]) -> Self {
        let most = |of: fn(&Self) -> f64| all.iter().map(of).fold(0.0, f64::max);
        Self {
            missed: all.iter().map(|figures| figures.missed).sum(),
            wrong: all.iter().map(|figures| figures.wrong).sum(),
            same_hash: all.iter().all(|figures| figures.same_hash),
            seconds: most(|figures| figures.seconds),
            rss_mb: most(|figures| figures.rss_mb),
            import_seconds: most(|figures| figures.import_seconds),
            import_rss_mb: most(|figures| figures.import_rss_mb),
            prove_seconds: most(|figures| figures.prove_seconds),
            prove_rss_mb: most(|figures| figures.prove_rss_mb),
        }
    }

    fn print(&self, suffix: &str) -> anyhow::Result<()> {
        let name = |name: &str| format!("reconcile_{name}{suffix}");
        print_whole(&name("missed"), self.missed, "differences");
        print_whole(&name("false"), self.wrong, "differences");
        print_whole(&name("same_hash"), u64::from(self.same_hash), "bool");
        print(&name("seconds"), self.seconds, "s")?;
        print(&name("rss_mb"), self.rss_mb, "MiB")?;
        print(&name("import_seconds"), self.import_seconds, "s")?;
        print(&name("import_rss_mb"), self.import_rss_mb, "MiB")?;
        print(&format!("prove_seconds{suffix}"), self.prove_seconds, "s")?;
        print(&format!("prove_rss_mb{suffix}"), self.prove_rss_mb, "MiB")
    }

    /// A slow machine is told; a wrong result is an error.
    fn judge(&self) -> anyhow::Result<()> {
        for (name, value, most) in [
            ("reconcile_seconds", self.seconds, SECONDS_MAX),
            ("reconcile_rss_mb", self.rss_mb, RSS_MB_MAX),
            ("reconcile_import_rss_mb", self.import_rss_mb, RSS_MB_MAX),
            ("prove_rss_mb", self.prove_rss_mb, RSS_MB_MAX),
        ] {
            if value > most {
                println!("# {name} is above its goal of {most}");
            }
        }
        if self.missed + self.wrong > 0 || !self.same_hash {
            bail!("the comparison is wrong: see the figures");
        }
        Ok(())
    }
}

/// What a child says at its end.
fn answer(process: Process) -> anyhow::Result<Value> {
    let told = process.output()?;
    serde_json::from_str(&told).with_context(|| format!("a child said {told:?}"))
}

fn number(answer: &Value, name: &str) -> anyhow::Result<f64> {
    let value = answer[name].as_f64();
    value.with_context(|| format!("{name} could not be measured"))
}

fn text(path: &Path) -> anyhow::Result<String> {
    Ok(path.to_str().context("a path is not text")?.to_owned())
}

/// Figures of a busy machine are worse: how busy it is belongs beside them.
fn say_load(what: &str) {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split(' ').take(3).collect();
    println!("# {what}; load of the machine {}", load.join(" "));
}
