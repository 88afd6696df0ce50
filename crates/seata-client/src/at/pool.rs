//! The entrance: a pool of connections whose transactions can be branches.

use std::fmt;
use std::sync::Arc;

use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, MySqlPool, Row as _};

use super::backoff::Backoff;
use super::config::AtConfig;
use super::error::{Error, NO_SUCH_TABLE, server_code};
use super::lock_key::resource_id;
use super::metrics::{AtMetrics, Metrics};
use super::phase_one::{AtTransaction, Executed, Outcome, Scope};
use super::phase_two::AtResource;
use super::sql::Plans;
use super::table::{Tables, quoted};
use super::value::{Value, arguments};
use crate::branch::Coordinator;

/// What all transactions of a pool share.
pub(crate) struct Shared {
    pub(crate) pool: MySqlPool,
    pub(crate) coordinator: Arc<dyn Coordinator>,
    pub(crate) config: AtConfig,
    pub(crate) resource_id: String,
    pub(crate) database: String,
    /// In backticks.
    pub(crate) undo_table: String,
    pub(crate) packet_bytes_max: u64,
    /// The distance between two generated keys.
    pub(crate) key_step: u64,
    /// Whether 0 is a key like any other instead of asking for a generated one.
    pub(crate) zero_is_key: bool,
    pub(crate) plans: Plans,
    pub(crate) tables: Tables,
    pub(crate) metrics: Metrics,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("resource_id", &self.resource_id)
            .finish_non_exhaustive()
    }
}

/// A database whose local transactions can be branches of global ones.
///
/// Cheap to clone. Its [`resource`](Self::resource) must be given to the connection to the
/// coordinator, and [`shutdown`](Self::shutdown) called before the process ends.
#[derive(Clone, Debug)]
pub struct AtPool {
    shared: Arc<Shared>,
    resource: Arc<AtResource>,
}

impl AtPool {
    /// Looks at the database, and begins to clean up after committed branches.
    pub async fn new(
        pool: MySqlPool,
        coordinator: Arc<dyn Coordinator>,
        config: AtConfig,
    ) -> Result<Self, Error> {
        let undo_table = quoted(&config.undo_table);
        check_undo_table(&pool, &undo_table).await?;
        let facts = Facts::read(&pool).await?;
        let options = pool.connect_options();
        let default_id = || resource_id(options.get_host(), options.get_port(), &facts.database);
        let shared = Arc::new(Shared {
            resource_id: config.resource_id.clone().unwrap_or_else(default_id),
            plans: Plans::new(config.statements_kept),
            tables: Tables::new(config.tables_kept, config.tables_fresh_for),
            metrics: Metrics::default(),
            database: facts.database,
            packet_bytes_max: facts.packet_bytes_max,
            key_step: facts.key_step,
            zero_is_key: facts.zero_is_key,
            undo_table,
            pool,
            coordinator,
            config,
        });
        let resource = Arc::new(AtResource::start(shared.clone()));
        Ok(Self { shared, resource })
    }

    /// The resource manager of this database.
    pub fn resource(&self) -> Arc<AtResource> {
        self.resource.clone()
    }

    /// What was counted so far.
    pub fn metrics(&self) -> AtMetrics {
        self.shared.metrics.snapshot()
    }

    /// Begins a local transaction: `begin(&xid)` as a branch, `begin(Scope::GlobalLock)` outside of
    /// a global transaction but respecting its locks, `begin(Scope::Local)` for itself.
    pub async fn begin(&self, scope: impl Into<Scope>) -> Result<AtTransaction, Error> {
        AtTransaction::begin(self.shared.clone(), scope.into(), false).await
    }

    /// Executes one statement in a local transaction of its own. While its rows are locked by
    /// another global transaction it is rolled back and done anew, up to the deadline.
    pub async fn execute(
        &self,
        scope: impl Into<Scope>,
        sql: &str,
        args: &[Value],
    ) -> Result<Executed, Error> {
        let (executed, _) = self.autocommit(scope.into(), sql, args, false).await?;
        Ok(executed)
    }

    /// The same for a statement that gives rows.
    pub async fn fetch(
        &self,
        scope: impl Into<Scope>,
        sql: &str,
        args: &[Value],
    ) -> Result<Vec<MySqlRow>, Error> {
        let (_, rows) = self.autocommit(scope.into(), sql, args, true).await?;
        Ok(rows)
    }

    /// Deletes the undo rows of committed branches that are still waiting, and ends the
    /// background work. Later second phases are answered with `Retry`.
    pub async fn shutdown(&self) {
        self.resource.shutdown().await;
    }

