//! Callbacks: ladders, faults, lies.

use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::bench::{Bench, NATIVE, verifies};
use crate::merchant::{Told, next, settle};

const HOUR: i64 = 3600;

#[tokio::test]
async fn callbacks_climb_the_ladder_with_the_calendar() {
    let (bench, mut received) = Bench::with_merchant(vec![500, 401]).await;
    bench
        .wechat("POST", NATIVE, &bench.order("ladder", 100))
        .await;
    bench.pay("wechat", "ladder").await;
    let first = next(&mut received).await;
    let mut later = Vec::new();
    for _ in 0..2 {
        // The attempt is queued again after its answer: move the calendar until it is sent.
        let sent = loop {
            bench.advance(15).await;
            let wait = Duration::from_millis(50);
            if let Ok(Some(told)) = tokio::time::timeout(wait, received.recv()).await {
                break told;
            }
        };
        later.push(sent);
    }
    assert!(
        later
            .iter()
            .all(|told| told.json()["id"] == first.json()["id"])
    );
    bench.advance(86_400).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(received.try_recv().is_err(), "acknowledged, yet sent again");
}

#[tokio::test]
async fn callbacks_can_be_repeated_missed_and_forged() {
    let (bench, mut received) = Bench::with_merchant(Vec::new()).await;
    for (fault, count) in [
        ("duplicate-callback", 3),
        ("forged-callback", 2),
        ("missing-callback", 0),
    ] {
        bench.wechat("POST", NATIVE, &bench.order(fault, 100)).await;
        bench.arm(fault, "wechat").await;
        bench.pay("wechat", fault).await;
        for _ in 0..count {
            next(&mut received).await;
        }
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(received.try_recv().is_err());

    let replay = json!({"channel": "wechat", "outTradeNo": "missing-callback", "times": 2});
    let (_, replayed) = bench.admin("POST", "/callbacks/replay", Some(replay)).await;
    assert_eq!(replayed, json!({"statuses": [200, 200], "acknowledged": 2}));
    bench
        .wechat("POST", NATIVE, &bench.order("unpaid", 100))
        .await;
    for kind in ["signature", "amount", "app", "stale"] {
        let forge = json!({"channel": "wechat", "outTradeNo": "unpaid", "kind": kind});
        let (status, forged) = bench.admin("POST", "/callbacks/forge", Some(forge)).await;
        assert_eq!((status, &forged["status"]), (200, &json!(200)), "{kind}");
    }
    let replay = json!({"channel": "wechat", "outTradeNo": "unpaid"});
    assert_eq!(
        bench
            .admin("POST", "/callbacks/replay", Some(replay))
            .await
            .0,
        409
    );
}

/// The attempt that comes after the first of these steps; the second helps one that was put into
/// the queue only after the first, as happens on a busy machine.
async fn after(bench: &Bench, told: &mut UnboundedReceiver<Told>, steps: [i64; 2]) -> Told {
    let [first, second] = steps;
    bench.advance(first).await;
    let soon = tokio::time::timeout(Duration::from_secs(2), told.recv()).await;
    if let Ok(one) = soon {
        return one.unwrap();
    }
    bench.advance(second).await;
    next(told).await
}

/// All attempts of a callback nobody acknowledges; each comes when its pause is over and not a
/// few seconds sooner.
async fn climb(bench: &Bench, told: &mut UnboundedReceiver<Told>, pauses: &[i64]) -> Vec<Told> {
    let mut all = vec![next(told).await];
    for pause in pauses {
        settle().await;
        bench.advance(pause - 5).await;
        settle().await;
        assert!(told.try_recv().is_err(), "sooner than {pause} s");
        all.push(after(bench, told, [5, *pause]).await);
    }
    settle().await;
    bench.advance(30 * 86_400).await;
    settle().await;
    assert!(told.try_recv().is_err(), "the ladder has an end");
    all
}

#[tokio::test]
async fn the_whole_wechat_ladder_is_climbed_and_every_attempt_signed_anew() {
    let (bench, mut told) = Bench::with_merchant(vec![500; 32]).await;
    bench.paid("ladder-w", 100).await;
    let pauses = [
        15,
        15,
        30,
        180,
        600,
        1200,
        1800,
        1800,
        1800,
        HOUR,
        3 * HOUR,
        3 * HOUR,
        3 * HOUR,
        6 * HOUR,
        6 * HOUR,
    ];
    let all = climb(&bench, &mut told, &pauses).await;
    let mut nonces: Vec<String> = all
        .iter()
        .map(|one| one.header("wechatpay-nonce"))
        .collect();
    nonces.sort_unstable();
    nonces.dedup();
    assert_eq!(nonces.len(), 16);
    let key = bench.key("wechat-public-key");
    assert!(all.iter().all(|one| one.verifies(key)));
    assert!(
        all.iter()
            .all(|one| one.json()["id"] == all[0].json()["id"])
    );
}

#[tokio::test]
async fn the_whole_alipay_ladder_is_climbed() {
    let (bench, mut told) = Bench::with_merchant(vec![500; 32]).await;
    bench.alipay_paid("ladder_a", "1.00").await;
    let pauses = [240, 600, 600, HOUR, 2 * HOUR, 6 * HOUR, 15 * HOUR];
    let all = climb(&bench, &mut told, &pauses).await;
    assert!(all.iter().all(|one| alipay_verifies(&bench, one, true)));
    assert!(
        all.iter()
            .all(|one| one.field("notify_id") == all[0].field("notify_id"))
    );
}

/// By the documented rule; empty values are part of it or not.
fn alipay_verifies(bench: &Bench, told: &Told, with_empty: bool) -> bool {
    let mut form = told.form();
    let sign = form.remove("sign").unwrap();
    form.remove("sign_type");
    form.retain(|_, value| with_empty || !value.is_empty());
    let text: Vec<String> = form.iter().map(|(k, v)| format!("{k}={v}")).collect();
    verifies(
        bench.key("alipay-public-key"),
        text.join("&").as_bytes(),
        &sign,
    )
}

#[tokio::test]
async fn a_late_acknowledgement_is_none() {
    let (bench, mut told) = Bench::with_merchant(Vec::new()).await;
    bench.arm("ack-timeout", "wechat").await;
    bench.paid("late-ack", 100).await;
    let first = next(&mut told).await;
    let second = after(&bench, &mut told, [15, 15]).await;
    assert_eq!(second.json()["id"], first.json()["id"]);
    settle().await;
    bench.advance(86_400).await;
    settle().await;
    assert!(told.try_recv().is_err(), "acknowledged the second time");
}

#[tokio::test]
async fn a_merchant_that_answers_after_five_seconds_has_not_answered() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let notify_url = format!("http://{}/slow", listener.local_addr().unwrap());
    let slow = || async { tokio::time::sleep(Duration::from_secs(7)).await };
    let router = axum::Router::new().route("/slow", axum::routing::post(slow));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let bench = Bench {
        notify_url,
        ..Bench::start().await
    };
    bench.arm("missing-callback", "wechat").await;
    bench.paid("slow-ack", 100).await;
    let replay = json!({"channel": "wechat", "outTradeNo": "slow-ack"});
    let (_, answer) = bench.post("/callbacks/replay", replay).await;
    assert_eq!(answer, json!({"statuses": [null], "acknowledged": 0}));
}

