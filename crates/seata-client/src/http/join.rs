//! On the way in: the request is handled in the transaction it names.

use std::task::{Context, Poll};

use futures::future::{Either, Ready, ready};
use http::{Request, Response, StatusCode};
use tower::{Layer, Service};

use crate::tm::{InScope, in_scope};

/// Puts each request's handling into the transaction named by its header, or outside of any. A
/// header that cannot be a transaction's name is answered with 400: to go on without would silently
/// leave the transaction.
///
/// ```
/// use axum::{Router, routing::post};
/// use seata_client::{branch::Xid, http::JoinLayer};
///
/// async fn debit() -> String {
///     format!("{:?}", Xid::current())
/// }
///
/// let app: Router = Router::new().route("/debit", post(debit)).layer(JoinLayer);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct JoinLayer;

impl<S> Layer<S> for JoinLayer {
    type Service = Join<S>;

    fn layer(&self, inner: S) -> Join<S> {
        Join { inner }
    }
}

/// See [`JoinLayer`].
#[derive(Clone, Debug)]
pub struct Join<S> {
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Join<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Either<InScope<S::Future>, Ready<Result<Response<R>, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let Ok(xid) = super::read(request.headers()) else {
            tracing::warn!("a request's TX_XID is no transaction's name");
            let mut response = Response::new(R::default());
            *response.status_mut() = StatusCode::BAD_REQUEST;
            return Either::Right(ready(Ok(response)));
        };
        Either::Left(in_scope(xid, || self.inner.call(request)))
    }
}
