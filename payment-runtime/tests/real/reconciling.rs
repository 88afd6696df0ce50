//! Reconciliation of real bills in the channels' own formats.

use crate::support::{CacheAt, System, order};
use payment_runtime::reconcile::books::{DifferenceRecord, Filter};
use payment_runtime::reconcile::{self, Plan};
use serde_json::json;

const TWO_DAYS: i64 = 2 * 86_400;

async fn pay(system: &System, channel: &str, count: usize) {
    for _ in 0..count {
        let (_, created) = system.post(&order(channel)).await;
        system.pay(&created).await;
        system
            .until_status(created["paymentId"].as_str().unwrap(), "PAID")
            .await;
    }
}

/// Today's bills, as they exist once the channel's calendar has moved on.
async fn plan(system: &System) -> Plan {
    system
        .admin("/clock", &json!({"advanceSeconds": TWO_DAYS}))
        .await;
    let today = payment_runtime::clock::bill_day(payment_runtime::clock::now());
    Plan::day(&system.parts.payments, today)
}

async fn unresolved(system: &System) -> Vec<DifferenceRecord> {
    let all = Filter::default();
    system.parts.store.differences(&all, 0, 100).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_both_sides_know_matches() {
    let system = System::start(CacheAt::Real).await;
    pay(&system, "wechat", 3).await;
    pay(&system, "alipay", 2).await;
    let plan = plan(&system).await;
    for _ in 0..2 {
        let summary = reconcile::run(&system.parts, &plan).await.unwrap();
        assert_eq!(
            (
                summary.matched,
                summary.open_differences,
                summary.pending_bills
            ),
            (5, 0, 0)
        );
    }
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bill_that_is_not_made_yet_is_left_for_later() {
    let system = System::start(CacheAt::Real).await;
    pay(&system, "wechat", 1).await;
    let today = payment_runtime::clock::bill_day(payment_runtime::clock::now());
    let yesterday = today.yesterday().unwrap();
    let plan = Plan::day(&system.parts.payments, yesterday);
    let summary = reconcile::run(&system.parts, &plan).await.unwrap();
    assert_eq!((summary.matched, summary.open_differences), (0, 0));
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_seeded_difference_is_found_and_heals_when_the_bill_does() {
    let system = System::start(CacheAt::Real).await;
    pay(&system, "wechat", 3).await;
    pay(&system, "alipay", 3).await;
    let plan = plan(&system).await;
    for (fault, class) in [
        ("bill-missing-row", "missing-at-channel"),
        ("bill-extra-row", "missing-with-us"),
        ("bill-wrong-amount", "amount"),
    ] {
        for channel in ["wechat", "alipay"] {
            system.fault(fault, channel).await;
        }
        let summary = reconcile::run(&system.parts, &plan).await.unwrap();
        // Around midnight in Beijing a missing row may still turn up, and waits.
        let listed = summary.open_differences + summary.waiting_differences;
        assert_eq!(listed, 2, "{fault}");
        let open = unresolved(&system).await;
        assert!(
            open.iter()
                .all(|difference| difference.class.as_str() == class),
            "{fault}: {open:?}"
        );
    }
    let summary = reconcile::run(&system.parts, &plan).await.unwrap();
    assert_eq!((summary.matched, summary.open_differences), (6, 0));
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_bill_is_never_half_compared() {
    let system = System::start(CacheAt::Real).await;
    pay(&system, "wechat", 2).await;
    let mut plan = plan(&system).await;
    plan.channels = vec![payment_core::ChannelKind::Wechat];
    for fault in ["bill-wrong-hash", "bill-truncated"] {
        system.fault(fault, "wechat").await;
        let error = reconcile::run(&system.parts, &plan).await.unwrap_err();
        assert!(
            error.to_string().contains("could not be compared"),
            "{fault}: {error}"
        );
        assert!(
            system.parts.store.runs(None, 10).await.unwrap().is_empty(),
            "{fault}"
        );
    }
    let summary = reconcile::run(&system.parts, &plan).await.unwrap();
    assert_eq!((summary.matched, summary.open_differences), (2, 0));
    system.stop().await;
}
