//! The runtime under measurement, in a process of its own so that its processor time is its own.
//!
//! The router, the layers around it, the store, the cache and the logs are the runtime's real
//! ones. The channel is not: it answers from memory after a known delay, because what a real call
//! costs (signing, TLS, waiting) is the channel's and measured apart.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use axum::Router;
use axum::routing::get;
use channels::{
    Action, CallbackError, Closed, Created, NewOrder, NewRefund, Notice, OrderStatus, Outcome,
    RefundStatus, Uncertainty, UncertaintyReason,
};
use contract::RuntimeConfig;
use jiff::Timestamp;
use payment_core::ChannelKind;
use payment_runtime::api;
use payment_runtime::batch::Batched;
use payment_runtime::cache::Cache;
use payment_runtime::http::{Bound, Surface};
use payment_runtime::outside::System;
use payment_runtime::payments::Payments;
use payment_runtime::ports::{OrderCache, PayChannel, PayChannels, Records};
use payment_runtime::store::Store;
use payment_runtime::telemetry::{self, Metrics};
use tokio_util::sync::CancellationToken;

use crate::timed::{Timed, Timings};

/// How the runtime under measurement is put together.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The runtime's own configuration file
    #[arg(long)]
    config: PathBuf,
    /// How long the channel takes
    #[arg(long)]
    channel_milliseconds: u64,
    /// Commit concurrent payments together
    #[arg(long)]
    batching: bool,
}

/// Serves until it is killed.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    telemetry::init_logs();
    let text = std::fs::read_to_string(&arguments.config).context("cannot read the config")?;
    let config = RuntimeConfig::parse(&text)?;
    let store = Store::new(&config.mysql)?;
    store.migrate().await?;
    let window = config.payment.idempotency_window_seconds;
    let cache = match &config.redis {
        Some(redis) => Some(Arc::new(Cache::new(redis, window)?) as Arc<dyn OrderCache>),
        None => None,
    };
    let timings = Timings::default();
    let records: Arc<dyn Records> = if arguments.batching {
        Arc::new(Batched::new(store))
    } else {
        Arc::new(store)
    };
    let metrics = Metrics::new();
    let host = Arc::new(System);
    let surface = Surface::new(
        metrics.clone(),
        host.clone(),
        config.payment.max_concurrent_requests,
    );
    let (http, management) = (config.listen.http.clone(), config.listen.management.clone());
    let payments = Payments {
        config,
        records: Arc::new(Timed::new(records, timings.clone())),
        cache,
        channels: Arc::new(Known(Arc::new(Prompt {
            delay: Duration::from_millis(arguments.channel_milliseconds),
        }))),
        host,
        metrics,
    };
    let routes = api::router(Arc::new(payments)).fallback(api::no_such_route);
    let told = Router::new().route("/timings", get(move || async move { timings.told() }));
    let stop = CancellationToken::new();
    let told = Bound::new(&management, told).await?;
    tokio::spawn(told.serve(stop.clone(), Duration::ZERO));
    let served = Bound::new(&http, surface.wrap(routes)).await?;
    served.serve(stop, Duration::ZERO).await
}

/// The one channel there is.
struct Known(Arc<Prompt>);

impl PayChannels for Known {
    fn get(&self, kind: ChannelKind) -> Option<Arc<dyn PayChannel>> {
        (kind == ChannelKind::Wechat).then(|| self.0.clone() as Arc<dyn PayChannel>)
    }
}

/// Accepts every order after its delay, and can do nothing else.
struct Prompt {
    delay: Duration,
}

fn not_here<T>() -> Outcome<T> {
    Outcome::Unknown(Uncertainty {
        reason: UncertaintyReason::ServerError,
        detail: "the benchmark's channel only accepts orders".to_owned(),
    })
}

#[async_trait]
impl PayChannel for Prompt {
    fn kind(&self) -> ChannelKind {
        ChannelKind::Wechat
    }

    async fn create(&self, order: &NewOrder, _now: Timestamp) -> Outcome<Created> {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        let url = format!("weixin://wxpay/bizpayurl?pr={}", order.channel_order_no);
        Outcome::Done(Created {
            action: Action::QrCode { url },
        })
    }

    async fn query(&self, _channel_order_no: &str, _now: Timestamp) -> Outcome<OrderStatus> {
        not_here()
    }

    async fn close(&self, _channel_order_no: &str, _now: Timestamp) -> Outcome<Closed> {
        not_here()
    }

    async fn refund(&self, _refund: &NewRefund, _now: Timestamp) -> Outcome<RefundStatus> {
        not_here()
    }

    async fn query_refund(
        &self,
        _channel_order_no: &str,
        _channel_refund_no: &str,
        _now: Timestamp,
    ) -> Outcome<RefundStatus> {
        not_here()
    }

    fn verify_callback(
        &self,
        _headers: &dyn Fn(&str) -> Option<String>,
        _body: &[u8],
        _now: Timestamp,
    ) -> Result<Notice, CallbackError> {
        Err(CallbackError::UnknownKey)
    }
}
