//! The merchants' side: shops that place orders, repeat themselves, look, close, refund and try
//! again, each with chance of its own.
//!
//! Guarantees: every answer a client receives is checked before the client goes on.

mod refunds;
mod shop;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use serde_json::Value;

use crate::door::{self, Answer, Broken, Replica};
use crate::invariants::{CANARY, answers};
use crate::points::Site;
use crate::world::World;

pub use shop::open;

/// A request of the API.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: &'static str,
    pub path: String,
    pub body: Option<String>,
    pub key: Option<String>,
}

impl Call {
    pub fn get(path: impl Into<String>) -> Self {
        Self {
            method: "GET",
            path: path.into(),
            body: None,
            key: None,
        }
    }

    pub fn post(path: impl Into<String>, body: &Value, key: Option<String>) -> Self {
        Self {
            method: "POST",
            path: path.into(),
            body: Some(body.to_string()),
            key,
        }
    }

    fn request(&self) -> Option<Request<Body>> {
        let mut request = Request::builder()
            .method(self.method)
            .uri(self.path.as_str())
            .header("authorization", format!("Bearer {CANARY}-api-key"));
        if let Some(key) = &self.key {
            request = request.header("idempotency-key", format!("\"{key}\""));
        }
        if self.body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = self.body.clone().map_or_else(Body::empty, Body::from);
        request.body(body).ok()
    }
}

/// One try of a request, at any replica.
pub async fn try_once(world: &Arc<World>, call: &Call) -> Result<Answer, Broken> {
    let request = call.request().ok_or(Broken::Refused)?;
    let settled = world.answers().sent(call);
    let replica = Replica::any_api(world);
    let patience = patience(world);
    let answer = door::send(world, replica, request, Site::Answer, patience).await;
    let (method, path) = (call.method, &call.path);
    let about = match &call.key {
        Some(key) => format!("{method} {path} under key {key}"),
        None => format!("{method} {path}"),
    };
    match &answer {
        Ok(answer) => {
            world.tally().answers += 1;
            world.mark(&answer.status.to_be_bytes());
            world.mark(answer.body.as_bytes());
            world.say("client", || {
                format!(
                    "{about} at {}: {} {}",
                    replica.name(),
                    answer.status,
                    gist(&answer.body)
                )
            });
            answers::look(world, call, answer, settled);
        }
        Err(broken) => world.say("client", || {
            format!("{about} at {}: {broken}", replica.name())
        }),
    }
    answer
}

/// Some clients do not wait for the end.
fn patience(world: &World) -> Duration {
    if world.strikes(world.profile.hang_up_percent) {
        world.chance().millis(1, 600)
    } else {
        Duration::from_secs(40)
    }
}

/// The part of a body that tells what happened.
fn gist(body: &str) -> String {
    let value: Value = serde_json::from_str(body).unwrap_or(Value::Null);
    for name in ["code", "status"] {
        if let Some(text) = value[name].as_str() {
            return text.to_owned();
        }
    }
    format!("{} entries", value["data"].as_array().map_or(0, Vec::len))
}

/// Repeats a request until it has an answer that is an end, a bounded number of times.
pub async fn insist(world: &Arc<World>, call: &Call, tries: u32) -> Option<Answer> {
    for _ in 0..tries {
        if let Ok(answer) = try_once(world, call).await {
            let in_flight = answer.body.contains("REQUEST_IN_FLIGHT");
            if answer.status < 500 && !in_flight {
                return Some(answer);
            }
        }
        let pause = world.chance().millis(50, 15_000);
        tokio::time::sleep(pause).await;
    }
    None
}

/// Looks at something, once.
pub async fn look(world: &Arc<World>, path: String) -> Option<Value> {
    let answer = try_once(world, &Call::get(path)).await.ok()?;
    (answer.status < 300).then(|| serde_json::from_str(&answer.body).unwrap_or(Value::Null))
}
