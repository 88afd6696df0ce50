//! The root of the resource.

#![expect(
    clippy::duplicated_attributes,
    reason = "several printer columns have the same type; the lint takes them for repetitions"
)]

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    channels::Channels,
    credentials::Credentials,
    network::Network,
    operations::{Expose, Monitoring},
    orders::Orders,
    reconciliation::Reconciliation,
    rules,
    services::{Callback, Payment},
    status::PaymentSystemStatus,
    stores::{Mysql, Redis, TransactionCoordinator},
};

/// What a payment system is made of. Every section may be left out: the defaults give a complete
/// system, except that at least one payment channel must be switched on.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "paymentsystem.dev",
    version = "v1alpha1",
    kind = "PaymentSystem",
    plural = "paymentsystems",
    shortname = "paysys",
    category = "payments",
    namespaced,
    status = "PaymentSystemStatus",
    scale(
        spec_replicas_path = ".spec.payment.replicas",
        status_replicas_path = ".status.scale.replicas",
        label_selector_path = ".status.scale.selector"
    ),
    derive = "PartialEq",
    doc = "A complete payment system: database, cache, transaction coordinator, payment, callback and reconciliation services, autoscaling, schedules and alerts, kept as one ordered unit.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether the system takes payments as specified."
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "Why it is ready or not."
    ),
    printcolumn(
        name = "Version",
        type_ = "string",
        json_path = ".status.version",
        description = "Tag of the runtime image that is rolled out."
    ),
    printcolumn(
        name = "Payment",
        type_ = "string",
        json_path = ".status.payment",
        description = "Ready and wanted replicas of the payment service."
    ),
    printcolumn(
        name = "Callback",
        type_ = "string",
        json_path = ".status.callback",
        description = "Ready and wanted replicas of the callback service."
    ),
    printcolumn(
        name = "Differences",
        type_ = "integer",
        json_path = ".status.lastReconciliation.openDifferences",
        description = "Open differences after the last reconciliation run."
    ),
    printcolumn(
        name = "Waiting",
        type_ = "integer",
        priority = 1,
        json_path = ".status.lastReconciliation.waitingDifferences",
        description = "Rows near midnight that still wait for their other side."
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        priority = 1,
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        description = "What the system is waiting for."
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rules::SPEC))]
pub struct PaymentSystemSpec {
    /// The database of payments, managed here or an existing one. It keeps the only authoritative
    /// record of every payment.
    pub mysql: Mysql,
    /// The cache that answers repeated requests fast. Losing it loses no payment: the database
    /// decides.
    pub redis: Redis,
    /// The Apache Seata server that coordinates payment, order and stock as one global
    /// transaction.
    pub transaction_coordinator: TransactionCoordinator,
    /// The service that takes payments, and the workers that finish them.
    pub payment: Payment,
    /// The service that receives the channels' notifications.
    pub callback: Callback,
    /// How charged payments are confirmed with orders and stock. Left out, that the channel
    /// charged is all a payment needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orders: Option<Orders>,
    /// The scheduled comparison of our records with the channels' bills.
    pub reconciliation: Reconciliation,
    /// The payment channels, or the simulator that stands in for them.
    pub channels: Channels,
    /// When the passwords that the operator made are replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// ServiceMonitors and alert rules for the Prometheus Operator.
    pub monitoring: Monitoring,
    /// Who may talk to whom: closed but for what the system needs.
    pub network: Network,
    /// How the channels reach the callback service from outside. Left out, nothing is exposed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expose: Option<Expose>,
    /// `true` ends all pods of the system, services first and stores last, and keeps its data,
    /// credentials, addresses and configuration; `false` starts it again. Meanwhile no payment is
    /// taken, no callback received and no bill fetched.
    pub stopped: bool,
    /// `true` stops all changes to the system's objects until it is `false` again. What runs
    /// keeps running.
    pub paused: bool,
}
