//! What stands between two sums: every row and record that is not the same on both sides.
//!
//! Guarantees: a row of the bill and a record are taken as one where the row is the first of its
//! number, both have the same currency, and the record took effect on the bill's day; everything
//! else comes out of one of these lists, once.

use jiff::civil::Date;
use payment_core::reconciliation::Kind;
use sqlx::Row as _;
use sqlx::mysql::MySqlRow;

use super::{Half, OF_DAY, ProofView, Scope, charged_otherwise, charged_states, own};
use crate::reconcile::books::DifferenceRecord;
use crate::store::reconciliation::differences;
use crate::store::{StoreError, from_day, ledger};

/// Days around a bill's own on whose bills a record of the day may stand: as for a comparison.
const DAYS_AROUND: i64 = 7;
/// Differences of one number that are looked at.
const OF_NUMBER_MAX: u32 = 50;

/// A charge of an order for which another charge stands.
#[derive(Clone, Debug)]
pub(crate) struct RepeatedCharge {
    pub(crate) payment_no: String,
    pub(crate) order_id: String,
    pub(crate) number: String,
    pub(crate) amount: i64,
    pub(crate) given_up: bool,
    /// Refunds that succeeded or still may.
    pub(crate) reserved: i64,
}

/// A payment that records and ledger do not have alike on the day, minor units.
#[derive(Clone, Debug)]
pub(crate) struct Shift {
    /// `None`: entries that say they follow a record, and name none.
    pub(crate) payment_no: Option<String>,
    pub(crate) record: i128,
    pub(crate) ledger: i128,
}

/// A row of the bill that is not simply a record of the day.
#[derive(Clone, Debug)]
pub(crate) struct RowItem {
    pub(crate) number: String,
    pub(crate) line: u64,
    pub(crate) amount: i64,
    /// The bill says that it failed.
    pub(crate) failed: bool,
    /// The first row of its number.
    pub(crate) first: bool,
    pub(crate) record: Option<RecordOfRow>,
}

/// Our record under a row's number.
#[derive(Clone, Debug)]
pub(crate) struct RecordOfRow {
    pub(crate) amount: i64,
    pub(crate) same_currency: bool,
    pub(crate) status: String,
    pub(crate) settled: bool,
    pub(crate) day: Option<Date>,
}

/// A record of the day that has no row on the day's bill.
#[derive(Clone, Debug)]
pub(crate) struct AbsentRecord {
    pub(crate) number: String,
    pub(crate) payment_no: String,
    pub(crate) amount: i64,
    /// A row has its number in another currency.
    pub(crate) other_currency: bool,
}

/// An entry that corrects something and names no difference of the day.
#[derive(Clone, Debug)]
pub(crate) struct Stray {
    pub(crate) id: u64,
    pub(crate) entry_key: String,
    pub(crate) amount: i64,
}

impl ProofView {
    pub(crate) async fn repeated_charges(
        &mut self,
        at: &Scope,
        limit: u32,
    ) -> Result<Vec<RepeatedCharge>, StoreError> {
        let sql = format!(
            "SELECT p.payment_no, p.business_no, p.channel_order_no, p.amount, p.given_up, \
             p.reserved_minor FROM payment_records p WHERE p.payment_channel = ? \
             AND p.paid_day = ? AND p.currency = ? AND p.status IN ({}) AND {} \
             ORDER BY p.channel_order_no LIMIT ?",
            charged_states(),
            charged_otherwise()
        );
        let values = [at.of_day(), vec![limit.into()]].concat();
        let rows = self.rows(sql, &values).await?;
        rows.iter()
            .map(|row| {
                Ok(RepeatedCharge {
                    payment_no: row.try_get("payment_no")?,
                    order_id: row.try_get("business_no")?,
                    number: row.try_get("channel_order_no")?,
                    amount: row.try_get("amount")?,
                    given_up: row.try_get("given_up")?,
                    reserved: row.try_get("reserved_minor")?,
                })
            })
            .collect()
    }

