//! Automatic branches over MySQL and MariaDB (AT mode).
//!
//! Statements in a local transaction are executed together with images of the rows that they
//! change. When it commits, it becomes a branch of the global transaction: the rows are locked at
//! the coordinator, and the images are written as an undo log in the same local transaction. If
//! the global transaction is rolled back, the images are put back; if it commits, the undo log is
//! deleted.
//!
//! Guaranteed: a statement whose rows are not certainly known before and after it is not executed
//! in a global transaction; a rollback never overwrites what others wrote; undo logs, lock keys and
//! resource names are those of Java's clients, so both can work on one database.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use seata_client::at::{AtConfig, AtPool, Error};
//! # use seata_client::branch::{Coordinator, Xid};
//! # async fn example(
//! #     pool: sqlx::MySqlPool, coordinator: Arc<dyn Coordinator>, xid: Xid,
//! # ) -> Result<(), Error> {
//! let at = AtPool::new(pool, coordinator, AtConfig::default()).await?;
//! // The connection to the coordinator is given `at.resource()`.
//!
//! // One statement in a local transaction of its own:
//! let pay = "UPDATE account SET money = money - ? WHERE id = ?";
//! at.execute(&xid, pay, &[100.into(), 1.into()]).await?;
//!
//! // Several in one:
//! let mut local = at.begin(&xid).await?;
//! let rows = local.fetch("SELECT money FROM account WHERE id = ? FOR UPDATE", &[2.into()]).await?;
//! local.execute("INSERT INTO entry (account, amount) VALUES (?, ?)", &[2.into(), 100.into()]).await?;
//! local.commit().await?;
//!
//! at.shutdown().await;
//! # let _ = rows;
//! # Ok(())
//! # }
//! ```
//!
//! Deliberately not here: plain reads do not ask for global locks, so they see what may yet be
//! rolled back (use `SELECT … FOR UPDATE`); writers that bypass AT are noticed only at rollback;
//! what stored functions write is not imaged; keys that differ only in case or trailing space are
//! different locks although the database may take them for equal; dates before 1582 are not equal
//! to what Java's calendar makes of them.

mod backoff;
pub mod config;
mod ddl;
pub mod error;
mod image;
mod lock_key;
mod metrics;
mod phase_one;
mod phase_two;
mod pool;
mod session;
mod sql;
mod table;
pub mod undo;
pub mod value;

pub use config::AtConfig;
pub use ddl::UNDO_LOG_DDL;
pub use error::Error;
/// Time zones of [`AtConfig::zone`].
pub use jiff::tz::TimeZone;
pub use lock_key::{resource_id, resource_id_of_url};
pub use metrics::AtMetrics;
pub use phase_one::{AtTransaction, Executed, Scope};
pub use phase_two::{AtResource, Difference, DirtyWrite, RollbackError, Undone};
pub use pool::AtPool;
pub use value::Value;
