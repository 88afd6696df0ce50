//! Cross-request batching: what many requests record at the same moment is committed at once.
//!
//! A commit costs the same for one payment and for thirty. So there is one lane for all that is
//! written on the way to a 201; a call that finds it free goes at once, alone; those that come
//! while it commits wait and go together when it is free. An idle system waits for nothing, a busy
//! one as long as one commit takes, and at most 2 ms longer, for the batch to fill.
//!
//! Guarantees: each call gets its own outcome, and `Ok` only after the commit that holds it. What
//! a batch cannot decide (a key that exists, a payment that somebody else changed) is rolled back
//! and decided by the single transactions of [`Store`], as if there were no batches.
//!
//! Deliberately not here: SQL. Only what every payment needs is batched: recording it, and the
//! channel's first answer.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use payment_core::{ChannelKind, Decision, Source};
use tokio::sync::{Notify, oneshot};

use crate::ports::{Records, StoreError};
use crate::records::{
    self, Applied, AppliedRefund, AttemptInserted, Begun, Event, Finish, InboxEntry, Inserted,
    Left, NewInboxEntry, NewPayment, NewRefund, NewRequest, NextLook, OpenCounts, Page,
    PaymentRecord, RefundChange, RefundRecord, RequestKey, ReservedRefund, StoredAnswer,
};
use crate::store::Store;
use crate::store::batch::{Change, Held, Undone, Write, Written};

/// A batch of at least this many calls shows that the system is busy.
const BUSY_CALLS: usize = 16;
/// How long the next batch then waits at most for as many calls: those who have just been answered
/// come back with the next, and large batches need less processor time for each payment.
const GATHERING: Duration = Duration::from_millis(2);
/// Calls in one batch at most.
const CALLS_MAX: usize = 64;
/// Payments remembered between their two calls at most. The requests in flight are far fewer.
const FRESH_MAX: usize = 10_000;

/// [`Records`] that commits concurrent calls together.
pub struct Batched {
    store: Store,
    lane: Arc<Lane>,
    /// Payments as this process has just recorded them, until their channel's first answer.
    fresh: Mutex<HashMap<String, Fresh>>,
}

/// A payment just recorded, and the key of the request it came in.
struct Fresh {
    payment: PaymentRecord,
    key: Option<(RequestKey, u64)>,
}

/// Calls that wait, and at most one batch in flight. Two at a time were so much smaller that each
/// payment cost half as much processor time again, and came later.
struct Lane {
    store: Store,
    queue: Mutex<Queue>,
    /// As many calls wait as the next batch hopes for.
    gathered: Notify,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    is_busy: bool,
    /// How many calls the next batch waits for, while it does.
    hoped_for: Option<usize>,
}

struct Waiting {
    write: Write,
    answer: oneshot::Sender<Fate>,
}

/// What became of a call in its batch.
enum Fate {
    Done(Written),
    /// Rolled back with its batch: to be tried alone.
    Alone,
    Failed(StoreError),
}

/// Why a whole batch failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the commit of several payments failed")]
struct TogetherFailed(#[source] Arc<StoreError>);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lane {
    fn new(store: Store) -> Arc<Self> {
        Arc::new(Self {
            store,
            queue: Mutex::default(),
            gathered: Notify::new(),
        })
    }

    /// Hands a call in and waits for what becomes of it.
    async fn submit(self: &Arc<Self>, write: Write) -> Fate {
        let (answer, fate) = oneshot::channel();
        let begins = {
            let mut queue = locked(&self.queue);
            queue.waiting.push_back(Waiting { write, answer });
            if queue.hoped_for.is_some_and(|n| n <= queue.waiting.len()) {
                queue.hoped_for = None;
                self.gathered.notify_one();
            }
            !std::mem::replace(&mut queue.is_busy, true)
        };
        if begins {
            // A task of its own: the caller may give up, the others' payments may not.
            tokio::spawn(self.clone().run());
        }
        fate.await.unwrap_or_else(|_| {
            Fate::Failed(StoreError::Failed(
                "the batch ended without an answer".into(),
            ))
        })
    }

    /// Batch after batch until nothing waits.
    async fn run(self: Arc<Self>) {
        let mut running = Running {
            lane: &self,
            ended: false,
        };
        let mut held = Held::None;
        while let Some(batch) = self.next() {
            let size = batch.len();
            let (writes, answers): (Vec<_>, Vec<_>) =
                batch.into_iter().map(|w| (w.write, w.answer)).unzip();
            let outcome = self.store.write_together(&mut held, &writes).await;
            tell(answers, outcome);
            if size >= BUSY_CALLS {
                self.gather(size).await;
            }
        }
        running.ended = true;
    }

    /// Lets the next batch grow to `size` calls, but not for long.
    async fn gather(&self, size: usize) {
        {
            let mut queue = locked(&self.queue);
            if queue.waiting.len() >= size {
                return;
            }
            queue.hoped_for = Some(size);
        }
        let _ = tokio::time::timeout(GATHERING, self.gathered.notified()).await;
        locked(&self.queue).hoped_for = None;
    }

    /// What waits. `None`: nothing does, and the lane is free again.
    fn next(&self) -> Option<Vec<Waiting>> {
        let mut queue = locked(&self.queue);
        let size = queue.waiting.len().min(CALLS_MAX);
        if size == 0 {
            queue.is_busy = false;
            return None;
        }
        Some(queue.waiting.drain(..size).collect())
    }
}

