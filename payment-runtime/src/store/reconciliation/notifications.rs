//! Messages about differences, from the transaction that marks what they tell of to their end.

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use payment_core::ChannelKind;
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, MySqlConnection, Row as _};

use super::differences;
use crate::reconcile::books::BillRefused;
use crate::reconcile::notify::{Counted, EXAMPLES_MAX, Example, GROUPS_MAX, Head, News, body};
use crate::reconcile::shown;
use crate::store::{Failure, Store, StoreError, from_day, retried, to_datetime, to_day};

/// Differences that one message tells of; there are more messages if there are more.
const TOLD_TOGETHER: u32 = 100_000;
/// Messages that one call writes.
const MESSAGES_MAX: usize = 100;
/// How long the text of a message is kept after its end.
const KEPT_DAYS: i64 = 90;

/// A message on its way.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub id: u64,
    /// The same for every delivery.
    pub message_id: String,
    pub kind: String,
    pub body: String,
    /// This delivery is the first, second, …
    pub attempts: u32,
}

/// Deliveries so far, by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NotificationCounts {
    pub sent: u64,
    pub failed: u64,
}

impl Store {
    /// Writes messages about differences that are new, or resolved, since the last message about
    /// them: of one day, or, without a day, those that people resolved. Returns how many
    /// differences they tell of.
    pub async fn tell_differences(
        &self,
        head: &Head,
        day: Option<(ChannelKind, Date)>,
    ) -> Result<u64, StoreError> {
        let mut told = 0;
        for n in 0..MESSAGES_MAX {
            let marked = retried(|| self.try_tell(head, n, day)).await?;
            told += marked;
            if marked < u64::from(TOLD_TOGETHER) {
                break;
            }
        }
        Ok(told)
    }

    async fn try_tell(
        &self,
        head: &Head,
        n: usize,
        day: Option<(ChannelKind, Date)>,
    ) -> Result<u64, Failure> {
        let wanted = untold(head.news, day.is_some());
        let sql = format!("SELECT 1 FROM reconciliation_differences WHERE {wanted} LIMIT 1");
        let query = bound_day(sqlx::query(AssertSqlSafe(sql)), day);
        if query.fetch_optional(&self.pool).await?.is_none() {
            return Ok(0);
        }
        let mut tx = self.pool.begin().await?;
        let message_id = match n {
            0 => head.message_id.clone(),
            _ => format!("{}-{n}", head.message_id),
        };
        let id = insert(&mut tx, head, &message_id, &message_id, "").await?;
        // The mark holds the rows, so that counting and showing speak of the same ones.
        let sql = format!(
            "UPDATE reconciliation_differences SET told_by = ?, told = ? WHERE {wanted} LIMIT ?"
        );
        let told = if head.news == News::Found {
            "found"
        } else {
            "resolved"
        };
        let query = sqlx::query(AssertSqlSafe(sql)).bind(id).bind(told);
        let marked = bound_day(query, day)
            .bind(TOLD_TOGETHER)
            .execute(&mut *tx)
            .await?
            .rows_affected();
        if marked == 0 {
            tx.rollback().await?;
            return Ok(0);
        }
        let counted = counted(&mut tx, id).await?;
        let examples = examples(&mut tx, id).await?;
        sqlx::query("UPDATE reconciliation_notifications SET body = ? WHERE id = ?")
            .bind(body(head, marked, &counted, examples))
            .bind(id)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(marked)
    }

    /// Writes a message about the day's bill, once for each file that is refused for a reason.
    pub(super) async fn tell_refused(
        &self,
        head: &Head,
        channel: ChannelKind,
        day: Date,
        refused: &BillRefused,
    ) -> Result<(), StoreError> {
        let row = sqlx::query(
            "SELECT digest FROM bills WHERE payment_channel = ? AND bill_day = ? \
             AND state = 'refused' ORDER BY id DESC LIMIT 1",
        )
        .bind(channel.as_str())
        .bind(to_day(day))
        .fetch_optional(&self.pool)
        .await?;
        let digest: String = match row {
            Some(row) => row.try_get("digest")?,
            None => String::new(),
        };
        let event = format!("bill:{channel}:{day}:{digest}:{}", refused.reason);
        let text = crate::reconcile::notify::refusal(head, channel, day, refused);
        self.enqueue(head, &event, &text).await
    }

