//! A transaction that goes in comes out again.

use std::convert::Infallible;

use http::{Request, Response, StatusCode};
use tower::{Layer, ServiceExt, service_fn};

use super::*;

/// Answers with the transaction it was called in.
async fn seen(headers: &[(&str, &str)]) -> (StatusCode, String) {
    let inner = service_fn(|_: Request<()>| async {
        let xid = Xid::current().map_or_else(|| "none".to_owned(), |xid| xid.to_string());
        Ok::<_, Infallible>(Response::new(xid))
    });
    let mut request = Request::builder();
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(()).expect("a request");
    let response = JoinLayer.layer(inner).oneshot(request).await;
    let response = response.expect("infallible");
    (response.status(), response.into_body())
}

#[tokio::test]
async fn a_request_is_handled_in_the_transaction_it_names() {
    let ok = |text: &str| (StatusCode::OK, text.to_owned());
    assert_eq!(seen(&[("TX_XID", "h:1:2")]).await, ok("h:1:2"));
    assert_eq!(seen(&[("tx_xid", "h:1:2")]).await, ok("h:1:2"));
    assert_eq!(seen(&[]).await, ok("none"));
    // Not that of whoever happens to call.
    let outer = Xid::new("h:1:9").scope(seen(&[])).await;
    assert_eq!(outer, ok("none"));
}

#[tokio::test]
async fn what_cannot_be_a_transaction_is_refused_and_not_ignored() {
    let long = "x".repeat(XID_BYTES + 1);
    for value in ["", "a b", long.as_str()] {
        let (status, _) = seen(&[("TX_XID", value)]).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{value:?}");
    }
    let (status, _) = seen(&[("TX_XID", "h:1:2"), ("TX_XID", "h:1:3")]).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_request_made_in_a_transaction_names_it() {
    let inner = service_fn(|request: Request<()>| async move {
        Ok::<_, Infallible>(request.headers().get("TX_XID").cloned())
    });
    let client = PropagateLayer.layer(inner);
    let request = || {
        let request = Request::builder().header("TX_XID", "stale");
        request.body(()).expect("a request")
    };
    let named = Xid::new("h:1:2").scope(client.clone().oneshot(request()));
    let named = named.await.expect("infallible");
    assert_eq!(named, Some(HeaderValue::from_static("h:1:2")));
    let none = client.oneshot(request()).await.expect("infallible");
    assert_eq!(none, None);
}

/// Two real services and the client between them.
#[tokio::test]
async fn it_travels_over_a_real_connection() {
    let handler = async || Xid::current().map_or_else(|| "none".into(), |xid| xid.to_string());
    let app = axum::Router::new()
        .route("/", axum::routing::get(handler))
        .layer(JoinLayer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let client = reqwest::Client::new();
    let ask = async || {
        let response = client.get(&url).with_xid().send().await.expect("answered");
        response.text().await.expect("text")
    };
    assert_eq!(Xid::new("h:1:2").scope(ask()).await, "h:1:2");
    assert_eq!(ask().await, "none");
    server.abort();
}
