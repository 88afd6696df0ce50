//! The ledger against MySQL: what payments post, what seals prove, and what a check finds.

use std::time::Duration;

use futures::future::join_all;
use jiff::civil::Date;
use payment_core::{Account, Cause, ChannelKind, Currency, Money};
use payment_runtime::clock;
use payment_runtime::ledger::{
    self, Finding, LedgerReport, Statement, Wanted, backfill, check, fold_once,
};
use payment_runtime::records::{NewEntry, SYSTEM};
use payment_runtime::store::{Posted, Store};
use serde_json::{Value, json};

use crate::support::{CacheAt, Database, System, order, query_text};

const CHANNELS: [ChannelKind; 2] = ChannelKind::ALL;

fn id_of(payment: &Value) -> String {
    payment["paymentId"].as_str().unwrap().to_owned()
}

/// Waits until every entry has its seal, and checks.
async fn sealed(system: &System) -> LedgerReport {
    let waits = || async {
        let report = check(&system.parts.store).await.unwrap();
        (report.waiting == 0).then_some(report)
    };
    system.until("every entry to be sealed", waits).await
}

fn assert_clean(report: &LedgerReport) {
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.sealed + report.waiting, report.entries, "{report}");
}

async fn refund(system: &System, id: &str, number: &str, amount: &str) {
    system
        .execute("UPDATE payment_records SET last_refund_at = NULL")
        .await;
    let body = json!({"refundNo": number, "amount": amount});
    let (status, answer) = system.act(&format!("/{id}/refunds"), &body).await;
    assert!(status < 300, "{answer}");
    system.until_refund(id, number, "SUCCEEDED").await;
}

/// A payment that was closed here and at the channel, and charged all the same.
async fn charged_after_close(system: &System, channel: &str) -> String {
    let (_, created) = system.post(&order(channel)).await;
    system.scan(&created).await;
    system.fault("query-lag", channel).await;
    system.fault("missing-callback", channel).await;
    system.fault("paid-despite-close", channel).await;
    let id = id_of(&created);
    let closed = || async {
        let (_, payment) = system.act(&format!("/{id}/close"), &json!({})).await;
        (payment["status"] == "CLOSED").then_some(())
    };
    system.until("the payment to be closed", closed).await;
    system.replay_callback(&created).await;
    id
}

async fn of_day(store: &Store, account: Account, day: Date) -> Statement {
    let currency = Currency::CNY;
    let wanted = Wanted {
        account,
        currency,
        day,
    };
    let whole = ledger::statement(store, &wanted, 0, 1000).await.unwrap();
    let (mut after, mut balance, mut paged) = (0, whole.opening_minor, Vec::new());
    loop {
        let page = ledger::statement(store, &wanted, after, 2).await.unwrap();
        balance += page.entries.iter().map(|e| page.minor(e)).sum::<i64>();
        paged.extend(page.entries);
        let Some(next) = page.next else { break };
        after = next;
    }
    assert_eq!(paged, whole.entries);
    assert_eq!(balance, whole.closing_minor, "{account}");
    whole
}

