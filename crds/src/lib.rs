//! The `PaymentSystem` resource: types, defaults and the rules a schema cannot say.
//!
//! Guarantees: every default is written once, in a `Default` implementation, and is visible in
//! the generated schema; every field carries a description that reads in `kubectl explain`; every
//! rule the API server can check is a CEL rule in `rules`, with a message that says what to do.
//!
//! Deliberately not here: what is built from a resource (`operator`), and any check that needs
//! another object.

pub mod channels;
pub mod credentials;
pub mod network;
pub mod operations;
pub mod orders;
pub mod reconciliation;
pub mod resources;
mod rules;
pub mod schema;
pub mod services;
pub mod status;
pub mod stores;
pub mod system;
pub mod tls;

pub use schema::{crd, crd_yaml};
pub use status::PaymentSystemStatus;
pub use system::{PaymentSystem, PaymentSystemSpec};

/// Group of all resources, prefix of all our labels and annotations.
pub const GROUP: &str = "paymentsystem.dev";
