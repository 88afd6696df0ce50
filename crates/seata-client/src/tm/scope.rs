//! The transaction a task runs in.
//!
//! It belongs to the task and not to its thread. A spawned task has none: give it one with
//! [`Xid::scope`].

use std::future::Future;

use crate::branch::Xid;

tokio::task_local! {
    static CURRENT: Option<Xid>;
}

/// A future that runs in a transaction, or in none.
#[cfg(feature = "http")]
pub(crate) type InScope<F> = tokio::task::futures::TaskLocalFuture<Option<Xid>, F>;

/// Runs what makes a future, and then the future, in a transaction or outside of any.
#[cfg(feature = "http")]
pub(crate) fn in_scope<F: Future>(xid: Option<Xid>, make: impl FnOnce() -> F) -> InScope<F> {
    let future = CURRENT.sync_scope(xid.clone(), make);
    CURRENT.scope(xid, future)
}

impl Xid {
    /// The transaction the running task is in.
    ///
    /// ```
    /// # use seata_client::branch::Xid;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let xid = Xid::new("10.0.0.1:8091:42");
    /// let seen = tokio::spawn(xid.clone().scope(async { Xid::current() })).await.unwrap();
    /// assert_eq!(seen, Some(xid));
    /// assert_eq!(Xid::current(), None);
    /// # }
    /// ```
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok().flatten()
    }

    /// Runs a future in this transaction, for spawned tasks and messages from elsewhere. It joins:
    /// it never ends the transaction.
    pub fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(Some(self), future)
    }
}

/// Runs a future outside of any transaction.
pub fn without_transaction<F: Future>(future: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(None, future)
}
