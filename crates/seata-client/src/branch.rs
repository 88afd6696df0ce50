//! What the connection to the coordinator and the resource managers say to each other.
//!
//! A branch is one resource's part in a global transaction: one local database transaction (AT),
//! or one action (TCC). Nothing here knows the wire or SQL.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

/// The name of a global transaction, as the coordinator gave it (`host:port:transactionId`).
/// Opaque; it travels between services in [`Xid::HEADER`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Xid(String);

impl Xid {
    /// The HTTP header (and gRPC metadata key) that carries it.
    pub const HEADER: &'static str = "TX_XID";

    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Xid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which kind of resource manager owns a branch. The numbers are the wire's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum BranchType {
    At = 0,
    Tcc = 1,
    Saga = 2,
    Xa = 3,
}

/// What became of a branch's second phase. Everything but `Done` makes the coordinator ask again
/// (`Retry`) or give up and leave the transaction to people (`Never`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhaseTwo {
    Done,
    Retry,
    Never,
}

/// A branch as the coordinator names it in its second phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    pub xid: Xid,
    pub branch_id: i64,
    pub branch_type: BranchType,
    pub resource_id: String,
    /// What was given at registration.
    pub application_data: String,
}

/// A branch to be registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBranch {
    pub xid: Xid,
    pub branch_type: BranchType,
    pub resource_id: String,
    /// `table:pk[_pk2…][,pk…][;table2:…]`; empty for TCC.
    pub lock_keys: String,
    /// JSON, for example `{"autoCommit":false}`; may be empty.
    pub application_data: String,
}

/// Why the coordinator did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CoordinatorError {
    /// Another global transaction holds a lock. `holder` is read from the message where it says;
    /// servers up to 2.0 name there only the one who asked.
    #[error("row locked by global transaction {}: {message}", holder.as_ref().map_or("unknown", Xid::as_str))]
    LockConflict {
        holder: Option<Xid>,
        /// The holder is rolling back and may need the row locks this local transaction has:
        /// roll back at once instead of trying again while holding them.
        fail_fast: bool,
        message: String,
    },
    /// The global transaction has ended, or is ending: nothing can join it any more.
    #[error("the global transaction is over: {message}")]
    TransactionOver { message: String },
    /// There is no live channel to a coordinator, or its queue is full; nothing was sent.
    #[error("no coordinator is reachable: {message}")]
    NoChannel { message: String },
    /// The request was sent (or may have been) and no answer came.
    #[error("the coordinator did not answer within {after:?}: {message}")]
    Unanswered { after: Duration, message: String },
    /// Every other refusal, with the code decoded by the server's version.
    #[error("the coordinator refused ({code}): {message}")]
    Refused { code: String, message: String },
}

/// What a resource manager needs of the coordinator.
#[async_trait]
pub trait Coordinator: Send + Sync + fmt::Debug {
    /// Registers a branch and takes its global locks, all or none. Gives the branch's id.
    async fn register(&self, branch: &NewBranch) -> Result<i64, CoordinatorError>;

    /// Says that a registered branch's first phase failed and was rolled back locally.
    async fn report_failed(
        &self,
        branch: &NewBranch,
        branch_id: i64,
    ) -> Result<(), CoordinatorError>;

    /// Whether a global transaction can still be joined. `false`: it is ending or has ended.
    ///
    /// Asked after a branch was registered: whatever ends the transaction from then on knows the
    /// branch. A coordinator that registers no branch once the end has begun need not look.
    async fn is_open(&self, _: &Xid) -> Result<bool, CoordinatorError> {
        Ok(true)
    }

    /// Whether no other global transaction holds any of these locks.
    async fn lockable(&self, branch: &NewBranch) -> Result<bool, CoordinatorError>;
}

/// What the coordinator, through the connection, asks of a resource manager. Every method may be
/// called more than once for one branch, and for a branch whose first phase never happened.
#[async_trait]
pub trait Resource: Send + Sync + fmt::Debug {
    fn resource_id(&self) -> &str;

    fn branch_type(&self) -> BranchType;

    async fn commit(&self, branch: &Branch) -> PhaseTwo;

    async fn rollback(&self, branch: &Branch) -> PhaseTwo;

    /// Deletes undo rows older than that many days (AT; the daily `UndoLogDelete`).
    async fn delete_undo(&self, save_days: u16);
}
