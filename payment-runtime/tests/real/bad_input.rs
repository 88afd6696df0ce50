//! What nobody should send: malformed, oversized, mis-signed, doubled, in the wrong currency or at
//! the wrong time. Each must get its documented refusal, and nothing may be written.
//!
//! The tables are in `bad_input/`; here is what holds for every line of them.

mod bodies;
mod callbacks;
mod headers;
mod orders;
mod payments;
mod routes;

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{CacheAt, System, execute_with, order, query_text};
use callbacks::Channels;

const CASES_MIN: usize = 200;

/// A bad request or callback.
#[derive(Clone)]
struct Case {
    name: String,
    method: Method,
    /// From the root, with its query.
    path: String,
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
    refusal: Refusal,
}

/// How it is to be answered.
#[derive(Clone, Copy)]
enum Refusal {
    /// Code, and whether a charge may exist.
    Problem(&'static str, bool),
    /// What makes the channel send a callback again.
    Wechat,
    Alipay,
}

impl Case {
    fn new(name: impl Into<String>, method: Method, path: &str, code: &'static str) -> Self {
        Self {
            name: name.into(),
            method,
            path: path.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            refusal: Refusal::Problem(code, false),
        }
    }

    fn get(path: &str, code: &'static str) -> Self {
        let shown: String = path.chars().take(80).collect();
        Self::new(format!("GET {shown}"), Method::GET, path, code)
    }

    fn post(path: &str, body: impl Into<Vec<u8>>, code: &'static str) -> Self {
        let body = body.into();
        let shown: String = String::from_utf8_lossy(&body).chars().take(160).collect();
        let name = format!("POST {path} {shown}");
        Self::new(name, Method::POST, path, code)
            .header("content-type", "application/json")
            .body(body)
    }

    fn header(mut self, name: &'static str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(given, _)| *given != name);
        self
    }

    fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    fn charge_may_exist(mut self) -> Self {
        if let Refusal::Problem(_, charge) = &mut self.refusal {
            *charge = true;
        }
        self
    }

    /// A conflict may end otherwise later: its key is given back without an answer, and stays bound
    /// to its body.
    fn may_bind_its_key(&self) -> bool {
        let has_key = self
            .headers
            .iter()
            .any(|(name, _)| *name == "idempotency-key");
        let conflicts = [
            "PAYMENT_STILL_OPEN",
            "PAYMENT_NOT_CHARGED",
            "PAYMENT_ALREADY_CHARGED",
        ];
        has_key && matches!(self.refusal, Refusal::Problem(code, _) if conflicts.contains(&code))
    }

    fn identity(&self) -> String {
        let (method, path) = (&self.method, &self.path);
        format!("{method} {path} {:?} {:?}", self.headers, self.body)
    }
}

/// Payments in each state that a request can be wrong about.
struct Scene {
    system: System,
    root: String,
    document: Value,
    /// Waits for its payer (WeChat Pay).
    open: String,
    /// Paid (Alipay), with refund `R-1` of 10.00.
    paid: String,
    /// Paid and given back whole.
    refunded: String,
    /// Closed, and followed by another attempt.
    superseded: String,
    /// Closed, without another attempt.
    closed: String,
    /// What `paid` was ordered with.
    paid_order: Value,
}

/// Everything that a refused request must leave alone.
#[derive(Clone, Debug, PartialEq)]
struct Books {
    /// Payments and refunds.
    records: String,
    events: u64,
    inbox: u64,
    keys: u64,
}

impl Books {
    fn one_key_more(mut self) -> Self {
        self.keys += 1;
        self
    }
}

/// The key under which `paid` was ordered, and one that somebody works under.
const USED_KEY: &str = "used-key";
const BUSY_KEY: &str = "busy-key";

impl Scene {
    async fn set() -> Self {
        let system = System::start(CacheAt::Real).await;
        let root = system.api.trim_end_matches("/api/payments").to_owned();
        let document = system.http.get(format!("{root}/api/openapi.json"));
        let document = document.send().await.unwrap().json().await.unwrap();
        let (_, open) = system.post(&order("wechat")).await;
        let paid_order = order("alipay");
        let paid = paid(&system, &paid_order).await;
        refund(&system, &paid, "10.00").await;
        let refunded = system.paid("alipay").await;
        let refunded = id(&refunded);
        refund(&system, &refunded, "99.99").await;
        system.until_status(&refunded, "REFUNDED").await;
        let superseded = closed(&system).await;
        let (status, _) = system
            .act(&format!("/{superseded}/attempts"), &json!({}))
            .await;
        assert_eq!(status, 201);
        let scene = Self {
            open: id(&open),
            paid,
            refunded,
            superseded,
            closed: closed(&system).await,
            paid_order,
            system,
            root,
            document,
        };
        scene.keep_a_key_busy().await;
        scene
    }

