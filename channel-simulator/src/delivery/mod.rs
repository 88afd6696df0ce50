//! Sending callbacks, and the rest of what happens later.
//!
//! Due times are calendar times, so `POST /clock` brings them nearer. Every attempt is composed
//! anew from the book: a retried WeChat callback carries a fresh timestamp and signature. What
//! counts as acknowledged is each channel's own rule. Attempts in flight are bounded.
//!
//! Not here: how a callback looks (`wechat`, `alipay`), and a memory across restarts.

mod queue;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::book::{PayError, RefundState};
use crate::callbacks::{Notice, Outgoing, Subject, Tamper, compose, new_payment};
use crate::clock::after;
use crate::faults::{Fault, Operation, Site};
use crate::{Channel, Simulator, book, clock, locked};
use queue::{CallbackFaults, Job, Task, pause_seconds};

pub(crate) use queue::Deliveries;

/// A receiver must have acknowledged by then.
const ACKNOWLEDGE_WITHIN: Duration = Duration::from_secs(5);
const IN_FLIGHT_MAX: usize = 256;
/// Longest sleep before the queue is looked at again, whatever it holds.
const SLEEP_MAX: Duration = Duration::from_hours(1);
const ANSWER_BYTES_MAX: usize = 64;
/// Calendar time between accepting a WeChat refund and its end.
const REFUND_SECONDS: u64 = 2;
const REFUND_SLOW_SECONDS: u64 = 86_400;
const REFUND_FAILED_SECONDS: u64 = 60;
const COPIES: usize = 3;
const LATE_SECONDS: u64 = 60;
const REORDER_SECONDS: u64 = 60;

/// How a receiver answered.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(crate) struct Receipt {
    /// Absent: no answer within five seconds, or no connection.
    pub(crate) status: Option<u16>,
    pub(crate) acknowledged: bool,
}

pub(crate) fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .timeout(ACKNOWLEDGE_WITHIN)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent("Mozilla/4.0")
        .build()
}

