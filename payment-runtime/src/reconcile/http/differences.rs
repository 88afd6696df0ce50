//! Differences, and what people do about them.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde_json::{Value, json};

use super::PageQuery;
use crate::api::Problem;
use crate::reconcile::books::Filter;
use crate::roles::Parts;

pub(super) async fn list(
    State(parts): State<Arc<Parts>>,
    Query(page): Query<PageQuery>,
) -> Result<Json<Value>, Problem> {
    let limit = page.limit();
    let open = parts
        .store
        .differences(&Filter::default(), page.cursor.unwrap_or(0), limit)
        .await?;
    let next = open
        .last()
        .filter(|_| open.len() == limit as usize)
        .map(|last| last.id);
    let data: Vec<Value> = open
        .iter()
        .map(|d| {
            json!({
                "id": d.id, "channel": d.channel.as_str(), "day": d.day.to_string(),
                "class": d.class.as_str(), "channelOrderNo": d.channel_order_no,
                "ourStatus": d.our_state, "ourAmountMinor": d.ours.map(|m| m.minor),
                "channelAmountMinor": d.bill.map(|m| m.minor),
                "currency": d.amount().map(|m| m.currency.code()),
                "foundAt": d.found_at.to_string(),
            })
        })
        .collect();
    Ok(Json(json!({ "data": data, "nextCursor": next })))
}
