//! [`Books`] over MySQL: bills, runs, differences and what was done about them.

mod bills;
mod differences;
mod notifications;
mod overview;
mod own;
mod proofs;
mod reports;
mod runs;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use jiff::Timestamp;
use jiff::civil::Date;
use payment_core::ChannelKind;
use payment_core::reconciliation::Kind;

use super::{Store, StoreError};
use crate::reconcile::books::{
    AcceptedBill, Action, Allowance, Begun, BillLine, BillRefused, Booked, Books, DifferenceRecord,
    Held, Importing, NewDifference, OwnRow, Step, Sums,
};
use crate::reconcile::notify::Head;
use crate::records::{NewEntry, PaymentRecord};

pub use notifications::{NotificationCounts, Outgoing};
pub use overview::{ClassTotal, LatestRun};
pub(crate) use proofs::{
    AbsentRecord, Half, Life, Line, Named, Pass, ProofView, RecordOfRow, RepeatedCharge, RowItem,
    Scope, Shift, Table, Total,
};
pub use reports::{CorrectionCount, DifferenceCount, RefusedBill, Run};

#[async_trait]
impl Books for Store {
    async fn begin_import(
        &self,
        channel: ChannelKind,
        day: Date,
        digest: &str,
        trial: bool,
        now: Timestamp,
    ) -> Result<Importing, StoreError> {
        self.new_bill(channel, day, digest, trial, now).await
    }

    async fn add_lines(&self, bill_id: u64, lines: &[BillLine]) -> Result<(), StoreError> {
        self.insert_lines(bill_id, lines).await
    }

    async fn accept_bill(
        &self,
        bill_id: u64,
        sums: &Sums,
        fee_1e5: i64,
        now: Timestamp,
    ) -> Result<AcceptedBill, StoreError> {
        self.accept(bill_id, sums, fee_1e5, now).await
    }

    async fn refuse_bill(
        &self,
        bill_id: u64,
        refused: &BillRefused,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.refuse(bill_id, refused, now).await
    }

    async fn forget_trial(&self, bill_id: u64) -> Result<(), StoreError> {
        self.drop_trial(bill_id).await
    }

    async fn accepted_bill(
        &self,
        channel: ChannelKind,
        day: Date,
    ) -> Result<Option<AcceptedBill>, StoreError> {
        self.bill_of(channel, day).await
    }

    async fn begin_run(
        &self,
        bill: &AcceptedBill,
        owner: &str,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Begun, StoreError> {
        self.hold_day(bill, owner, now, lease_until).await
    }

    async fn lines(
        &self,
        bill_id: u64,
        kind: Kind,
        after: Option<&(String, u64)>,
        limit: u32,
    ) -> Result<Vec<BillLine>, StoreError> {
        self.lines_after(bill_id, kind, after, limit).await
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
        self.own_on(channel, day, kind, (after, until), limit).await
    }

    async fn own_by_number(
        &self,
        channel: ChannelKind,
        kind: Kind,
        numbers: &[String],
    ) -> Result<Vec<OwnRow>, StoreError> {
        self.own_named(channel, kind, numbers).await
    }

    async fn on_other_bills(
        &self,
        bill: &AcceptedBill,
        kind: Kind,
        numbers: &[String],
    ) -> Result<BTreeSet<String>, StoreError> {
        self.named_elsewhere(bill, kind, numbers).await
    }

    async fn clearing_of(
        &self,
        channel: ChannelKind,
        payment_nos: &[String],
    ) -> Result<BTreeMap<String, i64>, StoreError> {
        self.clearing(channel, payment_nos).await
    }

    async fn charged_twice(&self, order_ids: &[String]) -> Result<BTreeSet<String>, StoreError> {
        self.orders_charged_twice(order_ids).await
    }

    async fn checkpoint(
        &self,
        bill: &AcceptedBill,
        held: &Held,
        found: &[NewDifference],
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<bool, StoreError> {
        self.keep_piece(bill, held, found, now, lease_until).await
    }

    async fn finish_run(
        &self,
        bill: &AcceptedBill,
        held: &Held,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.end_run(bill, held, now).await
    }

    async fn healed(
        &self,
        bill: &AcceptedBill,
        run_id: u64,
        limit: u32,
    ) -> Result<Vec<DifferenceRecord>, StoreError> {
        self.not_found_by(bill, run_id, limit).await
    }

    async fn unresolved(
        &self,
        channel: ChannelKind,
        day: Date,
        after: u64,
        limit: u32,
    ) -> Result<Vec<DifferenceRecord>, StoreError> {
        self.unresolved_of(channel, day, after, limit).await
    }

    async fn difference(&self, id: u64) -> Result<Option<DifferenceRecord>, StoreError> {
        self.one_difference(id).await
    }

    async fn actions(&self, id: u64) -> Result<Vec<Action>, StoreError> {
        self.trail(id).await
    }

    async fn take_step(&self, step: &Step) -> Result<bool, StoreError> {
        self.step(step).await
    }

    async fn take_step_within(
        &self,
        step: &Step,
        allowance: &Allowance,
    ) -> Result<bool, StoreError> {
        self.step_within(step, allowance).await
    }

    async fn booked_for(&self, id: u64) -> Result<Vec<Booked>, StoreError> {
        self.booked(id).await
    }

    async fn repost(&self, payment_no: &str, now: Timestamp) -> Result<u64, StoreError> {
        self.post_what_lacks(payment_no, now).await
    }

    async fn corrected_since(
        &self,
        channel: ChannelKind,
        since: Timestamp,
    ) -> Result<(u64, i64), StoreError> {
        self.moved_since(channel, since).await
    }

    async fn posted_fee(&self, channel: ChannelKind, day: Date) -> Result<i64, StoreError> {
        self.fee_posted(channel, day).await
    }

    async fn post(&self, entries: &[NewEntry]) -> Result<(), StoreError> {
        Self::post(self, entries).await.map(drop)
    }

    async fn unsettled_since(
        &self,
        channel: ChannelKind,
        since: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<PaymentRecord>, StoreError> {
        self.unsettled(channel, since, until, limit).await
    }

    async fn tell_differences(
        &self,
        head: &Head,
        day: Option<(ChannelKind, Date)>,
    ) -> Result<u64, StoreError> {
        Self::tell_differences(self, head, day).await
    }

    async fn tell_refusal(
        &self,
        head: &Head,
        channel: ChannelKind,
        day: Date,
        refused: &BillRefused,
    ) -> Result<(), StoreError> {
        self.tell_refused(head, channel, day, refused).await
    }
}

/// Bytes of a statement's values that the driver hands to the kernel in one piece. What is longer
/// than one TLS record goes out in several, and as the driver leaves Nagle's algorithm on, the
/// second piece waits until the server acknowledges the first: 40 ms a statement.
const SENT_AT_ONCE: usize = 12_000;

fn kind_number(kind: Kind) -> u8 {
    match kind {
        Kind::Payment => 0,
        Kind::Refund => 1,
    }
}

/// `?, ?, ?` for so many values.
fn places(count: usize) -> String {
    vec!["?"; count].join(", ")
}
