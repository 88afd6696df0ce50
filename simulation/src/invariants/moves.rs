//! Which moves are allowed, and on whose word: written down a second time, by hand, so that a
//! slip in the runtime's tables shows as a difference.

/// Sources that may speak about money.
const VERIFIED: &[&str] = &["query", "callback", "bill"];

/// Whether a payment may go from one state to another because of this.
#[expect(
    clippy::match_same_arms,
    reason = "a table: one line for each move, whoever may bring it about"
)]
pub fn payment_may(from: Option<&str>, to: &str, source: &str, observation: &str) -> bool {
    let verified = VERIFIED.contains(&source);
    match (from, to, observation) {
        (None, "SUBMITTING", "requested") => source == "api",
        (Some("SUBMITTING"), "UNKNOWN", "unclear") => true,
        (Some("SUBMITTING" | "UNKNOWN"), "PENDING", "accepted") => source == "answer" || verified,
        (Some("SUBMITTING"), "FAILED", "not-sent" | "refused") => source == "answer",
        (Some("SUBMITTING" | "UNKNOWN"), "FAILED", "not-found") => source == "query",
        (Some("PENDING"), "CLOSED", "not-found") => source == "query",
        (Some("SUBMITTING" | "UNKNOWN" | "PENDING"), "PAID", "paid")
        | (Some("SUBMITTING" | "UNKNOWN" | "PENDING"), "CLOSED", "closed")
        | (Some("FAILED" | "CLOSED"), "PAID_AFTER_CLOSE", "paid") => verified,
        (Some("PAID_AFTER_CLOSE"), "PAID" | "PARTLY_REFUNDED", "reopened") => source == "policy",
        (Some(from), to, "refunded") => follows_refunds(from, to),
        _ => false,
    }
}

/// Refunds move a charged payment among the charged states only.
fn follows_refunds(from: &str, to: &str) -> bool {
    const CHARGED: [&str; 4] = ["PAID", "PARTLY_REFUNDED", "REFUNDED", "PAID_AFTER_CLOSE"];
    let lost_its_way = from != "REFUNDED" && to == "PAID_AFTER_CLOSE";
    let forgot = from == "PAID_AFTER_CLOSE" && to != "REFUNDED";
    CHARGED.contains(&from) && CHARGED.contains(&to) && from != to && !lost_its_way && !forgot
}

/// Whether a refund may go from one state to another because of this.
#[expect(
    clippy::match_same_arms,
    reason = "a table: one line for each move, whoever may bring it about"
)]
pub fn refund_may(from: Option<&str>, to: &str, source: &str, observation: &str) -> bool {
    let verified = VERIFIED.contains(&source);
    let signed = verified || source == "answer";
    match (from, to, observation) {
        (None, "CREATED" | "SUBMITTING", "refund-requested") => true,
        (Some("CREATED"), "SUBMITTING", "due") => source == "clock",
        (Some("SUBMITTING"), "UNKNOWN", "unclear") => true,
        (Some("SUBMITTING" | "UNKNOWN"), "PENDING", "accepted" | "abnormal") => signed,
        (Some("SUBMITTING"), "FAILED", "refused") => source == "answer",
        (Some("SUBMITTING" | "PENDING" | "UNKNOWN"), "FAILED", "failed") => signed,
        (Some("UNKNOWN"), "SUBMITTING", "not-found") => source == "query",
        (
            Some("CREATED" | "SUBMITTING" | "PENDING" | "UNKNOWN" | "FAILED"),
            "SUCCEEDED",
            "succeeded",
        ) => signed,
        (Some("SUCCEEDED"), "REVERSED", "failed") => verified,
        _ => false,
    }
}
