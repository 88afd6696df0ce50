//! The overview: one look tells whether the money is in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use jiff::ToSpan as _;
use jiff::civil::Date;
use payment_core::ChannelKind;
use payment_core::reconciliation::Proof;

use super::headline::{ChannelDays, Headline, Needing, Standing, headline};
use super::list::ListQuery;
use super::shell::{PageError, Shell, page as html};
use super::{Desk, format};
use crate::clock;
use crate::ports::StoreError;
use crate::reconcile::books::DifferenceState;
use crate::store::{ClassTotal, LatestRun, RefusedBill};

/// Finished days that are shown.
const DAYS: i64 = 14;

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    shell: Shell,
    headline: Headline,
    channels: Vec<&'static str>,
    days: Vec<DayRow>,
    totals: Vec<TotalRow>,
    refused: Vec<RefusedRow>,
    ledger: LedgerState,
}

struct DayRow {
    day: String,
    cells: Vec<Cell>,
}

/// One channel's day.
struct Cell {
    /// Chooses the mark and its colour; the words say the same.
    kind: &'static str,
    mark: &'static str,
    state: String,
    detail: String,
    run: Option<u64>,
    unresolved: u64,
    unresolved_link: String,
}

struct TotalRow {
    class: String,
    meaning: &'static str,
    state: String,
    state_name: &'static str,
    state_meaning: &'static str,
    count: String,
    amount: String,
    link: String,
}

struct RefusedRow {
    day: String,
    channel: &'static str,
    reason: String,
    detail: String,
    at: String,
}

struct LedgerState {
    unsealed: String,
    none_unsealed: bool,
}

/// Everything the page is made of, as it stands in the books.
struct Seen {
    today: Date,
    runs: BTreeMap<(ChannelKind, Date), LatestRun>,
    unresolved: BTreeMap<(ChannelKind, Date), u64>,
    totals: Vec<ClassTotal>,
    refused: Vec<RefusedBill>,
    unsealed: u64,
}

