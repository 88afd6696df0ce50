//! How AT works; the defaults suit most.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::undo::Classes;
use crate::registration::BELIEVED_WITHIN;

/// Settings of an [`AtPool`](super::AtPool).
#[derive(Clone, Debug)]
pub struct AtConfig {
    /// The database's name at the coordinator. Every client of the database must use the same;
    /// `None` is Java's: `jdbc:mysql://host:port/database`.
    pub resource_id: Option<String>,
    /// Which of Java's class names undo logs have; all clients of the database must agree.
    pub classes: Classes,
    /// The zone in which Java's clients of the database run: their undo logs hold dates as
    /// instants in it.
    pub zone: TimeZone,
    pub undo_table: String,
    /// How long a locked row is waited for.
    pub lock_deadline: Duration,
    /// The first pause between two tries for a lock; it doubles up to `lock_pause_max`, and a
    /// random part of up to a half is left out.
    pub lock_pause_first: Duration,
    pub lock_pause_max: Duration,
    /// A time-out may pass through a slow registration, and a coordinator with its store in a
    /// database then never undoes the branch. So after one that took this long it is asked once more
    /// whether the transaction is open; `ZERO`: after every one.
    pub registration_believed_within: Duration,
    /// Images of an UPDATE have the assigned columns only, not all.
    pub only_changed_columns: bool,
    /// A statement that touches more rows is refused.
    pub max_rows: usize,
    /// How many statements stay understood.
    pub statements_kept: usize,
    /// How many tables' metadata are kept, and for how long they are believed.
    pub tables_kept: usize,
    pub tables_fresh_for: Duration,
    /// Committed branches' undo rows are deleted after this time, or when there are
    /// `delete_batch`; at most `delete_queue` wait.
    pub delete_every: Duration,
    pub delete_batch: usize,
    pub delete_queue: usize,
    /// Connections for the second phase, besides those of the pool: a rollback must not wait for
    /// transactions that wait for its rows.
    pub phase_two_connections: u32,
    /// How often leftovers are swept; `None`: only when the coordinator says so.
    pub sweep_every: Option<Duration>,
    /// Undo rows older than this are swept.
    pub undo_kept_days: u16,
    /// Markers of branches that were rolled back before they began are swept after this time.
    pub markers_kept: Duration,
}

impl Default for AtConfig {
    fn default() -> Self {
        Self {
            resource_id: None,
            classes: Classes::default(),
            zone: TimeZone::UTC,
            undo_table: "undo_log".to_owned(),
            lock_deadline: Duration::from_secs(5),
            lock_pause_first: Duration::from_millis(5),
            lock_pause_max: Duration::from_millis(200),
            registration_believed_within: BELIEVED_WITHIN,
            only_changed_columns: true,
            max_rows: 10_000,
            statements_kept: 1000,
            tables_kept: 1000,
            tables_fresh_for: Duration::from_mins(1),
            delete_every: Duration::from_millis(100),
            delete_batch: 1000,
            delete_queue: 10_000,
            phase_two_connections: 4,
            sweep_every: Some(Duration::from_hours(1)),
            undo_kept_days: 7,
            markers_kept: Duration::from_hours(24),
        }
    }
}
