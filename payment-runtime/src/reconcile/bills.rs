//! Bills on their way into the books.
//!
//! Guarantees: rows count only once the whole file is believed (hash, totals, day); a bill that is
//! not believed leaves nothing but its reason; memory holds a few thousand rows.
//!
//! Deliberately not here: the files' formats (`channels`).

use std::sync::Arc;

use async_trait::async_trait;
use channels::{Bill, BillFile, BillRow, BillRowKind, Channels, Outcome, ReadError};
use jiff::Timestamp;
use jiff::civil::Date;
use payment_core::guards::holds;
use payment_core::reconciliation::{AtChannel, Kind};
use payment_core::{ChannelKind, Guard};
use tokio::sync::mpsc;

use super::books::{
    AcceptedBill, BillLine, BillRefused, BillRows, Bills, FetchedBill, Importing, Sums,
};
use super::{Reconciler, RunError};
use crate::payments::Payments;
use crate::roles::Parts;

/// Rows handed over at once; two such heaps are in memory.
const HEAP: usize = 2_000;

/// Bills of the channels themselves.
pub struct ChannelBills {
    channels: Arc<Channels>,
    payments: Arc<Payments>,
}

impl ChannelBills {
    pub fn new(parts: &Parts) -> Self {
        Self {
            channels: parts.channels.clone(),
            payments: parts.payments.clone(),
        }
    }
}

#[async_trait]
impl Bills for ChannelBills {
    async fn bill(&self, kind: ChannelKind, day: Date, now: Timestamp) -> Outcome<FetchedBill> {
        let Some(channel) = self.channels.get(kind) else {
            return Outcome::Done(FetchedBill::NotReady);
        };
        let call = channel.bill(day, now);
        match self.payments.measured(kind, "bill", call).await {
            Outcome::Done(Bill::NotReady) => Outcome::Done(FetchedBill::NotReady),
            Outcome::Done(Bill::Empty) => Outcome::Done(FetchedBill::Empty),
            Outcome::Done(Bill::File(file)) => {
                let ours = move |row: &BillRow| channel.is_ours(row);
                Outcome::Done(FetchedBill::Rows(Box::new(FileRows::read(file, ours))))
            }
            Outcome::Refused(refusal) => Outcome::Refused(refusal),
            Outcome::Unknown(why) => Outcome::Unknown(why),
        }
    }
}

/// The rows of a file, read by a thread of its own.
pub struct FileRows {
    digest: String,
    rows: mpsc::Receiver<Result<Vec<BillLine>, BillRefused>>,
    believed: bool,
}

impl FileRows {
    /// Begins to read; `is_ours` tells rows of our merchant and app from others.
    pub fn read(mut file: BillFile, is_ours: impl Fn(&BillRow) -> bool + Send + 'static) -> Self {
        let (sender, rows) = mpsc::channel(2);
        let digest = file.digest().to_owned();
        tokio::task::spawn_blocking(move || {
            let mut heap = Vec::with_capacity(HEAP);
            let read = file.read(|row| {
                let foreign = !is_ours(&row);
                heap.push(line(row, foreign));
                if heap.len() < HEAP {
                    return Ok(());
                }
                let full = std::mem::replace(&mut heap, Vec::with_capacity(HEAP));
                sender.blocking_send(Ok(full)).map_err(|_| NobodyReads)
            });
            let last = match read {
                Ok(_) => Ok(heap),
                Err(ReadError::Stopped(NobodyReads)) => return,
                Err(ReadError::Refused(error)) => Err(BillRefused {
                    reason: error.reason().to_owned(),
                    detail: error.to_string(),
                }),
            };
            let refused = last.is_err();
            // A reader that went away needs nothing more.
            let _ = sender.blocking_send(last);
            if !refused {
                let _ = sender.blocking_send(Ok(Vec::new()));
            }
        });
        Self {
            digest,
            rows,
            believed: false,
        }
    }
}

/// Whoever asked for the rows is gone.
struct NobodyReads;

#[async_trait]
impl BillRows for FileRows {
    fn digest(&self) -> &str {
        &self.digest
    }

