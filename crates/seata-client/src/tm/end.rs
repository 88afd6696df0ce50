//! Commit and rollback, tried again where no clear answer came.

use std::time::Duration;

use crate::branch::{CoordinatorError, Xid};
use crate::codec::GlobalStatus;
use crate::connection::Client;

use super::outcome::{self, Commit};

/// Between two tries, so that a coordinator in trouble is not asked five times at once.
const PAUSE: Duration = Duration::from_millis(100);

/// What a commit came to, with the coordinator's last word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Committed {
    pub(super) outcome: Commit,
    pub(super) status: Option<GlobalStatus>,
    pub(super) cause: String,
}

pub(super) async fn commit(client: &Client, xid: &Xid) -> Committed {
    let mut asked = false;
    let mut cause = String::new();
    for left in (0..client.hub.config.end_tries).rev() {
        match client.commit(xid).await {
            Ok(status) => {
                return Committed {
                    outcome: outcome::of_commit(status, asked),
                    status: Some(status),
                    cause: if asked { cause } else { String::new() },
                };
            }
            Err(error) => {
                // Whatever reached the coordinator may have been decided there.
                asked |= !matches!(error, CoordinatorError::NoChannel { .. });
                tracing::warn!(%xid, %error, left, "a commit was not answered clearly");
                cause = error.to_string();
            }
        }
        wait(client, left).await;
    }
    Committed {
        // Nothing was ever sent, and nobody else commits: its time-out will roll it back.
        outcome: if asked {
            Commit::Unknown
        } else {
            Commit::NotCommitted
        },
        status: None,
        cause,
    }
}

pub(super) async fn rollback(client: &Client, xid: &Xid) -> Result<GlobalStatus, CoordinatorError> {
    let mut last = CoordinatorError::NoChannel {
        message: "no try is allowed".to_owned(),
    };
    for left in (0..client.hub.config.end_tries).rev() {
        match client.rollback(xid).await {
            Ok(status) => return Ok(status),
            Err(error) => {
                tracing::warn!(%xid, %error, left, "a rollback was not answered clearly");
                last = error;
            }
        }
        wait(client, left).await;
    }
    Err(last)
}

/// Until it makes sense to try again: a little, and longer while there is no channel.
async fn wait(client: &Client, left: u32) {
    if left > 0 {
        tokio::time::sleep(PAUSE).await;
        // Without a channel the next try says so itself.
        let _ = client.ready(client.hub.config.end_wait).await;
    }
}
