//! Many payments in one transaction: what [`crate::batch`] commits at once.
//!
//! Guarantees: all of it happens or none; at the first surprise (a key that exists, a row that is
//! not as its payment was recorded) everything is rolled back and said to be undone, and the
//! single transactions, which know how to decide, take over.
//!
//! Each statement carries all rows of a batch. Rows are inserted in powers of two, so that few
//! texts are prepared; rows are changed from one JSON parameter, so that there is one text.

use jiff::Timestamp;
use payment_core::PaymentState;
use serde_json::json;
use sqlx::mysql::MySqlArguments;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, MySql, MySqlConnection, Row as _};

use super::payments::json as as_json;
use super::{Failure, Store, StoreError, retried, to_datetime};
use crate::records::{NewEvent, NewPayment, NewRequest, PaymentRecord, RequestKey, StoredAnswer};

/// More rows than this are inserted by more than one statement.
const ROWS_MAX: usize = 16;
/// A statement's parameter stays below one TLS record (16 kB): what needs two is held up between
/// them, for tens of milliseconds, by Nagle's algorithm, which the driver does not switch off.
const PACKET_BYTES_MAX: usize = 15_000;

/// A payment to be recorded with the request it came in.
pub(crate) type Insert = (NewPayment, Option<NewRequest>);

/// A payment just recorded, as evidence leaves it.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) payment: PaymentRecord,
    pub(crate) event: NewEvent,
    pub(crate) answer: Option<(RequestKey, StoredAnswer)>,
}

/// Why a batch was not written.
#[derive(Debug)]
pub(crate) enum Undone {
    /// Nothing was written; each of its parts may be tried by itself.
    RolledBack,
    /// Whether it was written is not known.
    Unknown(StoreError),
}

impl From<Failure> for Undone {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Sql(sqlx::Error::Database(_)) => Self::RolledBack,
            other => Self::Unknown(other.into()),
        }
    }
}

impl Store {
    /// Records all payments and their requests, or nothing.
    pub(crate) async fn insert_together(
        &self,
        inserts: &[Insert],
    ) -> Result<Vec<PaymentRecord>, Undone> {
        Ok(retried(|| self.try_insert_together(inserts)).await?)
    }

    async fn try_insert_together(&self, inserts: &[Insert]) -> Result<Vec<PaymentRecord>, Failure> {
        let step = self.auto_increment_step().await?;
        let mut tx = self.begin().await?;
        let requests: Vec<&NewRequest> = inserts.iter().filter_map(|(_, r)| r.as_ref()).collect();
        for some in in_powers_of_two(&requests) {
            insert_requests(&mut tx, some).await?;
        }
        let mut payments = Vec::with_capacity(inserts.len());
        for some in in_powers_of_two(inserts) {
            let mut id = insert_payments(&mut tx, some).await?;
            for (new, _) in some {
                payments.push(new.record(id, 1));
                id += step;
            }
        }
        let events: Vec<NewEvent> = inserts.iter().map(|(new, _)| new.event()).collect();
        for some in in_powers_of_two(&events) {
            insert_events(&mut tx, some).await?;
        }
        tx.commit().await?;
        Ok(payments)
    }

    /// The distance of ids within one INSERT, which InnoDB gives in order: 1, except in clusters
    /// whose members number in turns.
    async fn auto_increment_step(&self) -> Result<u64, Failure> {
        let read = || async {
            let row = sqlx::query("SELECT CAST(@@auto_increment_increment AS UNSIGNED) AS step")
                .fetch_one(&self.pool)
                .await?;
            row.try_get("step")
        };
        Ok(*self.auto_increment_step.get_or_try_init(read).await?)
    }

    /// Writes all changes, or none. Each must change a payment to which nothing has happened
    /// since it was recorded.
    pub(crate) async fn change_together(&self, changes: &[Change]) -> Result<(), Undone> {
        if retried(|| self.try_change_together(changes)).await? {
            Ok(())
        } else {
            Err(Undone::RolledBack)
        }
    }

