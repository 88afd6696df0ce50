//! A system with people who may act, and with differences.

use std::fmt::Write as _;

use payment_runtime::reconcile::books::DifferenceRecord;
use payment_runtime::reconcile::books::Filter;
use payment_runtime::reconcile::{self, Plan};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::{CacheAt, System, order};

pub(crate) const TOKEN: &str = "a-token-of-tests";
/// Amounts above it need a second person.
pub(crate) const LIMIT_MINOR: i64 = 20_000;
/// A subject that would run if a page did not escape it.
pub(crate) const HOSTILE: &str = "<script>alert(1)</script> & \"tea\"";

pub(crate) struct World {
    pub(crate) system: System,
    _people: Option<tempfile::NamedTempFile>,
}

impl World {
    /// With li.na and wang.wei, who may act.
    pub(crate) async fn start() -> Self {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let hash = Sha256::digest(TOKEN)
            .iter()
            .fold(String::new(), |mut hex, byte| {
                write!(hex, "{byte:02x}").unwrap();
                hex
            });
        let lines = format!("li.na:{hash}\nwang.wei:{hash}\n");
        std::io::Write::write_all(&mut file, lines.as_bytes()).unwrap();
        let path = file.path().to_owned();
        Self::with(Some(path), Some(file)).await
    }

    /// With nobody who may act.
    pub(crate) async fn without_people() -> Self {
        Self::with(None, None).await
    }

    async fn with(
        path: Option<std::path::PathBuf>,
        people: Option<tempfile::NamedTempFile>,
    ) -> Self {
        let system = System::start_with(CacheAt::None, |config| {
            let settings = &mut config.reconciliation;
            settings.people_file = path;
            settings.second_person_above_minor = LIMIT_MINOR;
            // The hour at which the tests run must not matter.
            settings.late_rows.minutes_around_midnight = 0;
        })
        .await;
        Self {
            system,
            _people: people,
        }
    }

    /// The service's root, without a path.
    pub(crate) fn root(&self) -> String {
        self.system.api.replace("/api/payments", "")
    }

    pub(crate) async fn paid(&self, channel: &str, amount: &str, subject: &str) -> Value {
        let mut body = order(channel);
        body["amount"] = amount.parse::<f64>().unwrap().into();
        body["subject"] = subject.into();
        let (status, created) = self.system.post(&body).await;
        assert_eq!(status, 201, "{created}");
        self.system.pay(&created).await;
        let id = created["paymentId"].as_str().unwrap();
        self.system.until_status(id, "PAID").await
    }

    /// Compares today's bills as the channels give them out the day after tomorrow.
    pub(crate) async fn compare(&self) {
        let two_days = json!({"advanceSeconds": 2 * 86_400});
        self.system.admin("/clock", &two_days).await;
        self.compare_again().await.unwrap();
    }

    pub(crate) async fn compare_again(&self) -> anyhow::Result<()> {
        let today = payment_runtime::clock::bill_day(payment_runtime::clock::now());
        let plan = Plan::day(&self.system.parts.payments, today);
        reconcile::run(&self.system.parts, &plan).await.map(drop)
    }

    /// A small one at WeChat Pay (under the limit, with a hostile subject) and a large one at
    /// Alipay (above it): charges that the bills do not have.
    pub(crate) async fn with_differences(&self) -> (DifferenceRecord, DifferenceRecord) {
        self.paid("wechat", "99.99", HOSTILE).await;
        self.paid("wechat", "12.00", "Tea").await;
        self.paid("alipay", "1234.56", "A large order").await;
        self.paid("alipay", "45.00", "Coffee").await;
        for channel in ["wechat", "alipay"] {
            self.system.fault("bill-missing-row", channel).await;
        }
        self.compare().await;
        let mut found = self.unresolved().await;
        assert_eq!(found.len(), 2, "{found:?}");
        found.sort_by_key(|difference| difference.ours.map(|ours| ours.minor));
        let large = found.pop().unwrap();
        (found.pop().unwrap(), large)
    }

    pub(crate) async fn unresolved(&self) -> Vec<DifferenceRecord> {
        let filter = Filter::default();
        let store = &self.system.parts.store;
        store.differences(&filter, 0, 100).await.unwrap()
    }

    pub(crate) async fn difference(&self, id: u64) -> DifferenceRecord {
        let filter = Filter {
            state: Some("all".to_owned()),
            ..Filter::default()
        };
        let store = &self.system.parts.store;
        let found = store.differences(&filter, id - 1, 1).await.unwrap();
        found.into_iter().next().unwrap()
    }

    pub(crate) async fn stop(self) {
        self.system.stop().await;
    }
}
