//! Differences and what was done about them.

use jiff::Timestamp;
use jiff::civil::Date;
use payment_core::ledger::Account;
use payment_core::reconciliation::{DifferenceClass, Kind};
use payment_core::{ChannelKind, Currency, Money};
use sqlx::mysql::MySqlRow;
use sqlx::{MySqlConnection, Row as _};

use crate::reconcile::books::{
    AcceptedBill, Action, Allowance, Booked, DifferenceRecord, DifferenceState, NewAction,
    NewDifference, Step,
};
use crate::records::Entry;
use crate::store::rows::{channel, named, unreadable};
use crate::store::{
    Failure, Store, StoreError, from_civil, from_datetime, from_day, ledger, retried, to_civil,
    to_datetime, to_day,
};

/// Lines of one difference's trail that are shown.
const TRAIL_MAX: u32 = 1_000;

impl Store {
    pub(super) async fn not_found_by(
        &self,
        bill: &AcceptedBill,
        run_id: u64,
        limit: u32,
    ) -> Result<Vec<DifferenceRecord>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM reconciliation_differences WHERE payment_channel = ? AND bill_day = ? \
             AND last_run_id < ? AND state <> 'resolved' ORDER BY id LIMIT ?",
        )
        .bind(bill.channel.as_str())
        .bind(to_day(bill.day))
        .bind(run_id)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read).collect()
    }

    pub(super) async fn unresolved_of(
        &self,
        channel: ChannelKind,
        day: Date,
        after: u64,
        limit: u32,
    ) -> Result<Vec<DifferenceRecord>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM reconciliation_differences WHERE payment_channel = ? AND bill_day = ? \
             AND state <> 'resolved' AND id > ? ORDER BY id LIMIT ?",
        )
        .bind(channel.as_str())
        .bind(to_day(day))
        .bind(after)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read).collect()
    }

    pub(super) async fn one_difference(
        &self,
        id: u64,
    ) -> Result<Option<DifferenceRecord>, StoreError> {
        let row = sqlx::query("SELECT * FROM reconciliation_differences WHERE id = ?")
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(read).transpose()
    }

    pub(super) async fn trail(&self, id: u64) -> Result<Vec<Action>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM reconciliation_actions WHERE difference_id = ? ORDER BY id LIMIT ?",
        )
        .bind(id)
        .bind(TRAIL_MAX)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read_action).collect()
    }

    pub(super) async fn step(&self, step: &Step) -> Result<bool, StoreError> {
        Ok(retried(|| self.try_step(step, None)).await?)
    }

    pub(super) async fn step_within(
        &self,
        step: &Step,
        allowance: &Allowance,
    ) -> Result<bool, StoreError> {
        Ok(retried(|| self.try_step(step, Some(allowance))).await?)
    }

    async fn try_step(&self, step: &Step, allowance: Option<&Allowance>) -> Result<bool, Failure> {
        let mut tx = self.begin().await?;
        if let Some(allowance) = allowance
            && !is_allowed(&mut tx, step, allowance).await?
        {
            tx.rollback().await?;
            return Ok(false);
        }
        let row = sqlx::query(
            "SELECT state, payment_channel FROM reconciliation_differences WHERE id = ? FOR UPDATE",
        )
        .bind(step.id)
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else {
            tx.rollback().await?;
            return Ok(false);
        };
        let state: String = row.try_get("state")?;
        if state != step.from.as_str() {
            tx.rollback().await?;
            return Ok(false);
        }
        insert_action(&mut tx, step.id, channel(&row)?, &step.action).await?;
        write_state(&mut tx, step).await?;
        ledger::post_entries(&mut tx, &step.entries).await?;
        tx.commit().await?;
        Ok(true)
    }

    pub(super) async fn booked(&self, id: u64) -> Result<Vec<Booked>, StoreError> {
        // Each pair of accounts in one order, so that what took an entry back is set off.
        let rows = sqlx::query(
            "SELECT LEAST(debit_account, credit_account) AS first, \
             GREATEST(debit_account, credit_account) AS second, currency, \
             CAST(SUM(IF(debit_account < credit_account, amount, -amount)) AS SIGNED) AS minor \
             FROM ledger_entries WHERE reference = ? GROUP BY first, second, currency",
        )
        .bind(reference_of(id))
        .fetch_all(&self.pool)
        .await?;
        let booked: Vec<Option<Booked>> = rows.iter().map(read_booked).collect::<Result<_, _>>()?;
        Ok(booked.into_iter().flatten().collect())
    }

    /// The ledger entries that were made for a difference, oldest first, at most `limit`.
    pub async fn entries_of_difference(
        &self,
        id: u64,
        limit: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        let rows = sqlx::query(concat!(
            "SELECT ",
            ledger::entry_columns!(),
            " FROM ledger_entries e WHERE e.reference = ? ORDER BY e.id LIMIT ?"
        ))
        .bind(reference_of(id))
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(ledger::entry).collect()
    }

    pub(super) async fn moved_since(
        &self,
        channel: ChannelKind,
        since: Timestamp,
    ) -> Result<(u64, i64), StoreError> {
        let row = sqlx::query(
            "SELECT COUNT(*) AS n, CAST(COALESCE(SUM(moved_minor), 0) AS SIGNED) AS minor \
             FROM reconciliation_actions WHERE payment_channel = ? AND at >= ? \
             AND actor = 'system' AND moved_minor IS NOT NULL",
        )
        .bind(channel.as_str())
        .bind(to_datetime(since))
        .fetch_one(&self.pool)
        .await?;
        let count: i64 = row.try_get("n")?;
        Ok((
            u64::try_from(count).unwrap_or_default(),
            row.try_get("minor")?,
        ))
    }

    pub(super) async fn fee_posted(
        &self,
        channel: ChannelKind,
        day: Date,
    ) -> Result<i64, StoreError> {
        let fees = Account::Fees(channel).to_string();
        let row = sqlx::query(
            "SELECT CAST(COALESCE(SUM(IF(debit_account = ?, amount, -amount)), 0) AS SIGNED) \
             AS minor FROM ledger_entries WHERE day = ? AND cause = 'fee' AND payment_channel = ?",
        )
        .bind(fees)
        .bind(to_day(day))
        .bind(channel.as_str())
        .fetch_one(&self.pool)
        .await?;
        Ok(row.try_get("minor")?)
    }
}

