//! Cross-request batching: what many requests record at the same moment is committed at once.
//!
//! A commit costs the same for one payment and for thirty. So there is a lane for each kind of
//! call; one that finds it free goes at once, alone; those that come while it commits wait and go
//! together when it is free. There is no timer: an idle system waits for nothing, a busy one as
//! long as one commit takes.
//!
//! Guarantees: each call gets its own outcome, and `Ok` only after the commit that holds it. What
//! a batch cannot decide (a key that exists, a payment that somebody else changed) is rolled back
//! and decided by the single transactions of [`Store`], as if there were no batches.
//!
//! Deliberately not here: SQL. Only what every payment needs is batched: recording it, and the
//! channel's first answer.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use payment_core::{ChannelKind, Decision, Source};
use tokio::sync::oneshot;

use crate::ports::{Records, StoreError};
use crate::records::{
    self, Applied, AppliedRefund, AttemptInserted, Begun, Event, Finish, InboxEntry, Inserted,
    Left, NewInboxEntry, NewPayment, NewRefund, NewRequest, NextLook, OpenCounts, Page,
    PaymentRecord, RefundChange, RefundRecord, RequestKey, ReservedRefund, StoredAnswer,
};
use crate::store::Store;
use crate::store::batch::{Change, Insert, Undone};

/// Batches of one kind in flight. With two, batches were so much smaller that each payment cost
/// half as much processor time again, and came later.
const LANES: usize = 1;
/// Calls in one batch at most.
const CALLS_MAX: usize = 64;
/// Payments remembered between their two calls at most. The requests in flight are far fewer.
const FRESH_MAX: usize = 10_000;

/// [`Records`] that commits concurrent calls together.
pub struct Batched {
    store: Store,
    inserts: Arc<Lanes<Insert, PaymentRecord>>,
    changes: Arc<Lanes<Change, ()>>,
    /// Payments as this process has just recorded them, until their channel's first answer.
    fresh: Mutex<HashMap<String, PaymentRecord>>,
}

/// Calls of one kind that wait, and how many batches may begin.
struct Lanes<Call, Done> {
    queue: Mutex<Queue<Call, Done>>,
}

struct Queue<Call, Done> {
    waiting: VecDeque<Waiting<Call, Done>>,
    free: usize,
}

struct Waiting<Call, Done> {
    call: Call,
    answer: oneshot::Sender<Fate<Done>>,
}

/// What became of a call in its batch.
enum Fate<Done> {
    Done(Done),
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

impl<Call, Done> Lanes<Call, Done>
where
    Call: Send + 'static,
    Done: Send + 'static,
{
    fn new() -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::new(Queue {
                waiting: VecDeque::new(),
                free: LANES,
            }),
        })
    }

    /// Hands a call in and waits for what becomes of it. `commit` writes a batch.
    async fn submit<F>(
        self: &Arc<Self>,
        call: Call,
        commit: impl Fn(Vec<Call>) -> F + Send + 'static,
    ) -> Fate<Done>
    where
        F: Future<Output = Result<Vec<Done>, Undone>> + Send,
    {
        let (answer, fate) = oneshot::channel();
        let begin = {
            let mut queue = locked(&self.queue);
            queue.waiting.push_back(Waiting { call, answer });
            let begin = queue.free > 0;
            queue.free -= usize::from(begin);
            begin
        };
        if begin {
            // A task of its own: the caller may give up, the others' payments may not.
            let lanes = self.clone();
            tokio::spawn(async move { lanes.run(commit).await });
        }
        fate.await.unwrap_or_else(|_| {
            Fate::Failed(StoreError::Failed(
                "the batch ended without an answer".into(),
            ))
        })
    }

    /// One lane: batch after batch until nothing waits.
    async fn run<F>(&self, commit: impl Fn(Vec<Call>) -> F)
    where
        F: Future<Output = Result<Vec<Done>, Undone>>,
    {
        loop {
            let Some(batch) = self.next() else { return };
            let (calls, answers): (Vec<_>, Vec<_>) =
                batch.into_iter().map(|w| (w.call, w.answer)).unzip();
            tell(answers, commit(calls).await);
        }
    }

    /// What waits. `None`: nothing does, and the lane is free again.
    fn next(&self) -> Option<Vec<Waiting<Call, Done>>> {
        let mut queue = locked(&self.queue);
        let size = queue.waiting.len().min(CALLS_MAX);
        if size == 0 {
            queue.free += 1;
            return None;
        }
        Some(queue.waiting.drain(..size).collect())
    }
}

/// A caller that no longer listens needs no answer.
fn tell<Done>(answers: Vec<oneshot::Sender<Fate<Done>>>, outcome: Result<Vec<Done>, Undone>) {
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
            store,
            inserts: Lanes::new(),
            changes: Lanes::new(),
            fresh: Mutex::new(HashMap::new()),
        }
    }

    fn remember(&self, payment: &PaymentRecord) {
        let mut fresh = locked(&self.fresh);
        if fresh.len() >= FRESH_MAX {
            // Calls that never came back; the others' changes are then made alone.
            fresh.clear();
        }
        fresh.insert(payment.payment_no.clone(), payment.clone());
    }

    /// The change as a batch can write it: of a payment that this process has just recorded, and
    /// of nothing but what the first answer tells.
    fn change(
        &self,
        payment_no: &str,
        change: &records::Change,
        finish: Option<&Finish<'_>>,
    ) -> Option<(Change, Decision)> {
        let before = locked(&self.fresh).remove(payment_no)?;
        let step = records::apply_evidence(&before, change);
        let same = PaymentRecord {
            status: step.payment.status,
            action: step.payment.action.clone(),
            next_question_at: step.payment.next_question_at,
            updated_at: step.payment.updated_at,
            ..before
        };
        let posts = !step.entries.is_empty();
        if same != step.payment || posts || change.evidence.source != Source::SyncAnswer {
            return None;
        }
        let answer = finish.map(|finish| (finish.key.clone(), (finish.answer)(&step.payment)));
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
        let store = self.store.clone();
        let commit = move |calls: Vec<Insert>| {
            let store = store.clone();
            async move { store.insert_together(&calls).await }
        };
        let call = (new.clone(), request.cloned());
        let inserted = match self.inserts.submit(call, commit).await {
            Fate::Done(payment) => Inserted::New(payment),
            Fate::Alone => self.store.insert(new, request).await?,
            Fate::Failed(error) => return Err(error),
        };
        if let Inserted::New(payment) = &inserted {
            self.remember(payment);
        }
        Ok(inserted)
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
        let store = self.store.clone();
        let commit = move |calls: Vec<Change>| {
            let store = store.clone();
            async move {
                store.change_together(&calls).await?;
                Ok(vec![(); calls.len()])
            }
        };
        match self.changes.submit(call, commit).await {
            Fate::Done(()) => Ok(Applied {
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
