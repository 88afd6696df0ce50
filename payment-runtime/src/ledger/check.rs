//! The independent check: everything recomputed from the rows, nothing believed.
//!
//! Guarantees: one consistent view of the database, also while payments go on; pages of bounded
//! size; memory grows with accounts and days, not with entries; every violation is counted.

use std::collections::BTreeMap;

use payment_core::{Account, Cause, Currency};

use super::report::{Finding, Head, LedgerReport};
use super::seal::{GENESIS, SHARDS, Sum, SumKey, Sums, seal, shard_of};
use crate::ports::StoreError;
use crate::records::{Entry, PaymentRecord};
use crate::store::{LedgerView, PlacedEntry, SealRow, Store};

/// Rows read at once.
const PAGE: u32 = 1000;

/// Sums as a check keeps them: by shard too.
type ShardSums = BTreeMap<(SumKey, u8), Sum>;

/// Checks the whole ledger against itself and against the payments' records. It holds one
/// connection and one snapshot for as long as it reads.
pub async fn check(store: &Store) -> Result<LedgerReport, StoreError> {
    let mut view = store.ledger_view().await?;
    let mut report = LedgerReport::default();
    let mut sums = ShardSums::new();
    let heads = view.heads().await?;
    for shard in 0..SHARDS {
        let told = heads.iter().find(|head| head.shard == shard);
        chain(&mut view, shard, told, &mut sums, &mut report).await?;
    }
    if let Some(shard) = view.shard_beyond(SHARDS).await? {
        let detail = "there is no such shard, and it has seals";
        report.found(Finding::ChainEnd, format!("shard {shard}"), detail);
    }
    entries(&mut view, &mut report).await?;
    queue(&mut view, &mut report).await?;
    balances(&mut view, sums, &mut report).await?;
    payments(&mut view, &mut report).await?;
    view.close().await?;
    Ok(report)
}

async fn chain(
    view: &mut LedgerView,
    shard: u8,
    told: Option<&Head>,
    sums: &mut ShardSums,
    report: &mut LedgerReport,
) -> Result<(), StoreError> {
    let mut end = Head {
        shard,
        sequence: 0,
        hash: GENESIS.to_owned(),
    };
    loop {
        let page = view.seals(shard, end.sequence, PAGE).await?;
        for row in &page {
            link(&mut end, row, report);
            // What is altered or gone shows in its seal; the sums are of what is there.
            if let Some(entry) = &row.entry {
                add(sums, shard, entry);
            }
        }
        if page.len() < PAGE as usize {
            break;
        }
    }
    if told != Some(&end) {
        let seen = format!("{} seals, the last is {}", end.sequence, end.hash);
        let said = told.map_or("nothing".to_owned(), |head| {
            format!("{} and {}", head.sequence, head.hash)
        });
        let detail = format!("{seen}; its head says {said}");
        report.found(Finding::ChainEnd, format!("shard {shard}"), detail);
    }
    report.heads.push(end);
    Ok(())
}

/// Looks at one seal. What comes after it is measured against the seal as it stands, so that one
/// change is one violation.
fn link(end: &mut Head, row: &SealRow, report: &mut LedgerReport) {
    report.sealed += 1;
    let place = || format!("shard {} seal {}", end.shard, row.sequence);
    if row.sequence != end.sequence + 1 {
        let detail = format!("the seals after {} are gone", end.sequence);
        report.found(Finding::SealMissing, place(), detail);
    }
    match &row.entry {
        None => {
            let detail = format!("entry {} is gone", row.entry_id);
            report.found(Finding::EntryMissing, place(), detail);
        }
        Some(entry) if seal(&end.hash, end.shard, row.sequence, entry) != row.hash => {
            let detail = format!("entry {} ({}) or its seal", entry.id, entry.entry_key);
            report.found(
                Finding::Altered,
                place(),
                detail + " is not what was sealed",
            );
        }
        Some(_) => {}
    }
    end.sequence = row.sequence;
    end.hash.clone_from(&row.hash);
}

fn add(sums: &mut ShardSums, shard: u8, entry: &Entry) {
    let mut one = Sums::default();
    one.add(entry);
    for (key, sum) in one.0 {
        let total = sums.entry((key, shard)).or_default();
        total.debit_minor = total.debit_minor.saturating_add(sum.debit_minor);
        total.credit_minor = total.credit_minor.saturating_add(sum.credit_minor);
        total.entries += sum.entries;
    }
}

async fn entries(view: &mut LedgerView, report: &mut LedgerReport) -> Result<(), StoreError> {
    let mut after = 0;
    loop {
        let page = view.entries(after, PAGE).await?;
        for placed in &page {
            after = placed.entry.id;
            stands_well(placed, report);
        }
        if page.len() < PAGE as usize {
            return Ok(());
        }
    }
}

