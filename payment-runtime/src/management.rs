//! The management port: `/actuator` with health, info and metrics.
//!
//! Guarantees: liveness says only that the process turns; readiness follows the database and the
//! drain; a cache that is down is shown but takes nothing out of service.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use contract::Role;
use serde_json::{Value, json};
use tokio::time::error::Elapsed;
use tokio_util::sync::CancellationToken;

use crate::ports::StoreError;
use crate::roles::Parts;
use crate::silence::Silence;

/// How often dependencies are looked at.
const CHECK_INTERVAL: Duration = Duration::from_secs(3);
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// What the management port tells.
pub struct Health {
    role: Role,
    parts: Arc<Parts>,
    database: AtomicBool,
    cache: AtomicBool,
    coordinator: AtomicBool,
    draining: AtomicBool,
    /// Of the database.
    silence: Silence,
}

impl Health {
    pub fn new(role: Role, parts: Arc<Parts>) -> Arc<Self> {
        Arc::new(Self {
            role,
            parts,
            database: AtomicBool::new(false),
            cache: AtomicBool::new(false),
            coordinator: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            silence: Silence::default(),
        })
    }

    /// From now on the pod wants no new requests.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    fn ready(&self) -> bool {
        self.database.load(Ordering::Relaxed) && !self.draining.load(Ordering::Relaxed)
    }

    /// Looks at the dependencies until `stop`.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            self.check().await;
            // Until the database answers, starting quickly matters more than quiet.
            let ready = self.database.load(Ordering::Relaxed);
            let pause = if ready {
                CHECK_INTERVAL
            } else {
                Duration::from_millis(300)
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn check(&self) {
        let database = tokio::time::timeout(CHECK_TIMEOUT, self.parts.payments.records.ping());
        let (database, cache, coordinator) =
            futures::join!(database, self.cache_answers(), self.coordinator_answers());
        let metrics = &self.parts.payments.metrics;
        self.tell(&database);
        let database = matches!(database, Ok(Ok(())));
        self.database.store(database, Ordering::Relaxed);
        metrics.set_dependency("mysql", database);
        if let Some(up) = cache {
            self.cache.store(up, Ordering::Relaxed);
            metrics.set_dependency("redis", up);
        }
        if let Some(up) = coordinator {
            self.coordinator.store(up, Ordering::Relaxed);
            metrics.set_dependency("coordinator", up);
        }
    }

    /// Logs why the database does not answer, once.
    fn tell(&self, answer: &Result<Result<(), StoreError>, Elapsed>) {
        let why = match answer {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(causes(error)),
            Err(_) => Some(format!("no answer within {CHECK_TIMEOUT:?}")),
        };
        self.silence.tell("the database", why);
    }

    async fn cache_answers(&self) -> Option<bool> {
        match &self.parts.payments.cache {
            Some(cache) => Some(cache.ping().await),
            None => None,
        }
    }

    async fn coordinator_answers(&self) -> Option<bool> {
        let coordinator = self
            .parts
            .payments
            .config
            .transaction_coordinator
            .as_ref()?;
        let address = (coordinator.host.as_str(), coordinator.port);
        let connect = tokio::net::TcpStream::connect(address);
        Some(matches!(
            tokio::time::timeout(CHECK_TIMEOUT, connect).await,
            Ok(Ok(_))
        ))
    }

    fn report(&self) -> Value {
        let status = |up: bool| if up { "UP" } else { "DOWN" };
        let mut components = serde_json::Map::new();
        let mut add = |name: &str, up: &AtomicBool| {
            components.insert(
                name.to_owned(),
                json!({"status": status(up.load(Ordering::Relaxed))}),
            );
        };
        add("mysql", &self.database);
        if self.parts.payments.cache.is_some() {
            add("redis", &self.cache);
        }
        if self.parts.payments.config.transaction_coordinator.is_some() {
            add("transactionCoordinator", &self.coordinator);
        }
        json!({"status": status(self.ready()), "components": components})
    }
}

/// An error with everything that led to it.
fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |all, cause| format!("{all}: {cause}"))
}

/// The routes of the management port.
pub fn router(health: Arc<Health>) -> Router {
    Router::new()
        .route("/actuator", get(index))
        .route("/actuator/health", get(overall))
        .route("/actuator/health/liveness", get(liveness))
        .route("/actuator/health/readiness", get(readiness))
        .route("/actuator/info", get(info))
        .route("/actuator/metrics", get(metric_names))
        .route("/actuator/prometheus", get(prometheus))
        .with_state(health)
}

async fn index() -> Json<Value> {
    let link = |path: &str| json!({"href": format!("/actuator{path}")});
    Json(json!({"_links": {
        "self": link(""),
        "health": link("/health"),
        "liveness": link("/health/liveness"),
        "readiness": link("/health/readiness"),
        "info": link("/info"),
        "metrics": link("/metrics"),
        "prometheus": link("/prometheus"),
    }}))
}

fn with_status(up: bool, body: Value) -> Response {
    let status = if up {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(body)).into_response()
}

async fn overall(State(health): State<Arc<Health>>) -> Response {
    with_status(health.ready(), health.report())
}

async fn liveness() -> Json<Value> {
    Json(json!({"status": "UP"}))
}

async fn readiness(State(health): State<Arc<Health>>) -> Response {
    let up = health.ready();
    with_status(
        up,
        json!({"status": if up { "UP" } else { "OUT_OF_SERVICE" }}),
    )
}

async fn info(State(health): State<Arc<Health>>) -> Json<Value> {
    Json(json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "role": health.role.name(),
        "system": health.parts.payments.config.system,
    }))
}

async fn metric_names(State(health): State<Arc<Health>>) -> Json<Value> {
    let text = health.parts.payments.metrics.exposition();
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| line.split(' ').next())
        .collect();
    Json(json!({ "names": names }))
}

async fn prometheus(State(health): State<Arc<Health>>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    crate::reconcile::refresh_metrics(&health.parts, health.role).await;
    (
        [(header::CONTENT_TYPE, OPEN_METRICS)],
        health.parts.payments.metrics.exposition(),
    )
        .into_response()
}
