//! What people do on the page.
//!
//! Guarantees: refused before anything else if another site sent it, then if nobody says who they
//! are; what was typed is not lost to an error; a decision about something that changed meanwhile
//! is not taken.

use std::sync::Arc;

use axum::Form;
use axum::extract::rejection::FormRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use serde::Deserialize;

use super::detail::{self, Typed};
use super::list::{self, ListQuery};
use super::shell::PageError;
use super::{DIFFERENCES, Desk, HOME};
use crate::reconcile::books::DifferenceState;
use crate::reconcile::http::origin::same_site;
use crate::reconcile::people;
use crate::reconcile::resolve::{Proposal, Resolution, ResolveError};

/// A form's fields in their order; one may be there more than once.
type Fields = Vec<(String, String)>;

#[derive(Default, Deserialize)]
pub(super) struct Wanted {
    to: Option<String>,
}

/// Asks who is there, and goes back to where they were.
pub(super) async fn sign_in(
    State(desk): State<Arc<Desk>>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Response {
    let to = wanted.to.filter(|to| is_ours(to));
    match people::who(desk.people_file(), &headers) {
        Ok(_) => Redirect::to(to.as_deref().unwrap_or(HOME)).into_response(),
        Err(why) => PageError::NotAllowed(why).page(&desk, &headers),
    }
}

/// A path of these pages and nothing else.
fn is_ours(to: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_?=&%.".contains(&byte);
    let rest = to.strip_prefix(HOME);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
        && to.bytes().all(plain)
}

/// The person who sent a form from our own page.
fn person(desk: &Desk, headers: &HeaderMap) -> Result<String, PageError> {
    if !same_site(headers) {
        return Err(PageError::CrossSite);
    }
    people::who(desk.people_file(), headers).map_err(PageError::NotAllowed)
}

fn read(form: Result<Form<Fields>, FormRejection>) -> Result<Fields, PageError> {
    match form {
        Ok(Form(fields)) => Ok(fields),
        Err(error) => Err(PageError::BadRequest(error.body_text())),
    }
}

fn field(fields: &Fields, name: &str) -> String {
    let found = fields.iter().find(|(known, _)| known == name);
    // Browsers send line ends of their own.
    found.map_or_else(String::new, |(_, value)| value.replace("\r\n", "\n"))
}

/// Assigns the chosen differences of the list to one person.
pub(super) async fn assign_many(
    State(desk): State<Arc<Desk>>,
    headers: HeaderMap,
    form: Result<Form<Fields>, FormRejection>,
) -> Response {
    let read = person(&desk, &headers).and_then(|actor| Ok((actor, read(form)?)));
    let done = match read {
        Ok((actor, fields)) => desk.assign_all(&actor, &fields).await,
        Err(error) => Err(error),
    };
    match done {
        Ok(query) => Redirect::to(&query.link()).into_response(),
        Err(error) => error.page(&desk, &headers),
    }
}

impl Desk {
    async fn assign_all(&self, actor: &str, fields: &Fields) -> Result<ListQuery, PageError> {
        let chosen: Vec<u64> = fields
            .iter()
            .filter(|(name, _)| name == "id")
            .filter_map(|(_, id)| id.parse().ok())
            .take(list::PAGE as usize)
            .collect();
        let to = field(fields, "to");
        let mut done = 0;
        for id in &chosen {
            match self.reconciler.assign(*id, &to, actor).await {
                Ok(_) => done += 1,
                Err(ResolveError::Store(error)) => return Err(error.into()),
                Err(ResolveError::Invalid(what)) => {
                    return Err(PageError::BadRequest(format!("{what}.")));
                }
                // Told as a number: these changed under the reader's eyes.
                Err(_) => {}
            }
        }
        let assigned = if done == chosen.len() {
            done.to_string()
        } else {
            format!("{done}-of-{}", chosen.len())
        };
        let back = |name| Some(field(fields, name));
        let filter = ListQuery {
            state: back("state"),
            class: back("class"),
            channel: back("channel"),
            day: back("day"),
            number: back("number"),
            assignee: back("assignee"),
            ..ListQuery::default()
        };
        Ok(ListQuery {
            assigned: Some(assigned),
            ..filter.filter_alone()
        })
    }
}

/// Does what one form of a difference's page asks.
pub(super) async fn act(
    State(desk): State<Arc<Desk>>,
    Path((id, action)): Path<(String, String)>,
    headers: HeaderMap,
    form: Result<Form<Fields>, FormRejection>,
) -> Response {
    let read = person(&desk, &headers).and_then(|actor| Ok((actor, read(form)?)));
    let (actor, fields) = match read {
        Ok(read) => read,
        Err(error) => return error.page(&desk, &headers),
    };
    let Ok(number) = id.parse::<u64>() else {
        return PageError::NotFound("difference").page(&desk, &headers);
    };
    match desk.step(number, &action, &actor, &fields).await {
        Ok(done) => Redirect::to(&format!("{DIFFERENCES}/{number}?done={done}")).into_response(),
        Err(Refused::Page(error)) => error.page(&desk, &headers),
        Err(Refused::Step(error)) => {
            let typed = Typed {
                form: action,
                error: told(&error),
                to: field(&fields, "to"),
                note: field(&fields, "note"),
                reason: field(&fields, "reason"),
                resolution: field(&fields, "resolution"),
            };
            detail::show(&desk, &headers, &id, status(&error), typed, None).await
        }
    }
}

/// Why a step was not taken: shown instead of the page, or on it.
enum Refused {
    Page(PageError),
    Step(ResolveError),
}

impl From<ResolveError> for Refused {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::NotFound(_) => Self::Page(PageError::NotFound("difference")),
            ResolveError::Store(error) => Self::Page(error.into()),
            error => Self::Step(error),
        }
    }
}

