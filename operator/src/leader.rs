//! Which of several operators writes: the holder of a Lease, and only while it is sure of it.
//!
//! Guarantees: at most one operator believes that it leads. A leader counts its time from before
//! it asked for it and stops earlier than others may begin, so clocks need not agree. Every change
//! of the Lease carries the version it rests on, so of two that want it one is refused. The Lease
//! is followed by a watch: a standby asks for nothing, a leader renews ten times a minute.
//!
//! [`Leadership`] is asked before each write (`requests`). What a leader sent and the network
//! delivered after its time is refused by the API server itself (`install`: the admission policy).
//!
//! Not here: going back to standby. Who loses the Lease ends, and begins anew as another process:
//! nothing that was half done can go on.

mod steps;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ObjectMeta, PostParams},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::{FIELD_MANAGER, controller::Process};
use steps::{Seen, Step, View};

/// Name of the Lease, in the operator's namespace.
pub const LEASE: &str = "payment-operator";

/// How long a request about the Lease may take.
const REQUEST_LONGEST: Duration = Duration::from_secs(3);
/// Between a Lease that is won and the first write: the admission policy reads its own copy of
/// the Lease, which comes a moment later.
const SETTLE: Duration = Duration::from_secs(1);
/// The task says that it is alive at least this often.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Who stands for election, and where.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub namespace: String,
    /// Name of this pod: the admission policy compares it with the one in the pod's token.
    pub identity: String,
    /// How long the Lease is believed after it was last renewed.
    pub lease: Duration,
}

impl Candidate {
    /// A leader renews this often: ten times a minute at 20 s.
    fn renew_every(&self) -> Duration {
        self.lease * 3 / 10
    }

    /// A leader that could not renew for this long stops. What is left of the Lease is the time
    /// its last requests have to arrive.
    fn sure_for(&self) -> Duration {
        self.lease * 3 / 4
    }
}

/// Whether this process may write now.
#[derive(Clone, Debug)]
pub struct Leadership(Arc<Term>);

#[derive(Debug)]
struct Term {
    until: Mutex<Option<Instant>>,
    leads: watch::Sender<bool>,
}

impl Leadership {
    /// Of a process that does not lead yet.
    pub fn standby() -> Self {
        Self(Arc::new(Term {
            until: Mutex::new(None),
            leads: watch::Sender::new(false),
        }))
    }

    /// Of a process that is alone and needs no election.
    pub fn alone() -> Self {
        let leadership = Self::standby();
        leadership.0.leads.send_replace(true);
        leadership
    }

    /// Whether this process has begun to lead. It may have lost the right to write since.
    pub fn leads(&self) -> bool {
        *self.0.leads.borrow()
    }

    /// Whether a write may be sent at this moment.
    pub fn may_write(&self) -> bool {
        let until = self.0.until.lock().unwrap_or_else(PoisonError::into_inner);
        self.leads() && until.is_none_or(|until| Instant::now() < until)
    }

    /// Once, when this process begins to lead.
    pub async fn begins(&self) {
        let mut leads = self.0.leads.subscribe();
        // The sender lives as long as `self`.
        let _ = leads.wait_for(|leads| *leads).await;
    }

    fn extend(&self, until: Instant) {
        let mut term = self.0.until.lock().unwrap_or_else(PoisonError::into_inner);
        *term = Some(until);
    }

    fn begin(&self) {
        self.0.leads.send_replace(true);
    }
}

/// Why a leader must end.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Lost {
    #[error("{holder} holds the Lease now")]
    Taken { holder: String },
    #[error("the Lease could not be renewed in time")]
    Expired,
}

/// Keeps the Lease, or waits for it.
pub struct Elector {
    api: Api<Lease>,
    candidate: Candidate,
    process: Process,
    view: View,
}

impl Elector {
    /// `client` must not be one whose writes wait for leadership.
    pub fn new(client: Client, candidate: Candidate, process: &Process) -> Self {
        Self {
            api: Api::namespaced(client, &candidate.namespace),
            view: View::new(&candidate),
            candidate,
            process: process.clone(),
        }
    }

    /// Returns when a Lease that was held is lost.
    pub async fn run(&mut self) -> Lost {
        let config = watcher::Config::default().fields(&format!("metadata.name={LEASE}"));
        let mut events = watcher(self.api.clone(), config).default_backoff().boxed();
        loop {
            self.process.health.beat();
            match self.view.step(Instant::now()) {
                Step::Wait(until) => self.wait(&mut events, until).await,
                Step::Take => self.take().await,
                Step::Renew => self.renew().await,
                Step::End(lost) => return lost,
            }
        }
    }

