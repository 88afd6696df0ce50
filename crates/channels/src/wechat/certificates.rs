//! WeChat Pay's platform certificates: downloaded, verified, kept.
//!
//! Guarantees: a certificate is believed only after it was decrypted with the APIv3 key *and* the
//! very answer that brought it was signed by a key that is trusted by then; it is used only
//! between its dates; new ones are kept beside old ones until those end.
//!
//! Not here: a timer (whoever runs the loop calls `refresh_certificates`); storing them on disk.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde::Deserialize;

use super::{Wechat, answer, sign};
use crate::certificate::{Certificate, Validity};
use crate::crypto::VerifyingKey;
use crate::http::Answer;
use crate::outcome::Fail;

const PATH: &str = "/v3/certificates?algorithm_type=RSA";
const ALGORITHM: &str = "AEAD_AES_256_GCM";
/// Certificates come days before they are used, so an hour is early enough.
const INTERVAL: SignedDuration = SignedDuration::from_hours(1);
/// Anyone can send a callback with an invented serial number; it costs one download a minute.
const RETRY_INTERVAL: SignedDuration = SignedDuration::from_mins(1);

/// What a call of [`crate::Channels::refresh_certificates`] did.
#[derive(Debug, PartialEq, Eq)]
pub enum CertificateRefresh {
    /// Platform certificates are not configured.
    NotUsed,
    /// Done or tried only a while ago.
    NotDue,
    /// That many certificates are in use now.
    Refreshed { certificates: usize },
    /// The certificates that were there stay in use.
    Failed(CertificateError),
}

/// Why no certificates came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Merchants registered since late 2024 have none.
    #[error(
        "this merchant has no platform certificates: turn channels.wechat.platformCertificates off \
         and configure the WeChat Pay public key"
    )]
    None,
    #[error("the certificates cannot be downloaded: {0}")]
    Download(String),
    #[error("the downloaded certificates are not accepted: {0}")]
    NotAccepted(String),
}

/// The certificates in use, shared by the versions of a channel before and after its keys changed.
#[derive(Default)]
pub(super) struct Certificates {
    book: Mutex<Book>,
    /// Held while downloading, so that whoever needs the same certificates waits for them instead
    /// of doing without.
    downloading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Book {
    entries: Vec<Entry>,
    tried_at: Option<Timestamp>,
    refreshed_at: Option<Timestamp>,
    unknown_seen: bool,
}

struct Entry {
    serial: String,
    key: Arc<VerifyingKey>,
    validity: Validity,
}

impl Certificates {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, serial: &str, now: Timestamp) -> Option<Arc<VerifyingKey>> {
        find(&self.book().entries, serial, now)
    }

    pub(super) fn newest(&self, now: Timestamp) -> Option<String> {
        let book = self.book();
        let live = book
            .entries
            .iter()
            .filter(|entry| entry.validity.holds(now));
        let newest = live.max_by_key(|entry| entry.validity.from)?;
        Some(newest.serial.clone())
    }

    pub(super) fn serials(&self) -> Vec<String> {
        let book = self.book();
        book.entries
            .iter()
            .map(|entry| entry.serial.clone())
            .collect()
    }

    pub(super) fn unknown_seen(&self) {
        self.book().unknown_seen = true;
    }

    /// Whether a download is due; if so, it is the caller's to make.
    fn claim(&self, now: Timestamp) -> bool {
        let mut book = self.book();
        let passed = |since: Option<Timestamp>, interval| {
            since.is_none_or(|since| now.duration_since(since).abs() >= interval)
        };
        let due = passed(book.tried_at, RETRY_INTERVAL)
            && (book.unknown_seen || passed(book.refreshed_at, INTERVAL));
        if due {
            book.tried_at = Some(now);
        }
        due
    }

    /// Takes new certificates in beside the old ones that still count.
    fn add(&self, new: Vec<Entry>, now: Timestamp) -> usize {
        let mut book = self.book();
        book.entries.retain(|old| {
            let replaced = new.iter().any(|new| new.serial == old.serial);
            old.validity.holds(now) && !replaced
        });
        book.entries.extend(new);
        book.refreshed_at = Some(now);
        book.unknown_seen = false;
        book.entries.len()
    }
}

