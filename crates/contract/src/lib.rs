//! What the operator, the runtime and the channel simulator must agree on.
//!
//! Guarantees: one type per configuration file, written by the operator and parsed by the process
//! that reads it; unknown keys are refused; ports, paths, Secret keys, role and metric names are
//! spelled exactly once, here.
//!
//! Deliberately not here: any decision about money (`payment-core`), any Kubernetes type (`crds`),
//! any I/O.

pub mod config;
pub mod metrics;
pub mod names;
pub mod ports;
pub mod role;
pub mod simulator;
pub mod summary;

pub use config::{ConfigError, RuntimeConfig};
pub use role::Role;
pub use simulator::SimulatorConfig;
pub use summary::RunSummary;
