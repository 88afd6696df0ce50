//! Watches that show the past: late, with gaps, or rewound.
//!
//! Guarantees: only one kind's watch is held back; what it shows in the end is the truth, as an
//! API server that lags or loses its history would show it.

use std::{fmt, str::FromStr};

use axum::body::{Body as Streamed, Bytes};
use futures::{Stream, StreamExt, future::Either, stream};
use http::{Request, Response, Uri};
use kube::client::Body;
use serde_json::json;
use tokio::sync::watch;

/// How a watch shows the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staleness {
    /// All events come, but only after everything else has happened.
    Late,
    /// Only the state after everything has happened is seen, none of the events before.
    Lost,
    /// After everything has happened, a list from before it is seen, then all events once more.
    Rewound,
}

impl Staleness {
    pub const ALL: [Self; 3] = [Self::Late, Self::Lost, Self::Rewound];

    const fn name(self) -> &'static str {
        match self {
            Self::Late => "late",
            Self::Lost => "lost",
            Self::Rewound => "rewound",
        }
    }
}

impl fmt::Display for Staleness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Staleness {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|way| way.name() == text);
        found.ok_or_else(|| format!("{text} is no way to be stale"))
    }
}

#[derive(Clone, Copy, Default)]
struct Flow {
    /// The kind that is held back, as addresses spell it.
    plural: Option<&'static str>,
    frozen: bool,
    /// Watches that began before this many cuts have lost their place.
    cuts: usize,
    /// The version at which the kind is listed.
    past: Option<u64>,
}

/// Holds back the watch of one kind.
pub struct Valve(watch::Sender<Flow>);

impl Default for Valve {
    fn default() -> Self {
        Self(watch::Sender::new(Flow::default()))
    }
}

impl Valve {
    /// From now on no event of a kind is seen.
    pub fn freeze(&self, plural: &'static str) {
        self.0.send_modify(|flow| {
            flow.plural = Some(plural);
            flow.frozen = true;
        });
    }

    /// From now on a kind is seen as it was at a version.
    pub fn rewind(&self, plural: &'static str, version: u64) {
        self.0.send_modify(|flow| {
            flow.plural = Some(plural);
            flow.frozen = true;
            flow.cuts += 1;
            flow.past = Some(version);
        });
    }

    /// What was held back is seen; or it is lost, and only its outcome is seen.
    pub fn thaw(&self, lost: bool) {
        self.0.send_modify(|flow| {
            flow.frozen = false;
            flow.cuts += usize::from(lost);
            flow.past = None;
        });
    }

    /// The address of a list as it was, if it is to be shown so.
    pub fn past(&self, request: &Request<Body>) -> Option<Uri> {
        let (uri, flow) = (request.uri(), *self.0.borrow());
        let version = flow.past.filter(|_| !watches(uri))?;
        if flow.plural != uri.path().rsplit('/').next() {
            return None;
        }
        let exact = format!("{uri}&resourceVersion={version}&resourceVersionMatch=Exact");
        Some(exact.parse().unwrap())
    }

    /// The answer to a watch, held back when its kind is. Others stay as they are.
    pub fn control(&self, uri: &Uri, response: Response<Body>) -> Response<Streamed> {
        if !watches(uri) {
            return response.map(Streamed::new);
        }
        let mut flow = self.0.subscribe();
        let begun = flow.borrow_and_update().cuts;
        let plural = uri.path().rsplit('/').next().unwrap_or_default().to_owned();
        let (parts, body) = response.into_parts();
        let events = lines(Streamed::new(body).into_data_stream()).boxed();
        let held = stream::unfold(Some((events, flow)), move |state| {
            let plural = plural.clone();
            async move {
                let (mut events, mut flow) = state?;
                let line = next(&mut events, &mut flow, &plural, begun).await?;
                let rest = (!line.lost).then_some((events, flow));
                Some((Ok::<_, axum::Error>(line.text), rest))
            }
        });
        Response::from_parts(parts, Streamed::from_stream(held))
    }
}

fn watches(uri: &Uri) -> bool {
    uri.query()
        .is_some_and(|query| query.contains("watch=true"))
}

struct Line {
    text: Bytes,
    /// Nothing comes after it.
    lost: bool,
}

/// The next event of a watch, once it may be seen.
async fn next(
    events: &mut (impl Stream<Item = Bytes> + Unpin),
    flow: &mut watch::Receiver<Flow>,
    plural: &str,
    begun: usize,
) -> Option<Line> {
    loop {
        let now = *flow.borrow_and_update();
        let concerned = now.plural == Some(plural);
        if concerned && now.cuts > begun {
            let text = Bytes::from(gone());
            return Some(Line { text, lost: true });
        }
        if concerned && now.frozen {
            flow.changed().await.ok()?;
            continue;
        }
        let changed = std::pin::pin!(flow.changed());
        match futures::future::select(changed, events.next()).await {
            Either::Left(_) => {}
            Either::Right((text, _)) => return text.map(|text| Line { text, lost: false }),
        }
    }
}

/// What the API server says to a watch whose place in history is lost.
fn gone() -> String {
    let status = json!({
        "type": "ERROR",
        "object": {
            "apiVersion": "v1",
            "kind": "Status",
            "metadata": {},
            "status": "Failure",
            "message": "too old resource version (injected by the test)",
            "reason": "Expired",
            "code": 410,
        },
    });
    format!("{status}\n")
}

/// Whole lines of a body, each an event.
fn lines<E>(
    chunks: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
) -> impl Stream<Item = Bytes> + Send {
    let state = (Box::pin(chunks), Vec::new());
    stream::unfold(state, |(mut chunks, mut pending)| async move {
        loop {
            if let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                let rest = pending.split_off(end + 1);
                return Some((Bytes::from(pending), (chunks, rest)));
            }
            pending.extend_from_slice(&chunks.next().await?.ok()?);
        }
    })
}
