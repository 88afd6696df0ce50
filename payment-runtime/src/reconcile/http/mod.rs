//! The reconciliation service over HTTP.
//!
//! Guarantees: pages, bodies and files are bounded; what people do needs a name
//! ([`super::people`]), and does not come from the page of another site ([`origin`]).
//!
//! Deliberately not here: who may read. Whoever reaches the service may.

mod actions;
mod csv;
mod differences;
pub(super) mod origin;
mod runs;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::api::{BODY_BYTES_MAX, Problem};
use crate::roles::Parts;

/// The routes of the reconciliation service.
pub fn router(parts: Arc<Parts>) -> Router {
    Router::new()
        .route("/api/reconciliation/runs", get(runs::list))
        .route("/api/reconciliation/runs/{id}", get(runs::show))
        .route("/api/reconciliation/runs/{id}/report.csv", get(runs::csv))
        .merge(of_differences())
        .route("/api/reconciliation/bills/refused", get(refused_bills))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(parts.clone())
        .merge(super::web::router(parts))
}

fn of_differences() -> Router<Arc<Parts>> {
    const ONE: &str = "/api/reconciliation/differences/{id}";
    let step = |name: &str| format!("{ONE}/{name}");
    Router::new()
        .route("/api/reconciliation/differences", get(differences::list))
        .route("/api/reconciliation/differences.csv", get(differences::csv))
        .route(ONE, get(differences::show))
        .route(&step("assign"), post(actions::assign))
        .route(&step("comment"), post(actions::comment))
        .route(&step("resolve"), post(actions::resolve))
        .route(&step("approve"), post(actions::approve))
        .route(&step("reject"), post(actions::reject))
}

async fn refused_bills(State(parts): State<Arc<Parts>>) -> Result<Json<Value>, Problem> {
    let refused = parts.store.refused_bills().await?;
    let data: Vec<Value> = refused
        .iter()
        .map(|bill| {
            json!({
                "channel": bill.channel.as_str(), "day": bill.day.to_string(),
                "reason": bill.reason, "detail": bill.detail, "at": bill.at.to_string(),
            })
        })
        .collect();
    Ok(Json(json!({ "data": data })))
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
