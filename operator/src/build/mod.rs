//! Every manifest of a system.
//!
//! Pure: a [`ValidSystem`] and what was observed in, complete manifests out; equal input gives
//! equal bytes. Of what was observed only six things matter here: digests of Secrets, the size
//! volumes were claimed with, whether the schema is migrated, how far a rotation is, which pods are
//! left while the system is stopped, and which optional kinds exist.
//!
//! Not here: the order in which stages are opened (`gates`), comparing and writing (`apply`).

pub mod alerts;
pub mod common;
pub mod config;
pub mod coordinator;
pub mod expose;
pub mod labels;
pub mod monitoring;
pub mod mysql;
pub mod names;
pub mod network;
pub mod pod;
pub mod redis;
pub mod rotation;
pub mod runtime;
pub mod schedule;
pub mod secrets;
pub mod simulator;
pub mod stop;

use serde_json::Value;

use crate::{gates, kinds::Kind, observe::Observed, validate::ValidSystem};

/// When an object may be created. Objects that exist are corrected whatever their stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Waits for nothing: configuration, addresses, stores, simulator.
    Stores,
    /// Waits for the stores.
    Coordinator,
    /// Waits for stores and coordinator.
    Migration,
    /// Waits for the migrated schema and the channel keys.
    Services,
    /// Waits for the services.
    Operations,
}

/// Whether an object that is absent is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Always,
    /// Someone else makes the object; only what the operator has to say about it is applied.
    WhenPresent,
    /// The object is there and is not touched now.
    LeftAlone,
}

/// One desired object.
#[derive(Clone, Debug)]
pub struct Manifest {
    pub kind: Kind,
    pub name: String,
    pub stage: Stage,
    pub presence: Presence,
    pub value: Value,
    /// Replicas to start with where an autoscaler owns the number from then on.
    pub first_replicas: Option<i32>,
}

impl Manifest {
    /// The part of the system it belongs to.
    pub fn component(&self) -> &str {
        let component = &self.value["metadata"]["labels"][labels::COMPONENT];
        component.as_str().unwrap_or_default()
    }

    /// The same, to leave the object as it is: it is neither made nor changed.
    #[must_use]
    pub fn left_alone(self) -> Self {
        Self {
            presence: Presence::LeftAlone,
            ..self
        }
    }
}

/// A manifest could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error("cannot render the configuration of {what}")]
    Render {
        what: &'static str,
        source: contract::ConfigError,
    },
}

impl BuildError {
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Render { .. } => "RenderFailed",
        }
    }
}

/// All manifests, in the order in which they are applied.
pub fn build(system: &ValidSystem, observed: &Observed) -> Result<Vec<Manifest>, BuildError> {
    let mut manifests = secrets::manifests(system);
    manifests.extend(mysql::manifests(system, observed));
    manifests.extend(redis::manifests(system, observed));
    manifests.extend(coordinator::manifests(system, observed));
    manifests.extend(rotation::manifests(system, observed));
    manifests.extend(simulator::manifests(system, observed)?);
    manifests.extend(runtime::manifests(system, observed)?);
    manifests.extend(schedule::manifests(
        system,
        observed,
        &gates::rolled_image(system, observed),
    ));
    manifests.extend(network::manifests(system));
    manifests.extend(expose::manifests(system, observed));
    manifests.extend(monitoring::manifests(system, observed));
    manifests.sort_by_key(|manifest| (manifest.stage, manifest.kind));
    Ok(stop::hold(system, observed, manifests))
}
