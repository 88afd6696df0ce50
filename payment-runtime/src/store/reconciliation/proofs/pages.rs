//! What an export shows of a day: lines of text, page by page.
//!
//! Guarantees: a page is bounded; a pass has the same order each time.
//!
//! Deliberately not here: which columns a file has (`columns`).

use payment_core::Account;
use payment_core::reconciliation::Kind;
use sqlx::Row as _;
use sqlx::mysql::MySqlRow;

use super::columns::{Column, Table};
use super::items::around;
use super::{ProofView, Scope, Value};
use crate::ledger::Head;
use crate::reconcile::books::DifferenceRecord;
use crate::store::reconciliation::differences;
use crate::store::{StoreError, ledger};

/// The cells of a line, as the columns of its file say.
pub(crate) type Line = Vec<Option<String>>;

const ENTRIES_FROM: &str = "ledger_entries e LEFT JOIN ledger_seals s ON s.entry_id = e.id \
     LEFT JOIN ledger_seals q ON q.shard = s.shard AND q.sequence = s.sequence - 1";
/// A row of the bill for the record `p`.
const ON_BILL: &str = "EXISTS (SELECT 1 FROM bill_rows x WHERE x.bill_id = ? AND x.kind = ? \
     AND x.number = ";

impl Table {
    fn pass(self, from: String, values: Vec<Value>, key: Key) -> Pass {
        let columns = self.columns();
        Pass {
            columns,
            from,
            values,
            key,
        }
    }
}

/// What a pass is in the order of.
#[derive(Clone, Copy, Debug)]
enum Key {
    Id(&'static str),
    Place(&'static str, &'static str),
}

/// Lines to be read in pages.
#[derive(Clone, Debug)]
pub(crate) struct Pass {
    columns: &'static [Column],
    /// Tables and conditions.
    from: String,
    values: Vec<Value>,
    key: Key,
}

/// Where a page ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    first: String,
    second: u64,
}

impl Scope {
    /// The lines of a file that belong to the day itself.
    pub(crate) fn passes(&self, table: Table, currencies: &[String]) -> Vec<Pass> {
        match table {
            Table::Payments => self.own_passes(table, Kind::Payment),
            Table::Refunds => self.own_passes(table, Kind::Refund),
            Table::Entries => {
                let accounts = Account::ALL.iter();
                accounts
                    .flat_map(|account| currencies.iter().map(move |code| (account, code)))
                    .map(|(account, code)| self.entries_pass(*account, code))
                    .collect()
            }
            Table::BillRows => {
                let rows = Kind::ALL.map(|kind| {
                    let from = "bills b JOIN bill_rows r ON r.bill_id = b.id \
                                WHERE r.bill_id = ? AND r.kind = ?";
                    let values = vec![self.bill_id.into(), kind.into()];
                    table.pass(from.to_owned(), values, Key::Place("r.number", "r.line"))
                });
                rows.into()
            }
            Table::Differences => {
                let from = "reconciliation_differences d WHERE d.payment_channel = ? \
                            AND d.bill_day = ?";
                let values = vec![self.channel(), self.day.into()];
                vec![table.pass(from.to_owned(), values, Key::Id("d.id"))]
            }
            Table::Actions => {
                let from = "reconciliation_differences d JOIN reconciliation_actions a \
                            ON a.difference_id = d.id WHERE d.payment_channel = ? \
                            AND d.bill_day = ?";
                let values = vec![self.channel(), self.day.into()];
                vec![table.pass(from.to_owned(), values, Key::Id("a.id"))]
            }
        }
    }

    /// Records of the day, and records of other days that the bill names.
    fn own_passes(&self, table: Table, kind: Kind) -> Vec<Pass> {
        let own = super::own(kind);
        let (records, number, day) = (own.table, own.number, own.day);
        let of_day = format!("{records} p WHERE p.payment_channel = ? AND p.{day} = ?");
        let on_bill = format!(
            "bill_rows r JOIN {records} p ON p.payment_channel = ? AND p.{number} = r.number \
             WHERE r.bill_id = ? AND r.kind = ? AND NOT (p.{day} <=> ?) AND NOT EXISTS \
             (SELECT 1 FROM bill_rows x WHERE x.bill_id = r.bill_id AND x.kind = r.kind \
             AND x.number = r.number AND x.line < r.line)"
        );
        let key = match kind {
            Kind::Payment => Key::Place("p.channel_order_no", "0"),
            Kind::Refund => Key::Place("p.channel_refund_no", "0"),
        };
        let values = vec![
            self.channel(),
            self.bill_id.into(),
            kind.into(),
            self.day.into(),
        ];
        vec![
            table.pass(of_day, vec![self.channel(), self.day.into()], key),
            table.pass(on_bill, values, Key::Place("r.number", "r.line")),
        ]
    }

    fn entries_pass(&self, account: Account, currency: &str) -> Pass {
        let from = format!(
            "{ENTRIES_FROM} WHERE e.debit_account = ? AND e.currency = ? AND e.day = ? \
             AND (e.payment_channel = ? OR ? IN (e.debit_account, e.credit_account))"
        );
        let values = vec![
            account.as_str().into(),
            currency.into(),
            self.day.into(),
            self.channel(),
            self.clearing().into(),
        ];
        Table::Entries.pass(from, values, Key::Id("e.id"))
    }

