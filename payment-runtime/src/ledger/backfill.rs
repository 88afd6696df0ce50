//! Opening entries for payments that are older than the ledger.

use std::time::Duration;

use crate::ports::StoreError;
use crate::records::after;
use crate::store::Store;

/// Replicas of the version before may still be charging while the schema is brought up to date.
const CHANGEOVER: Duration = Duration::from_hours(24);
const PAGE: u32 = 200;

/// Posts what the ledger lacks of the payments whose records were last changed before the ledger
/// was a day old; returns for how many. Any number of times, and by any number of callers at once,
/// it posts each once. Once a run began after that day and ended, the next ones read nothing.
pub async fn backfill(store: &Store) -> Result<u64, StoreError> {
    let Some(created_at) = store.ledger_to_open().await? else {
        return Ok(0);
    };
    let until = after(created_at, CHANGEOVER);
    let began = store.ledger_clock().await?;
    let (mut last, mut opened) = (0, 0);
    loop {
        let page = store.charged_payments(last, until, PAGE).await?;
        for (id, payment_no) in &page {
            last = *id;
            opened += u64::from(store.open_payment(payment_no, began).await?);
        }
        if page.len() < PAGE as usize {
            break;
        }
    }
    if began > until {
        store.ledger_is_open().await?;
    }
    Ok(opened)
}
