//! TCC: a branch that is tried, and then confirmed or cancelled by code of its own.
//!
//! The action's own database keeps a fence, a row per branch in `tcc_fence_log`, written in the same
//! local transaction as what the action changes. With it
//! - confirm and cancel take effect once, however often they are asked for;
//! - a cancel without a try changes nothing ("empty rollback"), and bars the try that comes after
//!   it ("suspension");
//! - a branch is never both confirmed and cancelled.
//!
//! Deliberately not here: what the action does, locks (TCC has none: reserve in the try what the
//! confirm will need), and databases other than MySQL and MariaDB.

mod fence;
mod resource;

pub use fence::{FENCE_TABLE, purge};
pub use resource::{ActionError, Attempt, TccAction, TccError, TccResource};
