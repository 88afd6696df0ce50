//! The client's face: starting, stopping, and every request by itself.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::DropGuard;

use super::hub::Hub;
use super::supervisor::{self, Lookup};
use super::transport::Transport;
use crate::branch::{Coordinator, CoordinatorError, NewBranch, Resource, Xid};
use crate::codec::{
    BranchRegister, BranchReport, BranchStatus, GlobalBegin, GlobalEnd, GlobalStatus, Message,
};
use crate::config::{Config, ConfigError};
use crate::metrics::Metrics;

/// A client of Seata's coordinators. Clones share everything; when the last one is dropped the
/// channels are closed.
///
/// Its [`Coordinator`] half serves resource managers; [`Client::global_tx`] runs global
/// transactions; the single requests are here for whoever needs them.
///
/// ```no_run
/// # async fn transfer() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use seata_client::config::Config;
/// use seata_client::connection::Client;
/// use seata_client::tm::TxOptions;
///
/// let client = Client::start(Config::new(["seata:8091"], "transfer", "default_tx_group"))?;
/// client.ready(Duration::from_secs(10)).await?;
/// client
///     .global_tx(TxOptions::new("transfer"), async |context| {
///         // Branches, and calls to other services, in context.xid.
///         Ok::<_, std::io::Error>(())
///     })
///     .await?;
/// client.shutdown(Duration::from_secs(10)).await;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Client {
    pub(crate) hub: Arc<Hub>,
    supervisor: Arc<Supervisor>,
}

/// Stops the channels when nobody holds the client any more.
struct Supervisor {
    task: tokio::sync::Mutex<Option<tokio::task::JoinHandle<()>>>,
    _stop: DropGuard,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("addresses", &self.hub.config.addresses)
            .field("application_id", &self.hub.config.application_id)
            .field("channels", &self.hub.metrics.channels())
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Begins to connect and returns at once. Must be called within a tokio runtime, which serves
    /// the client for all its life.
    pub fn start(config: Config) -> Result<Self, ConfigError> {
        Self::start_with(config, Metrics::default())
    }

    /// The same, counting into given metrics.
    pub fn start_with(config: Config, metrics: Metrics) -> Result<Self, ConfigError> {
        Self::start_looking_up(config, metrics, supervisor::system_lookup())
    }

    pub(super) fn start_looking_up(
        config: Config,
        metrics: Metrics,
        lookup: Lookup,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let runtime = Handle::try_current().map_err(|_| ConfigError::NoRuntime)?;
        let transport = Transport::of(&config)?;
        let hub = Arc::new(Hub::new(config, transport, metrics, lookup));
        let task = runtime.spawn(supervisor::supervise(Arc::clone(&hub)));
        let supervisor = Supervisor {
            task: tokio::sync::Mutex::new(Some(task)),
            _stop: hub.stop.clone().drop_guard(),
        };
        Ok(Self {
            hub,
            supervisor: Arc::new(supervisor),
        })
    }

    pub fn metrics(&self) -> &Metrics {
        &self.hub.metrics
    }

    /// True while at least one channel is registered: what a readiness probe should say.
    pub fn readiness(&self) -> watch::Receiver<bool> {
        self.hub.readiness()
    }

    /// Waits until a channel is registered.
    pub async fn ready(&self, within: Duration) -> Result<(), CoordinatorError> {
        let mut readiness = self.readiness();
        match timeout(within, readiness.wait_for(|ready| *ready)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(CoordinatorError::NoChannel {
                message: format!(
                    "none of {} could be registered with within {within:?}",
                    self.hub.config.addresses.join(", ")
                ),
            }),
        }
    }

    /// How many requests are queued or unanswered, on all channels together.
    pub fn outstanding(&self) -> usize {
        self.hub.links().iter().map(|it| it.outstanding()).sum()
    }