impl Desk {
    /// Takes one step; returns what was done.
    async fn step(
        &self,
        id: u64,
        action: &str,
        actor: &str,
        fields: &Fields,
    ) -> Result<&'static str, Refused> {
        let (reconciler, note) = (&self.reconciler, field(fields, "note"));
        match action {
            "assign" => {
                let to = field(fields, "to");
                reconciler.assign(id, &to, actor).await?;
                Ok("assign")
            }
            "comment" => {
                reconciler.comment(id, &note, actor).await?;
                Ok("comment")
            }
            "resolve" => {
                let proposal = proposal(fields)?;
                self.is_as_seen(id, fields).await?;
                let after = reconciler.resolve(id, &proposal, actor).await?;
                let proposed = after.state == DifferenceState::Proposed;
                Ok(if proposed { "propose" } else { "resolve" })
            }
            "approve" => {
                self.is_as_seen(id, fields).await?;
                reconciler.approve(id, &note, actor).await?;
                Ok("approve")
            }
            "reject" => {
                self.is_as_seen(id, fields).await?;
                reconciler.reject(id, &note, actor).await?;
                Ok("reject")
            }
            _ => Err(Refused::Page(PageError::NotFound("action"))),
        }
    }

    /// A decision holds for what its page showed, not for what came after it.
    async fn is_as_seen(&self, id: u64, fields: &Fields) -> Result<(), Refused> {
        let found = self.reconciler.books.difference(id).await;
        let found = found.map_err(ResolveError::Store)?;
        let found = found.ok_or(ResolveError::NotFound(id))?;
        if detail::seen(&found) == field(fields, "seen") {
            return Ok(());
        }
        Err(ResolveError::Changed.into())
    }
}

fn proposal(fields: &Fields) -> Result<Proposal, ResolveError> {
    let chosen = Resolution::parse(&field(fields, "resolution"));
    let chosen = chosen.ok_or_else(|| {
        ResolveError::Invalid("resolution is required: choose one of the three".to_owned())
    })?;
    Ok(Proposal {
        resolution: chosen,
        reason: field(fields, "reason").trim().to_owned(),
        note: field(fields, "note").trim().to_owned(),
    })
}

const fn status(error: &ResolveError) -> StatusCode {
    match error {
        ResolveError::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
        ResolveError::NotFound(_) => StatusCode::NOT_FOUND,
        ResolveError::WrongState { .. } | ResolveError::SamePerson(_) | ResolveError::Changed => {
            StatusCode::CONFLICT
        }
        ResolveError::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// The error as a sentence.
fn told(error: &ResolveError) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    let sentence: String = first.into_iter().chain(letters).collect();
    format!("{sentence}. Nothing was done.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signing_in_leads_nowhere_else() {
        for ours in [
            "/reconciliation",
            "/reconciliation/differences/7",
            "/reconciliation?x=1",
        ] {
            assert!(is_ours(ours), "{ours}");
        }
        for other in [
            "",
            "/",
            "//evil.example",
            "https://evil.example/reconciliation",
            "/reconciliation.evil.example",
            "/reconciliation/\r\nx: y",
            "/reconciliation\\@evil.example",
            "/reconciliation/../../x y",
        ] {
            assert!(!is_ours(other), "{other}");
        }
    }

    #[test]
    fn errors_are_sentences() {
        let error = ResolveError::Invalid("note is required".to_owned());
        assert_eq!(told(&error), "Note is required. Nothing was done.");
    }
}