    /// As if another process worked on [`orders::VALID`] right now.
    async fn keep_a_key_busy(&self) {
        execute_with(
            &self.system,
            "INSERT INTO idempotency_keys (scope, request_key, body_hash, lease_until, created_at) \
             VALUES ('POST /api/payments', 'busy-key', SHA2(?, 256), \
             UTC_TIMESTAMP(3) + INTERVAL 1 DAY, UTC_TIMESTAMP(3))",
            orders::VALID,
        )
        .await;
    }

    async fn books(&self) -> Books {
        let sql = "SELECT CONCAT_WS('|', \
            (SELECT CONCAT('payments ', COUNT(*), ' ', CRC32(GROUP_CONCAT(CONCAT_WS(':', \
             payment_no, status, reserved_minor, refunded_minor, refund_count) ORDER BY id))) \
             FROM payment_records), \
            (SELECT CONCAT('refunds ', COUNT(*), ' ', COALESCE(CRC32(GROUP_CONCAT(CONCAT_WS(':', \
             refund_no, status) ORDER BY id)), '')) FROM payment_refunds), \
            (SELECT COUNT(*) FROM payment_events), \
            (SELECT COUNT(*) FROM callback_inbox), \
            (SELECT COUNT(*) FROM idempotency_keys))";
        let text = query_text(&self.system, sql).await.unwrap();
        let parts: Vec<&str> = text.split('|').collect();
        let [payments, refunds, events, inbox, keys] = parts[..] else {
            panic!("{text}");
        };
        Books {
            records: format!("{payments}, {refunds}"),
            events: events.parse().unwrap(),
            inbox: inbox.parse().unwrap(),
            keys: keys.parse().unwrap(),
        }
    }

    /// What was begun by the setting has ended: every callback is in and processed.
    async fn rest(&self) {
        let sql = "SELECT IF((SELECT COUNT(*) FROM callback_inbox WHERE next_attempt_at IS NOT \
            NULL) + (SELECT COUNT(*) FROM payment_refunds WHERE status <> 'SUCCEEDED') = 0, \
            (SELECT CONCAT(COUNT(*)) FROM callback_inbox), NULL)";
        // Two payments were paid and two refunds given, and each is told of.
        let told = || async {
            let told = query_text(&self.system, sql).await?;
            (told == "4").then_some(())
        };
        self.system
            .until("the callbacks of the setting", told)
            .await;
    }

    /// Sends a case; says what is wrong with its answer.
    async fn check(&self, case: &Case) -> Result<(), String> {
        let url = format!("{}{}", self.root, case.path);
        let mut request = self.system.http.request(case.method.clone(), url);
        for (name, value) in &case.headers {
            request = request.header(*name, value.as_slice());
        }
        let answer = request.body(case.body.clone()).send().await;
        let answer = answer.map_err(|error| format!("no answer: {error:?}"))?;
        let status = answer.status().as_u16();
        let text = |name: &str| {
            let value = answer.headers().get(name);
            value.map(|value| value.to_str().unwrap().to_owned())
        };
        let (id, kind) = (text("request-id"), text("content-type").unwrap_or_default());
        let retry_after = text("retry-after");
        let id = id.ok_or("no Request-Id")?;
        let body = answer.text().await.unwrap();
        match case.refusal {
            Refusal::Wechat => same(&(401, "application/json", WECHAT), &(status, &kind, &body)),
            Refusal::Alipay => same(&(401, "text/plain", "fail"), &(status, &kind, &body)),
            Refusal::Problem(code, charge) => {
                let problem: Value = serde_json::from_str(&body).map_err(|_| body.clone())?;
                let expected = self.problem(case, code, charge, &id)?;
                let mut got = problem.clone();
                for name in ["detail", "title", "param", "paymentId"] {
                    got.as_object_mut().ok_or("no object")?.remove(name);
                }
                same(&(&expected, "application/problem+json"), &(&got, &kind))?;
                same(&expected["status"].as_u64(), &Some(u64::from(status)))?;
                same(&(expected["retryable"] == true), &retry_after.is_some())?;
                let detail = problem["detail"].as_str().ok_or("no detail")?;
                let short = (1..=500).contains(&detail.chars().count());
                short.then_some(()).ok_or(format!("detail: {detail}"))
            }
        }
    }

