//! Delivers messages.
//!
//! Guarantees: any number of processes deliver together; a message is held by one of them at a
//! time, and comes back when its holder dies; after the last try of the ladder, or when the
//! receiver says that it is gone (410), it is given up.
//!
//! Deliberately not here: what a message says.

use std::time::Duration;

use contract::Role;
use contract::config::Notify;
use futures::stream::{self, StreamExt as _};
use jiff::Timestamp;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use tokio_util::sync::CancellationToken;

use super::sign::{secrets, signature};
use crate::ports::StoreError;
use crate::records::after;
use crate::roles::Parts;
use crate::store::Outgoing;

const fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

const fn hours(n: u64) -> Duration {
    minutes(n * 60)
}

/// Pauses after failed deliveries, as Standard Webhooks proposes.
const LADDER: [Duration; 9] = [
    Duration::from_secs(5),
    minutes(5),
    minutes(30),
    hours(2),
    hours(5),
    hours(10),
    hours(14),
    hours(20),
    hours(24),
];
/// A receiver may ask for a pause of this at most.
const RETRY_AFTER_MAX: Duration = hours(6);
const TIMEOUT: Duration = Duration::from_secs(15);
/// A process that holds a message for longer is gone: a round takes 75 s at most.
const LEASE: Duration = minutes(2);
/// Messages of one round.
const ROUND: u32 = 20;
const AT_ONCE: usize = 4;
/// How often a serving process looks for messages.
const INTERVAL: Duration = Duration::from_secs(1);

/// Delivers what is due until `stop`, where this role does so.
pub async fn run(role: Role, parts: &Parts, stop: CancellationToken) {
    let serves = matches!(role, Role::Reconcile | Role::All);
    if !serves || parts.payments.config.reconciliation.notify.is_none() {
        return;
    }
    let mut failing = false;
    while !stop.is_cancelled() {
        // What is broken off here comes back when its lease ends.
        let done = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            done = tell_and_deliver(parts) => done,
        };
        match done {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "messages about differences cannot be read");
            }
            Err(_) => {}
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

async fn tell_and_deliver(parts: &Parts) -> Result<(), StoreError> {
    super::tell_of_people(parts).await;
    deliver(parts).await
}

/// Tries each message that is due once, a bounded number of them.
pub async fn deliver(parts: &Parts) -> Result<(), StoreError> {
    let Some(notify) = &parts.payments.config.reconciliation.notify else {
        return Ok(());
    };
    let now = parts.payments.now();
    let (store, until) = (&parts.store, after(now, LEASE));
    let due = store.claim_notifications(now, until, ROUND).await?;
    if due.is_empty() {
        return Ok(());
    }
    let client = client();
    let settled: Vec<Result<(), StoreError>> = stream::iter(due)
        .map(|message| {
            let client = client.as_ref();
            async move {
                let sent = match client {
                    Ok(client) => send(client, notify, &message, parts.payments.now()).await,
                    Err(error) => Err(Failed::because(error.to_string())),
                };
                settle(parts, &message, sent).await
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    store.forget_bodies(now).await?;
    settled.into_iter().collect()
}

fn client() -> reqwest::Result<Client> {
    Client::builder()
        .timeout(TIMEOUT)
        .redirect(Policy::none())
        .no_proxy()
        .user_agent(concat!("payment-runtime/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Why a delivery failed, and what the receiver said about the next one.
#[derive(Debug)]
struct Failed {
    why: String,
    gone: bool,
    pause: Duration,
}

impl Failed {
    fn because(why: String) -> Self {
        Self {
            why,
            gone: false,
            pause: Duration::ZERO,
        }
    }
}

async fn send(
    client: &Client,
    notify: &Notify,
    message: &Outgoing,
    now: Timestamp,
) -> Result<(), Failed> {
    let keys = secrets(&notify.secret_file).map_err(|error| Failed::because(error.to_string()))?;
    let (id, seconds) = (&message.message_id, now.as_second());
    let answer = client
        .post(&notify.url)
        .header("content-type", "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", seconds)
        .header(
            "webhook-signature",
            signature(&keys, id, seconds, &message.body),
        )
        .body(message.body.clone())
        .send()
        .await
        .map_err(|error| Failed::because(in_full(&error.without_url())))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    Err(Failed {
        why: format!("the receiver answered {status}"),
        gone: status == StatusCode::GONE,
        pause: asked_pause(answer.headers(), now),
    })
}

/// An error with its causes.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// How long the receiver wants to be left alone: seconds, or a moment (RFC 9110).
fn asked_pause(headers: &HeaderMap, now: Timestamp) -> Duration {
    let Some(text) = headers.get(RETRY_AFTER).and_then(|it| it.to_str().ok()) else {
        return Duration::ZERO;
    };
    let asked = match text.trim().parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => jiff::fmt::rfc2822::parse(text)
            .ok()
            .and_then(|at| Duration::try_from(at.timestamp().duration_since(now)).ok())
            .unwrap_or_default(),
    };
    asked.min(RETRY_AFTER_MAX)
}

async fn settle(
    parts: &Parts,
    message: &Outgoing,
    sent: Result<(), Failed>,
) -> Result<(), StoreError> {
    let (store, now) = (&parts.store, parts.payments.now());
    let failed = match sent {
        Ok(()) => return store.notification_sent(message, now).await,
        Err(failed) => failed,
    };
    let next = next_try(message.attempts, &failed).map(|pause| after(now, pause));
    let (id, kind, why) = (&message.message_id, &message.kind, &failed.why);
    tracing::warn!(
        id,
        kind,
        why,
        given_up = next.is_none(),
        "a message about differences was not delivered"
    );
    store.notification_failed(message, why, next, now).await
}

/// The pause before the next delivery; `None`: there is none.
fn next_try(attempts: u32, failed: &Failed) -> Option<Duration> {
    if failed.gone {
        return None;
    }
    let step = usize::try_from(attempts.saturating_sub(1)).ok()?;
    LADDER.get(step).map(|pause| failed.pause.max(*pause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ladder_ends_and_the_receiver_is_heard() {
        let failed = Failed::because(String::new());
        assert_eq!(next_try(1, &failed), Some(Duration::from_secs(5)));
        assert_eq!(next_try(9, &failed), Some(hours(24)));
        assert_eq!(next_try(10, &failed), None);
        let asked = Failed {
            pause: hours(1),
            ..Failed::because(String::new())
        };
        assert_eq!(next_try(1, &asked), Some(hours(1)));
        assert_eq!(next_try(4, &asked), Some(hours(2)));
        let gone = Failed {
            gone: true,
            ..Failed::because(String::new())
        };
        assert_eq!(next_try(1, &gone), None);
    }

    #[test]
    fn a_pause_is_asked_for_in_seconds_or_as_a_moment() {
        let now: Timestamp = "2026-11-22T08:00:00Z".parse().unwrap();
        let asked = |text: &'static str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            asked_pause(&headers, now).as_secs()
        };
        assert_eq!(asked("120"), 120);
        assert_eq!(asked("Sun, 22 Nov 2026 08:10:00 GMT"), 600);
        assert_eq!(asked("Sun, 22 Nov 2026 07:10:00 GMT"), 0);
        assert_eq!(asked("999999999"), 6 * 3600);
        assert_eq!(asked("soon"), 0);
    }
}
