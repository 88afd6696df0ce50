//! What all parts of a client share: the live channels, the resources, and the choice of the channel
//! a request goes to.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::dispatch::Dispatcher;
use super::handshake;
use super::link::Link;
use super::refusal;
use super::supervisor::Lookup;
use super::transport::Transport;
use crate::branch::{CoordinatorError, Xid};
use crate::codec::Message;
use crate::config::Config;
use crate::metrics::Metrics;

pub(crate) struct Hub {
    pub(crate) config: Config,
    pub(crate) metrics: Metrics,
    pub(super) dispatcher: Dispatcher,
    pub(super) lookup: Lookup,
    pub(super) transport: Transport,
    links: RwLock<Vec<Arc<Link>>>,
    ready: watch::Sender<bool>,
    turn: AtomicUsize,
    /// The first sign that the channels are to be flushed and closed.
    pub(super) stop: CancellationToken,
    /// Second phases, and the ends of transactions that outlive whoever began them.
    pub(crate) tasks: TaskTracker,
}

impl Hub {
    pub(super) fn new(
        config: Config,
        transport: Transport,
        metrics: Metrics,
        lookup: Lookup,
    ) -> Self {
        Self {
            dispatcher: Dispatcher::new(&config),
            config,
            metrics,
            lookup,
            transport,
            links: RwLock::default(),
            ready: watch::Sender::new(false),
            turn: AtomicUsize::new(0),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    pub(super) fn links(&self) -> Vec<Arc<Link>> {
        self.links
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn readiness(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }

    /// From here on requests go over it.
    pub(super) fn add(&self, link: Arc<Link>) {
        let mut links = self.links.write().unwrap_or_else(PoisonError::into_inner);
        links.push(link);
        self.metrics.channel_up();
        self.ready.send_replace(true);
    }

    pub(super) fn remove(&self, link: &Arc<Link>) {
        let mut links = self.links.write().unwrap_or_else(PoisonError::into_inner);
        links.retain(|one| !Arc::ptr_eq(one, link));
        self.metrics.channel_down();
        self.ready.send_replace(!links.is_empty());
    }

    /// The coordinator that began the transaction first; if none of these did, they take turns.
    fn candidates(&self, xid: Option<&Xid>) -> Vec<Arc<Link>> {
        let mut links = self.links();
        links.retain(|link| link.is_live());
        let begun_by = xid.and_then(|xid| links.iter().position(|it| it.began(xid.as_str())));
        let first = match begun_by {
            Some(first) => first,
            None if links.len() > 1 => self.turn.fetch_add(1, Ordering::Relaxed) % links.len(),
            None => 0,
        };
        links.rotate_left(first);
        links
    }

    /// Sends a request to a coordinator and gives its answer, or why it refused. Another channel is
    /// only tried where nothing was sent, or where the coordinator says that it merely follows.
    pub(crate) async fn call(
        &self,
        name: &'static str,
        request: &Message,
        xid: Option<&Xid>,
        within: Duration,
    ) -> Result<Message, CoordinatorError> {
        let started = Instant::now();
        let answer = self.call_any(request, xid, within).await;
        let outcome = match &answer {
            Ok(_) => "ok",
            Err(CoordinatorError::LockConflict { .. }) => "lock_conflict",
            Err(CoordinatorError::TransactionOver { .. }) => "transaction_over",
            Err(CoordinatorError::NoChannel { .. }) => "no_channel",
            Err(CoordinatorError::Unanswered { .. }) => "unanswered",
            Err(CoordinatorError::Refused { .. }) => "refused",
        };
        self.metrics.request(name, outcome, started.elapsed());
        answer
    }

    async fn call_any(
        &self,
        request: &Message,
        xid: Option<&Xid>,
        within: Duration,
    ) -> Result<Message, CoordinatorError> {
        let mut last = CoordinatorError::NoChannel {
            message: format!("none of {} is connected", self.config.addresses.join(", ")),
        };
        for link in self.candidates(xid) {
            match link.call(request, within).await {
                Ok(answer) => {
                    let refused = refusal::refusal(&answer, link.generation, xid);
                    if let Message::GlobalBeginResponse(begun) = &answer
                        && refused.is_none()
                    {
                        link.learn(&begun.xid);
                    }
                    match refused {
                        None => return Ok(answer),
                        Some(why) if refusal::follows(&answer, link.generation) => last = why,
                        Some(why) => return Err(why),
                    }
                }
                Err(why @ CoordinatorError::NoChannel { .. }) => last = why,
                Err(why) => return Err(why),
            }
        }
        Err(last)
    }

    /// Tells a channel of resources.
    pub(super) async fn register_resources(
        &self,
        link: &Link,
        resources: String,
    ) -> Result<(), CoordinatorError> {
        let request = handshake::register_rm(self, resources);
        match link.call(&request, self.config.rm_timeout).await? {
            Message::RegisterRmResponse(it) if it.identified => Ok(()),
            _ => Err(CoordinatorError::Refused {
                code: "RegisterRm".to_owned(),
                message: format!("{} refused the registration of resources", link.address),
            }),
        }
    }
}
