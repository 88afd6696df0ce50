//! Proofs of a day, their exports, and reports of runs, against MySQL and the simulator.

use std::path::Path;
use std::process::Command;

use jiff::civil::Date;
use payment_core::ChannelKind;
use payment_runtime::clock;
use payment_runtime::ledger;
use payment_runtime::prove::{self, Proof, Wanted, export};
use payment_runtime::reconcile::books::{DifferenceState, Filter};
use payment_runtime::reconcile::resolve::{Proposal, Resolution};
use payment_runtime::reconcile::{self, Plan, Reconciler};
use serde_json::{Value, json};

use crate::support::{CacheAt, System, execute_with, order, query_text};

const TWO_DAYS: i64 = 2 * 86_400;

fn id_of(payment: &Value) -> String {
    payment["paymentId"].as_str().unwrap().to_owned()
}

async fn refund(system: &System, id: &str, number: &str, amount: &str) {
    let body = json!({"refundNo": number, "amount": amount});
    let (status, answer) = system.act(&format!("/{id}/refunds"), &body).await;
    assert!(status < 300, "{answer}");
    system.until_refund(id, number, "SUCCEEDED").await;
}

/// Payments and a refund by both channels; the channels' calendar then stands two days later.
async fn a_day(system: &System) -> Date {
    for channel in ["wechat", "alipay"] {
        let first = id_of(&system.paid(channel).await);
        system.paid(channel).await;
        system.paid(channel).await;
        refund(system, &first, "R-1", "33.33").await;
    }
    system
        .admin("/clock", &json!({"advanceSeconds": TWO_DAYS}))
        .await;
    clock::bill_day(clock::now())
}

async fn reconciled(system: &System, day: Date) {
    let plan = Plan::day(&system.parts.payments, day);
    reconcile::run(&system.parts, &plan).await.unwrap();
}

async fn sealed(system: &System) {
    let waits = || async {
        let report = ledger::check(&system.parts.store).await.unwrap();
        (report.waiting == 0).then_some(())
    };
    system.until("every entry to be sealed", waits).await;
}

fn both(day: Date) -> Wanted {
    Wanted {
        day,
        channels: ChannelKind::ALL.to_vec(),
    }
}

async fn proof(system: &System, day: Date) -> Proof {
    prove::prove(&system.parts.store, &both(day)).await.unwrap()
}

async fn exported(system: &System, day: Date, directory: &Path) -> Proof {
    export::prove_and_export(&system.parts.store, &both(day), directory)
        .await
        .unwrap()
}

/// Whether the script that goes with an export believes it, and what it prints.
fn verified(directory: &Path) -> (bool, String) {
    let done = Command::new("python3")
        .arg(directory.join("verify.py"))
        .output()
        .expect("python3 is needed: e2e/cluster/packages.sh installs it");
    let text = String::from_utf8(done.stdout).unwrap() + &String::from_utf8_lossy(&done.stderr);
    (done.status.success(), text)
}

