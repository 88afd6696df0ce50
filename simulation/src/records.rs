//! The records as one process sees them: the world's database, behind points at which it fails.
//!
//! Guarantees: each effect is one step of the world, so it happened or it did not, and the
//! invariants look at what it changed before anything else happens.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use payment_core::ChannelKind;
use payment_runtime::ports::{Records, StoreError};
use payment_runtime::records::{
    Applied, AppliedRefund, AttemptInserted, Begun, Change, Event, Finish, InboxEntry, Inserted,
    Left, NewInboxEntry, NewPayment, NewRefund, NewRequest, NextLook, OpenCounts, Page,
    PaymentRecord, RefundChange, RefundRecord, RequestKey, ReservedRefund, StoredAnswer, after,
};

use crate::database::Database;
use crate::invariants::commits;
use crate::points::{Point, Site};
use crate::process::{Life, Role};

/// A worker that finds nothing to do looks again at the latest after this.
const IDLE_MAX: Duration = Duration::from_hours(1);

/// One process's connection to the database.
pub struct LivingRecords {
    life: Arc<Life>,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Trouble(&'static str);

fn trouble(why: &'static str) -> StoreError {
    StoreError::Failed(Box::new(Trouble(why)))
}

/// One transaction with everything that can go wrong around it.
pub async fn through<T>(
    life: &Arc<Life>,
    site: Site,
    effect: impl FnOnce(&mut Database) -> Result<T, StoreError> + Send,
) -> Result<T, StoreError> {
    let world = &life.world;
    let rate = world.profile.database_fault_rate;
    if life.at(Point::before(site), rate).await {
        let name = site.as_str();
        world.say(life.name, || {
            format!("{name}: the database failed, nothing was done")
        });
        return Err(trouble("deadlock, or the connection broke"));
    }
    let pause = world.chance().millis(0, 3);
    life.sleep(pause).await;
    if world.database_is_away() {
        life.sleep(Duration::from_millis(200)).await;
        return Err(trouble("no connection"));
    }
    let done = {
        let mut database = world.database();
        let done = effect(&mut database);
        let changes = database.take_commits();
        drop(database);
        commits::look(world, life, &changes);
        done
    };
    world.changed.notify_waiters();
    if life.at(Point::after(site), rate).await {
        let name = site.as_str();
        world.say(life.name, || {
            format!("{name}: done, but the answer was lost")
        });
        return Err(trouble("the connection broke after the commit"));
    }
    done
}

impl LivingRecords {
    pub const fn new(life: Arc<Life>) -> Self {
        Self { life }
    }

    async fn through<T>(
        &self,
        site: Site,
        effect: impl FnOnce(&mut Database) -> Result<T, StoreError> + Send,
    ) -> Result<T, StoreError> {
        through(&self.life, site, effect).await
    }

    /// An idle look at the queues changes nothing, so a worker's time jumps to the next moment at
    /// which there is something to do.
    /// Returns how long that was: the caller read its clock before.
    async fn until_something_is_due(&self) -> Duration {
        if self.life.role != Role::Worker {
            return Duration::ZERO;
        }
        let began = tokio::time::Instant::now();
        let deadline = began + IDLE_MAX;
        loop {
            let wait = self.idle_for();
            if wait.is_zero() || tokio::time::Instant::now() >= deadline {
                break;
            }
            let end = deadline.min(tokio::time::Instant::now() + wait);
            tokio::select! {
                biased;
                () = self.life.stop.cancelled() => break,
                () = self.life.died.cancelled() => break,
                () = self.life.world.changed.notified() => {}
                () = tokio::time::sleep_until(end) => {}
            }
        }
        began.elapsed()
    }

    fn idle_for(&self) -> Duration {
        use payment_runtime::ports::Host as _;
        let Some(due) = self.life.world.database().next_due() else {
            return IDLE_MAX;
        };
        let wait = due.duration_since(self.life.now());
        Duration::try_from(wait).unwrap_or_default()
    }
}

#[async_trait]
impl Records for LivingRecords {
    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        let world = &self.life.world;
        self.through(Site::Now, |_| Ok(world.now())).await
    }

    async fn insert(
        &self,
        new: &NewPayment,
        request: Option<&NewRequest>,
    ) -> Result<Inserted, StoreError> {
        self.through(Site::Insert, |db| Ok(db.insert(new, request)))
            .await
    }

    async fn insert_attempt(
        &self,
        previous: &str,
        new: &NewPayment,
    ) -> Result<AttemptInserted, StoreError> {
        self.through(Site::InsertAttempt, |db| db.insert_attempt(previous, new))
            .await
    }

    async fn payment(&self, payment_no: &str) -> Result<Option<PaymentRecord>, StoreError> {
        self.through(Site::Payment, |db| Ok(db.payment(payment_no)))
            .await
    }

    async fn payment_of_order(&self, order_id: &str) -> Result<Option<PaymentRecord>, StoreError> {
        self.through(Site::PaymentOfOrder, |db| Ok(db.payment_of_order(order_id)))
            .await
    }

    async fn payments_of_order(&self, order_id: &str) -> Result<Vec<PaymentRecord>, StoreError> {
        self.through(Site::PaymentsOfOrder, |db| {
            Ok(db.payments_of_order(order_id))
        })
        .await
    }

    async fn payment_of_channel_order(
        &self,
        channel: ChannelKind,
        channel_order_no: &str,
    ) -> Result<Option<PaymentRecord>, StoreError> {
        let find = |db: &mut Database| Ok(db.payment_of_channel_order(channel, channel_order_no));
        self.through(Site::PaymentOfChannelOrder, find).await
    }

    async fn payments(&self, before: Option<u64>, limit: u32) -> Result<Page, StoreError> {
        self.through(Site::Payments, |db| Ok(db.payments(before, limit)))
            .await
    }

    async fn events(
        &self,
        payment_no: &str,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        self.through(Site::Events, |db| Ok(db.events(payment_no, after, limit)))
            .await
    }

    async fn apply(
        &self,
        payment_no: &str,
        change: &Change,
        finish: Option<&Finish<'_>>,
    ) -> Result<Applied, StoreError> {
        self.through(Site::Apply, |db| db.apply(payment_no, change, finish))
            .await
    }

    async fn reopen(
        &self,
        payment_no: &str,
        now: Timestamp,
    ) -> Result<Option<PaymentRecord>, StoreError> {
        self.through(Site::Reopen, |db| db.reopen(payment_no, now))
            .await
    }

    async fn claim_due(
        &self,
        now: Timestamp,
        lease_seconds: u64,
        limit: u32,
    ) -> Result<Vec<PaymentRecord>, StoreError> {
        let claim = |db: &mut Database| Ok(db.claim_due(now, lease_seconds, limit));
        self.through(Site::ClaimDue, claim).await
    }

    async fn release(&self, payment_no: &str, next: NextLook) -> Result<(), StoreError> {
        let release = |db: &mut Database| {
            db.release(payment_no, next);
            Ok(())
        };
        self.through(Site::Release, release).await
    }

    async fn open_counts(&self) -> Result<OpenCounts, StoreError> {
        self.through(Site::OpenCounts, |db| Ok(db.open_counts()))
            .await
    }

    async fn reserve_refund(&self, new: &NewRefund) -> Result<ReservedRefund, StoreError> {
        self.through(Site::ReserveRefund, |db| db.reserve_refund(new))
            .await
    }

    async fn refund(
        &self,
        payment_no: &str,
        refund_no: &str,
    ) -> Result<Option<RefundRecord>, StoreError> {
        self.through(Site::Refund, |db| Ok(db.refund(payment_no, refund_no)))
            .await
    }

    async fn refunds(&self, payment_no: &str) -> Result<Vec<RefundRecord>, StoreError> {
        self.through(Site::Refunds, |db| Ok(db.refunds(payment_no)))
            .await
    }

    async fn refund_of_channel_number(
        &self,
        channel: ChannelKind,
        channel_refund_no: &str,
    ) -> Result<Option<RefundRecord>, StoreError> {
        let find = |db: &mut Database| Ok(db.refund_of_channel_number(channel, channel_refund_no));
        self.through(Site::RefundOfChannelNumber, find).await
    }

    async fn apply_refund(
        &self,
        payment_no: &str,
        refund_no: &str,
        change: &RefundChange,
    ) -> Result<AppliedRefund, StoreError> {
        let apply = |db: &mut Database| db.apply_refund(payment_no, refund_no, change);
        self.through(Site::ApplyRefund, apply).await
    }

    async fn claim_due_refunds(
        &self,
        now: Timestamp,
        lease_seconds: u64,
        limit: u32,
    ) -> Result<Vec<RefundRecord>, StoreError> {
        let claim = |db: &mut Database| Ok(db.claim_due_refunds(now, lease_seconds, limit));
        self.through(Site::ClaimDueRefunds, claim).await
    }

    async fn release_refund(
        &self,
        payment_no: &str,
        refund_no: &str,
        next_question_at: Timestamp,
    ) -> Result<(), StoreError> {
        let release = |db: &mut Database| {
            db.release_refund(payment_no, refund_no, next_question_at);
            Ok(())
        };
        self.through(Site::ReleaseRefund, release).await
    }

    async fn keep_callback(
        &self,
        new: &NewInboxEntry,
        retry_at: Timestamp,
    ) -> Result<Option<u64>, StoreError> {
        self.through(Site::KeepCallback, |db| Ok(db.keep_callback(new, retry_at)))
            .await
    }

    async fn claim_callbacks(
        &self,
        now: Timestamp,
        again_at: Timestamp,
        limit: u32,
    ) -> Result<Vec<InboxEntry>, StoreError> {
        let waited = self.until_something_is_due().await;
        let (now, again_at) = (after(now, waited), after(again_at, waited));
        let claim = |db: &mut Database| Ok(db.claim_callbacks(now, again_at, limit));
        self.through(Site::ClaimCallbacks, claim).await
    }

    async fn settle_callback(
        &self,
        id: u64,
        outcome: &str,
        again_at: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let settle = |db: &mut Database| {
            db.settle_callback(id, outcome, again_at);
            Ok(())
        };
        self.through(Site::SettleCallback, settle).await
    }

    async fn begin_request(&self, new: &NewRequest) -> Result<Begun, StoreError> {
        let world = &self.life.world;
        let begin = |db: &mut Database| {
            let in_flight = db.is_in_flight(&new.key, new.now);
            let begun = db.begin_request(new);
            if in_flight && begun == Begun::Mine {
                world.broken("I8", || {
                    format!("key {} is worked on twice at once", new.key.key)
                });
            }
            Ok(begun)
        };
        self.through(Site::BeginRequest, begin).await
    }

    async fn finish_request(
        &self,
        key: &RequestKey,
        answer: &StoredAnswer,
    ) -> Result<StoredAnswer, StoreError> {
        self.through(Site::FinishRequest, |db| Ok(db.finish_request(key, answer)))
            .await
    }

    async fn give_up_request(
        &self,
        key: &RequestKey,
        left: Left,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let give_up = |db: &mut Database| {
            db.give_up_request(key, left, now);
            Ok(())
        };
        self.through(Site::GiveUpRequest, give_up).await
    }

    async fn purge_requests(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let purge = |db: &mut Database| Ok(db.purge_requests(before, limit));
        self.through(Site::PurgeRequests, purge).await
    }
}
