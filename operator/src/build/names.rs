//! Names of a system's objects, each made from the system's name in one place.

macro_rules! names {
    ($($(#[$doc:meta])* $function:ident => $suffix:literal;)*) => {
        $($(#[$doc])* pub fn $function(system: &str) -> String {
            format!("{system}-{}", $suffix)
        })*
    };
}

names! {
    /// StatefulSet, Service, ConfigMap and Secret of the database.
    mysql => "mysql";
    redis => "redis";
    coordinator => "coordinator";
    /// Headless Service that gives the coordinator's pods their names.
    coordinator_pods => "coordinator-pods";
    payment => "payment";
    callback => "callback";
    worker => "worker";
    /// Deployment, Service and Secret of the order service.
    orders => "orders";
    /// Deployment, Service and CronJob.
    reconciliation => "reconciliation";
    reconciliation_daily => "reconciliation-daily";
    /// ConfigMap and ServiceMonitor of the runtime.
    runtime => "runtime";
    /// ConfigMap of the specification that was accepted last.
    accepted => "accepted";
    simulator => "channel-simulator";
    alerts => "alerts";
    /// NetworkPolicy of all pods.
    all => "all";
    migration_prefix => "migrate-";
    rotation_prefix => "rotate-";
}

/// NetworkPolicy of a component's pods.
pub fn policy(system: &str, component: &str) -> String {
    format!("{system}-{component}")
}
