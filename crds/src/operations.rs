//! Reconciliation, monitoring and exposure.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{resources::Resources, rules};

/// Scheduled comparison of our records with the channels' bills.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules::RECONCILIATION))]
pub struct Reconciliation {
    /// When runs start, in cron format with five fields, Beijing time. A run that is due while
    /// another one works is skipped.
    #[schemars(length(max = 100), extend("x-kubernetes-validations" = rules::CRON))]
    pub schedule: String,
    /// Finished days that each run compares.
    #[schemars(range(min = 1, max = 90))]
    pub days: i32,
    /// Rows read at once.
    #[schemars(range(min = 1, max = 100_000))]
    pub batch_size: i32,
    /// Comparisons done side by side.
    #[schemars(range(min = 1, max = 64))]
    pub workers: i32,
    /// Time after which a run is stopped, in milliseconds.
    #[schemars(range(min = 10_000, max = 86_400_000))]
    pub timeout_milliseconds: i64,
    /// Open differences that are tolerated; one more makes the alert fire.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub difference_threshold: i64,
    /// A second schedule, for one thorough run per day.
    pub daily_run: DailyRun,
    /// `true` starts no new runs.
    pub suspend: bool,
    /// Compute resources of a run, and of the service that serves reports.
    pub resources: Resources,
}

impl Default for Reconciliation {
    fn default() -> Self {
        Self {
            schedule: "0/30 * * * *".to_owned(),
            days: 7,
            batch_size: 1000,
            workers: 5,
            timeout_milliseconds: 600_000,
            difference_threshold: 0,
            daily_run: DailyRun::default(),
            suspend: false,
            resources: Resources::requesting("25m", "64Mi"),
        }
    }
}

/// One thorough run per day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DailyRun {
    /// `true` starts the daily run.
    pub enabled: bool,
    /// When it starts, in cron format with five fields, Beijing time.
    #[schemars(length(max = 100), extend("x-kubernetes-validations" = rules::CRON))]
    pub schedule: String,
}

impl Default for DailyRun {
    fn default() -> Self {
        Self {
            enabled: false,
            schedule: "0 2 * * *".to_owned(),
        }
    }
}

/// What is made for the Prometheus Operator, where its resource types exist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules::MONITORING))]
pub struct Monitoring {
    /// `true` makes PodMonitors and a PrometheusRule with all alerts.
    pub enabled: bool,
    /// Labels put on them, so that your Prometheus selects them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub labels: BTreeMap<String, String>,
}

impl Default for Monitoring {
    fn default() -> Self {
        Self {
            enabled: true,
            labels: BTreeMap::new(),
        }
    }
}

/// How the callback service is reached from outside: by Gateway API or by Ingress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules::EXPOSE))]
pub struct Expose {
    /// Makes an HTTPRoute on existing Gateways.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewayExposure>,
    /// Makes an Ingress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress: Option<IngressExposure>,
}

/// An HTTPRoute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GatewayExposure {
    /// The Gateways the route attaches to.
    #[schemars(length(min = 1, max = 8))]
    pub parent_refs: Vec<ParentRef>,
    /// Host names of the route. The first one is told to the channels.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 253), regex(pattern = HOST_NAME)))]
    pub hostnames: Vec<String>,
}

/// A Gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// Name of the Gateway.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the Gateway. Left out: this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// Listener of the Gateway. Left out: all that fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
}

/// An Ingress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IngressExposure {
    /// IngressClass that serves it.
    #[serde(default = "ingress_class")]
    #[schemars(length(min = 1, max = 253))]
    pub class_name: String,
    /// Host name, which is told to the channels.
    #[schemars(length(min = 1, max = 253), regex(pattern = HOST_NAME))]
    pub host: String,
    /// Secret in this namespace with the certificate (`tls.crt`, `tls.key`). The channels only
    /// call HTTPS.
    #[schemars(length(min = 1, max = 253))]
    pub tls_secret_name: String,
}

const HOST_NAME: &str = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$";

fn ingress_class() -> String {
    "nginx".to_owned()
}
