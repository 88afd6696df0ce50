//! The operator's HTTP port: liveness, readiness, metrics.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use axum::{Router, extract::State, http::StatusCode, routing::get};

use crate::{health::Health, metrics::Metrics};

/// Serves until the process ends.
pub async fn serve(
    address: SocketAddr,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
) -> std::io::Result<()> {
    let probes = Router::new()
        .route("/livez", get(liveness))
        .route("/readyz", get(readiness))
        .with_state(health);
    let router = Router::new()
        .route("/metrics", get(exposition))
        .with_state(metrics)
        .merge(probes);
    let listener = tokio::net::TcpListener::bind(address).await?;
    axum::serve(listener, router).await
}

async fn liveness(State(health): State<Arc<Health>>) -> (StatusCode, String) {
    probe(health.dead(Instant::now()))
}

async fn readiness(State(health): State<Arc<Health>>) -> (StatusCode, String) {
    probe(health.unready(Instant::now()))
}

fn probe(fault: Option<String>) -> (StatusCode, String) {
    match fault {
        None => (StatusCode::OK, "ok".to_owned()),
        Some(fault) => (StatusCode::SERVICE_UNAVAILABLE, fault),
    }
}

async fn exposition(State(metrics): State<Arc<Metrics>>) -> Result<String, StatusCode> {
    metrics
        .text()
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}
