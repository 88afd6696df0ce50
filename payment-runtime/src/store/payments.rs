//! Payments and what happened to them.

use jiff::Timestamp;
use jiff::civil::Date;
use payment_core::{ChannelKind, PaymentState, RefundState, Source, may_try_again};
use sqlx::{MySqlConnection, Row as _};

use super::ledger::insert_entries;
use super::requests::{self, insert_request, store_answer};
use super::rows::{self, insert_event, lease, lease_end, vanished};
use super::{Failure, Store, StoreError, retried, to_datetime, to_day};
use crate::clock;
use crate::records::{
    self, Applied, AttemptInserted, Change, Event, Finish, Inserted, NewPayment, NewRequest,
    NextLook, OpenCounts, Page, PaymentRecord,
};

const BY_NO: &str = "SELECT * FROM payment_records WHERE payment_no = ?";
const BY_CHANNEL_ORDER: &str =
    "SELECT * FROM payment_records WHERE channel_order_no = ? AND payment_channel = ?";
const LATEST_OF_ORDER: &str =
    "SELECT * FROM payment_records WHERE business_no = ? ORDER BY attempt DESC LIMIT 1";
const ATTEMPTS_OF_ORDER: &str =
    "SELECT * FROM payment_records WHERE business_no = ? ORDER BY attempt DESC LIMIT 100";
const PUT_BACK_AT: &str = "UPDATE payment_records SET lease_until = NULL, \
     question_count = question_count + 1, \
     next_question_at = CASE WHEN next_question_at IS NULL THEN NULL \
     WHEN status IN ('CLOSED', 'FAILED') THEN GREATEST(next_question_at, ?) \
     ELSE ? END WHERE payment_no = ?";
const PUT_BACK_AS_RECORDED: &str = "UPDATE payment_records SET lease_until = NULL, \
     question_count = question_count + 1 WHERE payment_no = ?";
const PUT_BACK_FOR_GOOD: &str = "UPDATE payment_records SET lease_until = NULL, \
     question_count = question_count + 1, \
     next_question_at = IF(status IN ('CLOSED', 'FAILED'), NULL, next_question_at) \
     WHERE payment_no = ?";
const LEASE: &str = "UPDATE payment_records SET lease_until = ? WHERE id = ?";
const ORDER_KEY: &str = "uk_order_attempt";

impl Store {
    pub(super) async fn insert_first(
        &self,
        new: &NewPayment,
        request: Option<&NewRequest>,
    ) -> Result<Inserted, StoreError> {
        match retried(|| self.try_insert(new, request)).await {
            Ok(payment) => Ok(Inserted::New(payment)),
            Err(failure) => match failure.duplicate_of() {
                Some(ORDER_KEY) => {
                    let payment = self.latest_of_order(&new.order_id).await?;
                    let payment = payment.ok_or_else(|| vanished(&new.order_id))?;
                    Ok(Inserted::OrderExists(payment))
                }
                Some(requests::KEY) => Ok(Inserted::KeyExists),
                _ => Err(failure.into()),
            },
        }
    }

    async fn try_insert(
        &self,
        new: &NewPayment,
        request: Option<&NewRequest>,
    ) -> Result<PaymentRecord, Failure> {
        let mut tx = self.begin().await?;
        if let Some(request) = request {
            insert_request(&mut tx, request).await?;
        }
        let payment = insert_payment(&mut tx, new, 1).await?;
        tx.commit().await?;
        Ok(payment)
    }

    pub(super) async fn insert_next(
        &self,
        previous: &str,
        new: &NewPayment,
    ) -> Result<AttemptInserted, StoreError> {
        Ok(retried(|| self.try_insert_next(previous, new)).await?)
    }

    async fn try_insert_next(
        &self,
        previous: &str,
        new: &NewPayment,
    ) -> Result<AttemptInserted, Failure> {
        let mut tx = self.begin().await?;
        let before = lock_payment(&mut tx, previous).await?;
        let latest = latest_of_order(&mut tx, &before.order_id).await?;
        if latest.attempt != before.attempt {
            tx.rollback().await?;
            return Ok(AttemptInserted::Superseded(latest));
        }
        if !may_try_again(before.status) {
            tx.rollback().await?;
            return Ok(AttemptInserted::NotProven(before));
        }
        let payment = insert_payment(&mut tx, new, before.attempt + 1).await?;
        tx.commit().await?;
        Ok(AttemptInserted::New(payment))
    }

