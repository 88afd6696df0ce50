//! What reconciliation needs of the world beside the payments' own ports: bills, and books in
//! which runs, differences and what was done about them are kept.
//!
//! Guarantees: the same logic runs against MySQL and the channels' files, and against the
//! simulation's memory; each method of [`Books`] is one transaction.
//!
//! Deliberately not here: any implementation ([`crate::store`], [`super::bills`]).

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use channels::Outcome;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use payment_core::ledger::Account;
use payment_core::reconciliation::{AtChannel, DifferenceClass, Kind, Settled, Totals};
use payment_core::{ChannelKind, Money, PaymentState, RefundState};
use serde::{Deserialize, Serialize};

use super::notify::Head;
use crate::ports::StoreError;
use crate::records::NewEntry;

/// One row of a bill, in the words of the comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BillLine {
    pub kind: Kind,
    /// The number we gave: of the order for a payment, of the refund for a refund.
    pub number: String,
    /// Where it stands in the file, from 1.
    pub line: u64,
    pub channel_order_no: String,
    pub transaction_id: String,
    pub amount: Money,
    pub settled: Money,
    /// In 1e-5 of the currency's unit; positive when the channel keeps it.
    pub fee_1e5: i64,
    pub foreign: bool,
    pub status: AtChannel,
    /// Beijing time.
    pub at: DateTime,
}

/// Why a bill is not accepted: a stable word, and a sentence with what, where and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BillRefused {
    pub reason: String,
    pub detail: String,
}

/// A bill as it is being read.
#[async_trait]
pub trait BillRows: Send {
    /// Equal for equal files.
    fn digest(&self) -> &str;

    /// The next rows; `None` after the last one, and only once the whole file is believed. An
    /// error takes back every row before it.
    async fn next(&mut self) -> Result<Option<Vec<BillLine>>, BillRefused>;
}

/// What a channel says about its bill of one day.
pub enum FetchedBill {
    /// Not made yet; ask again later.
    NotReady,
    /// No business that day; final.
    Empty,
    Rows(Box<dyn BillRows>),
}

/// Where bills come from.
#[async_trait]
pub trait Bills: Send + Sync {
    async fn bill(&self, channel: ChannelKind, day: Date, now: Timestamp) -> Outcome<FetchedBill>;
}

/// Rows and minor units of a bill, by kind and currency.
pub type Sums = BTreeMap<(Kind, String), (u64, i128)>;

/// A bill that is accepted whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedBill {
    pub id: u64,
    pub channel: ChannelKind,
    pub day: Date,
    pub digest: String,
    pub sums: Sums,
    /// What the channel kept that day, in 1e-5 yuan.
    pub fee_1e5: i64,
}

/// What became of the wish to import a bill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Importing {
    /// Exactly this file is the accepted bill of its day already.
    Known(AcceptedBill),
    /// Rows may be added under this number.
    New(u64),
}

/// How far a comparison has come. `after` is the last row or record that it has dealt with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub kind: Kind,
    pub after: Option<(String, u64)>,
    /// Hash over all outcomes so far, in hexadecimal.
    pub chain: String,
    pub totals: Totals,
    pub differences: u64,
    /// Both kinds are compared to their ends.
    pub done: bool,
}

impl Progress {
    pub fn start() -> Self {
        Self {
            kind: Kind::Payment,
            after: None,
            chain: String::new(),
            totals: Totals::default(),
            differences: 0,
            done: false,
        }
    }
}

/// A comparison that this process holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub run_id: u64,
    pub owner: String,
    pub progress: Progress,
    /// It was begun by a process that is gone.
    pub resumed: bool,
}

/// What became of the wish to compare a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    Held(Box<Held>),
    /// Another process compares this day now, or has replaced the bill.
    Busy,
}

/// One record of ours, as far as a comparison needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnRow {
    pub number: String,
    pub payment_no: String,
    pub refund_no: Option<String>,
    pub order_id: String,
    pub attempt: u32,
    pub channel_order_no: String,
    pub transaction_id: Option<String>,
    pub amount: Money,
    pub settled: Settled,
    pub state: &'static str,
    /// When it took effect, by the channel.
    pub at: Option<Timestamp>,
    /// What the ledger must show for the whole payment on the channel's clearing account.
    pub clearing_minor: i64,
}

