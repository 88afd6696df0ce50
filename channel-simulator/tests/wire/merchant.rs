//! A merchant's callback URL.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::bench::wechat_verifies;

/// A callback as it arrived.
#[derive(Debug)]
pub(crate) struct Told {
    headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Told {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> String {
        self.headers[name].to_str().unwrap().to_owned()
    }

    /// Signed now, by this key?
    pub(crate) fn verifies(&self, key: &str) -> bool {
        wechat_verifies(key, |name| self.header(name), &self.body)
    }

    /// Sorted by name.
    pub(crate) fn form(&self) -> BTreeMap<String, String> {
        form_urlencoded::parse(&self.body).into_owned().collect()
    }

    pub(crate) fn field(&self, name: &str) -> String {
        self.form().remove(name).unwrap_or_default()
    }
}

pub(crate) async fn merchant(statuses: Vec<u16>) -> (String, UnboundedReceiver<Told>) {
    let (sender, receiver) = unbounded_channel();
    let statuses = Arc::new(Mutex::new(VecDeque::from(statuses)));
    let answer = move |headers: HeaderMap, body: Bytes| {
        let status = statuses.lock().unwrap().pop_front().unwrap_or(200);
        sender.send(Told { headers, body }).unwrap();
        async move { (StatusCode::from_u16(status).unwrap(), "success") }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/callbacks", listener.local_addr().unwrap());
    let router = axum::Router::new().route("/callbacks", axum::routing::post(answer));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (url, receiver)
}

pub(crate) async fn next(receiver: &mut UnboundedReceiver<Told>) -> Told {
    tokio::time::timeout(Duration::from_secs(10), receiver.recv())
        .await
        .unwrap()
        .unwrap()
}

/// Long enough for anything that is due to arrive.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(150)).await;
}

/// Waits until something holds that is about to.
pub(crate) async fn eventually<F: Future<Output = bool>>(holds: impl Fn() -> F) {
    let came = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), came)
        .await
        .unwrap();
}
