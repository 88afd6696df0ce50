//! The protocol's enums. A number this version does not know is kept as `Unlisted`.

/// An enum of one byte on the wire whose list may grow with the server.
macro_rules! wire_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $number:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)+
            /// A number that is not in the list.
            Unlisted(u8),
        }

        impl $name {
            /// Every listed value with its number.
            #[cfg(test)]
            pub(crate) const LISTED: &'static [(Self, u8)] = &[$((Self::$variant, $number)),+];

            pub fn from_number(number: u8) -> Self {
                match number {
                    $($number => Self::$variant,)+
                    other => Self::Unlisted(other),
                }
            }

            pub fn number(self) -> u8 {
                match self {
                    $(Self::$variant => $number,)+
                    Self::Unlisted(other) => other,
                }
            }
        }
    };
}

wire_enum! {
    /// Where a global transaction stands, in the coordinator's words.
    GlobalStatus {
        Unknown = 0,
        Begin = 1,
        Committing = 2,
        CommitRetrying = 3,
        Rollbacking = 4,
        RollbackRetrying = 5,
        TimeoutRollbacking = 6,
        TimeoutRollbackRetrying = 7,
        /// Committed for everybody but the branches, which are told within about a second.
        AsyncCommitting = 8,
        Committed = 9,
        CommitFailed = 10,
        Rollbacked = 11,
        RollbackFailed = 12,
        TimeoutRollbacked = 13,
        TimeoutRollbackFailed = 14,
        /// The coordinator has no such transaction: it has ended, one way or the other, or never was.
        Finished = 15,
        CommitRetryTimeout = 16,
        RollbackRetryTimeout = 17,
        Deleting = 18,
        StopCommitOrCommitRetry = 19,
        StopRollbackOrRollbackRetry = 20,
    }
}

wire_enum! {
    /// Where a branch stands.
    BranchStatus {
        Unknown = 0,
        Registered = 1,
        PhaseOneDone = 2,
        PhaseOneFailed = 3,
        PhaseOneTimeout = 4,
        PhaseTwoCommitted = 5,
        PhaseTwoCommitFailedRetryable = 6,
        PhaseTwoCommitFailedUnretryable = 7,
        PhaseTwoRollbacked = 8,
        PhaseTwoRollbackFailedRetryable = 9,
        PhaseTwoRollbackFailedUnretryable = 10,
        XaNotaCommitRetryable = 11,
        XaNotaRollbackRetryable = 12,
        PhaseOneReadOnly = 13,
        StopRetry = 14,
    }
}

/// Which list of exception codes a server uses: 2.0 put `NotRaftLeader` in the middle, and the wire
/// carries only positions, so the same refusal is 19 from a 1.x server and 20 from a 2.x one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServerGeneration {
    One,
    Two,
}

impl ServerGeneration {
    /// From the version in the register response. A server that says nothing readable is taken for
    /// a new one.
    pub fn of(version: &str) -> Self {
        let major = version.split('.').next().unwrap_or_default();
        if matches!(major, "0" | "1") {
            Self::One
        } else {
            Self::Two
        }
    }
}

/// Whether a server of this version undoes the branches of one transaction in the order in which they
/// were registered, so that two changes of one row end in the wrong one (2.0, seata#6121, mended
/// in 2.1).
pub fn rolls_back_in_wrong_order(version: &str) -> bool {
    version == "2.0" || version.starts_with("2.0.")
}

wire_enum! {
    /// Why the coordinator refused. The numbers are those of 2.x; read with
    /// [`ExceptionCode::decode`].
    ExceptionCode {
        Unknown = 0,
        BeginFailed = 1,
        LockKeyConflict = 2,
        Io = 3,
        BranchRollbackFailedRetriable = 4,
        BranchRollbackFailedUnretriable = 5,
        BranchRegisterFailed = 6,
        BranchReportFailed = 7,
        LockableCheckFailed = 8,
        BranchTransactionNotExist = 9,
        GlobalTransactionNotExist = 10,
        GlobalTransactionNotActive = 11,
        GlobalTransactionStatusInvalid = 12,
        FailedToSendBranchCommitRequest = 13,
        FailedToSendBranchRollbackRequest = 14,
        FailedToAddBranch = 15,
        FailedLockGlobalTransaction = 16,
        FailedWriteSession = 17,
        FailedStore = 18,
        NotRaftLeader = 19,
        LockKeyConflictFailFast = 20,
        TransactionTimeout = 21,
        CommitHeuristic = 22,
        Broken = 23,
    }
}

impl ExceptionCode {
    /// What the number means to a server of that generation.
    pub fn decode(number: u8, generation: ServerGeneration) -> Self {
        match generation {
            ServerGeneration::One if number >= 19 => Self::from_number(number.saturating_add(1)),
            _ => Self::from_number(number),
        }
    }
}
