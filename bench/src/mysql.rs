//! MySQL with durable commits, on the real disk, from `MYSQL_ROOTFS`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};

use crate::process::{Process, bound, free_port};

/// What makes a commit durable, and what must not get in the way of measuring it.
const FLAGS: [&str; 10] = [
    "--innodb-flush-log-at-trx-commit=1",
    "--sync-binlog=1",
    "--log-bin=binlog",
    "--binlog-format=ROW",
    "--innodb-buffer-pool-size=2G",
    "--innodb-redo-log-capacity=4G",
    "--max-connections=400",
    "--mysqlx=OFF",
    "--bind-address=127.0.0.1",
    "--server-id=1",
];

/// The settings a reader needs to judge the figures.
const TOLD: [&str; 8] = [
    "version",
    "innodb_flush_log_at_trx_commit",
    "sync_binlog",
    "log_bin",
    "binlog_format",
    "innodb_doublewrite",
    "innodb_buffer_pool_size",
    "innodb_redo_log_capacity",
];

pub(crate) struct Mysql {
    pub(crate) port: u16,
    pub(crate) process: Process,
    _data: tempfile::TempDir,
}

/// Server-side counts whose differences are figures.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) statements: u64,
    pub(crate) log_fsyncs: u64,
    pub(crate) binlog_syncs: u64,
}

