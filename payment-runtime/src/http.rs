//! What every HTTP surface of the runtime shares: listening with or without TLS, request ids and
//! trace ids, bounds, metrics, and draining at the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::serve::Listener;
use contract::config::Listen;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::RequestBodyTimeoutLayer;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::api::Problem;
use crate::certificate::Certificate;
use crate::ports::Host;
use crate::telemetry::Metrics;
use crate::tls::TlsListener;

/// How long a client may send nothing of a body it has begun: it holds a slot meanwhile.
const BODY_SILENCE_MAX: Duration = Duration::from_secs(10);

pub const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// The id under which one request appears in logs, answers and error bodies.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// Shared by the layers around a router, which clone it for each request.
#[derive(Clone)]
pub struct Surface(Arc<Shared>);

struct Shared {
    metrics: Metrics,
    host: Arc<dyn Host>,
    slots: Semaphore,
}

impl Surface {
    pub fn new(metrics: Metrics, host: Arc<dyn Host>, max_concurrent_requests: usize) -> Self {
        Self(Arc::new(Shared {
            metrics,
            host,
            slots: Semaphore::new(max_concurrent_requests),
        }))
    }

    /// Puts the shared layers around a router.
    pub fn wrap(self, router: Router) -> Router {
        router
            .layer(axum::middleware::from_fn_with_state(self.clone(), bounded))
            .layer(CatchPanicLayer::custom(
                |_: Box<dyn std::any::Any + Send>| Problem::internal().into_response(),
            ))
            .layer(axum::middleware::from_fn_with_state(self, observed))
            .layer(RequestBodyTimeoutLayer::new(BODY_SILENCE_MAX))
            .layer(axum::middleware::from_fn(to_the_end))
    }
}

/// Lets a request go on when its client hangs up: no change stops half-way, no database connection
/// is left in the middle of a statement, and what was done is still measured and logged.
async fn to_the_end(request: Request, next: Next) -> Response {
    let answered = tokio::spawn(next.run(request));
    answered
        .await
        .unwrap_or_else(|_| Problem::internal().into_response())
}

/// Refuses what exceeds the bound at once instead of queueing it.
async fn bounded(
    State(Surface(surface)): State<Surface>,
    request: Request,
    next: Next,
) -> Response {
    match surface.slots.try_acquire() {
        Ok(_slot) => next.run(request).await,
        Err(_) => Problem::overloaded().into_response(),
    }
}

/// Gives the request its ids, a span and a measurement.
async fn observed(
    State(Surface(surface)): State<Surface>,
    mut request: Request,
    next: Next,
) -> Response {
    let request_id = format!("req_{}", surface.host.new_id());
    let trace_id = trace_id(request.headers());
    let method = request.method().to_string();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unmatched", MatchedPath::as_str);
    let route = route.to_owned();
    request
        .extensions_mut()
        .insert(RequestId(request_id.clone()));
    let span = tracing::info_span!("request", trace_id, request_id, method, route);
    let started = Instant::now();
    let mut response = async {
        let response = next.run(request).await;
        tracing::info!(status = response.status().as_u16(), "answered");
        response
    }
    .instrument(span)
    .await;
    surface.metrics.api_answered(
        &method,
        &route,
        response.status().as_u16(),
        started.elapsed(),
    );
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    Problem::stamp(response, &request_id)
}

/// The trace id of the W3C `traceparent` header, or a new one.
fn trace_id(headers: &HeaderMap) -> String {
    let given = headers
        .get("traceparent")
        .and_then(|value| value.to_str().ok());
    given
        .and_then(|value| value.split('-').nth(1))
        .filter(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()))
        .map_or_else(|| Uuid::new_v4().simple().to_string(), str::to_lowercase)
}

/// A router bound to an address.
pub struct Bound {
    pub address: SocketAddr,
    listener: TcpListener,
    router: Router,
    certificate: Option<Arc<Certificate>>,
}

