//! What a proof of one day reads: sums, and what stands between them.
//!
//! Guarantees: one consistent snapshot for everything of one [`ProofView`]; every sum is made from
//! the rows themselves, none is read where a run or an import kept it.
//!
//! Deliberately not here: which sum has to equal which (`crate::prove`).

mod columns;
mod items;
mod life;
mod of_run;
mod pages;

use jiff::civil::Date;
use payment_core::ledger::Account;
use payment_core::reconciliation::Kind;
use payment_core::{ChannelKind, PaymentState};
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, MySql, Row as _, Transaction};

use super::kind_number;
use crate::reconcile::books::AcceptedBill;
use crate::store::rows::unreadable;
use crate::store::{Store, StoreError, ledger, to_day};

pub(crate) use columns::Table;
pub(crate) use items::{AbsentRecord, RecordOfRow, RepeatedCharge, RowItem, Shift};
pub(crate) use life::Life;
pub(crate) use pages::{Line, Named, Pass};

/// A value of a query.
#[derive(Clone, Debug)]
enum Value {
    Text(String),
    Whole(u64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Date> for Value {
    fn from(day: Date) -> Self {
        Self::Text(to_day(day))
    }
}

impl From<Kind> for Value {
    fn from(kind: Kind) -> Self {
        Self::Whole(u64::from(kind_number(kind)))
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Whole(u64::from(number))
    }
}

/// The books as they were at one moment.
pub(crate) struct ProofView {
    tx: Transaction<'static, MySql>,
}

/// One channel's day in one currency, and the bill it is held against.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) channel: ChannelKind,
    pub(crate) day: Date,
    pub(crate) bill_id: u64,
    pub(crate) currency: String,
}

impl Scope {
    fn clearing(&self) -> &'static str {
        Account::Clearing(self.channel).as_str()
    }

    fn channel(&self) -> Value {
        self.channel.as_str().into()
    }

    fn currency(&self) -> Value {
        self.currency.as_str().into()
    }

    /// Channel, day and currency.
    fn of_day(&self) -> Vec<Value> {
        vec![self.channel(), self.day.into(), self.currency()]
    }

    /// The values of [`OF_DAY`].
    fn of_account(&self, account: &str) -> Vec<Value> {
        let side = [self.day.into(), self.currency(), account.into()];
        [side.clone(), side].concat()
    }
}

/// Rows and minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Total {
    pub(crate) rows: u64,
    pub(crate) minor: i128,
}

/// Which half of the clearing account: what came in, or what was given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    Charges,
    Refunds,
}

impl Half {
    /// The half of a kind of row.
    pub(crate) const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Payment => Self::Charges,
            Kind::Refund => Self::Refunds,
        }
    }

    /// What the entry `e` adds to this half of the clearing account named by two values. Entries
    /// that bring the ledger to a record show by their side which half they belong to.
    const fn of_entry(self) -> &'static str {
        match self {
            Self::Charges => {
                "(CASE WHEN e.debit_account = ? AND e.cause IN \
                 ('charged', 'given-up', 'reopened', 'opening', 'reposted') THEN e.amount \
                 WHEN e.credit_account = ? AND e.cause IN ('charged', 'given-up', 'reopened') \
                 THEN -e.amount ELSE 0 END)"
            }
            Self::Refunds => {
                "(CASE WHEN e.credit_account = ? AND e.cause IN \
                 ('refunded', 'refund-reversed', 'opening', 'reposted') THEN e.amount \
                 WHEN e.debit_account = ? AND e.cause IN ('refunded', 'refund-reversed') \
                 THEN -e.amount ELSE 0 END)"
            }
        }
    }
}

/// Names of a kind's table and columns.
struct Own {
    table: &'static str,
    number: &'static str,
    day: &'static str,
    /// The record took effect.
    settled: String,
}

fn own(kind: Kind) -> Own {
    match kind {
        Kind::Payment => Own {
            table: "payment_records",
            number: "channel_order_no",
            day: "paid_day",
            settled: format!("p.status IN ({})", charged_states()),
        },
        Kind::Refund => Own {
            table: "payment_refunds",
            number: "channel_refund_no",
            day: "refunded_day",
            settled: "p.status = 'SUCCEEDED'".to_owned(),
        },
    }
}

