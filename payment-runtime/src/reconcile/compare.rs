//! Compares one accepted bill with our records and the ledger, piece by piece.
//!
//! Guarantees: memory holds one piece; a piece's outcomes and the place behind it are kept in one
//! transaction, so that a killed comparison goes on where it was and comes to the same result
//! hash; only the process that holds the day writes.
//!
//! Deliberately not here: what is a difference (`payment_core::reconciliation`), and what is done
//! about it (`correct`).

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::{Date, DateTime};
use payment_core::reconciliation::{
    BillEntry, Compared, Compares, Difference, DifferenceClass, FeeRate, Kind, OwnEntry, Settled,
};
use payment_core::{ChannelKind, Money};

use super::books::{AcceptedBill, Begun, BillLine, Held, NewDifference, OwnRow, Progress};
use super::{Reconciler, RunError};
use crate::clock;
use crate::hash::sha256_hex;
use crate::records::after;

/// What came of comparing one bill.
#[derive(Clone, Debug)]
pub struct Comparison {
    pub held: Held,
    /// Kept only where the run keeps nothing else.
    pub differences: Vec<NewDifference>,
}

/// Differences that a run without a trace shows at most.
const SHOWN_MAX: usize = 1_000;

impl Reconciler {
    /// Compares the bill. `None`: another process is at it, or has accepted another bill of the day:
    /// then nothing that was found so far heals, and the next run compares that one.
    pub async fn compare(&self, bill: &AcceptedBill) -> Result<Option<Comparison>, RunError> {
        let now = self.now();
        let owner = self.payments.host.new_id();
        let begun = self
            .books
            .begin_run(bill, &owner, now, after(now, super::LEASE))
            .await?;
        let Begun::Held(held) = begun else {
            return Ok(None);
        };
        let mut held = *held;
        let mut next = self.piece(bill, &held).await?;
        while let Some(piece) = next {
            advance(&mut held.progress, &piece);
            let now = self.now();
            let until = after(now, super::LEASE);
            let kept = self.books.checkpoint(bill, &held, &piece.found, now, until);
            // What comes next does not depend on what is kept: it is read meanwhile.
            let (ours, read) = futures::join!(kept, self.piece(bill, &held));
            if !ours? {
                return Ok(None);
            }
            next = read?;
        }
        let ended = self.books.finish_run(bill, &held, self.now()).await?;
        Ok(ended.then_some(Comparison {
            held,
            differences: Vec::new(),
        }))
    }

    /// Compares the bill and keeps nothing.
    pub(super) async fn compare_without_trace(
        &self,
        bill: &AcceptedBill,
    ) -> Result<Comparison, RunError> {
        let mut held = Held {
            run_id: 0,
            owner: String::new(),
            progress: Progress::start(),
            resumed: false,
        };
        let mut differences = Vec::new();
        while let Some(piece) = self.piece(bill, &held).await? {
            advance(&mut held.progress, &piece);
            let room = SHOWN_MAX.saturating_sub(differences.len());
            differences.extend(piece.found.into_iter().take(room));
        }
        Ok(Comparison { held, differences })
    }

    /// The next piece; `None` behind the last one.
    async fn piece(&self, bill: &AcceptedBill, held: &Held) -> Result<Option<Piece>, RunError> {
        let progress = &held.progress;
        let Some(raw) = self.raw_piece(bill, progress).await? else {
            return Ok(None);
        };
        let last_on_bill = progress.after.as_ref().map(|(number, _)| number.clone());
        let compares = Compares {
            kind: progress.kind,
            fee_rate: self.fee_rate(bill.channel),
        };
        let entries = self.own_entries(bill, progress.kind, &raw).await?;
        let bill_entries = raw.lines.iter().map(bill_entry).collect();
        let outcomes = compares.merge(entries, bill_entries, last_on_bill);
        let mut row = 0;
        let mut found = Vec::new();
        for compared in &outcomes {
            let on_bill = match compared {
                Compared::Matched { .. } => true,
                Compared::Different(difference) => difference.bill.is_some(),
            };
            let line = on_bill.then(|| &raw.lines[row]);
            row += usize::from(on_bill);
            if let Compared::Different(difference) = compared {
                let own = place_of(&raw.own, &difference.number).ok();
                let own = own.map(|at| &raw.own[at].row);
                found.push(self.difference(bill.day, progress.kind, difference, own, line));
            }
        }
        Ok(Some(Piece {
            outcomes,
            found,
            after: raw.after,
            last: raw.last,
        }))
    }