/// Whoever works in the lane. If it ends in the middle, by a panic, what waits is given up, which
/// its callers are told, and the next call finds the lane free.
struct Running<'a> {
    lane: &'a Lane,
    ended: bool,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.ended {
            *locked(&self.lane.queue) = Queue::default();
        }
    }
}

/// A caller that no longer listens needs no answer.
fn tell(answers: Vec<oneshot::Sender<Fate>>, outcome: Result<Vec<Written>, Undone>) {
    match outcome {
        Ok(done) => {
            for (answer, done) in answers.into_iter().zip(done) {
                let _ = answer.send(Fate::Done(done));
            }
        }
        Err(Undone::RolledBack) => {
            for answer in answers {
                let _ = answer.send(Fate::Alone);
            }
        }
        Err(Undone::Unknown(error)) => {
            let error = TogetherFailed(Arc::new(error));
            for answer in answers {
                let error = StoreError::Failed(Box::new(error.clone()));
                let _ = answer.send(Fate::Failed(error));
            }
        }
    }
}

impl Batched {
    pub fn new(store: Store) -> Self {
        Self {
            lane: Lane::new(store.clone()),
            store,
            fresh: Mutex::new(HashMap::new()),
        }
    }

    fn remember(&self, payment: &PaymentRecord, key: Option<(RequestKey, u64)>) {
        let mut fresh = locked(&self.fresh);
        if fresh.len() >= FRESH_MAX {
            // Calls that never came back; the others' changes are then made alone.
            fresh.clear();
        }
        let payment = payment.clone();
        fresh.insert(payment.payment_no.clone(), Fresh { payment, key });
    }

    /// The change as a batch can write it: of a payment that this process has just recorded, and
    /// of nothing but what the first answer tells.
    fn change(
        &self,
        payment_no: &str,
        change: &records::Change,
        finish: Option<&Finish<'_>>,
    ) -> Option<(Change, Decision)> {
        let Fresh { payment, key } = locked(&self.fresh).remove(payment_no)?;
        let step = records::apply_evidence(&payment, change);
        let same = PaymentRecord {
            status: step.payment.status,
            action: step.payment.action.clone(),
            next_question_at: step.payment.next_question_at,
            updated_at: step.payment.updated_at,
            ..payment
        };
        let posts = !step.entries.is_empty();
        if same != step.payment || posts || change.evidence.source != Source::SyncAnswer {
            return None;
        }
        let answer = match finish {
            None => None,
            Some(finish) => {
                let (_, id) = key.filter(|(key, _)| key == finish.key)?;
                Some((id, (finish.answer)(&step.payment)))
            }
        };
        let change = Change {
            event: step.event?,
            payment: step.payment,
            answer,
        };
        Some((change, step.decision))
    }
}

#[async_trait]
impl Records for Batched {
    async fn insert(
        &self,
        new: &NewPayment,
        request: Option<&NewRequest>,
    ) -> Result<Inserted, StoreError> {
        let write = Write::Insert(Box::new(new.clone()), request.cloned());
        match self.lane.submit(write).await {
            Fate::Done(Written::Inserted(payment, key)) => {
                let key = request.map(|request| request.key.clone()).zip(key);
                self.remember(&payment, key);
                Ok(Inserted::New(*payment))
            }
            Fate::Done(Written::Changed) | Fate::Alone => self.store.insert(new, request).await,
            Fate::Failed(error) => Err(error),
        }
    }

    async fn apply(
        &self,
        payment_no: &str,
        change: &records::Change,
        finish: Option<&Finish<'_>>,
    ) -> Result<Applied, StoreError> {
        let Some((call, decision)) = self.change(payment_no, change, finish) else {
            return self.store.apply(payment_no, change, finish).await;
        };
        let (payment, answer) = (call.payment.clone(), call.answer.clone());
        match self.lane.submit(Write::Change(Box::new(call))).await {
            Fate::Done(_) => Ok(Applied {
                payment,
                decision,
                answer: answer.map(|(_, answer)| answer),
            }),
            Fate::Alone => self.store.apply(payment_no, change, finish).await,
            Fate::Failed(error) => Err(error),
        }
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.store.ping().await
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.store.now().await
    }

