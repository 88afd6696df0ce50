//! The tables below a difference's columns.
//!
//! Guarantees: what may be long is cut, and says so.

use super::format;
use crate::reconcile::books::Action;
use crate::records::{Entry, Event, RefundRecord};

/// Lines of a payment's history, and ledger entries, that are shown.
pub(super) const LINES_MAX: u32 = 200;

/// As many rows as are shown, and whether there are more.
pub(super) struct Shown<Row> {
    pub(super) rows: Vec<Row>,
    pub(super) cut: bool,
}

impl<Row> Shown<Row> {
    pub(super) fn of<Record>(records: &[Record], row: impl Fn(&Record) -> Row) -> Self {
        let most = LINES_MAX as usize;
        Self {
            rows: records.iter().take(most).map(row).collect(),
            cut: records.len() > most,
        }
    }
}

pub(super) struct TimelineRow {
    pub(super) at: String,
    pub(super) source: String,
    pub(super) what: String,
    pub(super) change: String,
    pub(super) decision: String,
    pub(super) detail: String,
}

pub(super) struct RefundRow {
    pub(super) number: String,
    pub(super) amount: String,
    pub(super) status: String,
    pub(super) origin: String,
    pub(super) at: String,
}

pub(super) struct EntryRow {
    pub(super) id: u64,
    pub(super) day: String,
    pub(super) debit: String,
    pub(super) credit: String,
    pub(super) amount: String,
    pub(super) cause: String,
    pub(super) actor: String,
}

pub(super) struct TrailRow {
    pub(super) at: String,
    pub(super) actor: String,
    pub(super) action: String,
    pub(super) rule: String,
    pub(super) reason: String,
    pub(super) note: String,
    pub(super) evidence: String,
}

pub(super) fn timeline(event: &Event) -> TimelineRow {
    let change = match &event.from {
        Some(from) if *from == event.to => format::words(&event.to),
        Some(from) => format!(
            "{} \u{2192} {}",
            format::words(from),
            format::words(&event.to)
        ),
        None => format::words(&event.to),
    };
    let what = match &event.refund_no {
        Some(number) => format!(
            "Refund {number}: {}",
            format::words(&event.observation).to_lowercase()
        ),
        None => format::words(&event.observation),
    };
    TimelineRow {
        at: format::moment(event.at),
        source: format::words(&event.source),
        what,
        change,
        decision: format::words(&event.decision),
        detail: event.detail.clone(),
    }
}

pub(super) fn refund(refund: &RefundRecord) -> RefundRow {
    RefundRow {
        number: refund.refund_no.clone(),
        amount: format::money(refund.amount),
        status: format::words(&refund.status.to_string()),
        origin: format::words(refund.origin.as_str()),
        at: refund
            .refunded_at
            .map_or_else(|| "\u{2014}".to_owned(), format::moment),
    }
}

pub(super) fn entry(entry: &Entry) -> EntryRow {
    EntryRow {
        id: entry.id,
        day: entry.day.clone(),
        debit: entry.debit.clone(),
        credit: entry.credit.clone(),
        amount: format::amount(i128::from(entry.amount_minor), &entry.currency),
        cause: format::words(&entry.cause),
        actor: entry.actor.clone(),
    }
}

pub(super) fn trail(action: &Action) -> TrailRow {
    TrailRow {
        at: format::moment(action.at),
        actor: action.actor.clone(),
        action: format::words(&action.action),
        rule: action.rule.clone().unwrap_or_default(),
        reason: action.reason.clone(),
        note: action.note.clone(),
        evidence: format::pretty_json(&action.evidence),
    }
}
