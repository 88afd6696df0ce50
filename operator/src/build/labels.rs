//! Labels and annotations.

use serde_json::{Value, json};

pub const NAME: &str = "app.kubernetes.io/name";
pub const INSTANCE: &str = "app.kubernetes.io/instance";
pub const COMPONENT: &str = "app.kubernetes.io/component";
pub const PART_OF: &str = "app.kubernetes.io/part-of";
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub const MANAGER: &str = "payment-operator";
const APPLICATION: &str = "payment-system";

/// What the operator watches: its own objects and nothing else.
pub const SELECTOR: &str = "app.kubernetes.io/managed-by=payment-operator";

/// Digest of the manifest that was applied last: notices fields that were taken out of it.
pub const DESIRED_HASH: &str = "paymentsystem.dev/desired-hash";
/// Digest of the configuration a pod consumes: a change rolls the pods that consume it.
pub const CONFIG_HASH: &str = "paymentsystem.dev/config-hash";
/// Digest of the Secrets a pod consumes.
pub const CREDENTIALS_HASH: &str = "paymentsystem.dev/credentials-hash";
/// Digest of the pod template that was applied last.
pub const TEMPLATE_HASH: &str = "paymentsystem.dev/template-hash";
/// On pods: why those before them were replaced.
pub const RESTART_REASON: &str = "paymentsystem.dev/restart-reason";
/// On a PaymentSystem: a new value lets this operator render anew what another version made.
pub const TAKE_RENDERING: &str = "paymentsystem.dev/take-rendering";
/// Which rotation the values of a Secret belong to.
pub const ROTATION: &str = "paymentsystem.dev/rotation";
/// Which rotation its next values belong to.
pub const NEXT_ROTATION: &str = "paymentsystem.dev/next-rotation";
/// Digests by which a store's pod knows values of a Secret that came to it without a restart.
pub const STORE_DIGESTS: &str = "paymentsystem.dev/store-digests";

/// On a workload or schedule that was stopped with its system, until it starts again.
pub const STOPPED: &str = "paymentsystem.dev/stopped";

/// The parts of a system, as the component label spells them.
pub mod component {
    pub const MYSQL: &str = "mysql";
    pub const REDIS: &str = "redis";
    pub const COORDINATOR: &str = "coordinator";
    pub const PAYMENT: &str = "payment";
    pub const CALLBACK: &str = "callback";
    pub const WORKER: &str = "worker";
    pub const ORDERS: &str = "orders";
    pub const RECONCILIATION: &str = "reconciliation";
    pub const RECONCILIATION_RUN: &str = "reconciliation-run";
    pub const MIGRATION: &str = "migration";
    pub const ROTATION: &str = "rotation";
    pub const SIMULATOR: &str = "channel-simulator";
    pub const RUNTIME: &str = "runtime";
    pub const MONITORING: &str = "monitoring";
    pub const NETWORK: &str = "network";
}

/// Labels of every object. They never change during an object's life: selectors and volume claims
/// are made from them.
pub fn all(system: &str, component: &str) -> Value {
    json!({
        NAME: APPLICATION,
        INSTANCE: system,
        COMPONENT: component,
        PART_OF: APPLICATION,
        MANAGED_BY: MANAGER,
    })
}

/// Labels by which a workload finds its pods.
pub fn selector(system: &str, component: &str) -> Value {
    json!({INSTANCE: system, COMPONENT: component})
}
