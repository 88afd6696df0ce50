//! The CEL rules: what a schema cannot say, each with a message that says what to do.
//!
//! The API server evaluates them on every write, so a resource that breaks one never reaches the
//! operator. Each rule has, in the operator's tests, a resource that breaks it and one that
//! differs from that in a single field and is accepted; a rule without them fails those tests.
//!
//! A value that breaks one rule breaks no other for the same cause, so that one mistake gives one
//! message. Everything a rule looks at is bounded (`maxLength`, `maxItems`): the API server
//! estimates what a rule may cost and refuses the definition if it is too much.

mod services;
mod shared;
mod stores;

use serde::Serialize;

pub(crate) use services::*;
pub(crate) use shared::*;
pub(crate) use stores::*;

/// One `x-kubernetes-validations` entry.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Rule {
    pub(crate) rule: &'static str,
    pub(crate) message: &'static str,
}

const fn rule(rule: &'static str, message: &'static str) -> Rule {
    Rule { rule, message }
}

/// On the whole object.
pub(crate) const ROOT: &[Rule] = &[
    rule(
        "self.metadata.name.size() <= 30",
        "metadata.name must have at most 30 characters: names of its objects are made from it",
    ),
    rule(
        "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "metadata.name must start with a letter and have only a-z, 0-9 and '-': Services are named after it",
    ),
];

/// On `spec`: what concerns several sections, and what the defaults alone do not satisfy (the
/// schema's own defaults must pass the rules of their section).
pub(crate) const SPEC: &[Rule] = &[
    rule(
        "self.channels.simulator || self.channels.wechat.enabled || self.channels.alipay.enabled",
        "switch on a channel: set channels.wechat.enabled, channels.alipay.enabled or channels.simulator to true",
    ),
    rule(
        "self.channels.simulator || has(self.channels.callbackBaseUrl) || has(self.expose)",
        "the channels must know where to call back: set channels.callbackBaseUrl or expose",
    ),
    rule(
        "has(self.mysql.external) || self.mysql.maxConnections >= 50 + 10 * (2 + self.payment.workers.replicas + (self.payment.autoscaling.enabled ? self.payment.autoscaling.maxReplicas : self.payment.replicas) + (self.callback.autoscaling.enabled ? self.callback.autoscaling.maxReplicas : self.callback.replicas) + (has(self.orders) && !has(self.orders.external) ? self.orders.replicas : 0))",
        "mysql.maxConnections is too small for the replicas: allow 10 per replica of payment (at its maximum), callback (at its maximum), orders and workers, 20 for reconciliation and 50 for the coordinator",
    ),
    rule(
        "has(self.orders) || !has(oldSelf.orders)",
        "orders cannot be removed from a living system: charged payments that wait to be confirmed would wait for ever",
    ),
    rule(
        "!has(self.mysql.external) || !has(oldSelf.mysql.external) || self.mysql.external.host == oldSelf.mysql.external.host || self.paused",
        "mysql.external.host is changed together with paused: true, so that nothing follows before the data has moved; once it has, set paused to false",
    ),
    rule(
        "!has(self.transactionCoordinator.external) || !has(oldSelf.transactionCoordinator.external) || self.transactionCoordinator.external.host == oldSelf.transactionCoordinator.external.host || self.paused",
        "transactionCoordinator.external.host is changed together with paused: true, because open global transactions are known to the present one alone; once none is open, set paused to false",
    ),
    rule(
        "!has(self.callback.certificateRef) || !self.channels.simulator",
        "callback.certificateRef: the simulator calls plain HTTP; remove it, or set channels.simulator to false",
    ),
    rule(
        "!has(self.callback.certificateRef) || !has(self.expose) || !has(self.expose.ingress)",
        "callback.certificateRef: an Ingress has no portable way to speak HTTPS to a Service; remove it, or expose by gateway",
    ),
];
