//! Global transactions: begun, run, and ended by the one who began them.
//!
//! Guarantees:
//! - only the launcher ends a transaction; whoever joins it never does;
//! - a body that fails, panics or is cancelled has its transaction rolled back; a commit that has
//!   begun is seen through even if nobody waits for it any more;
//! - what is reported as committed was decided so by the coordinator, what is reported as not
//!   committed surely was not, and where neither can be known the error says just that.
//!
//! Deliberately not here: what branches do. Code finds the transaction it runs in with
//! [`Xid::current`](crate::branch::Xid::current).

mod end;
mod global;
mod options;
mod outcome;
mod scope;

#[cfg(test)]
mod tests;

pub use global::{GlobalError, TxContext};
pub use options::{Propagation, PropagationError, TxOptions};
pub use scope::without_transaction;

#[cfg(feature = "http")]
pub(crate) use scope::{InScope, in_scope};
