//! Bills: imported row by row, believed whole.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use payment_core::ChannelKind;
use payment_core::reconciliation::Kind;
use payment_runtime::ports::StoreError;
use payment_runtime::reconcile::books::{AcceptedBill, BillLine, Importing, Sums};

use crate::database::{Database, vanished};

/// How the real database clears away what an import left behind.
const IMPORT_MAX: SignedDuration = SignedDuration::from_hours(6);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BillState {
    Importing,
    Trial,
    Accepted,
    Superseded,
    Refused,
}

/// A bill with its rows, by kind, number and line.
#[derive(Clone, Debug)]
pub struct KeptBill {
    pub bill: AcceptedBill,
    pub state: BillState,
    pub lines: BTreeMap<(Kind, String, u64), BillLine>,
    changed_at: Timestamp,
}

impl Database {
    pub fn begin_import(
        &mut self,
        channel: ChannelKind,
        day: Date,
        digest: &str,
        trial: bool,
        now: Timestamp,
    ) -> Importing {
        if let Some(bill) = self.accepted_bill(channel, day)
            && bill.digest == digest
        {
            return Importing::Known(bill);
        }
        self.books.bills.retain(|_, kept| {
            let left = match kept.state {
                BillState::Superseded => true,
                BillState::Importing | BillState::Trial => kept.changed_at < now - IMPORT_MAX,
                BillState::Accepted | BillState::Refused => false,
            };
            (kept.bill.channel, kept.bill.day) != (channel, day) || !left
        });
        let id = self.next_id();
        let bill = AcceptedBill {
            id,
            channel,
            day,
            digest: digest.to_owned(),
            sums: Sums::new(),
            fee_1e5: 0,
        };
        let state = if trial {
            BillState::Trial
        } else {
            BillState::Importing
        };
        self.books.bills.insert(
            id,
            KeptBill {
                bill,
                state,
                lines: BTreeMap::new(),
                changed_at: now,
            },
        );
        Importing::New(id)
    }

    pub fn add_lines(&mut self, bill_id: u64, lines: &[BillLine]) -> Result<(), StoreError> {
        let kept = self.books.bills.get_mut(&bill_id);
        let kept = kept.ok_or_else(|| vanished("a bill"))?;
        let key = |line: &BillLine| (line.kind, line.number.clone(), line.line);
        if lines.iter().any(|line| kept.lines.contains_key(&key(line))) {
            return Err(vanished("a row that is there already"));
        }
        let rows = lines.iter().map(|line| (key(line), line.clone()));
        kept.lines.extend(rows);
        Ok(())
    }

    pub fn accept_bill(
        &mut self,
        bill_id: u64,
        sums: &Sums,
        fee_1e5: i64,
        now: Timestamp,
    ) -> Result<AcceptedBill, StoreError> {
        let found = self.books.bills.get(&bill_id);
        let (state, bill) = found
            .map(|kept| (kept.state, kept.bill.clone()))
            .ok_or_else(|| vanished("a bill"))?;
        let equal = self.accepted_bill(bill.channel, bill.day);
        let equal = equal.filter(|equal| equal.digest == bill.digest && equal.id != bill_id);
        if let Some(equal) = equal
            && state != BillState::Trial
        {
            self.supersede(bill_id, now);
            return Ok(equal);
        }
        if state == BillState::Importing {
            for old in self.books.bills.values_mut() {
                let same = (old.bill.channel, old.bill.day) == (bill.channel, bill.day);
                if same && old.state == BillState::Accepted {
                    old.state = BillState::Superseded;
                    old.changed_at = now;
                }
            }
        }
        let kept = self.books.bills.get_mut(&bill_id);
        let kept = kept.ok_or_else(|| vanished("a bill"))?;
        if state == BillState::Importing {
            kept.state = BillState::Accepted;
        }
        kept.bill.sums.clone_from(sums);
        kept.bill.fee_1e5 = fee_1e5;
        kept.changed_at = now;
        Ok(kept.bill.clone())
    }

    fn supersede(&mut self, bill_id: u64, now: Timestamp) {
        if let Some(kept) = self.books.bills.get_mut(&bill_id) {
            kept.state = BillState::Superseded;
            kept.changed_at = now;
        }
    }

    /// Whether this is still the day's bill.
    pub(super) fn counts(&self, bill_id: u64) -> bool {
        let kept = self.books.bills.get(&bill_id);
        kept.is_some_and(|kept| kept.state == BillState::Accepted)
    }

    pub fn refuse_bill(&mut self, bill_id: u64, now: Timestamp) {
        if let Some(kept) = self.books.bills.get_mut(&bill_id) {
            kept.state = BillState::Refused;
            kept.changed_at = now;
            kept.lines.clear();
        }
    }

    pub fn forget_trial(&mut self, bill_id: u64) {
        let is_trial = |kept: &KeptBill| kept.state == BillState::Trial;
        if self.books.bills.get(&bill_id).is_some_and(is_trial) {
            self.books.bills.remove(&bill_id);
        }
    }

    pub fn accepted_bill(&self, channel: ChannelKind, day: Date) -> Option<AcceptedBill> {
        let found = self.accepted_bills().filter(|kept| kept.bill.day == day);
        let mut found = found.filter(|kept| kept.bill.channel == channel);
        found.next_back().map(|kept| kept.bill.clone())
    }

    pub fn accepted_bills(&self) -> impl DoubleEndedIterator<Item = &KeptBill> {
        let bills = self.books.bills.values();
        bills.filter(|kept| kept.state == BillState::Accepted)
    }

    pub fn kept_bill(&self, bill_id: u64) -> Option<&KeptBill> {
        self.books.bills.get(&bill_id)
    }

    pub fn lines(
        &self,
        bill_id: u64,
        kind: Kind,
        after: Option<&(String, u64)>,
        limit: u32,
    ) -> Vec<BillLine> {
        let lines = self.books.bills.get(&bill_id).map(|kept| &kept.lines);
        lines
            .into_iter()
            .flatten()
            .filter(|((of, number, line), _)| {
                let place = (number, line);
                *of == kind && after.is_none_or(|(number, line)| place > (number, line))
            })
            .take(limit as usize)
            .map(|(_, line)| line.clone())
            .collect()
    }
}