/// Sends what is due until told to stop.
pub(crate) async fn run(simulator: Arc<Simulator>, stop: CancellationToken) {
    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    loop {
        let (due, next) = simulator.deliveries.take_due(simulator.clock.calendar());
        for task in due {
            match task {
                Task::SettleRefund {
                    channel,
                    out_trade_no,
                    out_refund_no,
                    end,
                } => {
                    settle(&simulator, channel, &out_trade_no, out_refund_no, end);
                }
                Task::Send(job) => {
                    let Some(Ok(permit)) = stop
                        .run_until_cancelled(Arc::clone(&in_flight).acquire_owned())
                        .await
                    else {
                        return;
                    };
                    let (simulator, stop) = (Arc::clone(&simulator), stop.clone());
                    tokio::spawn(async move {
                        stop.run_until_cancelled(attempt(&simulator, job)).await;
                        drop(permit);
                    });
                }
            }
        }
        let wait = next.map_or(SLEEP_MAX, |next| until(next, simulator.clock.calendar()));
        tokio::select! {
            () = stop.cancelled() => return,
            () = simulator.deliveries.changed.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

fn until(next: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(next.duration_since(now))
        .unwrap_or_default()
        .min(SLEEP_MAX)
}

fn after_unsigned(from: Timestamp, seconds: u64) -> Timestamp {
    after(from, i64::try_from(seconds).unwrap_or(i64::MAX))
}

/// The payer pays: the book decides, the callback follows.
pub(crate) fn pay(
    simulator: &Simulator,
    channel: Channel,
    out_trade_no: &str,
) -> Result<book::Charge, PayError> {
    let payment = new_payment(channel, clock::now());
    let calendar = simulator.clock.calendar();
    let charge = simulator
        .book(channel)
        .pay(out_trade_no, payment, calendar)?
        .clone();
    schedule(simulator, channel, &charge.out_trade_no, Subject::Paid);
    Ok(charge)
}

/// The payer scans the code and does not pay yet.
pub(crate) fn open(
    simulator: &Simulator,
    channel: Channel,
    out_trade_no: &str,
) -> Result<book::Charge, PayError> {
    let now = simulator.clock.moment();
    let number = new_payment(channel, now.wall).transaction_id;
    simulator
        .book(channel)
        .open(out_trade_no, number, now)
        .cloned()
}

/// How an accepted refund goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RefundEnd {
    pub(crate) state: RefundState,
    /// Of calendar time.
    pub(crate) seconds: u64,
}

impl RefundEnd {
    /// What the faults say; `None`: they say nothing.
    pub(crate) fn drawn(simulator: &Simulator, site: &Site<'_>) -> Option<Self> {
        let strikes = |fault| simulator.faults.strikes(fault, site);
        let later = |fault, state, seconds| {
            strikes(fault).map(|fired| Self {
                state,
                seconds: fired.seconds.unwrap_or(seconds),
            })
        };
        later(Fault::RefundAbnormal, RefundState::Abnormal, REFUND_SECONDS)
            .or_else(|| later(Fault::RefundClosed, RefundState::Closed, REFUND_SECONDS))
            .or_else(|| {
                later(
                    Fault::RefundFailedLater,
                    RefundState::Closed,
                    REFUND_FAILED_SECONDS,
                )
            })
            .or_else(|| later(Fault::RefundSlow, RefundState::Success, REFUND_SLOW_SECONDS))
    }

    pub(crate) const fn success() -> Self {
        Self {
            state: RefundState::Success,
            seconds: REFUND_SECONDS,
        }
    }
}

pub(crate) fn schedule_refund_end(
    simulator: &Simulator,
    channel: Channel,
    refund: &book::Refund,
    end: RefundEnd,
) {
    let task = Task::SettleRefund {
        channel,
        out_trade_no: refund.out_trade_no.clone(),
        out_refund_no: refund.out_refund_no.clone(),
        end: end.state,
    };
    let at = after_unsigned(simulator.clock.calendar(), end.seconds);
    simulator.deliveries.put(at, task);
}

/// Alipay tells of refunds that moved money only.
fn settle(
    simulator: &Simulator,
    channel: Channel,
    out_trade_no: &str,
    out_refund_no: String,
    end: RefundState,
) {
    let mut book = simulator.book(channel);
    book.settle(out_trade_no, &out_refund_no, end, clock::now());
    let refund = book.refund_of(out_trade_no, &out_refund_no);
    let told = refund.is_some_and(|refund| {
        let moved = refund.state == RefundState::Success;
        !refund.notify_url.is_empty() && (moved || channel == Channel::Wechat)
    });
    drop(book);
    if told {
        let subject = Subject::Refunded(out_refund_no);
        schedule(simulator, channel, out_trade_no, subject);
    }
}

/// Queues a callback, with the faults armed for it.
pub(crate) fn schedule(
    simulator: &Simulator,
    channel: Channel,
    out_trade_no: &str,
    subject: Subject,
) {
    let site = Site {
        channel,
        operation: Operation::Callback,
        out_trade_no: Some(out_trade_no),
        caller: None,
    };
    let strikes = |fault| simulator.faults.strikes(fault, &site);
    if strikes(Fault::MissingCallback).is_some() {
        return;
    }
    let now = simulator.clock.calendar();
    let late = strikes(Fault::LateCallback);
    let start = late.map_or(now, |f| {
        after_unsigned(now, f.seconds.unwrap_or(LATE_SECONDS))
    });
    let job = Job {
        channel,
        out_trade_no: out_trade_no.to_owned(),
        subject,
        notice_id: uuid::Uuid::new_v4().to_string(),
        created: clock::now(),
        attempt: 0,
        faults: callback_faults(|fault| strikes(fault).is_some()),
    };
    let reordered = strikes(Fault::ReorderedCallback).is_some();
    let mut queue = locked(&simulator.deliveries.queue);
    if reordered {
        let due = queue.put(after_unsigned(start, REORDER_SECONDS), Task::Send(job));
        queue.held.push((channel, due));
    } else {
        queue.put(start, Task::Send(job));
        queue.release_held(channel, after(start, 1));
    }
    drop(queue);
    simulator.deliveries.wake();
}

fn callback_faults(strikes: impl Fn(Fault) -> bool) -> CallbackFaults {
    let lies = [
        (Fault::ForgedCallback, Tamper::Signature),
        (Fault::WrongAmountCallback, Tamper::Amount),
        (Fault::WrongAppCallback, Tamper::App),
    ];
    let always = [
        (Fault::OtherKeyCallback, Tamper::OtherKey),
        (Fault::EmptyValueKeptCallback, Tamper::EmptyKept),
        (Fault::EmptyValueDroppedCallback, Tamper::EmptyDropped),
    ];
    let mut struck = always.into_iter().filter(|(fault, _)| strikes(*fault));
    let always = struck.next().map(|(_, tamper)| tamper);
    let told = lies.into_iter().filter(|(fault, _)| strikes(*fault));
    CallbackFaults {
        lies: told.map(|(_, tamper)| tamper).collect(),
        duplicated: strikes(Fault::DuplicateCallback),
        deaf: strikes(Fault::AckTimeout),
        first: strikes(Fault::SigntestCallback).then_some(Tamper::Signtest),
        always,
    }
}

/// One rung of the ladder.
async fn attempt(simulator: &Simulator, mut job: Job) {
    let Some(mut notice) = Notice::read(simulator, job.channel, &job.out_trade_no, &job.subject)
    else {
        return;
    };
    notice.id.clone_from(&job.notice_id);
    notice.created = job.created;
    let first = job.attempt == 0;
    let faults = &job.faults;
    for lie in faults.lies.iter().filter(|_| first) {
        send(simulator, job.channel, notice.clone(), Some(*lie)).await;
    }
    let tamper = faults.first.filter(|_| first).or(faults.always);
    let copies = if first && faults.duplicated {
        COPIES
    } else {
        1
    };
    let mut acknowledged = false;
    for _ in 0..copies {
        let receipt = send(simulator, job.channel, notice.clone(), tamper).await;
        acknowledged |= receipt.acknowledged;
    }
    if acknowledged && !(first && faults.deaf) {
        return;
    }
    let Some(pause) = pause_seconds(job.channel, job.attempt) else {
        tracing::info!(out_trade_no = job.out_trade_no, "callback given up");
        return;
    };
    job.attempt += 1;
    simulator
        .deliveries
        .put(after(simulator.clock.calendar(), pause), Task::Send(job));
}

/// Sends one callback now and says how it was received.
pub(crate) async fn send(
    simulator: &Simulator,
    channel: Channel,
    notice: Notice,
    tamper: Option<Tamper>,
) -> Receipt {
    let number = notice.charge.out_trade_no.clone();
    let receipt = match compose(simulator, channel, notice, tamper) {
        Ok(outgoing) if outgoing.url.is_empty() => Receipt {
            status: None,
            acknowledged: true,
        },
        Ok(outgoing) => post(simulator, channel, outgoing).await,
        Err(error) => {
            tracing::error!(%error, "cannot compose a callback");
            Receipt {
                status: None,
                acknowledged: false,
            }
        }
    };
    tracing::debug!(%channel, out_trade_no = number, status = receipt.status,
        acknowledged = receipt.acknowledged, "callback sent");
    receipt
}

async fn post(simulator: &Simulator, channel: Channel, outgoing: Outgoing) -> Receipt {
    let mut request = simulator.http.post(&outgoing.url).body(outgoing.body);
    for (name, value) in outgoing.headers {
        request = request.header(name, value);
    }
    let mut answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::debug!(%error, "callback not answered");
            return Receipt {
                status: None,
                acknowledged: false,
            };
        }
    };
    let status = answer.status();
    let mut body = Vec::new();
    let whole = loop {
        match answer.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => break true,
            // The five seconds are for the whole answer, not for its first line.
            Err(_) => break false,
        }
        if body.len() > ANSWER_BYTES_MAX {
            break true;
        }
    };
    let acknowledged = whole
        && match channel {
            Channel::Wechat => matches!(status.as_u16(), 200 | 204),
            Channel::Alipay => status.is_success() && body == b"success",
        };
    Receipt {
        status: Some(status.as_u16()),
        acknowledged,
    }
}