    /// Payments whose records of the day and whose entries of the day differ.
    pub(crate) async fn shifts(
        &mut self,
        at: &Scope,
        kind: Kind,
        limit: u32,
    ) -> Result<Vec<Shift>, StoreError> {
        let own = own(kind);
        let sign = Half::of(kind).of_entry();
        let records = format!(
            "SELECT p.payment_no, CAST(SUM(p.amount) AS SIGNED) AS record FROM {} p \
             WHERE p.payment_channel = ? AND p.{} = ? AND p.currency = ? AND {} \
             GROUP BY p.payment_no",
            own.table, own.day, own.settled
        );
        let entries = format!(
            "SELECT e.payment_no, CAST(SUM({sign}) AS SIGNED) AS ledger FROM ({OF_DAY}) e \
             WHERE e.cause IN ({}) GROUP BY e.payment_no",
            ledger::causes_of_records()
        );
        let sql = format!(
            "SELECT r.payment_no, r.record, COALESCE(l.ledger, 0) AS ledger FROM ({records}) r \
             LEFT JOIN ({entries}) l ON l.payment_no = r.payment_no \
             WHERE COALESCE(l.ledger, 0) <> r.record UNION ALL \
             SELECT l.payment_no, 0, l.ledger FROM ({entries}) l LEFT JOIN ({records}) r \
             ON r.payment_no = l.payment_no WHERE r.payment_no IS NULL AND l.ledger <> 0 \
             ORDER BY payment_no LIMIT ?"
        );
        let clearing = at.clearing();
        let of_entries = [
            vec![clearing.into(), clearing.into()],
            at.of_account(clearing),
        ]
        .concat();
        let of_records = at.of_day();
        let values = [
            of_records.clone(),
            of_entries.clone(),
            of_entries,
            of_records,
            vec![limit.into()],
        ]
        .concat();
        let rows = self.rows(sql, &values).await?;
        rows.iter()
            .map(|row| {
                let (record, ledger): (i64, i64) = (row.try_get("record")?, row.try_get("ledger")?);
                Ok(Shift {
                    payment_no: row.try_get("payment_no")?,
                    record: i128::from(record),
                    ledger: i128::from(ledger),
                })
            })
            .collect()
    }

    /// Rows of the bill that are not one with a record of the day and the same amount.
    pub(crate) async fn row_items(
        &mut self,
        at: &Scope,
        kind: Kind,
        limit: u32,
    ) -> Result<Vec<RowItem>, StoreError> {
        let own = own(kind);
        let sql = format!(
            "SELECT * FROM (SELECT b.number, b.line, b.amount, b.status = 2 AS failed, \
             NOT EXISTS (SELECT 1 FROM bill_rows f WHERE f.bill_id = b.bill_id \
             AND f.kind = b.kind AND f.number = b.number AND f.line < b.line) AS is_first, \
             p.amount AS our_amount, p.currency = b.currency AS same_currency, p.status, \
             ({settled}) AS settled, p.{day} AS day FROM bill_rows b LEFT JOIN {table} p \
             ON p.payment_channel = ? AND p.{number} = b.number \
             WHERE b.bill_id = ? AND b.kind = ? AND b.currency = ?) x \
             WHERE NOT (x.is_first AND COALESCE(x.settled AND x.same_currency AND x.day = ? \
             AND x.our_amount = x.amount, FALSE)) ORDER BY x.number, x.line LIMIT ?",
            settled = own.settled,
            day = own.day,
            table = own.table,
            number = own.number,
        );
        let values = [
            at.channel(),
            at.bill_id.into(),
            kind.into(),
            at.currency(),
            at.day.into(),
            limit.into(),
        ];
        let rows = self.rows(sql, &values).await?;
        rows.iter().map(row_item).collect()
    }

