//! Statements that were understood before; the least recently used ones are forgotten first.

use std::sync::{Arc, Mutex, PoisonError};

use hashlink::LruCache;

use super::{Plan, plan};

/// Longer statements are understood anew each time.
const KEPT_BYTES_MAX: usize = 16 * 1024;

pub(crate) struct Plans(Mutex<LruCache<String, Arc<Plan>>>);

impl std::fmt::Debug for Plans {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Plans").finish_non_exhaustive()
    }
}

impl Plans {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Mutex::new(LruCache::new(capacity)))
    }

    pub(crate) fn get(&self, sql: &str) -> Arc<Plan> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = kept.get(sql) {
            return plan.clone();
        }
        drop(kept);
        let plan = Arc::new(plan(sql));
        if sql.len() <= KEPT_BYTES_MAX {
            kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            kept.insert(sql.to_owned(), plan.clone());
        }
        plan
    }
}
