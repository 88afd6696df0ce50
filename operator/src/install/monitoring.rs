//! How Prometheus sees the operator: what is scraped, and what is worth waking someone for.
//!
//! For clusters with the Prometheus Operator. Each alert names the page of `docs/runbooks` that
//! says what to do.
//!
//! Not here: alerts of a payment system, which the operator makes with the system
//! (`build::alerts`).

use serde_json::{Value, json};

use super::{document, labels, metadata};
use crate::build::alerts::Alert;

const CRITICAL: &str = "critical";
const WARNING: &str = "warning";

/// The ServiceMonitor and the PrometheusRule of the operator, as YAML documents.
pub fn yaml(namespace: &str) -> Result<String, serde_saphyr::ser::Error> {
    let monitor = json!({
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "ServiceMonitor",
        "metadata": metadata(namespace),
        "spec": {
            "selector": {"matchLabels": labels()},
            "endpoints": [{"port": "metrics", "path": "/metrics", "interval": "15s"}],
        },
    });
    let rule = json!({
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": metadata(namespace),
        "spec": {"groups": groups(namespace)},
    });
    Ok(["", &document(&monitor)?, &document(&rule)?].join("---\n"))
}

/// The groups of the PrometheusRule.
pub fn groups(namespace: &str) -> Value {
    let alerts = alerts(namespace);
    let rules: Vec<Value> = alerts.iter().map(|alert| alert.rule(&[])).collect();
    json!([{"name": format!("{namespace}-payment-operator"), "rules": rules}])
}

fn alert(
    name: &'static str,
    (severity, pending): (&'static str, &'static str),
    expression: String,
    (summary, description): (&'static str, &str),
) -> Alert {
    Alert {
        name,
        expression,
        pending,
        severity,
        summary,
        description: description.to_owned(),
        runbook: true,
    }
}

fn alerts(namespace: &str) -> Vec<Alert> {
    let own = format!("namespace=\"{namespace}\"");
    [leading(&own), working(&own)].concat()
}

/// Exactly one operator leads, and it is not another every few minutes.
fn leading(own: &str) -> Vec<Alert> {
    vec![
        alert(
            "PaymentOperatorNotLeading",
            (CRITICAL, "3m"),
            format!("(sum(payment_operator_leads{{{own}}}) or vector(0)) < 1"),
            (
                "No payment operator leads",
                "Payment systems go on as they are, but no edit, failure or new Secret is acted upon.",
            ),
        ),
        alert(
            "PaymentOperatorLeadershipFlaps",
            (WARNING, "0m"),
            format!("max(delta(payment_operator_lease_transitions{{{own}}}[1h])) > 3"),
            (
                "The payment operator's lease changes hands again and again",
                "{{ $value | humanize }} times within an hour. An operator that loses its lease ends and begins anew.",
            ),
        ),
    ]
}

/// What is to be done gets done, and comes to an end.
fn working(own: &str) -> Vec<Alert> {
    let failed =
        format!("sum(increase(payment_operator_passes_total{{{own},result!=\"done\"}}[15m]))");
    let done =
        format!("sum(increase(payment_operator_passes_total{{{own},result=\"done\"}}[15m]))");
    let bad = "outcome=~\"failed|forbidden|no_answer|unreachable|throttled\"";
    vec![
        alert(
            "PaymentOperatorStuck",
            (CRITICAL, "5m"),
            format!(
                "min(min_over_time(payment_operator_queue_depth{{{own}}}[10m]) and payment_operator_leads{{{own}}} == 1) > 0 unless {done} > 0"
            ),
            (
                "PaymentSystems wait, and no pass over any comes to an end",
                "{{ $value }} PaymentSystems at least have waited for 10 minutes. Passes fail or hang.",
            ),
        ),
        alert(
            "PaymentOperatorPassesFail",
            (WARNING, "10m"),
            format!("{failed} > 0 and {failed} > ({done} or vector(0))"),
            (
                "Most passes over PaymentSystems fail",
                "{{ $value | humanize }} failed within 15 minutes, more than came to an end. The log and each status name what could not be written.",
            ),
        ),
        alert(
            "PaymentOperatorFlaps",
            (WARNING, "30m"),
            format!("sum(rate(payment_operator_writes_total{{{own}}}[5m])) > 0.05"),
            (
                "The payment operator writes without end",
                "{{ $value | humanize }} writes a second for 30 minutes. At rest it writes nothing: somebody else changes back what it writes, or keeps editing.",
            ),
        ),
        alert(
            "PaymentSystemDoesNotConverge",
            (WARNING, "5m"),
            format!("max(payment_operator_converging_longest_seconds{{{own}}}) > 1800"),
            (
                "A PaymentSystem has not been as specified for half an hour",
                "It has been waited for for {{ $value | humanizeDuration }}. Its conditions name the part, and what is waited for.",
            ),
        ),
        alert(
            "PaymentSystemConvergesSlowly",
            (WARNING, "15m"),
            format!(
                "histogram_quantile(0.9, sum by (le) (rate(payment_operator_converge_seconds_bucket{{{own}}}[1h]))) > 600"
            ),
            (
                "PaymentSystems take longer than 10 minutes to become ready",
                "One in ten changes of the last hour took longer than {{ $value | humanizeDuration }}.",
            ),
        ),
        alert(
            "PaymentOperatorRequestsFail",
            (WARNING, "10m"),
            format!(
                "sum(rate(payment_operator_requests_total{{{own},{bad}}}[5m])) / sum(rate(payment_operator_requests_total{{{own}}}[5m])) > 0.1"
            ),
            (
                "More than a tenth of the operator's requests to the API server fail",
                "{{ $value | humanizePercentage }} of the last 5 minutes.",
            ),
        ),
    ]
}
