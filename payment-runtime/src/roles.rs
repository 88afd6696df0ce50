//! Puts the parts of a role together, runs them, and takes them down in order.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use channels::Reload;
use contract::{Role, RuntimeConfig};
use tokio_util::sync::CancellationToken;

use crate::cache::Cache;
use crate::http::{Bound, Surface};
use crate::management::{self, Health};
use crate::payments::Payments;
use crate::reconcile::{self, Plan};
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::{api, callback, worker};

/// Builds what every role works with; nothing is connected yet.
pub fn prepare(config: RuntimeConfig) -> anyhow::Result<Arc<Payments>> {
    let store = Store::new(&config.mysql)?;
    let window = config.payment.idempotency_window_seconds;
    let cache = config
        .redis
        .as_ref()
        .map(|redis| Cache::new(redis, window))
        .transpose()?;
    let channels = channels::Channels::load(&config.channels)
        .context("the channels' credentials cannot be used")?;
    Ok(Arc::new(Payments {
        config,
        store,
        cache,
        channels,
        metrics: Metrics::new(),
    }))
}

/// Waits for the database, brings its schema up to date, and returns.
pub async fn migrate(config: &RuntimeConfig) -> anyhow::Result<()> {
    let store = Store::new(&config.mysql)?;
    wait_for_database(&store).await?;
    store.migrate().await?;
    tracing::info!("the schema is up to date");
    store.close().await;
    Ok(())
}

/// A database that starts beside us gets two minutes.
async fn wait_for_database(store: &Store) -> anyhow::Result<()> {
    const TRIES: u32 = 600;
    for attempt in 1..TRIES {
        match store.ping().await {
            Ok(()) => return Ok(()),
            Err(error) if attempt % 25 == 1 => {
                let error = &error as &dyn std::error::Error;
                tracing::info!(error, "waiting for the database");
            }
            Err(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    store
        .ping()
        .await
        .context("the database did not answer for two minutes")
}

/// One reconciliation run.
pub async fn reconcile_once(
    payments: &Arc<Payments>,
    plan: &Plan,
) -> anyhow::Result<contract::RunSummary> {
    wait_for_database(&payments.store).await?;
    let summary = reconcile::run(payments, plan).await?;
    reconcile::leave_summary(&summary);
    payments.store.close().await;
    Ok(summary)
}

/// Where a serving role listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    pub http: std::net::SocketAddr,
    pub management: std::net::SocketAddr,
}

/// A serving role that is bound and not yet running.
pub struct Service {
    pub addresses: Addresses,
    role: Role,
    payments: Arc<Payments>,
    health: Arc<Health>,
    http: Bound,
    management: Bound,
}

impl Service {
    /// Binds the role's ports. `all` migrates first: nobody else does it for a lone process.
    pub async fn bind(role: Role, payments: Arc<Payments>) -> anyhow::Result<Self> {
        if role == Role::All {
            wait_for_database(&payments.store).await?;
            payments.store.migrate().await?;
        }
        let health = Health::new(role, payments.clone());
        let limit = payments.config.payment.max_concurrent_requests;
        let surface = Surface::new(payments.metrics.clone(), limit);
        let routes = routes(role, &payments).fallback(api::no_such_route);
        let http = Bound::new(&payments.config.listen.http, surface.wrap(routes)).await?;
        let routes = management::router(health.clone());
        let management = Bound::new(&payments.config.listen.management, routes).await?;
        let addresses = Addresses {
            http: http.address,
            management: management.address,
        };
        Ok(Self {
            addresses,
            role,
            payments,
            health,
            http,
            management,
        })
    }

    /// Serves until `stop`: then readiness goes off, requests in flight finish, and what asks the
    /// channels ends before the database connection does.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let shutdown = self.payments.config.shutdown.clone();
        let drain = Duration::from_secs(shutdown.drain_seconds);
        let (close_listener, end) = (CancellationToken::new(), CancellationToken::new());
        let watch = tokio::spawn(self.health.clone().watch(end.clone()));
        let management = tokio::spawn(self.management.serve(end.clone(), Duration::from_secs(1)));
        let work = tokio::spawn(work(self.role, self.payments.clone(), stop.clone()));
        let reload = tokio::spawn(reload_keys(self.payments.clone(), stop.clone()));
        let http = tokio::spawn(self.http.serve(close_listener.clone(), drain));
        tracing::info!(
            role = %self.role, http = %self.addresses.http,
            management = %self.addresses.management, "serving"
        );
        stop.cancelled().await;
        tracing::info!("stopping");
        self.health.drain();
        tokio::time::sleep(Duration::from_secs(shutdown.ready_off_seconds)).await;
        close_listener.cancel();
        http.await.context("the HTTP server died")??;
        // Whatever a worker holds is taken over when its lease ends.
        if tokio::time::timeout(drain, work).await.is_err() {
            tracing::warn!("channel calls were still in flight when the drain time ended");
        }
        end.cancel();
        let _ = tokio::join!(watch, management, reload);
        self.payments.store.close().await;
        tracing::info!("stopped");
        Ok(())
    }
}

fn routes(role: Role, payments: &Arc<Payments>) -> Router {
    match role {
        Role::Api => api::router(payments.clone()),
        Role::Callback => callback::router(payments.clone()),
        Role::Reconcile => reconcile::router(payments.clone()),
        Role::Worker | Role::Migrate => Router::new(),
        Role::All => api::router(payments.clone())
            .merge(callback::router(payments.clone()))
            .merge(reconcile::router(payments.clone())),
    }
}

async fn work(role: Role, payments: Arc<Payments>, stop: CancellationToken) {
    if matches!(role, Role::Worker | Role::All) {
        worker::run(payments, stop).await;
    }
}

/// Rotated channel keys take effect without a restart.
async fn reload_keys(payments: Arc<Payments>, stop: CancellationToken) {
    const INTERVAL: Duration = Duration::from_secs(5);
    let mut failing = false;
    loop {
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = stop.cancelled() => return,
        }
        match payments.channels.reload(crate::clock::now()) {
            Reload::Reloaded => {
                failing = false;
                tracing::info!("new channel keys are in use");
            }
            Reload::Failed(error) if !failing => {
                failing = true;
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "new channel keys cannot be used; the old ones stay");
            }
            Reload::NotDue | Reload::Unchanged | Reload::Failed(_) => {}
        }
    }
}
