//! Runs and their reports.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde_json::{Value, json};

use super::PageQuery;
use crate::api::Problem;
use crate::ports::StoreError;
use crate::reconcile::books::AcceptedBill;
use crate::reconcile::report;
use crate::roles::Parts;
use crate::store::Run;

/// Differences of a CSV file that are read at once.
const PAGE: u32 = 500;

/// Runs, newest first; `cursor` is the `nextCursor` of the page before.
pub(super) async fn list(
    State(parts): State<Arc<Parts>>,
    page: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(page) = page.map_err(|error| Problem::bad_query(&error))?;
    let limit = page.limit();
    let runs = parts.store.runs(page.cursor, limit).await?;
    let next = runs
        .last()
        .filter(|_| runs.len() == limit as usize)
        .map(|last| last.id);
    let data: Vec<Value> = runs.iter().map(report::summary).collect();
    Ok(Json(json!({ "data": data, "nextCursor": next })))
}

/// One run's report.
pub(super) async fn show(
    State(parts): State<Arc<Parts>>,
    id: Result<Path<u64>, PathRejection>,
) -> Result<Json<Value>, Problem> {
    let (run, bill) = find(&parts, id).await?;
    let state = match &bill {
        Some(bill) => parts.store.bill_state(bill.id).await?,
        None => None,
    };
    let found = parts
        .store
        .differences_of_run(&run, 0, report::DIFFERENCES_MAX + 1)
        .await?;
    let bill = bill.as_ref().zip(state.as_deref());
    Ok(Json(report::report(&run, bill, found)))
}

/// One run's report as CSV, with every difference.
pub(super) async fn csv(
    State(parts): State<Arc<Parts>>,
    id: Result<Path<u64>, PathRejection>,
) -> Result<Response, Problem> {
    let (run, bill) = find(&parts, id).await?;
    let name = format!("reconciliation-{}-{}-{}.csv", run.channel, run.day, run.id);
    let begin = Bytes::from(report::csv_begin(&run, bill.as_ref()));
    let pages = stream::try_unfold(Some(0), move |after| {
        let (parts, run) = (parts.clone(), run.clone());
        async move {
            match after {
                None => Ok(None),
                Some(after) => next_page(&parts, &run, after).await.map(Some),
            }
        }
    });
    let begin = stream::once(std::future::ready(Ok::<_, StoreError>(begin)));
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ),
    ];
    let body = Body::from_stream(futures::StreamExt::chain(begin, pages));
    Ok((headers, body).into_response())
}

async fn next_page(
    parts: &Parts,
    run: &Run,
    after: u64,
) -> Result<(Bytes, Option<u64>), StoreError> {
    let page = parts.store.differences_of_run(run, after, PAGE).await?;
    let text: String = page.iter().map(report::csv_difference).collect();
    let next = page.last().filter(|_| page.len() == PAGE as usize);
    Ok((Bytes::from(text), next.map(|last| last.id)))
}

async fn find(
    parts: &Parts,
    id: Result<Path<u64>, PathRejection>,
) -> Result<(Run, Option<AcceptedBill>), Problem> {
    // What is no number names no run.
    let Ok(Path(id)) = id else {
        return Err(Problem::no_such_run());
    };
    let run = parts.store.run(id).await?;
    let run = run.ok_or_else(Problem::no_such_run)?;
    let bill = match run.bill_id {
        Some(bill_id) => parts.store.bill(bill_id).await?,
        None => None,
    };
    Ok((run, bill))
}
