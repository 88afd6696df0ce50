//! A pooled connection in a local transaction.
//!
//! The pool never gets back a connection whose transaction is open: a future that is dropped in
//! the middle of a statement leaves a connection in an unknown state, which is closed; the server
//! rolls back. One that is dropped between statements is rolled back in the background.

use sqlx::mysql::MySqlConnection;
use sqlx::pool::PoolConnection;
use sqlx::{MySql, MySqlPool, raw_sql};
use tokio::runtime::Handle;

use super::error::Error;

#[derive(Debug)]
pub(crate) struct Session {
    /// `None` after the end.
    connection: Option<PoolConnection<MySql>>,
    /// A statement is under way, or one was left in the middle.
    busy: bool,
}

impl Session {
    pub(crate) async fn begin(pool: &MySqlPool) -> Result<Self, Error> {
        let connection = pool.acquire().await.map_err(Error::Database)?;
        let mut session = Self {
            connection: Some(connection),
            busy: false,
        };
        session
            .command("START TRANSACTION")
            .await
            .map_err(Error::Database)?;
        Ok(session)
    }

    /// The connection for a statement; [`Session::rest`] must follow when it has ended.
    pub(crate) fn work(&mut self) -> Result<&mut MySqlConnection, Error> {
        let connection = self.connection.as_mut().ok_or(Error::Broken)?;
        self.busy = true;
        Ok(connection)
    }

    /// The statement has ended.
    pub(crate) fn rest(&mut self) {
        self.busy = false;
    }

    async fn command(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        let Some(connection) = self.connection.as_mut() else {
            return Err(sqlx::Error::PoolClosed);
        };
        self.busy = true;
        raw_sql(sql).execute(&mut **connection).await?;
        self.busy = false;
        Ok(())
    }

    pub(crate) async fn commit(mut self) -> Result<(), sqlx::Error> {
        self.command("COMMIT").await?;
        self.ended();
        Ok(())
    }

    pub(crate) async fn rollback(mut self) -> Result<(), sqlx::Error> {
        self.command("ROLLBACK").await?;
        self.ended();
        Ok(())
    }

    /// The transaction has ended by a statement: the pool gets its connection back.
    pub(crate) fn ended(&mut self) {
        self.connection = None;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        let runtime = Handle::try_current();
        match runtime {
            Ok(runtime) if !self.busy => {
                runtime.spawn(async move {
                    if raw_sql("ROLLBACK").execute(&mut *connection).await.is_err() {
                        drop(connection.detach());
                    }
                });
            }
            _ => drop(connection.detach()),
        }
    }
}
