//! WeChat Pay (APIv3) and Alipay (OpenAPI v1) as the internet shows them, with faults on demand.
//!
//! Guarantees: requests are authenticated over their exact bytes, answers and callbacks are signed
//! as the channels sign them; each channel keeps its own book, which is the judge of what was
//! charged; what goes wrong, goes wrong only because a fault was armed. Two ports: the channels'
//! own paths, and an admin port that plays the payer and arms the faults.
//!
//! Time: signatures and everything written on an order use wall time; `POST /clock` moves only the
//! channel's calendar, that is bill availability, retry ladders and ages: a new order still gets
//! today's `success_time`, and stands in today's bill.
//!
//! Deliberately not here: persistence (a restart is a new channel), Alipay's v3 REST, partner
//! (service provider) interfaces, coupons, pay codes, rate limits other than the fault, nonce
//! replay checks (the channels document none). Depends on `contract` alone: it must stay
//! independent of the code it tests.

mod admin;
mod alipay;
mod bills;
mod book;
mod callbacks;
mod certificates;
mod clock;
mod connection;
mod delivery;
mod faults;
mod fingerprint;
mod ids;
mod keyring;
mod keys;
mod money;
mod server;
mod wechat;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, header};
use contract::SimulatorConfig;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use keys::KeyError;

/// How long `stop` waits for answers under way.
const STOP_SECONDS_MAX: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    Wechat,
    Alipay,
}

impl fmt::Display for Channel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Wechat => "wechat",
            Self::Alipay => "alipay",
        })
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot prepare the keys")]
    Keys(#[source] KeyError),
    #[error("cannot make the callback client")]
    Client(#[source] reqwest::Error),
    #[error("cannot listen on {address}")]
    Listen {
        address: String,
        source: std::io::Error,
    },
}

/// Everything the handlers share. Locks are held for single decisions, never across a wait.
struct Simulator {
    keys: keyring::Keyring,
    clock: clock::Clock,
    faults: faults::Faults,
    wechat: Mutex<book::Book>,
    alipay: Mutex<book::Book>,
    certificates: wechat::Certificates,
    files: Mutex<bills::Files>,
    deliveries: delivery::Deliveries,
    http: reqwest::Client,
    public_url: Option<String>,
}

impl Simulator {
    fn book(&self, channel: Channel) -> MutexGuard<'_, book::Book> {
        locked(match channel {
            Channel::Wechat => &self.wechat,
            Channel::Alipay => &self.alipay,
        })
    }

    /// The URL under which this client reaches the public port.
    fn base_url(&self, headers: &HeaderMap) -> String {
        let host = || {
            headers
                .get(header::HOST)
                .and_then(|host| host.to_str().ok())
        };
        match &self.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{}", host().unwrap_or("localhost")),
        }
    }
}

/// A panic while a lock was held leaves whole values behind: every change is a single assignment.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A simulator that serves. Dropping it stops it without waiting.
pub struct Running {
    public: SocketAddr,
    admin: SocketAddr,
    keys: BTreeMap<&'static str, String>,
    certificate_keys: BTreeMap<&'static str, String>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Running {
    /// Where the channels' own paths are served.
    pub fn public(&self) -> SocketAddr {
        self.public
    }

    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// What a client needs at first, by the names of `contract::names::channel_key`.
    pub fn client_keys(&self) -> &BTreeMap<&'static str, String> {
        &self.keys
    }

    /// The same for Alipay's certificate mode: the seller and three certificates in place of
    /// Alipay's public key.
    pub fn certificate_keys(&self) -> &BTreeMap<&'static str, String> {
        &self.certificate_keys
    }

    /// Stops accepting, waits a while for answers under way.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_SECONDS_MAX, ended).await.is_err() {
            tracing::warn!("stopped with answers still under way");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Binds both ports and serves. Bound addresses are logged and returned: port 0 is supported.
pub async fn start(config: &SimulatorConfig) -> Result<Running, StartError> {
    let keys =
        keyring::Keyring::open(config.keys_directory.as_deref()).map_err(StartError::Keys)?;
    let made = keys.current();
    let simulator = Arc::new(Simulator {
        keys,
        clock: clock::Clock::default(),
        faults: faults::Faults::default(),
        wechat: Mutex::new(book::Book::new(book::Rules::WECHAT)),
        alipay: Mutex::new(book::Book::new(book::Rules::ALIPAY)),
        certificates: wechat::Certificates::default(),
        files: Mutex::default(),
        deliveries: delivery::Deliveries::default(),
        http: delivery::client().map_err(StartError::Client)?,
        public_url: config.public_url.clone(),
    });
    let public = listen(&config.listen).await?;
    let admin = listen(&config.admin_listen).await?;
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    let running_public = address(&public, &config.listen)?;
    let running_admin = address(&admin, &config.admin_listen)?;
    tasks.spawn(delivery::run(Arc::clone(&simulator), stop.clone()));
    tasks.spawn(server::public(Arc::clone(&simulator), public, stop.clone()));
    tasks.spawn(server::admin(simulator, admin, stop.clone()));
    tracing::info!(public = %running_public, admin = %running_admin, "channel simulator serves");
    Ok(Running {
        public: running_public,
        admin: running_admin,
        keys: made.client.clone(),
        certificate_keys: made.certificate_client.clone(),
        stop,
        tasks,
    })
}

async fn listen(address: &str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Listen {
            address: address.to_owned(),
            source,
        })
}

fn address(listener: &TcpListener, asked: &str) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|source| StartError::Listen {
        address: asked.to_owned(),
        source,
    })
}