    /// Writes a message about an event, unless there is one.
    pub async fn enqueue(&self, head: &Head, event: &str, body: &str) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await?;
        match insert(&mut connection, head, &head.message_id, event, body).await {
            Err(failure) if failure.duplicate_of() == Some("uk_event") => Ok(()),
            done => Ok(done.map(drop)?),
        }
    }

    /// Takes up to `limit` messages that are due; they are due again at `until` unless they are
    /// settled before.
    pub async fn claim_notifications(
        &self,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Outgoing>, StoreError> {
        Ok(retried(|| self.try_claim(now, until, limit)).await?)
    }

    async fn try_claim(
        &self,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Outgoing>, Failure> {
        let mut tx = self.pool.begin().await?;
        let rows = sqlx::query(
            "SELECT id, message_id, type, body, attempts FROM reconciliation_notifications \
             WHERE next_attempt_at <= ? ORDER BY next_attempt_at LIMIT ? FOR UPDATE SKIP LOCKED",
        )
        .bind(to_datetime(now))
        .bind(limit)
        .fetch_all(&mut *tx)
        .await?;
        let mut claimed = Vec::with_capacity(rows.len());
        for row in &rows {
            let message = outgoing(row)?;
            sqlx::query(
                "UPDATE reconciliation_notifications SET attempts = ?, next_attempt_at = ? \
                 WHERE id = ?",
            )
            .bind(message.attempts)
            .bind(to_datetime(until))
            .bind(message.id)
            .execute(&mut *tx)
            .await?;
            claimed.push(message);
        }
        tx.commit().await?;
        Ok(claimed)
    }

    /// The receiver has it. Whoever took it over meanwhile has sent it once more.
    pub async fn notification_sent(
        &self,
        message: &Outgoing,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE reconciliation_notifications SET outcome = 'sent', next_attempt_at = NULL, \
             detail = '', ended_at = ? WHERE id = ? AND ended_at IS NULL",
        )
        .bind(to_datetime(now))
        .bind(message.id)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// A delivery failed; without `next` the message is given up.
    pub async fn notification_failed(
        &self,
        message: &Outgoing,
        why: &str,
        next: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE reconciliation_notifications SET failures = failures + 1, detail = ?, \
             next_attempt_at = ?, outcome = IF(? IS NULL, 'given-up', NULL), \
             ended_at = IF(? IS NULL, ?, NULL) \
             WHERE id = ? AND attempts = ? AND ended_at IS NULL",
        )
        .bind(why.chars().take(255).collect::<String>())
        .bind(next.map(to_datetime))
        .bind(next.map(to_datetime))
        .bind(next.map(to_datetime))
        .bind(to_datetime(now))
        .bind(message.id)
        .bind(message.attempts)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Takes the texts of messages away that ended long ago; that they were there stays known.
    pub async fn forget_bodies(&self, now: Timestamp) -> Result<(), StoreError> {
        let kept = SignedDuration::from_hours(24 * KEPT_DAYS);
        sqlx::query(
            "UPDATE reconciliation_notifications SET body = '' \
             WHERE ended_at < ? AND body <> '' LIMIT 100",
        )
        .bind(to_datetime(now.checked_sub(kept).unwrap_or(now)))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    pub async fn notification_counts(&self) -> Result<NotificationCounts, StoreError> {
        let row = sqlx::query(
            "SELECT CAST(COALESCE(SUM(outcome = 'sent'), 0) AS SIGNED) AS sent, \
             CAST(COALESCE(SUM(failures), 0) AS SIGNED) AS failed \
             FROM reconciliation_notifications",
        )
        .fetch_one(&self.pool)
        .await?;
        let count = |column: &str| -> Result<u64, StoreError> {
            let count: i64 = row.try_get(column)?;
            Ok(u64::try_from(count).unwrap_or_default())
        };
        Ok(NotificationCounts {
            sent: count("sent")?,
            failed: count("failed")?,
        })
    }
}

/// What no message has told of. Differences that wait may heal and are no news; those that healed
/// without having been told are none either.
const fn untold(news: News, of_a_day: bool) -> &'static str {
    match (news, of_a_day) {
        (News::Found, true) => {
            "state IN ('open', 'proposed') AND NOT (told <=> 'found') \
             AND payment_channel = ? AND bill_day = ?"
        }
        (_, true) => {
            "state = 'resolved' AND (told = 'found' OR (told IS NULL \
             AND resolution = 'corrected')) AND payment_channel = ? AND bill_day = ?"
        }
        // A run tells of what it ends itself, all together.
        (_, false) => {
            "told = 'found' AND state = 'resolved' \
             AND resolution IN ('explained', 'released', 'written-off')"
        }
    }
}

type Query<'q> = sqlx::query::Query<'q, sqlx::MySql, sqlx::mysql::MySqlArguments>;

fn bound_day(query: Query<'_>, day: Option<(ChannelKind, Date)>) -> Query<'_> {
    match day {
        Some((channel, day)) => query.bind(channel.as_str()).bind(to_day(day)),
        None => query,
    }
}

async fn insert(
    connection: &mut MySqlConnection,
    head: &Head,
    message_id: &str,
    event: &str,
    body: &str,
) -> Result<u64, Failure> {
    let done = sqlx::query(
        "INSERT INTO reconciliation_notifications \
         (message_id, event, type, body, created_at, next_attempt_at) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(message_id)
    .bind(event.chars().take(190).collect::<String>())
    .bind(head.news.as_str())
    .bind(body)
    .bind(to_datetime(head.at))
    .bind(to_datetime(head.at))
    .execute(connection)
    .await?;
    Ok(done.last_insert_id())
}

async fn counted(connection: &mut MySqlConnection, id: u64) -> Result<Vec<Counted>, Failure> {
    let rows = sqlx::query(
        "SELECT class, payment_channel, bill_day, currency, COUNT(*) AS n, \
         CAST(SUM(COALESCE(bill_minor, our_minor, 0)) AS SIGNED) AS minor \
         FROM reconciliation_differences WHERE told_by = ? \
         GROUP BY class, payment_channel, bill_day, currency \
         ORDER BY n DESC, class, payment_channel, bill_day, currency LIMIT ?",
    )
    .bind(id)
    .bind(u32::try_from(GROUPS_MAX).unwrap_or(u32::MAX))
    .fetch_all(connection)
    .await?;
    rows.iter().map(read_counted).collect()
}

fn read_counted(row: &MySqlRow) -> Result<Counted, Failure> {
    let count: i64 = row.try_get("n")?;
    Ok(Counted {
        class: row.try_get("class")?,
        channel: row.try_get("payment_channel")?,
        day: from_day(row.try_get("bill_day")?),
        currency: crate::store::rows::currency(row)?,
        count: u64::try_from(count).unwrap_or_default(),
        minor: row.try_get("minor")?,
    })
}

async fn examples(connection: &mut MySqlConnection, id: u64) -> Result<Vec<Example>, Failure> {
    let rows = sqlx::query(
        "SELECT * FROM reconciliation_differences WHERE told_by = ? ORDER BY id LIMIT ?",
    )
    .bind(id)
    .bind(u32::try_from(EXAMPLES_MAX).unwrap_or(u32::MAX))
    .fetch_all(connection)
    .await?;
    let example = |row| Ok(Example::from(shown::line(&differences::read(row)?)));
    rows.iter().map(example).collect()
}

fn outgoing(row: &MySqlRow) -> Result<Outgoing, Failure> {
    let attempts: u32 = row.try_get("attempts")?;
    Ok(Outgoing {
        id: row.try_get("id")?,
        message_id: row.try_get("message_id")?,
        kind: row.try_get("type")?,
        body: row.try_get("body")?,
        attempts: attempts.saturating_add(1),
    })
}