    /// Records of the day without a first row of their number and currency on the bill.
    pub(crate) async fn absent_records(
        &mut self,
        at: &Scope,
        kind: Kind,
        limit: u32,
    ) -> Result<Vec<AbsentRecord>, StoreError> {
        let own = own(kind);
        let sql = format!(
            "SELECT p.{number} AS number, p.payment_no, p.amount, \
             EXISTS (SELECT 1 FROM bill_rows o WHERE o.bill_id = ? AND o.kind = ? \
             AND o.number = p.{number}) AS other_currency FROM {table} p \
             WHERE p.payment_channel = ? AND p.{day} = ? AND p.currency = ? AND {settled} \
             AND NOT EXISTS (SELECT 1 FROM bill_rows b WHERE b.bill_id = ? AND b.kind = ? \
             AND b.number = p.{number} AND b.currency = p.currency AND NOT EXISTS \
             (SELECT 1 FROM bill_rows f WHERE f.bill_id = b.bill_id AND f.kind = b.kind \
             AND f.number = b.number AND f.line < b.line)) ORDER BY p.{number} LIMIT ?",
            number = own.number,
            table = own.table,
            day = own.day,
            settled = own.settled,
        );
        let bill = [at.bill_id.into(), kind.into()];
        let values = [
            bill.to_vec(),
            at.of_day(),
            bill.to_vec(),
            vec![limit.into()],
        ]
        .concat();
        let rows = self.rows(sql, &values).await?;
        rows.iter()
            .map(|row| {
                Ok(AbsentRecord {
                    number: row.try_get("number")?,
                    payment_no: row.try_get("payment_no")?,
                    amount: row.try_get("amount")?,
                    other_currency: row.try_get("other_currency")?,
                })
            })
            .collect()
    }

    /// Days of other accepted bills of the channel, near this one, on which a number stands.
    pub(crate) async fn other_bills(
        &mut self,
        at: &Scope,
        kind: Kind,
        number: &str,
    ) -> Result<Vec<Date>, StoreError> {
        let (from, to) = around(at.day);
        let sql = "SELECT DISTINCT b.bill_day FROM bills b JOIN bill_rows r ON r.bill_id = b.id \
                   AND r.kind = ? AND r.number = ? WHERE b.payment_channel = ? \
                   AND b.state = 'accepted' AND b.bill_day BETWEEN ? AND ? AND b.bill_day <> ? \
                   ORDER BY b.bill_day";
        let values = [
            kind.into(),
            number.into(),
            at.channel(),
            from.into(),
            to.into(),
            at.day.into(),
        ];
        let rows = self.rows(sql.to_owned(), &values).await?;
        rows.iter()
            .map(|row| Ok(from_day(row.try_get("bill_day")?)))
            .collect()
    }

    /// The differences that the day's runs found under a number.
    pub(crate) async fn differences_of(
        &mut self,
        at: &Scope,
        kind: Kind,
        number: &str,
    ) -> Result<Vec<DifferenceRecord>, StoreError> {
        let sql = "SELECT * FROM reconciliation_differences WHERE payment_channel = ? \
                   AND bill_day = ? AND kind = ? AND number = ? ORDER BY id LIMIT ?";
        let values = [
            at.channel(),
            at.day.into(),
            kind.as_str().into(),
            number.into(),
            OF_NUMBER_MAX.into(),
        ];
        let rows = self.rows(sql.to_owned(), &values).await?;
        rows.iter().map(differences::read).collect()
    }

    /// The day's entries that correct something, by what names the difference: entries whose
    /// difference is not one of the day come out as strays.
    pub(crate) async fn strays(
        &mut self,
        at: &Scope,
        limit: u32,
    ) -> Result<Vec<Stray>, StoreError> {
        let sql = format!(
            "SELECT e.id, e.entry_key, e.amount FROM {CORRECTING} \
             AND NOT EXISTS {ITS_DIFFERENCE} ORDER BY e.id LIMIT ?"
        );
        let values = [at.correcting(), vec![limit.into()]].concat();
        let rows = self.rows(sql, &values).await?;
        rows.iter()
            .map(|row| {
                Ok(Stray {
                    id: row.try_get("id")?,
                    entry_key: row.try_get("entry_key")?,
                    amount: row.try_get("amount")?,
                })
            })
            .collect()
    }

