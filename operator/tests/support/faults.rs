//! A layer under the operator's client that counts its requests and spoils one of them.
//!
//! Guarantees: after a crash nothing that the dead operator still tries reaches the API server;
//! requests for all namespaces are narrowed to one, so that many operators share an API server
//! without seeing each other's systems.

use std::{
    fmt,
    future::pending,
    str::FromStr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use super::stale::Valve;
use axum::body::Body as Streamed;
use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode, Uri};
use kube::{
    Client,
    client::{Body, retry::RetryPolicy},
};
use serde_json::json;
use tokio::sync::Notify;
use tower::{
    BoxError, Service, ServiceBuilder, ServiceExt,
    retry::{Retry, RetryLayer},
};

/// What happens at one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The operator dies before the request is sent.
    Before,
    /// The operator dies after the request took effect, before it sees the answer.
    After,
    /// The request is not sent; the answer is a conflict.
    Conflict,
    /// The request takes effect; the answer is an internal error.
    Error,
    /// The request is not sent; the answer asks to try later, and the operator sees it.
    Busy,
    /// As `Busy`, but the client's own retry sees it first.
    Throttled,
}

impl Fault {
    pub const ALL: [Self; 6] = [
        Self::Before,
        Self::After,
        Self::Conflict,
        Self::Error,
        Self::Busy,
        Self::Throttled,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
            Self::Conflict => "409",
            Self::Error => "500",
            Self::Busy => "429",
            Self::Throttled => "429-retried",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|fault| fault.name() == text);
        found.ok_or_else(|| format!("{text} is no fault"))
    }
}

#[derive(Default)]
struct State {
    /// Every request: whether it writes, and its method and path.
    requests: Vec<(bool, String)>,
    /// From which request on they count.
    start: usize,
    armed: Option<(usize, Fault)>,
    hit: Option<String>,
    dead: bool,
}

/// What one operator has requested, and which of its requests is spoilt.
#[derive(Default)]
pub struct Plan {
    state: Mutex<State>,
    /// Told when the operator is to die.
    crashed: Arc<Notify>,
    pub valve: Valve,
}

