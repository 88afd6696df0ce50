//! What reconciliation puts right by itself, what it leaves to people, and that doing it twice is
//! doing it once.

use std::sync::Arc;

use crate::support::{CacheAt, System, order};
use payment_runtime::reconcile::books::{Action, DifferenceRecord, Filter};
use payment_runtime::reconcile::{self, Plan};
use serde_json::{Value, json};

const TWO_DAYS: i64 = 2 * 86_400;
const ASK_NO_MORE: &str = "UPDATE payment_records SET next_question_at = '2099-01-01' \
                           WHERE next_question_at IS NOT NULL";
const ASK_NO_MORE_ABOUT_REFUNDS: &str = "UPDATE payment_refunds \
                           SET next_question_at = '2099-01-01' WHERE next_question_at IS NOT NULL";

async fn plan(system: &System) -> Plan {
    system
        .admin("/clock", &json!({"advanceSeconds": TWO_DAYS}))
        .await;
    let today = payment_runtime::clock::bill_day(payment_runtime::clock::now());
    Plan::day(&system.parts.payments, today)
}

async fn all(system: &System) -> Vec<DifferenceRecord> {
    let filter = Filter {
        state: Some("all".to_owned()),
        ..Filter::default()
    };
    system
        .parts
        .store
        .differences(&filter, 0, 100)
        .await
        .unwrap()
}

async fn trail(system: &System, id: u64) -> Vec<Action> {
    use payment_runtime::reconcile::books::Books as _;
    system.parts.store.actions(id).await.unwrap()
}

/// A charge that we are never told of and do not ask about.
async fn charged_in_silence(system: &System, channel: &str) -> Value {
    let (_, created) = system.post(&order(channel)).await;
    system.execute(ASK_NO_MORE).await;
    system.fault("missing-callback", channel).await;
    system.pay(&created).await;
    created
}

async fn ledger_is_clean(system: &System) {
    let report = payment_runtime::ledger::check(&system.parts.store)
        .await
        .unwrap();
    assert!(report.is_clean(), "{:?}", report.violations);
}

