//! WeChat Pay API v3 for a direct merchant: orders by four methods, refunds, bills.
//!
//! Guarantees: the bytes that are signed are the bytes that are sent; an answer counts only when
//! signed within five minutes by a key that is trusted at that time, and only when it speaks of
//! the order or refund that was asked for.
//!
//! Where to look: `calls` sends and judges, `keys` and `certificates` decide who is believed,
//! `orders`, `refunds` and `bills` are the operations, `answer` reads what comes back.
//!
//! Deliberately not here: partner (service provider) merchants, pay codes, profit sharing.

mod answer;
mod bill;
mod bills;
mod callback;
mod calls;
mod certificates;
mod columns;
mod funds;
pub(crate) mod fuzzing;
mod invocation;
mod keys;
mod orders;
mod refunds;
mod sign;
mod table;

use std::fmt;

use contract::names::channel_key as key;
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use payment_core::{Currency, Money};
use reqwest::Url;

use crate::credentials::{Files, LoadError};
use crate::crypto::{SealingKeys, SigningKey};
use crate::http::Wire;
use crate::notice::{CallbackError, Notice};
pub(crate) use bills::read_bill;
pub use certificates::{CertificateError, CertificateRefresh};
use keys::TrustedKeys;

const BEIJING: Offset = Offset::constant(8);

/// The merchant at WeChat Pay.
pub struct Wechat {
    base: Url,
    wire: Wire,
    app_id: String,
    merchant_id: String,
    merchant_serial: String,
    signing: SigningKey,
    sealing: SealingKeys,
    keys: TrustedKeys,
}

impl fmt::Debug for Wechat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wechat")
            .field("base", &self.base.as_str())
            .field("merchant_id", &self.merchant_id)
            .field("key_ids", &self.keys.ids())
            .finish_non_exhaustive()
    }
}

impl Wechat {
    /// `old` is the same channel before its keys changed; certificates downloaded for the same
    /// merchant stay in use.
    pub(crate) fn load(
        files: &Files,
        config: &contract::config::Wechat,
        wire: Wire,
        old: Option<&Self>,
    ) -> Result<Self, LoadError> {
        let base = Url::parse(&config.base_url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| LoadError::Url {
                field: "channels.wechat.baseUrl",
                url: config.base_url.clone(),
            })?;
        let serial = files.word(key::WECHAT_MERCHANT_SERIAL)?;
        if !serial.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(files.invalid(key::WECHAT_MERCHANT_SERIAL, "is not hexadecimal"));
        }
        let merchant_id = files.word(key::WECHAT_MCH_ID)?;
        let certificates = config.platform_certificates.then(|| {
            old.filter(|old| old.merchant_id == merchant_id)
                .and_then(|old| old.keys.certificates().cloned())
                .unwrap_or_default()
        });
        Ok(Self {
            base,
            wire,
            app_id: files.word(key::WECHAT_APP_ID)?,
            merchant_id,
            merchant_serial: serial.to_ascii_uppercase(),
            signing: files.key(key::WECHAT_PRIVATE_KEY, SigningKey::parse)?,
            sealing: files.key(key::WECHAT_API_KEY, SealingKeys::parse)?,
            keys: TrustedKeys::load(files, certificates)?,
        })
    }

    pub(crate) fn is_ours(&self, row: &crate::BillRow) -> bool {
        let named = |name: &Option<String>, ours: &str| name.as_ref().is_none_or(|n| n == ours);
        named(&row.merchant_no, &self.merchant_id) && named(&row.app_id, &self.app_id)
    }

    pub(crate) fn verify_callback(
        &self,
        headers: &dyn Fn(&str) -> Option<String>,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Notice, CallbackError> {
        sign::verify(&|id| self.keys.get(id, now), headers, body, now)?;
        callback::read(&self.sealing, &self.merchant_id, &self.app_id, body)
    }
}

fn beijing_rfc3339(at: Timestamp) -> String {
    at.to_zoned(TimeZone::fixed(BEIJING))
        .strftime("%Y-%m-%dT%H:%M:%S+08:00")
        .to_string()
}

/// RFC 3339. Only a fact for people: an unreadable one must not hold up a payment.
fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// CNY in fen, as every amount of the API is.
fn money(total: i64, currency: Option<&str>) -> Result<Money, String> {
    let code = currency.unwrap_or("CNY");
    let currency = Currency::parse(code).map_err(|_| format!("{code:?} is not a currency"))?;
    Ok(Money::new(total, currency))
}

#[cfg(test)]
mod tests;