/// How far a payment in this state has come, as a comparison sees it.
pub fn settled_payment(status: PaymentState) -> Settled {
    match status {
        _ if status.was_charged() => Settled::Yes,
        PaymentState::Failed | PaymentState::Closed => Settled::Never,
        _ => Settled::NotYet,
    }
}

/// How far a refund in this state has come, as a comparison sees it.
pub const fn settled_refund(status: RefundState) -> Settled {
    match status {
        RefundState::Succeeded => Settled::Yes,
        RefundState::Failed | RefundState::Reversed => Settled::Never,
        RefundState::Created
        | RefundState::Submitting
        | RefundState::Pending
        | RefundState::Unknown => Settled::NotYet,
    }
}

/// A difference as a comparison found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDifference {
    pub kind: Kind,
    pub class: DifferenceClass,
    pub number: String,
    /// The row's place in the file where the number alone does not name it; else 0.
    pub line: u64,
    pub channel_order_no: String,
    pub payment_no: Option<String>,
    pub refund_no: Option<String>,
    pub transaction_id: Option<String>,
    pub our_state: Option<&'static str>,
    pub ours: Option<Money>,
    pub bill: Option<Money>,
    pub fee_1e5: Option<i64>,
    /// Beijing time of the row, else of the record.
    pub at: Option<DateTime>,
    /// So close to midnight that the two sides may count it to different days.
    pub at_the_edge: bool,
}

/// Where a difference stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DifferenceState {
    /// Somebody has to look.
    Open,
    /// Kept apart: it may heal by itself on another day's bill.
    Waiting,
    /// A person has proposed how to resolve it; a second one must agree.
    Proposed,
    Resolved,
}

impl DifferenceState {
    pub const ALL: [Self; 4] = [Self::Open, Self::Waiting, Self::Proposed, Self::Resolved];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Waiting => "waiting",
            Self::Proposed => "proposed",
            Self::Resolved => "resolved",
        }
    }

    /// The state of that name, if there is one.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// A difference as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DifferenceRecord {
    pub id: u64,
    pub channel: ChannelKind,
    pub day: Date,
    pub kind: Kind,
    pub class: DifferenceClass,
    pub number: String,
    pub line: u64,
    pub channel_order_no: String,
    pub payment_no: Option<String>,
    pub refund_no: Option<String>,
    pub transaction_id: Option<String>,
    pub our_state: Option<String>,
    pub ours: Option<Money>,
    pub bill: Option<Money>,
    pub fee_1e5: Option<i64>,
    pub at: Option<DateTime>,
    pub at_the_edge: bool,
    pub state: DifferenceState,
    /// Why it stands there, in words.
    pub why: String,
    pub assignee: Option<String>,
    /// How it ended: agreed-later, corrected, or a person's resolution.
    pub resolution: Option<String>,
    pub found_at: Timestamp,
    pub changed_at: Timestamp,
}

impl DifferenceRecord {
    /// The amount in question.
    pub fn amount(&self) -> Option<Money> {
        self.bill.or(self.ours)
    }
}

/// One line of a difference's trail, which is only ever added to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAction {
    pub at: Timestamp,
    /// `system`, or a person's name.
    pub actor: String,
    pub action: &'static str,
    /// The table of rules it follows, where it follows one.
    pub rule: Option<&'static str>,
    pub reason: String,
    pub note: String,
    /// What the channel or the books said, as JSON.
    pub evidence: String,
    /// The same key is recorded once for a difference.
    pub key: String,
    /// What it moved, for the day's budget.
    pub moved: Option<Money>,
}

/// One line of a difference's trail, as kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    pub id: u64,
    pub at: Timestamp,
    pub actor: String,
    pub action: String,
    pub rule: Option<String>,
    pub reason: String,
    pub note: String,
    pub evidence: String,
}

