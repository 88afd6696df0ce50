//! A caller who goes away leaves nothing behind: not the change it asked for half-done, and not a
//! connection on which later changes are lost.

use payment_core::ChannelKind;
use payment_runtime::clock;
use payment_runtime::ports::Records as _;
use payment_runtime::reconcile::books::Books as _;

use crate::support::Database;

/// Steps of the executor before the caller goes away: from before BEGIN is sent to after its
/// answer.
const STEPS: u32 = 120;
const CONNECTIONS: u32 = 4;

async fn steps(count: u32) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_is_written_after_a_caller_went_away_is_committed() {
    let database = Database::with_connections(CONNECTIONS).await;
    let store = &database.store;
    let mut other = database.connect().await;
    let (now, day) = (clock::now(), clock::bill_day(clock::now()));
    for count in 0..STEPS {
        tokio::select! {
            biased;
            _ = store.claim_due(now, 60, 10) => {}
            () = steps(count) => {}
        }
        // One statement without a transaction of its own, on each connection of the pool.
        let imports = (0..CONNECTIONS).map(|n| async move {
            let digest = format!("{count:032}{n:032}");
            store
                .begin_import(ChannelKind::Wechat, day, &digest, false, now)
                .await
                .unwrap_or_else(|error| panic!("after {count} steps: {error:?}"));
        });
        futures::future::join_all(imports).await;
        let (written,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM bills")
            .fetch_one(&mut other)
            .await
            .unwrap();
        let expected = i64::from((count + 1) * CONNECTIONS);
        assert_eq!(written, expected, "after {count} steps");
    }
}