fn stands_well(placed: &PlacedEntry, report: &mut LedgerReport) {
    let entry = &placed.entry;
    report.entries += 1;
    report.waiting += u64::from(placed.queued);
    let place = || format!("entry {} ({})", entry.id, entry.entry_key);
    if !placed.sealed && !placed.queued {
        let detail = "neither sealed nor waiting for it";
        report.found(Finding::Unsealed, place(), detail);
    }
    if let Some(why) = malformed(entry) {
        report.found(Finding::Malformed, place(), why);
    }
    let follows = Cause::parse(&entry.cause).is_some_and(Cause::follows_record);
    if follows && !placed.has_record {
        let detail = match &entry.payment_no {
            Some(number) => format!("there is no payment {number}"),
            None => format!("{} without a payment", entry.cause),
        };
        report.found(Finding::NoRecord, place(), detail);
    }
}

fn malformed(entry: &Entry) -> Option<String> {
    let shard = shard_of(entry.payment_no.as_deref(), &entry.entry_key);
    if entry.shard != shard {
        return Some(format!(
            "it belongs into shard {shard}, not {}",
            entry.shard
        ));
    }
    if let Some(name) = [&entry.debit, &entry.credit]
        .into_iter()
        .find(|name| Account::parse(name).is_none())
    {
        return Some(format!("there is no account {name}"));
    }
    if Cause::parse(&entry.cause).is_none() {
        return Some(format!("there is no cause {}", entry.cause));
    }
    if Currency::parse(&entry.currency).is_err() {
        return Some(format!("there is no currency {}", entry.currency));
    }
    let moves = entry.amount_minor > 0 && entry.debit != entry.credit;
    (!moves).then(|| "it moves nothing".to_owned())
}

async fn queue(view: &mut LedgerView, report: &mut LedgerReport) -> Result<(), StoreError> {
    for (shard, entry_id) in view.queue_errors(PAGE).await? {
        let detail = "it waits for a seal, and is not there, in another shard, or sealed";
        report.found(
            Finding::Queue,
            format!("shard {shard} entry {entry_id}"),
            detail,
        );
    }
    Ok(())
}

async fn balances(
    view: &mut LedgerView,
    mut sums: ShardSums,
    report: &mut LedgerReport,
) -> Result<(), StoreError> {
    let mut totals: BTreeMap<String, i128> = BTreeMap::new();
    for (key, shard, told) in view.balances().await? {
        let total = totals.entry(key.1.clone()).or_default();
        *total += i128::from(told.debit_minor) - i128::from(told.credit_minor);
        let seen = sums.remove(&(key.clone(), shard)).unwrap_or_default();
        if seen != told {
            report.found(
                Finding::Balance,
                balance_name(&key, shard),
                format!("it says {}, its entries {}", text(&told), text(&seen)),
            );
        }
    }
    for ((key, shard), seen) in sums {
        let detail = format!("there is none, and its entries say {}", text(&seen));
        report.found(Finding::Balance, balance_name(&key, shard), detail);
    }
    for (currency, total) in totals.into_iter().filter(|(_, total)| *total != 0) {
        let detail = format!("debits exceed credits by {total} minor units");
        report.found(Finding::CurrencySum, currency, detail);
    }
    Ok(())
}

fn balance_name((account, currency, day): &SumKey, shard: u8) -> String {
    format!("{account} {currency} {day} shard {shard}")
}

fn text(sum: &Sum) -> String {
    format!(
        "{} debited, {} credited in {} entries",
        sum.debit_minor, sum.credit_minor, sum.entries
    )
}

/// Minor units by account and currency.
type Shown = BTreeMap<(String, String), i64>;

async fn payments(view: &mut LedgerView, report: &mut LedgerReport) -> Result<(), StoreError> {
    let mut after = 0;
    loop {
        let page = view.payments(after, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        let mut shown: BTreeMap<String, Shown> = BTreeMap::new();
        for moved in view.moved(after, last.id).await? {
            let accounts = shown.entry(moved.payment_no).or_default();
            let currency = moved.currency;
            *accounts.entry((moved.debit, currency.clone())).or_default() += moved.minor;
            *accounts.entry((moved.credit, currency)).or_default() -= moved.minor;
        }
        for payment in &page {
            let seen = shown.remove(&payment.payment_no).unwrap_or_default();
            follows(payment, seen, report);
        }
        after = last.id;
    }
}

fn follows(payment: &PaymentRecord, mut seen: Shown, report: &mut LedgerReport) {
    report.payments += 1;
    let currency = payment.amount.currency.code();
    let expected: Shown = payment
        .position()
        .balances()
        .into_iter()
        .map(|(account, minor)| ((account.to_string(), currency.to_owned()), minor))
        .collect();
    seen.retain(|_, minor| *minor != 0);
    if seen != expected {
        let status = payment.status;
        let detail = format!(
            "{status} must show {}, its entries show {}",
            listed(&expected),
            listed(&seen)
        );
        report.found(Finding::Position, &payment.payment_no, detail);
    }
}

fn listed(shown: &Shown) -> String {
    if shown.is_empty() {
        return "nothing".to_owned();
    }
    let each = shown
        .iter()
        .map(|((account, currency), minor)| format!("{account} {minor} {currency}"));
    each.collect::<Vec<_>>().join(", ")
}
