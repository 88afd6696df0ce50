//! Alipay's gateway v1, by key or by certificate: orders by five methods, refunds, bills.
//!
//! Guarantees: requests and answers are signed with RSA2 (SHA-256) whatever `sign_type` claims; an
//! answer is verified over its bytes as received, and counts only when it speaks of the order or
//! refund that was asked for.
//!
//! Where to look: `gateway` signs and sends, `keys` decides who is believed, `orders`, `refunds`
//! and `bills` are the operations, `answer` reads what comes back.
//!
//! Deliberately not here: encrypted content, pay codes, the download of certificates that are not
//! configured, the REST gateway (v3).

mod account;
mod answer;
mod archive;
mod bill;
mod bills;
mod callback;
pub(crate) mod fuzzing;
mod gateway;
mod keys;
mod orders;
mod refunds;
mod sign;
mod table;

use std::fmt;

use contract::names::channel_key as key;
use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use reqwest::Url;

use crate::credentials::{Files, LoadError};
use crate::crypto::SigningKey;
use crate::http::Wire;
use crate::notice::{CallbackError, Notice};
pub(crate) use bills::read_bill;
use callback::Recipient;
use keys::TrustedKeys;

const BEIJING: Offset = Offset::constant(8);

/// The application at Alipay.
pub struct Alipay {
    gateway: Url,
    wire: Wire,
    app_id: String,
    seller_id: Option<String>,
    signing: SigningKey,
    keys: TrustedKeys,
}

impl fmt::Debug for Alipay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alipay")
            .field("gateway", &self.gateway.as_str())
            .field("app_id", &self.app_id)
            .field("certificates", &self.keys.serials())
            .finish_non_exhaustive()
    }
}

impl Alipay {
    pub(crate) fn load(
        files: &Files,
        config: &contract::config::Alipay,
        wire: Wire,
    ) -> Result<Self, LoadError> {
        let gateway = Url::parse(&config.gateway_url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| LoadError::Url {
                field: "channels.alipay.gatewayUrl",
                url: config.gateway_url.clone(),
            })?;
        let signing = files.key(key::ALIPAY_PRIVATE_KEY, SigningKey::parse)?;
        let seller_id = files
            .has(key::ALIPAY_SELLER_ID)
            .then(|| files.word(key::ALIPAY_SELLER_ID))
            .transpose()?;
        Ok(Self {
            gateway,
            wire,
            app_id: files.word(key::ALIPAY_APP_ID)?,
            seller_id,
            keys: TrustedKeys::load(files, &signing)?,
            signing,
        })
    }

    /// The account in the file's head is the seller's number with four digits behind it.
    pub(crate) fn is_ours(&self, row: &crate::BillRow) -> bool {
        let (account, seller) = (row.merchant_no.as_ref(), self.seller_id.as_ref());
        account
            .zip(seller)
            .is_none_or(|(account, seller)| account.starts_with(seller.as_str()))
    }

    pub(crate) fn verify_callback(
        &self,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Notice, CallbackError> {
        let recipient = Recipient {
            app_id: &self.app_id,
            seller_id: self.seller_id.as_deref(),
        };
        callback::read(&self.keys, &recipient, body, now)
    }
}

fn beijing(at: Timestamp) -> String {
    at.to_zoned(TimeZone::fixed(BEIJING))
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string()
}

/// Beijing text, with or without fractions of a second, to an instant. Only a fact for people: an
/// unreadable one must not hold up a payment.
fn instant(text: &str) -> Option<Timestamp> {
    let whole = text.split('.').next()?;
    let time = crate::bill::beijing_time(whole)?;
    BEIJING.to_timestamp(time).ok()
}

#[cfg(test)]
mod tests;
