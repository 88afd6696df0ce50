//! What the operator says about the Secrets it made: whose they are and how long they live. Their
//! values are made once, by `credentials`, and never written again.

use crds::resources::Retention;
use serde_json::json;

use super::{Manifest, Presence, Stage, common, labels::component};
use crate::{credentials, kinds::Kind, validate::ValidSystem};

pub fn manifests(system: &ValidSystem) -> Vec<Manifest> {
    credentials::needed(system)
        .into_iter()
        .map(|secret| {
            let (component, retention) = match secret {
                credentials::Generated::Mysql => (component::MYSQL, system.spec.mysql.retention),
                credentials::Generated::Redis => (component::REDIS, system.spec.redis.retention),
                credentials::Generated::Coordinator => {
                    (component::COORDINATOR, system.spec.mysql.retention)
                }
                credentials::Generated::Orders => (component::ORDERS, system.spec.mysql.retention),
                credentials::Generated::Simulator => (component::SIMULATOR, Retention::Delete),
            };
            let identity = (Kind::Secret, secret.name(&system.name), component);
            let manifest = match retention {
                Retention::Retain => common::retained(system, identity, Stage::Stores, json!({})),
                Retention::Delete => common::owned(system, identity, Stage::Stores, json!({})),
            };
            Manifest {
                presence: Presence::WhenPresent,
                ..manifest
            }
        })
        .collect()
}