    /// The problem as the API's own document describes it.
    fn problem(&self, case: &Case, code: &str, charge: bool, id: &str) -> Result<Value, String> {
        let example = self
            .document
            .pointer(&format!("/components/examples/{code}/value"));
        let mut problem = example.ok_or(format!("{code} is not documented"))?.clone();
        for name in ["detail", "title"] {
            problem.as_object_mut().unwrap().remove(name);
        }
        let status = problem["status"].to_string();
        problem["requestId"] = id.into();
        problem["chargeMayExist"] = charge.into();
        match self.operation(case) {
            Some(operation) => {
                let codes = &operation["responses"][&status]["content"]["application/problem+json"]
                    ["schema"]["allOf"][1]["properties"]["code"]["enum"];
                let documented = codes
                    .as_array()
                    .is_some_and(|all| all.contains(&code.into()));
                documented
                    .then_some(problem)
                    .ok_or(format!("{code} is not documented here"))
            }
            None if matches!(
                code,
                "NOT_FOUND" | "METHOD_NOT_ALLOWED" | "PAYLOAD_TOO_LARGE"
            ) =>
            {
                Ok(problem)
            }
            None => Err("no such operation".to_owned()),
        }
    }

    fn operation(&self, case: &Case) -> Option<&Value> {
        let path = case.path.split('?').next()?;
        // No route ends so.
        if path.ends_with('/') {
            return None;
        }
        let paths = self.document["paths"].as_object()?;
        let (_, found) = paths
            .iter()
            .find(|(template, _)| matches_template(template, path))?;
        found.get(case.method.as_str().to_lowercase())
    }
}

const WECHAT: &str = r#"{"code":"FAIL","message":"失败"}"#;

fn matches_template(template: &str, path: &str) -> bool {
    let (template, path) = (template.split('/'), path.split('/'));
    template.clone().count() == path.clone().count()
        && template
            .zip(path)
            .all(|(part, given)| part == given || part.starts_with('{'))
}

fn same<T: PartialEq + std::fmt::Debug>(expected: &T, got: &T) -> Result<(), String> {
    let differs = || format!("expected {expected:?},\n       got {got:?}");
    (expected == got).then_some(()).ok_or_else(differs)
}

fn id(payment: &Value) -> String {
    payment["paymentId"].as_str().unwrap().to_owned()
}

async fn paid(system: &System, order: &Value) -> String {
    let (status, created, _) = system.post_to("", Some(USED_KEY), order).await;
    assert_eq!(status, 201, "{created}");
    let created: Value = serde_json::from_str(&created).unwrap();
    system.pay(&created).await;
    system.until_status(&id(&created), "PAID").await;
    id(&created)
}

async fn refund(system: &System, id: &str, amount: &str) {
    let body = json!({"refundNo": "R-1", "amount": amount});
    let (status, refund) = system.act(&format!("/{id}/refunds"), &body).await;
    assert!(matches!(status, 201 | 202), "{refund}");
    system.until_refund(id, "R-1", "SUCCEEDED").await;
}

async fn closed(system: &System) -> String {
    let (_, created) = system.post(&order("wechat")).await;
    let (status, closed) = system
        .act(&format!("/{}/close", id(&created)), &json!({}))
        .await;
    assert_eq!(
        (status, &closed["status"]),
        (200, &json!("CLOSED")),
        "{closed}"
    );
    id(&created)
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_gets_its_documented_refusal_and_changes_nothing() {
    let scene = Scene::set().await;
    scene.rest().await;
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    let requests = [
        orders::cases(),
        bodies::cases(&scene),
        headers::cases(&scene),
        payments::cases(&scene),
        routes::cases(&scene),
    ];
    run(&scene, requests.concat(), &mut seen, &mut wrong).await;
    let requests = seen.len();
    // What they were made of is taken when nothing is wrong with it.
    let valid = serde_json::from_str(orders::VALID).unwrap();
    assert_eq!(scene.system.post(&valid).await.0, 201);

    // From here on the channels are ours: what is wrong can then be rightly signed.
    let channels = Channels::take_over(&scene).await;
    run(&scene, channels.cases(), &mut seen, &mut wrong).await;
    let callbacks = seen.len() - requests;
    println!("{requests} bad requests and {callbacks} bad callbacks were sent");
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(seen.len() >= CASES_MIN, "only {} cases", seen.len());

    channels.are_believed(&scene).await;
    scene.system.stop().await;
}

async fn run(
    scene: &Scene,
    cases: Vec<Case>,
    seen: &mut BTreeSet<String>,
    wrong: &mut Vec<String>,
) {
    let mut books = scene.books().await;
    for case in cases {
        assert!(seen.insert(case.identity()), "twice: {}", case.name);
        if let Err(why) = scene.check(&case).await {
            wrong.push(format!("- {}\n  {why}", case.name));
        }
        let now = scene.books().await;
        let expected = if case.may_bind_its_key() && now != books {
            books.one_key_more()
        } else {
            books
        };
        if now != expected {
            wrong.push(format!(
                "- {}\n  wrote: {expected:?} became {now:?}",
                case.name
            ));
        }
        books = now;
    }
}