/// What every entry that was made for a difference refers to.
fn reference_of(id: u64) -> String {
    format!("difference:{id}")
}

/// Adds a difference, or what another run says about it. One that was resolved stays so if a
/// person resolved it and it still is the same; else it is found again.
pub(super) async fn upsert_difference(
    connection: &mut MySqlConnection,
    bill: &AcceptedBill,
    run_id: u64,
    new: &NewDifference,
    now: Timestamp,
) -> Result<(), Failure> {
    let state = if new.at_the_edge && new.bill.is_none() {
        DifferenceState::Waiting
    } else {
        DifferenceState::Open
    };
    let currency = new.ours.or(new.bill).map(|amount| amount.currency.code());
    sqlx::query(
        "INSERT INTO reconciliation_differences (payment_channel, bill_day, kind, number, line, \
         class, channel_order_no, payment_no, refund_no, transaction_id, our_status, our_minor, \
         bill_minor, currency, bill_currency, fee_1e5, at, at_the_edge, state, why, first_run_id, \
         last_run_id, found_at, changed_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', ?, ?, ?, ?) \
         ON DUPLICATE KEY UPDATE \
         changed_at = IF(state = 'resolved' AND (resolution IN ('agreed-later', 'corrected') \
           OR NOT (our_minor <=> VALUES(our_minor) AND bill_minor <=> VALUES(bill_minor))), \
           VALUES(changed_at), changed_at), \
         state = IF(changed_at = VALUES(changed_at), VALUES(state), state), \
         why = IF(changed_at = VALUES(changed_at), '', why), \
         resolved_at = IF(state = 'resolved', resolved_at, NULL), \
         resolution = IF(state = 'resolved', resolution, NULL), \
         payment_no = VALUES(payment_no), refund_no = VALUES(refund_no), \
         transaction_id = VALUES(transaction_id), our_status = VALUES(our_status), \
         our_minor = VALUES(our_minor), bill_minor = VALUES(bill_minor), \
         currency = VALUES(currency), bill_currency = VALUES(bill_currency), \
         fee_1e5 = VALUES(fee_1e5), at = VALUES(at), at_the_edge = VALUES(at_the_edge), \
         last_run_id = VALUES(last_run_id)",
    )
    .bind(bill.channel.as_str())
    .bind(to_day(bill.day))
    .bind(new.kind.as_str())
    .bind(&new.number)
    .bind(new.line)
    .bind(new.class.as_str())
    .bind(&new.channel_order_no)
    .bind(&new.payment_no)
    .bind(&new.refund_no)
    .bind(&new.transaction_id)
    .bind(new.our_state)
    .bind(new.ours.map(|amount| amount.minor))
    .bind(new.bill.map(|amount| amount.minor))
    .bind(currency.unwrap_or("CNY"))
    .bind(new.bill.map(|amount| amount.currency.code()))
    .bind(new.fee_1e5)
    .bind(new.at.map(to_civil))
    .bind(new.at_the_edge)
    .bind(state.as_str())
    .bind(run_id)
    .bind(run_id)
    .bind(to_datetime(now))
    .bind(to_datetime(now))
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether the step's money is within what its channel is allowed. Until the transaction's end no
/// other one of the channel is counted: the row of its first day stands for all of them.
async fn is_allowed(
    connection: &mut MySqlConnection,
    step: &Step,
    allowance: &Allowance,
) -> Result<bool, Failure> {
    let Some(moved) = step.action.moved else {
        return Ok(true);
    };
    let row = sqlx::query("SELECT payment_channel FROM reconciliation_differences WHERE id = ?")
        .bind(step.id)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Ok(false) };
    let channel = channel(&row)?;
    sqlx::query(
        "SELECT bill_day FROM reconciliation_days WHERE payment_channel = ? \
         ORDER BY bill_day LIMIT 1 FOR UPDATE",
    )
    .bind(channel.as_str())
    .fetch_optional(&mut *connection)
    .await?;
    // What this step itself counted before a crash is counted already.
    let row = sqlx::query(
        "SELECT COUNT(*) AS n, CAST(COALESCE(SUM(moved_minor), 0) AS SIGNED) AS minor, \
         CAST(COALESCE(SUM(difference_id = ? AND action_key = ?), 0) AS SIGNED) AS own \
         FROM reconciliation_actions WHERE payment_channel = ? AND at >= ? \
         AND actor = 'system' AND moved_minor IS NOT NULL",
    )
    .bind(step.id)
    .bind(&step.action.key)
    .bind(channel.as_str())
    .bind(to_datetime(allowance.since))
    .fetch_one(&mut *connection)
    .await?;
    let (count, minor): (i64, i64) = (row.try_get("n")?, row.try_get("minor")?);
    let counted: i64 = row.try_get("own")?;
    let left = allowance.minor.saturating_sub(minor);
    let room = u64::try_from(count).unwrap_or(u64::MAX) < allowance.count && moved.minor <= left;
    Ok(counted > 0 || room)
}

