//! The two HTTP servers.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{any, get};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::connection::{Caller, CuttableListener};
use crate::{Simulator, admin, alipay, wechat};

pub(crate) async fn public(
    simulator: Arc<Simulator>,
    listener: TcpListener,
    stop: CancellationToken,
) {
    let router = Router::new()
        .route("/v3/{*path}", any(wechat::serve))
        .route(alipay::GATEWAY_PATH, any(alipay::serve))
        .route(alipay::BILL_PATH, get(alipay::download_bill))
        .with_state(simulator)
        .fallback(|| async { StatusCode::NOT_FOUND })
        .into_make_service_with_connect_info::<Caller>();
    let served = axum::serve(CuttableListener(listener), router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await;
    log_end(served);
}

pub(crate) async fn admin(
    simulator: Arc<Simulator>,
    listener: TcpListener,
    stop: CancellationToken,
) {
    let served = axum::serve(listener, admin::router(simulator))
        .with_graceful_shutdown(stop.cancelled_owned())
        .await;
    log_end(served);
}

fn log_end(served: std::io::Result<()>) {
    if let Err(error) = served {
        tracing::error!(%error, "a server ended");
    }
}
