//! Tells others of differences: a signed webhook, as Standard Webhooks says.
//!
//! Guarantees: a message is written in the transaction that marks what it tells of, so that no
//! difference is forgotten and none is told twice by two messages; it is delivered at least once,
//! under the same id each time; a receiver that is away, or a secret that cannot be read, fails a
//! delivery and never a run.
//!
//! Deliberately not here: SQL (`store`), and what is a difference.

mod deliver;
mod message;
mod sign;

use jiff::civil::Date;
use payment_core::ChannelKind;

use super::Reconciler;
use super::books::{AcceptedBill, BillRefused};
use crate::hash::sha256_hex;
use crate::ledger::LedgerReport;
use crate::roles::Parts;

pub use deliver::{deliver, run};
pub use message::{Counted, EXAMPLES_MAX, Example, GROUPS_MAX, Head, News, body, refusal};

impl Reconciler {
    /// Writes a message about what a run changed. What cannot be written now, the day's next run
    /// finds untold.
    pub(super) async fn tell_of_day(&self, bill: &AcceptedBill, run_id: u64) {
        for news in [News::Found, News::Resolved] {
            let day = Some((bill.channel, bill.day));
            let head = self.head(news, Some(run_id));
            if let Some(head) = head
                && let Err(error) = self.books.tell_differences(&head, day).await
            {
                warn(&error);
            }
        }
    }

    pub(super) async fn tell_of_refusal(
        &self,
        channel: ChannelKind,
        day: Date,
        refused: &BillRefused,
    ) {
        let Some(head) = self.head(News::BillRefused, None) else {
            return;
        };
        if let Err(error) = self.books.tell_refusal(&head, channel, day, refused).await {
            warn(&error);
        }
    }

    fn head(&self, news: News, run_id: Option<u64>) -> Option<Head> {
        self.settings().notify.as_ref()?;
        Some(Head {
            message_id: format!("msg_{}", self.payments.host.new_id()),
            news,
            system: self.payments.config.system.clone(),
            run_id,
            at: self.now(),
        })
    }
}

/// Writes a message about what people resolved: no run does it for them.
async fn tell_of_people(parts: &Parts) {
    let reconciler = Reconciler::new(parts);
    if let Some(head) = reconciler.head(News::Resolved, None)
        && let Err(error) = parts.store.tell_differences(&head, None).await
    {
        warn(&error);
    }
}

/// Writes a message about a ledger that is not sound: the same findings once a Beijing day.
pub(super) async fn tell_of_ledger(parts: &Parts, report: &LedgerReport) {
    let Some(head) = Reconciler::new(parts).head(News::LedgerViolated, None) else {
        return;
    };
    if report.is_clean() {
        return;
    }
    let listed = || report.violations.iter().take(message::EXAMPLES_MAX);
    // What is wrong where: by how much may change from check to check.
    let places: Vec<String> = listed()
        .map(|it| format!("{} {}", it.finding.as_str(), it.place))
        .collect();
    let findings = listed()
        .map(|it| format!("{} {}: {}", it.finding.as_str(), it.place, it.detail))
        .collect();
    let today = crate::clock::bill_day(head.at);
    let event = sha256_hex(places.join("\n").as_bytes());
    let event = format!("ledger:{today}:{event}");
    let text = message::ledger(&head, report.violation_count, findings);
    if let Err(error) = parts.store.enqueue(&head, &event, &text).await {
        warn(&error);
    }
}

fn warn(error: &crate::ports::StoreError) {
    let error = error as &dyn std::error::Error;
    tracing::warn!(error, "a message about differences could not be written");
}