    async fn raw_piece(
        &self,
        bill: &AcceptedBill,
        progress: &Progress,
    ) -> Result<Option<Raw>, RunError> {
        if progress.done {
            return Ok(None);
        }
        let (kind, limit) = (progress.kind, self.settings().batch_size.max(1));
        let full = |rows: usize| rows >= limit as usize;
        let after = progress.after.as_ref();
        let from = after.map(|(number, _)| number.as_str());
        let lines = self.books.lines(bill.id, kind, after, limit);
        let own = self
            .books
            .own_of_day(bill.channel, bill.day, kind, from, None, limit);
        let (lines, own) = futures::join!(lines, own);
        let (mut lines, mut own) = (lines?, as_own(own?, true));
        // The piece reaches as far as both sides are read.
        let last_line = lines.last().filter(|_| full(lines.len()));
        let last_own = own.last().filter(|_| full(own.len()));
        let ends = [
            last_line.map(|line| &line.number),
            last_own.map(|own| &own.row.number),
        ];
        let until = ends.into_iter().flatten().min().cloned();
        if let Some(until) = &until {
            lines.truncate(lines.partition_point(|line| line.number <= *until));
            own.truncate(own.partition_point(|own| own.row.number <= *until));
        }
        let mut others: Vec<String> = lines
            .iter()
            .map(|line| &line.number)
            .filter(|number| place_of(&own, number).is_err() && Some(number.as_str()) != from)
            .cloned()
            .collect();
        others.dedup();
        if !others.is_empty() {
            let found = self.books.own_by_number(bill.channel, kind, &others);
            own.extend(as_own(found.await?, false));
            own.sort_by(|a, b| a.row.number.cmp(&b.row.number));
        }
        let line_after = lines
            .last()
            .filter(|line| Some(&line.number) == until.as_ref());
        let place = until.clone().map(|number| {
            let line = line_after.map_or(u64::from(u32::MAX), |line| line.line);
            (number, line)
        });
        Ok(Some(Raw {
            lines,
            own,
            after: place,
            last: until.is_none(),
        }))
    }

    async fn own_entries(
        &self,
        bill: &AcceptedBill,
        kind: Kind,
        raw: &Raw,
    ) -> Result<Vec<OwnEntry>, RunError> {
        let is_on_bill = |own: &OwnRow| {
            let place = raw
                .lines
                .binary_search_by(|line| line.number.cmp(&own.number));
            place.is_ok()
        };
        let own = || raw.own.iter().map(|own| &own.row);
        let absent: Vec<String> = own()
            .filter(|own| own.settled == Settled::Yes && !is_on_bill(own))
            .map(|own| own.number.clone())
            .collect();
        let elsewhere = if absent.is_empty() {
            BTreeSet::new()
        } else {
            self.books.on_other_bills(bill, kind, &absent).await?
        };
        let (clearing, twice) = match kind {
            Kind::Payment => self.three_way(bill.channel, &raw.own).await?,
            Kind::Refund => (BTreeMap::new(), BTreeSet::new()),
        };
        let entries = raw.own.iter().map(|Own { row: own, expected }| OwnEntry {
            number: own.number.clone(),
            amount: own.amount,
            settled: own.settled,
            expected: *expected,
            on_another_bill: elsewhere.contains(&own.number),
            ledger_agrees: kind == Kind::Refund
                || clearing.get(&own.payment_no).copied().unwrap_or_default() == own.clearing_minor,
            // Told of the later attempt alone: which attempts a piece holds must not matter.
            charged_twice: own.attempt > 1 && twice.contains(&own.order_id),
        });
        Ok(entries.collect())
    }

    /// The ledger's side of these payments, and orders that were charged more than once.
    async fn three_way(
        &self,
        channel: ChannelKind,
        own: &[Own],
    ) -> Result<(BTreeMap<String, i64>, BTreeSet<String>), RunError> {
        let own = || own.iter().map(|own| &own.row);
        let payment_nos: Vec<String> = own().map(|own| own.payment_no.clone()).collect();
        let clearing = if payment_nos.is_empty() {
            BTreeMap::new()
        } else {
            self.books.clearing_of(channel, &payment_nos).await?
        };
        let repeated: Vec<String> = own()
            .filter(|own| own.attempt > 1 && own.settled == Settled::Yes)
            .map(|own| own.order_id.clone())
            .collect();
        let twice = if repeated.is_empty() {
            BTreeSet::new()
        } else {
            self.books.charged_twice(&repeated).await?
        };
        Ok((clearing, twice))
    }

    fn fee_rate(&self, channel: ChannelKind) -> Option<FeeRate> {
        let rates = &self.settings().fee_rates;
        let ppm = match channel {
            ChannelKind::Wechat => rates.wechat_ppm,
            ChannelKind::Alipay => rates.alipay_ppm,
        }?;
        Some(FeeRate {
            ppm,
            tolerance_1e5: rates.tolerance_1e5,
        })
    }

