//! What the clients, the payers and the judge share: the addresses, the HTTP client, and a ledger
//! of every answer that a client got.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A client's patience with one request; then it sends it again.
const PATIENCE: Duration = Duration::from_secs(6);
const PAUSE_BETWEEN_TRIES: Duration = Duration::from_millis(150);

/// One HTTP answer, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn body(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// What must be the same for ever under its Idempotency-Key.
    fn is_final(&self) -> bool {
        self.is_success() || self.status == 402
    }

    pub(crate) fn code(&self) -> String {
        self.body()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// A client sends the same request again.
    fn is_to_be_repeated(&self) -> bool {
        self.status >= 500 || self.code() == "REQUEST_IN_FLIGHT"
    }
}

/// One POST of a client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Post {
    /// After `/api/payments`.
    pub(crate) path: String,
    /// The exact bytes: another order of fields would be another request.
    pub(crate) body: String,
    pub(crate) key: Option<String>,
}

impl Post {
    pub(crate) fn new(path: impl Into<String>, body: &Value, key: Option<String>) -> Self {
        Self {
            path: path.into(),
            body: body.to_string(),
            key,
        }
    }
}

/// What clients saw.
#[derive(Default)]
struct Ledger {
    /// The final answers under each key: more than one is a breach of I8.
    keyed: BTreeMap<Post, BTreeSet<Answer>>,
    /// The payments that clients were told of, by order.
    payments: BTreeMap<String, BTreeSet<String>>,
    statuses: BTreeMap<u16, usize>,
    breaches: Vec<String>,
}

pub(crate) struct World {
    pub(crate) http: reqwest::Client,
    apis: Vec<String>,
    admin: String,
    next: AtomicUsize,
    /// Nobody begins anything after this.
    pub(crate) ends: Instant,
    ledger: Mutex<Ledger>,
}

impl World {
    pub(crate) fn new(apis: Vec<String>, admin: String, ends: Instant) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build()
            .unwrap();
        Self {
            http,
            apis,
            admin,
            next: AtomicUsize::new(0),
            ends,
            ledger: Mutex::default(),
        }
    }

    /// The next API process, dead or alive.
    fn api(&self) -> &str {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        &self.apis[next % self.apis.len()]
    }

    /// Sends once; `None`: no answer, or half of one.
    pub(crate) async fn send(&self, post: &Post) -> Option<Answer> {
        let url = format!("{}/api/payments{}", self.api(), post.path);
        let mut request = self
            .http
            .post(url)
            .header("content-type", "application/json")
            .body(post.body.clone());
        if let Some(key) = &post.key {
            request = request.header("idempotency-key", key);
        }
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await.ok()?.to_vec();
        let answer = Answer { status, bytes };
        self.note(post, &answer);
        Some(answer)
    }

    fn note(&self, post: &Post, answer: &Answer) {
        let mut ledger = self.ledger.lock().unwrap();
        *ledger.statuses.entry(answer.status).or_default() += 1;
        if post.key.is_some() {
            let answers = ledger.keyed.entry(post.clone()).or_default();
            if answer.is_final() {
                answers.insert(answer.clone());
            }
        }
        let body = answer.body();
        if let (true, Some(order), Some(id)) = (
            answer.is_success() && post.path.is_empty(),
            body["orderId"].as_str(),
            body["paymentId"].as_str(),
        ) {
            let known = ledger.payments.entry(order.to_owned()).or_default();
            known.insert(id.to_owned());
        }
    }

    /// Sends the same request until it is answered for good.
    pub(crate) async fn insist(&self, post: &Post, until: Instant) -> Option<Answer> {
        loop {
            let answer = self.send(post).await;
            if let Some(answer) = answer.filter(|answer| !answer.is_to_be_repeated()) {
                return Some(answer);
            }
            if Instant::now() >= until {
                return None;
            }
            tokio::time::sleep(PAUSE_BETWEEN_TRIES).await;
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Option<Value> {
        let url = format!("{}/api/payments{path}", self.api());
        let answer = self.http.get(url).send().await.ok()?;
        if !answer.status().is_success() {
            return None;
        }
        answer.json().await.ok()
    }

    /// The simulator always answers; whether it did as it was told is in the status.
    pub(crate) async fn admin(&self, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}{path}", self.admin);
        let answer = self.http.post(url).json(body).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    /// Whether the payer paid; a closed or unknown order cannot be paid.
    pub(crate) async fn pay(&self, channel: &str, number: &str) -> bool {
        let payer = json!({"channel": channel, "outTradeNo": number});
        self.admin("/pay", &payer).await.0 == 200
    }

    pub(crate) async fn arm(&self, fault: &Value) {
        let (status, answer) = self.admin("/faults", fault).await;
        assert!(status == 201 || status == 409, "{fault}: {status} {answer}");
    }

    pub(crate) async fn disarm(&self) {
        let url = format!("{}/faults", self.admin);
        self.http.delete(url).send().await.unwrap();
    }

    pub(crate) async fn advance(&self, seconds: u64) {
        let (status, answer) = self
            .admin("/clock", &json!({"advanceSeconds": seconds}))
            .await;
        assert_eq!(status, 200, "{answer}");
    }

    pub(crate) async fn book(&self, channel: &str) -> Value {
        let url = format!("{}/book?channel={channel}", self.admin);
        self.http
            .get(url)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    }

    pub(crate) fn breach(&self, what: String) {
        self.ledger.lock().unwrap().breaches.push(what);
    }

    /// Every request that went out under a key.
    pub(crate) fn keyed(&self) -> Vec<Post> {
        let ledger = self.ledger.lock().unwrap();
        ledger.keyed.keys().cloned().collect()
    }

    pub(crate) fn has_final_answer(&self, post: &Post) -> bool {
        let ledger = self.ledger.lock().unwrap();
        ledger
            .keyed
            .get(post)
            .is_some_and(|answers| !answers.is_empty())
    }

    /// The payments of each order, as clients were told.
    pub(crate) fn told(&self) -> BTreeMap<String, BTreeSet<String>> {
        self.ledger.lock().unwrap().payments.clone()
    }

    pub(crate) fn statuses(&self) -> BTreeMap<u16, usize> {
        self.ledger.lock().unwrap().statuses.clone()
    }

    /// What clients saw that must not be: I8 first of all.
    pub(crate) fn breaches(&self) -> Vec<String> {
        let ledger = self.ledger.lock().unwrap();
        let mut all = ledger.breaches.clone();
        for (post, answers) in ledger.keyed.iter().filter(|(_, answers)| answers.len() > 1) {
            let texts: Vec<String> = answers
                .iter()
                .map(|a| format!("{} {}", a.status, String::from_utf8_lossy(&a.bytes)))
                .collect();
            all.push(format!("I8: {post:?} was answered {texts:#?}"));
        }
        all
    }
}