/// The states of a payment that was charged, as a list of SQL.
fn charged_states() -> String {
    let charged = PaymentState::ALL
        .into_iter()
        .filter(|state| state.was_charged());
    let quoted: Vec<String> = charged.map(|state| format!("'{state}'")).collect();
    quoted.join(", ")
}

/// Whether another charge stands for the order of the payment `p`: one that we keep goes before
/// one that is or will be given back, else the earlier attempt.
fn charged_otherwise() -> String {
    let kept =
        |name: &str| format!("({name}.given_up = 0 AND {name}.reserved_minor < {name}.amount)");
    let (p, q) = (kept("p"), kept("q"));
    format!(
        "EXISTS (SELECT 1 FROM payment_records q WHERE q.business_no = p.business_no \
         AND q.id <> p.id AND q.status IN ({}) \
         AND ({q} > {p} OR ({q} = {p} AND q.attempt < p.attempt)))",
        charged_states()
    )
}

/// Entries of the day on either side of an account, each once: the values are day, currency,
/// account and the same again.
const OF_DAY: &str = "SELECT * FROM ledger_entries d WHERE d.day = ? AND d.currency = ? \
     AND d.debit_account = ? UNION ALL SELECT * FROM ledger_entries c WHERE c.day = ? \
     AND c.currency = ? AND c.credit_account = ?";

impl Store {
    pub(crate) async fn proof_view(&self) -> Result<ProofView, StoreError> {
        let tx = self.pool.begin_with(ledger::BEGIN).await?;
        Ok(ProofView { tx })
    }
}

impl ProofView {
    pub(crate) async fn close(self) -> Result<(), StoreError> {
        Ok(self.tx.rollback().await?)
    }

    async fn rows(&mut self, sql: String, values: &[Value]) -> Result<Vec<MySqlRow>, StoreError> {
        // Texts are put together from constants; every value is bound.
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for value in values {
            query = match value {
                Value::Text(text) => query.bind(text.clone()),
                Value::Whole(number) => query.bind(*number),
            };
        }
        Ok(query.fetch_all(&mut *self.tx).await?)
    }

    async fn total(&mut self, sql: String, values: &[Value]) -> Result<Total, StoreError> {
        let rows = self.rows(sql, values).await?;
        rows.first().map_or(Ok(Total::default()), total_of)
    }

    /// The accepted bill of a day.
    pub(crate) async fn bill(
        &mut self,
        channel: ChannelKind,
        day: Date,
    ) -> Result<Option<AcceptedBill>, StoreError> {
        let sql = "SELECT * FROM bills WHERE payment_channel = ? AND bill_day = ? \
                   AND state = 'accepted' ORDER BY id DESC LIMIT 1";
        let values = [channel.as_str().into(), day.into()];
        let rows = self.rows(sql.to_owned(), &values).await?;
        rows.first().map(super::bills::read_bill).transpose()
    }

    /// Every currency that either side knows, in order of their codes.
    pub(crate) async fn currencies(
        &mut self,
        channel: ChannelKind,
        day: Date,
        bill_id: u64,
    ) -> Result<Vec<String>, StoreError> {
        let clearing = Account::Clearing(channel).as_str();
        let sql = "SELECT currency FROM payment_records WHERE payment_channel = ? \
                   AND paid_day = ? UNION SELECT currency FROM payment_refunds \
                   WHERE payment_channel = ? AND refunded_day = ? UNION SELECT currency \
                   FROM bill_rows WHERE bill_id = ? UNION SELECT DISTINCT currency \
                   FROM ledger_entries WHERE debit_account = ? UNION SELECT DISTINCT currency \
                   FROM ledger_entries WHERE credit_account = ? ORDER BY currency";
        let (name, of) = (Value::from(channel.as_str()), Value::from(day));
        let own = [name.clone(), of.clone(), name, of];
        let others = [bill_id.into(), clearing.into(), clearing.into()];
        let rows = self
            .rows(sql.to_owned(), &[own.as_slice(), &others].concat())
            .await?;
        rows.iter()
            .map(|row| Ok(row.try_get("currency")?))
            .collect()
    }

