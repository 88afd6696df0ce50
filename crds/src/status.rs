//! What the operator reports.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator observed. Conditions follow kstatus, so that `kubectl wait`, Helm and Flux
/// can wait for `Ready`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PaymentSystemStatus {
    /// Generation of the specification that this status describes; `-1` before the first look.
    pub observed_generation: i64,
    /// `Ready` sums up; `Reconciling` and `Stalled` are present only while true; one further
    /// condition per part.
    #[schemars(
        schema_with = "conditions",
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
    /// The parts of the system, in the order in which they start.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub components: Vec<Component>,
    /// Tag or digest of the runtime image that is rolled out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Ready and wanted replicas of the payment service, such as `3/3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment: Option<String>,
    /// Ready and wanted replicas of the callback service, such as `3/3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callback: Option<String>,
    /// What the scale subresource shows: the payment service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
    /// Which rotation of the credentials is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<CredentialsStatus>,
    /// Result of the last finished reconciliation run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_reconciliation: Option<LastReconciliation>,
    /// What became of a rollout that harmed payments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// Which operator rendered the objects, and from what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rendering: Option<Rendering>,
}

/// What the scale subresource shows: the payment service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Scale {
    /// Pods there are.
    pub replicas: i64,
    /// Labels by which they are found, as `a=b,c=d`.
    pub selector: String,
}

/// What became of a rollout that harmed payments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Rollout {
    /// The specification that was taken back. It is not tried again until it is edited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
}

/// A specification that was taken back while it was rolled out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// Digest of everything that was specified.
    pub inputs: String,
    /// Its generation.
    pub generation: i64,
    /// What its pods did.
    pub message: String,
    /// When it was taken back, RFC 3339 in UTC.
    pub at: String,
}

/// Which operator rendered the objects, and from what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rendering {
    /// Version of the operator.
    pub operator: String,
    /// Digest of everything that was specified.
    pub inputs: String,
}

/// Which rotation of the credentials is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsStatus {
    /// The value of `spec.credentials.rotation` that the credentials in use belong to.
    pub rotation: String,
}

/// One workload of the system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    /// Name of the object.
    pub name: String,
    /// Kind of the object.
    pub kind: String,
    /// Ready and wanted replicas, such as `1/1`.
    pub ready: String,
    /// Image it runs.
    pub image: String,
}

/// Result of a reconciliation run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastReconciliation {
    /// When the run ended, RFC 3339 in UTC.
    pub finished_at: String,
    /// First day it compared.
    pub from: String,
    /// Last day it compared.
    pub to: String,
    /// Rows that agreed.
    pub matched: i64,
    /// Differences that are open, over all days.
    pub open_differences: i64,
    /// Bills the channels had not made yet.
    #[serde(default)]
    pub pending_bills: i64,
    /// Rows near midnight that still wait for their other side, over all days.
    #[serde(default)]
    pub waiting_differences: i64,
    /// Differences that the run corrected by itself.
    #[serde(default)]
    pub corrected: i64,
    /// Bills that could not be trusted or read.
    #[serde(default)]
    pub refused_bills: i64,
    /// Whether the compared days add up to the fen. Absent: the run made no proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof_holds: Option<bool>,
    /// Rules of the ledger that do not hold.
    #[serde(default)]
    pub ledger_violations: i64,
}

fn conditions(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "array",
        "items": {
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {"type": "string", "description": "What the condition is about."},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"], "description": "Whether it holds."},
                "observedGeneration": {"type": "integer", "format": "int64", "description": "Generation of the specification it was computed for."},
                "lastTransitionTime": {"type": "string", "format": "date-time", "description": "When `status` changed last."},
                "reason": {"type": "string", "description": "Cause in one word, for programs."},
                "message": {"type": "string", "description": "Cause in words: which object is waited for, and what to do."}
            }
        }
    })
}
