//! Runs: who compares a day, and how far it has come.

use jiff::Timestamp;
use jiff::civil::Date;
use payment_core::ChannelKind;
use payment_runtime::reconcile::books::{AcceptedBill, Begun, Held, NewDifference, Progress};

use crate::database::Database;

/// A comparison of one bill.
#[derive(Clone, Debug)]
pub struct KeptRun {
    pub channel: ChannelKind,
    pub day: Date,
    pub bill_id: u64,
    pub progress: Progress,
    pub finished: bool,
}

impl Database {
    pub fn begin_run(
        &mut self,
        bill: &AcceptedBill,
        owner: &str,
        now: Timestamp,
        lease_until: Timestamp,
    ) -> Begun {
        let key = (bill.channel, bill.day);
        let counts = self.counts(bill.id);
        let day = self.books.days.entry(key).or_default();
        if !counts || day.lease_until.is_some_and(|until| until > now) {
            return Begun::Busy;
        }
        let left = day.run_id.and_then(|id| {
            let run = self.books.runs.get(&id)?;
            (run.bill_id == bill.id && !run.finished).then(|| (id, run.progress.clone()))
        });
        let resumed = left.is_some();
        let (run_id, progress) = match left {
            Some(left) => left,
            None => (self.new_run(bill), Progress::start()),
        };
        let day = self.books.days.entry(key).or_default();
        day.run_id = Some(run_id);
        day.owner = Some(owner.to_owned());
        day.lease_until = Some(lease_until);
        Begun::Held(Box::new(Held {
            run_id,
            owner: owner.to_owned(),
            progress,
            resumed,
        }))
    }

    fn new_run(&mut self, bill: &AcceptedBill) -> u64 {
        let id = self.next_id();
        self.books.runs.insert(
            id,
            KeptRun {
                channel: bill.channel,
                day: bill.day,
                bill_id: bill.id,
                progress: Progress::start(),
                finished: false,
            },
        );
        id
    }

    /// Whether the day is still this process's, and the bill the day's; with `until`, for so long
    /// again. Without, and when the bill was replaced, the day is given back.
    fn still_held(&mut self, bill: &AcceptedBill, held: &Held, until: Option<Timestamp>) -> bool {
        let counts = self.counts(bill.id);
        let Some(day) = self.books.days.get_mut(&(bill.channel, bill.day)) else {
            return false;
        };
        if day.owner.as_ref() != Some(&held.owner) {
            return false;
        }
        day.lease_until = until.filter(|_| counts);
        if day.lease_until.is_none() {
            day.owner = None;
        }
        counts
    }

    pub fn checkpoint(
        &mut self,
        bill: &AcceptedBill,
        held: &Held,
        found: &[NewDifference],
        now: Timestamp,
        lease_until: Timestamp,
    ) -> bool {
        if !self.still_held(bill, held, Some(lease_until)) {
            return false;
        }
        for difference in found {
            self.upsert_difference(bill, held.run_id, difference, now);
        }
        self.write_progress(held, false);
        true
    }

    pub fn finish_run(&mut self, bill: &AcceptedBill, held: &Held) -> bool {
        if !self.still_held(bill, held, None) {
            return false;
        }
        self.write_progress(held, true);
        true
    }

    fn write_progress(&mut self, held: &Held, finished: bool) {
        if let Some(run) = self.books.runs.get_mut(&held.run_id) {
            run.progress = held.progress.clone();
            run.finished = finished;
        }
    }

    pub fn runs(&self) -> impl Iterator<Item = &KeptRun> {
        self.books.runs.values()
    }
}
