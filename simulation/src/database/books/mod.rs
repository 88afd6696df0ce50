//! What reconciliation keeps: bills, runs, differences and their trails.
//!
//! Guarantees: as [`payment_runtime::reconcile::books::Books`] promises; each method is one
//! transaction. Deliberately not here: any decision about a difference.

mod bills;
mod differences;
mod own;
mod runs;

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use payment_core::ChannelKind;

pub use bills::{BillState, KeptBill};
pub use differences::{Done, KeptDifference};
pub use runs::KeptRun;

/// Who compares a day.
#[derive(Clone, Debug, Default)]
struct Day {
    run_id: Option<u64>,
    owner: Option<String>,
    lease_until: Option<Timestamp>,
}

/// The tables of reconciliation.
#[derive(Debug, Default)]
pub(super) struct Tables {
    bills: BTreeMap<u64, KeptBill>,
    days: BTreeMap<(ChannelKind, Date), Day>,
    runs: BTreeMap<u64, KeptRun>,
    differences: BTreeMap<u64, KeptDifference>,
    actions: Vec<Done>,
}