impl Plan {
    pub fn new(crashed: Arc<Notify>) -> Self {
        Self {
            crashed,
            ..Self::default()
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on requests count from 1, and the one with this number is spoilt.
    pub fn arm(&self, point: Option<(usize, Fault)>) {
        let mut state = self.state();
        state.start = state.requests.len();
        state.armed = point;
    }

    /// Requests since the plan was armed.
    pub fn counted(&self) -> usize {
        let state = self.state();
        state.requests.len() - state.start
    }

    /// The request that was spoilt.
    pub fn hit(&self) -> Option<String> {
        self.state().hit.clone()
    }

    /// All requests that change something.
    pub fn writes(&self) -> Vec<String> {
        let state = self.state();
        let writes = state.requests.iter().filter(|(writes, _)| *writes);
        writes.map(|(_, request)| request.clone()).collect()
    }

    /// Takes note of a request; `Err` if its sender is dead already.
    fn count(&self, request: &Request<Body>) -> Result<Option<Fault>, ()> {
        let mut state = self.state();
        if state.dead {
            return Err(());
        }
        let line = format!("{} {}", request.method(), request.uri());
        state
            .requests
            .push((request.method() != Method::GET, line.clone()));
        let number = state.requests.len() - state.start;
        let fault = state.armed.filter(|(n, _)| *n == number).map(|(_, f)| f);
        if fault.is_some() {
            state.hit = Some(line);
        }
        Ok(fault)
    }

    /// No request gets through any more.
    pub fn silence(&self) {
        self.state().dead = true;
    }

    fn die(&self) {
        self.silence();
        self.crashed.notify_one();
    }
}

/// A client whose requests go through a plan, narrowed to one namespace.
pub fn client(shared: Client, plan: Arc<Plan>, namespace: &str) -> Client {
    let api_server = Narrowed {
        shared,
        plan: Arc::clone(&plan),
        namespace: Arc::from(namespace),
    };
    let retried = ServiceBuilder::new()
        .layer(RetryLayer::new(RetryPolicy::server_retry()))
        .service(api_server);
    Client::new(Faulty { plan, retried }, namespace)
}

/// Marks a request that is refused once, below the client's own retry.
#[derive(Clone)]
struct RefuseOnce(Arc<AtomicBool>);

#[derive(Clone)]
struct Faulty {
    plan: Arc<Plan>,
    retried: Retry<RetryPolicy, Narrowed>,
}

impl Service<Request<Body>> for Faulty {
    type Response = Response<Streamed>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Streamed>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let (plan, retried) = (Arc::clone(&self.plan), self.retried.clone());
        Box::pin(async move {
            let Ok(fault) = plan.count(&request) else {
                return pending().await;
            };
            match fault {
                None => retried.oneshot(request).await,
                Some(Fault::Before) => {
                    plan.die();
                    pending().await
                }
                Some(Fault::After) => {
                    drop(retried.oneshot(request).await);
                    plan.die();
                    pending().await
                }
                Some(Fault::Conflict) => Ok(refusal(StatusCode::CONFLICT, "Conflict")),
                Some(Fault::Error) => {
                    drop(retried.oneshot(request).await?);
                    Ok(refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"))
                }
                Some(Fault::Busy) => Ok(busy()),
                Some(Fault::Throttled) => {
                    let mark = RefuseOnce(Arc::new(AtomicBool::new(true)));
                    request.extensions_mut().insert(mark);
                    retried.oneshot(request).await
                }
            }
        })
    }
}

fn busy() -> Response<Streamed> {
    refusal(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests")
}

fn refusal(code: StatusCode, reason: &str) -> Response<Streamed> {
    let status = json!({
        "apiVersion": "v1",
        "kind": "Status",
        "metadata": {},
        "status": "Failure",
        "message": "injected by the test",
        "reason": reason,
        "code": code.as_u16(),
    });
    Response::builder()
        .status(code)
        .header("content-type", "application/json")
        .body(Streamed::from(status.to_string()))
        .unwrap()
}

/// The API server, as if there were no other namespace.
#[derive(Clone)]
struct Narrowed {
    shared: Client,
    plan: Arc<Plan>,
    namespace: Arc<str>,
}

impl Service<Request<Body>> for Narrowed {
    type Response = Response<Streamed>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<Streamed>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let refused = request
            .extensions()
            .get::<RefuseOnce>()
            .is_some_and(|mark| mark.0.swap(false, Ordering::Relaxed));
        if refused {
            return Box::pin(async { Ok(busy()) });
        }
        let narrowed = narrowed(request.uri(), &self.namespace);
        if let Some(uri) = narrowed {
            *request.uri_mut() = uri;
        }
        if let Some(uri) = self.plan.valve.past(&request) {
            *request.uri_mut() = uri;
        }
        let (shared, plan) = (self.shared.clone(), Arc::clone(&self.plan));
        Box::pin(async move {
            let uri = request.uri().clone();
            let response = shared.send(request).await?;
            Ok(plan.valve.control(&uri, response))
        })
    }
}

/// The address of one namespace's objects instead of those of all namespaces.
fn narrowed(uri: &Uri, namespace: &str) -> Option<Uri> {
    let segments: Vec<&str> = uri.path().trim_start_matches('/').split('/').collect();
    let (group, plural) = match segments.as_slice() {
        ["api", version, plural] => (format!("api/{version}"), plural),
        ["apis", group, version, plural] => (format!("apis/{group}/{version}"), plural),
        _ => return None,
    };
    if *plural == "customresourcedefinitions" {
        return None;
    }
    let query = uri.query().unwrap_or_default();
    let path = format!("/{group}/namespaces/{namespace}/{plural}?{query}");
    Some(path.parse().unwrap())
}