impl Bound {
    /// Binds; port 0 takes a free port, found in `address`.
    pub async fn new(listen: &str, router: Router) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("cannot listen on {listen}"))?;
        let address = listener
            .local_addr()
            .context("cannot read the bound address")?;
        Ok(Self {
            address,
            listener,
            router,
            certificate: None,
        })
    }

    /// Binds a role's own port, which speaks HTTPS where a certificate is configured.
    pub async fn public(listen: &Listen, router: Router) -> anyhow::Result<Self> {
        let certificate = match &listen.certificate_directory {
            Some(directory) => Some(Arc::new(
                Certificate::load(directory).context("HTTPS cannot be served")?,
            )),
            None => None,
        };
        Ok(Self {
            certificate,
            ..Self::new(&listen.http, router).await?
        })
    }

    /// Keeps the certificate current until `stop`; there may be none.
    pub fn renewal(
        &self,
        metrics: Metrics,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send + 'static {
        let certificate = self.certificate.clone();
        async move {
            if let Some(certificate) = certificate {
                certificate.watch(&metrics, stop).await;
            }
        }
    }

    /// Serves until `stop`, then lets requests in flight finish within `drain`.
    pub async fn serve(self, stop: CancellationToken, drain: Duration) -> anyhow::Result<()> {
        let deadline = {
            let stop = stop.clone();
            async move {
                stop.cancelled().await;
                tokio::time::sleep(drain).await;
            }
        };
        let serving = async {
            match self.certificate {
                Some(certificate) => {
                    let listener = TlsListener::new(self.listener, certificate)?;
                    serve_on(listener, self.router, stop).await
                }
                None => serve_on(self.listener, self.router, stop).await,
            }
        };
        tokio::select! {
            biased;
            ended = serving => ended,
            () = deadline => {
                tracing::warn!("requests were still in flight when the drain time ended");
                Ok(())
            }
        }
    }
}

async fn serve_on<L>(listener: L, router: Router, stop: CancellationToken) -> anyhow::Result<()>
where
    L: Listener<Addr = SocketAddr>,
{
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
        .context("the HTTP server failed")
}

#[cfg(test)]
mod tests {
    use tower::ServiceExt as _;

    use super::*;

    fn surface() -> Surface {
        Surface::new(Metrics::new(), Arc::new(crate::outside::System), 1)
    }

    #[tokio::test]
    async fn a_request_goes_on_when_its_client_hangs_up() {
        let (begun, done) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (inside, outside) = (begun.clone(), done.clone());
        let work = move || async move {
            inside.add_permits(1);
            tokio::task::yield_now().await;
            outside.add_permits(1);
        };
        let router = surface().wrap(Router::new().route("/", axum::routing::get(work)));
        let request = Request::new(axum::body::Body::empty());
        tokio::select! {
            biased;
            begun = begun.acquire() => begun.unwrap().forget(),
            _ = router.oneshot(request) => panic!("answered before its client hung up"),
        }
        done.acquire().await.unwrap().forget();
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_gives_its_slot_back() {
        let read = axum::routing::post(|_: axum::body::Bytes| async {});
        let router = surface().wrap(Router::new().route("/", read));
        let silent = axum::body::Body::from_stream(futures::stream::pending::<
            std::io::Result<axum::body::Bytes>,
        >());
        let request = Request::post("/").body(silent).unwrap();
        let response = router.oneshot(request).await.unwrap();
        assert_eq!(response.status(), 400);
    }

    #[test]
    fn a_given_trace_id_is_kept_and_nonsense_is_replaced() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", HeaderValue::from_static(value));
            trace_id(&headers)
        };
        let given = "0af7651916cd43dd8448eb211c80319c";
        assert_eq!(
            with("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            given
        );
        assert_eq!(with("00-zz-b7ad6b7169203331-01").len(), 32);
        assert_eq!(with("nonsense").len(), 32);
    }
}
