//! Folding: entries are sealed and added to the balances, shard by shard.
//!
//! Guarantees: one transaction for each shard, whose holder is the shard's only writer, however
//! many workers there are; what died halfway changed nothing.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::ports::StoreError;
use crate::store::Store;
use crate::telemetry::Metrics;

/// Entries of one shard that are sealed in one transaction at most.
const SEALED_AT_ONCE: u32 = 500;
/// How soon an entry is sealed when there are few.
const PAUSE: Duration = Duration::from_secs(1);
/// The waiting entries are counted once in so many looks.
const LOOKS_BETWEEN_COUNTS: u32 = 15;

/// Seals what waits, up to 500 entries of each shard; returns how many it sealed. A shard that
/// somebody else is sealing is left to them.
pub async fn fold_once(store: &Store) -> Result<usize, StoreError> {
    let mut sealed = 0;
    for shard in store.shards_with_work().await? {
        sealed += store.seal_some(shard, SEALED_AT_ONCE).await?;
    }
    Ok(sealed)
}

/// Seals until `stop`, about once a second, and without a pause while much waits.
pub async fn run(store: Store, metrics: Metrics, stop: CancellationToken) {
    let mut looks = 0;
    while !stop.is_cancelled() {
        let sealed = match fold_once(&store).await {
            Ok(sealed) => sealed,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "ledger entries could not be sealed");
                0
            }
        };
        metrics.ledger_sealed(sealed);
        if looks == 0
            && let Ok(waiting) = store.unsealed_count().await
        {
            metrics.set_ledger_unsealed(waiting);
        }
        looks = (looks + 1) % LOOKS_BETWEEN_COUNTS;
        if sealed >= SEALED_AT_ONCE as usize {
            continue;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}
