//! The services that run all the time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    resources::{Autoscaling, Resources},
    rules,
    tls::CertificateRef,
};

/// The payment service and its workers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = [rules::PAYMENT, rules::SCALED].concat()))]
pub struct Payment {
    /// Image of the payment runtime, used by every service of this system. Left out: the image
    /// the operator was installed with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 500), extend("x-kubernetes-validations" = rules::IMAGE))]
    pub image: Option<String>,
    /// Replicas while autoscaling is off.
    #[schemars(range(min = 1, max = 1000))]
    pub replicas: i32,
    /// When replicas are added and removed.
    pub autoscaling: Autoscaling,
    /// Compute resources of one replica.
    pub resources: Resources,
    /// The workers that ask the channels about open payments.
    pub workers: Workers,
    /// How long the cache answers repeats of one order, in seconds. After that the database
    /// answers them: an order is charged once, whatever this value is.
    #[schemars(range(min = 1, max = 86_400))]
    pub idempotency_window_seconds: i64,
    /// Time a payer has when the request does not say, in seconds.
    #[schemars(range(min = 60, max = 604_800))]
    pub expires_in_seconds: i64,
    /// What is done with money that comes after a payment was closed or failed: `refund` gives it
    /// back, `reopen` takes the payment as paid after all (unless the order has a later attempt),
    /// `manual` only raises the alarm.
    pub paid_after_close: PaidAfterClose,
    /// Whether what concurrent requests record is committed together: several times the payments
    /// for the same processor time. A request that comes alone is committed alone, at once.
    pub batching: bool,
    /// Certificate of the service. With it the service speaks HTTPS and nothing else, on the same
    /// ports; a renewed certificate is taken up without a restart. Left out: plain HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_ref: Option<CertificateRef>,
}

/// What is done with money that comes after a payment was closed or failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PaidAfterClose {
    #[default]
    Refund,
    Reopen,
    Manual,
}

impl Default for Payment {
    fn default() -> Self {
        Self {
            image: None,
            replicas: 3,
            autoscaling: Autoscaling::default(),
            resources: Resources::requesting("100m", "96Mi"),
            workers: Workers::default(),
            idempotency_window_seconds: 300,
            expires_in_seconds: 7200,
            paid_after_close: PaidAfterClose::default(),
            batching: true,
            certificate_ref: None,
        }
    }
}

/// The workers of the payment service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Workers {
    /// Number of workers. They share the work and take over from each other.
    #[schemars(range(min = 1, max = 100))]
    pub replicas: i32,
    /// Compute resources of one worker.
    pub resources: Resources,
}

impl Default for Workers {
    fn default() -> Self {
        Self {
            replicas: 1,
            resources: Resources::requesting("25m", "48Mi"),
        }
    }
}

/// The callback service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules::SCALED))]
pub struct Callback {
    /// Replicas while autoscaling is off.
    #[schemars(range(min = 1, max = 1000))]
    pub replicas: i32,
    /// When replicas are added and removed.
    pub autoscaling: Autoscaling,
    /// Compute resources of one replica.
    pub resources: Resources,
    /// Certificate of the service. With it the service speaks HTTPS and nothing else, on the same
    /// ports; a renewed certificate is taken up without a restart. Left out: plain HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_ref: Option<CertificateRef>,
}

impl Default for Callback {
    fn default() -> Self {
        Self {
            replicas: 3,
            autoscaling: Autoscaling::default(),
            resources: Resources::requesting("100m", "96Mi"),
            certificate_ref: None,
        }
    }
}
