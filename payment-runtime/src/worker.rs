//! The worker: asks the channels about payments whose outcome is open and processes callbacks
//! that were kept.
//!
//! Guarantees: any number of replicas share the work through leases; a crash at any point costs a
//! lease, never a payment; channel calls in flight are bounded.

use std::sync::Arc;
use std::time::Duration;

use channels::{OrderState, OrderStatus};
use futures::StreamExt as _;
use payment_core::Source;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::payments::{PayError, Payments, after, next_question};
use crate::store::{InboxEntry, PaymentRecord};

/// Callbacks for payments that we do not have are kept this often, each time later: the last
/// time is about three days after the first.
const INBOX_ATTEMPTS_MAX: u32 = 12;

/// Works until `stop`.
pub async fn run(payments: Arc<Payments>, stop: CancellationToken) {
    let pause = Duration::from_millis(payments.config.worker.poll_interval_milliseconds);
    while !stop.is_cancelled() {
        let busy = round(&payments).await;
        if busy {
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// One look at the queues. True: there may be more.
async fn round(payments: &Payments) -> bool {
    let callbacks = callbacks_round(payments)
        .await
        .unwrap_or_else(|error| complain(&error));
    let questions = questions_round(payments)
        .await
        .unwrap_or_else(|error| complain(&error));
    if let Ok(counts) = payments.store.open_counts().await {
        payments
            .metrics
            .set_open_payments(counts.into_iter().map(|c| (c.status, c.count)));
    }
    callbacks || questions
}

fn complain(error: &PayError) -> bool {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "the queue could not be read"
    );
    false
}

async fn questions_round(payments: &Payments) -> Result<bool, PayError> {
    let config = &payments.config.worker;
    let due = payments
        .store
        .claim_due(clock::now(), config.lease_seconds, config.batch_size)
        .await?;
    let full = due.len() == config.batch_size as usize;
    futures::stream::iter(due)
        .for_each_concurrent(config.concurrency, |payment| question(payments, payment))
        .await;
    Ok(full)
}

async fn question(payments: &Payments, payment: PaymentRecord) {
    let payment_no = payment.payment_no.clone();
    let next = next_question(&payment, clock::now());
    if let Err(error) = payments.ask(payment).await {
        tracing::warn!(
            payment_no,
            error = &error as &dyn std::error::Error,
            "asking failed"
        );
    }
    if let Err(error) = payments.store.release(&payment_no, next).await {
        // The lease ends by itself.
        tracing::warn!(
            payment_no,
            error = &error as &dyn std::error::Error,
            "release failed"
        );
    }
}

async fn callbacks_round(payments: &Payments) -> Result<bool, PayError> {
    let config = &payments.config.worker;
    let now = clock::now();
    let again_at = after(now, Duration::from_secs(config.lease_seconds));
    let entries = payments
        .store
        .claim_callbacks(now, again_at, config.batch_size)
        .await?;
    let full = entries.len() == config.batch_size as usize;
    for entry in entries {
        process(payments, &entry).await?;
    }
    Ok(full)
}

/// Applies a kept callback to its payment. One that came before its payment waits for it.
pub async fn process(payments: &Payments, entry: &InboxEntry) -> Result<(), PayError> {
    let payment = payments
        .store
        .payment_of_channel_order(&entry.channel_order_no)
        .await?;
    let Some(payment) = payment.filter(|payment| payment.channel == entry.channel) else {
        return postpone(payments, entry).await;
    };
    let status = OrderStatus {
        state: observed_state(&entry.observed),
        transaction_id: Some(entry.transaction_id.clone()),
        amount: Some(entry.amount),
        paid_at: entry.paid_at,
    };
    let applied = payments
        .apply_status(&payment, &status, Source::Callback)
        .await?;
    let outcome = match applied.decision {
        payment_core::Decision::Move(_) => "moved",
        payment_core::Decision::Keep => "kept",
        payment_core::Decision::Reject(why) => why.as_str(),
    };
    payments
        .store
        .settle_callback(entry.id, outcome, None)
        .await?;
    Ok(())
}

async fn postpone(payments: &Payments, entry: &InboxEntry) -> Result<(), PayError> {
    let number = &entry.channel_order_no;
    if entry.attempts >= INBOX_ATTEMPTS_MAX {
        tracing::error!(channel = %entry.channel, number, "a callback names an order we do not have");
        payments
            .store
            .settle_callback(entry.id, "no-such-payment", None)
            .await?;
        return Ok(());
    }
    let pause = Duration::from_secs(30) * 2_u32.saturating_pow(entry.attempts.min(12));
    let again_at = Some(after(clock::now(), pause));
    payments
        .store
        .settle_callback(entry.id, "waiting-for-payment", again_at)
        .await?;
    Ok(())
}

/// How an order state is written into the inbox, and read back.
pub const fn observed_name(state: OrderState) -> &'static str {
    match state {
        OrderState::NotFound => "NOT_FOUND",
        OrderState::NotPaid => "NOT_PAID",
        OrderState::Paid => "PAID",
        OrderState::Closed => "CLOSED",
        OrderState::Refunded => "REFUNDED",
    }
}

fn observed_state(name: &str) -> OrderState {
    match name {
        "PAID" => OrderState::Paid,
        "CLOSED" => OrderState::Closed,
        "REFUNDED" => OrderState::Refunded,
        "NOT_PAID" => OrderState::NotPaid,
        _ => OrderState::NotFound,
    }
}
