//! What people and programs do with differences: over HTTP, as CSV, with two people, and after it
//! a ledger that is still sound.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::civil::Date;
use payment_core::{Account, Cause, ChannelKind, Currency, Money};
use payment_runtime::ledger;
use payment_runtime::reconcile::books::Filter;
use payment_runtime::reconcile::{self, Plan};
use payment_runtime::records::NewEntry;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{CacheAt, System, query_text};

const TWO_DAYS: i64 = 2 * 86_400;
const LI: &str = "li.na";
const WANG: &str = "wang";

/// A day with four differences: on each channel a row that nobody knows (1.00) and a charge whose
/// amount is a fen too high on the bill (100.00 instead of 99.99).
struct Scene {
    system: System,
    root: String,
    plan: Plan,
    _people: TempDir,
}

impl Scene {
    async fn set() -> Self {
        let people = tempfile::tempdir().unwrap();
        let file = people.path().join("people");
        // SHA-256 of the word token.
        let hash = "3c469e9d6c5875d37a43f353d4f88e61fcf812c66eee3457465a40b0da4153e0";
        std::fs::write(&file, format!("{LI}:{hash}\n{WANG}:{hash}\n")).unwrap();
        let system = System::start_with(CacheAt::Real, |config| {
            config.reconciliation.people_file = Some(file);
            config.reconciliation.second_person_above_minor = 5_000;
        })
        .await;
        for channel in ["wechat", "alipay"] {
            system.paid(channel).await;
            system.paid(channel).await;
        }
        let clock = json!({"advanceSeconds": TWO_DAYS});
        system.admin("/clock", &clock).await;
        let today = payment_runtime::clock::bill_day(payment_runtime::clock::now());
        let scene = Self {
            root: system.api.replace("/api/payments", "/api/reconciliation"),
            plan: Plan::day(&system.parts.payments, today),
            system,
            _people: people,
        };
        scene.run().await;
        scene
    }

