//! On the way out: the request names the transaction it is made in.

use std::task::{Context, Poll};

use http::Request;
use tower::{Layer, Service};

use super::{HEADER, value_of};
use crate::branch::Xid;

/// Writes the running transaction's name into each request, over any that was there; without one the
/// header is taken out.
#[derive(Clone, Copy, Debug, Default)]
pub struct PropagateLayer;

impl<S> Layer<S> for PropagateLayer {
    type Service = Propagate<S>;

    fn layer(&self, inner: S) -> Propagate<S> {
        Propagate { inner }
    }
}

/// See [`PropagateLayer`].
#[derive(Clone, Debug)]
pub struct Propagate<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for Propagate<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        match Xid::current().as_ref().and_then(value_of) {
            Some(value) => request.headers_mut().insert(&HEADER, value),
            None => request.headers_mut().remove(&HEADER),
        };
        self.inner.call(request)
    }
}

/// Names the running transaction in a request of reqwest.
pub trait WithXid {
    /// Adds the header, if there is a transaction.
    ///
    /// ```
    /// # use seata_client::{branch::Xid, http::WithXid};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let request = || reqwest::Request::new(
    ///     reqwest::Method::POST, "http://stock/debit".parse().unwrap());
    /// let inside = async { request().with_xid() };
    /// let named = Xid::new("10.0.0.1:8091:42").scope(inside).await;
    /// assert_eq!(named.headers()["TX_XID"], "10.0.0.1:8091:42");
    /// assert!(request().with_xid().headers().is_empty());
    /// # }
    /// ```
    #[must_use]
    fn with_xid(self) -> Self;
}

impl WithXid for reqwest::RequestBuilder {
    fn with_xid(self) -> Self {
        match Xid::current().as_ref().and_then(value_of) {
            Some(value) => self.header(&HEADER, value),
            None => self,
        }
    }
}

impl WithXid for reqwest::Request {
    fn with_xid(mut self) -> Self {
        if let Some(value) = Xid::current().as_ref().and_then(value_of) {
            self.headers_mut().insert(&HEADER, value);
        }
        self
    }
}
