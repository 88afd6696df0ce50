//! The ledger beside the payments: sealing entries, checking everything, statements.
//!
//! Guarantees: entries are written with the record they explain (see [`crate::records`]), in one
//! transaction; each is sealed exactly once, into one chain of hashes per shard, by one writer at
//! a time; a check recomputes all of it from the rows alone and trusts no sum.
//!
//! Deliberately not here: anything on the way of a payment. Sealing happens afterwards, in the
//! worker; a ledger that cannot be sealed holds up no payer. docs/ledger.md describes accounts and
//! seals for those who want to check without this program.

mod backfill;
mod check;
mod fold;
mod report;
mod seal;
mod statement;

pub use backfill::backfill;
pub use check::check;
pub use fold::{fold_once, run};
pub use report::{Finding, Head, LedgerReport, Violation};
pub use seal::{GENESIS, SHARDS, seal, shard_of};
pub use statement::{Statement, Wanted, csv_header, csv_line, statement};

pub(crate) use seal::{Chain, Sum, SumKey, Sums};
