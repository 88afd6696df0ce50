//! Registering a branch so that the end of its transaction cannot miss it.
//!
//! A coordinator with its store in a database looks whether the transaction is open, takes the
//! branch's locks, and then writes the branch down. A time-out that passes in between rolls back what
//! is written down; the branch comes after that, and nobody would ever undo it. So whoever waited
//! long for a registration asks once more whether the transaction is open: what ends it after that
//! finds the branch.
//!
//! Deliberately not here: a registration that took less than that is believed, to save the request.

use std::time::Duration;

use tokio::time::Instant;

use crate::branch::{Coordinator, CoordinatorError, NewBranch};

/// Longer than a coordinator in order takes, and so short that a time-out hardly ever falls into it.
pub(crate) const BELIEVED_WITHIN: Duration = Duration::from_millis(50);

/// Registers a branch and gives its id. On an error nothing of the branch may be committed.
pub(crate) async fn register(
    coordinator: &dyn Coordinator,
    branch: &NewBranch,
    believed_within: Duration,
) -> Result<i64, CoordinatorError> {
    let asked = Instant::now();
    let branch_id = coordinator.register(branch).await?;
    if asked.elapsed() < believed_within || coordinator.is_open(&branch.xid).await? {
        return Ok(branch_id);
    }
    Err(CoordinatorError::TransactionOver {
        message: format!("it ended while branch {branch_id} was registered"),
    })
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::branch::{BranchType, Xid};

    /// Takes its time, and says what it is told to.
    #[derive(Debug)]
    struct Slow {
        takes: Duration,
        open: Result<bool, CoordinatorError>,
    }

    #[async_trait]
    impl Coordinator for Slow {
        async fn register(&self, _: &NewBranch) -> Result<i64, CoordinatorError> {
            tokio::time::sleep(self.takes).await;
            Ok(7)
        }

        async fn report_failed(&self, _: &NewBranch, _: i64) -> Result<(), CoordinatorError> {
            Ok(())
        }

        async fn is_open(&self, _: &Xid) -> Result<bool, CoordinatorError> {
            self.open.clone()
        }

        async fn lockable(&self, _: &NewBranch) -> Result<bool, CoordinatorError> {
            Ok(true)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_registration_is_believed_only_if_the_transaction_is_open_after_it() {
        let branch = NewBranch {
            xid: Xid::new("h:1:2"),
            branch_type: BranchType::At,
            resource_id: "r".to_owned(),
            lock_keys: "t:1".to_owned(),
            application_data: String::new(),
        };
        let over = CoordinatorError::TransactionOver {
            message: "it ended while branch 7 was registered".to_owned(),
        };
        let gone = CoordinatorError::NoChannel {
            message: "gone".to_owned(),
        };
        let (quick, slow) = (BELIEVED_WITHIN / 2, BELIEVED_WITHIN);
        for (takes, open, expected) in [
            (quick, Ok(false), Ok(7)),
            (slow, Ok(true), Ok(7)),
            (slow, Ok(false), Err(over)),
            (slow, Err(gone.clone()), Err(gone)),
        ] {
            let coordinator = Slow { takes, open };
            let registered = register(&coordinator, &branch, BELIEVED_WITHIN).await;
            assert_eq!(registered, expected);
        }
    }
}