    /// Records that no pass of the day has: all attempts of an order, or one payment, or a
    /// payment's refunds.
    pub(crate) fn more_records(&self, kind: Kind, column: Named, value: &str) -> Pass {
        let own = super::own(kind);
        let name = column.as_str();
        let (records, number, day) = (own.table, own.number, own.day);
        let from = format!(
            "{records} p WHERE p.{name} = ? AND NOT (p.payment_channel = ? AND (p.{day} <=> ? \
             OR {ON_BILL} p.{number})))"
        );
        let values = vec![
            value.into(),
            self.channel(),
            self.day.into(),
            self.bill_id.into(),
            kind.into(),
        ];
        let table = match kind {
            Kind::Payment => Table::Payments,
            Kind::Refund => Table::Refunds,
        };
        table.pass(from, values, Key::Id("p.id"))
    }

    /// A payment's entries of other days.
    pub(crate) fn more_entries(&self, payment_no: &str) -> Pass {
        let from = format!(
            "{ENTRIES_FROM} WHERE e.payment_no = ? AND e.day <> ? AND e.cause IN ({})",
            ledger::causes_of_records()
        );
        let values = vec![payment_no.into(), self.day.into()];
        Table::Entries.pass(from, values, Key::Id("e.id"))
    }

    /// Rows of a number on other accepted bills near the day.
    pub(crate) fn more_rows(&self, kind: Kind, number: &str) -> Pass {
        let (first, last) = around(self.day);
        let from = "bills b JOIN bill_rows r ON r.bill_id = b.id AND r.kind = ? AND r.number = ? \
                    WHERE b.payment_channel = ? AND b.state = 'accepted' \
                    AND b.bill_day BETWEEN ? AND ? AND b.bill_day <> ?";
        let values = vec![
            kind.into(),
            number.into(),
            self.channel(),
            first.into(),
            last.into(),
            self.day.into(),
        ];
        Table::BillRows.pass(from.to_owned(), values, Key::Place("b.bill_day", "r.line"))
    }
}

/// What further records are named by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    Order,
    Payment,
}

impl Named {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Order => "business_no",
            Self::Payment => "payment_no",
        }
    }
}

impl ProofView {
    /// A pass's lines after a place, with the place behind each.
    pub(crate) async fn lines(
        &mut self,
        pass: &Pass,
        after: Option<&Place>,
        limit: u32,
    ) -> Result<Vec<(Line, Place)>, StoreError> {
        let (first, second) = match pass.key {
            Key::Id(id) => ("''", id),
            Key::Place(first, second) => (first, second),
        };
        let columns: Vec<String> = pass
            .columns
            .iter()
            .map(|(_, text)| format!("CAST({text} AS CHAR)"))
            .collect();
        let (mut values, mut beyond) = (pass.values.clone(), "");
        if let Some(place) = after {
            (beyond, values) = match pass.key {
                Key::Id(_) => ("AND {second} > ?", with(values, [place.second.into()])),
                Key::Place(..) => {
                    let at = Value::from(place.first.as_str());
                    let places = [at.clone(), at, place.second.into()];
                    let beyond = "AND {first} >= ? AND ({first} > ? OR {second} > ?)";
                    (beyond, with(values, places))
                }
            };
        }
        let beyond = beyond.replace("{first}", first).replace("{second}", second);
        let sql = format!(
            "SELECT {columns}, CAST({first} AS CHAR), CAST({second} AS UNSIGNED) FROM {from} \
             {beyond} ORDER BY {order} LIMIT ?",
            columns = columns.join(", "),
            from = pass.from,
            order = match pass.key {
                Key::Id(id) => id.to_owned(),
                Key::Place(first, "0") => first.to_owned(),
                Key::Place(first, second) => format!("{first}, {second}"),
            },
        );
        let rows = self.rows(sql, &with(values, [limit.into()])).await?;
        let count = pass.columns.len();
        rows.iter().map(|row| line(row, count)).collect()
    }

    /// Differences of a day by id after `after`.
    pub(crate) async fn differences(
        &mut self,
        channel: payment_core::ChannelKind,
        day: jiff::civil::Date,
        after: u64,
        limit: u32,
    ) -> Result<Vec<DifferenceRecord>, StoreError> {
        let sql = "SELECT * FROM reconciliation_differences WHERE payment_channel = ? \
                   AND bill_day = ? AND id > ? ORDER BY id LIMIT ?";
        let values = [
            channel.as_str().into(),
            day.into(),
            after.into(),
            limit.into(),
        ];
        let rows = self.rows(sql.to_owned(), &values).await?;
        rows.iter().map(differences::read).collect()
    }

    /// The ends of the ledger's chains.
    pub(crate) async fn heads(&mut self) -> Result<Vec<Head>, StoreError> {
        let sql = "SELECT shard, last_sequence, last_hash FROM ledger_shards ORDER BY shard";
        let rows = self.rows(sql.to_owned(), &[]).await?;
        rows.iter()
            .map(|row| {
                Ok(Head {
                    shard: row.try_get("shard")?,
                    sequence: row.try_get("last_sequence")?,
                    hash: row.try_get("last_hash")?,
                })
            })
            .collect()
    }
}

fn with<const N: usize>(mut values: Vec<Value>, more: [Value; N]) -> Vec<Value> {
    values.extend(more);
    values
}

fn line(row: &MySqlRow, count: usize) -> Result<(Line, Place), StoreError> {
    let cells: Result<Line, sqlx::Error> = (0..count).map(|at| row.try_get(at)).collect();
    let place = Place {
        first: row.try_get(count)?,
        second: row.try_get(count + 1)?,
    };
    Ok((cells?, place))
}
