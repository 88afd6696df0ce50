//! The worker: asks the channels about payments and refunds whose outcome is open, deals with
//! late money, and processes callbacks that were kept.
//!
//! Guarantees: any number of replicas share the work through leases; a crash at any point costs a
//! lease, never a payment; channel calls in flight are bounded.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use payment_core::guards::holds;
use payment_core::{Guard, PaymentState};
use tokio_util::sync::CancellationToken;

use crate::payments::{PayError, Payments};
use crate::records::{NextLook, PaymentRecord, RefundRecord, after};

/// How long an answer is kept under its Idempotency-Key.
pub const KEYS_KEPT: Duration = Duration::from_hours(7 * 24);
/// How often the counts for the metrics are taken and old keys are forgotten.
const HOUSEKEEPING_INTERVAL: Duration = Duration::from_secs(15);
const PURGE_BATCH: u32 = 1000;

/// Works until `stop`.
pub async fn run(payments: Arc<Payments>, stop: CancellationToken) {
    let pause = Duration::from_millis(payments.config.worker.poll_interval_milliseconds);
    let mut housekeeping_at = payments.now();
    while !stop.is_cancelled() {
        let busy = round(&payments).await;
        if payments.now() >= housekeeping_at {
            housekeeping_at = after(payments.now(), HOUSEKEEPING_INTERVAL);
            housekeeping(&payments).await;
        }
        if busy {
            continue;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// One look at the queues. True: there may be more.
async fn round(payments: &Payments) -> bool {
    let callbacks = callbacks_round(payments).await.unwrap_or_else(complain);
    let questions = questions_round(payments).await.unwrap_or_else(complain);
    let refunds = refunds_round(payments).await.unwrap_or_else(complain);
    callbacks || questions || refunds
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape unwrap_or_else wants"
)]
fn complain(error: PayError) -> bool {
    let error = &error as &dyn std::error::Error;
    tracing::warn!(error, "the queue could not be read");
    false
}

async fn housekeeping(payments: &Payments) {
    if let Ok(counts) = payments.records.open_counts().await {
        payments.metrics.set_open(&counts);
    }
    let before = payments.now() - KEYS_KEPT;
    if let Err(error) = payments.records.purge_requests(before, PURGE_BATCH).await {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, "old keys could not be forgotten");
    }
}

async fn questions_round(payments: &Payments) -> Result<bool, PayError> {
    let config = &payments.config.worker;
    let due = payments
        .records
        .claim_due(payments.now(), config.lease_seconds, config.batch_size)
        .await?;
    let full = due.len() == config.batch_size as usize;
    futures::stream::iter(due)
        .for_each_concurrent(config.concurrency, |payment| question(payments, payment))
        .await;
    Ok(full)
}

async fn question(payments: &Payments, payment: PaymentRecord) {
    let payment_no = payment.payment_no.clone();
    let later = NextLook::At(payments.next_question(&payment));
    let next = match look_into(payments, payment, later).await {
        Ok(next) => next,
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(payment_no, error, "asking failed");
            later
        }
    };
    released(payments.records.release(&payment_no, next).await);
}

/// Does what the payment's state asks for, and says when to look again: `later` while it stays as
/// it is.
async fn look_into(
    payments: &Payments,
    payment: PaymentRecord,
    later: NextLook,
) -> Result<NextLook, PayError> {
    match payment.status {
        PaymentState::PaidAfterClose => {
            payments.settle_late(payment).await?;
            Ok(later)
        }
        PaymentState::Unknown if !holds(Guard::UnknownIsAsked) => Ok(later),
        PaymentState::Closed | PaymentState::Failed => {
            let asked = payments.ask_once_more(payment).await?;
            Ok(match (asked.answered, asked.payment.status.was_charged()) {
                (true, false) => NextLook::Never,
                (true, true) => NextLook::AsRecorded,
                (false, _) => later,
            })
        }
        _ => {
            let asked = payments.ask(payment).await?;
            Ok(if asked.payment.status.is_open() {
                later
            } else {
                NextLook::AsRecorded
            })
        }
    }
}

async fn refunds_round(payments: &Payments) -> Result<bool, PayError> {
    let config = &payments.config.worker;
    let due = payments
        .records
        .claim_due_refunds(payments.now(), config.lease_seconds, config.batch_size)
        .await?;
    let full = due.len() == config.batch_size as usize;
    futures::stream::iter(due)
        .for_each_concurrent(config.concurrency, |refund| {
            refund_question(payments, refund)
        })
        .await;
    Ok(full)
}

async fn refund_question(payments: &Payments, refund: RefundRecord) {
    let (payment_no, refund_no) = (refund.payment_no.clone(), refund.refund_no.clone());
    let next = after(payments.now(), payments.pause_before(refund.question_count));
    if let Err(error) = payments.ask_refund(refund).await {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(payment_no, refund_no, error, "asking about a refund failed");
    }
    let records = &payments.records;
    released(records.release_refund(&payment_no, &refund_no, next).await);
}

fn released(result: Result<(), crate::ports::StoreError>) {
    if let Err(error) = result {
        // The lease ends by itself.
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, "a lease could not be given back");
    }
}

async fn callbacks_round(payments: &Payments) -> Result<bool, PayError> {
    let config = &payments.config.worker;
    let now = payments.now();
    let again_at = after(now, Duration::from_secs(config.lease_seconds));
    let entries = payments
        .records
        .claim_callbacks(now, again_at, config.batch_size)
        .await?;
    let full = entries.len() == config.batch_size as usize;
    for entry in entries {
        if let Err(error) = payments.process(&entry).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(entry = entry.id, error, "a callback has to wait");
        }
    }
    Ok(full)
}
