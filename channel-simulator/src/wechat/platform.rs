//! Platform certificates: off unless the admin port switches them on, as for merchants who
//! registered after late 2024. While off, `GET /v3/certificates` answers 404 and only the public
//! key signs.
//!
//! While on, a request's `Wechatpay-Serial` chooses the key of its answer: the public key's id or
//! a live certificate's serial; a request that names none gets a certificate. Rotation puts a new
//! certificate beside the old one (two live at most); of the answers that may choose, and of the
//! callbacks that certificates sign, `newPercent` of a hundred use the new one. `callbackPercent`
//! of a hundred callbacks are signed by a certificate. Shares are spread evenly, not drawn, so
//! that runs repeat.

use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::certificates::{self, Platform};
use crate::clock::{self, rfc3339};
use crate::ids;
use crate::keys::{KeyError, Signer, WechatKeys, WechatPair};
use crate::locked;

const LIVE_MAX: usize = 2;
const HUNDRED: u8 = 100;

/// A key and the name it goes by in `Wechatpay-Serial`.
#[derive(Clone)]
pub(crate) struct Named {
    pub(crate) serial: String,
    pub(crate) signer: Arc<Signer>,
}

struct Certificate {
    platform: Platform,
    signer: Arc<Signer>,
}

impl Certificate {
    fn named(&self) -> Named {
        Named {
            serial: self.platform.serial.clone(),
            signer: Arc::clone(&self.signer),
        }
    }
}

/// So many of a hundred, evenly spread.
#[derive(Debug, Default)]
struct Share {
    percent: u8,
    owed: u8,
}

impl Share {
    fn set(&mut self, percent: u8) {
        *self = Self { percent, owed: 0 };
    }

    fn next(&mut self) -> bool {
        self.owed += self.percent;
        let due = self.owed >= HUNDRED;
        if due {
            self.owed -= HUNDRED;
        }
        due
    }
}

#[derive(Default)]
struct State {
    enabled: bool,
    /// Oldest first.
    live: Vec<Certificate>,
    callbacks: Share,
    /// Of answers and of callbacks apart: as one, their turns would fall into step.
    new_answers: Share,
    new_callbacks: Share,
}

#[derive(Default)]
pub(crate) struct Certificates(Mutex<State>);

/// The body of `POST /certificates`: any use switches certificates on, unless it says otherwise.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Change {
    #[serde(default = "yes")]
    enabled: bool,
    callback_percent: Option<u8>,
    new_percent: Option<u8>,
}

/// The body of `POST /certificates/rotate`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Rotation {
    new_percent: Option<u8>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    #[error("a percentage is between 0 and 100")]
    Percent,
    #[error("cannot make a certificate")]
    Key(#[source] KeyError),
}

/// What the admin port shows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct View {
    enabled: bool,
    callback_percent: u8,
    new_percent: u8,
    /// Oldest first.
    certificates: Vec<CertificateView>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CertificateView {
    serial_no: String,
    effective_time: String,
    expire_time: String,
    certificate: String,
}

const fn yes() -> bool {
    true
}

impl State {
    fn add(&mut self) -> Result<(), KeyError> {
        let signer = Signer::generate()?;
        let platform = certificates::platform(&signer, clock::now())?;
        if self.live.len() >= LIVE_MAX {
            self.live.remove(0);
        }
        self.live.push(Certificate {
            platform,
            signer: Arc::new(signer),
        });
        Ok(())
    }

    fn enable(&mut self) -> Result<(), KeyError> {
        if self.live.is_empty() {
            self.add()?;
            self.set_new(HUNDRED);
        }
        self.enabled = true;
        Ok(())
    }

    fn set_new(&mut self, percent: u8) {
        self.new_answers.set(percent);
        self.new_callbacks.set(percent);
    }

    fn chosen(&self, new: bool) -> Option<Named> {
        let certificate = if new {
            self.live.last()
        } else {
            self.live.first()
        };
        certificate.map(Certificate::named)
    }

    fn view(&self) -> View {
        let certificate = |one: &Certificate| CertificateView {
            serial_no: one.platform.serial.clone(),
            effective_time: rfc3339(one.platform.effective),
            expire_time: rfc3339(one.platform.expires),
            certificate: one.platform.pem.clone(),
        };
        View {
            enabled: self.enabled,
            callback_percent: self.callbacks.percent,
            new_percent: self.new_answers.percent,
            certificates: self.live.iter().map(certificate).collect(),
        }
    }
}

impl Certificates {
    pub(crate) fn view(&self) -> View {
        locked(&self.0).view()
    }

    pub(crate) fn change(&self, change: Change) -> Result<View, ChangeError> {
        let percents = [change.callback_percent, change.new_percent];
        if percents.into_iter().flatten().any(|share| share > HUNDRED) {
            return Err(ChangeError::Percent);
        }
        let mut state = locked(&self.0);
        if change.enabled {
            state.enable().map_err(ChangeError::Key)?;
        } else {
            state.enabled = false;
        }
        if let Some(percent) = change.callback_percent {
            state.callbacks.set(percent);
        }
        if let Some(percent) = change.new_percent {
            state.set_new(percent);
        }
        Ok(state.view())
    }