impl Mysql {
    /// Initialises a data directory under `directory` and starts a server on it.
    pub(crate) async fn start(directory: &Path, options: &[String]) -> anyhow::Result<Self> {
        let rootfs = std::env::var_os("MYSQL_ROOTFS")
            .map(PathBuf::from)
            .context("MYSQL_ROOTFS must name a root file system with MySQL; make bench sets it")?;
        std::fs::create_dir_all(directory)?;
        let directory = directory.canonicalize()?;
        ensure_real_disk(&directory)?;
        let data = tempfile::Builder::new()
            .prefix("bench-mysql-")
            .tempdir_in(directory)?;
        let loader = rootfs.join("usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2");
        let loader = loader.to_str().context("MYSQL_ROOTFS is not text")?;
        let mut initialize = Command::new(loader);
        arguments(&mut initialize, &rootfs, data.path());
        let done = initialize.arg("--initialize-insecure").output()?;
        ensure!(
            done.status.success(),
            "mysqld --initialize failed: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        let port = free_port()?;
        let mut server = bound(loader);
        arguments(&mut server, &rootfs, data.path());
        server
            .arg(format!("--socket={}", data.path().join("sock").display()))
            .arg(format!("--port={port}"))
            .args(FLAGS)
            .args(options)
            .stderr(std::fs::File::create(data.path().join("log"))?);
        let mysql = Self {
            port,
            process: Process::start(server)?,
            _data: data,
        };
        mysql.wait().await?;
        Ok(mysql)
    }

    async fn wait(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_mins(1);
        while let Err(error) = self.options().connect().await {
            if Instant::now() > deadline {
                return Err(error).context("MySQL does not answer");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    fn options(&self) -> MySqlConnectOptions {
        MySqlConnectOptions::new()
            .host("127.0.0.1")
            .port(self.port)
            .username("root")
    }

    pub(crate) async fn create_database(&self, name: &str) -> anyhow::Result<()> {
        let sql = AssertSqlSafe(format!("CREATE DATABASE {name}"));
        let mut connection = self.options().connect().await?;
        sqlx::query(sql).execute(&mut connection).await?;
        Ok(())
    }

    pub(crate) async fn drop_database(&self, name: &str) -> anyhow::Result<()> {
        let sql = AssertSqlSafe(format!("DROP DATABASE {name}"));
        let mut connection = self.options().connect().await?;
        sqlx::query(sql).execute(&mut connection).await?;
        Ok(())
    }

    pub(crate) async fn connect(&self, database: &str) -> anyhow::Result<MySqlConnection> {
        Ok(self.options().database(database).connect().await?)
    }

    /// The server's own word on how durable a commit is.
    pub(crate) async fn settings(&self) -> anyhow::Result<Vec<(String, String)>> {
        let mut connection = self.options().connect().await?;
        let rows = sqlx::query("SHOW GLOBAL VARIABLES")
            .fetch_all(&mut connection)
            .await?;
        let mut found = Vec::new();
        for row in rows {
            let (name, value): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            if TOLD.contains(&name.as_str()) {
                found.push((name, value));
            }
        }
        for (name, durable) in [
            ("innodb_flush_log_at_trx_commit", "1"),
            ("sync_binlog", "1"),
            ("log_bin", "ON"),
        ] {
            let is = |(found, value): &(String, String)| found == name && value == durable;
            ensure!(found.iter().any(is), "{name} is not {durable}");
        }
        Ok(found)
    }

    pub(crate) async fn counts(&self) -> anyhow::Result<Counts> {
        let mut connection = self.options().connect().await?;
        let mut counts = Counts::default();
        let rows = sqlx::query(
            "SHOW GLOBAL STATUS WHERE Variable_name IN ('Questions', 'Innodb_os_log_fsyncs')",
        )
        .fetch_all(&mut connection)
        .await?;
        for row in rows {
            let (name, value): (String, String) = (row.try_get(0)?, row.try_get(1)?);
            match name.as_str() {
                "Questions" => counts.statements = value.parse()?,
                "Innodb_os_log_fsyncs" => counts.log_fsyncs = value.parse()?,
                _ => bail!("status {name} was not asked for"),
            }
        }
        // Besides reads and writes a binlog file is hardly anything but synced.
        let row = sqlx::query(
            "SELECT CAST(COUNT_MISC AS SIGNED) FROM performance_schema.file_summary_by_event_name \
             WHERE EVENT_NAME = 'wait/io/file/sql/binlog'",
        )
        .fetch_one(&mut connection)
        .await?;
        counts.binlog_syncs = u64::try_from(row.try_get::<i64, _>(0)?)?;
        Ok(counts)
    }

    /// Counts processor time by statement from now on, and forgets what [`Mysql::digests`] has counted so far.
    pub(crate) async fn reset_digests(&self) -> anyhow::Result<()> {
        let mut connection = self.options().connect().await?;
        sqlx::query(
            "UPDATE performance_schema.setup_consumers SET ENABLED = 'YES' \
             WHERE NAME = 'events_statements_cpu'",
        )
        .execute(&mut connection)
        .await?;
        sqlx::query("TRUNCATE performance_schema.events_statements_summary_by_digest")
            .execute(&mut connection)
            .await?;
        Ok(())
    }

    /// Statements by the time the server spent in them: (text, calls, mean microseconds
    /// waited, mean microseconds of processor time).
    pub(crate) async fn digests(&self, limit: u32) -> anyhow::Result<Vec<(String, i64, f64, f64)>> {
        let mut connection = self.options().connect().await?;
        let rows = sqlx::query(
            "SELECT LEFT(DIGEST_TEXT, 70) AS text, CAST(COUNT_STAR AS SIGNED) AS calls, \
             CAST(AVG_TIMER_WAIT / 1e6 AS DOUBLE) AS waited, \
             CAST(SUM_CPU_TIME / COUNT_STAR / 1e6 AS DOUBLE) AS cpu \
             FROM performance_schema.events_statements_summary_by_digest \
             WHERE DIGEST_TEXT IS NOT NULL AND SCHEMA_NAME IS NOT NULL \
             ORDER BY SUM_CPU_TIME DESC LIMIT ?",
        )
        .bind(limit)
        .fetch_all(&mut connection)
        .await?;
        rows.iter()
            .map(|row| {
                Ok((
                    row.try_get("text")?,
                    row.try_get("calls")?,
                    row.try_get("waited")?,
                    row.try_get("cpu")?,
                ))
            })
            .collect()
    }
}

fn arguments(command: &mut Command, rootfs: &Path, data: &Path) {
    let usr = rootfs.join("usr");
    let messages = usr.join("share/mysql");
    command
        .arg("--library-path")
        .arg(usr.join("lib/x86_64-linux-gnu"))
        .arg(usr.join("sbin/mysqld"))
        .arg("--no-defaults")
        .arg(format!("--basedir={}", usr.display()))
        .arg(format!("--datadir={}", data.join("data").display()))
        .arg(format!("--lc-messages-dir={}", messages.display()))
        .args([
            "--user=root",
            "--log-error-verbosity=1",
            "--secure-file-priv=",
        ]);
}

/// Memory makes every commit free: refuse to measure on it.
fn ensure_real_disk(directory: &Path) -> anyhow::Result<()> {
    let mounts = std::fs::read_to_string("/proc/mounts")?;
    let kind = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .filter(|(point, _)| directory.starts_with(point))
        .max_by_key(|(point, _)| point.len())
        .map(|(_, kind)| kind)
        .context("no mount holds the data directory")?;
    ensure!(
        !["tmpfs", "ramfs"].contains(&kind),
        "{} is on {kind}, which makes no commit durable",
        directory.display()
    );
    Ok(())
}
