//! The alerts: what is worth waking someone for, one table per concern.

mod books;
mod certificates;
mod coordinator;
mod orders;

use contract::metrics::{
    API_DURATION, CALLBACK_DURATION, CALLBACKS, CHANNEL_REQUESTS, DEPENDENCY_UP, OPEN_PAYMENTS,
    PAYMENTS, STUCK_REFUNDS,
};

use serde_json::{Value, json};

use super::names;
use crate::validate::ValidSystem;

const RUNBOOKS: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/docs/runbooks");

/// One alert.
#[derive(Clone, Debug)]
pub struct Alert {
    pub name: &'static str,
    pub expression: String,
    /// How long the expression must hold.
    pub pending: &'static str,
    pub severity: &'static str,
    pub summary: &'static str,
    pub description: String,
    /// Page of `docs/runbooks` that is called like the alert.
    pub runbook: bool,
}

impl Alert {
    /// The rule of a PrometheusRule, with labels beside its severity.
    pub fn rule(&self, labels: &[(&str, &str)]) -> Value {
        let mut rule = json!({
            "alert": self.name,
            "expr": self.expression,
            "for": self.pending,
            "labels": {"severity": self.severity},
            "annotations": {"summary": self.summary, "description": self.description},
        });
        for (label, value) in labels {
            rule["labels"][label] = json!(value);
        }
        if self.runbook {
            rule["annotations"]["runbook_url"] = json!(format!("{RUNBOOKS}/{}.md", self.name));
        }
        rule
    }

    fn with_runbook(self) -> Self {
        Self {
            runbook: true,
            ..self
        }
    }
}

/// How the names of pods go on after that of their system. Another system's name may begin with
/// this one's, so that they have to be spelt out.
const COMPONENTS: &str = "payment|callback|worker|reconciliation|orders|migrate|rotate|mysql|redis|coordinator|channel-simulator";

/// Every alert of a system.
pub fn all(system: &ValidSystem) -> Vec<Alert> {
    let scope = Scope {
        labels: format!(
            "namespace=\"{}\",pod=~\"{}-({COMPONENTS})-.*\"",
            system.namespace, system.name
        ),
        system,
    };
    [
        scope.payments(),
        scope.channels(),
        scope.reconciliation(),
        scope.ledger(),
        scope.callbacks(),
        scope.certificates(),
        scope.resources(),
        scope.coordinator(),
        scope.orders(),
        scope.dependencies(),
    ]
    .concat()
}

struct Scope<'a> {
    labels: String,
    system: &'a ValidSystem,
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
        runbook: false,
    }
}

const CRITICAL: &str = "critical";
const WARNING: &str = "warning";

