//! The web page of reconciliation, for the people who answer for the money.
//!
//! Guarantees: pages are made here and need no script; whatever came from outside is escaped;
//! reading is open, acting needs a name ([`super::people`]) and comes from our own page
//! ([`super::http::origin`]); what a page shows is bounded; nothing is kept in a browser or on the
//! way to it but the style sheet and the script, whose names change with their content.
//!
//! Deliberately not here: what may be done about a difference ([`super::resolve`]), SQL (`store`).

mod acting;
mod assets;
mod bookings;
mod detail;
mod format;
mod headline;
mod list;
mod overview;
mod rows;
mod run;
mod shell;
mod sides;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{Redirect, Response};
use axum::routing::get;

use super::Reconciler;
use crate::roles::Parts;

const HOME: &str = "/reconciliation";
const DIFFERENCES: &str = "/reconciliation/differences";
/// Not below the pages: a browser sends a name that it was asked for along with whatever lies at or
/// below the folder of the address that asked.
const SIGN_IN: &str = "/reconciliation-sign-in";

/// The longest form: a note of two thousand characters, each encoded.
const FORM_BYTES_MAX: usize = 64 * 1024;

const POLICY: &str = "default-src 'self'; object-src 'none'; base-uri 'none'; \
                      form-action 'self'; frame-ancestors 'none'";

/// What the pages work with.
struct Desk {
    parts: Arc<Parts>,
    reconciler: Reconciler,
}

impl Desk {
    fn now(&self) -> jiff::Timestamp {
        self.parts.payments.now()
    }

    fn people_file(&self) -> Option<&std::path::Path> {
        self.parts
            .payments
            .config
            .reconciliation
            .people_file
            .as_deref()
    }
}

/// The pages, below `/reconciliation`.
pub(super) fn router(parts: Arc<Parts>) -> Router {
    let reconciler = Reconciler::new(&parts);
    let desk = Arc::new(Desk { parts, reconciler });
    let list = || async { Redirect::to(DIFFERENCES) };
    Router::new()
        .route("/", get(|| async { Redirect::to(HOME) }))
        .route("/reconciliation", get(overview::page))
        .route(SIGN_IN, get(acting::sign_in))
        .route("/reconciliation/differences", get(list::page))
        .route(
            "/reconciliation/differences/assign",
            get(list).post(acting::assign_many),
        )
        .route("/reconciliation/differences/{id}", get(detail::page))
        .route(
            "/reconciliation/differences/{id}/{action}",
            get(detail::back).post(acting::act),
        )
        .route("/reconciliation/runs/{id}", get(run::page))
        .route("/reconciliation/static/{name}", get(assets::serve))
        .route("/reconciliation/{*rest}", get(shell::no_such_page))
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(axum::middleware::map_response(guarded))
        .with_state(desk)
}

/// What a browser must not do with any of it.
async fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}
