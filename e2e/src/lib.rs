//! What black-box tests and the tour need to know about a running payment system.
//!
//! Everything works over any kubeconfig: nothing here knows how the cluster came to be, and nothing
//! uses the operator's or the runtime's code. Waiting is always for a condition, with a deadline
//! and a failure that names the object that blocks and what happened to it last.
//!
//! Deliberately not here: what the tests claim (`tests/`), what the tour prints (`bin/tour`),
//! what `bin/chaos` and `bin/ordering`
//! do to the system.

pub mod access;
pub mod api;
pub mod audit;
pub mod chance;
pub mod cluster;
pub mod diagnosis;
pub mod environment;
pub mod killing;
pub mod load;
pub mod ordering;
pub mod orders;
pub mod prometheus;
pub mod runs;
pub mod scene;
pub mod simulator;
pub mod small_system;
pub mod system;
pub mod usage;
pub mod wait;

pub use api::{Answer, Order, PaymentApi};
pub use chance::Chance;
pub use cluster::Cluster;
pub use environment::Environment;
pub use load::Load;
pub use orders::OrderService;
pub use prometheus::Prometheus;
pub use scene::Scene;
pub use simulator::{Charge, Simulator};
pub use system::System;
pub use wait::{Seen, until};
