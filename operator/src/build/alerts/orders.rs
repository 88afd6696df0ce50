//! Alerts about the confirmation of charged payments with orders and stock.

use contract::metrics::{CONFIRMATIONS_ATTENTION, CONFIRMATIONS_OLDEST};

use super::{Alert, CRITICAL, Scope, WARNING, alert};

impl Scope<'_> {
    pub(super) fn orders(&self) -> Vec<Alert> {
        if self.system.spec.orders.is_none() {
            return Vec::new();
        }
        let labels = &self.labels;
        vec![
            alert(
                "ConfirmationsWaiting",
                (WARNING, "5m"),
                format!("max({CONFIRMATIONS_OLDEST}{{{labels}}}) > 600"),
                (
                    "A charged payment is not confirmed with its order",
                    "The oldest has waited for {{ $value | humanizeDuration }}. The order service does not answer, or the coordinator is away: the column `problem` of the table payment_confirmations and the workers' log say why. Payments wait for the coordinator as long as it takes; after orders.maxTries tries without an answer of the order service they are refused.",
                ),
            ),
            alert(
                "RefusedPaymentsNeedAttention",
                (CRITICAL, "0m"),
                format!("max({CONFIRMATIONS_ATTENTION}{{{labels}}}) > 0"),
                (
                    "Orders refused payments whose money nobody gives back",
                    "{{ $value }} charged payments were refused by the order service, and payment.paidAfterClose is manual: decide about each and refund it.",
                ),
            ),
        ]
    }
}