    async fn insert_attempt(
        &self,
        previous: &str,
        new: &NewPayment,
    ) -> Result<AttemptInserted, StoreError> {
        self.store.insert_attempt(previous, new).await
    }

    async fn payment(&self, payment_no: &str) -> Result<Option<PaymentRecord>, StoreError> {
        self.store.payment(payment_no).await
    }

    async fn payment_of_order(&self, order_id: &str) -> Result<Option<PaymentRecord>, StoreError> {
        self.store.payment_of_order(order_id).await
    }

    async fn payments_of_order(&self, order_id: &str) -> Result<Vec<PaymentRecord>, StoreError> {
        self.store.payments_of_order(order_id).await
    }

    async fn payment_of_channel_order(
        &self,
        channel: ChannelKind,
        channel_order_no: &str,
    ) -> Result<Option<PaymentRecord>, StoreError> {
        self.store
            .payment_of_channel_order(channel, channel_order_no)
            .await
    }

    async fn payments(&self, before: Option<u64>, limit: u32) -> Result<Page, StoreError> {
        self.store.payments(before, limit).await
    }

    async fn events(
        &self,
        payment_no: &str,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        self.store.events(payment_no, after, limit).await
    }

    async fn reopen(
        &self,
        payment_no: &str,
        now: Timestamp,
    ) -> Result<Option<PaymentRecord>, StoreError> {
        self.store.reopen(payment_no, now).await
    }

    async fn claim_due(
        &self,
        now: Timestamp,
        lease_seconds: u64,
        limit: u32,
    ) -> Result<Vec<PaymentRecord>, StoreError> {
        self.store.claim_due(now, lease_seconds, limit).await
    }

    async fn release(&self, payment_no: &str, next: NextLook) -> Result<(), StoreError> {
        self.store.release(payment_no, next).await
    }

    async fn open_counts(&self) -> Result<OpenCounts, StoreError> {
        self.store.open_counts().await
    }

    async fn reserve_refund(&self, new: &NewRefund) -> Result<ReservedRefund, StoreError> {
        self.store.reserve_refund(new).await
    }

    async fn refund(
        &self,
        payment_no: &str,
        refund_no: &str,
    ) -> Result<Option<RefundRecord>, StoreError> {
        self.store.refund(payment_no, refund_no).await
    }

    async fn refunds(&self, payment_no: &str) -> Result<Vec<RefundRecord>, StoreError> {
        self.store.refunds(payment_no).await
    }

    async fn refund_of_channel_number(
        &self,
        channel: ChannelKind,
        channel_refund_no: &str,
    ) -> Result<Option<RefundRecord>, StoreError> {
        self.store
            .refund_of_channel_number(channel, channel_refund_no)
            .await
    }

    async fn apply_refund(
        &self,
        payment_no: &str,
        refund_no: &str,
        change: &RefundChange,
    ) -> Result<AppliedRefund, StoreError> {
        self.store.apply_refund(payment_no, refund_no, change).await
    }

    async fn claim_due_refunds(
        &self,
        now: Timestamp,
        lease_seconds: u64,
        limit: u32,
    ) -> Result<Vec<RefundRecord>, StoreError> {
        self.store
            .claim_due_refunds(now, lease_seconds, limit)
            .await
    }

    async fn release_refund(
        &self,
        payment_no: &str,
        refund_no: &str,
        next_question_at: Timestamp,
    ) -> Result<(), StoreError> {
        self.store
            .release_refund(payment_no, refund_no, next_question_at)
            .await
    }

    async fn keep_callback(
        &self,
        new: &NewInboxEntry,
        retry_at: Timestamp,
    ) -> Result<Option<u64>, StoreError> {
        self.store.keep_callback(new, retry_at).await
    }

    async fn claim_callbacks(
        &self,
        now: Timestamp,
        again_at: Timestamp,
        limit: u32,
    ) -> Result<Vec<InboxEntry>, StoreError> {
        self.store.claim_callbacks(now, again_at, limit).await
    }

    async fn settle_callback(
        &self,
        id: u64,
        outcome: &str,
        again_at: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        self.store.settle_callback(id, outcome, again_at).await
    }

    async fn begin_request(&self, new: &NewRequest) -> Result<Begun, StoreError> {
        self.store.begin_request(new).await
    }

    async fn finish_request(
        &self,
        key: &RequestKey,
        answer: &StoredAnswer,
    ) -> Result<StoredAnswer, StoreError> {
        self.store.finish_request(key, answer).await
    }

    async fn give_up_request(
        &self,
        key: &RequestKey,
        left: Left,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.store.give_up_request(key, left, now).await
    }

    async fn purge_requests(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.store.purge_requests(before, limit).await
    }
}
