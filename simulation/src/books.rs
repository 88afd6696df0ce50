//! The books of reconciliation as one process sees them: the world's database, behind points at
//! which it fails.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::civil::Date;
use payment_core::ChannelKind;
use payment_core::reconciliation::Kind;
use payment_runtime::ports::StoreError;
use payment_runtime::reconcile::books::{
    AcceptedBill, Action, Allowance, Begun, BillLine, BillRefused, Booked, Books, DifferenceRecord,
    Held, Importing, NewDifference, OwnRow, Step, Sums,
};
use payment_runtime::records::{NewEntry, PaymentRecord};

use crate::database::Database;
use crate::invariants::reconciling;
use crate::points::Site;
use crate::process::Life;
use crate::records::through;

/// One process's connection to the books.
pub struct LivingBooks {
    life: Arc<Life>,
}

impl LivingBooks {
    pub const fn new(life: Arc<Life>) -> Self {
        Self { life }
    }

    async fn at<T>(
        &self,
        site: Site,
        effect: impl FnOnce(&mut Database) -> T + Send,
    ) -> Result<T, StoreError> {
        through(&self.life, site, |db| Ok(effect(db))).await
    }
}

#[async_trait]
impl Books for LivingBooks {
    async fn begin_import(
        &self,
        channel: ChannelKind,
        day: Date,
        digest: &str,
        trial: bool,
        now: Timestamp,
    ) -> Result<Importing, StoreError> {
        let begin = |db: &mut Database| db.begin_import(channel, day, digest, trial, now);
        self.at(Site::BeginImport, begin).await
    }

    async fn add_lines(&self, bill_id: u64, lines: &[BillLine]) -> Result<(), StoreError> {
        let add = |db: &mut Database| db.add_lines(bill_id, lines);
        through(&self.life, Site::AddLines, add).await
    }

    async fn accept_bill(
        &self,
        bill_id: u64,
        sums: &Sums,
        fee_1e5: i64,
        now: Timestamp,
    ) -> Result<AcceptedBill, StoreError> {
        let world = &self.life.world;
        let accept = |db: &mut Database| {
            let accepted = db.accept_bill(bill_id, sums, fee_1e5, now)?;
            reconciling::accepted(world, db, &accepted);
            Ok(accepted)
        };
        through(&self.life, Site::AcceptBill, accept).await
    }

    async fn refuse_bill(
        &self,
        bill_id: u64,
        refused: &BillRefused,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (life, reason) = (&self.life, &refused.reason);
        life.world.say(life.name, || {
            format!("does not accept the bill ({reason}) and takes its rows back")
        });
        self.at(Site::RefuseBill, |db| db.refuse_bill(bill_id, now))
            .await
    }

    async fn forget_trial(&self, bill_id: u64) -> Result<(), StoreError> {
        self.at(Site::ForgetTrial, |db| db.forget_trial(bill_id))
            .await
    }

    async fn accepted_bill(
        &self,
        channel: ChannelKind,
        day: Date,
    ) -> Result<Option<AcceptedBill>, StoreError> {
        let find = |db: &mut Database| db.accepted_bill(channel, day);
        self.at(Site::AcceptedBill, find).await
    }

