//! Many payments in one transaction: what [`crate::batch`] commits at once.
//!
//! Guarantees: all of it happens or none; at the first surprise (a key that exists, a row that is
//! not as its payment was recorded) everything is rolled back and said to be undone, and the
//! single transactions, which know how to decide, take over.
//!
//! Each statement carries many rows, in powers of two, so that few texts are prepared.

use payment_core::PaymentState;
use sqlx::mysql::MySqlArguments;
use sqlx::pool::PoolConnection;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection as _, MySql, MySqlConnection, Row as _};

use super::payments::json as as_json;
use super::{DEADLOCK_RETRIES, Failure, Store, StoreError, to_datetime};
use crate::records::{NewEvent, NewPayment, NewRequest, PaymentRecord, StoredAnswer};

/// More rows than this go in more than one statement.
const ROWS_MAX: usize = 16;
/// A statement's parameters stay below one TLS record (16 kB): what needs two is held up between
/// them, for tens of milliseconds, by Nagle's algorithm, which the driver does not switch off.
const BYTES_MAX: usize = 14_000;

/// What is written together with others.
#[derive(Debug)]
pub(crate) enum Write {
    /// A payment to be recorded with the request it came in.
    Insert(Box<NewPayment>, Option<NewRequest>),
    Change(Box<Change>),
}

/// A payment just recorded, as evidence leaves it.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) payment: PaymentRecord,
    pub(crate) event: NewEvent,
    /// Under the id of its request's key.
    pub(crate) answer: Option<(u64, StoredAnswer)>,
}