    /// Records of the day that took effect.
    pub(crate) async fn records(&mut self, at: &Scope, kind: Kind) -> Result<Total, StoreError> {
        let own = own(kind);
        let sql = format!(
            "SELECT COUNT(*) AS n, CAST(COALESCE(SUM(p.amount), 0) AS CHAR) AS minor \
             FROM {} p WHERE p.payment_channel = ? AND p.{} = ? AND p.currency = ? AND {}",
            own.table, own.day, own.settled
        );
        self.total(sql, &at.of_day()).await
    }

    /// Orders charged that day, each with the one charge that stands for it.
    pub(crate) async fn orders(&mut self, at: &Scope) -> Result<Total, StoreError> {
        let charged = charged_states();
        let sql = format!(
            "SELECT COUNT(DISTINCT p.business_no) AS n, \
             CAST(COALESCE(SUM(p.amount), 0) AS CHAR) AS minor \
             FROM payment_records p WHERE p.payment_channel = ? AND p.paid_day = ? \
             AND p.currency = ? AND p.status IN ({charged}) AND NOT {}",
            charged_otherwise()
        );
        self.total(sql, &at.of_day()).await
    }

    /// What the ledger has on one half of the clearing account for that value day, as far as
    /// records explain it.
    pub(crate) async fn ledger_half(
        &mut self,
        at: &Scope,
        half: Half,
    ) -> Result<Total, StoreError> {
        let sign = half.of_entry();
        let sql = format!(
            "SELECT CAST(COALESCE(SUM({sign} <> 0), 0) AS SIGNED) AS n, \
             CAST(COALESCE(SUM({sign}), 0) AS CHAR) AS minor FROM ({OF_DAY}) e"
        );
        let clearing = at.clearing();
        let values = [vec![clearing.into(); 4], at.of_account(clearing)].concat();
        self.total(sql, &values).await
    }

    /// Rows of the bill, whatever they say of their fate.
    pub(crate) async fn bill_rows(&mut self, at: &Scope, kind: Kind) -> Result<Total, StoreError> {
        let sql = "SELECT COUNT(*) AS n, CAST(COALESCE(SUM(amount), 0) AS CHAR) AS minor \
                   FROM bill_rows WHERE bill_id = ? AND kind = ? AND currency = ?";
        let values = [at.bill_id.into(), kind.into(), at.currency()];
        self.total(sql.to_owned(), &values).await
    }

    /// The fees of all rows of the bill, in 1e-5 yuan.
    pub(crate) async fn fees_on_bill(&mut self, bill_id: u64) -> Result<Total, StoreError> {
        let sql = "SELECT COUNT(*) AS n, CAST(COALESCE(SUM(fee_1e5), 0) AS CHAR) AS minor \
                   FROM bill_rows WHERE bill_id = ?";
        self.total(sql.to_owned(), &[bill_id.into()]).await
    }

    /// The fee that is posted for the day, on the fees account.
    pub(crate) async fn fees_posted(&mut self, at: &Scope) -> Result<Total, StoreError> {
        let sql = format!(
            "SELECT COUNT(*) AS n, CAST(COALESCE(SUM(IF(e.debit_account = ?, e.amount, \
             -e.amount)), 0) AS CHAR) AS minor FROM ({OF_DAY}) e WHERE e.cause = 'fee'"
        );
        let fees = Account::Fees(at.channel).as_str();
        let values = [vec![fees.into()], at.of_account(fees)].concat();
        self.total(sql, &values).await
    }
}

fn total_of(row: &MySqlRow) -> Result<Total, StoreError> {
    let rows: i64 = row.try_get("n")?;
    Ok(Total {
        rows: u64::try_from(rows).unwrap_or_default(),
        minor: big(row, "minor")?,
    })
}

/// A sum, which may be larger than any column.
fn big(row: &MySqlRow, column: &str) -> Result<i128, StoreError> {
    let text: String = row.try_get(column)?;
    text.parse().map_err(|_| unreadable("a sum", &text))
}
