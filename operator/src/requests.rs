//! Every request to the API server passes here: counted, limited in time, and refused if it is a
//! write of a process that does not lead.
//!
//! The check stands directly before the request is sent, below the retries, so that a retry is
//! checked again. What is sent but delivered late is the API server's to refuse (`install`).

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use http::{Method, Request, Response, StatusCode};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder, retry::RetryPolicy},
};
use tower::{BoxError, Layer, Service, buffer::BufferLayer, retry::RetryLayer};

use crate::{leader::Leadership, metrics::Metrics};

/// Until an answer begins. The body of a watch has no end.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Requests that wait for a connection: more than all passes and watches make at a time.
const QUEUE: usize = 1024;

/// A write that was not sent.
#[derive(Debug, thiserror::Error)]
#[error("this operator does not lead: nothing was written")]
pub struct NotLeading;

/// No answer in time. Whether the request was carried out is not known.
#[derive(Debug, thiserror::Error)]
#[error("the API server did not answer within {} s", ANSWER_WITHIN.as_secs())]
struct NoAnswer;

/// A client whose writes are sent only while `leadership` holds.
pub fn client(
    mut config: Config,
    leadership: &Leadership,
    metrics: &Arc<Metrics>,
) -> kube::Result<Client> {
    // A retry inside of the check would escape it.
    config.default_retry = false;
    let gate = Gate {
        leadership: leadership.clone(),
        metrics: Arc::clone(metrics),
    };
    let client = ClientBuilder::try_from(config)?
        .with_layer(&gate)
        .with_layer(&BufferLayer::new(QUEUE))
        .with_layer(&RetryLayer::new(RetryPolicy::server_retry()))
        .build();
    Ok(client)
}

#[derive(Clone)]
struct Gate {
    leadership: Leadership,
    metrics: Arc<Metrics>,
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated {
            inner,
            gate: self.clone(),
        }
    }
}

struct Gated<S> {
    inner: S,
    gate: Gate,
}

impl<S, B> Service<Request<Body>> for Gated<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError>,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<B>, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let verb = verb(&request);
        let metrics = Arc::clone(&self.gate.metrics);
        if verb.writes() && !self.gate.leadership.may_write() {
            metrics.request(verb.name(), "not_leading");
            return futures::future::err(NotLeading.into()).boxed();
        }
        let answer = self.inner.call(request);
        async move {
            let Ok(answer) = tokio::time::timeout(ANSWER_WITHIN, answer).await else {
                metrics.request(verb.name(), "no_answer");
                return Err(NoAnswer.into());
            };
            metrics.request(verb.name(), outcome(answer.as_ref().ok()));
            answer
        }
        .boxed()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Watch,
    Read,
    Create,
    Update,
    Patch,
    Delete,
}

impl Verb {
    const fn writes(self) -> bool {
        !matches!(self, Self::Watch | Self::Read)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Read => "read",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

fn verb<B>(request: &Request<B>) -> Verb {
    let query = request.uri().query().unwrap_or_default();
    match *request.method() {
        Method::GET if query.split('&').any(|part| part == "watch=true") => Verb::Watch,
        Method::GET | Method::HEAD | Method::OPTIONS => Verb::Read,
        Method::PUT => Verb::Update,
        Method::PATCH => Verb::Patch,
        Method::DELETE => Verb::Delete,
        _ => Verb::Create,
    }
}

/// The metric's label: few values, whatever the API server says.
fn outcome<B>(answer: Option<&Response<B>>) -> &'static str {
    match answer.map(Response::status) {
        None => "unreachable",
        Some(status) if status.is_success() => "ok",
        Some(StatusCode::CONFLICT) => "conflict",
        Some(StatusCode::NOT_FOUND) => "not_found",
        Some(StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED) => "forbidden",
        Some(StatusCode::TOO_MANY_REQUESTS) => "throttled",
        Some(status) if status.is_server_error() => "failed",
        Some(_) => "refused",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, uri: &str) -> Request<()> {
        Request::builder().method(method).uri(uri).body(()).unwrap()
    }

    #[test]
    fn all_but_reading_is_writing() {
        let watch = request(Method::GET, "/api/v1/pods?limit=5&watch=true");
        assert_eq!(verb(&watch), Verb::Watch);
        assert_eq!(verb(&request(Method::GET, "/api/v1/pods")), Verb::Read);
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            assert!(verb(&request(method, "/api/v1/pods")).writes());
        }
    }

    #[test]
    fn a_refusal_is_told_from_a_failure() {
        for (status, expected) in [
            (200, "ok"),
            (201, "ok"),
            (403, "forbidden"),
            (404, "not_found"),
            (409, "conflict"),
            (422, "refused"),
            (429, "throttled"),
            (503, "failed"),
        ] {
            let answer = Response::builder().status(status).body(()).unwrap();
            assert_eq!(outcome(Some(&answer)), expected);
        }
        assert_eq!(outcome::<()>(None), "unreachable");
    }
}
