//! A channel's bills: made once from its book, with the slips that a seed lets it make.
//!
//! Guarantees: a bill never changes once it is made; every slip is written beside its row, so
//! that what reconciliation must find is known without asking it.

use std::collections::BTreeMap;

use channels::RefundState;
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use payment_core::reconciliation::{AtChannel, DifferenceClass, Kind};
use payment_core::{ChannelKind, Currency, Money};
use payment_runtime::clock;
use payment_runtime::reconcile::books::BillLine;

use super::book::{Book, Charge};
use crate::chance::Chance;
use crate::faults::BillSlips;

/// What the channel keeps, in 1e-5 yuan of each fen: 0.6 %.
const FEE_1E5_PER_FEN: i64 = 6;
/// A slip in a fee: more than the tolerance.
const FEE_SLIP_1E5: i64 = 5_000;
const AMOUNT_SLIP: i64 = 7;

/// A row as it stands on a bill.
#[derive(Clone, Debug)]
pub struct MadeRow {
    pub line: BillLine,
    /// What a slip makes of it; `None`: it is right.
    pub slip: Option<DifferenceClass>,
}

/// One day's bill.
#[derive(Clone, Debug, Default)]
pub struct MadeBill {
    pub digest: String,
    pub rows: Vec<MadeRow>,
    /// Rows that stand on no bill: kind, number, number of the order.
    pub lost: Vec<(Kind, String, String)>,
}

/// The bills that a channel has made.
#[derive(Debug, Default)]
pub(super) struct Bills {
    made: BTreeMap<Date, MadeBill>,
    /// Rows that come with the next bill.
    carried: Vec<MadeRow>,
}

/// What becomes of a row on its way onto its bill.
enum Fate {
    Right,
    Lost,
    NextDay,
    Twice,
    Amount,
    Fee,
}

impl Book {
    /// The bills made so far.
    pub fn bills(&self) -> impl Iterator<Item = (&Date, &MadeBill)> {
        self.bills.made.iter()
    }

    /// Charges nobody asked for.
    pub fn strangers(&self) -> &BTreeMap<String, Charge> {
        &self.strangers
    }

    /// The bill of a day, and all before it, made now if they were not.
    pub fn bill(
        &mut self,
        day: Date,
        beginning: Timestamp,
        slips: &BillSlips,
        seed: u64,
    ) -> MadeBill {
        let mut next = clock::bill_day(beginning);
        while next <= day {
            if !self.bills.made.contains_key(&next) {
                let number = u64::try_from(next.day_of_year()).unwrap_or_default();
                let mut chance = Chance::new(seed ^ (number << 32));
                let made = self.make(next, beginning, slips, &mut chance);
                self.bills.made.insert(next, made);
            }
            let Ok(tomorrow) = next.checked_add(1.day()) else {
                break;
            };
            next = tomorrow;
        }
        self.bills.made.get(&day).cloned().unwrap_or_default()
    }

    fn make(
        &mut self,
        day: Date,
        beginning: Timestamp,
        slips: &BillSlips,
        chance: &mut Chance,
    ) -> MadeBill {
        let mut bill = MadeBill {
            rows: std::mem::take(&mut self.bills.carried),
            ..MadeBill::default()
        };
        for line in self.lines_of(day, beginning) {
            let row = |line, slip| MadeRow { line, slip };
            match fate(&line, slips, chance) {
                Fate::Right => bill.rows.push(row(line, None)),
                Fate::Lost => {
                    let BillLine {
                        kind,
                        number,
                        channel_order_no,
                        ..
                    } = line;
                    bill.lost.push((kind, number, channel_order_no));
                }
                Fate::NextDay => self.bills.carried.push(row(line, None)),
                Fate::Twice => {
                    bill.rows.push(row(line.clone(), None));
                    bill.rows.push(row(line, Some(DifferenceClass::Duplicate)));
                }
                Fate::Amount => bill.rows.push(with_other_amount(line)),
                Fate::Fee => {
                    let mut line = line;
                    line.fee_1e5 += FEE_SLIP_1E5;
                    bill.rows.push(row(line, Some(DifferenceClass::Fee)));
                }
            }
        }
        if chance.percent(slips.stranger_percent) {
            bill.rows.push(self.stranger(day, chance));
        }
        for (place, row) in bill.rows.iter_mut().enumerate() {
            row.line.line = place as u64 + 1;
        }
        bill.digest = digest(&bill.rows);
        bill
    }