    pub(super) async fn by_number(
        &self,
        payment_no: &str,
    ) -> Result<Option<PaymentRecord>, StoreError> {
        let row = sqlx::query(BY_NO)
            .bind(payment_no)
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(rows::payment).transpose()
    }

    pub(super) async fn latest_of_order(
        &self,
        order_id: &str,
    ) -> Result<Option<PaymentRecord>, StoreError> {
        let row = sqlx::query(LATEST_OF_ORDER)
            .bind(order_id)
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(rows::payment).transpose()
    }

    pub(super) async fn attempts_of_order(
        &self,
        order_id: &str,
    ) -> Result<Vec<PaymentRecord>, StoreError> {
        let found = sqlx::query(ATTEMPTS_OF_ORDER)
            .bind(order_id)
            .fetch_all(&self.pool)
            .await?;
        found.iter().map(rows::payment).collect()
    }

    pub(super) async fn by_channel_order(
        &self,
        channel: ChannelKind,
        channel_order_no: &str,
    ) -> Result<Option<PaymentRecord>, StoreError> {
        let row = sqlx::query(BY_CHANNEL_ORDER)
            .bind(channel_order_no)
            .bind(channel.as_str())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(rows::payment).transpose()
    }

    pub(super) async fn page(&self, before: Option<u64>, limit: u32) -> Result<Page, StoreError> {
        let found =
            sqlx::query("SELECT * FROM payment_records WHERE id < ? ORDER BY id DESC LIMIT ?")
                .bind(before.unwrap_or(u64::MAX))
                .bind(limit)
                .fetch_all(&self.pool)
                .await?;
        let payments = found
            .iter()
            .map(rows::payment)
            .collect::<Result<Vec<_>, _>>()?;
        let full = payments.len() == limit as usize;
        let next = payments.last().filter(|_| full).map(|payment| payment.id);
        Ok(Page { payments, next })
    }

    pub(super) async fn history(
        &self,
        payment_no: &str,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let found = sqlx::query(
            "SELECT * FROM payment_events WHERE payment_no = ? AND id > ? ORDER BY id LIMIT ?",
        )
        .bind(payment_no)
        .bind(after)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        found.iter().map(rows::event).collect()
    }

    pub(super) async fn change(
        &self,
        payment_no: &str,
        change: &Change,
        finish: Option<&Finish<'_>>,
    ) -> Result<Applied, StoreError> {
        Ok(retried(|| self.try_change(payment_no, change, finish)).await?)
    }

    async fn try_change(
        &self,
        payment_no: &str,
        change: &Change,
        finish: Option<&Finish<'_>>,
    ) -> Result<Applied, Failure> {
        let mut tx = self.begin().await?;
        let before = lock_payment(&mut tx, payment_no).await?;
        let step = records::apply_evidence(&before, change);
        let from_callback = change.evidence.source == Source::Callback;
        if step.payment != before || from_callback {
            write_payment(&mut tx, &step.payment, from_callback).await?;
        }
        if let Some(event) = &step.event {
            insert_event(&mut tx, event).await?;
        }
        insert_entries(&mut tx, &step.entries).await?;
        self.begin_confirmation(&mut tx, &before, &step.payment)
            .await?;
        let mut answer = None;
        if let Some(finish) = finish {
            let ours = (finish.answer)(&step.payment);
            answer = Some(store_answer(&mut tx, finish.key, &ours).await?);
        }
        tx.commit().await?;
        Ok(Applied {
            payment: step.payment,
            decision: step.decision,
            answer,
        })
    }

    pub(super) async fn reopen_payment(
        &self,
        payment_no: &str,
        now: Timestamp,
    ) -> Result<Option<PaymentRecord>, StoreError> {
        Ok(retried(|| self.try_reopen(payment_no, now)).await?)
    }

