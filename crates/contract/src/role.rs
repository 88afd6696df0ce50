//! The roles of `payment-runtime`: one program, one role per pod.

use std::fmt;

/// What one process of the runtime does. The name is the first argument of `payment-runtime`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Serves `POST /api/payments` and its siblings.
    Api,
    /// Receives the channels' callbacks.
    Callback,
    /// Asks the channels about payments whose outcome is open, closes what has expired.
    Worker,
    /// With no further argument serves reports; with `--date` or `--days` runs once and exits.
    Reconcile,
    /// Keeps orders and stock, and takes part in confirming payments.
    Orders,
    /// Brings the database schema up to date and exits.
    Migrate,
    /// Lets the stores accept next passwords, or forget former ones, and exits.
    Rotate,
    /// Every serving role in one process.
    All,
}

impl Role {
    pub const ALL: [Self; 8] = [
        Self::Api,
        Self::Callback,
        Self::Worker,
        Self::Reconcile,
        Self::Orders,
        Self::Migrate,
        Self::Rotate,
        Self::All,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Callback => "callback",
            Self::Worker => "worker",
            Self::Reconcile => "reconcile",
            Self::Orders => "orders",
            Self::Migrate => "migrate",
            Self::Rotate => "rotate",
            Self::All => "all",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
