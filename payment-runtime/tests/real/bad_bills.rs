//! Bills that must not be believed: each is refused with its reason, and leaves the books as they
//! were.

use std::io::{Seek as _, Write as _};
use std::sync::Arc;

use async_trait::async_trait;
use channels::bad_bills::{BadBill, GoodRow, bad_bills, good_bill};
use channels::{BillFile, Outcome};
use jiff::Timestamp;
use jiff::civil::Date;
use payment_core::ChannelKind;
use payment_runtime::reconcile::bills::FileRows;
use payment_runtime::reconcile::books::{Bills, FetchedBill};
use payment_runtime::reconcile::{DayResult, Plan, Reconciler, RunError};

use crate::support::{CacheAt, System, connect};

/// One file, for whatever day is asked for.
struct OneBill {
    kind: ChannelKind,
    day: Date,
    bytes: Vec<u8>,
    hash: Option<String>,
}

#[async_trait]
impl Bills for OneBill {
    async fn bill(&self, _: ChannelKind, _: Date, _: Timestamp) -> Outcome<FetchedBill> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&self.bytes).unwrap();
        file.rewind().unwrap();
        let file = BillFile::open(self.kind, self.day, file, self.hash.clone()).unwrap();
        Outcome::Done(FetchedBill::Rows(Box::new(FileRows::read(file, |_| true))))
    }
}

async fn import(system: &System, bill: OneBill) -> DayResult {
    let (kind, day) = (bill.kind, bill.day);
    let reconciler = Reconciler {
        bills: Arc::new(bill),
        ..Reconciler::new(&system.parts)
    };
    let plan = Plan {
        channels: vec![kind],
        ..Plan::day(&system.parts.payments, day)
    };
    let mut result = reconciler.run(&plan, &|_, _, _| {}).await.unwrap();
    result.days.remove(0).2
}

/// Everything that a bill could have changed.
async fn books(system: &System) -> Vec<i64> {
    let mut counts = Vec::new();
    for table in [
        "payment_records",
        "payment_events",
        "ledger_entries",
        "reconciliation_runs",
        "reconciliation_differences",
        "reconciliation_actions",
        "bill_rows",
    ] {
        let sql = format!("SELECT COUNT(*) FROM {table}");
        let (rows,): (i64,) = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .fetch_one(&mut connect(system).await)
            .await
            .unwrap();
        counts.push(rows);
    }
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_bill_is_refused_with_its_reason_and_changes_nothing() {
    let system = System::start(CacheAt::Real).await;
    let day = payment_runtime::clock::bill_day(payment_runtime::clock::now());
    let day = day.yesterday().unwrap();
    for kind in ChannelKind::ALL {
        let rows = [GoodRow::payment("PGOOD0001", 100, day.at(10, 0, 0, 0))];
        let (bytes, hash) = good_bill(kind, day, &rows);
        let good = OneBill {
            kind,
            day,
            bytes,
            hash,
        };
        let result = import(&system, good).await;
        assert!(matches!(result, DayResult::Compared { .. }), "{result:?}");
    }
    let before = books(&system).await;
    let bad = bad_bills(day);
    assert!(bad.len() >= 60, "only {} bad bills", bad.len());
    for bill in bad {
        let BadBill {
            name,
            kind,
            bytes,
            hash,
            reason,
            ..
        } = bill;
        let one = OneBill {
            kind,
            day,
            bytes,
            hash,
        };
        match import(&system, one).await {
            DayResult::Failed(RunError::BillRefused(refused)) => {
                assert_eq!(refused.reason, reason, "{name}: {}", refused.detail);
            }
            other => panic!("{kind} {name}: {other:?}"),
        }
        assert_eq!(books(&system).await, before, "{kind} {name}");
    }
    let refused = system.parts.store.refused_bills().await.unwrap();
    assert_eq!(refused.len(), 2, "each channel's day shows its newest bill");
    system.stop().await;
}
