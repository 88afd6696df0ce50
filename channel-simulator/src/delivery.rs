//! Sending callbacks, and the rest of what happens later.
//!
//! Due times are calendar times, so `POST /clock` brings them nearer. Every attempt is composed
//! anew from the book: a retried WeChat callback carries a fresh timestamp and signature. What
//! counts as acknowledged is each channel's own rule. Attempts in flight are bounded.
//!
//! Not here: how a callback looks (`wechat`, `alipay`), and a memory across restarts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::book::{PayError, RefundState};
use crate::callbacks::{Notice, Outgoing, Subject, Tamper, compose, new_payment};
use crate::faults::{Fault, Operation, Site};
use crate::{Channel, Simulator, book, clock, locked};

/// A receiver must have acknowledged by then.
const ACKNOWLEDGE_WITHIN: Duration = Duration::from_secs(5);
const IN_FLIGHT_MAX: usize = 256;
/// Longest sleep before the queue is looked at again, whatever it holds.
const SLEEP_MAX: Duration = Duration::from_hours(1);
const ANSWER_BYTES_MAX: usize = 64;
/// Calendar time between accepting a WeChat refund and its end.
const REFUND_SECONDS: i64 = 2;
const LATE_SECONDS: u64 = 60;
const REORDER_SECONDS: u64 = 60;

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
const WECHAT_LADDER_SECONDS: [i64; 15] = [
    15,
    15,
    30,
    3 * MINUTE,
    10 * MINUTE,
    20 * MINUTE,
    30 * MINUTE,
    30 * MINUTE,
    30 * MINUTE,
    HOUR,
    3 * HOUR,
    3 * HOUR,
    3 * HOUR,
    6 * HOUR,
    6 * HOUR,
];
const ALIPAY_LADDER_SECONDS: [i64; 7] = [
    4 * MINUTE,
    10 * MINUTE,
    10 * MINUTE,
    HOUR,
    2 * HOUR,
    6 * HOUR,
    15 * HOUR,
];

#[derive(Debug)]
struct Job {
    channel: Channel,
    out_trade_no: String,
    subject: Subject,
    notice_id: String,
    created: Timestamp,
    attempt: usize,
    /// Faults of the first attempt.
    copies: u8,
    forged_first: bool,
    signtest_first: bool,
}

#[derive(Debug)]
enum Task {
    Send(Job),
    SettleRefund {
        out_trade_no: String,
        out_refund_no: String,
        end: RefundState,
    },
}

type Due = (Timestamp, u64);

#[derive(Debug, Default)]
struct Queue {
    tasks: BTreeMap<Due, Task>,
    sequence: u64,
    /// Callbacks that wait for the next one of their channel.
    held: Vec<(Channel, Due)>,
}

#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    queue: Mutex<Queue>,
    changed: Notify,
}

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

impl Queue {
    fn put(&mut self, at: Timestamp, task: Task) -> Due {
        self.sequence += 1;
        let due = (at, self.sequence);
        self.tasks.insert(due, task);
        due
    }

    fn release_held(&mut self, channel: Channel, at: Timestamp) {
        let (free, held) = self.held.drain(..).partition(|(of, _)| *of == channel);
        self.held = held;
        let free: Vec<(Channel, Due)> = free;
        for (_, due) in free {
            if let Some(task) = self.tasks.remove(&due) {
                self.put(at, task);
            }
        }
    }
}

impl Deliveries {
    fn put(&self, at: Timestamp, task: Task) {
        locked(&self.queue).put(at, task);
        self.changed.notify_one();
    }

    /// To be called when the calendar has moved.
    pub(crate) fn wake(&self) {
        self.changed.notify_one();
    }

    fn take_due(&self, now: Timestamp) -> (Vec<Task>, Option<Timestamp>) {
        let mut queue = locked(&self.queue);
        let later = queue.tasks.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut queue.tasks, later);
        let next = queue.tasks.keys().next().map(|(at, _)| *at);
        (due.into_values().collect(), next)
    }
}

