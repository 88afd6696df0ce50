//! How a piece of work wants to be in a global transaction.

use std::time::Duration;

use crate::branch::Xid;

/// What to do about the transaction that may already be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Propagation {
    /// Join it, or begin one.
    #[default]
    Required,
    /// Begin one, whether or not there is another.
    RequiresNew,
    /// Join it, or run without.
    Supports,
    /// Run without.
    NotSupported,
    /// Run without, and refuse if there is one.
    Never,
    /// Join it, and refuse if there is none.
    Mandatory,
}

/// Why a piece of work did not even start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropagationError {
    #[error("a global transaction is mandatory and there is none")]
    Missing,
    #[error("no global transaction is allowed here and {xid} is running")]
    Present { xid: Xid },
}

/// What a propagation comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plan {
    Launch,
    Join(Xid),
    Without,
}

impl Propagation {
    pub(super) fn plan(self, current: Option<Xid>) -> Result<Plan, PropagationError> {
        match (self, current) {
            (Self::RequiresNew, _) | (Self::Required, None) => Ok(Plan::Launch),
            (Self::Required | Self::Supports | Self::Mandatory, Some(xid)) => Ok(Plan::Join(xid)),
            (Self::NotSupported, _) | (Self::Supports | Self::Never, None) => Ok(Plan::Without),
            (Self::Mandatory, None) => Err(PropagationError::Missing),
            (Self::Never, Some(xid)) => Err(PropagationError::Present { xid }),
        }
    }
}

/// The settings of one global transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxOptions {
    /// Shown by the coordinator's console.
    pub name: String,
    /// Counted by the coordinator from the begin; after it the transaction is rolled back. It looks
    /// once a second.
    pub timeout: Duration,
    pub propagation: Propagation,
}

impl TxOptions {
    /// Required, with the coordinator's usual 60 s.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            timeout: Duration::from_mins(1),
            propagation: Propagation::default(),
        }
    }

    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    #[must_use]
    pub fn propagation(mut self, propagation: Propagation) -> Self {
        self.propagation = propagation;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_propagation_with_and_without_a_transaction() {
        let xid = || Xid::new("h:1:2");
        let join = || Ok(Plan::Join(xid()));
        let table = [
            (Propagation::Required, Ok(Plan::Launch), join()),
            (Propagation::RequiresNew, Ok(Plan::Launch), Ok(Plan::Launch)),
            (Propagation::Supports, Ok(Plan::Without), join()),
            (
                Propagation::NotSupported,
                Ok(Plan::Without),
                Ok(Plan::Without),
            ),
            (
                Propagation::Never,
                Ok(Plan::Without),
                Err(PropagationError::Present { xid: xid() }),
            ),
            (
                Propagation::Mandatory,
                Err(PropagationError::Missing),
                join(),
            ),
        ];
        for (propagation, without, with) in table {
            assert_eq!(propagation.plan(None), without, "{propagation:?}");
            assert_eq!(propagation.plan(Some(xid())), with, "{propagation:?}");
        }
    }
}
