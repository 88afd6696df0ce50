//! The messages as values. Field names are the protocol's; all strings may be empty, which is also
//! how an absent one looks.

use super::{BranchStatus, GlobalStatus};

/// How every answer about a transaction begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultHead {
    /// The message of a failure; `None` is success.
    pub failure: Option<String>,
    /// The exception code's number, to be read with the server's generation
    /// ([`super::ExceptionCode::decode`]). 0 on success.
    pub code: u8,
}

impl ResultHead {
    /// What is said when all went well.
    pub fn success() -> Self {
        Self {
            failure: None,
            code: 0,
        }
    }
}

/// A transaction manager (101) or a resource manager (103) says who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// The client's version; servers choose features by it.
    pub version: String,
    pub application_id: String,
    pub tx_service_group: String,
    /// Lines of `key=value`; may be empty.
    pub extra_data: String,
}

/// The answer to [`Register`] (102, 104). It carries no text of an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    pub identified: bool,
    /// The server's version.
    pub version: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobalBegin {
    pub timeout_ms: i32,
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobalBegun {
    pub result: ResultHead,
    pub xid: String,
    pub extra_data: String,
}

/// Commit (7), rollback (9) or a question for the status (15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobalEnd {
    pub xid: String,
    pub extra_data: String,
}

/// The answer to [`GlobalEnd`] and [`GlobalReport`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobalEnded {
    pub result: ResultHead,
    pub status: GlobalStatus,
}

/// The end of a saga, whose state lives in the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobalReport {
    pub xid: String,
    pub extra_data: String,
    pub status: GlobalStatus,
}

/// Registers a branch (11), or asks whether it could have its locks (21).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchRegister {
    pub xid: String,
    pub branch_type: u8,
    pub resource_id: String,
    pub lock_key: String,
    pub application_data: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchRegistered {
    pub result: ResultHead,
    pub branch_id: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchReport {
    pub xid: String,
    pub branch_id: i64,
    pub status: BranchStatus,
    pub resource_id: String,
    pub application_data: String,
    pub branch_type: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockQueried {
    pub result: ResultHead,
    pub lockable: bool,
}

/// The server asks for a branch's second phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchEnd {
    pub xid: String,
    pub branch_id: i64,
    pub branch_type: u8,
    pub resource_id: String,
    pub application_data: String,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchEnded {
    pub result: ResultHead,
    pub xid: String,
    pub branch_id: i64,
    pub status: BranchStatus,
}

/// The server has undo rows older than so many days deleted. Nothing is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndoLogDelete {
    pub branch_type: u8,
    pub resource_id: String,
    pub save_days: i16,
}

/// Several messages in one frame, each with the id it would have had by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    pub messages: Vec<(Message, i32)>,
}

/// Every message there is, by its type code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// 101
    RegisterTm(Register),
    /// 102
    RegisterTmResponse(Registered),
    /// 103, with the comma-separated resource ids.
    RegisterRm(Register, String),
    /// 104
    RegisterRmResponse(Registered),
    /// 1
    GlobalBegin(GlobalBegin),
    /// 2
    GlobalBeginResponse(GlobalBegun),
    /// 7
    GlobalCommit(GlobalEnd),
    /// 8
    GlobalCommitResponse(GlobalEnded),
    /// 9
    GlobalRollback(GlobalEnd),
    /// 10
    GlobalRollbackResponse(GlobalEnded),
    /// 15
    GlobalStatus(GlobalEnd),
    /// 16
    GlobalStatusResponse(GlobalEnded),
    /// 17
    GlobalReport(GlobalReport),
    /// 18
    GlobalReportResponse(GlobalEnded),
    /// 11
    BranchRegister(BranchRegister),
    /// 12
    BranchRegisterResponse(BranchRegistered),
    /// 13
    BranchReport(BranchReport),
    /// 14
    BranchReportResponse(ResultHead),
    /// 21
    GlobalLockQuery(BranchRegister),
    /// 22
    GlobalLockQueryResponse(LockQueried),
    /// 3
    BranchCommit(BranchEnd),
    /// 4
    BranchCommitResponse(BranchEnded),
    /// 5
    BranchRollback(BranchEnd),
    /// 6
    BranchRollbackResponse(BranchEnded),
    /// 111
    UndoLogDelete(UndoLogDelete),
    /// 59
    MergedWarp(Merged),
    /// 60: answers in the order of the requests, without ids.
    MergeResult(Vec<Message>),
    /// 121: answers in any order.
    BatchResult(Merged),
}

impl Message {
    /// The number that begins the body.
    pub fn type_code(&self) -> i16 {
        match self {
            Self::GlobalBegin(_) => 1,
            Self::GlobalBeginResponse(_) => 2,
            Self::BranchCommit(_) => 3,
            Self::BranchCommitResponse(_) => 4,
            Self::BranchRollback(_) => 5,
            Self::BranchRollbackResponse(_) => 6,
            Self::GlobalCommit(_) => 7,
            Self::GlobalCommitResponse(_) => 8,
            Self::GlobalRollback(_) => 9,
            Self::GlobalRollbackResponse(_) => 10,
            Self::BranchRegister(_) => 11,
            Self::BranchRegisterResponse(_) => 12,
            Self::BranchReport(_) => 13,
            Self::BranchReportResponse(_) => 14,
            Self::GlobalStatus(_) => 15,
            Self::GlobalStatusResponse(_) => 16,
            Self::GlobalReport(_) => 17,
            Self::GlobalReportResponse(_) => 18,
            Self::GlobalLockQuery(_) => 21,
            Self::GlobalLockQueryResponse(_) => 22,
            Self::MergedWarp(_) => 59,
            Self::MergeResult(_) => 60,
            Self::RegisterTm(_) => 101,
            Self::RegisterTmResponse(_) => 102,
            Self::RegisterRm(..) => 103,
            Self::RegisterRmResponse(_) => 104,
            Self::UndoLogDelete(_) => 111,
            Self::BatchResult(_) => 121,
        }
    }

    pub(super) fn is_merged(type_code: i16) -> bool {
        matches!(type_code, 59 | 60 | 121)
    }
}
