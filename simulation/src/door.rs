//! How the world outside reaches a process: requests without sockets, with everything that can
//! happen to a connection.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use tokio::sync::oneshot;
use tower::ServiceExt as _;

use crate::points::{Point, Site};
use crate::process::REPLICAS;
use crate::world::{World, lock};

/// One of the replicas that answer requests.
#[derive(Clone, Copy, Debug)]
pub struct Replica(usize);

impl Replica {
    pub fn any_api(world: &World) -> Self {
        Self::one_of(world, 0)
    }

    pub fn any_callback(world: &World) -> Self {
        Self::one_of(world, 2)
    }

    /// One of two; whoever sends takes the other one if it is the only one that runs.
    fn one_of(world: &World, first: usize) -> Self {
        let at = first + usize::from(world.chance().percent(50));
        let other = first + (first + 1 - at);
        let lives = world.lives();
        if lives[at].is_none() && lives[other].is_some() {
            Self(other)
        } else {
            Self(at)
        }
    }

    pub const fn name(self) -> &'static str {
        REPLICAS[self.0].0
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub replayed: bool,
    pub body: String,
}

/// Nothing came back.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub enum Broken {
    #[error("nobody listens")]
    Refused,
    #[error("the connection broke")]
    Lost,
    #[error("no answer in time")]
    Late,
}

/// Sends a request and waits for its answer, for so long.
pub async fn send(
    world: &Arc<World>,
    replica: Replica,
    request: Request<Body>,
    site: Site,
    patience: Duration,
) -> Result<Answer, Broken> {
    let transit = world.chance().millis(0, 4);
    tokio::time::sleep(transit).await;
    let life = world.lives()[replica.0].clone().ok_or(Broken::Refused)?;
    let router = lock(&life.router).clone().ok_or(Broken::Refused)?;
    let (give, mut take) = oneshot::channel();
    let inside = life.clone();
    let rate = world.profile.answer_fault_rate;
    let work = tokio::spawn(async move {
        let Ok(response) = router.oneshot(request).await;
        let answer = read(response).await;
        if inside.at(Point::before(site), rate).await {
            return;
        }
        let _ = give.send(answer);
        inside.at(Point::after(site), rate).await;
    });
    tokio::select! {
        biased;
        answer = &mut take => answer.map_err(|_| Broken::Lost),
        () = life.died.cancelled() => Err(Broken::Lost),
        () = tokio::time::sleep(patience) => {
            // Whoever hangs up ends the request's own task; what it started goes on.
            work.abort();
            Err(Broken::Late)
        }
    }
}

async fn read(response: axum::response::Response) -> Answer {
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX)
        .await
        .unwrap_or_default();
    Answer {
        status: parts.status.as_u16(),
        replayed: parts.headers.contains_key("idempotent-replayed"),
        body: String::from_utf8_lossy(&bytes).into_owned(),
    }
}
