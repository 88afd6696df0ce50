//! The database: the only room that writes SQL, and the only one that commits.
//!
//! Guarantees: transactions are short and hold no network call; a payment row is locked before it
//! is decided about; deadlocks and lock waits are retried a bounded number of times. The SQL
//! keeps to what MySQL 8.4, MySQL 9.7 and MariaDB 10.11 share.

pub(crate) mod batch;
pub(crate) mod confirmations;
mod inbox;
mod ledger;
pub(crate) mod orders;
pub(crate) mod passwords;
mod payments;
mod reconciliation;
mod refunds;
mod requests;
mod rows;
mod serving;

use std::time::Duration;

use anyhow::Context as _;
use contract::config;
use jiff::Timestamp;
use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions, MySqlSslMode};
use sqlx::{MySql, Transaction};
use time::{OffsetDateTime, PrimitiveDateTime};

pub use ledger::Posted;
pub(crate) use ledger::{LedgerView, PlacedEntry, SealRow};
pub(crate) use reconciliation::{
    AbsentRecord, Half, Life, Line, Named, Pass, ProofView, RecordOfRow, RepeatedCharge, RowItem,
    Scope, Shift, Table, Total,
};
pub use reconciliation::{
    ClassTotal, CorrectionCount, DifferenceCount, LatestRun, NotificationCounts, Outgoing,
    RefusedBill, Run,
};

use crate::authority;
pub use crate::ports::StoreError;

/// A connection that was idle for longer is asked whether it is still alive before it is used.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// How often a transaction that lost a deadlock is tried again.
const DEADLOCK_RETRIES: u32 = 5;

/// A transaction that did not commit, as MySQL tells it.
#[derive(Debug)]
enum Failure {
    Sql(sqlx::Error),
    Store(StoreError),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Sql(error) => error.into(),
            Failure::Store(error) => error,
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(Box::new(error))
    }
}

impl Failure {
    /// Another transaction won (1213) or held on too long (1205): nothing was changed.
    fn is_deadlock(&self) -> bool {
        matches!(self.mysql_number(), Some(1205 | 1213))
    }

    /// The unique key that already holds the value.
    fn duplicate_of(&self) -> Option<&str> {
        let Self::Sql(sqlx::Error::Database(error)) = self else {
            return None;
        };
        if self.mysql_number() != Some(1062) {
            return None;
        }
        let (_, key) = error.message().rsplit_once("for key '")?;
        let key = key.trim_end_matches('\'');
        Some(key.rsplit('.').next().unwrap_or(key))
    }

    /// Another row refers to the one that was to be deleted.
    fn is_of_referenced_row(&self) -> bool {
        self.mysql_number() == Some(1451)
    }

    /// The row that was referred to is no longer there.
    fn is_of_missing_row(&self) -> bool {
        self.mysql_number() == Some(1452)
    }

    fn mysql_number(&self) -> Option<u16> {
        let Self::Sql(sqlx::Error::Database(error)) = self else {
            return None;
        };
        Some(
            error
                .try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()?
                .number(),
        )
    }
}

/// Runs a transaction again when it lost a deadlock, a bounded number of times.
async fn retried<T, F>(mut transaction: impl FnMut() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    for _ in 1..DEADLOCK_RETRIES {
        match transaction().await {
            Err(failure) if failure.is_deadlock() => {}
            done => return done,
        }
    }
    transaction().await
}

/// A pool of connections to the payment database.
#[derive(Clone, Debug)]
pub struct Store {
    pool: MySqlPool,
    /// Read once: see [`batch`].
    auto_increment_step: std::sync::Arc<tokio::sync::OnceCell<u64>>,
    /// Whether a charged payment waits for its confirmation: see [`confirmations`].
    confirming: bool,
}

impl Store {
    /// Prepares the pool without connecting: a process starts, and reports not ready, also while
    /// the database is away.
    pub fn new(config: &config::Mysql) -> anyhow::Result<Self> {
        Ok(Self {
            pool: pool(config)?,
            auto_increment_step: std::sync::Arc::default(),
            confirming: false,
        })
    }

    /// From now on every payment that is charged waits for its confirmation.
    #[must_use]
    pub fn confirming(self, confirming: bool) -> Self {
        Self { confirming, ..self }
    }

    /// Brings the schema up to date; several callers at once wait for each other. A schema that a
    /// later version has already taken further is left as it is: the version before works on it.
    pub async fn migrate(&self) -> anyhow::Result<()> {
        let mut migrator = sqlx::migrate!("./migrations");
        migrator
            .set_ignore_missing(true)
            .run(&self.pool)
            .await
            .context("cannot migrate the database")
    }

