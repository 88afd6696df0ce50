//! Monitoring and exposure.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;

/// What is made for the Prometheus Operator, where its resource types exist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules::MONITORING))]
pub struct Monitoring {
    /// `true` makes ServiceMonitors and a PrometheusRule with all alerts.
    pub enabled: bool,
    /// Labels put on them, so that your Prometheus selects them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 253}))]
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
#[schemars(extend("x-kubernetes-validations" = rules::GATEWAY))]
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
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = rules::OBJECT_NAME))]
    pub name: String,
    /// Namespace of the Gateway. Left out: this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), extend("x-kubernetes-validations" = rules::OBJECT_NAME))]
    pub namespace: Option<String>,
    /// Listener of the Gateway. Left out: all that fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = rules::OBJECT_NAME))]
    pub section_name: Option<String>,
}

/// An Ingress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IngressExposure {
    /// IngressClass that serves it.
    #[serde(default = "ingress_class")]
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = rules::OBJECT_NAME))]
    pub class_name: String,
    /// Host name, which is told to the channels.
    #[schemars(length(min = 1, max = 253), regex(pattern = HOST_NAME))]
    pub host: String,
    /// Secret in this namespace with the certificate (`tls.crt`, `tls.key`). The channels only
    /// call HTTPS.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = rules::OBJECT_NAME))]
    pub tls_secret_name: String,
}

const HOST_NAME: &str = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$";

fn ingress_class() -> String {
    "nginx".to_owned()
}