    /// Makes a resource known to every coordinator, now and after every reconnect. Without a live
    /// channel it is registered with the next. A resource of the same id is replaced.
    pub async fn register_resource(
        &self,
        resource: Arc<dyn Resource>,
    ) -> Result<(), CoordinatorError> {
        let id = resource.resource_id().to_owned();
        if id.is_empty() || id.contains(',') {
            return Err(CoordinatorError::Refused {
                code: "ResourceId".to_owned(),
                message: format!("{id:?} is empty or has a comma, which separates resource ids"),
            });
        }
        self.hub.dispatcher.add(resource);
        for link in self.hub.links() {
            match self.hub.register_resources(&link, id.clone()).await {
                // A channel that ended will be replaced by one that is told of everything.
                Ok(()) | Err(CoordinatorError::NoChannel { .. }) => {}
                Err(CoordinatorError::Unanswered { .. }) if !link.is_live() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Begins a global transaction. After `timeout`, counted by the coordinator, it is rolled back.
    #[tracing::instrument(name = "seata.begin", skip_all, fields(name = name))]
    pub async fn begin(&self, name: &str, timeout: Duration) -> Result<Xid, CoordinatorError> {
        let request = Message::GlobalBegin(GlobalBegin {
            timeout_ms: i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
            name: name.to_owned(),
        });
        match self.call("begin", &request, None).await? {
            Message::GlobalBeginResponse(begun) => Ok(Xid::new(begun.xid)),
            other => Err(unexpected(&other)),
        }
    }

    /// Asks once for the commit. [`crate::tm`] says what the status means.
    #[tracing::instrument(name = "seata.commit", skip_all, fields(xid = %xid))]
    pub async fn commit(&self, xid: &Xid) -> Result<GlobalStatus, CoordinatorError> {
        let request = Message::GlobalCommit(end(xid));
        status(&self.call("commit", &request, Some(xid)).await?)
    }

    /// Asks once for the rollback, and waits until all branches were asked for theirs.
    #[tracing::instrument(name = "seata.rollback", skip_all, fields(xid = %xid))]
    pub async fn rollback(&self, xid: &Xid) -> Result<GlobalStatus, CoordinatorError> {
        let request = Message::GlobalRollback(end(xid));
        status(&self.call("rollback", &request, Some(xid)).await?)
    }

    /// Where a transaction stands; [`GlobalStatus::Finished`] if the coordinator has none of that
    /// name (any more).
    pub async fn status(&self, xid: &Xid) -> Result<GlobalStatus, CoordinatorError> {
        let request = Message::GlobalStatus(end(xid));
        status(&self.call("status", &request, Some(xid)).await?)
    }

    async fn call(
        &self,
        name: &'static str,
        request: &Message,
        xid: Option<&Xid>,
    ) -> Result<Message, CoordinatorError> {
        let within = self.hub.config.tm_timeout;
        self.hub.call(name, request, xid, within).await
    }

    async fn call_branch(
        &self,
        name: &'static str,
        request: &Message,
        xid: &Xid,
    ) -> Result<Message, CoordinatorError> {
        let within = self.hub.config.rm_timeout;
        self.hub.call(name, request, Some(xid), within).await
    }

    /// Stops in order: lets second phases and the ends of transactions finish for at most `grace`,
    /// writes what is queued and closes the channels. Requests made meanwhile may go unanswered.
    pub async fn shutdown(&self, grace: Duration) {
        self.hub.tasks.close();
        if timeout(grace, self.hub.tasks.wait()).await.is_err() {
            tracing::warn!(tasks = self.hub.tasks.len(), "stopped before all was done");
        }
        self.hub.stop.cancel();
        if let Some(task) = self.supervisor.task.lock().await.take() {
            // It ends by itself, in bounded time; a panic in it has been logged by then.
            let _ = task.await;
        }
    }
}

fn end(xid: &Xid) -> GlobalEnd {
    GlobalEnd {
        xid: xid.as_str().to_owned(),
        extra_data: String::new(),
    }
}

fn status(answer: &Message) -> Result<GlobalStatus, CoordinatorError> {
    match answer {
        Message::GlobalCommitResponse(it)
        | Message::GlobalRollbackResponse(it)
        | Message::GlobalStatusResponse(it) => Ok(it.status),
        other => Err(unexpected(other)),
    }
}

fn unexpected(answer: &Message) -> CoordinatorError {
    CoordinatorError::Refused {
        code: "UnexpectedAnswer".to_owned(),
        message: format!("the answer has the type code {}", answer.type_code()),
    }
}

fn registration(branch: &NewBranch) -> BranchRegister {
    BranchRegister {
        xid: branch.xid.as_str().to_owned(),
        branch_type: branch.branch_type as u8,
        resource_id: branch.resource_id.clone(),
        lock_key: branch.lock_keys.clone(),
        application_data: branch.application_data.clone(),
    }
}

#[async_trait]
impl Coordinator for Client {
    #[tracing::instrument(name = "seata.branch", skip_all, fields(xid = %branch.xid))]
    async fn register(&self, branch: &NewBranch) -> Result<i64, CoordinatorError> {
        let request = Message::BranchRegister(registration(branch));
        match self.call_branch("register", &request, &branch.xid).await? {
            Message::BranchRegisterResponse(it) => Ok(it.branch_id),
            other => Err(unexpected(&other)),
        }
    }

    async fn report_failed(
        &self,
        branch: &NewBranch,
        branch_id: i64,
    ) -> Result<(), CoordinatorError> {
        let request = Message::BranchReport(BranchReport {
            xid: branch.xid.as_str().to_owned(),
            branch_id,
            status: BranchStatus::PhaseOneFailed,
            resource_id: branch.resource_id.clone(),
            application_data: String::new(),
            branch_type: branch.branch_type as u8,
        });
        match self.call_branch("report", &request, &branch.xid).await? {
            Message::BranchReportResponse(_) => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    async fn is_open(&self, xid: &Xid) -> Result<bool, CoordinatorError> {
        Ok(self.status(xid).await? == GlobalStatus::Begin)
    }

    async fn lockable(&self, branch: &NewBranch) -> Result<bool, CoordinatorError> {
        let request = Message::GlobalLockQuery(registration(branch));
        match self.call_branch("lockable", &request, &branch.xid).await? {
            Message::GlobalLockQueryResponse(it) => Ok(it.lockable),
            other => Err(unexpected(&other)),
        }
    }
}
