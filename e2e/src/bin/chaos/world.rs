//! What clients, payers and the judge share: the addresses, and a ledger of every answer that a
//! client got.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use e2e::api::RawAnswer;
use e2e::{PaymentApi, Simulator};
use serde_json::Value;

const PAUSE_BETWEEN_TRIES: Duration = Duration::from_millis(400);

/// One POST of a client.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Post {
    /// After `/api/payments`.
    pub(crate) path: String,
    /// The exact bytes: another order of fields would be another request.
    pub(crate) body: String,
    pub(crate) key: Option<String>,
}

#[derive(Default)]
struct Ledger {
    /// The final answers under each key: more than one is a breach of I8.
    keyed: BTreeMap<Post, BTreeSet<RawAnswer>>,
    /// The payments that clients were told of, by order.
    told: BTreeMap<String, BTreeSet<String>>,
    statuses: BTreeMap<u16, u64>,
    unanswered: u64,
    breaches: Vec<String>,
}

pub(crate) struct World {
    pub(crate) api: PaymentApi,
    pub(crate) simulator: Simulator,
    /// What the orders of this run begin with.
    pub(crate) prefix: String,
    /// Nobody begins anything after this.
    pub(crate) ends: Instant,
    ledger: Mutex<Ledger>,
}

pub(crate) fn is_success(answer: &RawAnswer) -> bool {
    (200..300).contains(&answer.status)
}

/// What must be the same for ever under its Idempotency-Key.
fn is_final(answer: &RawAnswer) -> bool {
    is_success(answer) || answer.status == 402
}

pub(crate) fn code(answer: &RawAnswer) -> String {
    text(&answer.body(), "code").to_owned()
}

pub(crate) fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

impl World {
    pub(crate) fn new(
        api: PaymentApi,
        simulator: Simulator,
        prefix: String,
        ends: Instant,
    ) -> Self {
        Self {
            api,
            simulator,
            prefix,
            ends,
            ledger: Mutex::default(),
        }
    }

    /// A panic elsewhere leaves whole values behind.
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, post: &Post) -> Option<RawAnswer> {
        let sent = self
            .api
            .post_raw(&post.path, &post.body, post.key.as_deref())
            .await;
        match &sent {
            Ok(answer) => self.note(post, answer),
            Err(_) => self.ledger().unanswered += 1,
        }
        sent.ok()
    }

    fn note(&self, post: &Post, answer: &RawAnswer) {
        let mut ledger = self.ledger();
        *ledger.statuses.entry(answer.status).or_default() += 1;
        if post.key.is_some() {
            let answers = ledger.keyed.entry(post.clone()).or_default();
            if is_final(answer) {
                answers.insert(answer.clone());
            }
        }
        if is_success(answer) && post.path.is_empty() {
            let body = answer.body();
            let order = text(&body, "orderId").to_owned();
            let told = ledger.told.entry(order).or_default();
            told.insert(text(&body, "paymentId").to_owned());
        }
    }

    /// Sends the same request until it is answered for good.
    pub(crate) async fn insist(&self, post: &Post, until: Instant) -> Option<RawAnswer> {
        loop {
            let answer = self.send(post).await;
            let again =
                |answer: &RawAnswer| answer.status >= 500 || code(answer) == "REQUEST_IN_FLIGHT";
            if let Some(answer) = answer.filter(|answer| !again(answer)) {
                return Some(answer);
            }
            if Instant::now() >= until {
                return None;
            }
            tokio::time::sleep(PAUSE_BETWEEN_TRIES).await;
        }
    }

    pub(crate) fn breach(&self, what: String) {
        self.ledger().breaches.push(what);
    }

    /// Every request that went out under a key.
    pub(crate) fn keyed(&self) -> Vec<Post> {
        self.ledger().keyed.keys().cloned().collect()
    }

    pub(crate) fn has_final_answer(&self, post: &Post) -> bool {
        let ledger = self.ledger();
        let answers = ledger.keyed.get(post);
        answers.is_some_and(|answers| !answers.is_empty())
    }

    pub(crate) fn told(&self) -> BTreeMap<String, BTreeSet<String>> {
        self.ledger().told.clone()
    }

    /// How often each status was answered, and how often nothing was.
    pub(crate) fn answers(&self) -> (BTreeMap<u16, u64>, u64) {
        let ledger = self.ledger();
        (ledger.statuses.clone(), ledger.unanswered)
    }

    /// What clients saw that must not be.
    pub(crate) fn breaches(&self) -> Vec<String> {
        let ledger = self.ledger();
        let mut all = ledger.breaches.clone();
        let several = ledger.keyed.iter().filter(|(_, answers)| answers.len() > 1);
        for (post, answers) in several {
            let texts: Vec<String> = answers
                .iter()
                .map(|a| format!("{} {}", a.status, String::from_utf8_lossy(&a.bytes)))
                .collect();
            all.push(format!("{post:?} was answered {texts:#?}"));
        }
        all
    }
}