    async fn begin_run(
        &self,
        bill: &AcceptedBill,
        owner: &str,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Begun, StoreError> {
        let begin = |db: &mut Database| db.begin_run(bill, owner, now, lease_until);
        self.at(Site::BeginRun, begin).await
    }

    async fn lines(
        &self,
        bill_id: u64,
        kind: Kind,
        after: Option<&(String, u64)>,
        limit: u32,
    ) -> Result<Vec<BillLine>, StoreError> {
        let lines = |db: &mut Database| db.lines(bill_id, kind, after, limit);
        self.at(Site::Lines, lines).await
    }

    async fn own_of_day(
        &self,
        channel: ChannelKind,
        day: Date,
        kind: Kind,
        after: Option<&str>,
        until: Option<&str>,
        limit: u32,
    ) -> Result<Vec<OwnRow>, StoreError> {
        let own = |db: &mut Database| db.own_of_day(channel, day, kind, (after, until), limit);
        self.at(Site::OwnOfDay, own).await
    }

    async fn own_by_number(
        &self,
        channel: ChannelKind,
        kind: Kind,
        numbers: &[String],
    ) -> Result<Vec<OwnRow>, StoreError> {
        let own = |db: &mut Database| db.own_by_number(channel, kind, numbers);
        self.at(Site::OwnByNumber, own).await
    }

    async fn on_other_bills(
        &self,
        bill: &AcceptedBill,
        kind: Kind,
        numbers: &[String],
    ) -> Result<BTreeSet<String>, StoreError> {
        let others = |db: &mut Database| db.on_other_bills(bill, kind, numbers);
        self.at(Site::OnOtherBills, others).await
    }

    async fn clearing_of(
        &self,
        channel: ChannelKind,
        payment_nos: &[String],
    ) -> Result<BTreeMap<String, i64>, StoreError> {
        let clearing = |db: &mut Database| db.clearing_of(channel, payment_nos);
        self.at(Site::ClearingOf, clearing).await
    }

    async fn charged_twice(&self, order_ids: &[String]) -> Result<BTreeSet<String>, StoreError> {
        self.at(Site::ChargedTwice, |db| db.charged_twice(order_ids))
            .await
    }

    async fn checkpoint(
        &self,
        bill: &AcceptedBill,
        held: &Held,
        found: &[NewDifference],
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<bool, StoreError> {
        let (life, day) = (&self.life, bill.day);
        for new in found {
            life.world.say(life.name, || {
                let (class, kind, number) = (new.class, new.kind.as_str(), &new.number);
                format!("finds on the bill of {day}: {class}, {kind} {number}")
            });
        }
        let keep = |db: &mut Database| db.checkpoint(bill, held, found, now, lease_until);
        self.at(Site::Checkpoint, keep).await
    }

    async fn finish_run(
        &self,
        bill: &AcceptedBill,
        held: &Held,
        _now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.at(Site::FinishRun, |db| db.finish_run(bill, held))
            .await
    }

    async fn healed(
        &self,
        bill: &AcceptedBill,
        run_id: u64,
        limit: u32,
    ) -> Result<Vec<DifferenceRecord>, StoreError> {
        let healed = |db: &mut Database| db.healed(bill, run_id, limit);
        self.at(Site::Healed, healed).await
    }

    async fn unresolved(
        &self,
        channel: ChannelKind,
        day: Date,
        after: u64,
        limit: u32,
    ) -> Result<Vec<DifferenceRecord>, StoreError> {
        let unresolved = |db: &mut Database| db.unresolved(channel, day, after, limit);
        self.at(Site::Unresolved, unresolved).await
    }

    /// What people ask for, and no run does: nothing strikes there.
    async fn difference(&self, id: u64) -> Result<Option<DifferenceRecord>, StoreError> {
        Ok(self.life.world.database().difference(id).cloned())
    }

    async fn actions(&self, id: u64) -> Result<Vec<Action>, StoreError> {
        Ok(self.life.world.database().actions(id))
    }

    async fn take_step(&self, step: &Step) -> Result<bool, StoreError> {
        let life = &self.life;
        let take = |db: &mut Database| {
            let taken = db.take_step(step)?;
            reconciling::stepped(life, db, step, taken);
            Ok(taken)
        };
        through(life, Site::TakeStep, take).await
    }

    async fn take_step_within(
        &self,
        step: &Step,
        allowance: &Allowance,
    ) -> Result<bool, StoreError> {
        let life = &self.life;
        let take = |db: &mut Database| {
            let taken = db.take_step_within(step, allowance)?;
            reconciling::stepped(life, db, step, taken);
            Ok(taken)
        };
        through(life, Site::TakeStepWithin, take).await
    }

    async fn booked_for(&self, id: u64) -> Result<Vec<Booked>, StoreError> {
        self.at(Site::BookedFor, |db| db.booked_for(id)).await
    }

    async fn repost(&self, payment_no: &str, now: Timestamp) -> Result<u64, StoreError> {
        through(&self.life, Site::Repost, |db| db.repost(payment_no, now)).await
    }

    async fn corrected_since(
        &self,
        channel: ChannelKind,
        since: Timestamp,
    ) -> Result<(u64, i64), StoreError> {
        let moved = |db: &mut Database| db.corrected_since(channel, since);
        self.at(Site::CorrectedSince, moved).await
    }

    async fn posted_fee(&self, channel: ChannelKind, day: Date) -> Result<i64, StoreError> {
        self.at(Site::PostedFee, |db| db.posted_fee(channel, day))
            .await
    }

    async fn post(&self, entries: &[NewEntry]) -> Result<(), StoreError> {
        through(&self.life, Site::Post, |db| db.post(entries)).await
    }

    async fn unsettled_since(
        &self,
        channel: ChannelKind,
        since: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<PaymentRecord>, StoreError> {
        let unsettled = |db: &mut Database| db.unsettled_since(channel, since, until, limit);
        self.at(Site::UnsettledSince, unsettled).await
    }
}
