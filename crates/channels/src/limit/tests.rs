use super::*;

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

/// So many permits at once, and then practically none.
fn hourly(patience: Duration, permits: u32) -> Limits {
    Limits::with(patience, |_| Quota::per_hour(number(permits)))
}

async fn taken(limits: &Limits, operation: Operation, merchant: &str, calls: usize) -> usize {
    let mut taken = 0;
    for _ in 0..calls {
        taken += usize::from(limits.permit(operation, merchant).await.is_ok());
    }
    taken
}

#[tokio::test]
async fn a_full_bucket_gives_its_permits_at_once_and_then_refuses_unsent() {
    let limits = hourly(Duration::ZERO, 3);
    assert_eq!(taken(&limits, Operation::WechatRefund, "1", 3).await, 3);
    let Err(Fail::Refused(refusal)) = limits.permit(Operation::WechatRefund, "1").await else {
        panic!("a permit too many");
    };
    assert_eq!(refusal.code, Refusal::LOCAL_RATE_LIMIT);
    assert!(!refusal.sent);
}

#[tokio::test]
async fn merchants_and_operations_have_buckets_of_their_own() {
    let limits = hourly(Duration::ZERO, 1);
    for (operation, merchant, expected) in [
        (Operation::WechatRefund, "1", 1),
        (Operation::WechatRefund, "1", 0),
        (Operation::WechatRefund, "2", 1),
        (Operation::WechatPrepay, "1", 1),
    ] {
        let got = taken(&limits, operation, merchant, 1).await;
        assert_eq!(got, expected, "{operation:?} {merchant}");
    }
}

#[tokio::test]
async fn a_permit_that_comes_soon_is_waited_for() {
    let patience = Duration::from_millis(500);
    let limits = Limits::with(patience, |_| Quota::per_second(number(20)));
    let start = Instant::now();
    assert_eq!(taken(&limits, Operation::AlipayRefund, "1", 22).await, 22);
    assert!(start.elapsed() >= Duration::from_millis(90));
}

#[tokio::test]
async fn a_permit_that_comes_too_late_is_not_waited_for() {
    let limits = hourly(Duration::from_secs(3), 1);
    let start = Instant::now();
    assert_eq!(taken(&limits, Operation::AlipayRefund, "1", 2).await, 1);
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn the_published_limits_are_kept() {
    for (operation, expected) in [
        (Operation::WechatPrepay, 500),
        (Operation::WechatQuery, 300),
        (Operation::WechatRefund, 150),
    ] {
        assert_eq!(operation.quota(), Quota::per_second(number(expected)));
    }
}
