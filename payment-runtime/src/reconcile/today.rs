//! Today's traffic: no bill shows it yet, so the channels are asked.
//!
//! Guarantees: payments of today that are open, or ended without a charge, are asked about, the
//! oldest first, at most a batch of each channel in a run; what the channel says goes through the
//! transition table like any other evidence.
//!
//! Deliberately not here: payments that are charged. Only verified evidence made them so.

use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use payment_core::ChannelKind;

use super::Reconciler;
use crate::clock;
use crate::ports::StoreError;
use crate::records::PaymentRecord;

/// The worker asks about younger payments often enough by itself.
const SETTLING: Duration = Duration::from_mins(10);

impl Reconciler {
    /// Returns how many payments the channels answered for.
    pub(super) async fn ask_about_today(
        &self,
        channels: &[ChannelKind],
    ) -> Result<u64, StoreError> {
        let now = self.now();
        let since = clock::beginning_of(clock::bill_day(now));
        let until = now.checked_sub(SETTLING).unwrap_or(now);
        let mut answered = 0;
        for channel in channels {
            let limit = self.settings().batch_size;
            let unsettled = self
                .books
                .unsettled_since(*channel, since, until, limit)
                .await?;
            let at_once = self.settings().workers.max(1) as usize;
            let asked = stream::iter(unsettled)
                .map(|payment| self.ask_about_payment(payment))
                .buffered(at_once);
            answered += asked
                .filter(|answered| std::future::ready(*answered))
                .count()
                .await as u64;
        }
        Ok(answered)
    }

    async fn ask_about_payment(&self, payment: PaymentRecord) -> bool {
        let payment_no = payment.payment_no.clone();
        let asked = if payment.status.is_open() {
            self.payments.ask(payment).await
        } else {
            self.payments.ask_once_more(payment).await
        };
        match asked {
            Ok(asked) => asked.answered,
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%payment_no, error, "a payment of today could not be asked about");
                false
            }
        }
    }
}
