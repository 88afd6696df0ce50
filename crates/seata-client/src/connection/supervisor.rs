//! Keeps a channel to every coordinator the configured names stand for.
//!
//! Names are looked up before every connect, so that a coordinator that came back with another
//! address is found and one that is gone is forgotten. Nothing is ever connected to because it was
//! once right.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::backoff::{Trouble, draw, pause};
use super::handshake;
use super::hub::Hub;
use super::link::{Driver, Link};

/// What is known of one address.
struct Endpoint {
    running: bool,
    failures: u32,
    /// Not connected to before.
    due: Instant,
}

/// How one attempt at an address ended.
struct Ended {
    address: SocketAddr,
    trouble: Trouble,
    /// It served long enough to count as a success.
    served: bool,
}

/// Runs until the client stops, and then until all channels are flushed and closed.
pub(super) async fn supervise(hub: Arc<Hub>) {
    let mut attempts = JoinSet::new();
    tokio::select! {
        () = hub.stop.cancelled() => {}
        () = keep(&hub, &mut attempts) => {}
    }
    // Channels end by themselves once stopped; a peer that reads nothing must not hold this up.
    let ended = timeout(hub.config.connect_timeout, async {
        while attempts.join_next().await.is_some() {}
    });
    if ended.await.is_err() {
        tracing::warn!("a channel could not be flushed in time");
    }
}

async fn keep(hub: &Arc<Hub>, attempts: &mut JoinSet<Ended>) {
    let mut endpoints: HashMap<SocketAddr, Endpoint> = HashMap::new();
    let mut unresolved = 0_u32;
    loop {
        let (found, all) = resolve(hub).await;
        unresolved = if all { 0 } else { unresolved.saturating_add(1) };
        let now = Instant::now();
        endpoints.retain(|address, endpoint| endpoint.running || found.contains(address));
        for address in found {
            let endpoint = endpoints.entry(address).or_insert(Endpoint {
                running: false,
                failures: 0,
                due: now,
            });
            if !endpoint.running && endpoint.due <= now {
                endpoint.running = true;
                attempts.spawn(attempt(Arc::clone(hub), address));
            }
        }
        let wake = wake(hub, &endpoints, unresolved, now);
        tokio::select! {
            Some(ended) = attempts.join_next() => {
                // A panic in an attempt would be a fault of this crate; the address is tried again.
                if let Ok(ended) = ended {
                    settle(hub, &mut endpoints, &ended);
                } else {
                    endpoints.clear();
                }
            }
            () = sleep_until(wake) => {}
        }
    }
}

/// When there is something to do again, unless a channel ends before.
fn wake(
    hub: &Hub,
    endpoints: &HashMap<SocketAddr, Endpoint>,
    unresolved: u32,
    now: Instant,
) -> Instant {
    let mut wake = now + hub.config.refresh;
    if unresolved > 0 {
        wake = wake.min(now + pause(&hub.config, unresolved, Trouble::Nobody, draw));
    }
    endpoints
        .values()
        .filter(|endpoint| !endpoint.running)
        .map(|endpoint| endpoint.due)
        .fold(wake, Instant::min)
}

fn settle(hub: &Hub, endpoints: &mut HashMap<SocketAddr, Endpoint>, ended: &Ended) {
    let Some(endpoint) = endpoints.get_mut(&ended.address) else {
        return;
    };
    if ended.served {
        endpoint.failures = 0;
    }
    endpoint.running = false;
    endpoint.due = Instant::now() + pause(&hub.config, endpoint.failures, ended.trouble, draw);
    endpoint.failures = endpoint.failures.saturating_add(1);
}

/// The addresses of a `host:port`.
pub(super) type Lookup =
    Box<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// As the system looks names up; an address is its own.
pub(super) fn system_lookup() -> Lookup {
    Box::new(|name| Box::pin(async { Ok(tokio::net::lookup_host(name).await?.collect()) }))
}

/// All addresses of all names, and whether every name had one.
async fn resolve(hub: &Hub) -> (BTreeSet<SocketAddr>, bool) {
    let mut found = BTreeSet::new();
    let mut all = true;
    for name in &hub.config.addresses {
        match timeout(hub.config.connect_timeout, (hub.lookup)(name.clone())).await {
            Ok(Ok(addresses)) => found.extend(addresses),
            Ok(Err(error)) => {
                tracing::debug!(%name, %error, "a coordinator's name has no address");
                all = false;
            }
            Err(_) => {
                tracing::debug!(%name, "a coordinator's name was not looked up in time");
                all = false;
            }
        }
    }
    (found, all)
}

/// One channel from its connect to its end.
async fn attempt(hub: Arc<Hub>, address: SocketAddr) -> Ended {
    let connected = tokio::select! {
        connected = handshake::connect(&hub, address) => connected,
        () = hub.stop.cancelled() => Err((Trouble::Failed, "the client stopped".to_owned())),
    };
    match connected {
        Err((trouble, why)) => {
            tracing::debug!(%address, %why, "no channel to the coordinator");
            hub.metrics.connect_failed();
            Ended {
                address,
                trouble,
                served: false,
            }
        }
        Ok((link, driver)) => {
            let started = Instant::now();
            serve(&hub, &link, driver).await;
            Ended {
                address,
                trouble: Trouble::Failed,
                // One that ends as soon as it is registered is to be tried less and less often.
                served: started.elapsed() >= hub.config.write_idle,
            }
        }
    }
}

async fn serve(hub: &Arc<Hub>, link: &Arc<Link>, driver: Driver) {
    tracing::info!(address = %link.address, "registered with the coordinator");
    let registered = driver.resources_version;
    hub.add(Arc::clone(link));
    // In the list first, then a look whether resources came meanwhile: whoever adds one does it the
    // other way round, so that one of the two sees the other.
    let catch_up = async {
        let (resources, version) = hub.dispatcher.registered();
        if version != registered
            && let Err(error) = hub.register_resources(link, resources).await
        {
            tracing::warn!(address = %link.address, %error, "resources were not registered");
        }
        std::future::pending::<()>().await;
    };
    let why = tokio::select! {
        why = link.drive(hub, driver) => why,
        () = catch_up => String::new(),
    };
    hub.remove(link);
    tracing::info!(address = %link.address, %why, "the channel to the coordinator ended");
}