#[tokio::test]
async fn rightly_signed_lies_precede_the_truth() {
    let (bench, mut told) = Bench::with_merchant(Vec::new()).await;
    for fault in ["wrong-amount-callback", "wrong-app-callback"] {
        bench.arm(fault, "wechat").await;
        bench.paid(fault, 100).await;
        let key = bench.key("wechat-public-key");
        for _ in 0..2 {
            assert!(next(&mut told).await.verifies(key), "{fault}");
        }
        bench.arm(fault, "alipay").await;
        let number = fault.replace('-', "_");
        bench.alipay_paid(&number, "1.00").await;
        let (lie, truth) = (next(&mut told).await, next(&mut told).await);
        assert!(alipay_verifies(&bench, &lie, true) && alipay_verifies(&bench, &truth, true));
        assert_eq!(truth.field("total_amount"), "1.00");
        assert_eq!(truth.field("app_id"), bench.key("alipay-app-id"));
        let same = ["app_id", "total_amount"].map(|name| lie.field(name) == truth.field(name));
        assert_eq!(
            same,
            [
                fault != "wrong-app-callback",
                fault != "wrong-amount-callback"
            ]
        );
    }
}

#[tokio::test]
async fn empty_values_are_signed_or_left_out() {
    let (bench, mut told) = Bench::with_merchant(Vec::new()).await;
    for (fault, kept) in [
        ("empty-value-kept-callback", true),
        ("empty-value-dropped-callback", false),
    ] {
        bench.arm(fault, "alipay").await;
        bench.alipay_paid(&fault.replace('-', "_"), "1.00").await;
        let one = next(&mut told).await;
        assert_eq!(one.form().get("body").map(String::as_str), Some(""));
        assert!(alipay_verifies(&bench, &one, kept));
        assert!(!alipay_verifies(&bench, &one, !kept));
    }
}
