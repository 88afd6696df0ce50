//! Sealing: the queue of a shard is worked off by whoever holds the shard's row.

use sqlx::{MySql, MySqlConnection, QueryBuilder, Row as _};

use super::{entry, entry_columns};
use crate::ledger::{Chain, Sums};
use crate::store::{Failure, Store, StoreError, retried};

/// Rows of one INSERT or DELETE.
const ROWS_MAX: usize = 100;

/// A seal about to be written: sequence, entry, hash.
type Seal = (u64, u64, String);

impl Store {
    /// Shards in which entries wait for their seal.
    pub(crate) async fn shards_with_work(&self) -> Result<Vec<u8>, StoreError> {
        let rows = sqlx::query("SELECT DISTINCT shard FROM ledger_unsealed")
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| Ok(row.try_get("shard")?)).collect()
    }

    pub(crate) async fn unsealed_count(&self) -> Result<u64, StoreError> {
        let row = sqlx::query("SELECT COUNT(*) AS n FROM ledger_unsealed")
            .fetch_one(&self.pool)
            .await?;
        Ok(u64::try_from(row.try_get::<i64, _>("n")?).unwrap_or_default())
    }

    /// Seals up to `limit` entries of a shard in one transaction; returns how many. None, if
    /// somebody else holds the shard.
    pub(crate) async fn seal_some(&self, shard: u8, limit: u32) -> Result<usize, StoreError> {
        Ok(retried(|| self.try_seal(shard, limit)).await?)
    }

    async fn try_seal(&self, shard: u8, limit: u32) -> Result<usize, Failure> {
        let mut tx = self.begin().await?;
        let Some(mut chain) = hold_shard(&mut tx, shard).await? else {
            tx.rollback().await?;
            return Ok(0);
        };
        let rows = sqlx::query(concat!(
            "SELECT ",
            entry_columns!(),
            " FROM ledger_unsealed q JOIN ledger_entries e ON e.id = q.entry_id \
             WHERE q.shard = ? ORDER BY q.entry_id LIMIT ?"
        ))
        .bind(shard)
        .bind(limit)
        .fetch_all(&mut *tx)
        .await?;
        let (mut seals, mut sums) = (Vec::<Seal>::with_capacity(rows.len()), Sums::default());
        for row in &rows {
            let entry = entry(row)?;
            chain.add(&entry);
            sums.add(&entry);
            seals.push((chain.sequence, entry.id, chain.hash.clone()));
        }
        if seals.is_empty() {
            tx.rollback().await?;
            return Ok(0);
        }
        for some in seals.chunks(ROWS_MAX) {
            write_seals(&mut tx, shard, some).await?;
            leave_queue(&mut tx, shard, some).await?;
        }
        add_to_balances(&mut tx, shard, &sums).await?;
        move_head(&mut tx, &chain).await?;
        tx.commit().await?;
        Ok(seals.len())
    }
}

/// The end of the shard's chain, locked; `None` while somebody else seals.
async fn hold_shard(connection: &mut MySqlConnection, shard: u8) -> Result<Option<Chain>, Failure> {
    let row = sqlx::query(
        "SELECT last_sequence, last_hash FROM ledger_shards WHERE shard = ? \
         FOR UPDATE SKIP LOCKED",
    )
    .bind(shard)
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Chain {
        shard,
        sequence: row.try_get("last_sequence")?,
        hash: row.try_get("last_hash")?,
    }))
}

async fn write_seals(
    connection: &mut MySqlConnection,
    shard: u8,
    seals: &[Seal],
) -> Result<(), Failure> {
    let mut query =
        QueryBuilder::<MySql>::new("INSERT INTO ledger_seals (shard, sequence, entry_id, hash) ");
    query.push_values(seals, |mut row, (sequence, entry_id, hash)| {
        row.push_bind(shard)
            .push_bind(*sequence)
            .push_bind(*entry_id)
            .push_bind(hash.clone());
    });
    let query = query.build().persistent(is_kept(seals));
    query.execute(connection).await?;
    Ok(())
}

/// Whether the statement for so many rows is kept prepared: that for the usual number. Closing a
/// statement costs 40 ms, since the server acknowledges it late and the next one waits for that.
const fn is_kept(seals: &[Seal]) -> bool {
    seals.len() == ROWS_MAX
}

async fn leave_queue(
    connection: &mut MySqlConnection,
    shard: u8,
    seals: &[Seal],
) -> Result<(), Failure> {
    let mut query = QueryBuilder::<MySql>::new("DELETE FROM ledger_unsealed WHERE shard = ");
    query.push_bind(shard).push(" AND entry_id IN (");
    let mut list = query.separated(", ");
    for (_, entry_id, _) in seals {
        list.push_bind(*entry_id);
    }
    query.push(")");
    let query = query.build().persistent(is_kept(seals));
    query.execute(connection).await?;
    Ok(())
}

async fn add_to_balances(
    connection: &mut MySqlConnection,
    shard: u8,
    sums: &Sums,
) -> Result<(), Failure> {
    for ((account, currency, day), sum) in &sums.0 {
        sqlx::query(
            "INSERT INTO ledger_balances (account, currency, day, shard, debit_minor, \
             credit_minor, entries) VALUES (?, ?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE \
             debit_minor = debit_minor + VALUES(debit_minor), \
             credit_minor = credit_minor + VALUES(credit_minor), \
             entries = entries + VALUES(entries)",
        )
        .bind(account)
        .bind(currency)
        .bind(day)
        .bind(shard)
        .bind(sum.debit_minor)
        .bind(sum.credit_minor)
        .bind(sum.entries)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn move_head(connection: &mut MySqlConnection, chain: &Chain) -> Result<(), Failure> {
    sqlx::query("UPDATE ledger_shards SET last_sequence = ?, last_hash = ? WHERE shard = ?")
        .bind(chain.sequence)
        .bind(&chain.hash)
        .bind(chain.shard)
        .execute(connection)
        .await?;
    Ok(())
}
