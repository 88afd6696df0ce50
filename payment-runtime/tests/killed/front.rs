//! The address the channels know: hands each callback to a callback process that lives, and
//! remembers which ones were acknowledged to the channel.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};

/// How the front recognises one callback, whatever its attempt: the channel's own id of it.
fn notice_id(channel: &str, body: &[u8]) -> Option<String> {
    if channel == "wechat" {
        let body: serde_json::Value = serde_json::from_slice(body).ok()?;
        return body["id"].as_str().map(str::to_owned);
    }
    let text = std::str::from_utf8(body).ok()?;
    let id = text
        .split('&')
        .find_map(|pair| pair.strip_prefix("notify_id="));
    id.map(str::to_owned)
}

/// Channel and id of a callback.
pub(crate) type Callback = (&'static str, String);

pub(crate) struct Front {
    pub(crate) url: String,
    behind: Vec<String>,
    next: AtomicUsize,
    http: reqwest::Client,
    acknowledged: Mutex<BTreeSet<Callback>>,
    received: AtomicUsize,
}

impl Front {
    pub(crate) async fn open(behind: Vec<String>) -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(5))
            .build()
            .unwrap();
        let front = Arc::new(Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            behind,
            next: AtomicUsize::new(0),
            http,
            acknowledged: Mutex::default(),
            received: AtomicUsize::new(0),
        });
        let routes = Router::new().fallback(pass).with_state(front.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        front
    }

    pub(crate) fn acknowledged(&self) -> BTreeSet<Callback> {
        self.acknowledged.lock().unwrap().clone()
    }

    /// Callbacks that came so far, each attempt counted.
    pub(crate) fn received(&self) -> usize {
        self.received.load(Ordering::Relaxed)
    }

    /// The answer of the first process that can be reached. One that dies over the callback is
    /// not replaced: the channel sends it again.
    async fn answer(&self, uri: &Uri, headers: &HeaderMap, body: &Bytes) -> Option<Answer> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        for step in 0..self.behind.len() {
            let url = &self.behind[(first + step) % self.behind.len()];
            let mut request = self.http.post(format!("{url}{uri}")).body(body.clone());
            for (name, value) in headers {
                if name != header::HOST && name != header::CONTENT_LENGTH {
                    request = request.header(name, value);
                }
            }
            match request.send().await {
                Ok(answer) => {
                    let status = answer.status();
                    let body = answer.bytes().await.ok()?;
                    return Some(Answer { status, body });
                }
                Err(error) if error.is_connect() => {}
                Err(_) => return None,
            }
        }
        None
    }
}

struct Answer {
    status: StatusCode,
    body: Bytes,
}

async fn pass(
    State(front): State<Arc<Front>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    front.received.fetch_add(1, Ordering::Relaxed);
    let Some(answer) = front.answer(&uri, &headers, &body).await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let channel = if uri.path().ends_with("/alipay") {
        "alipay"
    } else {
        "wechat"
    };
    let success = answer.status.is_success() && (channel == "wechat" || answer.body == "success");
    if success {
        let id = notice_id(channel, &body).expect("an acknowledged callback has an id");
        front.acknowledged.lock().unwrap().insert((channel, id));
    }
    (answer.status, answer.body).into_response()
}

/// Which of the channels' callbacks a stored body is.
pub(crate) fn stored(channel: &str, body: &[u8]) -> Option<Callback> {
    let id = notice_id(channel, body)?;
    Some((
        if channel == "alipay" {
            "alipay"
        } else {
            "wechat"
        },
        id,
    ))
}
