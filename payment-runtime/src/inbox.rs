//! What is done with a kept callback: it becomes evidence about its payment and its refund.
//!
//! Guarantees: a callback that came before its payment waits for it, a bounded number of times; a
//! callback about a refund also proves the charge, and is applied in that order; applying twice
//! changes nothing.

use std::time::Duration;

use channels::OrderStatus;
use payment_core::Source;

use crate::payments::{PayError, Payments};
use crate::records::{InboxEntry, PaymentRecord, SeenRefund, after};

/// Callbacks for payments that we do not have are kept this often, each time later: the last
/// time is about three days after the first.
const ATTEMPTS_MAX: u32 = 12;

impl Payments {
    /// Applies a kept callback.
    pub async fn process(&self, entry: &InboxEntry) -> Result<(), PayError> {
        let payment = self
            .records
            .payment_of_channel_order(entry.channel, &entry.channel_order_no)
            .await?;
        let Some(payment) = payment else {
            return self.postpone(entry).await;
        };
        let status = OrderStatus {
            state: entry.seen.state,
            transaction_id: Some(entry.transaction_id.clone()),
            amount: Some(entry.seen.amount),
            paid_at: entry.seen.paid_at,
        };
        let applied = self
            .apply_status(&payment, &status, Source::Callback)
            .await?;
        let outcome = match &entry.seen.refund {
            Some(refund) => self.process_refund(&payment, refund).await?,
            None => applied.decision.as_str(),
        };
        self.records
            .settle_callback(entry.id, outcome, None)
            .await?;
        Ok(())
    }

    async fn process_refund(
        &self,
        payment: &PaymentRecord,
        said: &SeenRefund,
    ) -> Result<&'static str, PayError> {
        let refund = match &said.channel_refund_no {
            Some(number) => {
                self.records
                    .refund_of_channel_number(payment.channel, number)
                    .await?
            }
            None => None,
        };
        if let Some(refund) = refund.filter(|refund| refund.payment_no == payment.payment_no) {
            return Ok(self.apply_seen_refund(&refund, said).await?.as_str());
        }
        // Begun outside this system, at the channel's own console for example: the bill brings it
        // into the books.
        let payment_no = &payment.payment_no;
        tracing::error!(%payment_no, "a callback tells of a refund that is not ours");
        Ok("no-such-refund")
    }

    async fn postpone(&self, entry: &InboxEntry) -> Result<(), PayError> {
        let number = &entry.channel_order_no;
        let (outcome, again_at) = if entry.attempts >= ATTEMPTS_MAX {
            tracing::error!(channel = %entry.channel, number, "a callback names an order we do not have");
            ("no-such-payment", None)
        } else {
            let pause = Duration::from_secs(30) * 2_u32.saturating_pow(entry.attempts);
            ("waiting-for-payment", Some(after(self.now(), pause)))
        };
        self.records
            .settle_callback(entry.id, outcome, again_at)
            .await?;
        Ok(())
    }
}
