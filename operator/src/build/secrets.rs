//! What the operator says about the Secrets it made: whose they are and how long they live. Their
//! values are made by `credentials`, and replaced by nothing but a `rotation`.

use crds::resources::Retention;
use serde_json::json;

use super::{Manifest, Presence, Stage, common};
use crate::{
    credentials::{self, Generated},
    kinds::Kind,
    validate::ValidSystem,
};

pub fn manifests(system: &ValidSystem) -> Vec<Manifest> {
    let needed = credentials::needed(system).into_iter();
    needed.map(|secret| manifest(system, secret)).collect()
}

/// What is said about one Secret.
pub fn manifest(system: &ValidSystem, secret: Generated) -> Manifest {
    let identity = (Kind::Secret, secret.name(&system.name), secret.component());
    let manifest = match secret.retention(system) {
        Retention::Retain => common::retained(system, identity, Stage::Stores, json!({})),
        Retention::Delete => common::owned(system, identity, Stage::Stores, json!({})),
    };
    Manifest {
        presence: Presence::WhenPresent,
        ..manifest
    }
}
