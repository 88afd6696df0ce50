//! The payment operator: turns one `PaymentSystem` into a running payment system and keeps it so.
//!
//! One pass: [`observe`] (from watch caches) → [`validate`] (pure) → [`credentials`] (made once,
//! replaced by a [`rotation`]) → [`build`] (pure: every manifest) → [`apply`] (server-side apply, only where desired ⊄ live,
//! stage by stage) → [`report`] (status and events, only on change).
//!
//! Of several operators one writes: the holder of a lease ([`leader`]); the others keep their caches
//! warm. Every request passes [`requests`], which lets no write through without the lease.
//!
//! Guarantees: equal input gives equal manifests; at rest nothing is written; data and
//! credentials outlive the `PaymentSystem` unless its owner opted into deletion; a crash between
//! any two requests is repaired by the next pass.
//!
//! Deliberately not here: anything about payments; access to the database; the values of
//! Secrets, of which only digests are kept.

pub mod acceptance;
pub mod apply;
pub mod build;
pub mod cache;
mod compact;
pub mod controller;
pub mod credentials;
pub mod decimal;
pub mod discovery;
pub mod events;
pub mod gates;
pub mod health;
pub mod install;
pub mod keys;
pub mod kinds;
pub mod leader;
pub mod metrics;
pub mod observe;
mod pass;
pub mod quantity;
pub mod reconciliation;
pub mod report;
pub mod requests;
pub mod rollout;
pub mod rotation;
pub mod scope;
pub mod server;
pub mod subset;
pub mod traffic;
pub mod validate;
pub mod watches;

/// Owner of all fields the operator applies.
pub const FIELD_MANAGER: &str = "payment-operator";
