//! Names of the metrics that alert rules and dashboards refer to. Counters are exposed with the
//! suffix `_total`; the constants carry the full exposed name.

/// Counter `{channel, outcome="paid|failed|closed|unknown"}`: states that payments entered.
pub const PAYMENTS: &str = "payment_outcomes_total";
/// Histogram `{method, route, status}`: seconds from request to answer on the API.
pub const API_DURATION: &str = "payment_api_request_duration_seconds";
/// Counter `{channel, operation, outcome="done|refused|unknown"}`.
pub const CHANNEL_REQUESTS: &str = "payment_channel_requests_total";
/// Histogram `{channel, operation}`: seconds of one channel call.
pub const CHANNEL_DURATION: &str = "payment_channel_request_duration_seconds";
/// Counter `{channel, result="accepted|repeated|rejected|probe|failed"}`.
pub const CALLBACKS: &str = "payment_callbacks_total";
/// Histogram `{channel}`: seconds from receipt to acknowledgement.
pub const CALLBACK_DURATION: &str = "payment_callback_duration_seconds";
/// Gauge `{channel, class}`: differences that nobody has resolved.
pub const DIFFERENCES: &str = "payment_reconciliation_open_differences";
/// Gauge `{channel}`: Unix time at which the last complete run ended.
pub const RECONCILED_AT: &str = "payment_reconciliation_last_success_timestamp_seconds";
/// Gauge `{channel, class}`: differences that still wait for their other side.
pub const WAITING_DIFFERENCES: &str = "payment_reconciliation_waiting_differences";
/// Counter `{channel, class, outcome="corrected|capped"}`: corrections without a person.
pub const CORRECTIONS: &str = "payment_reconciliation_corrections_total";
/// Counter `{outcome="sent|failed"}`: webhook messages about differences.
pub const NOTIFICATIONS: &str = "payment_reconciliation_notifications_total";
/// Gauge `{channel}`: days whose newest bill was not accepted.
pub const REFUSED_BILLS: &str = "payment_reconciliation_refused_bills";
/// Gauge: entries of the ledger that no seal covers yet.
pub const LEDGER_UNSEALED: &str = "payment_ledger_unsealed_entries";
/// Gauge: rules of the ledger that do not hold.
pub const LEDGER_VIOLATIONS: &str = "payment_ledger_violations";
/// Gauge `{dependency="mysql|redis|coordinator"}`: 1 while it answers.
pub const DEPENDENCY_UP: &str = "payment_dependency_up";
/// Gauge `{state}`: payments that are not in a final state.
pub const OPEN_PAYMENTS: &str = "payment_open_payments";
/// Counter `{channel, outcome}`: states that refunds entered.
pub const REFUNDS: &str = "payment_refund_outcomes_total";
/// Gauge `{state}`: refunds that are not in a final state.
pub const OPEN_REFUNDS: &str = "payment_open_refunds";
/// Gauge: refunds stuck at the channel until a person acts there.
pub const STUCK_REFUNDS: &str = "payment_refunds_needing_attention";
/// Counter: ledger entries that this process sealed.
pub const LEDGER_SEALED: &str = "payment_ledger_entries_sealed_total";
/// Counter `{outcome="confirmed|refused|tried_again"}`: what came of confirming payments.
pub const CONFIRMATIONS: &str = "payment_confirmations_total";
/// Gauge: charged payments that wait to be confirmed.
pub const CONFIRMATIONS_WAITING: &str = "payment_confirmations_waiting";
/// Gauge: seconds since the oldest of them was charged.
pub const CONFIRMATIONS_OLDEST: &str = "payment_confirmations_oldest_waiting_seconds";
/// Gauge: refused payments whose money nobody gives back unless a person does.
pub const CONFIRMATIONS_ATTENTION: &str = "payment_confirmations_needing_attention";
/// Gauge: Unix time at which the certificate that the HTTPS port shows expires. Absent without one.
pub const CERTIFICATE_EXPIRY: &str = "payment_certificate_expiry_timestamp_seconds";
/// Gauge: 1 while the certificate's files cannot be used and the former certificate is shown.
pub const CERTIFICATE_UNUSABLE: &str = "payment_certificate_reload_failing";
