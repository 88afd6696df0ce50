//! The configured channels: one face for both, and the reloading of their keys.
//!
//! Guarantees: every method of [`Channel`] means the same on both channels; keys that changed on
//! disk come into use without a restart, and broken ones never replace working ones.
//!
//! Not here: a timer. Whoever runs the loop calls [`Channels::reload`].

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use payment_core::ChannelKind;

use crate::credentials::{Files, Fingerprint, LoadError};
use crate::http::Wire;
use crate::outcome::{Fail, Refusal};
use crate::{
    Alipay, Bill, BillRow, CallbackError, Cancelled, CertificateRefresh, Closed, Created, FundBill,
    NewOrder, NewRefund, Notice, OrderStatus, Outcome, RefundStatus, Wechat,
};

/// How often the credential files are looked at, at most.
const RELOAD_INTERVAL: SignedDuration = SignedDuration::from_secs(5);

/// A channel ready for use.
#[derive(Debug)]
pub enum Channel {
    Wechat(Wechat),
    Alipay(Alipay),
}

impl Channel {
    pub const fn kind(&self) -> ChannelKind {
        match self {
            Self::Wechat(_) => ChannelKind::Wechat,
            Self::Alipay(_) => ChannelKind::Alipay,
        }
    }

    /// Asks for whatever the payer needs to pay by the order's method. Repeating an equal order is
    /// safe.
    pub async fn create(&self, order: &NewOrder, now: Timestamp) -> Outcome<Created> {
        match self {
            Self::Wechat(wechat) => wechat.create(order, now).await.into(),
            Self::Alipay(alipay) => alipay.create(order, now).await.into(),
        }
    }

    /// What the channel knows of an order.
    pub async fn query(&self, channel_order_no: &str, now: Timestamp) -> Outcome<OrderStatus> {
        match self {
            Self::Wechat(wechat) => wechat.query(channel_order_no, now).await.into(),
            Self::Alipay(alipay) => alipay.query(channel_order_no, now).await.into(),
        }
    }

    /// The same, found by the channel's own number.
    pub async fn query_by_transaction(
        &self,
        transaction_id: &str,
        now: Timestamp,
    ) -> Outcome<OrderStatus> {
        match self {
            Self::Wechat(wechat) => wechat.query_by_transaction(transaction_id, now).await,
            Self::Alipay(alipay) => alipay.query_by_transaction(transaction_id, now).await,
        }
        .into()
    }

    /// Ends an order's chance of being paid.
    pub async fn close(&self, channel_order_no: &str, now: Timestamp) -> Outcome<Closed> {
        match self {
            Self::Wechat(wechat) => wechat.close(channel_order_no, now).await.into(),
            Self::Alipay(alipay) => alipay.close(channel_order_no, now).await.into(),
        }
    }

    /// Undoes an order whose outcome is unknown: closes it, or refunds all of it if it was paid.
    /// Alipay alone has this; unknown means that it has to be repeated.
    pub async fn cancel(&self, channel_order_no: &str, now: Timestamp) -> Outcome<Cancelled> {
        match self {
            Self::Wechat(_) => Err(Fail::Refused(Refusal::not_sent(
                Refusal::NOT_OFFERED,
                "WeChat Pay cannot cancel an order; close it or refund it",
            ))),
            Self::Alipay(alipay) => alipay.cancel(channel_order_no, now).await,
        }
        .into()
    }

    /// Gives money back. Repeating an equal refund is safe, and the only way to repeat one.
    pub async fn refund(&self, refund: &NewRefund, now: Timestamp) -> Outcome<RefundStatus> {
        match self {
            Self::Wechat(wechat) => wechat.refund(refund, now).await,
            Self::Alipay(alipay) => alipay.refund(refund, now).await,
        }
        .into()
    }

    /// What the channel knows of a refund.
    pub async fn query_refund(
        &self,
        channel_order_no: &str,
        channel_refund_no: &str,
        now: Timestamp,
    ) -> Outcome<RefundStatus> {
        let (order, refund) = (channel_order_no, channel_refund_no);
        match self {
            Self::Wechat(wechat) => wechat.query_refund(order, refund, now).await,
            Self::Alipay(alipay) => alipay.query_refund(order, refund, now).await,
        }
        .into()
    }

    /// The channel's account of one Beijing day, which must be over.
    pub async fn bill(&self, day: Date, now: Timestamp) -> Outcome<Bill> {
        match self {
            Self::Wechat(wechat) => wechat.bill(day, now).await.into(),
            Self::Alipay(alipay) => alipay.bill(day, now).await.into(),
        }
    }

    /// Whether a row of a bill names our merchant and app, as far as it and our configuration name
    /// any.
    pub fn is_ours(&self, row: &BillRow) -> bool {
        match self {
            Self::Wechat(wechat) => wechat.is_ours(row),
            Self::Alipay(alipay) => alipay.is_ours(row),
        }
    }

    /// What moved on the merchant's balance in one Beijing day, which must be over.
    pub async fn fund_bill(&self, day: Date, now: Timestamp) -> Outcome<FundBill> {
        match self {
            Self::Wechat(wechat) => wechat.fund_bill(day, now).await.into(),
            Self::Alipay(alipay) => alipay.fund_bill(day, now).await.into(),
        }
    }