/// What each channel holds by its own book.
async fn held(system: &System, channel: &str) -> i64 {
    let sum = |list: Vec<Value>, state: &str| -> i64 {
        list.iter()
            .filter(|line| state.is_empty() || line["state"] == state)
            .map(|line| line["amountMinor"].as_i64().unwrap())
            .sum()
    };
    let charges = sum(system.charges(channel).await, "");
    charges - sum(system.book_refunds(channel).await, "SUCCESS")
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_to_payments_the_ledger_follows() {
    let system = System::start(CacheAt::None).await;
    for channel in CHANNELS.map(ChannelKind::as_str) {
        let parts = id_of(&system.paid(channel).await);
        refund(&system, &parts, "R-1", "33.33").await;
        refund(&system, &parts, "R-2", "0.01").await;
        let all = id_of(&system.paid(channel).await);
        refund(&system, &all, "R-1", "99.99").await;
        let late = charged_after_close(&system, channel).await;
        let back = || async {
            system.let_refunds_become_visible().await;
            system.ask_now().await;
            (system.payment(&late).await["status"] == "REFUNDED").then_some(())
        };
        system.until("the late money to be given back", back).await;
        system.post(&order(channel)).await;
    }
    let report = sealed(&system).await;
    assert_clean(&report);
    assert_eq!((report.payments, report.entries), (8, 14), "{report}");
    let (store, today) = (&system.parts.store, clock::bill_day(clock::now()));
    let tomorrow = today.tomorrow().unwrap();
    let mut total = 0;
    for account in Account::ALL {
        let day = of_day(store, account, today).await;
        let next = of_day(store, account, tomorrow).await;
        assert_eq!(next.opening_minor, day.closing_minor, "{account}");
        assert!(next.entries.is_empty());
        total += day.closing_minor;
    }
    assert_eq!(total, 0);
    for kind in CHANNELS {
        let clearing = of_day(store, Account::Clearing(kind), tomorrow).await;
        assert_eq!(clearing.opening_minor, held(&system, kind.as_str()).await);
        let suspense = of_day(store, Account::Suspense(kind), tomorrow).await;
        assert_eq!(suspense.opening_minor, 0);
    }
    let merchant = of_day(store, Account::Merchant, today).await;
    assert_eq!(merchant.credit_minor, 4 * 9999, "late money is not his");
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn late_money_that_is_taken_moves_to_the_merchant() {
    let policy = contract::config::PaidAfterClose::Reopen;
    let system = System::start_with(CacheAt::None, |c| c.payment.paid_after_close = policy).await;
    let id = charged_after_close(&system, "wechat").await;
    system.until_status(&id, "PAID").await;
    assert_clean(&sealed(&system).await);
    let store = &system.parts.store;
    let entries = store.entries_of_payment(&id, 0, 100).await.unwrap();
    let told: Vec<String> = entries
        .iter()
        .map(|e| {
            format!(
                "{}: {} <- {} {}",
                e.cause, e.debit, e.credit, e.amount_minor
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "given-up: clearing:wechat <- suspense:wechat 9999",
            "reopened: suspense:wechat <- merchant 9999"
        ]
    );
    assert_eq!(
        (entries[0].source.as_str(), entries[1].source.as_str()),
        ("callback", "policy")
    );
    assert!(
        entries
            .iter()
            .all(|e| e.actor == SYSTEM && e.reference.starts_with("4200"))
    );
    system.stop().await;
}

/// What somebody did behind our back, how to undo it, and what a check must call it.
const DEEDS: [(&str, &str, Finding); 13] = [
    (
        "UPDATE ledger_entries SET amount = amount + 1 ORDER BY id LIMIT 1",
        "UPDATE ledger_entries SET amount = amount - 1 ORDER BY id LIMIT 1",
        Finding::Altered,
    ),
    (
        "UPDATE ledger_entries SET actor = 'nobody' ORDER BY id LIMIT 1",
        "UPDATE ledger_entries SET actor = 'system' ORDER BY id LIMIT 1",
        Finding::Altered,
    ),
    (
        "UPDATE ledger_entries SET debit_account = 'pocket' WHERE debit_account = 'refunds'",
        "UPDATE ledger_entries SET debit_account = 'refunds' WHERE debit_account = 'pocket'",
        Finding::Malformed,
    ),
    (
        "DELETE FROM ledger_entries ORDER BY id LIMIT 1",
        "INSERT INTO ledger_entries SELECT * FROM kept_entries ORDER BY id LIMIT 1",
        Finding::EntryMissing,
    ),
    (
        "INSERT INTO ledger_entries SELECT NULL, CONCAT(entry_key, ':x'), shard, payment_no, \
         refund_no, payment_channel, debit_account, credit_account, amount, currency, day, cause, \
         source, actor, rule_version, reference, recorded_at FROM kept_entries LIMIT 1",
        "DELETE FROM ledger_entries WHERE entry_key LIKE '%:x'",
        Finding::Unsealed,
    ),
    (
        "UPDATE ledger_seals SET hash = REPEAT('a', 64) WHERE sequence = 1",
        "UPDATE ledger_seals s JOIN kept_seals k ON k.entry_id = s.entry_id SET s.hash = k.hash",
        Finding::Altered,
    ),
    (
        "DELETE FROM ledger_seals WHERE sequence = 1",
        "INSERT INTO ledger_seals SELECT * FROM kept_seals WHERE sequence = 1",
        Finding::SealMissing,
    ),
    (
        "DELETE s FROM ledger_seals s JOIN ledger_shards h ON h.shard = s.shard \
         AND h.last_sequence = s.sequence",
        "INSERT INTO ledger_seals SELECT k.* FROM kept_seals k JOIN ledger_shards h \
         ON h.shard = k.shard AND h.last_sequence = k.sequence",
        Finding::ChainEnd,
    ),
    (
        "UPDATE ledger_balances SET credit_minor = credit_minor - 5 WHERE account = 'merchant'",
        "UPDATE ledger_balances SET credit_minor = credit_minor + 5 WHERE account = 'merchant'",
        Finding::CurrencySum,
    ),
    (
        "UPDATE ledger_balances SET entries = entries + 1",
        "UPDATE ledger_balances SET entries = entries - 1",
        Finding::Balance,
    ),
    (
        "UPDATE payment_records SET status = 'PAID' WHERE status = 'PENDING'",
        "UPDATE payment_records SET status = 'PENDING' WHERE paid_at IS NULL",
        Finding::Position,
    ),
    (
        "UPDATE payment_records SET payment_no = CONCAT('x', payment_no)",
        "UPDATE payment_records SET payment_no = SUBSTR(payment_no, 2)",
        Finding::NoRecord,
    ),
    (
        "INSERT INTO ledger_unsealed VALUES (0, 999999)",
        "DELETE FROM ledger_unsealed",
        Finding::Queue,
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_check_finds_every_row_that_was_changed_removed_or_put_in() {
    let system = System::start(CacheAt::None).await;
    for channel in ["wechat", "alipay", "wechat", "alipay"] {
        let id = id_of(&system.paid(channel).await);
        refund(&system, &id, "R-1", "10").await;
        refund(&system, &id, "R-2", "20").await;
    }
    system.post(&order("wechat")).await;
    assert_clean(&sealed(&system).await);
    system
        .execute("CREATE TABLE kept_entries AS SELECT * FROM ledger_entries ORDER BY id")
        .await;
    system
        .execute("CREATE TABLE kept_seals AS SELECT * FROM ledger_seals")
        .await;
    let store = &system.parts.store;
    for (deed, undo, finding) in DEEDS {
        system.execute(deed).await;
        let report = check(store).await.unwrap();
        let found = report.violations.iter().any(|v| v.finding == finding);
        assert!(found, "{deed}: {finding:?} is not in\n{report}");
        system.execute(undo).await;
        let report = check(store).await.unwrap();
        assert!(report.is_clean(), "{undo}:\n{report}");
    }
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_refuses_entries_that_move_nothing() {
    let database = Database::new().await;
    let mut connection = database.connect().await;
    for (amount, credit, currency) in [(0, "'b'", "'CNY'"), (1, "'a'", "'CNY'"), (1, "'b'", "NULL")]
    {
        let sql = sqlx::AssertSqlSafe(format!(
            "INSERT INTO ledger_entries (entry_key, shard, payment_channel, debit_account, \
             credit_account, amount, currency, day, cause, source, actor, reference, recorded_at) \
             VALUES ('k', 0, 'wechat', 'a', {credit}, {amount}, {currency}, '2026-11-22', 'fee', \
             'bill', 'system', 'r', '2026-11-22')"
        ));
        let refused = sqlx::query(sql).execute(&mut connection).await;
        assert!(refused.is_err(), "{amount} {credit} {currency}");
    }
    database.store.close().await;
}

fn correction(n: usize) -> NewEntry {
    NewEntry {
        entry_key: format!("correction:{n}"),
        payment_no: None,
        refund_no: None,
        channel: ChannelKind::Alipay,
        debit: Account::Fees(ChannelKind::Alipay),
        credit: Account::Clearing(ChannelKind::Alipay),
        amount: Money::new(1 + i64::try_from(n).unwrap(), Currency::CNY),
        day: Date::constant(2026, 11, 22),
        cause: Cause::Correction,
        source: "bill",
        actor: "somebody".to_owned(),
        rule: Some("1"),
        reference: "2026-11-22".to_owned(),
        recorded_at: clock::now(),
    }
}

fn corrections(n: usize) -> Vec<NewEntry> {
    (0..n).map(correction).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_posted_again_is_posted_once_and_never_changed() {
    let database = Database::new().await;
    let store = &database.store;
    let posted = |new, known| Posted { new, known };
    assert_eq!(store.post(&corrections(2)).await.unwrap(), posted(2, 0));
    assert_eq!(store.post(&corrections(3)).await.unwrap(), posted(1, 2));
    let mut other = corrections(5);
    other[1].amount.minor += 1;
    let error = store.post(&other).await.unwrap_err();
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert!(why.contains("correction:1"), "{why}");
    let report = check(store).await.unwrap();
    assert_eq!((report.entries, report.waiting), (3, 3), "{report}");
    let at_once = join_all((0..8).map(|_| async { store.post(&corrections(20)).await.unwrap() }));
    let new: usize = at_once.await.iter().map(|posted| posted.new).sum();
    assert_eq!(new, 17);
    database.store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_at_once_seal_each_entry_exactly_once() {
    let database = Database::new().await;
    let store = &database.store;
    store.post(&corrections(900)).await.unwrap();
    let folder = || async {
        let mut sealed = 0;
        while check_waiting(store).await > 0 {
            sealed += fold_once(store).await.unwrap();
        }
        sealed
    };
    let sealed: usize = join_all((0..4).map(|_| folder())).await.iter().sum();
    assert_eq!(sealed, 900);
    let report = check(store).await.unwrap();
    assert_clean(&report);
    assert_eq!(report.sealed, 900);
    let day = Date::constant(2026, 11, 22);
    let fees = of_day(store, Account::Fees(ChannelKind::Alipay), day).await;
    assert_eq!(fees.closing_minor, (1..=900).sum::<i64>());
    database.store.close().await;
}

async fn check_waiting(store: &Store) -> u64 {
    check(store).await.unwrap().waiting
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_dies_on_the_way_changes_nothing() {
    let database = Database::new().await;
    let store = &database.store;
    store.post(&corrections(1000)).await.unwrap();
    for step in 0..30 {
        let other = database.another_store();
        let patience = Duration::from_millis(2 * step);
        // Its runtime goes, and with it its connections, as when a process is killed.
        let life = tokio::task::spawn_blocking(move || die_while_folding(&other, patience));
        life.await.unwrap();
        let report = check(store).await.unwrap();
        assert_clean(&report);
    }
    while check_waiting(store).await > 0 {
        fold_once(store).await.unwrap();
    }
    let report = check(store).await.unwrap();
    assert_clean(&report);
    assert_eq!((report.sealed, report.entries), (1000, 1000));
    database.store.close().await;
}

fn die_while_folding(store: &Store, patience: Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _ = runtime.block_on(async { tokio::time::timeout(patience, fold_once(store)).await });
    runtime.shutdown_background();
}

/// As if the payments had been made by a version without a ledger.
async fn forget_the_ledger(system: &System) {
    sealed(system).await;
    for sql in [
        "DELETE FROM ledger_entries",
        "DELETE FROM ledger_seals",
        "DELETE FROM ledger_balances",
        "UPDATE ledger_shards SET last_sequence = 0, last_hash = REPEAT('0', 64)",
    ] {
        system.execute(sql).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_from_before_the_ledger_get_opening_entries() {
    let system = System::start(CacheAt::None).await;
    let store = &system.parts.store;
    let plain = id_of(&system.paid("wechat").await);
    let part = id_of(&system.paid("alipay").await);
    refund(&system, &part, "R-1", "40").await;
    system.post(&order("wechat")).await;
    forget_the_ledger(&system).await;
    // An old replica took the payment, a new one gives some of it back before `migrate` runs.
    refund(&system, &plain, "R-1", "9.99").await;
    assert!(!sealed(&system).await.is_clean());

    assert_eq!(backfill(store).await.unwrap(), 2);
    assert_eq!(backfill(store).await.unwrap(), 0);
    assert_clean(&sealed(&system).await);
    refund(&system, &part, "R-2", "59.99").await;
    assert_clean(&sealed(&system).await);
    // What was given back in full has balances of zero, and its entries all the same.
    assert_eq!(backfill(store).await.unwrap(), 0);
    assert_clean(&sealed(&system).await);
    let keys = query_text(
        &system,
        "SELECT GROUP_CONCAT(SUBSTR(entry_key, 37) ORDER BY id) FROM ledger_entries \
         WHERE cause = 'opening'",
    );
    assert_eq!(keys.await.unwrap(), ":opening:0,:opening:0,:opening:1");

    // A day later nothing is opened any more: what is missing then is missing.
    forget_the_ledger(&system).await;
    system
        .execute("UPDATE ledger_shards SET created_at = created_at - INTERVAL 2 DAY")
        .await;
    assert_eq!(backfill(store).await.unwrap(), 0);
    let opened = "SELECT CAST(MIN(opened) AS CHAR) FROM ledger_shards";
    assert_eq!(query_text(&system, opened).await.unwrap(), "1");
    let report = sealed(&system).await;
    assert_eq!(report.violation_count, 2, "{report}");
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_checks_and_prints_statements() {
    let system = System::start(CacheAt::None).await;
    let id = id_of(&system.paid("wechat").await);
    sealed(&system).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    // JSON is YAML.
    let config = serde_json::to_string(&system.parts.payments.config).unwrap();
    std::fs::write(&file, config).unwrap();
    let run = |arguments: &[&str]| {
        let program = env!("CARGO_BIN_EXE_payment-runtime");
        let mut command = std::process::Command::new(program);
        command.arg("ledger").args(arguments).arg("--config");
        let done = command.arg(&file).output().unwrap();
        let text = String::from_utf8(done.stdout).unwrap();
        (done.status.code().unwrap(), text)
    };
    let (code, text) = run(&["check"]);
    assert!(code == 0 && text.contains("the ledger is sound"), "{text}");
    let today = clock::bill_day(clock::now()).to_string();
    let merchant = ["statement", "--account", "merchant", "--day", &today];
    let (code, text) = run(&merchant);
    assert!(
        code == 0 && text.contains("closing balance -99.99"),
        "{text}"
    );
    let (_, text) = run(&[&merchant[..], &["--csv"]].concat());
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(
        text.contains(&format!(",-99.99,CNY,clearing:wechat,merchant,{id},")),
        "{text}"
    );
    let (code, _) = run(&["statement", "--account", "pocket", "--day", &today]);
    assert_eq!(code, 2);
    system
        .execute("UPDATE ledger_entries SET reference = 'x'")
        .await;
    let (code, text) = run(&["check"]);
    assert!(code == 1 && text.contains("altered: shard"), "{text}");
    system.stop().await;
}