    async fn autocommit(
        &self,
        scope: Scope,
        sql: &str,
        args: &[Value],
        rows: bool,
    ) -> Result<Outcome, Error> {
        if scope == Scope::Local {
            return self.untouched(sql, args, rows).await;
        }
        let mut backoff = Backoff::new(&self.shared.config);
        let mut stale = 0;
        loop {
            let conflict = match self.once(&scope, sql, args, rows).await {
                // What is remembered of the table was forgotten; now it is read anew.
                Err(Error::Stale { .. }) if stale == 0 => {
                    stale += 1;
                    continue;
                }
                Err(Error::LockConflict {
                    holder,
                    fail_fast,
                    message,
                    ..
                }) => (holder, fail_fast, message),
                other => return other,
            };
            // Its rows are free again, so that their holder can roll back meanwhile.
            if !backoff.pause().await {
                let (holder, fail_fast, message) = conflict;
                return Err(Error::LockConflict {
                    holder,
                    waited: backoff.waited(),
                    fail_fast,
                    message,
                });
            }
        }
    }

    async fn once(
        &self,
        scope: &Scope,
        sql: &str,
        args: &[Value],
        rows: bool,
    ) -> Result<Outcome, Error> {
        let shared = self.shared.clone();
        let mut transaction = AtTransaction::begin(shared, scope.clone(), true).await?;
        match transaction.run(sql, args, rows).await {
            Ok(outcome) => {
                transaction.commit().await?;
                Ok(outcome)
            }
            Err(error) => {
                // What it did not do cannot be told better than by its own error.
                let _ = transaction.rollback().await;
                Err(error)
            }
        }
    }

    async fn untouched(&self, sql: &str, args: &[Value], rows: bool) -> Result<Outcome, Error> {
        let args = arguments(args).map_err(Error::Statement)?;
        let query = sqlx::query_with(AssertSqlSafe(sql.to_owned()), args);
        let pool = &self.shared.pool;
        if rows {
            let rows = query.fetch_all(pool).await.map_err(Error::Statement)?;
            return Ok((Executed::default(), rows));
        }
        let result = query.execute(pool).await.map_err(Error::Statement)?;
        Ok((result.into(), Vec::new()))
    }
}

async fn check_undo_table(pool: &MySqlPool, undo_table: &str) -> Result<(), Error> {
    let sql = format!("SELECT branch_id FROM {undo_table} LIMIT 0");
    let found = sqlx::query(AssertSqlSafe(sql)).fetch_all(pool).await;
    match found {
        Ok(_) => Ok(()),
        Err(error) if server_code(&error) == Some(NO_SUCH_TABLE) => Err(Error::Unsuitable {
            problem: format!("there is no table {undo_table}; create it with `UNDO_LOG_DDL`"),
        }),
        Err(error) => Err(Error::Database(error)),
    }
}

/// What the server says about the pool's connections.
struct Facts {
    database: String,
    packet_bytes_max: u64,
    key_step: u64,
    zero_is_key: bool,
}

impl Facts {
    async fn read(pool: &MySqlPool) -> Result<Self, Error> {
        let sql = "SELECT CAST(DATABASE() AS CHAR) AS db, CAST(@@sql_mode AS CHAR) AS mode, \
                   CAST(@@max_allowed_packet AS UNSIGNED) AS packet, \
                   CAST(@@auto_increment_increment AS UNSIGNED) AS step";
        let row = sqlx::query(sql)
            .fetch_one(pool)
            .await
            .map_err(Error::Database)?;
        let mode: String = row.try_get("mode").map_err(Error::Database)?;
        let database: Option<String> = row.try_get("db").map_err(Error::Database)?;
        let unsuitable = |problem: &str| Error::Unsuitable {
            problem: problem.to_owned(),
        };
        if mode.contains("ANSI_QUOTES") || mode.contains("NO_BACKSLASH_ESCAPES") {
            return Err(unsuitable(
                "with ANSI_QUOTES or NO_BACKSLASH_ESCAPES statements mean something else; \
                 leave them out of sql_mode",
            ));
        }
        Ok(Self {
            database: database.ok_or_else(|| unsuitable("the pool connects to no database"))?,
            packet_bytes_max: row.try_get("packet").map_err(Error::Database)?,
            key_step: row.try_get("step").map_err(Error::Database)?,
            zero_is_key: mode.contains("NO_AUTO_VALUE_ON_ZERO"),
        })
    }
}
