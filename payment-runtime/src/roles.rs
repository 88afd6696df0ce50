//! Puts the parts of a role together, runs them, and takes them down in order.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use channels::{CertificateRefresh, Channels, Reload};
use contract::{Role, RuntimeConfig};
use tokio_util::sync::CancellationToken;

use crate::batch::Batched;
use crate::cache::Cache;
use crate::confirming::Confirming;
use crate::http::{Bound, Surface};
use crate::management::{self, Health};
use crate::orders::http::Orders;
use crate::outside::System;
use crate::payments::Payments;
use crate::ports::{OrderCache, Records};
use crate::reconcile::{self, Plan};
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::{api, callback, ledger, orders, worker};

/// What a process is made of.
pub struct Parts {
    pub payments: Arc<Payments>,
    /// The database itself, for what is not a payment's business: its schema and its reports.
    pub store: Store,
    /// The channels themselves, for bills and for keys that change.
    pub channels: Arc<Channels>,
}

/// Builds what every role works with; nothing is connected yet.
pub fn prepare(config: RuntimeConfig) -> anyhow::Result<Arc<Parts>> {
    let store = Store::new(&config.mysql)?.confirming(config.confirmation.is_some());
    let window = config.payment.idempotency_window_seconds;
    let cache = match &config.redis {
        Some(redis) => Some(Arc::new(Cache::new(redis, window)?) as Arc<dyn OrderCache>),
        None => None,
    };
    let channels =
        Channels::load(&config.channels).context("the channels' credentials cannot be used")?;
    let channels = Arc::new(channels);
    let records = records(&store, config.payment.batching);
    let payments = Payments {
        config,
        records,
        cache,
        channels: channels.clone(),
        host: Arc::new(System),
        metrics: Metrics::new(),
    };
    Ok(Arc::new(Parts {
        payments: Arc::new(payments),
        store,
        channels,
    }))
}

fn records(store: &Store, batching: bool) -> Arc<dyn Records> {
    if batching {
        Arc::new(Batched::new(store.clone()))
    } else {
        Arc::new(store.clone())
    }
}

/// Waits for the database, brings its schema up to date, and returns.
pub async fn migrate(config: &RuntimeConfig) -> anyhow::Result<()> {
    let store = Store::new(&config.mysql)?;
    wait_for_database(&store).await?;
    bring_up_to_date(&store).await?;
    if let Some(orders) = &config.orders {
        crate::store::orders::migrate_orders(&orders.mysql).await?;
    }
    tracing::info!("the schema is up to date");
    store.close().await;
    Ok(())
}

/// The schema, and what older versions left out of the ledger.
async fn bring_up_to_date(store: &Store) -> anyhow::Result<()> {
    store.migrate().await?;
    let opened = ledger::backfill(store)
        .await
        .context("payments from before the ledger cannot be entered into it")?;
    if opened > 0 {
        tracing::info!(payments = opened, "entered into the ledger");
    }
    Ok(())
}