    pub(crate) fn rotate(&self, rotation: Rotation) -> Result<View, ChangeError> {
        let percent = rotation.new_percent.unwrap_or(HUNDRED);
        if percent > HUNDRED {
            return Err(ChangeError::Percent);
        }
        let mut state = locked(&self.0);
        state.enable().map_err(ChangeError::Key)?;
        state.add().map_err(ChangeError::Key)?;
        state.set_new(percent);
        Ok(state.view())
    }

    pub(crate) fn enable(&self) -> Result<(), KeyError> {
        locked(&self.0).enable()
    }

    /// Whether a request may name this key.
    pub(super) fn knows(&self, keys: &WechatKeys, serial: &str) -> bool {
        keys.public_key(serial).is_some() || self.live(serial).is_some()
    }

    fn live(&self, serial: &str) -> Option<Named> {
        let state = locked(&self.0);
        let mut live = state.live.iter().filter(|_| state.enabled);
        live.find(|one| one.platform.serial == serial)
            .map(Certificate::named)
    }

    /// The certificate whose turn it is, if certificates are on.
    pub(super) fn certificate(&self) -> Option<Named> {
        let mut state = locked(&self.0);
        if !state.enabled {
            return None;
        }
        let new = state.new_answers.next();
        state.chosen(new)
    }

    /// What signs the answer to a request that named `asked`.
    pub(super) fn for_answer(&self, keys: &WechatKeys, asked: Option<&str>) -> Named {
        let named = match asked {
            Some(serial) => keys
                .public_key(serial)
                .map(WechatPair::named)
                .or_else(|| self.live(serial)),
            None => self.certificate(),
        };
        named.unwrap_or_else(|| keys.in_use.named())
    }

    /// What signs the next callback.
    pub(super) fn for_callback(&self, keys: &WechatKeys) -> Named {
        let mut state = locked(&self.0);
        let named = if state.enabled && state.callbacks.next() {
            let new = state.new_callbacks.next();
            state.chosen(new)
        } else {
            None
        };
        drop(state);
        named.unwrap_or_else(|| keys.in_use.named())
    }

    /// The other kind of key.
    pub(super) fn other_than(&self, keys: &WechatKeys, named: Named) -> Named {
        if keys.public_key(&named.serial).is_none() {
            return keys.in_use.named();
        }
        if let Err(error) = self.enable() {
            tracing::error!(%error, "cannot switch certificates on");
        }
        self.certificate().unwrap_or(named)
    }

    /// The body of `GET /v3/certificates`; `None` while off.
    pub(super) fn download(&self, keys: &WechatKeys) -> Option<Result<Value, KeyError>> {
        let state = locked(&self.0);
        let entries: Result<Vec<Value>, KeyError> = state
            .live
            .iter()
            .map(|one| entry(keys, &one.platform))
            .collect();
        state
            .enabled
            .then(|| entries.map(|data| json!({"data": data})))
    }
}

impl WechatPair {
    fn named(&self) -> Named {
        Named {
            serial: self.public_key_id.clone(),
            signer: Arc::clone(&self.signer),
        }
    }
}

fn entry(keys: &WechatKeys, platform: &Platform) -> Result<Value, KeyError> {
    let nonce = ids::nonce(12);
    Ok(json!({
        "serial_no": platform.serial,
        "effective_time": rfc3339(platform.effective),
        "expire_time": rfc3339(platform.expires),
        "encrypt_certificate": {
            "algorithm": "AEAD_AES_256_GCM",
            "nonce": nonce,
            "associated_data": "certificate",
            "ciphertext": keys.encrypt(&nonce, "certificate", &platform.pem)?,
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_exact_and_evenly_spread() {
        let mut share = Share::default();
        for percent in [0, 1, 50, 99, 100] {
            share.set(percent);
            let run: Vec<bool> = (0..100).map(|_| share.next()).collect();
            let hits = run.iter().filter(|hit| **hit).count();
            assert_eq!(hits, usize::from(percent));
        }
        share.set(50);
        assert!(!share.next() && share.next() && !share.next());
    }

    #[test]
    fn two_certificates_live_at_most_and_rotation_keeps_the_newer() {
        let certificates = Certificates::default();
        let first = certificates.rotate(Rotation::default()).unwrap();
        assert_eq!(first.certificates.len(), 2);
        let second = certificates.rotate(Rotation::default()).unwrap();
        assert_eq!(second.certificates.len(), 2);
        assert_eq!(
            second.certificates[0].serial_no,
            first.certificates[1].serial_no
        );
        assert_eq!(
            certificates.certificate().unwrap().serial,
            second.certificates[1].serial_no
        );
    }
}