    async fn try_change_together(&self, changes: &[Change]) -> Result<bool, Failure> {
        let mut tx = self.begin().await?;
        let rows = changes
            .iter()
            .map(|change| changed_row(&change.payment))
            .collect::<Result<Vec<_>, _>>()?;
        if write_all(&mut tx, CHANGE_PAYMENTS, &rows).await? != changes.len() {
            tx.rollback().await?;
            return Ok(false);
        }
        let answers: Vec<String> = changes
            .iter()
            .filter_map(|change| change.answer.as_ref())
            .map(|(key, answer)| answer_row(key, answer))
            .collect();
        let expected = answers.len();
        if expected > 0 && write_all(&mut tx, STORE_ANSWERS, &answers).await? != expected {
            tx.rollback().await?;
            return Ok(false);
        }
        let events: Vec<&NewEvent> = changes.iter().map(|change| &change.event).collect();
        for some in in_powers_of_two(&events) {
            insert_events(&mut tx, some).await?;
        }
        tx.commit().await?;
        Ok(true)
    }
}

/// The slice in pieces whose lengths are powers of two, [`ROWS_MAX`] at most.
fn in_powers_of_two<T>(mut rest: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = 1 << rest.len().min(ROWS_MAX).checked_ilog2()?;
        let (piece, after) = rest.split_at(size);
        rest = after;
        Some(piece)
    })
}

/// An INSERT of `rows` rows.
fn insertion(columns: &str, rows: usize) -> String {
    let places = vec!["?"; columns.split(',').count()].join(", ");
    let rows = vec![format!("({places})"); rows].join(", ");
    format!("INSERT INTO {columns} VALUES {rows}")
}

type Statement<'q> = Query<'q, MySql, MySqlArguments>;