    /// Begins a transaction, in a task of its own: a caller who goes away while BEGIN is under way
    /// would otherwise leave the pool a connection whose open transaction nobody knows of, and
    /// the next single statement on it would never be committed.
    async fn begin(&self) -> Result<Transaction<'static, MySql>, sqlx::Error> {
        let pool = self.pool.clone();
        tokio::spawn(async move { pool.begin().await })
            .await
            .unwrap_or(Err(sqlx::Error::WorkerCrashed))
    }

    async fn clock(&self) -> Result<Timestamp, StoreError> {
        let (now,): (PrimitiveDateTime,) = sqlx::query_as("SELECT UTC_TIMESTAMP(3)")
            .fetch_one(&self.pool)
            .await?;
        Ok(from_datetime(now))
    }

    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// How a server is reached: where the configuration names authorities, over TLS with a server that
/// they vouch for under its host name, and not otherwise. Their file is read for each connection.
fn server(config: &config::Mysql) -> MySqlConnectOptions {
    let options = MySqlConnectOptions::new()
        .host(&config.host)
        .port(config.port)
        .username(&config.username)
        .charset("utf8mb4");
    match &config.tls {
        Some(tls) => options
            .ssl_mode(MySqlSslMode::VerifyIdentity)
            .ssl_ca(&tls.ca_file),
        None => options.ssl_mode(MySqlSslMode::Preferred),
    }
}

/// A pool of connections to one of our databases, not connected yet.
fn pool(config: &config::Mysql) -> anyhow::Result<MySqlPool> {
    let file = &config.password_file;
    let password = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the database password from {}", file.display()))?;
    if let Some(tls) = &config.tls {
        authority::read(&tls.ca_file).context("mysql.tls cannot be used")?;
    }
    let options = server(config)
        .database(&config.database)
        .password(password.trim_end())
        .statement_cache_capacity(64);
    let pool = MySqlPoolOptions::new()
        .max_connections(config.max_connections)
        .acquire_timeout(Duration::from_secs(5))
        .max_lifetime(Duration::from_mins(30))
        .idle_timeout(Duration::from_mins(1))
        .test_before_acquire(false)
        .before_acquire(|connection, met| {
            Box::pin(async move {
                // What was in use a moment ago is still there, or its end shows by itself.
                if met.idle_for > TRUSTED_FOR {
                    use sqlx::Connection as _;
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .after_connect(|connection, _| {
            Box::pin(async move {
                use sqlx::Executor as _;
                connection
                    .execute("SET SESSION transaction_isolation = 'READ-COMMITTED', innodb_lock_wait_timeout = 5")
                    .await?;
                Ok(())
            })
        })
        .connect_lazy_with(options);
    Ok(pool)
}

/// DATETIME columns hold UTC without saying so.
fn to_datetime(at: Timestamp) -> PrimitiveDateTime {
    let utc = OffsetDateTime::from_unix_timestamp_nanos(at.as_nanosecond())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    PrimitiveDateTime::new(utc.date(), utc.time())
}

fn from_datetime(at: PrimitiveDateTime) -> Timestamp {
    Timestamp::from_nanosecond(at.assume_utc().unix_timestamp_nanos())
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

fn to_day(day: jiff::civil::Date) -> String {
    day.to_string()
}

fn from_day(day: time::Date) -> jiff::civil::Date {
    let (month, day_of_month) = (u8::from(day.month()), day.day());
    let year = i16::try_from(day.year()).unwrap_or_default();
    // Both calendars are Gregorian, and MySQL's years end before either's.
    jiff::civil::Date::new(year, month.cast_signed(), day_of_month.cast_signed())
        .unwrap_or(jiff::civil::Date::ZERO)
}

/// DATETIME columns of bills hold what a Beijing wall clock shows.
fn to_civil(at: jiff::civil::DateTime) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn from_civil(at: PrimitiveDateTime) -> jiff::civil::DateTime {
    let second = |n: u8| n.cast_signed();
    from_day(at.date()).at(
        second(at.hour()),
        second(at.minute()),
        second(at.second()),
        0,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_survive_the_database_to_the_millisecond() {
        let at: Timestamp = "2026-11-22T06:30:01.123Z".parse().unwrap();
        assert_eq!(from_datetime(to_datetime(at)), at);
    }
}