pub(super) async fn page(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> Response {
    match seen(&desk).await {
        Ok(seen) => html(StatusCode::OK, &overview(&desk, &headers, &seen)),
        Err(error) => PageError::from(error).page(&desk, &headers),
    }
}

async fn seen(desk: &Desk) -> Result<Seen, StoreError> {
    let store = &desk.parts.store;
    let now = desk.now();
    let today = clock::bill_day(now);
    let since = today.checked_sub(DAYS.days()).unwrap_or(today);
    let (runs, unresolved, totals, refused, unsealed) = futures::try_join!(
        store.latest_runs(since, now),
        store.unresolved_by_day(since),
        store.unresolved_totals(),
        store.refused_bills(),
        store.unsealed_count(),
    )?;
    let runs = runs.into_iter();
    Ok(Seen {
        today,
        runs: runs
            .map(|latest| ((latest.run.channel, latest.run.day), latest))
            .collect(),
        unresolved: unresolved
            .into_iter()
            .map(|(channel, day, count)| ((channel, day), count))
            .collect(),
        totals,
        refused,
        unsealed,
    })
}

fn overview(desk: &Desk, headers: &HeaderMap, seen: &Seen) -> Overview {
    let channels = seen.channels(desk);
    let days = seen.days();
    let of_channel = |channel: &ChannelKind| ChannelDays {
        name: format::channel(*channel),
        days: days
            .iter()
            .map(|day| (*day, seen.standing(*channel, *day)))
            .collect(),
    };
    let standings: Vec<ChannelDays> = channels.iter().map(of_channel).collect();
    let yesterday = seen.today.yesterday().unwrap_or(seen.today);
    let violations = desk.parts.payments.metrics.ledger_violations();
    let row = |day: &Date| DayRow {
        day: day.to_string(),
        cells: channels.iter().map(|c| seen.cell(*c, *day)).collect(),
    };
    Overview {
        shell: Shell::new(desk, headers, "overview", "Overview"),
        headline: headline(&standings, yesterday, &needing(&seen.totals), violations),
        channels: channels.iter().map(|c| format::channel(*c)).collect(),
        days: days.iter().rev().map(row).collect(),
        totals: seen.totals.iter().map(total_row).collect(),
        refused: seen.refused.iter().map(refused_row).collect(),
        ledger: LedgerState {
            unsealed: format::counted(seen.unsealed, "entry waits", "entries wait"),
            none_unsealed: seen.unsealed == 0,
        },
    }
}

impl Seen {
    /// Configured channels, and those that once were.
    fn channels(&self, desk: &Desk) -> Vec<ChannelKind> {
        let configured = desk.parts.payments.channels.kinds().into_iter();
        let known = self.runs.keys().map(|(channel, _)| *channel);
        let all: BTreeSet<ChannelKind> = configured.chain(known).collect();
        all.into_iter().collect()
    }

    /// The last finished days, oldest first; today only if it has a run already.
    fn days(&self) -> Vec<Date> {
        let finished = (1..=DAYS)
            .rev()
            .filter_map(|n| self.today.checked_sub(n.days()).ok());
        let today = self.runs.keys().any(|(_, day)| *day == self.today);
        finished.chain(today.then_some(self.today)).collect()
    }

    fn refusal(&self, channel: ChannelKind, day: Date) -> Option<&RefusedBill> {
        self.refused
            .iter()
            .find(|bill| bill.channel == channel && bill.day == day)
    }

    fn standing(&self, channel: ChannelKind, day: Date) -> Standing {
        if self.refusal(channel, day).is_some() {
            return Standing::Refused;
        }
        match self.runs.get(&(channel, day)) {
            None => Standing::Nothing,
            Some(latest) if latest.run.finished_at.is_none() => Standing::Unfinished,
            Some(latest) => Standing::Compared {
                holds: holds(latest),
            },
        }
    }

    fn cell(&self, channel: ChannelKind, day: Date) -> Cell {
        let latest = self.runs.get(&(channel, day));
        let (kind, mark, state, detail) = match (self.standing(channel, day), latest) {
            (Standing::Refused, _) => {
                let why = self.refusal(channel, day);
                let why = why.map_or("", |bill| bill.reason.as_str());
                ("trouble", "\u{2715}", "Bill refused", format::words(why))
            }
            (Standing::Unfinished, Some(latest)) => unfinished(latest),
            (Standing::Compared { holds }, Some(latest)) => compared(latest, holds),
            _ if day >= self.today.yesterday().unwrap_or(day) => {
                ("none", "\u{00b7}", "Not made yet", String::new())
            }
            _ => ("none", "\u{00b7}", "Not compared", String::new()),
        };
        let place = ListQuery {
            channel: Some(channel.as_str().to_owned()),
            day: Some(day.to_string()),
            ..ListQuery::default()
        };
        Cell {
            kind,
            mark,
            state: state.to_owned(),
            detail,
            run: latest.map(|latest| latest.run.id),
            unresolved: self.unresolved.get(&(channel, day)).copied().unwrap_or(0),
            unresolved_link: place.link(),
        }
    }
}

type Shown = (&'static str, &'static str, &'static str, String);

fn unfinished(latest: &LatestRun) -> Shown {
    let rows = latest.run.bill_rows;
    let progress = latest.run.progress.as_ref();
    let done: u64 = progress
        .map(|p| p.totals.0.values().map(|line| line.bill_rows).sum())
        .unwrap_or_default();
    let percent = (done.min(rows) * 100).checked_div(rows).unwrap_or(0);
    let detail = format!(
        "{percent} % of {}",
        format::counted(rows, "bill row", "bill rows")
    );
    if latest.held {
        ("running", "\u{25b6}", "Running", detail)
    } else {
        let detail = format!("{detail}; the next run goes on");
        ("attention", "\u{2016}", "Stopped", detail)
    }
}

fn compared(latest: &LatestRun, holds: bool) -> Shown {
    let progress = latest.run.progress.as_ref();
    let matched = progress.map_or(0, |p| p.totals.matched());
    let differences = progress.map_or(0, |p| p.differences);
    let mut detail = format!("{} matched", format::count(matched));
    if differences > 0 {
        let found = format::counted(differences, "difference", "differences");
        detail = format!("{detail}, {found} found");
    }
    if holds {
        ("fine", "\u{2713}", "Proof holds", detail)
    } else {
        ("trouble", "\u{2715}", "Proof does not hold", detail)
    }
}

/// Whether what was compared adds up to the bill. Without the bill's own sums nothing is proven.
fn holds(latest: &LatestRun) -> bool {
    let proofs = latest
        .run
        .progress
        .as_ref()
        .zip(latest.sums.as_ref())
        .map(|(progress, sums)| progress.totals.proofs(sums));
    proofs.is_some_and(|proofs| proofs.iter().all(Proof::holds))
}

fn needing(totals: &[ClassTotal]) -> Needing {
    let mut amounts: BTreeMap<&str, i128> = BTreeMap::new();
    let mut needing = Needing::default();
    for total in totals {
        match total.state {
            DifferenceState::Waiting | DifferenceState::Resolved => continue,
            DifferenceState::Open => {}
            DifferenceState::Proposed => needing.proposed += total.count,
        }
        needing.count += total.count;
        *amounts.entry(&total.currency).or_default() += total.minor;
    }
    needing.amounts = amounts
        .into_iter()
        .map(|(currency, minor)| (currency.to_owned(), minor))
        .collect();
    needing
}

fn total_row(total: &ClassTotal) -> TotalRow {
    let place = ListQuery {
        state: Some(total.state.as_str().to_owned()),
        class: Some(total.class.as_str().to_owned()),
        ..ListQuery::default()
    };
    TotalRow {
        class: format::words(total.class.as_str()),
        meaning: total.class.meaning(),
        state: format::words(total.state.as_str()),
        state_name: total.state.as_str(),
        state_meaning: format::state_meaning(total.state),
        count: format::count(total.count),
        amount: format::amount(total.minor, &total.currency),
        link: place.link(),
    }
}

fn refused_row(bill: &RefusedBill) -> RefusedRow {
    RefusedRow {
        day: bill.day.to_string(),
        channel: format::channel(bill.channel),
        reason: format::words(&bill.reason),
        detail: bill.detail.clone(),
        at: format::moment(bill.at),
    }
}
