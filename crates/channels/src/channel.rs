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
use crate::{
    Alipay, Bill, CallbackError, Closed, Created, NewOrder, Notice, OrderStatus, Outcome, Wechat,
    http,
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

    /// Asks for a code that the payer can scan. Repeating an equal order is safe.
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

    /// Ends an order's chance of being paid.
    pub async fn close(&self, channel_order_no: &str, now: Timestamp) -> Outcome<Closed> {
        match self {
            Self::Wechat(wechat) => wechat.close(channel_order_no, now).await.into(),
            Self::Alipay(alipay) => alipay.close(channel_order_no, now).await.into(),
        }
    }

    /// The channel's account of one Beijing day, which must be over.
    pub async fn bill(&self, day: Date, now: Timestamp) -> Outcome<Bill> {
        match self {
            Self::Wechat(wechat) => wechat.bill(day, now).await.into(),
            Self::Alipay(alipay) => alipay.bill(day, now).await.into(),
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
            Self::Alipay(alipay) => alipay.verify_callback(body),
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
    http: reqwest::Client,
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
        let http = http::client(
            Duration::from_millis(config.connect_timeout_milliseconds),
            Duration::from_millis(config.total_timeout_milliseconds),
        )
        .map_err(|source| LoadError::Client { source })?;
        // Taken before reading: a change in between is then seen by the next look.
        let fingerprint = Fingerprint::of(&config.credentials_directory);
        let keys = read(config, &http)?;
        Ok(Self {
            config: config.clone(),
            http,
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
        match read(&self.config, &self.http) {
            Ok(keys) => {
                loaded.keys = keys;
                loaded.fingerprint = fingerprint;
                Reload::Reloaded
            }
            Err(error) => Reload::Failed(error),
        }
    }
}

fn read(config: &contract::config::Channels, http: &reqwest::Client) -> Result<Keys, LoadError> {
    let files = Files::open(&config.credentials_directory);
    let wechat = config
        .wechat
        .as_ref()
        .map(|wechat| Wechat::load(&files, wechat, http.clone()))
        .transpose()?;
    let alipay = config
        .alipay
        .as_ref()
        .map(|alipay| Alipay::load(&files, alipay, http.clone()))
        .transpose()?;
    Ok(Keys {
        wechat: wechat.map(|wechat| Arc::new(Channel::Wechat(wechat))),
        alipay: alipay.map(|alipay| Arc::new(Channel::Alipay(alipay))),
    })
}

#[cfg(test)]
mod tests;