/// The day is proven by the program and by the script, from the same files twice.
async fn assert_proven(system: &System, day: Date) -> Proof {
    sealed(system).await;
    let scratch = tempfile::tempdir().unwrap();
    let (first, again) = (scratch.path().join("a"), scratch.path().join("b"));
    let proof = exported(system, day, &first).await;
    assert_eq!(proof.exit_code(), 0, "{proof}");
    let (believed, text) = verified(&first);
    assert!(believed, "{proof}\n{text}");
    exported(system, day, &again).await;
    for file in std::fs::read_dir(&first).unwrap() {
        let name = file.unwrap().file_name();
        let read = |directory: &Path| {
            let text = std::fs::read_to_string(directory.join(&name)).unwrap();
            let moment = |line: &&str| !line.contains("\"exportedAt\"");
            text.lines()
                .filter(moment)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(read(&first), read(&again), "{}", name.display());
    }
    proof
}

/// Neither the program nor the script believes the day, and both name the place.
async fn assert_not_proven(system: &System, day: Date, places: &[&str]) {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("evidence");
    let proof = exported(system, day, &directory).await;
    assert_eq!(proof.exit_code(), 1, "{proof}");
    let told = proof.to_string();
    let (believed, text) = verified(&directory);
    assert!(!believed, "{text}");
    for place in places {
        assert!(told.contains(place), "{place}\n{told}");
        assert!(text.contains(place), "{place}\n{text}");
    }
}

fn classes(proof: &Proof) -> Vec<String> {
    let items = proof.channels.iter().flat_map(|day| &day.equations);
    let items = items.flat_map(|equation| &equation.items);
    let mut classes: Vec<String> = items.filter_map(|item| item.class.clone()).collect();
    classes.sort();
    classes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clean_day_is_proven_and_a_day_without_a_bill_not_yet() {
    let system = System::start(CacheAt::None).await;
    let day = a_day(&system).await;
    let early = proof(&system, day).await;
    assert_eq!(early.exit_code(), 2, "{early}");
    assert_eq!(on_the_command_line(&system, day, &[]).0, Some(2));
    reconciled(&system, day).await;
    let proof = assert_proven(&system, day).await;
    assert!(classes(&proof).is_empty(), "{proof}");
    let text = proof.to_string();
    assert!(text.contains("299.97"), "{text}");
    assert!(text.contains("PROVEN: every equation closes"), "{text}");
    let (code, printed) = on_the_command_line(&system, day, &[]);
    assert_eq!((code, printed.trim_end()), (Some(0), text.as_str()));
    let (code, printed) = on_the_command_line(&system, day, &["--json", "--channel", "alipay"]);
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((code, &printed["proven"]), (Some(0), &json!(true)));
    assert_eq!(printed["channels"].as_array().unwrap().len(), 1);
    system.stop().await;
}

/// The exit code of `payment-runtime prove`, and what it prints.
fn on_the_command_line(system: &System, day: Date, more: &[&str]) -> (Option<i32>, String) {
    let mut config = tempfile::NamedTempFile::new().unwrap();
    // JSON is YAML.
    serde_json::to_writer(&mut config, &system.parts.payments.config).unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_payment-runtime"))
        .args(["prove", "--date", &day.to_string(), "--config"])
        .arg(config.path())
        .args(more)
        .output()
        .unwrap();
    (done.status.code(), String::from_utf8(done.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_was_charged_twice_shows_and_counts_once() {
    let system = System::start(CacheAt::None).await;
    let day = a_day(&system).await;
    let sql = "SELECT payment_no FROM payment_records WHERE status = 'PAID' ORDER BY id LIMIT 1";
    let first = system
        .payment(&query_text(&system, sql).await.unwrap())
        .await;
    let sql =
        "SELECT payment_no FROM payment_records WHERE status = 'PAID' ORDER BY id DESC LIMIT 1";
    let id = query_text(&system, sql).await.unwrap();
    let order = first["orderId"].as_str().unwrap();
    let sql = "UPDATE payment_records SET attempt = 2, business_no = ? ORDER BY id DESC LIMIT 1";
    execute_with(&system, sql, order).await;
    reconciled(&system, day).await;
    let back = || async {
        system.let_refunds_become_visible().await;
        system.ask_now().await;
        (system.payment(&id).await["status"] == "REFUNDED").then_some(())
    };
    system
        .until("the later charge to be given back", back)
        .await;
    // The refund is of the same day: the bill has to be looked at once more.
    reconciled(&system, day).await;
    let text = assert_proven(&system, day).await.to_string();
    let listed = format!("order {order} ({id})  -99.99  charged again, and given back");
    assert!(text.contains(&listed), "{text}");
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_of_nobody_is_shown_in_suspense_until_a_person_ends_it() {
    let system = System::start(CacheAt::None).await;
    let (_, lost) = system.post(&order("wechat")).await;
    system.fault("missing-callback", "wechat").await;
    let sql = "DELETE FROM payment_records WHERE payment_no = ?";
    execute_with(&system, sql, lost["paymentId"].as_str().unwrap()).await;
    system.pay(&lost).await;
    let day = a_day(&system).await;
    reconciled(&system, day).await;
    let proof = assert_proven(&system, day).await;
    assert_eq!(classes(&proof), ["missing-with-us"], "{proof}");
    let wechat = &proof.channels[0];
    let (id, minor, _) = wechat.differences.in_suspense[0].clone();
    assert_eq!(minor, 9999, "{proof}");
    assert_eq!(wechat.differences.unresolved, 1);
    let reconciler = Reconciler::new(&system.parts);
    let proposal = Proposal {
        resolution: Resolution::WrittenOff,
        reason: "nobody claims it".to_owned(),
        note: "asked the channel and the shop".to_owned(),
    };
    let taken = reconciler.resolve(id, &proposal, "li.na").await.unwrap();
    if taken.state == DifferenceState::Proposed {
        reconciler.approve(id, "", "wang.wei").await.unwrap();
    }
    let all = Filter::default();
    let open = system.parts.store.differences(&all, 0, 10).await.unwrap();
    assert!(open.is_empty(), "{open:?}");
    let proof = assert_proven(&system, day).await;
    assert!(proof.to_string().contains("nobody claims it"), "{proof}");
    assert!(
        proof.channels[0].differences.in_suspense.is_empty(),
        "{proof}"
    );
    system
        .execute("UPDATE ledger_entries SET reference = 'difference:0' WHERE cause = 'suspense'")
        .await;
    assert_not_proven(&system, day, &["names no difference of the day"]).await;
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_the_channel_denies_is_shown_frozen() {
    let system = System::start(CacheAt::None).await;
    let day = a_day(&system).await;
    // Our record speaks of an order that the channel does not have, and the reverse.
    let sql = "UPDATE payment_records SET channel_order_no = CONCAT('X', SUBSTR(channel_order_no, 2)) \
               WHERE payment_channel = 'wechat' ORDER BY payment_no DESC LIMIT 1";
    system.execute(sql).await;
    reconciled(&system, day).await;
    let proof = assert_proven(&system, day).await;
    let expected = ["missing-at-channel", "missing-with-us"];
    assert_eq!(classes(&proof), expected, "{proof}");
    let aside = &proof.channels[0].differences.in_suspense;
    assert_eq!(aside.len(), 2, "one is frozen, one is nobody's: {proof}");
    assert!(proof.to_string().contains("frozen"), "{proof}");
    system
        .execute("UPDATE payment_records SET channel_order_no = SUBSTR(payment_no, 5)")
        .await;
    reconciled(&system, day).await;
    let proof = assert_proven(&system, day).await;
    assert!(classes(&proof).is_empty(), "{proof}");
    assert!(
        proof.channels[0].differences.in_suspense.is_empty(),
        "{proof}"
    );
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_a_bill_is_listed_with_its_reason() {
    let system = System::start(CacheAt::None).await;
    let day = a_day(&system).await;
    for (fault, expected) in [
        ("bill-missing-row", "missing-at-channel"),
        ("bill-extra-row", "missing-with-us"),
        ("bill-duplicate-row", "duplicate"),
        ("bill-wrong-amount", "amount"),
    ] {
        for channel in ["wechat", "alipay"] {
            system.fault(fault, channel).await;
        }
        reconciled(&system, day).await;
        let proof = assert_proven(&system, day).await;
        assert_eq!(classes(&proof), [expected; 2], "{fault}\n{proof}");
    }
    system
        .execute("UPDATE reconciliation_differences SET why = '' WHERE state <> 'resolved'")
        .await;
    assert_not_proven(&system, day, &["has no reason"]).await;
    reconciled(&system, day).await;
    let healed = assert_proven(&system, day).await;
    assert!(classes(&healed).is_empty(), "{healed}");
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_on_the_next_days_bill_are_listed_with_that_day() {
    let system = System::start(CacheAt::None).await;
    let day = a_day(&system).await;
    for channel in ["wechat", "alipay"] {
        system.fault("bill-next-day-row", channel).await;
        system.fault("bill-refund-next-day", channel).await;
    }
    reconciled(&system, day).await;
    let alone = assert_proven(&system, day).await;
    let missing = ["missing-at-channel", "refund-missing-at-channel"];
    let expected = [missing[0], missing[0], missing[1], missing[1]];
    assert_eq!(classes(&alone), expected, "{alone}");
    let next = day.tomorrow().unwrap();
    system
        .admin("/clock", &json!({"advanceSeconds": 86_400}))
        .await;
    reconciled(&system, next).await;
    reconciled(&system, day).await;
    let both = assert_proven(&system, day).await;
    assert!(classes(&both).is_empty(), "{both}");
    let text = both.to_string();
    let place = format!("stands on the bill of {next}");
    assert_eq!(text.matches(&place).count(), 4, "{text}");
    let other = assert_proven(&system, next).await.to_string();
    let place = format!("our record says {day}, not this day");
    assert_eq!(other.matches(&place).count(), 4, "{other}");
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_changed_by_hand_is_found_and_named() {
    let system = System::start(CacheAt::None).await;
    let day = a_day(&system).await;
    reconciled(&system, day).await;
    assert_proven(&system, day).await;
    let sql = "SELECT payment_no FROM payment_records ORDER BY id DESC LIMIT 1";
    let payment = query_text(&system, sql).await.unwrap();
    let sql = "SELECT channel_order_no FROM payment_records ORDER BY id DESC LIMIT 1";
    let number = query_text(&system, sql).await.unwrap();
    let sql = "SELECT entry_key FROM ledger_entries ORDER BY id LIMIT 1";
    let key = query_text(&system, sql).await.unwrap();
    let (payment, number, key) = (payment.as_str(), number.as_str(), key.as_str());
    for (change, back, value, places) in [
        (
            "UPDATE payment_records SET amount = amount - 1 WHERE payment_no = ?",
            "UPDATE payment_records SET amount = amount + 1 WHERE payment_no = ?",
            payment,
            vec![payment, number],
        ),
        (
            "UPDATE ledger_entries SET amount = amount + 1 WHERE entry_key = ?",
            "UPDATE ledger_entries SET amount = amount - 1 WHERE entry_key = ?",
            key,
            vec![key],
        ),
        (
            "UPDATE ledger_entries SET reference = CONCAT(reference, 'x') WHERE entry_key = ?",
            "UPDATE ledger_entries SET reference = LEFT(reference, CHAR_LENGTH(reference) - 1) \
             WHERE entry_key = ?",
            key,
            vec![key],
        ),
        (
            "UPDATE bill_rows SET amount = amount + 1 WHERE number = ?",
            "UPDATE bill_rows SET amount = amount - 1 WHERE number = ?",
            number,
            vec![number],
        ),
    ] {
        execute_with(&system, change, value).await;
        assert_not_proven(&system, day, &places).await;
        execute_with(&system, back, value).await;
    }
    assert_proven(&system, day).await;
    let sql = "DELETE FROM payment_records WHERE payment_no = ?";
    execute_with(&system, sql, payment).await;
    assert_not_proven(&system, day, &[payment, number]).await;
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_was_changed_is_not_believed_and_no_directory_is_overwritten() {
    let system = System::start(CacheAt::None).await;
    let day = a_day(&system).await;
    reconciled(&system, day).await;
    sealed(&system).await;
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("evidence");
    exported(&system, day, &directory).await;
    let wanted = both(day);
    let again = export::prove_and_export(&system.parts.store, &wanted, &directory).await;
    let error = again.unwrap_err().to_string();
    assert!(error.contains("is not empty"), "{error}");
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 1);
    let file = directory.join("payments.csv");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("USER-1"), "who paid is nobody's business");
    std::fs::write(&file, text.replacen("9999", "9998", 1)).unwrap();
    let (believed, told) = verified(&directory);
    assert!(!believed && told.contains("payments.csv"), "{told}");
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_reports_what_it_compared_as_json_and_csv() {
    let system = System::start(CacheAt::None).await;
    let day = a_day(&system).await;
    system.fault("bill-wrong-amount", "wechat").await;
    reconciled(&system, day).await;
    reconciled(&system, day).await;
    let base = system
        .api
        .replace("/api/payments", "/api/reconciliation/runs");
    let get = |path: String| {
        let request = system.http.get(format!("{base}{path}"));
        async move { request.send().await.unwrap() }
    };
    let first: Value = get("?limit=3".to_owned()).await.json().await.unwrap();
    assert_eq!(first["data"].as_array().unwrap().len(), 3, "{first}");
    let path = format!("?limit=3&cursor={}", first["nextCursor"]);
    let rest: Value = get(path).await.json().await.unwrap();
    assert_eq!(rest["data"].as_array().unwrap().len(), 1, "{rest}");
    assert_eq!(rest["nextCursor"], Value::Null);
    let pages = [&first["data"], &rest["data"]].map(|page| page.as_array().unwrap());
    let runs: Vec<&Value> = pages.into_iter().flatten().collect();
    assert!(
        runs.iter().all(|run| run["state"] == "finished"),
        "{runs:?}"
    );
    assert!(
        runs.iter().all(|run| run["resultHash"].is_string()),
        "{runs:?}"
    );
    let differs = runs.iter().find(|run| run["differences"] == 1).unwrap();
    let report: Value = get(format!("/{}", differs["id"]))
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(report["found"]["data"][0]["class"], "amount", "{report}");
    assert_eq!(
        report["found"]["data"][0]["ours"]["amount"], "99.99",
        "{report}"
    );
    let proofs = report["proofs"].as_array().unwrap();
    assert!(
        proofs.iter().all(|proof| proof["holds"] == true),
        "{report}"
    );
    let csv = get(format!("/{}/report.csv", differs["id"])).await;
    assert_eq!(csv.headers()["content-type"], "text/csv; charset=utf-8");
    let csv = csv.text().await.unwrap();
    assert!(
        csv.contains("difference,payment,amount,CNY,1,9999,99.99,1,10000,100.00"),
        "{csv}"
    );
    assert!(csv.contains("proof,payment,,CNY,"), "{csv}");
    for unknown in ["/999999", "/x", "/999999/report.csv"] {
        let answer = get(unknown.to_owned()).await;
        assert_eq!(answer.status().as_u16(), 404, "{unknown}");
    }
    system.stop().await;
}
