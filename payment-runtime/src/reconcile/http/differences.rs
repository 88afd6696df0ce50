//! Differences: lists, the whole of one, CSV.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use futures::stream;
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value, json};

use super::csv;
use crate::api::{Code, Problem, page_limit};
use crate::ports::StoreError;
use crate::reconcile::BadFilter;
use crate::reconcile::books::{DifferenceRecord, Filter};
use crate::reconcile::shown::{self, DifferenceDetail};
use crate::roles::Parts;

/// Rows of one CSV file; its `Link` leads to the rest.
const CSV_ROWS_MAX: u32 = 100_000;
/// Rows of a CSV file that are in memory.
const CSV_PAGE: u32 = 1_000;
const CSV_PATH: &str = "/api/reconciliation/differences.csv";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    state: Option<String>,
    class: Option<String>,
    channel: Option<String>,
    day: Option<String>,
    number: Option<String>,
    assignee: Option<String>,
    cursor: Option<u64>,
    limit: Option<u32>,
}

/// What is wanted: the filter, the id to go on after, how many.
struct Wanted {
    filter: Filter,
    after: u64,
    limit: u32,
}

fn wanted(query: Result<Query<ListQuery>, QueryRejection>) -> Result<Wanted, Problem> {
    let Query(query) = query.map_err(|error| Problem::bad_query(&error))?;
    let filter = Filter {
        state: query.state,
        class: query.class,
        channel: query.channel,
        day: query.day,
        number: query.number,
        assignee: query.assignee,
    };
    Ok(Wanted {
        filter: filter.checked()?,
        after: query.cursor.unwrap_or(0),
        limit: page_limit(query.limit, 50)?,
    })
}

impl From<BadFilter> for Problem {
    fn from(bad: BadFilter) -> Self {
        Self::invalid(bad.param, &bad.problem)
    }
}

pub(super) async fn list(
    State(parts): State<Arc<Parts>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let wanted = wanted(query)?;
    // One more than is shown tells whether there are more.
    let mut found = parts
        .store
        .differences(&wanted.filter, wanted.after, wanted.limit + 1)
        .await?;
    let more = found.len() > wanted.limit as usize;
    found.truncate(wanted.limit as usize);
    let next = found.last().filter(|_| more).map(|last| last.id);
    let data: Vec<_> = found.iter().map(shown::line).collect();
    Ok(Json(
        json!({ "data": data, "hasMore": more, "nextCursor": next }),
    ))
}

pub(super) async fn show(
    State(parts): State<Arc<Parts>>,
    Path(id): Path<String>,
) -> Result<Json<DifferenceDetail>, Problem> {
    detail(&parts, number(&id)?).await
}

/// The whole of a difference, or that there is none.
pub(super) async fn detail(parts: &Parts, id: u64) -> Result<Json<DifferenceDetail>, Problem> {
    let detail = shown::detail(parts, id).await?;
    detail.map(Json).ok_or_else(|| none(&id.to_string()))
}

/// The id in a path.
pub(super) fn number(id: &str) -> Result<u64, Problem> {
    let number = id.parse::<u64>().ok();
    // As we write it: no sign, no leading zeros.
    let number = number.filter(|number| number.to_string() == id);
    number.ok_or_else(|| none(id))
}

fn none(id: &str) -> Problem {
    let shown: String = id.chars().take(40).collect();
    let detail = format!("There is no difference {shown}.");
    Problem::new(Code::DifferenceNotFound, detail)
}

pub(super) async fn csv(
    State(parts): State<Arc<Parts>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let wanted = wanted(query)?;
    let (store, filter, after) = (&parts.store, &wanted.filter, wanted.after);
    let beyond = store
        .difference_behind(filter, after, CSV_ROWS_MAX)
        .await?
        .map(|first| first - 1);
    // Before the answer begins: a database that is away must not look like an empty file.
    let first = store.differences(filter, after, CSV_PAGE).await?;
    let link = beyond.and_then(|after| next_file(filter, after));
    let mut response = Body::from_stream(rows(parts, wanted.filter, first, beyond)).into_response();
    let headers = response.headers_mut();
    let csv = HeaderValue::from_static("text/csv; charset=utf-8; header=present");
    headers.insert(header::CONTENT_TYPE, csv);
    let name = HeaderValue::from_static("attachment; filename=\"differences.csv\"");
    headers.insert(header::CONTENT_DISPOSITION, name);
    if let Some(link) = link {
        headers.insert(header::LINK, link);
    }
    Ok(response)
}

/// The address of the rows that one file does not hold.
fn next_file(filter: &Filter, after: u64) -> Option<HeaderValue> {
    let mut url = Url::parse("http://localhost").ok()?;
    for (name, value) in [
        ("state", &filter.state),
        ("class", &filter.class),
        ("channel", &filter.channel),
        ("day", &filter.day),
        ("number", &filter.number),
        ("assignee", &filter.assignee),
    ] {
        if let Some(value) = value {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    let cursor = after.to_string();
    url.query_pairs_mut().append_pair("cursor", &cursor);
    let link = format!("<{CSV_PATH}?{}>; rel=\"next\"", url.query()?);
    link.parse().ok()
}

/// A CSV file on its way out.
struct File {
    parts: Arc<Parts>,
    filter: Filter,
    page: Vec<DifferenceRecord>,
    left: usize,
    /// Whatever has a greater id stands in the next file.
    until: u64,
    begun: bool,
}

fn rows(
    parts: Arc<Parts>,
    filter: Filter,
    first: Vec<DifferenceRecord>,
    until: Option<u64>,
) -> impl futures::Stream<Item = Result<Bytes, StoreError>> {
    let file = File {
        parts,
        filter,
        page: first,
        left: CSV_ROWS_MAX as usize,
        until: until.unwrap_or(u64::MAX),
        begun: false,
    };
    // An error breaks the answer off, so that nobody takes a part for the whole.
    stream::try_unfold(Some(file), |file| async {
        let Some(mut file) = file else {
            return Ok(None);
        };
        let text = file.text();
        let more = file.turn().await?;
        Ok(Some((Bytes::from(text), more.then_some(file))))
    })
}

impl File {
    fn text(&mut self) -> String {
        let mut text = if self.begun {
            String::new()
        } else {
            csv::head()
        };
        self.begun = true;
        for difference in self.page.iter().take(self.left) {
            if difference.id <= self.until {
                text += &csv::row(&shown::line(difference));
            }
        }
        self.left = self.left.saturating_sub(self.page.len());
        text
    }

    /// Reads the next page; `false` after the last.
    async fn turn(&mut self) -> Result<bool, StoreError> {
        let full = self.page.len() == CSV_PAGE as usize;
        let Some(last) = self.page.last().filter(|_| full && self.left > 0) else {
            return Ok(false);
        };
        if last.id >= self.until {
            return Ok(false);
        }
        let (store, after) = (&self.parts.store, last.id);
        self.page = store.differences(&self.filter, after, CSV_PAGE).await?;
        Ok(!self.page.is_empty())
    }
}
