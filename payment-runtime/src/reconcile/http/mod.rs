//! The reconciliation service over HTTP.
//!
//! Guarantees: pages are bounded; what people do needs a name ([`super::people`]).

mod differences;
pub(super) mod origin;
mod runs;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use serde::Deserialize;

use crate::roles::Parts;

/// The routes of the reconciliation service.
pub fn router(parts: Arc<Parts>) -> Router {
    Router::new()
        .route("/api/reconciliation/runs", get(runs::list))
        .route("/api/reconciliation/differences", get(differences::list))
        .with_state(parts.clone())
        .merge(super::web::router(parts))
}

/// A page of a list; `cursor` is the `nextCursor` of the page before.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PageQuery {
    cursor: Option<u64>,
    limit: Option<u32>,
}

impl PageQuery {
    const MAX: u32 = 200;

    fn limit(&self) -> u32 {
        self.limit.unwrap_or(50).clamp(1, Self::MAX)
    }
}