async fn insert_action(
    connection: &mut MySqlConnection,
    difference_id: u64,
    channel: ChannelKind,
    action: &NewAction,
) -> Result<(), Failure> {
    // A key that is there was recorded before a crash: the rest of the step is done again.
    sqlx::query(
        "INSERT IGNORE INTO reconciliation_actions (difference_id, at, actor, action, rule, \
         reason, note, evidence, action_key, payment_channel, moved_minor) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(difference_id)
    .bind(to_datetime(action.at))
    .bind(&action.actor)
    .bind(action.action)
    .bind(action.rule)
    .bind(action.reason.chars().take(255).collect::<String>())
    .bind(&action.note)
    .bind(&action.evidence)
    .bind(&action.key)
    .bind(channel.as_str())
    .bind(action.moved.map(|amount| amount.minor))
    .execute(connection)
    .await?;
    Ok(())
}

async fn write_state(connection: &mut MySqlConnection, step: &Step) -> Result<(), Failure> {
    let at = to_datetime(step.action.at);
    let moved = step.from != step.to;
    let resolved = step.to == DifferenceState::Resolved;
    sqlx::query(
        "UPDATE reconciliation_differences SET state = ?, why = ?, assignee = ?, resolution = ?, \
         resolved_at = IF(?, ?, resolved_at), changed_at = IF(?, ?, changed_at) WHERE id = ?",
    )
    .bind(step.to.as_str())
    .bind(step.why.chars().take(255).collect::<String>())
    .bind(&step.assignee)
    .bind(&step.resolution)
    .bind(moved)
    .bind(resolved.then_some(at))
    .bind(moved)
    .bind(at)
    .bind(step.id)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) fn read(row: &MySqlRow) -> Result<DifferenceRecord, StoreError> {
    let money = |column: &str, currency: &str| -> Result<Option<Money>, StoreError> {
        let minor: Option<i64> = row.try_get(column)?;
        let code: Option<String> = row.try_get(currency)?;
        let Some((minor, code)) = minor.zip(code) else {
            return Ok(None);
        };
        let currency = Currency::parse(&code).map_err(|_| unreadable("a currency", &code))?;
        Ok(Some(Money::new(minor, currency)))
    };
    let line: u32 = row.try_get("line")?;
    let at: Option<time::PrimitiveDateTime> = row.try_get("at")?;
    Ok(DifferenceRecord {
        id: row.try_get("id")?,
        channel: channel(row)?,
        day: from_day(row.try_get("bill_day")?),
        kind: named(row, "kind", "a kind", Kind::parse)?,
        class: named(row, "class", "a class", DifferenceClass::parse)?,
        number: row.try_get("number")?,
        line: u64::from(line),
        channel_order_no: row.try_get("channel_order_no")?,
        payment_no: row.try_get("payment_no")?,
        refund_no: row.try_get("refund_no")?,
        transaction_id: row.try_get("transaction_id")?,
        our_state: row.try_get("our_status")?,
        ours: money("our_minor", "currency")?,
        bill: money("bill_minor", "bill_currency")?,
        fee_1e5: row.try_get("fee_1e5")?,
        at: at.map(from_civil),
        at_the_edge: row.try_get("at_the_edge")?,
        state: named(row, "state", "a difference's state", DifferenceState::parse)?,
        why: row.try_get("why")?,
        assignee: row.try_get("assignee")?,
        resolution: row.try_get("resolution")?,
        found_at: from_datetime(row.try_get("found_at")?),
        changed_at: from_datetime(row.try_get("changed_at")?),
    })
}

fn read_action(row: &MySqlRow) -> Result<Action, StoreError> {
    Ok(Action {
        id: row.try_get("id")?,
        at: from_datetime(row.try_get("at")?),
        actor: row.try_get("actor")?,
        action: row.try_get("action")?,
        rule: row.try_get("rule")?,
        reason: row.try_get("reason")?,
        note: row.try_get("note")?,
        evidence: row.try_get("evidence")?,
    })
}

fn read_booked(row: &MySqlRow) -> Result<Option<Booked>, StoreError> {
    let minor: i64 = row.try_get("minor")?;
    let first = named(row, "first", "an account", Account::parse)?;
    let second = named(row, "second", "an account", Account::parse)?;
    let currency = crate::store::rows::currency(row)?;
    let (debit, credit) = match minor {
        0 => return Ok(None),
        1.. => (first, second),
        _ => (second, first),
    };
    Ok(Some(Booked {
        debit,
        credit,
        amount: Money::new(minor.abs(), currency),
    }))
}
