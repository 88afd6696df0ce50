//! What every page has around it, and pages that say that something went wrong.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

use super::assets::{ICON, SCRIPT, STYLE};
use super::{Desk, HOME, SIGN_IN, format};
use crate::ports::StoreError;
use crate::reconcile::people::{self, NotAllowed};

/// Who looks at a page, as far as they said.
pub(super) enum Viewer {
    Known(String),
    /// Reading needs no name; the browser asks for one when they act.
    Unnamed,
    /// Nobody may act, and why.
    NobodyMay(String),
}

impl Viewer {
    pub(super) fn of(desk: &Desk, headers: &HeaderMap) -> Self {
        let file = desk.people_file();
        match people::who(file, headers) {
            Ok(name) => Self::Known(name),
            Err(NotAllowed::NotSaid | NotAllowed::Wrong) => Self::Unnamed,
            Err(error @ (NotAllowed::NobodyMay | NotAllowed::Unreadable(_))) => {
                Self::NobodyMay(error.to_string())
            }
        }
    }

    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Known(name) => Some(name),
            Self::Unnamed | Self::NobodyMay(_) => None,
        }
    }

    pub(super) const fn may_sign_in(&self) -> bool {
        matches!(self, Self::Unnamed)
    }
}

/// What every page has around it.
pub(super) struct Shell {
    pub(super) title: String,
    pub(super) section: &'static str,
    pub(super) viewer: Viewer,
    /// Where to come back to after signing in.
    here: String,
    /// When the page was made, Beijing time.
    pub(super) made_at: String,
    pub(super) style: String,
    pub(super) script: String,
    pub(super) icon: String,
}

impl Shell {
    pub(super) fn new(
        desk: &Desk,
        headers: &HeaderMap,
        section: &'static str,
        title: impl Into<String>,
    ) -> Self {
        Self {
            title: title.into(),
            section,
            viewer: Viewer::of(desk, headers),
            here: HOME.to_owned(),
            made_at: format::moment(desk.now()),
            style: STYLE.path(),
            script: SCRIPT.path(),
            icon: ICON.path(),
        }
    }

    /// A page that is not the overview.
    pub(super) fn at(mut self, path: String) -> Self {
        self.here = path;
        self
    }

    pub(super) fn sign_in(&self) -> String {
        let to = form_urlencoded::Serializer::new(String::new())
            .append_pair("to", &self.here)
            .finish();
        format!("{SIGN_IN}?{to}")
    }
}

/// A page with a status.
pub(super) fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be made");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message {
    shell: Shell,
    headline: String,
    text: String,
}

/// Why there is no page.
#[derive(Debug)]
pub(super) enum PageError {
    NotFound(&'static str),
    /// A field of the query or form, and what to do.
    BadRequest(String),
    CrossSite,
    NotAllowed(NotAllowed),
    Store(StoreError),
}

impl From<StoreError> for PageError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl PageError {
    fn said(&self) -> (StatusCode, &'static str, String) {
        match self {
            Self::NotFound(what) => {
                let text = format!("There is no such {what}. It may have been mistyped.");
                (StatusCode::NOT_FOUND, "Not found", text)
            }
            Self::BadRequest(text) => (
                StatusCode::BAD_REQUEST,
                "That cannot be read",
                text.to_owned(),
            ),
            Self::CrossSite => {
                let text = "The request came from another site, and nothing was done. Open the \
                            difference here and act on its page.";
                (
                    StatusCode::FORBIDDEN,
                    "Refused: another site sent this",
                    text.to_owned(),
                )
            }
            Self::NotAllowed(why) => refusal(why),
            Self::Store(_) => {
                let text = "The database did not answer. Nothing is lost: look again in a moment.";
                (
                    StatusCode::SERVICE_UNAVAILABLE,
                    "Not available now",
                    text.to_owned(),
                )
            }
        }
    }

    pub(super) fn page(&self, desk: &Desk, headers: &HeaderMap) -> Response {
        if let Self::Store(error) = self {
            let error = error as &dyn std::error::Error;
            tracing::error!(error, "a page could not be made");
        }
        let (status, headline, text) = self.said();
        let template = Message {
            shell: Shell::new(desk, headers, "", headline),
            headline: headline.to_owned(),
            text,
        };
        let mut response = page(status, &template);
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Basic realm=\"reconciliation\"");
            let headers = response.headers_mut();
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

fn refusal(why: &NotAllowed) -> (StatusCode, &'static str, String) {
    let (status, headline) = match why {
        NotAllowed::NotSaid | NotAllowed::Wrong => (StatusCode::UNAUTHORIZED, "Who are you?"),
        NotAllowed::NobodyMay => (StatusCode::FORBIDDEN, "Nobody may act yet"),
        NotAllowed::Unreadable(_) => (StatusCode::INTERNAL_SERVER_ERROR, "Nobody may act now"),
    };
    (status, headline, format!("Nothing was done: {why}."))
}

pub(super) async fn no_such_page(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> Response {
    PageError::NotFound("page").page(&desk, &headers)
}
