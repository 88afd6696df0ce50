//! What happens later, by due time on the calendar, and the ladders of repeats.

use std::collections::BTreeMap;
use std::sync::Mutex;

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::book::RefundState;
use crate::callbacks::{Subject, Tamper};
use crate::{Channel, locked};

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

/// The pause before the attempt after `attempt` (counted from 0); `None`: there is none.
pub(super) fn pause_seconds(channel: Channel, attempt: usize) -> Option<i64> {
    let ladder: &[i64] = match channel {
        Channel::Wechat => &WECHAT_LADDER_SECONDS,
        Channel::Alipay => &ALIPAY_LADDER_SECONDS,
    };
    ladder.get(attempt).copied()
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) channel: Channel,
    pub(super) out_trade_no: String,
    pub(super) subject: Subject,
    pub(super) notice_id: String,
    pub(super) created: Timestamp,
    pub(super) attempt: usize,
    pub(super) faults: CallbackFaults,
}

/// What is wrong with a callback's delivery on purpose.
#[derive(Debug, Default)]
pub(super) struct CallbackFaults {
    /// Sent before the first attempt.
    pub(super) lies: Vec<Tamper>,
    pub(super) duplicated: bool,
    /// The first acknowledgement is not heard.
    pub(super) deaf: bool,
    pub(super) first: Option<Tamper>,
    /// Of every attempt.
    pub(super) always: Option<Tamper>,
}

#[derive(Debug)]
pub(super) enum Task {
    Send(Job),
    SettleRefund {
        channel: Channel,
        out_trade_no: String,
        out_refund_no: String,
        end: RefundState,
    },
}

type Due = (Timestamp, u64);

#[derive(Debug, Default)]
pub(super) struct Queue {
    tasks: BTreeMap<Due, Task>,
    sequence: u64,
    /// Callbacks that wait for the next one of their channel.
    pub(super) held: Vec<(Channel, Due)>,
}

#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    pub(super) queue: Mutex<Queue>,
    pub(super) changed: Notify,
}

impl Queue {
    pub(super) fn put(&mut self, at: Timestamp, task: Task) -> Due {
        self.sequence += 1;
        let due = (at, self.sequence);
        self.tasks.insert(due, task);
        due
    }

    pub(super) fn release_held(&mut self, channel: Channel, at: Timestamp) {
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
    pub(super) fn put(&self, at: Timestamp, task: Task) {
        locked(&self.queue).put(at, task);
        self.changed.notify_one();
    }

    /// To be called when the calendar has moved.
    pub(crate) fn wake(&self) {
        self.changed.notify_one();
    }

    pub(super) fn take_due(&self, now: Timestamp) -> (Vec<Task>, Option<Timestamp>) {
        let mut queue = locked(&self.queue);
        let later = queue.tasks.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut queue.tasks, later);
        let next = queue.tasks.keys().next().map(|(at, _)| *at);
        (due.into_values().collect(), next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::after;

    fn task(number: &str) -> Task {
        Task::SettleRefund {
            channel: Channel::Wechat,
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