    /// The heap that is empty is the file's own word that it is whole.
    async fn next(&mut self) -> Result<Option<Vec<BillLine>>, BillRefused> {
        if self.believed {
            return Ok(None);
        }
        match self.rows.recv().await {
            Some(Ok(heap)) if heap.is_empty() => {
                self.believed = true;
                Ok(None)
            }
            Some(Ok(heap)) => Ok(Some(heap)),
            Some(Err(refused)) => Err(refused),
            None => Err(BillRefused {
                reason: "not-read".to_owned(),
                detail: "reading the file broke off; run again".to_owned(),
            }),
        }
    }
}

fn line(row: BillRow, foreign: bool) -> BillLine {
    let (kind, number) = match row.kind {
        BillRowKind::Payment => (Kind::Payment, row.channel_order_no.clone()),
        BillRowKind::Refund => (Kind::Refund, row.refund_no.unwrap_or_default()),
    };
    BillLine {
        kind,
        number,
        line: row.line,
        channel_order_no: row.channel_order_no,
        transaction_id: row.transaction_id,
        amount: row.amount,
        settled: row.settled,
        fee_1e5: row.fee_1e5,
        foreign,
        status: status(row.refund_status),
        at: row.time,
    }
}

fn status(refund: Option<channels::BillRefundStatus>) -> AtChannel {
    use channels::BillRefundStatus as Status;
    match refund {
        None | Some(Status::Succeeded) => AtChannel::Done,
        Some(Status::Processing | Status::Abnormal | Status::Unknown) => AtChannel::Processing,
        Some(Status::Failed) => AtChannel::Failed,
    }
}

impl Reconciler {
    /// The channel's bill of that day, in the books. `None`: the channel has not made it yet.
    /// `trial`: beside it, so that nothing that counts is replaced.
    pub async fn import(
        &self,
        channel: ChannelKind,
        day: Date,
        trial: bool,
    ) -> Result<Option<AcceptedBill>, RunError> {
        let fetched = match self.bills.bill(channel, day, self.now()).await {
            Outcome::Done(fetched) => fetched,
            Outcome::Refused(refusal) => {
                let why = format!("{}: {}", refusal.code, refusal.message);
                return Err(RunError::ChannelRefused(why));
            }
            Outcome::Unknown(why) => {
                let why = format!("{}: {}", why.reason.as_str(), why.detail);
                return Err(RunError::NoAnswer(why));
            }
        };
        let mut rows = match fetched {
            FetchedBill::NotReady => return Ok(None),
            FetchedBill::Empty => Box::new(NoRows) as Box<dyn BillRows>,
            FetchedBill::Rows(rows) => rows,
        };
        let begun = self
            .books
            .begin_import(channel, day, rows.digest(), trial, self.now())
            .await?;
        let bill_id = match begun {
            Importing::Known(bill) => return Ok(Some(bill)),
            Importing::New(bill_id) => bill_id,
        };
        let (mut sums, mut fee_1e5) = (Sums::new(), 0_i64);
        loop {
            match rows.next().await {
                Ok(None) => break,
                Ok(Some(heap)) => {
                    for line in &heap {
                        count(&mut sums, line);
                        fee_1e5 = fee_1e5.saturating_add(line.fee_1e5);
                    }
                    self.books.add_lines(bill_id, &heap).await?;
                }
                Err(_) if !holds(Guard::BillCountsWhole) => break,
                Err(refused) => {
                    let now = self.now();
                    self.books.refuse_bill(bill_id, &refused, now).await?;
                    return Err(RunError::BillRefused(refused));
                }
            }
        }
        let accepted = self.books.accept_bill(bill_id, &sums, fee_1e5, self.now());
        Ok(Some(accepted.await?))
    }
}

fn count(sums: &mut Sums, line: &BillLine) {
    let key = (line.kind, line.amount.currency.code().to_owned());
    let (rows, minor) = sums.entry(key).or_default();
    *rows += 1;
    *minor += i128::from(line.amount.minor);
}

/// The bill of a day without business.
struct NoRows;

#[async_trait]
impl BillRows for NoRows {
    fn digest(&self) -> &'static str {
        "empty"
    }

    async fn next(&mut self) -> Result<Option<Vec<BillLine>>, BillRefused> {
        Ok(None)
    }
}
