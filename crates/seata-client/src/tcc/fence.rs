//! The fence's rows, and what each means to a second phase.

use std::time::Duration;

use sqlx::{MySqlConnection, Row as _};

use crate::branch::PhaseTwo;

/// The table, as Seata's own clients use it too. Every database with TCC actions has one.
pub const FENCE_TABLE: &str = "CREATE TABLE IF NOT EXISTS tcc_fence_log (
    xid VARCHAR(128) NOT NULL,
    branch_id BIGINT NOT NULL,
    action_name VARCHAR(64) NOT NULL,
    status TINYINT NOT NULL COMMENT '1 tried, 2 committed, 3 rolled back, 4 suspended',
    gmt_create DATETIME(3) NOT NULL,
    gmt_modified DATETIME(3) NOT NULL,
    PRIMARY KEY (xid, branch_id),
    KEY idx_gmt_modified (gmt_modified),
    KEY idx_status (status)
)";

/// Where a branch stands in its own database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fence {
    Tried,
    Committed,
    RolledBack,
    /// Cancelled before it was tried.
    Suspended,
    Unlisted(i8),
}

impl Fence {
    fn from_number(number: i8) -> Self {
        match number {
            1 => Self::Tried,
            2 => Self::Committed,
            3 => Self::RolledBack,
            4 => Self::Suspended,
            other => Self::Unlisted(other),
        }
    }

    fn number(self) -> i8 {
        match self {
            Self::Tried => 1,
            Self::Committed => 2,
            Self::RolledBack => 3,
            Self::Suspended => 4,
            Self::Unlisted(other) => other,
        }
    }
}

/// What a second phase has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Run the action, and leave this behind.
    Act(Fence),
    /// Bar the try.
    Suspend,
    /// Nothing more.
    Answer(PhaseTwo),
}

/// A confirm without a try comes from a try whose local transaction is not committed yet, or never
/// will be: the coordinator asks again, and says so, until somebody looks. One after a cancel
/// contradicts it and is for people.
pub(super) fn confirm(found: Option<Fence>) -> Step {
    match found {
        Some(Fence::Tried) => Step::Act(Fence::Committed),
        Some(Fence::Committed) => Step::Answer(PhaseTwo::Done),
        None => Step::Answer(PhaseTwo::Retry),
        Some(Fence::RolledBack | Fence::Suspended | Fence::Unlisted(_)) => {
            Step::Answer(PhaseTwo::Never)
        }
    }
}

pub(super) fn cancel(found: Option<Fence>) -> Step {
    match found {
        Some(Fence::Tried) => Step::Act(Fence::RolledBack),
        Some(Fence::RolledBack | Fence::Suspended) => Step::Answer(PhaseTwo::Done),
        None => Step::Suspend,
        Some(Fence::Committed | Fence::Unlisted(_)) => Step::Answer(PhaseTwo::Never),
    }
}

/// Which row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key<'a> {
    pub(super) xid: &'a str,
    pub(super) branch_id: i64,
}

/// Holds the row until the local transaction ends, and waits for a try that holds it.
pub(super) async fn locked(
    connection: &mut MySqlConnection,
    key: Key<'_>,
) -> Result<Option<Fence>, sqlx::Error> {
    let row =
        sqlx::query("SELECT status FROM tcc_fence_log WHERE xid = ? AND branch_id = ? FOR UPDATE")
            .bind(key.xid)
            .bind(key.branch_id)
            .fetch_optional(connection)
            .await?;
    row.map(|row| row.try_get::<i8, _>(0).map(Fence::from_number))
        .transpose()
}

/// Fails with a unique violation if the branch has a row.
pub(super) async fn insert(
    connection: &mut MySqlConnection,
    key: Key<'_>,
    action: &str,
    fence: Fence,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO tcc_fence_log
            (xid, branch_id, action_name, status, gmt_create, gmt_modified)
         VALUES (?, ?, ?, ?, NOW(3), NOW(3))",
    )
    .bind(key.xid)
    .bind(key.branch_id)
    .bind(action)
    .bind(fence.number())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn update(
    connection: &mut MySqlConnection,
    key: Key<'_>,
    fence: Fence,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE tcc_fence_log SET status = ?, gmt_modified = NOW(3)
         WHERE xid = ? AND branch_id = ?",
    )
    .bind(fence.number())
    .bind(key.xid)
    .bind(key.branch_id)
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes at most `limit` rows of branches that ended more than `age` ago, and says how many. Keep
/// them longer than a coordinator may repeat a second phase; a day is plenty.
pub async fn purge(
    connection: &mut MySqlConnection,
    age: Duration,
    limit: u32,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "DELETE FROM tcc_fence_log
         WHERE gmt_modified < NOW(3) - INTERVAL ? SECOND AND status IN (2, 3, 4)
         ORDER BY gmt_modified LIMIT ?",
    )
    .bind(age.as_secs())
    .bind(limit)
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fence_and_both_phases() {
        let table = [
            (None, Step::Answer(PhaseTwo::Retry), Step::Suspend),
            (
                Some(Fence::Tried),
                Step::Act(Fence::Committed),
                Step::Act(Fence::RolledBack),
            ),
            (
                Some(Fence::Committed),
                Step::Answer(PhaseTwo::Done),
                Step::Answer(PhaseTwo::Never),
            ),
            (
                Some(Fence::RolledBack),
                Step::Answer(PhaseTwo::Never),
                Step::Answer(PhaseTwo::Done),
            ),
            (
                Some(Fence::Suspended),
                Step::Answer(PhaseTwo::Never),
                Step::Answer(PhaseTwo::Done),
            ),
            (
                Some(Fence::Unlisted(9)),
                Step::Answer(PhaseTwo::Never),
                Step::Answer(PhaseTwo::Never),
            ),
        ];
        for (found, confirmed, cancelled) in table {
            assert_eq!(confirm(found), confirmed, "{found:?}");
            assert_eq!(cancel(found), cancelled, "{found:?}");
        }
    }

    #[test]
    fn the_numbers_are_the_table_s() {
        for number in i8::MIN..=i8::MAX {
            assert_eq!(Fence::from_number(number).number(), number);
        }
        assert_eq!(Fence::from_number(4), Fence::Suspended);
    }
}
