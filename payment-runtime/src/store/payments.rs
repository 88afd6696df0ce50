//! Payments and what happened to them.

use jiff::Timestamp;
use jiff::civil::Date;
use payment_core::{ChannelKind, Currency, Decision, Evidence, Money, PaymentState, decide};
use sqlx::mysql::MySqlRow;
use sqlx::{MySqlConnection, Row as _};
use time::PrimitiveDateTime;

use super::{DEADLOCK_RETRIES, Store, StoreError, from_datetime, to_datetime, to_day};
use crate::clock;

/// A payment as it is stored.
#[derive(Clone, Debug)]
pub struct PaymentRecord {
    pub id: u64,
    pub payment_no: String,
    pub order_id: String,
    pub user_id: String,
    pub channel: ChannelKind,
    pub method: String,
    pub channel_order_no: String,
    pub amount: Money,
    pub subject: String,
    pub request_hash: String,
    pub status: PaymentState,
    pub action_url: Option<String>,
    pub transaction_id: Option<String>,
    pub paid_at: Option<Timestamp>,
    pub expires_at: Timestamp,
    pub question_count: u32,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A payment about to be recorded, its call to the channel about to be made.
#[derive(Clone, Debug)]
pub struct NewPayment {
    pub payment_no: String,
    pub order_id: String,
    pub user_id: String,
    pub channel: ChannelKind,
    pub method: &'static str,
    pub channel_order_no: String,
    pub amount: Money,
    pub subject: String,
    pub request_hash: String,
    pub expires_at: Timestamp,
    /// When a worker asks the channel if this process does not live to hear the answer.
    pub next_question_at: Timestamp,
    pub now: Timestamp,
}

/// Whether a payment was recorded now or the order had one already.
#[derive(Debug)]
pub enum Inserted {
    New(PaymentRecord),
    Existing(PaymentRecord),
}

/// What a piece of evidence carries beside its verdict.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub transaction_id: Option<String>,
    pub paid_at: Option<Timestamp>,
    pub action_url: Option<String>,
    pub detail: String,
    /// When to ask again if the payment stays open.
    pub next_question_at: Option<Timestamp>,
}

/// Evidence with its facts, ready to be applied.
#[derive(Clone, Debug)]
pub struct Change {
    pub evidence: Evidence,
    pub facts: Facts,
    pub now: Timestamp,
}

/// A payment after evidence was applied to it.
#[derive(Debug)]
pub struct Applied {
    pub payment: PaymentRecord,
    pub decision: Decision,
}

/// One line of a payment's history.
#[derive(Clone, Debug)]
pub struct Event {
    pub id: u64,
    pub at: Timestamp,
    pub source: String,
    pub observation: String,
    pub from: Option<String>,
    pub to: String,
    pub decision: String,
    pub transaction_id: Option<String>,
    pub detail: String,
}

/// A page of payments; `next` is the id to continue after.
#[derive(Debug)]
pub struct Page {
    pub payments: Vec<PaymentRecord>,
    pub next: Option<u64>,
}

/// How many payments are in an open state.
#[derive(Clone, Debug)]
pub struct OpenCount {
    pub status: PaymentState,
    pub count: u64,
}

const BY_ORDER: &str = "SELECT * FROM payment_records WHERE business_no = ?";
const BY_NO: &str = "SELECT * FROM payment_records WHERE payment_no = ?";
const BY_CHANNEL_ORDER: &str = "SELECT * FROM payment_records WHERE channel_order_no = ?";
const LOCK_BY_NO: &str = "SELECT * FROM payment_records WHERE payment_no = ? FOR UPDATE";

