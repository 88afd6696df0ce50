//! Bill files waiting to be fetched, and what can be wrong with their rows.
//!
//! A bill is made from the book when its URL is asked for; the bytes are kept until the URL
//! expires, so hash and file always belong together. Only the newest files are kept.
//!
//! Not here: the files' formats (`wechat::bill`, `alipay::bill`).

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use crate::book::{Charge, DayEntry, LineKind, Payment, State};
use crate::clock::{BillReadiness, after, beijing_midnight, bill_readiness};
use crate::faults::{Fault, Site};
use crate::{Channel, Simulator, callbacks, clock, ids, locked};

const FILES_MAX: usize = 16;
const LATE_SECONDS: u64 = 86_400;
const NOON_SECONDS: i64 = 12 * 3600;

#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) bytes: Bytes,
    pub(crate) name: String,
    pub(crate) gzip: bool,
    expires: Timestamp,
}

#[derive(Debug, Default)]
pub(crate) struct Files {
    all: VecDeque<(String, File)>,
    /// Days whose bills come late, and until when (calendar time).
    late: HashMap<(Channel, Date), Timestamp>,
}

/// Why there is no bill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoBill {
    /// The day is not over: asking is a mistake.
    DayNotOver,
    /// Ask again later.
    Creating,
}

/// The lines of a day's bill, faults of the book's own included.
pub(crate) fn rows(
    simulator: &Simulator,
    site: &Site<'_>,
    day: Date,
) -> Result<(Vec<DayEntry>, BillFaults), NoBill> {
    let calendar = simulator.clock.calendar();
    let readiness = bill_readiness(day, calendar);
    if readiness == BillReadiness::DayNotOver {
        return Err(NoBill::DayNotOver);
    }
    let strikes = |fault| simulator.faults.strikes(fault, site);
    if let Some(fired) = strikes(Fault::BillLate) {
        let seconds = fired.seconds.unwrap_or(LATE_SECONDS);
        let until = after(calendar, i64::try_from(seconds).unwrap_or(i64::MAX));
        let late = &mut locked(&simulator.files).late;
        late.insert((site.channel, day), until);
    }
    let until = locked(&simulator.files)
        .late
        .get(&(site.channel, day))
        .copied();
    let late = until.is_some_and(|until| calendar < until);
    if late || readiness == BillReadiness::Creating || strikes(Fault::BillNotReady).is_some() {
        return Err(NoBill::Creating);
    }
    let mut book = simulator.book(site.channel);
    for (fault, kind) in [
        (Fault::BillNextDayRow, LineKind::Payment),
        (Fault::BillRefundNextDay, LineKind::Refund),
    ] {
        if strikes(fault).is_some() {
            book.postpone_first(day, kind);
        }
    }
    let mut rows = book.day(day);
    drop(book);
    let faults = BillFaults::draw(simulator, site);
    let noon = after(beijing_midnight(day), NOON_SECONDS);
    faults.apply_to_rows(&mut rows, site.channel, noon);
    Ok((rows, faults))
}

/// Keeps a file; the answer is the token under which it can be fetched for `seconds`.
pub(crate) fn keep(
    simulator: &Simulator,
    bytes: Vec<u8>,
    name: String,
    gzip: bool,
    seconds: i64,
) -> String {
    let expires = clock::now()
        .checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX);
    let token = ids::token();
    let mut files = locked(&simulator.files);
    if files.all.len() >= FILES_MAX {
        files.all.pop_front();
    }
    files.all.push_back((
        token.clone(),
        File {
            bytes: bytes.into(),
            name,
            gzip,
            expires,
        },
    ));
    token
}

pub(crate) fn fetch(simulator: &Simulator, token: &str) -> Option<File> {
    let now = clock::now();
    let mut files = locked(&simulator.files);
    files.all.retain(|(_, file)| file.expires > now);
    files
        .all
        .iter()
        .find(|(known, _)| known == token)
        .map(|(_, file)| file.clone())
}

/// The bill faults that strike one bill.
#[derive(Debug, Default)]
pub(crate) struct BillFaults(Vec<Fault>);

impl BillFaults {
    fn draw(simulator: &Simulator, site: &Site<'_>) -> Self {
        let all = [
            Fault::BillMissingRow,
            Fault::BillExtraRow,
            Fault::BillDuplicateRow,
            Fault::BillWrongAmount,
            Fault::BillWrongHash,
            Fault::BillTruncated,
            Fault::ExpiredBillUrl,
        ];
        let strike = |fault: &Fault| simulator.faults.strikes(*fault, site).is_some();
        Self(all.into_iter().filter(strike).collect())
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.0.contains(&fault)
    }

    fn apply_to_rows(&self, rows: &mut Vec<DayEntry>, channel: Channel, noon: Timestamp) {
        let first = rows
            .iter()
            .position(|row| matches!(row, DayEntry::Paid(..)));
        if self.has(Fault::BillWrongAmount)
            && let Some(DayEntry::Paid(charge, _)) = first.and_then(|index| rows.get_mut(index))
        {
            charge.amount_minor += 1;
        }
        if self.has(Fault::BillMissingRow)
            && let Some(index) = first
        {
            rows.remove(index);
        }
        if self.has(Fault::BillDuplicateRow)
            && let Some(row) = rows.iter().find(|row| matches!(row, DayEntry::Paid(..)))
        {
            rows.insert(0, row.clone());
        }
        if self.has(Fault::BillExtraRow) {
            rows.push(stranger(callbacks::new_payment(channel, noon)));
        }
    }
}

/// A charge nobody asked for.
fn stranger(payment: Payment) -> DayEntry {
    let charge = Charge {
        out_trade_no: format!("X{}", &ids::token()[..24]),
        fingerprint: [0; 32],
        trade_type: "NATIVE",
        description: "unknown".to_owned(),
        attach: String::new(),
        amount_minor: 100,
        notify_url: String::new(),
        code: String::new(),
        created: payment.time,
        code_until: None,
        expires: None,
        unpaid_until: None,
        opened: None,
        state: State::Paid(payment.clone()),
        refund_until: None,
        refunded_minor: 0,
        refund_count: 0,
    };
    DayEntry::Paid(charge, payment)
}