async fn insert<T>(
    connection: &mut MySqlConnection,
    columns: &str,
    rows: &[T],
    bind: impl Fn(Statement<'static>, &T) -> Result<Statement<'static>, StoreError>,
) -> Result<u64, Failure> {
    // The text depends on constants and on the number of rows alone.
    let mut query = sqlx::query(AssertSqlSafe(insertion(columns, rows.len())));
    for row in rows {
        query = bind(query, row)?;
    }
    Ok(query.execute(connection).await?.last_insert_id())
}

async fn insert_requests(
    connection: &mut MySqlConnection,
    requests: &[&NewRequest],
) -> Result<u64, Failure> {
    let columns = "idempotency_keys (scope, request_key, body_hash, lease_until, created_at)";
    insert(connection, columns, requests, |query, new| {
        Ok(query
            .bind(new.key.scope.clone())
            .bind(new.key.key.clone())
            .bind(new.body_hash.clone())
            .bind(to_datetime(new.lease_until))
            .bind(to_datetime(new.now)))
    })
    .await
}

async fn insert_payments(
    connection: &mut MySqlConnection,
    inserts: &[Insert],
) -> Result<u64, Failure> {
    let columns = "payment_records (payment_no, business_no, attempt, user_id, payment_channel, \
                   method, channel_order_no, amount, currency, subject, payer, request_hash, \
                   status, expires_at, next_question_at, created_at, updated_at)";
    insert(connection, columns, inserts, |query, (new, _)| {
        let now = to_datetime(new.now);
        Ok(query
            .bind(new.payment_no.clone())
            .bind(new.order_id.clone())
            .bind(1_u32)
            .bind(new.user_id.clone())
            .bind(new.method.channel().as_str())
            .bind(new.method.as_str())
            .bind(new.channel_order_no.clone())
            .bind(new.amount.minor)
            .bind(new.amount.currency.code())
            .bind(new.subject.clone())
            .bind(as_json(&new.payer)?)
            .bind(new.request_hash.clone())
            .bind(PaymentState::Submitting.as_str())
            .bind(to_datetime(new.expires_at))
            .bind(to_datetime(new.next_question_at))
            .bind(now)
            .bind(now))
    })
    .await
}

async fn insert_events<E: std::borrow::Borrow<NewEvent>>(
    connection: &mut MySqlConnection,
    events: &[E],
) -> Result<u64, Failure> {
    let columns = "payment_events (payment_no, at, source, observation, from_status, to_status, \
                   decision, transaction_id, refund_no, detail)";
    insert(connection, columns, events, |query, event| {
        let event = event.borrow();
        Ok(query
            .bind(event.payment_no.clone())
            .bind(to_datetime(event.at))
            .bind(event.source)
            .bind(event.observation)
            .bind(event.from)
            .bind(event.to)
            .bind(event.decision)
            .bind(event.transaction_id.clone())
            .bind(event.refund_no.clone())
            .bind(event.detail.clone()))
    })
    .await
}

/// The condition says that nothing has happened to the payment since it was recorded: no other
/// evidence, no question, no refund.
const CHANGE_PAYMENTS: &str = "UPDATE JSON_TABLE(?, '$[*]' COLUMNS (\
     id BIGINT UNSIGNED PATH '$[0]', status VARCHAR(20) PATH '$[1]', action TEXT PATH '$[2]', \
     next_question_at DATETIME(3) PATH '$[3]', updated_at DATETIME(3) PATH '$[4]')) AS step \
     STRAIGHT_JOIN payment_records AS p FORCE INDEX (PRIMARY) ON p.id = step.id \
     SET p.status = step.status, p.action = step.action, \
     p.next_question_at = step.next_question_at, p.updated_at = step.updated_at \
     WHERE p.status = 'SUBMITTING' AND p.action IS NULL AND p.transaction_id IS NULL \
     AND p.question_count = 0 AND p.refund_count = 0";

fn changed_row(payment: &PaymentRecord) -> Result<String, StoreError> {
    let action = payment.action.as_ref().map(as_json).transpose()?;
    let next = payment.next_question_at.map(text);
    let updated = text(payment.updated_at);
    let row = json!([payment.id, payment.status.as_str(), action, next, updated]);
    Ok(row.to_string())
}

/// Answers go only where there is none.
const STORE_ANSWERS: &str = "UPDATE JSON_TABLE(?, '$[*]' COLUMNS (\
     scope VARCHAR(120) PATH '$[0]', request_key VARCHAR(255) PATH '$[1]', \
     status SMALLINT UNSIGNED PATH '$[2]', content_type VARCHAR(64) PATH '$[3]', \
     location VARCHAR(255) PATH '$[4]', body MEDIUMTEXT PATH '$[5]')) AS given \
     STRAIGHT_JOIN idempotency_keys AS k FORCE INDEX (uk_key) ON k.scope = given.scope COLLATE utf8mb4_bin \
     AND k.request_key = given.request_key COLLATE utf8mb4_bin \
     SET k.status = given.status, k.content_type = given.content_type, \
     k.location = given.location, k.body = given.body WHERE k.status IS NULL";

fn answer_row(key: &RequestKey, answer: &StoredAnswer) -> String {
    let StoredAnswer {
        status,
        content_type,
        location,
        body,
    } = answer;
    json!([key.scope, key.key, status, content_type, location, body]).to_string()
}

/// Runs a statement whose one parameter is a JSON list of rows, as often as the rows need; returns
/// how many rows it found.
async fn write_all(
    connection: &mut MySqlConnection,
    sql: &'static str,
    rows: &[String],
) -> Result<usize, Failure> {
    let mut found: u64 = 0;
    for list in json_lists(rows) {
        let done = sqlx::query(sql)
            .bind(list)
            .execute(&mut *connection)
            .await?;
        found += done.rows_affected();
    }
    Ok(usize::try_from(found).unwrap_or(usize::MAX))
}

/// The rows as JSON lists of at most [`PACKET_BYTES_MAX`], as far as single rows allow.
fn json_lists(rows: &[String]) -> Vec<String> {
    let mut lists: Vec<String> = Vec::new();
    for row in rows {
        match lists.last_mut() {
            Some(list) if list.len() + row.len() < PACKET_BYTES_MAX => {
                list.push(',');
                list.push_str(row);
            }
            _ => lists.push(format!("[{row}")),
        }
    }
    for list in &mut lists {
        list.push(']');
    }
    lists
}

/// A DATETIME as MySQL reads it.
fn text(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_in_powers_of_two() {
        let sizes = |n: usize| -> Vec<usize> {
            let rows = vec![(); n];
            in_powers_of_two(&rows).map(<[()]>::len).collect()
        };
        assert_eq!(sizes(0), Vec::<usize>::new());
        assert_eq!(sizes(1), [1]);
        assert_eq!(sizes(23), [16, 4, 2, 1]);
        assert_eq!(sizes(50), [16, 16, 16, 2]);
    }

    #[test]
    fn an_insertion_has_a_place_for_each_column_of_each_row() {
        assert_eq!(
            insertion("t (a, b)", 2),
            "INSERT INTO t (a, b) VALUES (?, ?), (?, ?)"
        );
    }
}
