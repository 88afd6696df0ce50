//! Runs and their reports.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde_json::{Value, json};

use super::PageQuery;
use crate::api::Problem;
use crate::roles::Parts;

pub(super) async fn list(
    State(parts): State<Arc<Parts>>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Value>, Problem> {
    let limit = page.limit();
    let runs = parts.store.runs(page.cursor, limit).await?;
    let data: Vec<Value> = runs
        .iter()
        .map(|run| {
            json!({
                "id": run.id, "channel": run.channel.as_str(), "day": run.day.to_string(),
                "finishedAt": run.finished_at.map(|at| at.to_string()),
                "billRows": run.bill_rows,
                "matched": run.progress.as_ref().map(|p| p.totals.matched()),
                "differences": run.progress.as_ref().map(|p| p.differences),
            })
        })
        .collect();
    Ok(Json(json!({ "data": data })))
}