    /// Reads a callback. `body` must be the bytes as received, `headers` finds a header's value
    /// whatever the case of its name.
    pub fn verify_callback(
        &self,
        headers: &dyn Fn(&str) -> Option<String>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Notice, CallbackError> {
        match self {
            Self::Wechat(wechat) => wechat.verify_callback(headers, body, now),
            Self::Alipay(alipay) => alipay.verify_callback(body, now),
        }
    }
}

/// The answer that stops a channel from repeating a callback: content type and body, to be sent
/// with status 200. Only for notices that are safely stored.
pub const fn acknowledgement(kind: ChannelKind) -> (&'static str, &'static [u8]) {
    match kind {
        ChannelKind::Wechat => (
            "application/json",
            r#"{"code":"SUCCESS","message":"成功"}"#.as_bytes(),
        ),
        ChannelKind::Alipay => ("text/plain", b"success"),
    }
}

/// The answer that makes a channel repeat a callback: content type and body, to be sent with a
/// 4xx or 5xx status.
pub const fn failure(kind: ChannelKind) -> (&'static str, &'static [u8]) {
    match kind {
        ChannelKind::Wechat => (
            "application/json",
            r#"{"code":"FAIL","message":"失败"}"#.as_bytes(),
        ),
        ChannelKind::Alipay => ("text/plain", b"fail"),
    }
}

/// All configured channels, with keys that follow the files.
#[derive(Debug)]
pub struct Channels {
    config: contract::config::Channels,
    wire: Wire,
    loaded: RwLock<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    keys: Keys,
    fingerprint: Fingerprint,
    checked_at: Option<Timestamp>,
}

#[derive(Clone, Debug)]
struct Keys {
    wechat: Option<Arc<Channel>>,
    alipay: Option<Arc<Channel>>,
}

/// What a call of [`Channels::reload`] did.
#[derive(Debug)]
pub enum Reload {
    /// Looked only a moment ago.
    NotDue,
    Unchanged,
    Reloaded,
    /// The files changed and are broken; the old keys stay in use. Tried and reported again until
    /// the files are mended.
    Failed(LoadError),
}

impl Channels {
    /// Reads the credentials of every configured channel; any missing or broken one is an error.
    pub fn load(config: &contract::config::Channels) -> Result<Self, LoadError> {
        let wire = Wire::new(
            Duration::from_millis(config.connect_timeout_milliseconds),
            Duration::from_millis(config.total_timeout_milliseconds),
        )
        .map_err(|source| LoadError::Client { source })?;
        // Taken before reading: a change in between is then seen by the next look.
        let fingerprint = Fingerprint::of(&config.credentials_directory);
        let keys = read(config, &wire, None)?;
        Ok(Self {
            config: config.clone(),
            wire,
            loaded: RwLock::new(Loaded {
                keys,
                fingerprint,
                checked_at: None,
            }),
        })
    }

    /// The channel of that kind, if it is configured. Keep it for one operation, not longer.
    pub fn get(&self, kind: ChannelKind) -> Option<Arc<Channel>> {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        match kind {
            ChannelKind::Wechat => loaded.keys.wechat.clone(),
            ChannelKind::Alipay => loaded.keys.alipay.clone(),
        }
    }

    /// The configured channels.
    pub fn iter(&self) -> impl Iterator<Item = Arc<Channel>> {
        [ChannelKind::Wechat, ChannelKind::Alipay]
            .into_iter()
            .filter_map(|kind| self.get(kind))
    }

    /// Downloads WeChat Pay's platform certificates when they are due: an hour after the last time,
    /// a minute after one that failed or that left a key unknown. Cheap enough to call on every
    /// turn of a loop; does nothing unless platform certificates are configured.
    pub async fn refresh_certificates(&self, now: Timestamp) -> CertificateRefresh {
        match self.get(ChannelKind::Wechat).as_deref() {
            Some(Channel::Wechat(wechat)) => wechat.refresh_certificates(now).await,
            _ => CertificateRefresh::NotUsed,
        }
    }

    /// Rereads the credentials if their files changed. Cheap enough to call on every turn of a
    /// loop; touches only a few small files.
    pub fn reload(&self, now: Timestamp) -> Reload {
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        let due = loaded
            .checked_at
            .is_none_or(|at| now.duration_since(at).abs() >= RELOAD_INTERVAL);
        if !due {
            return Reload::NotDue;
        }
        loaded.checked_at = Some(now);
        let fingerprint = Fingerprint::of(&self.config.credentials_directory);
        if fingerprint == loaded.fingerprint {
            return Reload::Unchanged;
        }
        match read(&self.config, &self.wire, Some(&loaded.keys)) {
            Ok(keys) => {
                loaded.keys = keys;
                loaded.fingerprint = fingerprint;
                Reload::Reloaded
            }
            Err(error) => Reload::Failed(error),
        }
    }
}

/// `old` hands its downloaded certificates on.
fn read(
    config: &contract::config::Channels,
    wire: &Wire,
    old: Option<&Keys>,
) -> Result<Keys, LoadError> {
    let files = Files::open(&config.credentials_directory);
    let old = match old.and_then(|old| old.wechat.as_deref()) {
        Some(Channel::Wechat(wechat)) => Some(wechat),
        _ => None,
    };
    let wechat = config
        .wechat
        .as_ref()
        .map(|wechat| Wechat::load(&files, wechat, wire.clone(), old))
        .transpose()?;
    let alipay = config
        .alipay
        .as_ref()
        .map(|alipay| Alipay::load(&files, alipay, wire.clone()))
        .transpose()?;
    Ok(Keys {
        wechat: wechat.map(|wechat| Arc::new(Channel::Wechat(wechat))),
        alipay: alipay.map(|alipay| Arc::new(Channel::Alipay(alipay))),
    })
}

#[cfg(test)]
mod tests;
