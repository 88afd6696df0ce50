//! The report of one run: what was compared, and the proof that nothing was left out.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use payment_core::reconciliation::{Kind, Line, Proof};

use super::list::ListQuery;
use super::shell::{PageError, Shell, page as html};
use super::sides::Fact;
use super::{Desk, format};
use crate::reconcile::books::{AcceptedBill, Progress};
use crate::store::Run;

struct ReportRow {
    label: String,
    /// Where its differences are listed.
    link: Option<String>,
    our_rows: String,
    our_amount: String,
    bill_rows: String,
    bill_amount: String,
}

/// One kind and currency.
struct Section {
    title: String,
    rows: Vec<ReportRow>,
    compared: ReportRow,
    bill: ReportRow,
    holds: bool,
}

#[derive(Template)]
#[template(path = "run.html")]
struct Report {
    shell: Shell,
    channel: &'static str,
    day: String,
    finished: bool,
    holds: bool,
    /// Why nothing can be proven.
    unproven: Option<&'static str>,
    sections: Vec<Section>,
    facts: Vec<Fact>,
}

pub(super) async fn page(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    match report(&desk, &headers, &id).await {
        Ok(report) => html(StatusCode::OK, &report),
        Err(error) => error.page(&desk, &headers),
    }
}

async fn report(desk: &Desk, headers: &HeaderMap, id: &str) -> Result<Report, PageError> {
    let id: u64 = id.parse().map_err(|_| PageError::NotFound("run"))?;
    let store = &desk.parts.store;
    let run = store.run(id).await?.ok_or(PageError::NotFound("run"))?;
    let bill = match run.bill_id {
        Some(bill) => store.bill(bill).await?,
        None => None,
    };
    let channel = format::channel(run.channel);
    let title = format!("Run {id}: {channel} of {}", run.day);
    let sections = sections(&run, bill.as_ref());
    let finished = run.finished_at.is_some();
    let unproven = match (&run.progress, &bill) {
        (None, _) => Some("No progress is kept of this run."),
        (_, None) => Some("Its bill is not kept any more."),
        _ if !finished => Some("The run has not finished."),
        _ => None,
    };
    Ok(Report {
        shell: Shell::new(desk, headers, "overview", title),
        channel,
        day: run.day.to_string(),
        finished,
        holds: unproven.is_none() && sections.iter().all(|section| section.holds),
        unproven,
        sections,
        facts: facts(&run, bill.as_ref()),
    })
}

fn sections(run: &Run, bill: Option<&AcceptedBill>) -> Vec<Section> {
    let Some(progress) = &run.progress else {
        return Vec::new();
    };
    let sums = bill.map(|bill| bill.sums.clone()).unwrap_or_default();
    let proofs = progress.totals.proofs(&sums);
    proofs
        .iter()
        .map(|proof| section(run, progress, proof))
        .collect()
}

fn section(run: &Run, progress: &Progress, proof: &Proof) -> Section {
    let code = proof.currency.as_str();
    let what = match proof.kind {
        Kind::Payment => "Payments",
        Kind::Refund => "Refunds",
    };
    let lines = progress.totals.0.iter();
    let own = lines.filter(|((kind, _, currency), _)| *kind == proof.kind && currency == code);
    let rows = own.map(|((_, class, _), line)| {
        let label = class.map_or("Matched".to_owned(), |class| format::words(class.as_str()));
        let link = class.map(|class| {
            let place = ListQuery {
                state: Some("all".to_owned()),
                class: Some(class.as_str().to_owned()),
                channel: Some(run.channel.as_str().to_owned()),
                day: Some(run.day.to_string()),
                ..ListQuery::default()
            };
            place.link()
        });
        row(label, link, line, code)
    });
    let mut sum = proof.matched;
    sum.our_rows += proof.differences.our_rows;
    sum.our_minor += proof.differences.our_minor;
    sum.bill_rows += proof.differences.bill_rows;
    sum.bill_minor += proof.differences.bill_minor;
    let stated = Line {
        bill_rows: proof.bill_rows,
        bill_minor: proof.bill_minor,
        ..Line::default()
    };
    Section {
        title: format!("{what} in {code}"),
        rows: rows.collect(),
        compared: row("Matched and differences".to_owned(), None, &sum, code),
        bill: row("The bill itself".to_owned(), None, &stated, code),
        holds: proof.holds(),
    }
}

fn row(label: String, link: Option<String>, sums: &Line, code: &str) -> ReportRow {
    ReportRow {
        label,
        link,
        our_rows: format::count(sums.our_rows),
        our_amount: format::amount(sums.our_minor, code),
        bill_rows: format::count(sums.bill_rows),
        bill_amount: format::amount(sums.bill_minor, code),
    }
}

fn facts(run: &Run, bill: Option<&AcceptedBill>) -> Vec<Fact> {
    let fact = |label, value, fixed| Fact {
        label,
        value,
        fixed,
    };
    let finished = run.finished_at;
    let finished = finished.map_or_else(|| "not yet".to_owned(), format::moment);
    let mut facts = vec![
        fact("Run", run.id.to_string(), false),
        fact("Started", format::moment(run.started_at), false),
        fact("Finished", finished, false),
        fact("Rows of the bill", format::count(run.bill_rows), false),
    ];
    if let Some(bill) = bill {
        facts.push(fact("The channel's fees", format::fee(bill.fee_1e5), false));
        facts.push(fact("SHA-256 of the bill", bill.digest.clone(), true));
    }
    if let Some(progress) = &run.progress {
        facts.push(fact("Hash of the result", progress.chain.clone(), true));
    }
    facts
}
