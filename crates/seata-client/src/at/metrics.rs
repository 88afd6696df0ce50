//! What AT counts. Each counter only grows, but for the queue's length.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! metrics {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Live counters of an [`AtPool`](super::AtPool).
        #[derive(Debug, Default)]
        pub(crate) struct Metrics {
            $(pub(crate) $name: AtomicU64,)*
        }

        /// The counters at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct AtMetrics {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Metrics {
            pub(crate) fn snapshot(&self) -> AtMetrics {
                AtMetrics {
                    $($name: self.$name.load(Ordering::Relaxed),)*
                }
            }
        }
    };
}

metrics! {
    /// Branches registered.
    branches,
    /// Answers that a row is locked by another global transaction.
    lock_conflicts,
    /// Branches whose local transaction failed after registration.
    branches_failed,
    /// Branches undone.
    rollbacks,
    /// Rollbacks of branches that had not begun; each left a marker.
    markers,
    /// Rollbacks refused because rows had been changed by others. Each needs a person.
    dirty,
    /// Rollbacks that failed and will be tried again.
    rollback_errors,
    /// Undo rows that wait for their deletion now.
    deletes_waiting,
    /// Branches whose undo rows were deleted after commit.
    deletes,
    /// Failed deletions of batches; the batches were queued again.
    delete_errors,
    /// Branches whose undo rows were left for the sweeper.
    deletes_dropped,
    /// Old undo rows and markers that were swept.
    swept,
}

pub(crate) fn add(counter: &AtomicU64, n: usize) {
    counter.fetch_add(u64::try_from(n).unwrap_or_default(), Ordering::Relaxed);
}

pub(crate) fn subtract(counter: &AtomicU64, n: usize) {
    counter.fetch_sub(u64::try_from(n).unwrap_or_default(), Ordering::Relaxed);
}