/// A database that starts beside us gets two minutes.
async fn wait_for_database(store: &Store) -> anyhow::Result<()> {
    const TRIES: u32 = 600;
    for attempt in 1..TRIES {
        match store.ping().await {
            Ok(()) => return Ok(()),
            Err(error) if attempt % 25 == 1 => {
                let error = format!("{:#}", anyhow::Error::new(error));
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
pub async fn reconcile_once(parts: &Parts, plan: &Plan) -> anyhow::Result<contract::RunSummary> {
    wait_for_database(&parts.store).await?;
    parts
        .channels
        .refresh_certificates(crate::clock::now())
        .await;
    let summary = reconcile::run(parts, plan).await?;
    reconcile::leave_summary(plan, &summary);
    parts.store.close().await;
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
    parts: Arc<Parts>,
    health: Arc<Health>,
    confirming: Option<Confirming>,
    orders: Option<Arc<Orders>>,
    http: Bound,
    management: Bound,
}

impl Service {
    /// Binds the role's ports. `all` migrates first: nobody else does it for a lone process.
    pub async fn bind(role: Role, parts: Arc<Parts>) -> anyhow::Result<Self> {
        if role == Role::All {
            wait_for_database(&parts.store).await?;
            bring_up_to_date(&parts.store).await?;
        }
        let payments = &parts.payments;
        let orders = match role {
            Role::All => orders::service::prepare(&payments.config)?,
            _ => None,
        };
        if let Some(orders) = &orders {
            orders::service::bring_up_to_date(&orders.store).await?;
        }
        let confirming = match role {
            Role::Worker | Role::All => Confirming::new(payments.clone(), parts.store.clone())?,
            _ => None,
        };
        let health = Health::new(role, parts.clone());
        let limit = payments.config.payment.max_concurrent_requests;
        let surface = Surface::new(payments.metrics.clone(), payments.host.clone(), limit);
        let routes = routes(role, &parts, orders.as_ref()).fallback(api::no_such_route);
        let http = Bound::public(&payments.config.listen, surface.wrap(routes)).await?;
        let routes = management::router(health.clone());
        let management = Bound::new(&payments.config.listen.management, routes).await?;
        let addresses = Addresses {
            http: http.address,
            management: management.address,
        };
        Ok(Self {
            addresses,
            role,
            parts,
            health,
            confirming,
            orders,
            http,
            management,
        })
    }

    /// Serves until `stop`: then readiness goes off, requests in flight finish, and what asks the
    /// channels ends before the database connection does.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let shutdown = self.parts.payments.config.shutdown.clone();
        let drain = Duration::from_secs(shutdown.drain_seconds);
        let (close_listener, end) = (CancellationToken::new(), CancellationToken::new());
        let watch = tokio::spawn(self.health.clone().watch(end.clone()));
        let management = tokio::spawn(self.management.serve(end.clone(), Duration::from_secs(1)));
        let work = tokio::spawn(work(self.role, self.parts.payments.clone(), stop.clone()));
        let confirming = tokio::spawn(confirm(self.confirming, stop.clone()));
        let ordering = tokio::spawn(keep_orders(self.orders, self.parts.clone(), end.clone()));
        let sealing = tokio::spawn(seal(self.role, self.parts.clone(), stop.clone()));
        let telling = tokio::spawn(tell(self.role, self.parts.clone(), stop.clone()));
        let checking = tokio::spawn(check_ledger(self.role, self.parts.clone(), stop.clone()));
        let reload = tokio::spawn(reload_keys(self.parts.channels.clone(), stop.clone()));
        let metrics = self.parts.payments.metrics.clone();
        let renewal = tokio::spawn(self.http.renewal(metrics, end.clone()));
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
        let work = async { tokio::join!(work, confirming) };
        if tokio::time::timeout(drain, work).await.is_err() {
            tracing::warn!("channel calls were still in flight when the drain time ended");
        }
        end.cancel();
        let _ = tokio::join!(
            watch, management, checking, sealing, telling, reload, renewal, ordering
        );
        self.parts.store.close().await;
        tracing::info!("stopped");
        Ok(())
    }
}

fn routes(role: Role, parts: &Arc<Parts>, orders: Option<&Arc<Orders>>) -> Router {
    let payments = &parts.payments;
    match role {
        Role::Api => api::router(payments.clone()),
        Role::Callback => callback::router(payments.clone()),
        Role::Reconcile => reconcile::http::router(parts.clone()),
        Role::Worker | Role::Orders | Role::Migrate | Role::Rotate => Router::new(),
        Role::All => api::router(payments.clone())
            .merge(callback::router(payments.clone()))
            .merge(reconcile::http::router(parts.clone()))
            .merge(orders.map_or_else(Router::new, |it| orders::http::router(it.clone()))),
    }
}

/// Payments that were charged are confirmed beside the questions.
async fn confirm(confirming: Option<Confirming>, stop: CancellationToken) {
    if let Some(confirming) = confirming {
        confirming.run(stop).await;
    }
}

/// The order service inside a process of every role.
async fn keep_orders(orders: Option<Arc<Orders>>, parts: Arc<Parts>, stop: CancellationToken) {
    if let Some(orders) = orders {
        let (store, metrics) = (orders.store.clone(), parts.payments.metrics.clone());
        orders::service::watch(store, metrics, Arc::default(), stop).await;
        orders.store.close().await;
    }
}

async fn work(role: Role, payments: Arc<Payments>, stop: CancellationToken) {
    if matches!(role, Role::Worker | Role::All) {
        worker::run(payments, stop).await;
    }
}

/// Ledger entries are sealed beside the questions, so that neither waits for the other.
async fn seal(role: Role, parts: Arc<Parts>, stop: CancellationToken) {
    if matches!(role, Role::Worker | Role::All) {
        let metrics = parts.payments.metrics.clone();
        ledger::run(parts.store.clone(), metrics, stop).await;
    }
}

/// Messages about differences that a run, or a person on the page, left behind.
async fn tell(role: Role, parts: Arc<Parts>, stop: CancellationToken) {
    reconcile::notify::run(role, &parts, stop).await;
}

/// Runs come and go, and nobody could read a gauge of theirs: the service checks the ledger as
/// well, once an hour.
async fn check_ledger(role: Role, parts: Arc<Parts>, stop: CancellationToken) {
    const FIRST: Duration = Duration::from_mins(1);
    const INTERVAL: Duration = Duration::from_hours(1);
    if !matches!(role, Role::Reconcile | Role::All) {
        return;
    }
    let mut pause = FIRST;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => pause = INTERVAL,
        }
        match ledger::check(&parts.store).await {
            Ok(report) => {
                let violations = report.violation_count;
                parts.payments.metrics.set_ledger_violations(violations);
                if violations > 0 {
                    tracing::error!(violations, "the ledger is not sound: run ledger check");
                }
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the ledger could not be checked");
            }
        }
    }
}

/// Rotated channel keys and certificates take effect without a restart.
async fn reload_keys(channels: Arc<Channels>, stop: CancellationToken) {
    const INTERVAL: Duration = Duration::from_secs(5);
    let mut failing = false;
    while !stop.is_cancelled() {
        if let CertificateRefresh::Failed(why) =
            channels.refresh_certificates(crate::clock::now()).await
        {
            tracing::warn!(%why, "platform certificates cannot be refreshed; the known ones stay");
        }
        match channels.reload(crate::clock::now()) {
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
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}