impl Store {
    /// Records a payment in SUBMITTING, or returns the one the order already has. The unique key
    /// decides, so any number of callers at once get the same payment.
    pub async fn insert(&self, new: &NewPayment) -> Result<Inserted, StoreError> {
        for _ in 0..DEADLOCK_RETRIES {
            match self.try_insert(new).await {
                Ok(()) => {
                    let record = self.payment(&new.payment_no).await?;
                    return record
                        .map(Inserted::New)
                        .ok_or_else(|| vanished(&new.payment_no));
                }
                Err(error) if error.is_duplicate() => {
                    let record = self.payment_of_order(&new.order_id).await?;
                    return record
                        .map(Inserted::Existing)
                        .ok_or_else(|| vanished(&new.order_id));
                }
                Err(error) if error.is_deadlock() => {}
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Database(sqlx::Error::PoolTimedOut))
    }

    async fn try_insert(&self, new: &NewPayment) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        let now = to_datetime(new.now);
        sqlx::query(
            "INSERT INTO payment_records (payment_no, business_no, user_id, payment_channel, \
             method, channel_order_no, amount, currency, subject, request_hash, status, \
             expires_at, next_question_at, created_at, updated_at) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&new.payment_no)
        .bind(&new.order_id)
        .bind(&new.user_id)
        .bind(new.channel.as_str())
        .bind(new.method)
        .bind(&new.channel_order_no)
        .bind(new.amount.minor)
        .bind(new.amount.currency.code())
        .bind(&new.subject)
        .bind(&new.request_hash)
        .bind(PaymentState::Submitting.as_str())
        .bind(to_datetime(new.expires_at))
        .bind(to_datetime(new.next_question_at))
        .bind(now)
        .bind(now)
        .execute(&mut *tx)
        .await?;
        let event = NewEvent {
            payment_no: &new.payment_no,
            at: new.now,
            source: "api",
            observation: "requested",
            from: None,
            to: PaymentState::Submitting,
            decision: "moved",
            transaction_id: None,
            detail: "",
        };
        insert_event(&mut tx, &event).await?;
        tx.commit().await?;
        Ok(())
    }

    pub async fn payment(&self, payment_no: &str) -> Result<Option<PaymentRecord>, StoreError> {
        self.find(BY_NO, payment_no).await
    }

    pub async fn payment_of_order(
        &self,
        order_id: &str,
    ) -> Result<Option<PaymentRecord>, StoreError> {
        self.find(BY_ORDER, order_id).await
    }

    pub async fn payment_of_channel_order(
        &self,
        channel_order_no: &str,
    ) -> Result<Option<PaymentRecord>, StoreError> {
        self.find(BY_CHANNEL_ORDER, channel_order_no).await
    }

    async fn find(
        &self,
        sql: &'static str,
        key: &str,
    ) -> Result<Option<PaymentRecord>, StoreError> {
        let row = sqlx::query(sql)
            .bind(key)
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(read_payment).transpose()
    }

    /// Payments newest first, `limit` of them, continuing below the id `before`.
    pub async fn payments(&self, before: Option<u64>, limit: u32) -> Result<Page, StoreError> {
        let rows =
            sqlx::query("SELECT * FROM payment_records WHERE id < ? ORDER BY id DESC LIMIT ?")
                .bind(before.unwrap_or(u64::MAX))
                .bind(limit)
                .fetch_all(&self.pool)
                .await?;
        let payments = rows
            .iter()
            .map(read_payment)
            .collect::<Result<Vec<_>, _>>()?;
        let full = payments.len() == limit as usize;
        let next = payments.last().filter(|_| full).map(|payment| payment.id);
        Ok(Page { payments, next })
    }

    /// A payment's history, oldest first, at most 500 lines after the id `after`.
    pub async fn events(&self, payment_no: &str, after: u64) -> Result<Vec<Event>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM payment_events WHERE payment_no = ? AND id > ? ORDER BY id LIMIT 500",
        )
        .bind(payment_no)
        .bind(after)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read_event).collect()
    }

    /// Locks the payment, decides, and writes what was decided together with its evidence.
    pub async fn apply(&self, payment_no: &str, change: &Change) -> Result<Applied, StoreError> {
        for _ in 1..DEADLOCK_RETRIES {
            match self.try_apply(payment_no, change).await {
                Err(error) if error.is_deadlock() => {}
                done => return done,
            }
        }
        self.try_apply(payment_no, change).await
    }

    async fn try_apply(&self, payment_no: &str, change: &Change) -> Result<Applied, StoreError> {
        let mut tx = self.pool.begin().await?;
        let row = sqlx::query(LOCK_BY_NO)
            .bind(payment_no)
            .fetch_optional(&mut *tx)
            .await?;
        let before = row.as_ref().map(read_payment).transpose()?;
        let before = before.ok_or_else(|| vanished(payment_no))?;
        let decision = decide(before.status, before.amount, change.evidence);
        let payment = after(&before, decision, change);
        update_payment(&mut tx, &payment, change).await?;
        if is_worth_recording(decision, change) {
            let event = event_of(&before, &payment, decision, change);
            insert_event(&mut tx, &event).await?;
        }
        tx.commit().await?;
        Ok(Applied { payment, decision })
    }

    /// Takes up to `limit` payments whose question is due, for `lease_seconds`. Other workers
    /// skip what is taken; what a dead worker took comes back when its lease ends.
    pub async fn claim_due(
        &self,
        now: Timestamp,
        lease_seconds: u64,
        limit: u32,
    ) -> Result<Vec<PaymentRecord>, StoreError> {
        let mut tx = self.pool.begin().await?;
        let rows = sqlx::query(
            "SELECT * FROM payment_records WHERE next_question_at <= ? \
             AND (lease_until IS NULL OR lease_until <= ?) \
             ORDER BY next_question_at LIMIT ? FOR UPDATE SKIP LOCKED",
        )
        .bind(to_datetime(now))
        .bind(to_datetime(now))
        .bind(limit)
        .fetch_all(&mut *tx)
        .await?;
        let payments = rows
            .iter()
            .map(read_payment)
            .collect::<Result<Vec<_>, _>>()?;
        let until = to_datetime(later(now, lease_seconds));
        for payment in &payments {
            sqlx::query("UPDATE payment_records SET lease_until = ? WHERE id = ?")
                .bind(until)
                .bind(payment.id)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(payments)
    }

    /// Ends a worker's hold and, while the payment is open, sets the next question.
    pub async fn release(
        &self,
        payment_no: &str,
        next_question_at: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE payment_records SET lease_until = NULL, \
             question_count = question_count + 1, \
             next_question_at = IF(next_question_at IS NULL, NULL, ?) WHERE payment_no = ?",
        )
        .bind(to_datetime(next_question_at))
        .bind(payment_no)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// How many payments are in each open state.
    pub async fn open_counts(&self) -> Result<Vec<OpenCount>, StoreError> {
        let rows = sqlx::query(
            "SELECT status, COUNT(*) AS n FROM payment_records \
             WHERE next_question_at IS NOT NULL GROUP BY status",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter()
            .map(|row| {
                let count = u64::try_from(row.try_get::<i64, _>("n")?).unwrap_or_default();
                Ok(OpenCount {
                    status: read_state(row, "status")?,
                    count,
                })
            })
            .collect()
    }

    /// Payments charged on a bill's day, and those among `channel_order_nos`, by order number.
    pub async fn payments_for_bill(
        &self,
        channel: ChannelKind,
        day: Date,
        channel_order_nos: &[String],
        batch_size: u32,
    ) -> Result<Vec<PaymentRecord>, StoreError> {
        let mut found = std::collections::BTreeMap::new();
        let rows =
            sqlx::query("SELECT * FROM payment_records WHERE payment_channel = ? AND paid_day = ?")
                .bind(channel.as_str())
                .bind(to_day(day))
                .fetch_all(&self.pool)
                .await?;
        for payment in rows.iter().map(read_payment) {
            let payment = payment?;
            found.insert(payment.channel_order_no.clone(), payment);
        }
        let missing: Vec<&String> = channel_order_nos
            .iter()
            .filter(|no| !found.contains_key(*no))
            .collect();
        for batch in missing.chunks(batch_size.max(1) as usize) {
            let mut query = sqlx::QueryBuilder::new(
                "SELECT * FROM payment_records WHERE channel_order_no IN (",
            );
            let mut list = query.separated(", ");
            for no in batch {
                list.push_bind(*no);
            }
            query.push(")");
            for row in query.build().fetch_all(&self.pool).await? {
                let payment = read_payment(&row)?;
                found.insert(payment.channel_order_no.clone(), payment);
            }
        }
        Ok(found.into_values().collect())
    }
}

/// The payment as it stands after the decision. Facts are kept only when the evidence was
/// believed, and never overwritten by their absence.
fn after(before: &PaymentRecord, decision: Decision, change: &Change) -> PaymentRecord {
    let mut payment = before.clone();
    payment.updated_at = change.now;
    match decision {
        Decision::Move(next) => payment.status = next,
        Decision::Keep => {}
        Decision::Reject(_) => return payment,
    }
    let facts = &change.facts;
    payment.action_url = facts.action_url.clone().or(payment.action_url);
    payment.transaction_id = payment.transaction_id.or(facts.transaction_id.clone());
    if payment.status.was_charged() {
        payment.paid_at = payment.paid_at.or(facts.paid_at).or(Some(change.now));
    }
    payment
}

async fn update_payment(
    connection: &mut MySqlConnection,
    payment: &PaymentRecord,
    change: &Change,
) -> Result<(), StoreError> {
    let from_callback = change.evidence.source == payment_core::Source::Callback;
    let next = change
        .facts
        .next_question_at
        .filter(|_| payment.status.is_open());
    let keep_next = payment.status.is_open() && next.is_none();
    sqlx::query(
        "UPDATE payment_records SET status = ?, action_url = ?, transaction_id = ?, \
         paid_at = ?, paid_day = ?, notify_status = IF(?, 'RECEIVED', notify_status), \
         next_question_at = IF(?, next_question_at, ?), updated_at = ? WHERE id = ?",
    )
    .bind(payment.status.as_str())
    .bind(&payment.action_url)
    .bind(&payment.transaction_id)
    .bind(payment.paid_at.map(to_datetime))
    .bind(payment.paid_at.map(|at| to_day(clock::bill_day(at))))
    .bind(from_callback)
    .bind(keep_next)
    .bind(next.map(to_datetime))
    .bind(to_datetime(payment.updated_at))
    .bind(payment.id)
    .execute(connection)
    .await?;
    Ok(())
}

/// Every change and every refusal is recorded; an answer that says nothing new is not, because
/// the polling ladder would fill the table with it.
fn is_worth_recording(decision: Decision, change: &Change) -> bool {
    match decision {
        Decision::Move(_) | Decision::Reject(_) => true,
        Decision::Keep => change.evidence.source == payment_core::Source::Callback,
    }
}

struct NewEvent<'a> {
    payment_no: &'a str,
    at: Timestamp,
    source: &'a str,
    observation: &'a str,
    from: Option<PaymentState>,
    to: PaymentState,
    decision: &'a str,
    transaction_id: Option<&'a str>,
    detail: &'a str,
}

