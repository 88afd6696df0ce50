//! Proves one Beijing day: orders, payments, ledger and the channel's bill add up, and whatever
//! stands between two of them is listed with its reason.
//!
//! Guarantees: everything is summed anew from the rows, in one consistent snapshot; nothing that a
//! run has summed up or decided is believed, except the reason that stands beside a difference; a
//! row or record that is not alike on both sides is explained exactly once or makes its equation
//! fail; nothing is written.
//!
//! Deliberately not here: comparing bills and correcting (`reconcile`), SQL (`store`), reading an
//! export (`verify.py`, which shares no code with this). docs/prove.md says what is proven.

mod equations;
pub mod export;
mod model;
mod reasons;
mod tell;

use jiff::civil::Date;
use payment_core::ChannelKind;

use crate::ledger::{self, LedgerReport};
use crate::ports::StoreError;
use crate::store::{ProofView, Store};

pub(crate) use model::decimal;
pub use model::{BillHead, DayProof, Equation, Item, Listed, Side};

/// What is to be proven.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// A Beijing day.
    pub day: Date,
    pub channels: Vec<ChannelKind>,
}

/// What came of it.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    pub day: String,
    /// Every bill is there and every equation holds.
    pub proven: bool,
    pub channels: Vec<DayProof>,
    pub ledger: LedgerReport,
}

impl Proof {
    /// The process's exit code: 0 proven, 1 something does not hold, 2 all that can be proven
    /// holds and a bill is missing.
    pub fn exit_code(&self) -> u8 {
        if !self.ledger.is_clean() || self.channels.iter().any(|day| !day.holds()) {
            return 1;
        }
        if self.channels.iter().any(|day| day.bill.is_none()) {
            return 2;
        }
        0
    }
}

/// Proves a day. `view` is the snapshot of what is proven; the ledger's own check reads in one of
/// its own.
pub(crate) async fn prove_in(
    store: &Store,
    view: &mut ProofView,
    wanted: &Wanted,
) -> Result<Proof, StoreError> {
    let mut channels = Vec::new();
    for channel in &wanted.channels {
        channels.push(equations::of_channel(view, *channel, wanted.day).await?);
    }
    let mut proof = Proof {
        day: wanted.day.to_string(),
        proven: false,
        channels,
        ledger: ledger::check(store).await?,
    };
    proof.proven = proof.exit_code() == 0;
    Ok(proof)
}

/// Proves a day.
pub async fn prove(store: &Store, wanted: &Wanted) -> Result<Proof, StoreError> {
    let mut view = store.proof_view().await?;
    let proof = prove_in(store, &mut view, wanted).await?;
    view.close().await?;
    Ok(proof)
}