fn find(entries: &[Entry], serial: &str, now: Timestamp) -> Option<Arc<VerifyingKey>> {
    let matching =
        |entry: &&Entry| entry.serial.eq_ignore_ascii_case(serial) && entry.validity.holds(now);
    let entry = entries.iter().find(matching)?;
    Some(Arc::clone(&entry.key))
}

#[derive(Deserialize)]
struct List {
    data: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    serial_no: String,
    encrypt_certificate: Sealed,
}

#[derive(Deserialize)]
struct Sealed {
    algorithm: String,
    nonce: String,
    #[serde(default)]
    associated_data: String,
    ciphertext: String,
}

impl Wechat {
    pub(crate) async fn refresh_certificates(&self, now: Timestamp) -> CertificateRefresh {
        let Some(certificates) = self.keys.certificates() else {
            return CertificateRefresh::NotUsed;
        };
        let _downloading = certificates.downloading.lock().await;
        if !certificates.claim(now) {
            return CertificateRefresh::NotDue;
        }
        match self.download_certificates(now).await {
            Ok(new) => CertificateRefresh::Refreshed {
                certificates: certificates.add(new, now),
            },
            Err(error) => CertificateRefresh::Failed(error),
        }
    }

    async fn download_certificates(&self, now: Timestamp) -> Result<Vec<Entry>, CertificateError> {
        let answer = self
            .exchange(Method::GET, PATH, String::new(), now)
            .await
            .map_err(|fail| CertificateError::Download(text(fail)))?;
        let code = || answer::code_text(&answer.body);
        match answer.status.as_u16() {
            200 => self
                .accepted(&answer, now)
                .map_err(CertificateError::NotAccepted),
            404 if code().replace('_', "") == "RESOURCENOTEXISTS" => Err(CertificateError::None),
            status => Err(CertificateError::Download(format!(
                "HTTP {status} {}",
                code()
            ))),
        }
    }

    /// At the first download no key is known yet: the certificate that signed the answer is inside
    /// it. That it was sealed with the APIv3 key, which WeChat Pay and the merchant share, is what
    /// makes it WeChat Pay's.
    fn accepted(&self, answer: &Answer, now: Timestamp) -> Result<Vec<Entry>, String> {
        let list: List = serde_json::from_slice(&answer.body)
            .map_err(|error| format!("the list cannot be read: {error}"))?;
        let mut entries = list
            .data
            .iter()
            .map(|item| self.open(item))
            .collect::<Result<Vec<_>, _>>()?;
        entries.retain(|entry| entry.validity.holds(now));
        if entries.is_empty() {
            return Err("none of them is valid now".to_owned());
        }
        let key = |id: &str| find(&entries, id, now).or_else(|| self.keys.get(id, now));
        let headers = |name: &str| answer.header(name);
        sign::verify(&key, &headers, &answer.body, now).map_err(|error| error.to_string())?;
        Ok(entries)
    }

    fn open(&self, item: &Item) -> Result<Entry, String> {
        let sealed = &item.encrypt_certificate;
        if sealed.algorithm != ALGORITHM {
            return Err(format!("one is not encrypted with {ALGORITHM}"));
        }
        let plain = STANDARD
            .decode(&sealed.ciphertext)
            .ok()
            .and_then(|ciphertext| {
                let aad = sealed.associated_data.as_bytes();
                self.sealing.open(sealed.nonce.as_bytes(), aad, &ciphertext)
            })
            .ok_or("one cannot be decrypted: is the APIv3 key the current one?")?;
        let pem = String::from_utf8(plain).map_err(|_| "one is not PEM")?;
        let certificate = Certificate::parse(&pem).map_err(|problem| format!("it {problem}"))?;
        let serial = item.serial_no.to_ascii_uppercase();
        if serial.trim_start_matches('0') != certificate.serial_hex().trim_start_matches('0') {
            return Err("one has another serial number than it is listed under".to_owned());
        }
        Ok(Entry {
            serial,
            key: Arc::new(certificate.key().map_err(|error| format!("one {error}"))?),
            validity: certificate.validity,
        })
    }
}

fn text(fail: Fail) -> String {
    match fail {
        Fail::Refused(refusal) => format!("{} {}", refusal.code, refusal.message),
        Fail::Unknown(uncertainty) => uncertainty.detail,
    }
}
