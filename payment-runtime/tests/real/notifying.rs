//! The webhook: what a receiver gets, when it fails, when processes die, and what it is not told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aws_lc_rs::hmac;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contract::config::Notify;
use payment_runtime::reconcile::resolve::{Proposal, Resolution};
use payment_runtime::reconcile::{self, Plan, Reconciler, books::Filter, notify};
use payment_runtime::{ledger, roles};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::support::{CacheAt, System, query_text};

const TWO_DAYS: i64 = 2 * 86_400;
const KEY: [u8; 32] = [7; 32];

/// A delivery as it came.
#[derive(Clone, Debug)]
struct Delivery {
    id: String,
    body: Value,
    accepted: bool,
}

#[derive(Default)]
struct Inbox {
    deliveries: Mutex<Vec<Delivery>>,
    /// Statuses of the next answers; 200 after them.
    answers: Mutex<Vec<u16>>,
}

impl Inbox {
    fn all(&self) -> Vec<Delivery> {
        self.deliveries.lock().unwrap().clone()
    }

    /// Accepted messages by id: a receiver drops those it has.
    fn accepted(&self) -> BTreeMap<String, Value> {
        let accepted = self.all().into_iter().filter(|it| it.accepted);
        accepted.map(|it| (it.id, it.body)).collect()
    }

    fn of_kind(&self, kind: &str) -> Vec<Value> {
        let accepted = self.accepted().into_values();
        accepted.filter(|body| body["type"] == kind).collect()
    }
}

/// Checks the signature by itself, from the standard's text.
async fn receive(State(inbox): State<Arc<Inbox>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let (id, at) = (header("webhook-id"), header("webhook-timestamp"));
    let signature = header("webhook-signature");
    let signature = signature.strip_prefix("v1,").unwrap();
    let mut signed = format!("{id}.{at}.").into_bytes();
    signed.extend_from_slice(&body);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &KEY);
    hmac::verify(&key, &signed, &STANDARD.decode(signature).unwrap()).unwrap();
    let now = payment_runtime::clock::now().as_second();
    assert!((now - at.parse::<i64>().unwrap()).abs() < 300);
    assert!(body.len() < 20_000);
    assert_eq!(header("content-type"), "application/json");
    let status = inbox.answers.lock().unwrap().pop().unwrap_or(200);
    inbox.deliveries.lock().unwrap().push(Delivery {
        id,
        body: serde_json::from_slice(&body).unwrap(),
        accepted: status == 200,
    });
    StatusCode::from_u16(status).unwrap()
}

/// A system that tells a receiver, and a day with an amount that is a fen too high.
struct Scene {
    system: System,
    inbox: Arc<Inbox>,
    plan: Plan,
    secret: TempDir,
}