    async fn try_reopen(
        &self,
        payment_no: &str,
        now: Timestamp,
    ) -> Result<Option<PaymentRecord>, Failure> {
        let mut tx = self.begin().await?;
        let before = lock_payment(&mut tx, payment_no).await?;
        let latest = latest_of_order(&mut tx, &before.order_id).await?;
        let step = records::reopen(&before, now).filter(|_| latest.attempt == before.attempt);
        let Some(step) = step else {
            tx.rollback().await?;
            return Ok(None);
        };
        write_payment(&mut tx, &step.payment, false).await?;
        if let Some(event) = &step.event {
            insert_event(&mut tx, event).await?;
        }
        insert_entries(&mut tx, &step.entries).await?;
        self.begin_confirmation(&mut tx, &before, &step.payment)
            .await?;
        tx.commit().await?;
        Ok(Some(step.payment))
    }

    pub(super) async fn claim_payments(
        &self,
        now: Timestamp,
        lease_seconds: u64,
        limit: u32,
    ) -> Result<Vec<PaymentRecord>, StoreError> {
        let mut tx = self.begin().await?;
        let found = sqlx::query(
            "SELECT * FROM payment_records WHERE next_question_at <= ? \
             AND (lease_until IS NULL OR lease_until <= ?) \
             ORDER BY next_question_at LIMIT ? FOR UPDATE SKIP LOCKED",
        )
        .bind(to_datetime(now))
        .bind(to_datetime(now))
        .bind(limit)
        .fetch_all(&mut *tx)
        .await?;
        let payments = found
            .iter()
            .map(rows::payment)
            .collect::<Result<Vec<_>, _>>()?;
        let until = lease_end(now, lease_seconds);
        for payment in &payments {
            lease(&mut tx, LEASE, payment.id, until).await?;
        }
        tx.commit().await?;
        Ok(payments)
    }

    pub(super) async fn put_back(
        &self,
        payment_no: &str,
        next: NextLook,
    ) -> Result<(), StoreError> {
        // `NextLook::after`, in SQL: the row may have changed since the worker read it.
        let (sql, at) = match next {
            NextLook::At(at) => (PUT_BACK_AT, Some(to_datetime(at))),
            NextLook::AsRecorded => (PUT_BACK_AS_RECORDED, None),
            NextLook::Never => (PUT_BACK_FOR_GOOD, None),
        };
        let query = sqlx::query(sql);
        let query = match at {
            Some(at) => query.bind(at).bind(at),
            None => query,
        };
        query.bind(payment_no).execute(&self.pool).await?;
        Ok(())
    }

    pub(super) async fn count_open(&self) -> Result<OpenCounts, StoreError> {
        let payments = sqlx::query(
            "SELECT status, COUNT(*) AS n FROM payment_records \
             WHERE next_question_at IS NOT NULL AND status NOT IN ('CLOSED', 'FAILED') \
             GROUP BY status",
        )
        .fetch_all(&self.pool)
        .await?;
        let refunds = sqlx::query(
            "SELECT status, COUNT(*) AS n, CAST(SUM(attention) AS SIGNED) AS stuck \
             FROM payment_refunds WHERE next_question_at IS NOT NULL GROUP BY status",
        )
        .fetch_all(&self.pool)
        .await?;
        let mut counts = OpenCounts::default();
        for row in &payments {
            let name: String = row.try_get("status")?;
            let state = PaymentState::parse(&name).ok_or_else(|| vanished(&name))?;
            counts.payments.push((state, count(row.try_get("n")?)));
        }
        for row in &refunds {
            let name: String = row.try_get("status")?;
            let state = RefundState::parse(&name).ok_or_else(|| vanished(&name))?;
            counts.refunds.push((state, count(row.try_get("n")?)));
            counts.refunds_needing_attention += count(row.try_get("stuck")?);
        }
        Ok(counts)
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
        let found_rows =
            sqlx::query("SELECT * FROM payment_records WHERE payment_channel = ? AND paid_day = ?")
                .bind(channel.as_str())
                .bind(to_day(day))
                .fetch_all(&self.pool)
                .await?;
        for payment in found_rows.iter().map(rows::payment) {
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
                let payment = rows::payment(&row)?;
                found.insert(payment.channel_order_no.clone(), payment);
            }
        }
        Ok(found.into_values().collect())
    }
}

