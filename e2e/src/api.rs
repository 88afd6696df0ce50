//! A client of the payment API.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::{Client, ClientBuilder, RequestBuilder};
use serde_json::{Value, json};

use crate::wait::{Seen, until};

/// One HTTP answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    /// A text of the body, empty when it is not there.
    pub fn text(&self, key: &str) -> &str {
        self.body[key].as_str().unwrap_or_default()
    }

    pub fn payment_id(&self) -> &str {
        self.text("paymentId")
    }

    /// The number under which the channel knows the payment.
    pub fn channel_order_no(&self) -> &str {
        self.text("channelOrderNo")
    }

    pub fn qr_code(&self) -> Option<&str> {
        self.body["action"]["url"].as_str()
    }
}

/// One HTTP answer, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RawAnswer {
    pub status: u16,
    pub bytes: Vec<u8>,
}

impl RawAnswer {
    /// The body, `null` when it is not JSON.
    pub fn body(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }
}

/// An order nobody has placed before.
#[derive(Clone, Debug)]
pub struct Order {
    pub body: Value,
}

impl Order {
    pub fn new(purpose: &str, channel: &str, amount: &str) -> Self {
        Self {
            body: json!({
                "orderId": unique(purpose),
                "amount": amount,
                "currency": "CNY",
                "userId": "USER-001",
                "channel": channel,
                "subject": "Two cups of tea",
            }),
        }
    }

    pub fn id(&self) -> &str {
        self.body["orderId"].as_str().unwrap_or_default()
    }
}

/// `PURPOSE-` and a number that no other run has.
fn unique(purpose: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = jiff::Timestamp::now().as_millisecond();
    let process = std::process::id();
    format!(
        "{purpose}-{now:x}-{process:x}-{}",
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// A client without proxy and with a patience longer than the API's own time-outs.
pub fn http_client() -> Result<Client> {
    made(patient())
}

fn patient() -> ClientBuilder {
    Client::builder()
        .timeout(Duration::from_secs(30))
        .no_proxy()
}

fn made(client: ClientBuilder) -> Result<Client> {
    client.build().context("cannot make an HTTP client")
}

/// Sends a request; an answer without JSON has the body `null`.
pub async fn send(request: RequestBuilder) -> Result<Answer> {
    let raw = send_raw(request).await?;
    Ok(Answer {
        status: raw.status,
        body: raw.body(),
    })
}

/// Sends a request and keeps the answer's bytes.
pub async fn send_raw(request: RequestBuilder) -> Result<RawAnswer> {
    let answer = request.send().await.context("no answer")?;
    let status = answer.status().as_u16();
    let bytes = answer.bytes().await.context("the answer broke off")?;
    Ok(RawAnswer {
        status,
        bytes: bytes.to_vec(),
    })
}

#[derive(Clone)]
pub struct PaymentApi {
    http: Client,
    base: String,
}

impl PaymentApi {
    pub fn new(base: &str) -> Result<Self> {
        Ok(Self {
            http: http_client()?,
            base: format!("{base}/api/payments"),
        })
    }

    /// Each request takes a connection of its own, so that every pod hears some.
    pub fn of_many_clients(base: &str) -> Result<Self> {
        Ok(Self {
            http: made(patient().pool_max_idle_per_host(0))?,
            ..Self::new(base)?
        })
    }

    pub async fn create(&self, order: &Order) -> Result<Answer> {
        let answer = send(self.http.post(&self.base).json(&order.body)).await;
        answer.with_context(|| format!("POST {}", self.base))
    }

    /// The same as a client that retries what cannot be answered yet, until there is a QR code.
    pub async fn create_payable(&self, order: &Order) -> Result<Answer> {
        let what = format!("order {} to be payable", order.id());
        until(&what, Duration::from_secs(30), async || {
            let answer = self.create(order).await?;
            let payable = answer.status == 201 && answer.qr_code().is_some();
            let told = format!("{} {}", answer.status, answer.body);
            Ok(if payable {
                Seen::Done(answer)
            } else {
                Seen::not_yet(told)
            })
        })
        .await
    }

    /// POSTs exactly these bytes to a path below `/api/payments`.
    pub async fn post_raw(&self, path: &str, body: &str, key: Option<&str>) -> Result<RawAnswer> {
        let url = format!("{}{path}", self.base);
        let mut request = self.http.post(&url).body(body.to_owned());
        request = request.header("content-type", "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        send_raw(request)
            .await
            .with_context(|| format!("POST {url}"))
    }

    /// What stands at a path below `/api/payments`.
    pub async fn get_path(&self, path: &str) -> Result<Answer> {
        let url = format!("{}{path}", self.base);
        let answer = send(self.http.get(&url)).await;
        let answer = answer.with_context(|| format!("GET {url}"))?;
        ensure!(answer.status == 200, "GET {url}: {answer:?}");
        Ok(answer)
    }

    /// Every line of a list, page by page.
    pub async fn all(&self, path: &str) -> Result<Vec<Value>> {
        let (mut lines, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get_path(&format!("{path}?limit=200{cursor}")).await?;
            lines.extend(page.body["data"].as_array().cloned().unwrap_or_default());
            match page.body["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(lines),
            }
        }
    }

    pub async fn get(&self, payment_id: &str) -> Result<Answer> {
        let path = format!("{}/{payment_id}", self.base);
        send(self.http.get(&path))
            .await
            .with_context(|| format!("GET {path}"))
    }

    pub async fn events(&self, payment_id: &str) -> Result<Vec<Value>> {
        let path = format!("{}/{payment_id}/events", self.base);
        let answer = send(self.http.get(&path))
            .await
            .with_context(|| format!("GET {path}"))?;
        Ok(answer.body["data"].as_array().cloned().unwrap_or_default())
    }

    /// The newest payments.
    pub async fn page(&self, limit: u32) -> Result<Answer> {
        let request = self.http.get(&self.base).query(&[("limit", limit)]);
        send(request)
            .await
            .with_context(|| format!("GET {}", self.base))
    }

    /// The payments of an order: one or none.
    pub async fn of_order(&self, order_id: &str) -> Result<Vec<Answer>> {
        let request = self.http.get(&self.base).query(&[("orderId", order_id)]);
        let answer = send(request)
            .await
            .with_context(|| format!("GET {}", self.base))?;
        let found = answer.body["data"].as_array().cloned().unwrap_or_default();
        Ok(found
            .into_iter()
            .map(|body| Answer {
                status: answer.status,
                body,
            })
            .collect())
    }

    pub async fn wait_status(
        &self,
        payment_id: &str,
        status: &str,
        limit: Duration,
    ) -> Result<Answer> {
        let what = format!("payment {payment_id} to be {status}");
        until(&what, limit, async || {
            let answer = self.get(payment_id).await?;
            let seen = answer.text("status").to_owned();
            Ok(if seen == status {
                Seen::Done(answer)
            } else {
                Seen::not_yet(format!("it is {seen}"))
            })
        })
        .await
    }
}