impl Scene {
    async fn set(with_secret: bool) -> Self {
        let inbox = Arc::new(Inbox::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let router = Router::new().route("/hook", post(receive));
        let router = router.with_state(inbox.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let secret = tempfile::tempdir().unwrap();
        let secret_file = secret.path().join("secret");
        let system = System::start_with(CacheAt::None, |config| {
            config.reconciliation.notify = Some(Notify { url, secret_file });
        })
        .await;
        system.paid("wechat").await;
        let clock = json!({"advanceSeconds": TWO_DAYS});
        system.admin("/clock", &clock).await;
        let today = payment_runtime::clock::bill_day(payment_runtime::clock::now());
        let mut plan = Plan::day(&system.parts.payments, today);
        plan.channels = vec![payment_core::ChannelKind::Wechat];
        let scene = Self {
            system,
            inbox,
            plan,
            secret,
        };
        if with_secret {
            scene.write_secret();
        }
        scene
    }

    fn write_secret(&self) {
        let text = format!("whsec_{}\n", STANDARD.encode(KEY));
        std::fs::write(self.secret.path().join("secret"), text).unwrap();
    }

    async fn run(&self, fault: Option<&str>) -> anyhow::Result<contract::RunSummary> {
        if let Some(fault) = fault {
            self.system.fault(fault, "wechat").await;
        }
        reconcile::run(&self.system.parts, &self.plan).await
    }

    async fn until_told(&self, kind: &str, count: usize) -> Vec<Value> {
        let told = || async {
            let told = self.inbox.of_kind(kind);
            (told.len() >= count).then_some(told)
        };
        self.system.until(kind, told).await
    }

    /// Lets the pause after a failed delivery pass.
    async fn hurry(&self) {
        let sql = "UPDATE reconciliation_notifications SET next_attempt_at = UTC_TIMESTAMP(3) \
                   WHERE next_attempt_at IS NOT NULL AND failures > 0";
        self.system.execute(sql).await;
    }

    async fn exposition(&self) -> String {
        let url = format!("{}/prometheus", self.system.management);
        let answer = self.system.http.get(url).send().await.unwrap();
        answer.text().await.unwrap()
    }
}

const FOUND: &str = "reconciliation.differences.found";
const RESOLVED: &str = "reconciliation.differences.resolved";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_found_and_resolved_is_told_once() {
    let scene = Scene::set(true).await;
    for outcome in ["sent", "failed"] {
        let series =
            format!("payment_reconciliation_notifications_total{{outcome=\"{outcome}\"}} 0");
        assert!(scene.exposition().await.contains(&series), "{series}");
    }
    scene.run(Some("bill-wrong-amount")).await.unwrap();
    let found = scene.until_told(FOUND, 1).await.remove(0);
    let data = &found["data"];
    assert_eq!(
        (&data["count"], &data["system"]),
        (&json!(1), &json!("test/test"))
    );
    let group = &data["groups"][0];
    assert_eq!(
        (&group["class"], &group["amount"]),
        (&json!("amount"), &json!("100.00"))
    );
    assert_eq!(data["examples"][0]["ourAmount"], "99.99");
    let page = data["page"].as_str().unwrap();
    assert!(page.contains("state=open&channel=wechat&day="), "{page}");
    // The same again is no news.
    scene.run(Some("bill-wrong-amount")).await.unwrap();
    assert_eq!(scene.inbox.of_kind(FOUND).len(), 1);
    // Healed by the next bill.
    scene.run(None).await.unwrap();
    let resolved = scene.until_told(RESOLVED, 1).await.remove(0);
    assert_eq!(
        resolved["data"]["examples"][0]["resolution"],
        "agreed-later"
    );
    // Found again, and this time a person resolves it: nobody has to run anything.
    scene.run(Some("bill-wrong-amount")).await.unwrap();
    scene.until_told(FOUND, 2).await;
    let store = &scene.system.parts.store;
    let open = store.differences(&Filter::default(), 0, 10).await.unwrap();
    let proposal = Proposal {
        resolution: Resolution::Explained,
        reason: "a test".to_owned(),
        note: "of the channel".to_owned(),
    };
    let reconciler = Reconciler::new(&scene.system.parts);
    reconciler
        .resolve(open[0].id, &proposal, "li.na")
        .await
        .unwrap();
    let told = scene.until_told(RESOLVED, 2).await;
    let explained = |body: &&Value| body["data"]["examples"][0]["resolution"] == "explained";
    assert_eq!(told.iter().filter(explained).count(), 1);
    let sent = "payment_reconciliation_notifications_total{outcome=\"sent\"} 4";
    assert!(scene.exposition().await.contains(sent));
    scene.system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_outlives_failures_and_processes_and_comes_under_one_id() {
    let scene = Scene::set(true).await;
    *scene.inbox.answers.lock().unwrap() = vec![500, 307, 500];
    scene.run(Some("bill-wrong-amount")).await.unwrap();
    let (system, inbox) = (&scene.system, scene.inbox.clone());
    let tried = |times: usize| {
        let inbox = inbox.clone();
        move || {
            let tries = inbox.all().len();
            async move { (tries >= times).then_some(()) }
        }
    };
    system.until("the first try", tried(1)).await;
    scene.hurry().await;
    system.until("the second try", tried(2)).await;
    // A process that dies with the message in its hands.
    let claimed = "UPDATE reconciliation_notifications SET attempts = attempts + 1, \
                   next_attempt_at = UTC_TIMESTAMP(3) WHERE ended_at IS NULL";
    system.execute(claimed).await;
    system.until("the third try", tried(3)).await;
    // Other processes, all at once.
    let config = system.parts.payments.config.clone();
    let others = [0; 3].map(|_| roles::prepare(config.clone()).unwrap());
    scene.hurry().await;
    let delivered = others.iter().map(|parts| notify::deliver(parts));
    for done in futures::future::join_all(delivered).await {
        done.unwrap();
    }
    scene.until_told(FOUND, 1).await;
    let all = scene.inbox.all();
    assert_eq!(all.len(), 4, "{all:?}");
    assert!(
        all.iter()
            .all(|it| it.id == all[0].id && it.body == all[0].body)
    );
    let counts = system.parts.store.notification_counts().await.unwrap();
    assert_eq!((counts.sent, counts.failed), (1, 3));
    for parts in others {
        parts.store.close().await;
    }
    scene.system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_gone_is_given_up() {
    let scene = Scene::set(true).await;
    *scene.inbox.answers.lock().unwrap() = vec![410];
    scene.run(Some("bill-wrong-amount")).await.unwrap();
    let given_up = || async {
        let sql = "SELECT CONCAT(outcome, ' ', attempts) FROM reconciliation_notifications \
                   WHERE next_attempt_at IS NULL";
        query_text(&scene.system, sql).await
    };
    let end = scene.system.until("the end", given_up).await;
    assert_eq!(end, "given-up 1");
    scene.system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_secret_fails_deliveries_and_no_run() {
    let scene = Scene::set(false).await;
    let summary = scene.run(Some("bill-wrong-amount")).await.unwrap();
    assert_eq!(summary.open_differences, 1);
    let failed = || async {
        let counts = scene
            .system
            .parts
            .store
            .notification_counts()
            .await
            .unwrap();
        (counts.failed > 0).then_some(())
    };
    scene.system.until("a failed delivery", failed).await;
    let sql = "SELECT detail FROM reconciliation_notifications";
    let detail = query_text(&scene.system, sql).await.unwrap();
    assert!(
        detail.starts_with("the secret's file cannot be read"),
        "{detail}"
    );
    scene.write_secret();
    scene.hurry().await;
    scene.until_told(FOUND, 1).await;
    scene.system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_bill_and_an_unsound_ledger_are_told_once() {
    let scene = Scene::set(true).await;
    for _ in 0..2 {
        scene.run(Some("bill-wrong-hash")).await.unwrap_err();
    }
    let told = scene.until_told("reconciliation.bill.refused", 1).await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["data"]["channel"], "wechat");
    assert!(!told[0]["data"]["reason"].as_str().unwrap().is_empty());
    let sealed = || async {
        let report = ledger::check(&scene.system.parts.store).await.unwrap();
        (report.waiting == 0).then_some(())
    };
    scene.system.until("every entry to be sealed", sealed).await;
    scene
        .system
        .execute("UPDATE ledger_entries SET amount = amount + 1")
        .await;
    for _ in 0..2 {
        scene.run(None).await.unwrap();
    }
    let told = scene.until_told("ledger.violated", 1).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0]["data"]["violations"].as_u64().unwrap() > 0);
    scene.system.stop().await;
}