/// Sends what is due until told to stop.
pub(crate) async fn run(simulator: Arc<Simulator>, stop: CancellationToken) {
    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT_MAX));
    loop {
        let (due, next) = simulator.deliveries.take_due(simulator.clock.calendar());
        for task in due {
            match task {
                Task::SettleRefund {
                    out_trade_no,
                    out_refund_no,
                    end,
                } => {
                    settle(&simulator, &out_trade_no, out_refund_no, end);
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

fn after(from: Timestamp, seconds: i64) -> Timestamp {
    from.checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX)
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
    let charge = simulator.book(channel).pay(out_trade_no, payment)?.clone();
    schedule(simulator, channel, &charge.out_trade_no, Subject::Paid);
    Ok(charge)
}

/// The payer scans the code and does not pay yet.
pub(crate) fn open(
    simulator: &Simulator,
    channel: Channel,
    out_trade_no: &str,
) -> Result<book::Charge, PayError> {
    let now = clock::now();
    let number = new_payment(channel, now).transaction_id;
    simulator
        .book(channel)
        .open(out_trade_no, number, now)
        .cloned()
}

/// An accepted WeChat refund ends soon, as `end` says.
pub(crate) fn schedule_refund_end(simulator: &Simulator, refund: &book::Refund, end: RefundState) {
    let task = Task::SettleRefund {
        out_trade_no: refund.out_trade_no.clone(),
        out_refund_no: refund.out_refund_no.clone(),
        end,
    };
    simulator
        .deliveries
        .put(after(simulator.clock.calendar(), REFUND_SECONDS), task);
}

fn settle(simulator: &Simulator, out_trade_no: &str, out_refund_no: String, end: RefundState) {
    let mut book = simulator.book(Channel::Wechat);
    book.settle(out_trade_no, &out_refund_no, end, clock::now());
    let refund = book.refund_of(out_trade_no, &out_refund_no);
    let told = refund.is_some_and(|refund| !refund.notify_url.is_empty());
    drop(book);
    if told {
        schedule(
            simulator,
            Channel::Wechat,
            out_trade_no,
            Subject::Refunded(out_refund_no),
        );
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
        copies: if strikes(Fault::DuplicateCallback).is_some() {
            3
        } else {
            1
        },
        forged_first: strikes(Fault::ForgedCallback).is_some(),
        signtest_first: strikes(Fault::SigntestCallback).is_some(),
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

/// One rung of the ladder.
async fn attempt(simulator: &Simulator, mut job: Job) {
    let Some(mut notice) = Notice::read(simulator, job.channel, &job.out_trade_no, &job.subject)
    else {
        return;
    };
    notice.id.clone_from(&job.notice_id);
    notice.created = job.created;
    let first = job.attempt == 0;
    if first && job.forged_first {
        send(
            simulator,
            job.channel,
            notice.clone(),
            Some(Tamper::Signature),
        )
        .await;
    }
    let tamper = (first && job.signtest_first).then_some(Tamper::Signtest);
    let mut acknowledged = false;
    for _ in 0..if first { job.copies } else { 1 } {
        acknowledged |= send(simulator, job.channel, notice.clone(), tamper)
            .await
            .acknowledged;
    }
    if acknowledged {
        return;
    }
    let ladder: &[i64] = match job.channel {
        Channel::Wechat => &WECHAT_LADDER_SECONDS,
        Channel::Alipay => &ALIPAY_LADDER_SECONDS,
    };
    let Some(pause) = ladder.get(job.attempt) else {
        tracing::info!(out_trade_no = job.out_trade_no, "callback given up");
        return;
    };
    job.attempt += 1;
    simulator
        .deliveries
        .put(after(simulator.clock.calendar(), *pause), Task::Send(job));
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
    while body.len() <= ANSWER_BYTES_MAX
        && let Ok(Some(chunk)) = answer.chunk().await
    {
        body.extend_from_slice(&chunk);
    }
    let acknowledged = match channel {
        Channel::Wechat => status.is_success(),
        Channel::Alipay => status.is_success() && body == b"success",
    };
    Receipt {
        status: Some(status.as_u16()),
        acknowledged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(number: &str) -> Task {
        Task::SettleRefund {
            out_trade_no: number.to_owned(),
            out_refund_no: String::new(),
            end: RefundState::Success,
        }
    }

    fn numbers(tasks: Vec<Task>) -> Vec<String> {
        let number = |task| match task {
            Task::SettleRefund { out_trade_no, .. } => out_trade_no,
            Task::Send(job) => job.out_trade_no,
        };
        tasks.into_iter().map(number).collect()
    }

    #[test]
    fn what_is_due_comes_in_order_and_once() {
        let deliveries = Deliveries::default();
        let now = Timestamp::now();
        deliveries.put(after(now, 10), task("late"));
        deliveries.put(now, task("first"));
        deliveries.put(now, task("second"));
        let (due, next) = deliveries.take_due(now);
        assert_eq!(numbers(due), ["first", "second"]);
        assert_eq!(next, Some(after(now, 10)));
        assert_eq!(numbers(deliveries.take_due(after(now, 10)).0), ["late"]);
        assert!(deliveries.take_due(Timestamp::MAX).0.is_empty());
    }

    #[test]
    fn a_held_callback_follows_the_next_of_its_channel() {
        let mut queue = Queue::default();
        let now = Timestamp::now();
        let due = queue.put(after(now, 60), task("held"));
        queue.held.push((Channel::Wechat, due));
        queue.release_held(Channel::Alipay, now);
        assert_eq!(queue.held.len(), 1);
        queue.release_held(Channel::Wechat, after(now, 1));
        assert_eq!(queue.tasks.keys().next().unwrap().0, after(now, 1));
    }
}
