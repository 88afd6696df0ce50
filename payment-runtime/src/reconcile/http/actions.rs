//! What people do about differences, over HTTP.
//!
//! Guarantees: nothing is done without a name that `people` vouches for, nor for the page of
//! another site; each answer is the difference as it stands afterwards.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::Deserialize;

use super::differences;
use super::origin::same_site;
use crate::api::{self, Code, Problem};
use crate::reconcile::people::{self, NotAllowed};
use crate::reconcile::resolve::{Proposal, Resolution, ResolveError};
use crate::reconcile::{Reconciler, shown::DifferenceDetail};
use crate::roles::Parts;

type Detail = Result<Json<DifferenceDetail>, Problem>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Assign {
    assignee: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    note: String,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Approve {
    #[serde(default)]
    note: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resolve {
    resolution: String,
    reason: String,
    note: String,
}

impl Resolve {
    fn proposal(self) -> Result<Proposal, Problem> {
        let resolution = Resolution::parse(&self.resolution).ok_or_else(|| {
            let known = Resolution::ALL.map(Resolution::as_str).join(", ");
            Problem::invalid("resolution", &format!("must be one of {known}"))
        })?;
        Ok(Proposal {
            resolution,
            reason: self.reason,
            note: self.note,
        })
    }
}

/// The person behind a request that changes something.
fn person(parts: &Parts, headers: &HeaderMap) -> Result<String, Problem> {
    if !same_site(headers) {
        let detail = "The request comes from the page of another site.";
        return Err(Problem::new(Code::CrossSite, detail));
    }
    let file = parts.payments.config.reconciliation.people_file.as_deref();
    Ok(people::who(file, headers)?)
}

pub(super) async fn assign(
    State(parts): State<Arc<Parts>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Detail {
    let actor = person(&parts, &headers)?;
    api::require_json(&headers)?;
    let (id, body) = (differences::number(&id)?, api::json::<Assign>(&body)?);
    let reconciler = Reconciler::new(&parts);
    reconciler.assign(id, &body.assignee, &actor).await?;
    differences::detail(&parts, id).await
}

pub(super) async fn comment(
    State(parts): State<Arc<Parts>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Detail {
    let actor = person(&parts, &headers)?;
    api::require_json(&headers)?;
    let (id, body) = (differences::number(&id)?, api::json::<Note>(&body)?);
    let reconciler = Reconciler::new(&parts);
    reconciler.comment(id, &body.note, &actor).await?;
    differences::detail(&parts, id).await
}

pub(super) async fn resolve(
    State(parts): State<Arc<Parts>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Detail {
    let actor = person(&parts, &headers)?;
    api::require_json(&headers)?;
    let (id, body) = (differences::number(&id)?, api::json::<Resolve>(&body)?);
    let proposal = body.proposal()?;
    let reconciler = Reconciler::new(&parts);
    reconciler.resolve(id, &proposal, &actor).await?;
    differences::detail(&parts, id).await
}

pub(super) async fn approve(
    State(parts): State<Arc<Parts>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Detail {
    let actor = person(&parts, &headers)?;
    let id = differences::number(&id)?;
    let body = if body.trim_ascii().is_empty() {
        Approve::default()
    } else {
        api::require_json(&headers)?;
        api::json::<Approve>(&body)?
    };
    let reconciler = Reconciler::new(&parts);
    reconciler.approve(id, &body.note, &actor).await?;
    differences::detail(&parts, id).await
}

pub(super) async fn reject(
    State(parts): State<Arc<Parts>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Detail {
    let actor = person(&parts, &headers)?;
    api::require_json(&headers)?;
    let (id, body) = (differences::number(&id)?, api::json::<Note>(&body)?);
    let reconciler = Reconciler::new(&parts);
    reconciler.reject(id, &body.note, &actor).await?;
    differences::detail(&parts, id).await
}

impl From<NotAllowed> for Problem {
    fn from(why: NotAllowed) -> Self {
        let code = match why {
            NotAllowed::NobodyMay | NotAllowed::Unreadable(_) => Code::NobodyMayAct,
            NotAllowed::NotSaid | NotAllowed::Wrong => Code::NotSignedIn,
        };
        Self::new(code, sentence(&why.to_string()))
    }
}

impl From<ResolveError> for Problem {
    fn from(why: ResolveError) -> Self {
        let code = match why {
            ResolveError::Invalid(text) => return invalid(&text),
            ResolveError::Store(error) => return error.into(),
            ResolveError::NotFound(_) => Code::DifferenceNotFound,
            ResolveError::WrongState { .. } => Code::DifferenceStateConflict,
            ResolveError::SamePerson(_) => Code::SecondPersonNeeded,
            ResolveError::Changed => Code::DifferenceChanged,
        };
        Self::new(code, sentence(&why.to_string()))
    }
}

/// The problem of a field, which its text begins with.
fn invalid(text: &str) -> Problem {
    let known = ["assignee", "note", "reason"];
    let (field, problem) = text.split_once(' ').unwrap_or_default();
    match known.into_iter().find(|param| *param == field) {
        Some(param) => Problem::invalid(param, problem),
        None => Problem::new(Code::ValidationFailed, sentence(text)),
    }
}

fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    let text: String = first.into_iter().chain(characters).collect();
    format!("{text}.")
}
