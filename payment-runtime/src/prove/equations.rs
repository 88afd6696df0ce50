//! The equations of one channel's day.
//!
//! Guarantees: both sides of each are sums of their own; what stands between them comes from
//! looking for it, never from subtracting one side from the other.

use jiff::civil::Date;
use payment_core::ChannelKind;
use payment_core::reconciliation::Kind;

use super::model::{BillHead, DayProof, Equation, ITEMS_MAX, Item, Listed, decimal};
use super::reasons;
use crate::ports::StoreError;
use crate::reconcile::books::{AcceptedBill, DifferenceState};
use crate::store::{Half, ProofView, RecordOfRow, Scope, Total};

/// Differences read at once.
const PAGE: u32 = 500;
/// Differences without a reason, and money in suspense, that are named.
const NAMED_MAX: usize = 100;
const IN_SUSPENSE_MAX: u32 = 1_000;
/// The currency in which channels tell their fees.
const CNY: &str = "CNY";
/// Hundred-thousandths of a yuan in a fen.
const PER_FEN: i128 = 1_000;

/// Everything that a channel's day has to show.
pub(super) async fn of_channel(
    view: &mut ProofView,
    channel: ChannelKind,
    day: Date,
) -> Result<DayProof, StoreError> {
    let bill = view.bill(channel, day).await?;
    let bill_id = bill.as_ref().map_or(0, |bill| bill.id);
    let mut currencies = view.currencies(channel, day, bill_id).await?;
    if !currencies.iter().any(|known| known == CNY) {
        currencies.insert(0, CNY.to_owned());
    }
    let mut differences = listed(view, channel, day).await?;
    let mut equations = Vec::new();
    for currency in currencies {
        let at = Scope {
            channel,
            day,
            bill_id,
            currency,
        };
        equations.push(orders(view, &at).await?);
        for kind in Kind::ALL {
            equations.push(ledger(view, &at, kind).await?);
            if let Some(bill) = &bill {
                equations.push(on_bill(view, &at, kind).await?);
                equations.push(accepted(view, &at, kind, bill).await?);
            }
        }
        if bill.is_some() && at.currency == CNY {
            equations.push(fees(view, &at).await?);
        }
        equations.push(corrections(view, &at).await?);
        for (difference, minor) in view.in_suspense(&at, IN_SUSPENSE_MAX).await? {
            let amount = format!("{} {}", decimal(minor.into(), &at.currency), at.currency);
            differences.in_suspense.push((difference, minor, amount));
        }
    }
    Ok(DayProof {
        channel: channel.to_string(),
        day: day.to_string(),
        bill: bill.map(|bill| BillHead {
            id: bill.id,
            digest: bill.digest,
        }),
        equations,
        differences,
    })
}

/// One more than may be kept tells that there are too many.
const LOOKED_FOR: u32 = ITEMS_MAX + 1;

/// Too many items to keep: the equation cannot hold.
fn bounded(mut items: Vec<Item>) -> Vec<Item> {
    if items.len() > ITEMS_MAX as usize {
        items.truncate(ITEMS_MAX as usize);
        let about = format!("more than {ITEMS_MAX} items");
        let reason = "too many to list: run the reconciliation of this day".to_owned();
        items.push(Item::unexplained(about, 0, reason));
    }
    items
}

async fn orders(view: &mut ProofView, at: &Scope) -> Result<Equation, StoreError> {
    let left = view.records(at, Kind::Payment).await?;
    let right = view.orders(at).await?;
    let mut items = Vec::new();
    for charge in view.repeated_charges(at, LOOKED_FOR).await? {
        let found = view.differences_of(at, Kind::Payment, &charge.number);
        items.push(reasons::repeated(&charge, &found.await?));
    }
    Ok(Equation::new(
        "orders",
        &at.currency,
        ("payments charged that day", left),
        ("orders charged, one charge each", right),
        bounded(items),
    ))
}

async fn ledger(view: &mut ProofView, at: &Scope, kind: Kind) -> Result<Equation, StoreError> {
    let left = view.records(at, kind).await?;
    let right = view.ledger_half(at, Half::of(kind)).await?;
    let mut items = Vec::new();
    for shift in view.shifts(at, kind, LOOKED_FOR).await? {
        let life = match &shift.payment_no {
            Some(number) => Some(view.life(at, number).await?),
            None => None,
        };
        items.push(reasons::shift(&shift, life.as_ref()));
    }
    let (name, what) = match kind {
        Kind::Payment => ("ledger", "charges in the ledger, by value day"),
        Kind::Refund => ("refunds-ledger", "refunds in the ledger, by value day"),
    };
    Ok(Equation::new(
        name,
        &at.currency,
        (records_name(kind), left),
        (what, right),
        bounded(items),
    ))
}