impl Scope<'_> {
    fn rate(&self, metric: &str, matchers: &str) -> String {
        format!("sum(rate({metric}{{{}{matchers}}}[5m]))", self.labels)
    }

    fn p99(&self, histogram: &str, matchers: &str) -> String {
        format!(
            "histogram_quantile(0.99, sum by (le) (rate({histogram}_bucket{{{}{matchers}}}[5m])))",
            self.labels
        )
    }

    fn payments(&self) -> Vec<Alert> {
        let paid = self.rate(PAYMENTS, ",outcome=\"paid\"");
        let decided = self.rate(PAYMENTS, ",outcome=~\"paid|failed|unknown\"");
        let latency = self.p99(API_DURATION, ",method=\"POST\",route=\"/api/payments\"");
        let requests = self.rate(
            &format!("{API_DURATION}_count"),
            ",method=\"POST\",route=\"/api/payments\"",
        );
        let deployment = names::payment(&self.system.name);
        let namespace = &self.system.namespace;
        vec![
            alert(
                "PaymentSuccessRateLow",
                (CRITICAL, "5m"),
                format!("{paid} / {decided} < 0.99"),
                (
                    "Fewer than 99 % of payments succeed",
                    "{{ $value | humanizePercentage }} of the payments that were decided in the last 5 minutes succeeded. Compare the channels' error rates, then the events of failed payments.",
                ),
            ),
            alert(
                "PaymentLatencyHigh",
                (WARNING, "5m"),
                format!("{latency} > 3"),
                (
                    "Creating a payment takes longer than 3 s",
                    "The 99th percentile is {{ $value | humanizeDuration }}. Look at the channels' latency and at the database first.",
                ),
            ),
            alert(
                "PaymentRateSurge",
                (WARNING, "2m"),
                format!("{requests} > 2000"),
                (
                    "More than 2000 payments per second",
                    "{{ $value | humanize }} requests per second arrive. Check whether they are genuine and whether the autoscaler keeps up.",
                ),
            ),
            alert(
                "PaymentServiceDown",
                (CRITICAL, "1m"),
                format!(
                    "kube_deployment_status_replicas_available{{namespace=\"{namespace}\",deployment=\"{deployment}\"}} == 0 or absent(kube_deployment_status_replicas_available{{namespace=\"{namespace}\",deployment=\"{deployment}\"}})"
                ),
                (
                    "No replica of the payment service is available",
                    "No payment can be taken. `kubectl describe paymentsystem` names the object that blocks.",
                ),
            ),
        ]
    }

    fn channels(&self) -> Vec<Alert> {
        let errors = |channel: &str| {
            let failed = self.rate(
                CHANNEL_REQUESTS,
                &format!(",channel=\"{channel}\",outcome!=\"done\""),
            );
            let total = self.rate(CHANNEL_REQUESTS, &format!(",channel=\"{channel}\""));
            format!("{failed} / {total} > 0.05")
        };
        let labels = &self.labels;
        vec![
            alert(
                "WechatErrorsHigh",
                (CRITICAL, "5m"),
                errors("wechat"),
                (
                    "More than 5 % of the requests to WeChat Pay fail",
                    "{{ $value | humanizePercentage }} of the requests were refused or had no known outcome. Payments without a known outcome are asked about until the channel answers.",
                ),
            ),
            alert(
                "AlipayErrorsHigh",
                (CRITICAL, "5m"),
                errors("alipay"),
                (
                    "More than 5 % of the requests to Alipay fail",
                    "{{ $value | humanizePercentage }} of the requests were refused or had no known outcome. Payments without a known outcome are asked about until the channel answers.",
                ),
            ),
            alert(
                "MoneyAfterClose",
                (CRITICAL, "5m"),
                format!("max({OPEN_PAYMENTS}{{{labels},state=\"PAID_AFTER_CLOSE\"}}) > 0"),
                (
                    "A channel charged payments that were closed or failed",
                    "{{ $value }} payments hold money that their orders were not waiting for. With the policy refund it is being given back: look at the refunds of these payments. With manual, decide about each.",
                ),
            ),
            alert(
                "RefundsStuck",
                (CRITICAL, "5m"),
                format!("max({STUCK_REFUNDS}{{{labels}}}) > 0"),
                (
                    "Refunds wait for a person at the channel",
                    "{{ $value }} refunds are abnormal at the channel, for example because the payer's account is closed. Settle them in the channel's merchant console.",
                ),
            ),
        ]
    }

    fn callbacks(&self) -> Vec<Alert> {
        let failed = self.rate(CALLBACKS, ",result=~\"rejected|failed\"");
        let total = self.rate(CALLBACKS, ",result!=\"probe\"");
        let latency = self.p99(CALLBACK_DURATION, "");
        vec![
            alert(
                "CallbackFailuresHigh",
                (CRITICAL, "5m"),
                format!("{failed} / {total} > 0.01"),
                (
                    "More than 1 % of the callbacks fail",
                    "{{ $value | humanizePercentage }} of the callbacks were rejected or could not be stored. Rejected ones point to a wrong or rotated key.",
                ),
            ),
            alert(
                "CallbackLatencyHigh",
                (WARNING, "5m"),
                format!("{latency} > 1"),
                (
                    "Acknowledging a callback takes longer than 1 s",
                    "The 99th percentile is {{ $value | humanizeDuration }}. The channels give up after 5 s and repeat.",
                ),
            ),
        ]
    }

    fn resources(&self) -> Vec<Alert> {
        let labels = &self.labels;
        let namespace = &self.system.namespace;
        let name = &self.system.name;
        let limit = |resource: &str| {
            format!(
                "sum by (pod) (kube_pod_container_resource_limits{{{labels},resource=\"{resource}\"}})"
            )
        };
        let hpa =
            format!("namespace=\"{namespace}\",horizontalpodautoscaler=~\"{name}-({COMPONENTS})\"");
        vec![
            alert(
                "PodCpuHigh",
                (WARNING, "10m"),
                format!(
                    "sum by (pod) (rate(container_cpu_usage_seconds_total{{{labels},container!=\"\"}}[5m])) / {} > 0.9",
                    limit("cpu")
                ),
                (
                    "A pod uses more than 90 % of its CPU limit",
                    "Pod {{ $labels.pod }} uses {{ $value | humanizePercentage }} of its limit and is about to be throttled.",
                ),
            ),
            alert(
                "PodMemoryHigh",
                (WARNING, "10m"),
                format!(
                    "sum by (pod) (container_memory_working_set_bytes{{{labels},container!=\"\"}}) / {} > 0.9",
                    limit("memory")
                ),
                (
                    "A pod uses more than 90 % of its memory limit",
                    "Pod {{ $labels.pod }} uses {{ $value | humanizePercentage }} of its limit and is about to be killed.",
                ),
            ),
            alert(
                "AutoscalerAtMaximum",
                (WARNING, "15m"),
                format!(
                    "kube_horizontalpodautoscaler_status_current_replicas{{{hpa}}} >= kube_horizontalpodautoscaler_spec_max_replicas{{{hpa}}}"
                ),
                (
                    "An autoscaler cannot add replicas any more",
                    "{{ $labels.horizontalpodautoscaler }} has been at its maximum of {{ $value }} replicas. Raise maxReplicas if the load is genuine.",
                ),
            ),
        ]
    }

    fn dependencies(&self) -> Vec<Alert> {
        let down = |dependency: &str| {
            format!(
                "max({DEPENDENCY_UP}{{{},dependency=\"{dependency}\"}}) == 0 or sum({DEPENDENCY_UP}{{{},dependency=\"{dependency}\"}} == bool 0) > 1",
                self.labels, self.labels
            )
        };
        vec![
            alert(
                "MysqlConnectionFailing",
                (CRITICAL, "1m"),
                down("mysql"),
                (
                    "Services cannot reach MySQL",
                    "No payment can be taken while the database does not answer.",
                ),
            ),
            alert(
                "RedisConnectionFailing",
                (WARNING, "2m"),
                down("redis"),
                (
                    "Services cannot reach Redis",
                    "Payments go on; repeats are answered by the database alone and load on it rises.",
                ),
            ),
            alert(
                "CoordinatorConnectionFailing",
                (CRITICAL, "2m"),
                down("coordinator"),
                (
                    "Services cannot reach the transaction coordinator",
                    "Payments are charged but not confirmed; they are confirmed when the coordinator is back.",
                ),
            ),
        ]
    }
}
