//! What the coordinator's answer to a commit means.

use crate::codec::GlobalStatus;

/// What became of a transaction whose commit was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Commit {
    /// Decided; branches that are not told yet will be.
    Committed,
    /// Surely not committed.
    NotCommitted,
    /// Decided, and a branch will never follow without somebody's help.
    Stuck,
    /// Cannot be known from the answer.
    Unknown,
}

/// `asked_before`: an earlier request for this commit may have reached the coordinator.
///
/// A coordinator forgets a transaction that has ended and then says `Finished`, whichever way it
/// went. Only the launcher commits; so if this was its first request, it cannot have been a commit
/// (it was the time-out). After an unanswered one it may have been either.
pub(super) fn of_commit(status: GlobalStatus, asked_before: bool) -> Commit {
    match status {
        GlobalStatus::Committing
        | GlobalStatus::CommitRetrying
        | GlobalStatus::AsyncCommitting
        | GlobalStatus::Committed => Commit::Committed,
        GlobalStatus::Rollbacking
        | GlobalStatus::RollbackRetrying
        | GlobalStatus::TimeoutRollbacking
        | GlobalStatus::TimeoutRollbackRetrying
        | GlobalStatus::Rollbacked
        | GlobalStatus::RollbackFailed
        | GlobalStatus::TimeoutRollbacked
        | GlobalStatus::TimeoutRollbackFailed
        | GlobalStatus::RollbackRetryTimeout
        | GlobalStatus::StopRollbackOrRollbackRetry => Commit::NotCommitted,
        GlobalStatus::Finished if !asked_before => Commit::NotCommitted,
        GlobalStatus::CommitFailed
        | GlobalStatus::CommitRetryTimeout
        | GlobalStatus::StopCommitOrCommitRetry => Commit::Stuck,
        GlobalStatus::Finished
        | GlobalStatus::Unknown
        | GlobalStatus::Begin
        | GlobalStatus::Deleting
        | GlobalStatus::Unlisted(_) => Commit::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finished_is_a_failure_at_first_and_unknown_after_an_unanswered_commit() {
        let finished = GlobalStatus::Finished;
        assert_eq!(of_commit(finished, false), Commit::NotCommitted);
        assert_eq!(of_commit(finished, true), Commit::Unknown);
    }

    #[test]
    fn every_number_means_one_thing() {
        let of = |wanted: Commit| -> Vec<u8> {
            (0..=21)
                .filter(|number| of_commit(GlobalStatus::from_number(*number), true) == wanted)
                .collect()
        };
        assert_eq!(of(Commit::Committed), [2, 3, 8, 9]);
        assert_eq!(
            of(Commit::NotCommitted),
            [4, 5, 6, 7, 11, 12, 13, 14, 17, 20]
        );
        assert_eq!(of(Commit::Stuck), [10, 16, 19]);
        assert_eq!(of(Commit::Unknown), [0, 1, 15, 18, 21]);
    }
}
