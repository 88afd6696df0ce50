//! Which optional kinds are installed, asked of the API server's discovery.
//!
//! For an operator of some namespaces: a definition belongs to the cluster, so its watch would
//! need a right there, while every user may read what kinds the API server serves. Discovery has
//! no watch, so it is asked at the start, then now and then, and soon when the watch of a kind
//! fails. One small answer for each group of kinds, whatever the number of namespaces.

use std::{collections::BTreeSet, time::Duration};

use kube::Client;
use tokio::{
    sync::{Notify, watch},
    time,
};
use tracing::{info, warn};

use crate::kinds::{Entry, KINDS, Kind};

/// Between two questions at least, whatever fails.
pub const SOONEST: Duration = Duration::from_secs(5);

/// What was found last, and who waits for it.
pub struct Discovery {
    every: Duration,
    doubts: Notify,
    found: watch::Sender<Option<BTreeSet<Kind>>>,
}

impl Discovery {
    /// One that looks again after `every`.
    pub fn new(every: Duration) -> Self {
        Self {
            every,
            doubts: Notify::new(),
            found: watch::Sender::new(None),
        }
    }

    /// The installed kinds, now and at each change; `None` until they are known.
    pub fn found(&self) -> watch::Receiver<Option<BTreeSet<Kind>>> {
        self.found.subscribe()
    }

    /// What was found may no longer be so.
    pub fn doubt(&self) {
        self.doubts.notify_one();
    }

    /// Asks, again and again. Never ends.
    pub async fn run(&self, client: Client) {
        loop {
            let known = match installed(&client).await {
                Ok(kinds) => {
                    self.tell(kinds);
                    true
                }
                Err(error) => {
                    warn!(%error, "cannot ask which kinds are installed; trying again");
                    self.found.borrow().is_some()
                }
            };
            time::sleep(SOONEST).await;
            if known {
                let rest = self.every.saturating_sub(SOONEST);
                let _ = time::timeout(rest, self.doubts.notified()).await;
            }
        }
    }

    fn tell(&self, kinds: BTreeSet<Kind>) {
        self.found.send_if_modified(|found| {
            let changed = found.as_ref() != Some(&kinds);
            if changed {
                let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
                info!(installed = names.join(", "), "optional kinds");
                *found = Some(kinds);
            }
            changed
        });
    }
}

/// The optional kinds that the API server serves.
async fn installed(client: &Client) -> kube::Result<BTreeSet<Kind>> {
    let optional = || KINDS.iter().filter(|entry| entry.optional);
    let groups: BTreeSet<String> = optional().map(Entry::api_version).collect();
    let mut kinds = BTreeSet::new();
    for group in groups {
        let served = served(client, &group).await?;
        let here = optional().filter(|entry| entry.api_version() == group);
        kinds.extend(
            here.filter(|entry| served.contains(entry.plural))
                .map(|entry| entry.kind),
        );
    }
    Ok(kinds)
}

/// Names of what is served in one version of a group; none where there is no such group, or where
/// the cluster does not tell everybody.
async fn served(client: &Client, group: &str) -> kube::Result<BTreeSet<String>> {
    match client.list_api_group_resources(group).await {
        Ok(list) => Ok(list.resources.into_iter().map(|kind| kind.name).collect()),
        // Of an unknown group the answer is plain text, which gives a Status with its code alone.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(BTreeSet::new()),
        Err(kube::Error::Api(status)) if status.code == 403 => {
            warn!(
                group,
                "discovery is not permitted: its kinds count as not installed"
            );
            Ok(BTreeSet::new())
        }
        Err(error) => Err(error),
    }
}
