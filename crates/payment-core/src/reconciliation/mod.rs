//! Reconciliation: what differs between the channel's bill, our records and the ledger, and what
//! may be done about it.
//!
//! Guarantees: pure; every row of a bill and every record expected on it is counted exactly once,
//! as matched or under one class; no difference is corrected without fresh evidence of the
//! channel.
//!
//! Deliberately not here: reading bills (`channels`), keeping runs, doing corrections
//! (`payment-runtime`).

mod class;
mod correction;
mod matching;
mod totals;

pub use class::DifferenceClass;
pub use correction::{
    Budget, Case, Correction, RULES, Said, Settings, Unprovable, decide_correction,
};
pub use matching::{
    AtChannel, BillEntry, Compared, Compares, Difference, FeeRate, Kind, OwnEntry, Settled,
};
pub use totals::{Line, Proof, Totals};