    /// Sums of the day's correcting entries: all of them, and those of the day's differences.
    pub(crate) async fn correcting(
        &mut self,
        at: &Scope,
        of_differences: bool,
    ) -> Result<super::Total, StoreError> {
        let only = if of_differences {
            format!("AND EXISTS {ITS_DIFFERENCE}")
        } else {
            String::new()
        };
        let sql = format!(
            "SELECT COUNT(*) AS n, CAST(COALESCE(SUM(e.amount), 0) AS CHAR) AS minor \
             FROM {CORRECTING} {only}"
        );
        self.total(sql, &at.correcting()).await
    }

    /// What is booked to suspense for the day's differences and has not been taken back: the
    /// difference and minor units.
    pub(crate) async fn in_suspense(
        &mut self,
        at: &Scope,
        limit: u32,
    ) -> Result<Vec<(u64, i64)>, StoreError> {
        let sql = format!(
            "SELECT CAST(SUBSTRING(e.reference, 12) AS UNSIGNED) AS of_id, CAST(SUM(IF(\
             e.credit_account = ?, e.amount, -e.amount)) AS SIGNED) AS minor FROM ({OF_DAY}) e \
             WHERE e.cause IN ('suspense', 'freeze', 'correction') \
             AND e.reference LIKE 'difference:%' GROUP BY of_id HAVING minor <> 0 ORDER BY of_id LIMIT ?"
        );
        let suspense = payment_core::Account::Suspense(at.channel).as_str();
        let values = [
            vec![suspense.into()],
            at.of_account(suspense),
            vec![limit.into()],
        ]
        .concat();
        let rows = self.rows(sql, &values).await?;
        rows.iter()
            .map(|row| Ok((row.try_get("of_id")?, row.try_get("minor")?)))
            .collect()
    }
}

/// Entries of the day that correct something, by the ledger's index of debited accounts.
const CORRECTING: &str = "ledger_entries e WHERE e.debit_account IN (?, ?, ?, ?, ?, ?, ?, ?, ?) \
     AND e.currency = ? AND e.day = ? AND e.payment_channel = ? \
     AND e.cause IN ('suspense', 'freeze', 'correction')";
const ITS_DIFFERENCE: &str = "(SELECT 1 FROM reconciliation_differences d \
     WHERE d.id = CAST(SUBSTRING(e.reference, 12) AS UNSIGNED) \
     AND e.reference = CONCAT('difference:', d.id) AND d.payment_channel = e.payment_channel \
     AND d.bill_day = e.day)";

impl Scope {
    /// The values of [`CORRECTING`].
    fn correcting(&self) -> Vec<super::Value> {
        let accounts = payment_core::Account::ALL.map(|account| account.as_str().into());
        let rest = [self.currency(), self.day.into(), self.channel()];
        [accounts.as_slice(), &rest].concat()
    }
}

/// The first and the last day on whose bills a record of `day` may stand.
pub(super) fn around(day: Date) -> (Date, Date) {
    let far = |days: i64| day.saturating_add(jiff::Span::new().days(days));
    (far(-DAYS_AROUND), far(DAYS_AROUND))
}

fn row_item(row: &MySqlRow) -> Result<RowItem, StoreError> {
    let line: u32 = row.try_get("line")?;
    let our_amount: Option<i64> = row.try_get("our_amount")?;
    let record = match our_amount {
        None => None,
        Some(amount) => {
            let day: Option<time::Date> = row.try_get("day")?;
            Some(RecordOfRow {
                amount,
                same_currency: row.try_get("same_currency")?,
                status: row.try_get("status")?,
                settled: row.try_get("settled")?,
                day: day.map(from_day),
            })
        }
    };
    Ok(RowItem {
        number: row.try_get("number")?,
        line: u64::from(line),
        amount: row.try_get("amount")?,
        failed: row.try_get("failed")?,
        first: row.try_get("is_first")?,
        record,
    })
}
