//! Money that came after a payment was closed or failed.
//!
//! Guarantees: it is given back or taken as paid after all, by the configured policy; a refund
//! that fails is begun again under a new number, at the payment's own pace, until the payment is
//! whole or out of refunds. The alarm is the metric of open payments in PAID_AFTER_CLOSE.

use contract::config::PaidAfterClose;
use payment_core::guards::holds;
use payment_core::{Guard, Money, PaymentState};

use crate::payments::{PayError, Payments};
use crate::records::{PaymentRecord, RefundOrigin};
use crate::refunds::RefundRequest;

impl Payments {
    /// Does what the policy says with a payment in PAID_AFTER_CLOSE.
    pub async fn settle_late(&self, payment: PaymentRecord) -> Result<(), PayError> {
        if payment.status != PaymentState::PaidAfterClose || !holds(Guard::LateMoneyIsHandled) {
            return Ok(());
        }
        match self.config.payment.paid_after_close {
            PaidAfterClose::Refund => self.give_back(payment, RefundOrigin::PaidAfterClose).await,
            PaidAfterClose::Reopen => self.reopen_or_give_back(payment).await,
            PaidAfterClose::Manual => Ok(()),
        }
    }

    async fn reopen_or_give_back(&self, payment: PaymentRecord) -> Result<(), PayError> {
        let reopened = self.records.reopen(&payment.payment_no, self.now()).await?;
        match reopened {
            Some(payment) => {
                self.metrics
                    .payment_entered(payment.channel, payment.status);
                tracing::info!(payment_no = %payment.payment_no, "late payment reopened");
                Ok(())
            }
            None => self.give_back(payment, RefundOrigin::PaidAfterClose).await,
        }
    }

    /// Refunds what nobody has asked back yet. A refund under way is the refunds' own work.
    pub(crate) async fn give_back(
        &self,
        payment: PaymentRecord,
        origin: RefundOrigin,
    ) -> Result<(), PayError> {
        let rest = payment.amount.minor - payment.reserved.minor;
        if rest <= 0 {
            return Ok(());
        }
        // The count goes up with every refund, so each try has a number of its own, and two
        // workers at once have the same.
        let refund_no = format!("late-{}", payment.reserved.count + 1);
        let request = RefundRequest {
            request_hash: format!("{refund_no}:{rest}"),
            refund_no,
            amount: Money::new(rest, payment.amount.currency),
            reason: None,
            origin,
        };
        match self.refund(payment, &request).await {
            Ok(_) => Ok(()),
            Err(PayError::RefundReused { .. } | PayError::RefundRefused(_)) => {
                // Another refund came in between: the next look sees it.
                tracing::warn!("an automatic refund has to wait for another one");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