fn event_of<'a>(
    before: &'a PaymentRecord,
    payment: &PaymentRecord,
    decision: Decision,
    change: &'a Change,
) -> NewEvent<'a> {
    NewEvent {
        payment_no: &before.payment_no,
        at: change.now,
        source: change.evidence.source.as_str(),
        observation: change.evidence.observation.as_str(),
        from: Some(before.status),
        to: payment.status,
        decision: match decision {
            Decision::Move(_) => "moved",
            Decision::Keep => "kept",
            Decision::Reject(why) => why.as_str(),
        },
        transaction_id: change.facts.transaction_id.as_deref(),
        detail: &change.facts.detail,
    }
}

async fn insert_event(
    connection: &mut MySqlConnection,
    event: &NewEvent<'_>,
) -> Result<(), StoreError> {
    let detail: String = event.detail.chars().take(512).collect();
    sqlx::query(
        "INSERT INTO payment_events (payment_no, at, source, observation, from_status, \
         to_status, decision, transaction_id, detail) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(event.payment_no)
    .bind(to_datetime(event.at))
    .bind(event.source)
    .bind(event.observation)
    .bind(event.from.map(PaymentState::as_str))
    .bind(event.to.as_str())
    .bind(event.decision)
    .bind(event.transaction_id)
    .bind(detail)
    .execute(connection)
    .await?;
    Ok(())
}

fn vanished(key: &str) -> StoreError {
    StoreError::Unreadable {
        what: "no payment",
        value: key.to_owned(),
    }
}

fn later(now: Timestamp, seconds: u64) -> Timestamp {
    now.checked_add(std::time::Duration::from_secs(seconds))
        .unwrap_or(now)
}

fn read_payment(row: &MySqlRow) -> Result<PaymentRecord, StoreError> {
    let channel: String = row.try_get("payment_channel")?;
    let paid_at: Option<PrimitiveDateTime> = row.try_get("paid_at")?;
    Ok(PaymentRecord {
        id: row.try_get("id")?,
        payment_no: row.try_get("payment_no")?,
        order_id: row.try_get("business_no")?,
        user_id: row.try_get("user_id")?,
        channel: ChannelKind::parse(&channel).ok_or(StoreError::Unreadable {
            what: "a channel",
            value: channel,
        })?,
        method: row.try_get("method")?,
        channel_order_no: row.try_get("channel_order_no")?,
        amount: Money::new(row.try_get("amount")?, read_currency(row)?),
        subject: row.try_get("subject")?,
        request_hash: row.try_get("request_hash")?,
        status: read_state(row, "status")?,
        action_url: row.try_get("action_url")?,
        transaction_id: row.try_get("transaction_id")?,
        paid_at: paid_at.map(from_datetime),
        expires_at: from_datetime(row.try_get("expires_at")?),
        question_count: row.try_get("question_count")?,
        created_at: from_datetime(row.try_get("created_at")?),
        updated_at: from_datetime(row.try_get("updated_at")?),
    })
}

fn read_event(row: &MySqlRow) -> Result<Event, StoreError> {
    Ok(Event {
        id: row.try_get("id")?,
        at: from_datetime(row.try_get("at")?),
        source: row.try_get("source")?,
        observation: row.try_get("observation")?,
        from: row.try_get("from_status")?,
        to: row.try_get("to_status")?,
        decision: row.try_get("decision")?,
        transaction_id: row.try_get("transaction_id")?,
        detail: row.try_get("detail")?,
    })
}

pub(super) fn read_currency(row: &MySqlRow) -> Result<Currency, StoreError> {
    let code: String = row.try_get("currency")?;
    Currency::parse(&code).map_err(|_| StoreError::Unreadable {
        what: "a currency",
        value: code,
    })
}

fn read_state(row: &MySqlRow, column: &str) -> Result<PaymentState, StoreError> {
    let name: String = row.try_get(column)?;
    PaymentState::parse(&name).ok_or(StoreError::Unreadable {
        what: "a payment state",
        value: name,
    })
}
