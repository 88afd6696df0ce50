//! Who may talk to whom.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{rules, schema};

/// NetworkPolicies that close every pod of the system but for what it needs (docs/network.md).
/// They need a network plugin that enforces them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules::NETWORK))]
pub struct Network {
    /// `false` makes no NetworkPolicy at all: whoever reaches the pods may talk to them. Policies
    /// of your own are then all there is.
    pub policies: bool,
    /// Namespaces whose pods may call the payment API, this one only if it is named. Left out:
    /// everybody who reaches it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::namespaces")]
    pub client_namespaces: Vec<String>,
    /// Namespaces whose pods may read metrics. Left out: pods of any namespace with the label
    /// `app.kubernetes.io/name: prometheus` (or `prometheus-agent`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::namespaces")]
    pub monitoring_namespaces: Vec<String>,
    /// Where the payment channels are reached, such as `203.0.113.0/24`. Left out: at every public
    /// address. It does not concern the simulator.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(length(min = 1, max = 43)),
        extend("x-kubernetes-validations" = rules::CIDRS)
    )]
    pub egress_cidrs: Vec<String>,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            policies: true,
            client_namespaces: Vec::new(),
            monitoring_namespaces: Vec::new(),
            egress_cidrs: Vec::new(),
        }
    }
}
