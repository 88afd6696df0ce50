//! The callback receiver: `POST /callbacks/wechat` and `POST /callbacks/alipay`.
//!
//! Guarantees: the raw bytes are verified; a callback is acknowledged only after it is committed
//! to the inbox; a repeat is acknowledged again; what cannot be verified changes nothing. The
//! payment follows at once, and if this process dies before, a worker does it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use channels::{CallbackError, Notice};
use payment_core::guards::holds;
use payment_core::{ChannelKind, Guard};

use crate::payments::Payments;
use crate::records::{InboxEntry, NewInboxEntry, SeenByChannel, SeenRefund, after};

/// Real callbacks are below 10 kB.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// This process applies a callback at once; if it has not by then, it is gone.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// Headers kept as evidence beside the body.
const KEPT_HEADERS: [&str; 6] = [
    "wechatpay-serial",
    "wechatpay-signature",
    "wechatpay-signature-type",
    "wechatpay-timestamp",
    "wechatpay-nonce",
    "content-type",
];

/// The routes of the callback role.
pub fn router(payments: Arc<Payments>) -> Router {
    Router::new()
        .route(contract::names::WECHAT_CALLBACK_PATH, post(wechat))
        .route(contract::names::ALIPAY_CALLBACK_PATH, post(alipay))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(payments)
}

async fn wechat(
    State(payments): State<Arc<Payments>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    receive(payments, ChannelKind::Wechat, &headers, body).await
}

async fn alipay(
    State(payments): State<Arc<Payments>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    receive(payments, ChannelKind::Alipay, &headers, body).await
}

/// How a callback was dealt with: the metric's label and the answer's status.
struct Receipt {
    label: &'static str,
    status: StatusCode,
}

async fn receive(
    payments: Arc<Payments>,
    kind: ChannelKind,
    headers: &HeaderMap,
    body: Bytes,
) -> Response {
    let started = Instant::now();
    let result = judge(&payments, kind, headers, body).await;
    payments
        .metrics
        .callback_answered(kind, result.label, started.elapsed());
    let (content_type, text) = if result.status == StatusCode::OK {
        channels::acknowledgement(kind)
    } else {
        channels::failure(kind)
    };
    (result.status, [(header::CONTENT_TYPE, content_type)], text).into_response()
}

async fn judge(
    payments: &Arc<Payments>,
    kind: ChannelKind,
    headers: &HeaderMap,
    body: Bytes,
) -> Receipt {
    let Some(channel) = payments.channels.get(kind) else {
        tracing::warn!(channel = %kind, "a callback for a channel that is not configured");
        return Receipt {
            label: "rejected",
            status: StatusCode::NOT_FOUND,
        };
    };
    let header = |name: &str| headers.get(name)?.to_str().ok().map(str::to_owned);
    let notice = match channel.verify_callback(&header, &body, payments.now()) {
        Ok(notice) => notice,
        Err(error) => return refused(kind, &error),
    };
    keep(payments, kind, headers, body, notice).await
}

fn refused(kind: ChannelKind, error: &CallbackError) -> Receipt {
    if error.is_probe() {
        tracing::info!(channel = %kind, "a signature probe was refused, as the channel expects");
        return Receipt {
            label: "probe",
            status: StatusCode::UNAUTHORIZED,
        };
    }
    tracing::warn!(channel = %kind, reason = %error, "a callback was refused");
    Receipt {
        label: "rejected",
        status: StatusCode::UNAUTHORIZED,
    }
}

async fn keep(
    payments: &Arc<Payments>,
    kind: ChannelKind,
    headers: &HeaderMap,
    body: Bytes,
    notice: Notice,
) -> Receipt {
    let new = entry(kind, headers, &body, notice, payments.now());
    let retry_at = after(new.now, RETRY_AFTER);
    if !holds(Guard::KeepBeforeAcknowledging) {
        keep_later(payments.clone(), new);
        return Receipt {
            label: "accepted",
            status: StatusCode::OK,
        };
    }
    match payments.records.keep_callback(&new, retry_at).await {
        Ok(Some(id)) => {
            process_soon(payments.clone(), id, new);
            Receipt {
                label: "accepted",
                status: StatusCode::OK,
            }
        }
        Ok(None) => Receipt {
            label: "repeated",
            status: StatusCode::OK,
        },
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::error!(channel = %kind, error, "a callback could not be kept");
            Receipt {
                label: "failed",
                status: StatusCode::SERVICE_UNAVAILABLE,
            }
        }
    }
}

fn entry(
    kind: ChannelKind,
    headers: &HeaderMap,
    body: &Bytes,
    notice: Notice,
    now: jiff::Timestamp,
) -> NewInboxEntry {
    let cut = |text: String, length| text.chars().take(length).collect::<String>();
    let refund = notice.refund.map(|refund| SeenRefund {
        channel_refund_no: refund.refund_no.map(|number| cut(number, 64)),
        channel_refund_id: refund.channel_refund_id.map(|id| cut(id, 64)),
        state: refund.state,
        amount: refund.amount,
        refunded_at: refund.refunded_at,
    });
    NewInboxEntry {
        channel: kind,
        channel_order_no: cut(notice.channel_order_no, 32),
        transaction_id: cut(notice.transaction_id, 64),
        event: cut(notice.event_id, 96),
        seen: SeenByChannel {
            state: notice.state,
            amount: notice.amount,
            paid_at: notice.paid_at,
            refund,
        },
        headers: kept_headers(headers),
        body: body.to_vec(),
        now,
    }
}

/// Applies the callback after the acknowledgement; the inbox entry survives this process.
fn process_soon(payments: Arc<Payments>, id: u64, new: NewInboxEntry) {
    let entry = InboxEntry {
        id,
        channel: new.channel,
        channel_order_no: new.channel_order_no,
        transaction_id: new.transaction_id,
        event: new.event,
        seen: new.seen,
        attempts: 0,
    };
    tokio::spawn(async move {
        if let Err(error) = payments.process(&entry).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(entry = entry.id, error, "a callback is left to the worker");
        }
    });
}

/// What must never be done: here for the simulation, which has to notice.
fn keep_later(payments: Arc<Payments>, new: NewInboxEntry) {
    tokio::spawn(async move {
        let retry_at = after(new.now, RETRY_AFTER);
        if let Ok(Some(id)) = payments.records.keep_callback(&new, retry_at).await {
            process_soon(payments, id, new);
        }
    });
}

fn kept_headers(headers: &HeaderMap) -> String {
    let kept = KEPT_HEADERS.iter().filter_map(|name| {
        let value = headers.get(*name)?.to_str().ok()?;
        Some(((*name).to_owned(), serde_json::Value::from(value)))
    });
    serde_json::Value::Object(kept.collect()).to_string()
}