    /// What happened on a day by the channel's own rule: WeChat Pay counts a refund when it takes
    /// it and writes down how far it has come, Alipay when it is done.
    fn lines_of(&self, day: Date, beginning: Timestamp) -> Vec<BillLine> {
        let at = |ms: u64| beginning + std::time::Duration::from_millis(ms);
        let kind = self.kind();
        let mut lines = Vec::new();
        for (number, order) in self.orders() {
            let Some(charge) = &order.charge else {
                continue;
            };
            if clock::bill_day(charge.paid_at) == day {
                lines.push(payment_line(number, charge));
            }
            for refund in &order.refunds {
                let counted_at = match kind {
                    ChannelKind::Wechat => Some(at(refund.accepted_at_ms)),
                    ChannelKind::Alipay => refund.finished_at,
                };
                let Some(counted_at) = counted_at.filter(|at| clock::bill_day(*at) == day) else {
                    continue;
                };
                lines.push(BillLine {
                    kind: Kind::Refund,
                    number: refund.number.clone(),
                    line: 0,
                    channel_order_no: number.clone(),
                    transaction_id: charge.transaction_id.clone(),
                    amount: refund.amount,
                    settled: refund.amount,
                    fee_1e5: -refund.amount.minor * FEE_1E5_PER_FEN,
                    foreign: false,
                    status: match refund.state {
                        RefundState::Succeeded => AtChannel::Done,
                        RefundState::Failed => AtChannel::Failed,
                        _ => AtChannel::Processing,
                    },
                    at: clock::to_beijing(counted_at),
                });
            }
        }
        lines
    }

    /// A charge that nobody asked for. The channel stands by it.
    fn stranger(&mut self, day: Date, chance: &mut Chance) -> MadeRow {
        let at = clock::beginning_of(day)
            + std::time::Duration::from_mins(chance.between(0, 24 * 60 - 1));
        let minor = i64::try_from(chance.between(1, 30_000)).unwrap_or(1);
        let charge = Charge {
            transaction_id: self.next_number(),
            amount: Money::new(minor, Currency::CNY),
            paid_at: at,
            at_ms: 0,
            visible_at_ms: 0,
            despite_close: false,
        };
        let number = format!("5{:031x}", chance.bits());
        let line = payment_line(&number, &charge);
        self.strangers.insert(number, charge);
        MadeRow {
            line,
            slip: Some(DifferenceClass::MissingWithUs),
        }
    }
}

fn payment_line(number: &str, charge: &Charge) -> BillLine {
    BillLine {
        kind: Kind::Payment,
        number: number.to_owned(),
        line: 0,
        channel_order_no: number.to_owned(),
        transaction_id: charge.transaction_id.clone(),
        amount: charge.amount,
        settled: charge.amount,
        fee_1e5: charge.amount.minor * FEE_1E5_PER_FEN,
        foreign: false,
        status: AtChannel::Done,
        at: clock::to_beijing(charge.paid_at),
    }
}

fn with_other_amount(mut line: BillLine) -> MadeRow {
    line.amount.minor += AMOUNT_SLIP;
    let class = match line.kind {
        Kind::Payment => DifferenceClass::Amount,
        Kind::Refund => DifferenceClass::RefundAmount,
    };
    MadeRow {
        line,
        slip: Some(class),
    }
}

fn fate(line: &BillLine, slips: &BillSlips, chance: &mut Chance) -> Fate {
    let roll = chance.below(100);
    let mut upto = 0;
    let mut falls = |percent: u64| {
        upto += percent;
        roll < upto
    };
    if falls(slips.lost_percent) {
        Fate::Lost
    } else if falls(slips.next_day_percent) {
        Fate::NextDay
    } else if falls(slips.twice_percent) {
        Fate::Twice
    } else if falls(slips.amount_percent) {
        Fate::Amount
    } else if falls(slips.fee_percent) && line.kind == Kind::Payment {
        Fate::Fee
    } else {
        Fate::Right
    }
}

/// Equal for equal bills, and for no others that a seed could have.
fn digest(rows: &[MadeRow]) -> String {
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    for row in rows {
        for byte in format!("{:?}", row.line).bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }
    format!("{hash:064x}")
}