/// What happens to a difference: its trail, its ledger entries and its state change together.
#[derive(Clone, Debug)]
pub struct Step {
    pub id: u64,
    /// Only if it stands there still.
    pub from: DifferenceState,
    pub to: DifferenceState,
    pub why: String,
    pub resolution: Option<String>,
    pub assignee: Option<String>,
    pub action: NewAction,
    pub entries: Vec<NewEntry>,
}

/// What the automatic corrections of one channel may come to together since a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    pub since: Timestamp,
    pub count: u64,
    /// Minor units.
    pub minor: i64,
}

/// An amount that stands between two accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booked {
    pub debit: Account,
    pub credit: Account,
    pub amount: Money,
}

impl Booked {
    /// What sets it off.
    #[must_use]
    pub const fn taken_back(&self) -> Self {
        Self {
            debit: self.credit,
            credit: self.debit,
            amount: self.amount,
        }
    }
}

impl Step {
    /// A line on the trail that leaves the difference where it stands; what else happens is set on
    /// top of it.
    pub fn staying(difference: &DifferenceRecord, action: NewAction) -> Self {
        Self {
            id: difference.id,
            from: difference.state,
            to: difference.state,
            why: difference.why.clone(),
            resolution: difference.resolution.clone(),
            assignee: difference.assignee.clone(),
            action,
            entries: Vec::new(),
        }
    }
}

/// Which differences are wanted.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Filter {
    pub state: Option<String>,
    pub class: Option<String>,
    pub channel: Option<String>,
    pub day: Option<String>,
    pub number: Option<String>,
    pub assignee: Option<String>,
}

/// The books of reconciliation.
#[async_trait]
pub trait Books: Send + Sync {
    /// Begins to import a bill, unless exactly this file is accepted already. A trial never
    /// becomes the bill of its day.
    async fn begin_import(
        &self,
        channel: ChannelKind,
        day: Date,
        digest: &str,
        trial: bool,
        now: Timestamp,
    ) -> Result<Importing, StoreError>;

    async fn add_lines(&self, bill_id: u64, lines: &[BillLine]) -> Result<(), StoreError>;

    /// From now on it is the bill of its day, unless it is a trial; the one before is taken away.
    async fn accept_bill(
        &self,
        bill_id: u64,
        sums: &Sums,
        fee_1e5: i64,
        now: Timestamp,
    ) -> Result<AcceptedBill, StoreError>;