    /// Lets a successor begin at once. Called when everything is written.
    pub async fn release(&mut self) {
        if !self.view.holds() {
            return;
        }
        let lease = self.lease("", Timestamp::now());
        match self.put(&lease).await {
            Ok(_) => info!("released the lease"),
            Err(error) => warn!(%error, "cannot release the lease; it runs out by itself"),
        }
    }

    async fn wait(
        &mut self,
        events: &mut (impl Stream<Item = Result<Event<Lease>, watcher::Error>> + Unpin),
        until: Option<Instant>,
    ) {
        let longest = Instant::now() + HEARTBEAT;
        let until = until.map_or(longest, |until| until.min(longest));
        let event = tokio::time::timeout_at(until.into(), events.next()).await;
        let now = Instant::now();
        match event {
            Ok(Some(Ok(Event::Apply(lease) | Event::InitApply(lease)))) => {
                self.see(&lease, now);
            }
            Ok(Some(Ok(Event::Delete(_)))) => self.view.gone(),
            Ok(Some(Ok(Event::InitDone))) => self.view.listed(),
            Ok(Some(Err(error))) => warn!(%error, "watch of the lease failed; trying again"),
            Ok(Some(Ok(Event::Init)) | None) | Err(_) => {}
        }
    }

    async fn take(&mut self) {
        let sent = Instant::now();
        let lease = self.lease(&self.candidate.identity, Timestamp::now());
        match self.put(&lease).await {
            Ok(lease) => {
                self.won(&lease, sent);
                tokio::time::sleep(SETTLE).await;
                info!(identity = self.candidate.identity, "leading");
                self.process.leadership.begin();
            }
            Err(error) => {
                warn!(%error, "cannot take the lease; trying again");
                self.view.refused(Instant::now());
            }
        }
    }

    async fn renew(&mut self) {
        let sent = Instant::now();
        let lease = self.lease(&self.candidate.identity, Timestamp::now());
        match self.put(&lease).await {
            Ok(lease) => self.won(&lease, sent),
            Err(error) => {
                warn!(%error, "cannot renew the lease; trying again");
                self.view.refused(Instant::now());
                self.look().await;
            }
        }
    }

    fn won(&mut self, lease: &Lease, sent: Instant) {
        let seen = seen(lease, sent);
        self.process.metrics.set_transitions(seen.transitions);
        self.view.won(seen, sent);
        self.process.leadership.extend(self.view.sure_until());
    }

    /// Reads the Lease: a renewal that was not answered may have been made.
    async fn look(&mut self) {
        let got = tokio::time::timeout(REQUEST_LONGEST, self.api.get(LEASE)).await;
        if let Ok(Ok(lease)) = got {
            self.see(&lease, Instant::now());
        }
    }

    fn see(&mut self, lease: &Lease, at: Instant) {
        let seen = seen(lease, at);
        self.process.metrics.set_transitions(seen.transitions);
        self.view.see(seen);
    }

    /// Creates the Lease, or replaces the version that was seen.
    async fn put(&self, lease: &Lease) -> Result<Lease, String> {
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let request = async {
            if lease.metadata.resource_version.is_none() {
                self.api.create(&parameters, lease).await
            } else {
                self.api.replace(LEASE, &parameters, lease).await
            }
        };
        match tokio::time::timeout(REQUEST_LONGEST, request).await {
            Ok(result) => result.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer in {} s", REQUEST_LONGEST.as_secs())),
        }
    }

    fn lease(&self, holder: &str, now: Timestamp) -> Lease {
        let seen = self.view.seen.as_ref();
        let own = seen.is_some_and(|seen| seen.holder == self.candidate.identity);
        let acquired = seen.filter(|_| own).and_then(|seen| seen.acquired);
        let transitions = seen.map_or(0, |seen| seen.transitions + i32::from(!own));
        Lease {
            metadata: ObjectMeta {
                name: Some(LEASE.to_owned()),
                namespace: Some(self.candidate.namespace.clone()),
                resource_version: seen.map(|seen| seen.version.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                lease_duration_seconds: i32::try_from(self.candidate.lease.as_secs()).ok(),
                acquire_time: Some(MicroTime(acquired.unwrap_or(now))),
                renew_time: Some(MicroTime(now)),
                lease_transitions: Some(transitions),
                ..LeaseSpec::default()
            }),
        }
    }
}

fn seen(lease: &Lease, at: Instant) -> Seen {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.unwrap_or_default();
    Seen {
        holder: spec.holder_identity.unwrap_or_default(),
        version: lease.resource_version().unwrap_or_default(),
        lease: Duration::from_secs(u64::try_from(seconds).unwrap_or_default()),
        acquired: spec.acquire_time.map(|time| time.0),
        transitions: spec.lease_transitions.unwrap_or_default(),
        at,
    }
}
