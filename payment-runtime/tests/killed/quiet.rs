//! After the load: no faults, nobody dies. Clients repeat what they got no answer to, time passes
//! faster than it does, and whatever is open has to end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use sqlx::{Connection as _, Executor as _, MySqlConnection};

use crate::front::Front;
use crate::servers::Servers;
use crate::world::World;

/// Far longer than it takes, also on a busy computer; what is open then stays open.
const ENDS_WITHIN: Duration = Duration::from_mins(1);
const PAUSE_BETWEEN_LOOKS: Duration = Duration::from_millis(300);
const REPEATS_AT_ONCE: usize = 8;
/// The longest pause between two tries of a callback is fifteen hours.
const CALENDAR_STEP_SECONDS: u64 = 16 * 3600;
const CALENDAR_STEPS: usize = 9;

/// Orders that nobody paid have expired, all questions and callbacks are due, and a channel shows
/// everything that it took. Times of day only: no state is touched.
const TIME_PASSES: [&str; 4] = [
    "UPDATE payment_records SET expires_at = UTC_TIMESTAMP(3) - INTERVAL 1 DAY, \
     created_at = UTC_TIMESTAMP(3) - INTERVAL 1 DAY \
     WHERE status IN ('CREATED', 'SUBMITTING', 'PENDING', 'UNKNOWN')",
    "UPDATE payment_records SET next_question_at = UTC_TIMESTAMP(3) - INTERVAL 1 DAY \
     WHERE next_question_at IS NOT NULL",
    "UPDATE payment_refunds SET next_question_at = UTC_TIMESTAMP(3) - INTERVAL 1 DAY, \
     updated_at = UTC_TIMESTAMP(3) - INTERVAL 1 DAY WHERE next_question_at IS NOT NULL",
    "UPDATE callback_inbox SET next_attempt_at = UTC_TIMESTAMP(3) - INTERVAL 1 DAY \
     WHERE next_attempt_at IS NOT NULL",
];

const OPEN: &str = "SELECT \
     (SELECT COUNT(*) FROM payment_records WHERE next_question_at IS NOT NULL \
      OR status IN ('CREATED', 'SUBMITTING', 'PENDING', 'UNKNOWN', 'PAID_AFTER_CLOSE')) + \
     (SELECT COUNT(*) FROM payment_refunds WHERE next_question_at IS NOT NULL \
      OR status IN ('CREATED', 'SUBMITTING', 'PENDING', 'UNKNOWN')) + \
     (SELECT COUNT(*) FROM callback_inbox WHERE next_attempt_at IS NOT NULL)";

/// How many things were still open at the end of the patience: I14 wants none. Time passes from
/// here on.
pub(crate) async fn come_to_rest(servers: &Servers, world: &Arc<World>, front: &Front) -> i64 {
    let mut database = servers.connect().await.unwrap();
    converge(world).await;
    world.advance(60).await;
    let open = until_nothing_is_open(&mut database).await;
    // Callbacks that were late or not acknowledged come now, long after the end.
    let mut received = front.received();
    for _ in 0..CALENDAR_STEPS {
        world.advance(CALENDAR_STEP_SECONDS).await;
        loop {
            tokio::time::sleep(PAUSE_BETWEEN_LOOKS).await;
            if front.received() == received {
                break;
            }
            received = front.received();
        }
    }
    let still_open = until_nothing_is_open(&mut database).await;
    database.close().await.unwrap();
    // The same bytes again, for every key.
    repeat_all(world).await;
    open.max(still_open)
}

/// Clients that never got an answer get one: what a dead process began is taken over.
async fn converge(world: &Arc<World>) {
    let waiting: Vec<_> = world
        .keyed()
        .into_iter()
        .filter(|post| !world.has_final_answer(post))
        .collect();
    let deadline = Instant::now() + ENDS_WITHIN;
    futures::stream::iter(waiting)
        .for_each_concurrent(REPEATS_AT_ONCE, async |post| {
            if world.insist(&post, deadline).await.is_none() {
                world.breach(format!("I8: nobody takes over {post:?}"));
            }
        })
        .await;
}

async fn repeat_all(world: &Arc<World>) {
    let deadline = Instant::now() + ENDS_WITHIN;
    let answered: Vec<_> = world
        .keyed()
        .into_iter()
        .filter(|post| world.has_final_answer(post))
        .collect();
    futures::stream::iter(answered)
        .for_each_concurrent(REPEATS_AT_ONCE, async |post| {
            let answer = world.insist(&post, deadline).await;
            if !answer.is_some_and(|answer| answer.is_success() || answer.status == 402) {
                world.breach(format!("I8: {post:?} had an answer and has none any more"));
            }
        })
        .await;
}

async fn until_nothing_is_open(database: &mut MySqlConnection) -> i64 {
    let deadline = Instant::now() + ENDS_WITHIN;
    loop {
        let (open,): (i64,) = sqlx::query_as(OPEN)
            .fetch_one(&mut *database)
            .await
            .unwrap();
        if open == 0 || Instant::now() >= deadline {
            return open;
        }
        for sql in TIME_PASSES {
            // Another transaction may hold a row for long; the next look comes soon.
            if let Err(error) = database.execute(sql).await {
                assert!(error.as_database_error().is_some(), "{error}");
            }
        }
        tokio::time::sleep(PAUSE_BETWEEN_LOOKS).await;
    }
}
