//! The process of the role `orders`: its routes and its management port. It needs neither the
//! payment database nor the channels' keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use contract::{Role, RuntimeConfig};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::http::Orders;
use super::{OrderStore, http};
use crate::http::{Bound, Surface};
use crate::outside::System;
use crate::roles::Addresses;
use crate::telemetry::Metrics;
use crate::{api, confirming};

/// How often the database is looked at, and the coordinator while it is not known yet.
const CHECK_INTERVAL: Duration = Duration::from_secs(3);
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);
/// A database that starts beside us gets two minutes.
const DATABASE_TRIES: u32 = 600;

/// What the routes need, as configured. `None`: no order service is configured. Must be called
/// within a runtime.
pub fn prepare(config: &RuntimeConfig) -> anyhow::Result<Option<Arc<Orders>>> {
    let (Some(settings), Some(coordinator)) = (&config.orders, &config.transaction_coordinator)
    else {
        return Ok(None);
    };
    let client = confirming::coordinator_client(coordinator, "payment-orders")?;
    Ok(Some(Arc::new(Orders {
        store: OrderStore::new(&settings.mysql, client)?,
        host: Arc::new(System),
        stock_buckets: settings.stock_buckets,
    })))
}

/// Waits for the database and brings its schema up to date.
pub async fn bring_up_to_date(store: &OrderStore) -> anyhow::Result<()> {
    for _ in 1..DATABASE_TRIES {
        if store.ping().await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    store.migrate().await
}

/// Watches the database and the channel to the coordinator until `stop`, and makes the one known
/// to the other as soon as both are there. `up` says whether orders can be paid.
pub async fn watch(
    store: OrderStore,
    metrics: Metrics,
    up: Arc<AtomicBool>,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let ping = tokio::time::timeout(CHECK_TIMEOUT, store.ping()).await;
        let answers = matches!(ping, Ok(Ok(())));
        metrics.set_dependency("orders-mysql", answers);
        let known = store.connect().await;
        if let Err(error) = &known {
            let error = error as &dyn std::error::Error;
            tracing::warn!(error, "the order database is not known to the coordinator");
        }
        let coordinator = known.is_ok() && store.coordinator_answers();
        metrics.set_dependency("coordinator", coordinator);
        up.store(answers && coordinator, Ordering::Relaxed);
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = tokio::time::sleep(CHECK_INTERVAL) => {}
        }
    }
}

#[derive(Clone)]
struct Management {
    up: Arc<AtomicBool>,
    draining: Arc<AtomicBool>,
    metrics: Metrics,
    system: String,
}

/// The role, bound and not yet running.
pub struct OrdersService {
    pub addresses: Addresses,
    config: RuntimeConfig,
    orders: Arc<Orders>,
    state: Management,
    http: Bound,
    management: Bound,
}

impl OrdersService {
    /// Brings the schema up to date and binds the ports.
    pub async fn bind(config: RuntimeConfig) -> anyhow::Result<Self> {
        let orders =
            prepare(&config)?.context("the role orders needs `orders` in its configuration")?;
        bring_up_to_date(&orders.store).await?;
        let metrics = Metrics::new();
        let limit = config.payment.max_concurrent_requests;
        let surface = Surface::new(metrics.clone(), orders.host.clone(), limit);
        let routes = http::router(orders.clone()).fallback(api::no_such_route);
        let http = Bound::public(&config.listen, surface.wrap(routes)).await?;
        let state = Management {
            up: Arc::new(AtomicBool::new(false)),
            draining: Arc::default(),
            metrics,
            system: config.system.clone(),
        };
        let routes = management(state.clone());
        let management = Bound::new(&config.listen.management, routes).await?;
        Ok(Self {
            addresses: Addresses {
                http: http.address,
                management: management.address,
            },
            config,
            orders,
            state,
            http,
            management,
        })
    }

    /// Serves until `stop`: then readiness goes off and requests in flight finish.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let shutdown = &self.config.shutdown;
        let drain = Duration::from_secs(shutdown.drain_seconds);
        let (close_listener, end) = (CancellationToken::new(), CancellationToken::new());
        let store = self.orders.store.clone();
        let (metrics, up) = (self.state.metrics.clone(), self.state.up.clone());
        let watching = tokio::spawn(watch(store.clone(), metrics, up, end.clone()));
        let management = tokio::spawn(self.management.serve(end.clone(), Duration::from_secs(1)));
        let metrics = self.state.metrics.clone();
        let renewal = tokio::spawn(self.http.renewal(metrics, end.clone()));
        let http = tokio::spawn(self.http.serve(close_listener.clone(), drain));
        tracing::info!(
            role = %Role::Orders, http = %self.addresses.http,
            management = %self.addresses.management, "serving"
        );
        stop.cancelled().await;
        tracing::info!("stopping");
        self.state.draining.store(true, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(shutdown.ready_off_seconds)).await;
        close_listener.cancel();
        http.await.context("the HTTP server died")??;
        end.cancel();
        let _ = tokio::join!(watching, management, renewal);
        store.close().await;
        tracing::info!("stopped");
        Ok(())
    }
}

fn management(state: Management) -> Router {
    Router::new()
        .route("/actuator/health", get(readiness))
        .route("/actuator/health/liveness", get(liveness))
        .route("/actuator/health/readiness", get(readiness))
        .route("/actuator/info", get(info))
        .route("/actuator/prometheus", get(prometheus))
        .with_state(state)
}

async fn liveness() -> Response {
    Json(json!({"status": "UP"})).into_response()
}

async fn readiness(State(state): State<Management>) -> Response {
    let ready = state.up.load(Ordering::Relaxed) && !state.draining.load(Ordering::Relaxed);
    if ready {
        return Json(json!({"status": "UP"})).into_response();
    }
    let body = Json(json!({"status": "OUT_OF_SERVICE"}));
    (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
}

async fn info(State(state): State<Management>) -> Response {
    Json(json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "role": Role::Orders.name(),
        "system": state.system,
    }))
    .into_response()
}

async fn prometheus(State(state): State<Management>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let text = state.metrics.exposition();
    ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response()
}