    fn difference(
        &self,
        day: Date,
        kind: Kind,
        difference: &Difference,
        own: Option<&OwnRow>,
        line: Option<&BillLine>,
    ) -> NewDifference {
        let own = own.filter(|_| difference.ours.is_some());
        let own_at = own.and_then(|own| own.at).map(clock::to_beijing);
        let at = line.map(|line| line.at).or(own_at);
        let order = own.map(|own| &own.channel_order_no);
        let order = order.or(line.map(|line| &line.channel_order_no));
        let transaction = line.map(|line| &line.transaction_id);
        let transaction = transaction.or(own.and_then(|own| own.transaction_id.as_ref()));
        let repeated = difference.class == DifferenceClass::Duplicate;
        let edge = self.settings().late_rows.minutes_around_midnight;
        NewDifference {
            kind,
            class: difference.class,
            number: difference.number.clone(),
            line: line.filter(|_| repeated).map_or(0, |line| line.line),
            channel_order_no: order.cloned().unwrap_or_default(),
            payment_no: own.map(|own| own.payment_no.clone()),
            refund_no: own.and_then(|own| own.refund_no.clone()),
            transaction_id: transaction.cloned(),
            our_state: own.map(|own| own.state),
            ours: difference.ours.as_ref().map(|ours| ours.amount),
            bill: difference.bill.as_ref().map(|bill| bill.amount),
            fee_1e5: difference.bill.as_ref().map(|bill| bill.fee_1e5),
            at,
            at_the_edge: at.is_some_and(|at| is_at_the_edge(day, at, edge)),
        }
    }
}

/// What is read for a piece, before it is compared.
struct Raw {
    lines: Vec<BillLine>,
    /// By number, each once.
    own: Vec<Own>,
    after: Option<(String, u64)>,
    last: bool,
}

/// One record of ours.
struct Own {
    row: OwnRow,
    /// Our records place it on this day.
    expected: bool,
}

fn as_own(rows: Vec<OwnRow>, expected: bool) -> Vec<Own> {
    let own = rows.into_iter().map(|row| Own { row, expected });
    own.collect()
}

/// Where a number stands, or would stand.
fn place_of(own: &[Own], number: &str) -> Result<usize, usize> {
    own.binary_search_by(|own| own.row.number.as_str().cmp(number))
}

/// A compared piece.
struct Piece {
    outcomes: Vec<Compared>,
    found: Vec<NewDifference>,
    after: Option<(String, u64)>,
    last: bool,
}

/// Counts a piece's outcomes and moves the place behind it.
fn advance(progress: &mut Progress, piece: &Piece) {
    for compared in &piece.outcomes {
        progress.totals.add(progress.kind, compared);
        progress.chain = chained(&progress.chain, progress.kind, compared);
    }
    progress.differences += piece.found.len() as u64;
    progress.after.clone_from(&piece.after);
    match (piece.last, progress.kind) {
        (false, _) => {}
        (true, Kind::Payment) => (progress.kind, progress.after) = (Kind::Refund, None),
        (true, Kind::Refund) => progress.done = true,
    }
}

/// Whether two clocks, or two ideas of when something happened, may put it on different days.
fn is_at_the_edge(day: Date, at: DateTime, minutes: u32) -> bool {
    let minute = i32::from(at.hour()) * 60 + i32::from(at.minute());
    let minutes = i32::try_from(minutes).unwrap_or(i32::MAX);
    at.date() != day || minute < minutes || minute >= 1440 - minutes.min(1440) || minutes >= 1440
}

fn bill_entry(line: &BillLine) -> BillEntry {
    BillEntry {
        number: line.number.clone(),
        amount: line.amount,
        settled: line.settled,
        fee_1e5: line.fee_1e5,
        foreign: line.foreign,
        status: line.status,
    }
}

/// The hash over one more outcome. Nothing that differs between two runs goes in.
fn chained(before: &str, kind: Kind, compared: &Compared) -> String {
    let side = |number: &str, amount: Money| {
        format!("{number} {} {}", amount.minor, amount.currency.code())
    };
    let text = match compared {
        Compared::Matched { ours, bill } => format!(
            "matched {} {}",
            side(&ours.number, ours.amount),
            side(&bill.number, bill.amount)
        ),
        Compared::Different(d) => {
            let ours = d.ours.as_ref().map(|ours| side(&ours.number, ours.amount));
            let bill = d.bill.as_ref().map(|bill| side(&bill.number, bill.amount));
            format!("{} {ours:?} {bill:?}", d.class)
        }
    };
    sha256_hex(format!("{before} {} {text}", kind.as_str()).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_edge_is_around_midnight_and_beyond_the_day() {
        let day: Date = "2026-11-22".parse().unwrap();
        let at = |text: &str| is_at_the_edge(day, text.parse().unwrap(), 60);
        assert!(at("2026-11-22T00:59:59"));
        assert!(!at("2026-11-22T01:00:00"));
        assert!(!at("2026-11-22T22:59:59"));
        assert!(at("2026-11-22T23:00:00"));
        assert!(at("2026-11-23T12:00:00"));
    }
}