async fn counts(system: &System) -> (usize, usize, i64) {
    let differences = all(system).await;
    let mut lines = 0;
    for difference in &differences {
        lines += trail(system, difference.id).await.len();
    }
    let (entries,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM ledger_entries")
        .fetch_one(&mut crate::support::connect(system).await)
        .await
        .unwrap();
    (differences.len(), lines, entries)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charge_that_nobody_told_us_of_is_believed_after_asking() {
    let system = System::start(CacheAt::Real).await;
    for channel in ["wechat", "alipay"] {
        charged_in_silence(&system, channel).await;
    }
    let plan = plan(&system).await;
    let summary = reconcile::run(&system.parts, &plan).await.unwrap();
    assert_eq!((summary.corrected, summary.open_differences), (2, 0));
    assert_eq!(summary.proof_holds, Some(true));
    for difference in all(&system).await {
        assert_eq!(difference.class.as_str(), "short-by-status");
        assert_eq!(difference.resolution.as_deref(), Some("corrected"));
        let payment = system
            .payment(difference.payment_no.as_deref().unwrap())
            .await;
        assert_eq!(payment["status"], "PAID");
        let trail = trail(&system, difference.id).await;
        let names: Vec<&str> = trail.iter().map(|line| line.action.as_str()).collect();
        assert_eq!(names, ["correcting", "believed"]);
        assert!(trail[0].evidence.contains("Paid"), "{}", trail[0].evidence);
        assert_eq!(trail[0].rule.as_deref(), Some("corrections-1"));
    }
    let before = counts(&system).await;
    let again = reconcile::run(&system.parts, &plan).await.unwrap();
    assert_eq!((again.matched, again.corrected), (2, 0));
    assert_eq!(counts(&system).await, before);
    ledger_is_clean(&system).await;
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_of_unknown_owners_goes_to_suspense_until_both_sides_agree() {
    let system = System::start(CacheAt::Real).await;
    let paid = system.paid("wechat").await;
    let number = paid["channelOrderNo"].as_str().unwrap().to_owned();
    // Our record speaks of an order that the channel does not have, and the reverse.
    system
        .execute("UPDATE payment_records SET channel_order_no = CONCAT('X', SUBSTR(channel_order_no, 2))")
        .await;
    let plan = plan(&system).await;
    let summary = reconcile::run(&system.parts, &plan).await.unwrap();
    assert_eq!((summary.open_differences, summary.corrected), (2, 2));
    let found = all(&system).await;
    let of = |class: &str| {
        found
            .iter()
            .find(|difference| difference.class.as_str() == class)
            .unwrap()
    };
    assert!(of("missing-with-us").why.contains("suspense"));
    assert!(of("missing-at-channel").why.contains("frozen"));
    assert_eq!(of("missing-with-us").number, number);
    let before = counts(&system).await;
    reconcile::run(&system.parts, &plan).await.unwrap();
    assert_eq!(counts(&system).await, before, "a second run books nothing");
    ledger_is_clean(&system).await;

    system
        .execute("UPDATE payment_records SET channel_order_no = SUBSTR(payment_no, 5)")
        .await;
    let healed = reconcile::run(&system.parts, &plan).await.unwrap();
    assert_eq!((healed.matched, healed.open_differences), (1, 0));
    let (suspense,): (Option<i64>,) = sqlx::query_as(
        "SELECT CAST(SUM(IF(debit_account = 'suspense:wechat', amount, \
         IF(credit_account = 'suspense:wechat', -amount, 0))) AS SIGNED) FROM ledger_entries",
    )
    .fetch_one(&mut crate::support::connect(&system).await)
    .await
    .unwrap();
    assert_eq!(suspense, Some(0), "what was set aside is taken back");
    ledger_is_clean(&system).await;
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_days_budget_bounds_what_is_corrected() {
    let system = System::start_with(CacheAt::Real, |config| {
        config.reconciliation.corrections.daily_count = 1;
    })
    .await;
    for _ in 0..3 {
        charged_in_silence(&system, "wechat").await;
    }
    let plan = plan(&system).await;
    let summary = reconcile::run(&system.parts, &plan).await.unwrap();
    assert_eq!((summary.corrected, summary.open_differences), (1, 2));
    let again = reconcile::run(&system.parts, &plan).await.unwrap();
    assert_eq!((again.corrected, again.open_differences), (0, 2));
    let capped = all(&system)
        .await
        .into_iter()
        .filter(|difference| difference.why.contains("budget"));
    assert_eq!(capped.count(), 2);
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_on_the_bill_that_we_still_wait_for_is_believed() {
    let system = System::start(CacheAt::Real).await;
    for channel in ["wechat", "alipay"] {
        let paid = system.paid(channel).await;
        let id = paid["paymentId"].as_str().unwrap();
        system.fault("missing-callback", channel).await;
        let fault = if channel == "wechat" {
            "drop-answer"
        } else {
            "fund-change-n"
        };
        system
            .admin(
                "/faults",
                &json!({"name": fault, "channel": channel, "count": 1}),
            )
            .await;
        let (status, _) = system
            .act(
                &format!("/{id}/refunds"),
                &json!({"refundNo": "R1", "amount": paid["amount"]}),
            )
            .await;
        assert!(status == 201 || status == 202, "{channel}: {status}");
        system.execute(ASK_NO_MORE_ABOUT_REFUNDS).await;
    }
    let plan = plan(&system).await;
    reconcile::run(&system.parts, &plan).await.unwrap();
    let last = reconcile::run(&system.parts, &plan).await.unwrap();
    assert_eq!(last.open_differences, 0, "{:?}", all(&system).await);
    let (succeeded,): (i64,) =
        sqlx::query_as("SELECT COUNT(*) FROM payment_refunds WHERE status = 'SUCCEEDED'")
            .fetch_one(&mut crate::support::connect(&system).await)
            .await
            .unwrap();
    assert_eq!(succeeded, 2);
    ledger_is_clean(&system).await;
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_ledger_lacks_is_posted() {
    let system = System::start(CacheAt::Real).await;
    system.paid("wechat").await;
    system.execute("DELETE FROM ledger_unsealed").await;
    system.execute("DELETE FROM ledger_entries").await;
    let plan = plan(&system).await;
    let summary = reconcile::run(&system.parts, &plan).await.unwrap();
    assert_eq!(summary.corrected, 1);
    assert_eq!(all(&system).await[0].class.as_str(), "ledger");
    let again = reconcile::run(&system.parts, &plan).await.unwrap();
    assert_eq!((again.matched, again.open_differences), (1, 0));
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn overlapping_runs_are_harmless() {
    let system = System::start(CacheAt::Real).await;
    for _ in 0..3 {
        charged_in_silence(&system, "wechat").await;
    }
    let plan = plan(&system).await;
    let parts = &system.parts;
    let runs = (0..4).map(|_| {
        let (parts, plan) = (Arc::clone(parts), plan.clone());
        tokio::spawn(async move { reconcile::run(&parts, &plan).await.unwrap() })
    });
    for run in runs.collect::<Vec<_>>() {
        // Whoever compares has the whole bill, whichever of the imports it came from.
        assert_ne!(run.await.unwrap().proof_holds, Some(false));
    }
    let last = reconcile::run(parts, &plan).await.unwrap();
    assert_eq!((last.matched, last.open_differences), (3, 0));
    let differences = all(&system).await;
    assert_eq!(differences.len(), 3);
    for difference in differences {
        let trail = trail(&system, difference.id).await;
        let believed = trail.iter().filter(|line| line.action == "believed");
        assert_eq!(believed.count(), 1, "{trail:?}");
    }
    ledger_is_clean(&system).await;
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_keeps_nothing() {
    let system = System::start(CacheAt::Real).await;
    charged_in_silence(&system, "alipay").await;
    let mut plan = plan(&system).await;
    plan.dry_run = true;
    let summary = reconcile::run(&system.parts, &plan).await.unwrap();
    assert_eq!((summary.matched, summary.corrected), (0, 0));
    assert!(all(&system).await.is_empty());
    for table in ["bills", "bill_rows", "reconciliation_runs"] {
        let sql = format!("SELECT COUNT(*) FROM {table}");
        let (rows,): (i64,) = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .fetch_one(&mut crate::support::connect(&system).await)
            .await
            .unwrap();
        assert_eq!(rows, 0, "{table}");
    }
    system.stop().await;
}