    /// Takes every row back and keeps the reason.
    async fn refuse_bill(
        &self,
        bill_id: u64,
        refused: &BillRefused,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Takes a trial's rows away. Anything else stays.
    async fn forget_trial(&self, bill_id: u64) -> Result<(), StoreError>;

    async fn accepted_bill(
        &self,
        channel: ChannelKind,
        day: Date,
    ) -> Result<Option<AcceptedBill>, StoreError>;

    /// Takes the day for this process until `lease_until`. A comparison of the same bill that
    /// nobody holds any more is continued where it was.
    async fn begin_run(
        &self,
        bill: &AcceptedBill,
        owner: &str,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<Begun, StoreError>;

    /// The bill's rows after a place, in the order of their numbers.
    async fn lines(
        &self,
        bill_id: u64,
        kind: Kind,
        after: Option<&(String, u64)>,
        limit: u32,
    ) -> Result<Vec<BillLine>, StoreError>;

    /// Records that took effect on that day, in the order of their numbers: those after `after`
    /// up to and with `until`.
    async fn own_of_day(
        &self,
        channel: ChannelKind,
        day: Date,
        kind: Kind,
        after: Option<&str>,
        until: Option<&str>,
        limit: u32,
    ) -> Result<Vec<OwnRow>, StoreError>;

    async fn own_by_number(
        &self,
        channel: ChannelKind,
        kind: Kind,
        numbers: &[String],
    ) -> Result<Vec<OwnRow>, StoreError>;

    /// Which of these numbers stand on another accepted bill of the channel.
    async fn on_other_bills(
        &self,
        bill: &AcceptedBill,
        kind: Kind,
        numbers: &[String],
    ) -> Result<BTreeSet<String>, StoreError>;

    /// What the ledger shows for these payments on the channel's clearing account, minor units.
    async fn clearing_of(
        &self,
        channel: ChannelKind,
        payment_nos: &[String],
    ) -> Result<BTreeMap<String, i64>, StoreError>;

    /// Which of these orders were charged by more than one attempt that nobody gives back.
    async fn charged_twice(&self, order_ids: &[String]) -> Result<BTreeSet<String>, StoreError>;

    /// Keeps a piece's differences and how far the comparison has come. `false`: another process
    /// has taken the day over, and nothing was written.
    async fn checkpoint(
        &self,
        bill: &AcceptedBill,
        held: &Held,
        found: &[NewDifference],
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Ends a comparison. `false` as in [`Books::checkpoint`]. What an earlier comparison of the
    /// day found and this one did not, is returned by [`Books::healed`].
    async fn finish_run(
        &self,
        bill: &AcceptedBill,
        held: &Held,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Unresolved differences of the day that earlier runs found, and neither this nor a later
    /// one.
    async fn healed(
        &self,
        bill: &AcceptedBill,
        run_id: u64,
        limit: u32,
    ) -> Result<Vec<DifferenceRecord>, StoreError>;

    /// Unresolved differences of the day, by id after `after`.
    async fn unresolved(
        &self,
        channel: ChannelKind,
        day: Date,
        after: u64,
        limit: u32,
    ) -> Result<Vec<DifferenceRecord>, StoreError>;

    async fn difference(&self, id: u64) -> Result<Option<DifferenceRecord>, StoreError>;

    /// A difference's trail, oldest first.
    async fn actions(&self, id: u64) -> Result<Vec<Action>, StoreError>;

    /// Does what the step says, all of it or nothing. `false`: the difference stands elsewhere
    /// by now, or the step was taken before.
    async fn take_step(&self, step: &Step) -> Result<bool, StoreError>;

    /// [`Books::take_step`] for a step that moves money. `false` too if that would be more than is
    /// allowed, counted so that runs at once share one allowance.
    async fn take_step_within(
        &self,
        step: &Step,
        allowance: &Allowance,
    ) -> Result<bool, StoreError>;

    /// What is booked for a difference: pairs of accounts (debit, credit) with what is left
    /// between them once entries that took others back are set off.
    async fn booked_for(&self, id: u64) -> Result<Vec<Booked>, StoreError>;

    /// Books what the ledger lacks to show what the payment's record says; returns how many
    /// entries that took.
    async fn repost(&self, payment_no: &str, now: Timestamp) -> Result<u64, StoreError>;

    /// Automatic corrections since `since`: how many, and how much.
    async fn corrected_since(
        &self,
        channel: ChannelKind,
        since: Timestamp,
    ) -> Result<(u64, i64), StoreError>;

    /// What is posted as the channel's fee of that day, minor units.
    async fn posted_fee(&self, channel: ChannelKind, day: Date) -> Result<i64, StoreError>;

    /// Books entries that belong to no payment; a key that is known is not booked again.
    async fn post(&self, entries: &[NewEntry]) -> Result<(), StoreError>;

    /// Payments since `since` that somebody must still end or look at once more, oldest first.
    async fn unsettled_since(
        &self,
        channel: ChannelKind,
        since: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<crate::records::PaymentRecord>, StoreError>;

    /// Writes messages about differences that are new, or resolved, since the last message about
    /// them: of one day, or, without a day, those that people resolved. Returns how many
    /// differences they tell of. Books without an outbox tell nobody.
    async fn tell_differences(
        &self,
        _head: &Head,
        _day: Option<(ChannelKind, Date)>,
    ) -> Result<u64, StoreError> {
        Ok(0)
    }

    /// Writes a message about the day's bill, once for each file that is refused for a reason.
    async fn tell_refusal(
        &self,
        _head: &Head,
        _channel: ChannelKind,
        _day: Date,
        _refused: &BillRefused,
    ) -> Result<(), StoreError> {
        Ok(())
    }
}