fn count(n: i64) -> u64 {
    u64::try_from(n).unwrap_or_default()
}

async fn insert_payment(
    connection: &mut MySqlConnection,
    new: &NewPayment,
    attempt: u32,
) -> Result<PaymentRecord, Failure> {
    let now = to_datetime(new.now);
    let done = sqlx::query(
        "INSERT INTO payment_records (payment_no, business_no, attempt, user_id, \
         payment_channel, method, channel_order_no, amount, currency, subject, payer, \
         items, request_hash, status, expires_at, next_question_at, created_at, updated_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&new.payment_no)
    .bind(&new.order_id)
    .bind(attempt)
    .bind(&new.user_id)
    .bind(new.method.channel().as_str())
    .bind(new.method.as_str())
    .bind(&new.channel_order_no)
    .bind(new.amount.minor)
    .bind(new.amount.currency.code())
    .bind(&new.subject)
    .bind(json(&new.payer)?)
    .bind(items(new)?)
    .bind(&new.request_hash)
    .bind(PaymentState::Submitting.as_str())
    .bind(to_datetime(new.expires_at))
    .bind(to_datetime(new.next_question_at))
    .bind(now)
    .bind(now)
    .execute(&mut *connection)
    .await?;
    insert_event(connection, &new.event()).await?;
    Ok(new.record(done.last_insert_id(), attempt))
}

pub(super) async fn lock_payment(
    connection: &mut MySqlConnection,
    payment_no: &str,
) -> Result<PaymentRecord, Failure> {
    let row = sqlx::query("SELECT * FROM payment_records WHERE payment_no = ? FOR UPDATE")
        .bind(payment_no)
        .fetch_optional(connection)
        .await?;
    Ok(rows::payment(&row.ok_or_else(|| vanished(payment_no))?)?)
}

async fn latest_of_order(
    connection: &mut MySqlConnection,
    order_id: &str,
) -> Result<PaymentRecord, Failure> {
    let row = sqlx::query(LATEST_OF_ORDER)
        .bind(order_id)
        .fetch_optional(connection)
        .await?;
    Ok(rows::payment(&row.ok_or_else(|| vanished(order_id))?)?)
}

/// Writes everything of a payment that can change.
pub(super) async fn write_payment(
    connection: &mut MySqlConnection,
    payment: &PaymentRecord,
    from_callback: bool,
) -> Result<(), Failure> {
    sqlx::query(
        "UPDATE payment_records SET status = ?, given_up = ?, action = ?, transaction_id = ?, \
         paid_at = ?, paid_day = ?, notify_status = IF(?, 'RECEIVED', notify_status), \
         reserved_minor = ?, refunded_minor = ?, refund_count = ?, last_refund_at = ?, \
         next_question_at = ?, updated_at = ? WHERE id = ?",
    )
    .bind(payment.status.as_str())
    .bind(payment.given_up)
    .bind(payment.action.as_ref().map(json).transpose()?)
    .bind(&payment.transaction_id)
    .bind(payment.paid_at.map(to_datetime))
    .bind(payment.paid_at.map(|at| to_day(clock::bill_day(at))))
    .bind(from_callback)
    .bind(payment.reserved.minor)
    .bind(payment.refunded_minor)
    .bind(payment.reserved.count)
    .bind(payment.last_refund_at.map(to_datetime))
    .bind(payment.next_question_at.map(to_datetime))
    .bind(to_datetime(payment.updated_at))
    .bind(payment.id)
    .execute(connection)
    .await?;
    Ok(())
}

/// Nothing takes no room.
pub(super) fn items(new: &NewPayment) -> Result<Option<String>, StoreError> {
    let some = Some(&new.items).filter(|items| !items.is_empty());
    some.map(json).transpose()
}

pub(super) fn json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Failed(Box::new(error)))
}