/// What came of a [`Write`].
#[derive(Debug)]
pub(crate) enum Written {
    /// The payment, and the id of its request's key.
    Inserted(Box<PaymentRecord>, Option<u64>),
    Changed,
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

/// The connection of one batch after another. Kept while they go well; else the pool gets it back,
/// and ends what it left open.
pub(crate) type Held = Option<PoolConnection<MySql>>;

impl Store {
    /// Writes everything, or nothing. Each change must be of a payment to which nothing has
    /// happened since it was recorded.
    pub(crate) async fn write_together(
        &self,
        held: &mut Held,
        writes: &[Write],
    ) -> Result<Vec<Written>, Undone> {
        let step = self.auto_increment_step().await?;
        let mut connection = match held.take() {
            Some(connection) => connection,
            None => self.pool.acquire().await.map_err(Failure::from)?,
        };
        let mut tries = 1;
        let written = loop {
            match try_write(&mut connection, writes, step).await {
                Err(failure) if failure.is_deadlock() && tries < DEADLOCK_RETRIES => tries += 1,
                done => break done?,
            }
        };
        *held = Some(connection);
        written.ok_or(Undone::RolledBack)
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
}

/// `None`: a payment was not as it was recorded; nothing is written.
async fn try_write(
    connection: &mut MySqlConnection,
    writes: &[Write],
    step: u64,
) -> Result<Option<Vec<Written>>, Failure> {
    let mut tx = connection.begin().await?;
    let (mut inserts, mut requests, mut changes) = (Vec::new(), Vec::new(), Vec::new());
    let (mut answers, mut events) = (Vec::new(), Vec::new());
    for write in writes {
        match write {
            Write::Insert(new, request) => {
                inserts.push(&**new);
                requests.extend(request);
                events.push(new.event());
            }
            Write::Change(change) => {
                changes.push(&change.payment);
                answers.extend(&change.answer);
                events.push(change.event.clone());
            }
        }
    }
    let keys = insert_requests(&mut tx, &requests, step).await?;
    let payments = insert_payments(&mut tx, &inserts, step).await?;
    if change_payments(&mut tx, &changes).await? != changes.len() {
        tx.rollback().await?;
        return Ok(None);
    }
    insert_answers(&mut tx, &answers).await?;
    insert_events(&mut tx, &events).await?;
    tx.commit().await?;
    let (mut keys, mut payments) = (keys.into_iter(), payments.into_iter());
    let told = writes.iter().map(|write| match write {
        Write::Insert(new, request) => {
            let key = request.as_ref().and_then(|_| keys.next());
            let payment = new.record(payments.next().unwrap_or_default(), 1);
            Written::Inserted(Box::new(payment), key)
        }
        Write::Change(_) => Written::Changed,
    });
    Ok(Some(told.collect()))
}

/// The rows in pieces for one statement each: powers of two, [`ROWS_MAX`] and, as far as single
/// rows allow, [`BYTES_MAX`] at most.
fn pieces<T>(mut rest: &[T], bytes: impl Fn(&T) -> usize) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let mut total = 0;
        let fit = rest
            .iter()
            .take(ROWS_MAX)
            .take_while(|row| {
                total += bytes(row);
                total <= BYTES_MAX
            })
            .count();
        let size = 1 << fit.max(1).min(rest.len()).checked_ilog2()?;
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

type Statement = Query<'static, MySql, MySqlArguments>;

/// Returns the rows' ids, which are `step` apart.
async fn insert<T>(
    connection: &mut MySqlConnection,
    columns: &str,
    (rows, step): (&[T], u64),
    bytes: impl Fn(&T) -> usize,
    bind: impl Fn(Statement, &T) -> Result<Statement, StoreError>,
) -> Result<Vec<u64>, Failure> {
    let mut ids = Vec::with_capacity(rows.len());
    for piece in pieces(rows, bytes) {
        // The text depends on constants and on the number of rows alone.
        let mut query = sqlx::query(AssertSqlSafe(insertion(columns, piece.len())));
        for row in piece {
            query = bind(query, row)?;
        }
        let first = query.execute(&mut *connection).await?.last_insert_id();
        ids.extend((0..).take(piece.len()).map(|n| first + n * step));
    }
    Ok(ids)
}

async fn insert_requests(
    connection: &mut MySqlConnection,
    requests: &[&NewRequest],
    step: u64,
) -> Result<Vec<u64>, Failure> {
    let columns = "idempotency_keys (scope, request_key, body_hash, lease_until, created_at)";
    let bytes = |new: &&NewRequest| new.key.scope.len() + new.key.key.len() + 100;
    insert(
        connection,
        columns,
        (requests, step),
        bytes,
        |query, new| {
            Ok(query
                .bind(new.key.scope.clone())
                .bind(new.key.key.clone())
                .bind(new.body_hash.clone())
                .bind(to_datetime(new.lease_until))
                .bind(to_datetime(new.now)))
        },
    )
    .await
}

async fn insert_payments(
    connection: &mut MySqlConnection,
    payments: &[&NewPayment],
    step: u64,
) -> Result<Vec<u64>, Failure> {
    let columns = "payment_records (payment_no, business_no, attempt, user_id, payment_channel, \
                   method, channel_order_no, amount, currency, subject, payer, request_hash, \
                   status, expires_at, next_question_at, created_at, updated_at)";
    let rows = payments
        .iter()
        .map(|new| Ok((*new, as_json(&new.payer)?)))
        .collect::<Result<Vec<_>, StoreError>>()?;
    let bytes = |(new, payer): &(&NewPayment, String)| {
        new.order_id.len() + new.user_id.len() + new.subject.len() + payer.len() + 300
    };
    insert(
        connection,
        columns,
        (&rows, step),
        bytes,
        |query, (new, payer)| {
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
                .bind(payer.clone())
                .bind(new.request_hash.clone())
                .bind(PaymentState::Submitting.as_str())
                .bind(to_datetime(new.expires_at))
                .bind(to_datetime(new.next_question_at))
                .bind(now)
                .bind(now))
        },
    )
    .await
}

async fn insert_answers(
    connection: &mut MySqlConnection,
    answers: &[&(u64, StoredAnswer)],
) -> Result<(), Failure> {
    let columns = "idempotency_answers (key_id, status, content_type, location, body)";
    let bytes = |(_, answer): &&(u64, StoredAnswer)| answer.body.len() + 150;
    insert(
        connection,
        columns,
        (answers, 1),
        bytes,
        |query, (key, answer)| {
            Ok(query
                .bind(*key)
                .bind(answer.status)
                .bind(answer.content_type.clone())
                .bind(answer.location.clone())
                .bind(answer.body.clone()))
        },
    )
    .await?;
    Ok(())
}

async fn insert_events(
    connection: &mut MySqlConnection,
    events: &[NewEvent],
) -> Result<(), Failure> {
    let columns = "payment_events (payment_no, at, source, observation, from_status, to_status, \
                   decision, transaction_id, refund_no, detail)";
    let bytes = |event: &NewEvent| event.detail.len() + 200;
    insert(connection, columns, (events, 1), bytes, |query, event| {
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
    .await?;
    Ok(())
}

/// An UPDATE of `rows` payments. Its condition says that nothing has happened to a payment since it
/// was recorded: no other evidence, no question, no refund.
fn changing(rows: usize) -> String {
    let places = vec!["?"; rows].join(", ");
    let of_its_own = format!("ELT(FIELD(id, {places}), {places})");
    format!(
        "UPDATE payment_records SET status = {of_its_own}, action = {of_its_own}, \
         next_question_at = {of_its_own}, updated_at = {of_its_own} WHERE id IN ({places}) \
         AND status = 'SUBMITTING' AND action IS NULL AND transaction_id IS NULL \
         AND question_count = 0 AND refund_count = 0"
    )
}

/// Returns how many of the payments were found as they had been recorded.
async fn change_payments(
    connection: &mut MySqlConnection,
    payments: &[&PaymentRecord],
) -> Result<usize, Failure> {
    let rows = payments
        .iter()
        .map(|payment| Ok((*payment, payment.action.as_ref().map(as_json).transpose()?)))
        .collect::<Result<Vec<_>, StoreError>>()?;
    let bytes = |(_, action): &(&PaymentRecord, Option<String>)| {
        action.as_ref().map_or(0, String::len) + 150
    };
    let mut changed = 0;
    for piece in pieces(&rows, bytes) {
        let ids = |mut query: Statement| {
            for (payment, _) in piece {
                query = query.bind(payment.id);
            }
            query
        };
        // The text depends on the number of rows alone.
        let mut query = ids(sqlx::query(AssertSqlSafe(changing(piece.len()))));
        for (payment, _) in piece {
            query = query.bind(payment.status.as_str());
        }
        query = ids(query);
        for (_, action) in piece {
            query = query.bind(action.clone());
        }
        query = ids(query);
        for (payment, _) in piece {
            query = query.bind(payment.next_question_at.map(to_datetime));
        }
        query = ids(query);
        for (payment, _) in piece {
            query = query.bind(to_datetime(payment.updated_at));
        }
        changed += ids(query).execute(&mut *connection).await?.rows_affected();
    }
    Ok(usize::try_from(changed).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_in_powers_of_two_that_fit_a_statement() {
        let sizes = |n: usize, bytes: usize| -> Vec<usize> {
            let rows = vec![(); n];
            pieces(&rows, |()| bytes).map(<[()]>::len).collect()
        };
        assert_eq!(sizes(0, 100), Vec::<usize>::new());
        assert_eq!(sizes(1, 100), [1]);
        assert_eq!(sizes(23, 100), [16, 4, 2, 1]);
        assert_eq!(sizes(50, 100), [16, 16, 16, 2]);
        assert_eq!(sizes(9, BYTES_MAX / 5), [4, 4, 1]);
        assert_eq!(sizes(3, 2 * BYTES_MAX), [1, 1, 1]);
    }

    #[test]
    fn an_insertion_has_a_place_for_each_column_of_each_row() {
        assert_eq!(
            insertion("t (a, b)", 2),
            "INSERT INTO t (a, b) VALUES (?, ?), (?, ?)"
        );
    }
}
