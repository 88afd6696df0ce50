//! The tables that were read, least recently used ones forgotten first.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hashlink::LruCache;
use sqlx::MySqlConnection;

use super::{Table, load};
use crate::at::error::Error;

/// Tables by the name that statements write.
pub(crate) struct Tables {
    kept: Mutex<LruCache<String, (Instant, Arc<Table>)>>,
    /// How long metadata are believed without looking again.
    fresh_for: Duration,
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tables").finish_non_exhaustive()
    }
}

impl Tables {
    pub(crate) fn new(capacity: usize, fresh_for: Duration) -> Self {
        Self {
            kept: Mutex::new(LruCache::new(capacity)),
            fresh_for,
        }
    }

    /// The table of that name in the connection's database.
    pub(crate) async fn get(
        &self,
        connection: &mut MySqlConnection,
        name: &str,
    ) -> Result<Arc<Table>, Error> {
        if let Some(table) = self.kept(name) {
            return Ok(table);
        }
        let table = Arc::new(load::table(connection, name).await?);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(name.to_owned(), (Instant::now(), table.clone()));
        Ok(table)
    }

    fn kept(&self, name: &str) -> Option<Arc<Table>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (read_at, table) = kept.get(name)?;
        (read_at.elapsed() < self.fresh_for).then(|| table.clone())
    }

    /// Forgets everything: something did not fit.
    pub(crate) fn forget(&self) {
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}