    /// Compares the day again, with the same wrong amounts and new strangers.
    async fn run(&self) {
        for channel in ["wechat", "alipay"] {
            self.system.fault("bill-extra-row", channel).await;
            self.system.fault("bill-wrong-amount", channel).await;
        }
        reconcile::run(&self.system.parts, &self.plan)
            .await
            .unwrap();
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let url = format!("{}{path}", self.root);
        let answer = self.system.http.get(url).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn post(&self, who: &str, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}/differences/{path}", self.root);
        let request = self.system.http.post(url).header("authorization", who);
        let answer = request.json(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn as_li(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.post(&basic(LI), path, body).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// The ids of the differences of a class, and their number.
    async fn of_class(&self, class: &str) -> Vec<u64> {
        let (status, page) = self.get(&format!("/differences?class={class}")).await;
        assert_eq!(status, 200, "{page}");
        ids(&page)
    }

    async fn assert_sound(&self) {
        let report = ledger::check(&self.system.parts.store).await.unwrap();
        assert!(report.is_clean(), "{report}");
    }

    /// Everything that a refused request must leave alone.
    async fn books(&self) -> String {
        query_text(
            &self.system,
            "SELECT CONCAT_WS('|', \
             (SELECT GROUP_CONCAT(CONCAT_WS(':', id, state, why, assignee, resolution, changed_at) \
              ORDER BY id) FROM reconciliation_differences), \
             (SELECT COUNT(*) FROM reconciliation_actions), \
             (SELECT COUNT(*) FROM ledger_entries))",
        )
        .await
        .unwrap()
    }
}

fn basic(name: &str) -> String {
    with_token(name, "token")
}

fn with_token(name: &str, token: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{token}")))
}

fn ids(page: &Value) -> Vec<u64> {
    let data = page["data"].as_array().unwrap();
    data.iter().map(|d| d["id"].as_u64().unwrap()).collect()
}

fn explained() -> Value {
    json!({"resolution": "explained", "reason": "a test of the channel", "note": "ticket 7"})
}

#[tokio::test(flavor = "multi_thread")]
async fn differences_are_filtered_and_paged() {
    let scene = Scene::set().await;
    let (_, all) = scene.get("/differences").await;
    assert_eq!(ids(&all).len(), 4, "{all}");
    assert_eq!(
        (&all["hasMore"], &all["nextCursor"]),
        (&json!(false), &Value::Null)
    );
    let amount = all["data"].as_array().unwrap();
    let amount = amount.iter().find(|d| d["class"] == "amount").unwrap();
    for (field, value) in [
        ("kind", json!("payment")),
        ("line", json!(0)),
        ("ourStatus", json!("PAID")),
        ("ourAmountMinor", json!(9999)),
        ("ourAmount", json!("99.99")),
        ("channelAmountMinor", json!(10_000)),
        ("channelAmount", json!("100.00")),
        ("currency", json!("CNY")),
        ("state", json!("open")),
        ("assignee", Value::Null),
        ("resolution", Value::Null),
    ] {
        assert_eq!(amount[field], value, "{field} of {amount}");
    }
    let number = amount["number"].as_str().unwrap();
    let payment = amount["paymentId"].as_str().unwrap();
    let day = amount["day"].as_str().unwrap();
    let channel = amount["channel"].as_str().unwrap();
    for (query, count) in [
        ("?class=amount".to_owned(), 2),
        ("?channel=wechat".to_owned(), 2),
        ("?channel=wechat&class=missing-with-us".to_owned(), 1),
        (format!("?day={day}"), 4),
        ("?day=2020-02-29".to_owned(), 0),
        (format!("?number={number}"), 1),
        (format!("?number={payment}&channel={channel}"), 1),
        ("?state=resolved".to_owned(), 0),
        ("?state=all".to_owned(), 4),
        ("?state=&class=".to_owned(), 4),
        ("?assignee=li.na".to_owned(), 0),
    ] {
        let (status, page) = scene.get(&format!("/differences{query}")).await;
        assert_eq!((status, ids(&page).len()), (200, count), "{query}");
    }
    let (mut seen, mut path) = (BTreeSet::new(), "/differences?limit=3".to_owned());
    loop {
        let (_, page) = scene.get(&path).await;
        seen.extend(ids(&page));
        let Some(next) = page["nextCursor"].as_u64() else {
            break;
        };
        path = format!("/differences?limit=3&cursor={next}");
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ids(&all));
    scene.system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_csv_holds_everything_and_no_formula() {
    let scene = Scene::set().await;
    let id = scene.of_class("amount").await[0];
    let trap = json!({"assignee": "=cmd,\"x\""});
    scene.as_li(&format!("{id}/assign"), &trap).await;
    let url = format!("{}/differences.csv?state=all", scene.root);
    let answer = scene.system.http.get(url).send().await.unwrap();
    assert_eq!(
        answer.headers()["content-type"],
        "text/csv; charset=utf-8; header=present"
    );
    assert!(!answer.headers().contains_key("link"));
    let text = answer.text().await.unwrap();
    let rows: Vec<&str> = text.split_terminator("\r\n").collect();
    assert_eq!(rows.len(), 5, "{text}");
    assert!(rows[0].starts_with("id,channel,day,kind,class,number,"));
    assert!(text.contains(",\"'=cmd,\"\"x\"\"\","), "{text}");
    let url = format!("{}/differences.csv?class=fee", scene.root);
    let empty = scene.system.http.get(url).send().await.unwrap();
    assert_eq!(empty.text().await.unwrap().matches("\r\n").count(), 1);
    scene.system.stop().await;
}

/// A file that cannot hold everything says where the rest is.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_csv_leads_to_the_next_file() {
    let scene = Scene::set().await;
    scene
        .system
        .execute(
            "INSERT INTO reconciliation_differences (payment_channel, bill_day, kind, number, \
             class, currency, first_run_id, last_run_id, found_at, changed_at) \
             WITH digits AS (SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL \
             SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL \
             SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9) \
             SELECT 'wechat', '2020-01-01', 'payment', \
             CONCAT('N', a.d, b.d, c.d, d.d, e.d), 'amount', 'CNY', 1, 1, NOW(3), NOW(3) \
             FROM digits a, digits b, digits c, digits d, digits e",
        )
        .await;
    let mut path = format!("{}/differences.csv?state=all", scene.root);
    let (mut rows, mut files) = (0, 0);
    loop {
        let answer = scene.system.http.get(&path).send().await.unwrap();
        let link = answer.headers().get("link");
        let link = link.map(|link| link.to_str().unwrap().to_owned());
        rows += answer.text().await.unwrap().matches("\r\n").count() - 1;
        files += 1;
        let Some(link) = link else { break };
        let rest = link.strip_prefix("</api/reconciliation").unwrap();
        let rest = rest.strip_suffix(">; rel=\"next\"").unwrap();
        path = format!("{}{rest}", scene.root);
    }
    assert_eq!((rows, files), (100_004, 2));
    scene.system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_difference_is_assigned_commented_and_shown_whole() {
    let scene = Scene::set().await;
    let id = scene.of_class("amount").await[0];
    scene
        .as_li(&format!("{id}/assign"), &json!({"assignee": WANG}))
        .await;
    let note = json!({"note": "asked the bank\n二"});
    let detail = scene.as_li(&format!("{id}/comment"), &note).await;
    let (_, shown) = scene.get(&format!("/differences/{id}")).await;
    assert_eq!(detail, shown);
    assert_eq!(shown["assignee"], WANG);
    assert_eq!(
        shown["meaning"],
        "The channel charged another amount than we recorded."
    );
    let columns = &shown["columns"];
    assert_eq!(columns["ours"]["amount"], "99.99");
    assert_eq!(columns["channel"]["amount"], "100.00");
    assert_eq!(columns["difference"]["amountMinor"], 1);
    assert_eq!(shown["needsSecondPerson"], true);
    let trail: Vec<(&str, &str)> = shown["trail"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| {
            (
                line["actor"].as_str().unwrap(),
                line["action"].as_str().unwrap(),
            )
        })
        .collect();
    let expected = [("system", "asked"), (LI, "assigned"), (LI, "commented")];
    assert_eq!(trail, expected);
    let states: Vec<&str> = shown["timeline"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["to"].as_str().unwrap())
        .collect();
    assert_eq!(states.last(), Some(&"PAID"), "{shown}");
    assert_eq!(shown["entries"][0]["cause"], "charged");
    let (_, mine) = scene.get(&format!("/differences?assignee={WANG}")).await;
    assert_eq!(ids(&mine), [id]);
    let back = json!({"assignee": ""});
    let detail = scene.as_li(&format!("{id}/assign"), &back).await;
    assert_eq!(detail["assignee"], Value::Null);
    scene.system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_amount_takes_two_people() {
    let scene = Scene::set().await;
    let id = scene.of_class("amount").await[0];
    let body = json!({"resolution": "written-off", "reason": "a fen", "note": "not worth it"});
    let proposed = scene.as_li(&format!("{id}/resolve"), &body).await;
    assert_eq!(proposed["state"], "proposed");
    assert_eq!(proposed["proposal"]["resolution"], "written-off");
    assert_eq!(proposed["proposedBy"], LI);
    let (status, problem) = scene
        .post(&basic(WANG), &format!("{id}/resolve"), &body)
        .await;
    assert_eq!(
        (status, &problem["code"]),
        (409, &json!("DIFFERENCE_STATE_CONFLICT"))
    );
    let (status, problem) = scene
        .post(&basic(LI), &format!("{id}/approve"), &json!({}))
        .await;
    assert_eq!(
        (status, &problem["code"]),
        (409, &json!("SECOND_PERSON_NEEDED"))
    );
    let no = json!({"note": "ask them first"});
    let (_, rejected) = scene.post(&basic(WANG), &format!("{id}/reject"), &no).await;
    assert_eq!(
        (&rejected["state"], &rejected["proposal"]),
        (&json!("open"), &Value::Null)
    );
    scene.as_li(&format!("{id}/resolve"), &body).await;
    let (status, done) = scene
        .post(&basic(WANG), &format!("{id}/approve"), &json!({}))
        .await;
    assert_eq!(status, 200, "{done}");
    assert_eq!(
        (&done["state"], &done["resolution"]),
        (&json!("resolved"), &json!("written-off"))
    );
    let booked = done["booked"].as_array().unwrap();
    assert_eq!(booked.len(), 1, "{done}");
    let channel = done["channel"].as_str().unwrap();
    assert_eq!(booked[0]["debit"], format!("clearing:{channel}"));
    assert_eq!(booked[0]["credit"], "written-off");
    assert_eq!(
        (&booked[0]["amountMinor"], &booked[0]["actor"]),
        (&json!(1), &json!(WANG))
    );
    scene.assert_sound().await;
    // What people settled stays settled while the bill says the same.
    scene.run().await;
    let (_, still) = scene.get(&format!("/differences/{id}")).await;
    assert_eq!(still["state"], "resolved");
    assert_eq!(still["changedAt"], done["changedAt"]);
    scene
        .as_li(&format!("{id}/comment"), &json!({"note": "for the record"}))
        .await;
    let (_, still) = scene.get(&format!("/differences/{id}")).await;
    assert_eq!(still["resolution"], "written-off");
    scene.assert_sound().await;
    scene.system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_set_aside_is_released() {
    let scene = Scene::set().await;
    let id = scene.of_class("missing-with-us").await[0];
    let store = &scene.system.parts.store;
    let all = Filter::default();
    let difference = store.differences(&all, id - 1, 1).await.unwrap().remove(0);
    let channel = difference.channel;
    scene
        .system
        .parts
        .store
        .post(&[set_aside(id, channel, difference.day)])
        .await
        .unwrap();
    let body = json!({"resolution": "released", "reason": "the bank erred", "note": "see mail"});
    let done = scene.as_li(&format!("{id}/resolve"), &body).await;
    assert_eq!(
        (&done["state"], &done["resolution"]),
        (&json!("resolved"), &json!("released"))
    );
    let booked = done["booked"].as_array().unwrap();
    assert_eq!(booked.len(), 2, "{done}");
    assert_eq!(booked[1]["debit"], format!("suspense:{channel}"));
    assert_eq!(booked[1]["credit"], format!("clearing:{channel}"));
    assert_eq!(booked[1]["actor"], LI);
    scene.assert_sound().await;
    scene.system.stop().await;
}

/// As reconciliation books a stranger's money.
fn set_aside(id: u64, channel: ChannelKind, day: Date) -> NewEntry {
    NewEntry {
        entry_key: format!("difference:{id}:suspense:0"),
        payment_no: None,
        refund_no: None,
        channel,
        debit: Account::Clearing(channel),
        credit: Account::Suspense(channel),
        amount: Money::new(100, Currency::CNY),
        day,
        cause: Cause::Suspense,
        source: "bill",
        actor: "system".to_owned(),
        rule: None,
        reference: format!("difference:{id}"),
        recorded_at: payment_runtime::clock::now(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_acts_without_a_list_of_people() {
    let system = System::start(CacheAt::None).await;
    let root = system.api.replace("/api/payments", "/api/reconciliation");
    let url = format!("{root}/differences/1/comment");
    let request = system.http.post(url).header("authorization", basic(LI));
    let answer = request.json(&json!({"note": "x"})).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 403);
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], "NOBODY_MAY_ACT");
    let url = format!("{root}/bills/refused");
    let refused: Value = system
        .http
        .get(url)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(refused, json!({"data": []}));
    system.stop().await;
}

/// A request that is refused: how it is sent, and the code it gets.
struct Bad {
    path: String,
    headers: Vec<(&'static str, String)>,
    /// `None`: a GET.
    body: Option<String>,
    code: &'static str,
    param: Option<&'static str>,
}

impl Bad {
    fn get(path: &str, code: &'static str) -> Self {
        Self {
            path: path.to_owned(),
            headers: Vec::new(),
            body: None,
            code,
            param: None,
        }
    }

    fn query(query: &str, param: &'static str) -> Self {
        Self {
            param: Some(param),
            ..Self::get(&format!("/differences?{query}"), "VALIDATION_FAILED")
        }
    }

    fn post(path: &str, body: &dyn std::fmt::Display, code: &'static str) -> Self {
        Self {
            headers: vec![
                ("authorization", basic(LI)),
                ("content-type", "application/json".to_owned()),
            ],
            body: Some(body.to_string()),
            ..Self::get(&format!("/differences/{path}"), code)
        }
    }

    fn field(path: &str, body: &Value, param: &'static str) -> Self {
        Self {
            param: Some(param),
            ..Self::post(path, body, "VALIDATION_FAILED")
        }
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        if !value.is_empty() {
            self.headers.push((name, value.to_owned()));
        }
        self
    }
}

fn bad_queries() -> Vec<Bad> {
    vec![
        Bad::query("state=closed", "state"),
        Bad::query("class=Amount", "class"),
        Bad::query("channel=paypal", "channel"),
        Bad::query("day=2026-02-30", "day"),
        Bad::query("day=yesterday", "day"),
        Bad::query(&format!("number={}", "9".repeat(65)), "number"),
        Bad::query("assignee=a%0Ab", "assignee"),
        Bad::query("limit=0", "limit"),
        Bad::query("limit=201", "limit"),
        Bad::get("/differences?limit=many", "BAD_REQUEST"),
        Bad::get("/differences?cursor=-1", "BAD_REQUEST"),
        Bad::get("/differences?status=open", "BAD_REQUEST"),
        Bad::get("/differences?state=open&state=open", "BAD_REQUEST"),
        Bad {
            param: Some("state"),
            ..Bad::get("/differences.csv?state=no", "VALIDATION_FAILED")
        },
        Bad::get("/differences/0", "DIFFERENCE_NOT_FOUND"),
        Bad::get("/differences/01", "DIFFERENCE_NOT_FOUND"),
        Bad::get("/differences/x", "DIFFERENCE_NOT_FOUND"),
        Bad::get("/differences/99999999999999999999", "DIFFERENCE_NOT_FOUND"),
        Bad::get("/differences/1/assign", "METHOD_NOT_ALLOWED"),
    ]
}

fn bad_bodies(id: u64) -> Vec<Bad> {
    let at = |step: &str| format!("{id}/{step}");
    let long = "n".repeat(2_001);
    let resolve = |field: &str, value: Value| {
        let mut body = explained();
        body[field] = value;
        body
    };
    vec![
        Bad::post("0/comment", &json!({"note": "x"}), "DIFFERENCE_NOT_FOUND"),
        Bad::post(&at("comment"), &"", "BAD_REQUEST"),
        Bad::post(&at("comment"), &"[\"x\"]", "BAD_REQUEST"),
        Bad::post(&at("comment"), &json!({"note": 7}), "BAD_REQUEST"),
        Bad::post(
            &at("comment"),
            &json!({"note": "x", "by": "y"}),
            "BAD_REQUEST",
        ),
        Bad::post(&at("comment"), &json!({}), "BAD_REQUEST"),
        Bad::post(
            &at("comment"),
            &json!({"note": "n".repeat(70_000)}),
            "PAYLOAD_TOO_LARGE",
        ),
        Bad::field(&at("comment"), &json!({"note": " "}), "note"),
        Bad::field(&at("comment"), &json!({"note": long}), "note"),
        Bad::field(
            &at("assign"),
            &json!({"assignee": "n".repeat(65)}),
            "assignee",
        ),
        Bad::field(&at("assign"), &json!({"assignee": "a\u{7}"}), "assignee"),
        Bad::post(&at("assign"), &json!({"assignee": null}), "BAD_REQUEST"),
        Bad::field(
            &at("resolve"),
            &resolve("resolution", json!("agreed-later")),
            "resolution",
        ),
        Bad::field(&at("resolve"), &resolve("reason", json!("")), "reason"),
        Bad::field(
            &at("resolve"),
            &resolve("reason", json!("r".repeat(81))),
            "reason",
        ),
        Bad::field(&at("resolve"), &resolve("reason", json!("a\nb")), "reason"),
        Bad::field(&at("resolve"), &resolve("note", json!("")), "note"),
        Bad::post(
            &at("resolve"),
            &json!({"resolution": "explained"}),
            "BAD_REQUEST",
        ),
        Bad::post(&at("approve"), &json!({}), "DIFFERENCE_STATE_CONFLICT"),
        Bad::post(
            &at("reject"),
            &json!({"note": "x"}),
            "DIFFERENCE_STATE_CONFLICT",
        ),
        Bad::post(
            &at("comment"),
            &json!({"note": "x"}),
            "UNSUPPORTED_MEDIA_TYPE",
        )
        .header("content-type", "text/plain"),
    ]
}

fn strangers(id: u64) -> Vec<Bad> {
    let path = format!("{id}/resolve");
    let not_signed_in = || Bad::post(&path, &explained(), "NOT_SIGNED_IN");
    let cross_site = || Bad::post(&path, &explained(), "CROSS_SITE");
    vec![
        not_signed_in().header("authorization", ""),
        not_signed_in().header("authorization", &with_token(LI, "guess")),
        not_signed_in().header("authorization", &with_token("nobody", "token")),
        not_signed_in().header("authorization", &with_token("system", "token")),
        not_signed_in().header("authorization", "Bearer token"),
        cross_site().header("sec-fetch-site", "cross-site"),
        cross_site().header("sec-fetch-site", "same-site"),
        cross_site().header("origin", "https://evil.example"),
        cross_site().header("origin", "null"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_told_apart_and_change_nothing() {
    let scene = Scene::set().await;
    let id = scene.of_class("missing-with-us").await[0];
    let before = scene.books().await;
    let cases: Vec<Bad> = bad_queries()
        .into_iter()
        .chain(bad_bodies(id))
        .chain(strangers(id))
        .collect();
    assert!(cases.len() >= 25);
    let catalogue = payment_runtime::api::catalogue();
    for case in cases {
        let url = format!("{}{}", scene.root, case.path);
        let mut request = match &case.body {
            None => scene.system.http.get(url),
            Some(body) => scene.system.http.post(url).body(body.clone()),
        };
        for (name, value) in &case.headers {
            request = request.header(*name, value);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let challenge = answer.headers().get("www-authenticate");
        let challenge = challenge.map(|value| value.to_str().unwrap().to_owned());
        let problem: Value = answer.json().await.unwrap();
        let (path, body) = (&case.path, &case.body);
        let said = format!("{path} {body:?}: {problem}");
        assert_eq!(problem["code"], case.code, "{said}");
        assert_eq!(problem["param"].as_str(), case.param, "{said}");
        let documented = format!(
            "| [`{0}`](#{1}) | {status} |",
            case.code,
            case.code.to_lowercase()
        );
        assert!(catalogue.contains(&documented), "{said}");
        let asked = (status == 401).then_some("Basic realm=\"reconciliation\"");
        assert_eq!(challenge.as_deref(), asked, "{said}");
    }
    assert_eq!(scene.books().await, before);
    scene.system.stop().await;
}

/// Runs the program as a person with a shell would: exit code and output.
async fn command(config: &str, arguments: &[&str]) -> (i32, String) {
    let program = env!("CARGO_BIN_EXE_payment-runtime");
    let mut command = tokio::process::Command::new(program);
    command.arg("differences").args(arguments);
    let output = command.args(["--config", config]).output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code().unwrap(), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_does_the_same() {
    let scene = Scene::set().await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    let yaml = scene.system.parts.payments.config.to_yaml().unwrap();
    std::fs::write(&file, yaml).unwrap();
    let config = file.to_str().unwrap();
    let (code, text) = command(config, &["list", "--class", "amount", "--json"]).await;
    let page: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, ids(&page).len()), (0, 2));
    let (code, text) = command(config, &["list", "--limit", "1"]).await;
    assert_eq!((code, text.lines().count()), (0, 3), "{text}");
    assert_eq!(command(config, &["list", "--state", "no"]).await.0, 1);
    let id = ids(&page)[0].to_string();
    let resolve = |actor: &'static str, id: &str| {
        let id = id.to_owned();
        async move {
            let words = ["resolve", &id, "--json", "--actor", actor, "--resolution"];
            let rest = ["explained", "--reason", "a test", "--note", "ticket 7"];
            command(config, &[words.as_slice(), &rest].concat()).await
        }
    };
    assert_eq!(resolve("system", &id).await.0, 2);
    assert_eq!(resolve(LI, "0").await.0, 1);
    let (code, text) = resolve(LI, &id).await;
    let detail: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &detail["state"]), (0, &json!("proposed")));
    assert_eq!(command(config, &["approve", &id, "--actor", LI]).await.0, 1);
    let (code, text) = command(config, &["approve", &id, "--actor", WANG]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("state        resolved: a test"), "{text}");
    scene.assert_sound().await;
    scene.system.stop().await;
}