async fn on_bill(view: &mut ProofView, at: &Scope, kind: Kind) -> Result<Equation, StoreError> {
    let left = view.records(at, kind).await?;
    let right = view.bill_rows(at, kind).await?;
    let mut items = Vec::new();
    for row in view.row_items(at, kind, LOOKED_FOR).await? {
        let record = row.record.as_ref();
        let of_the_day = record.is_some_and(|record| is_of(record, at.day));
        let found = view.differences_of(at, kind, &row.number).await?;
        items.push(reasons::row(kind, &row, of_the_day, &found));
    }
    for record in view.absent_records(at, kind, LOOKED_FOR).await? {
        let others = view.other_bills(at, kind, &record.number).await?;
        let found = view.differences_of(at, kind, &record.number).await?;
        items.push(reasons::absent(kind, &record, &others, &found));
    }
    let (name, what) = match kind {
        Kind::Payment => ("bill", "payments on the channel's bill"),
        Kind::Refund => ("refunds-bill", "refunds on the channel's bill"),
    };
    Ok(Equation::new(
        name,
        &at.currency,
        (records_name(kind), left),
        (what, right),
        bounded(items),
    ))
}

/// Whether a row's record counts on our side of the day, in the row's currency.
fn is_of(record: &RecordOfRow, day: Date) -> bool {
    record.settled && record.same_currency && record.day == Some(day)
}

async fn accepted(
    view: &mut ProofView,
    at: &Scope,
    kind: Kind,
    bill: &AcceptedBill,
) -> Result<Equation, StoreError> {
    let left = view.bill_rows(at, kind).await?;
    let told = bill.sums.get(&(kind, at.currency.clone()));
    let (rows, minor) = told.copied().unwrap_or_default();
    let mut items = Vec::new();
    if rows != left.rows {
        let reason = format!("{} rows now, {rows} when it was accepted", left.rows);
        items.push(Item::unexplained("the bill".to_owned(), 0, reason));
    }
    let name = match kind {
        Kind::Payment => "bill-kept",
        Kind::Refund => "refunds-bill-kept",
    };
    Ok(Equation::new(
        name,
        &at.currency,
        ("rows of the bill now", left),
        ("rows of the bill as accepted", Total { rows, minor }),
        items,
    ))
}

async fn fees(view: &mut ProofView, at: &Scope) -> Result<Equation, StoreError> {
    let on_bill = view.fees_on_bill(at.bill_id).await?;
    let right = view.fees_posted(at).await?;
    let left = Total {
        rows: on_bill.rows,
        minor: on_bill.minor / PER_FEN,
    };
    let rest = on_bill.minor % PER_FEN;
    let mut items = Vec::new();
    if rest != 0 {
        let up = i128::from(rest.abs() * 2 >= PER_FEN) * rest.signum();
        let reason = format!("{rest} hundred-thousandths of a yuan, rounded to the nearest fen");
        items.push(Item::explained("rounding".to_owned(), up, reason));
    }
    Ok(Equation::new(
        "fees",
        &at.currency,
        ("fees on the channel's bill", left),
        ("fees in the ledger", right),
        items,
    ))
}

async fn corrections(view: &mut ProofView, at: &Scope) -> Result<Equation, StoreError> {
    let left = view.correcting(at, false).await?;
    let right = view.correcting(at, true).await?;
    let strays = view.strays(at, LOOKED_FOR).await?;
    let items = strays.iter().map(|stray| {
        let about = format!("entry {} ({})", stray.id, stray.entry_key);
        let reason = "it names no difference of the day".to_owned();
        Item::unexplained(about, -i128::from(stray.amount), reason)
    });
    Ok(Equation::new(
        "corrections",
        &at.currency,
        ("suspense, frozen money and corrections", left),
        ("booked for the day's differences", right),
        bounded(items.collect()),
    ))
}

const fn records_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Payment => "payments charged that day",
        Kind::Refund => "refunds of that day",
    }
}

async fn listed(
    view: &mut ProofView,
    channel: ChannelKind,
    day: Date,
) -> Result<Listed, StoreError> {
    let (mut listed, mut after) = (Listed::default(), 0);
    loop {
        let page = view.differences(channel, day, after, PAGE).await?;
        for difference in &page {
            after = difference.id;
            let key = format!("{} {}", difference.class, difference.state.as_str());
            *listed.counts.entry(key).or_default() += 1;
            listed.count += 1;
            listed.unresolved += u64::from(difference.state != DifferenceState::Resolved);
            if reasons::has_reason(difference) {
                continue;
            }
            listed.without_reason_count += 1;
            if listed.without_reason.len() < NAMED_MAX {
                listed.without_reason.push(difference.id);
            }
        }
        if page.len() < PAGE as usize {
            return Ok(listed);
        }
    }
}
