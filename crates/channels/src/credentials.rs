//! The credential files of both channels, one file per key of [`contract::names::channel_key`].
//!
//! Guarantees: all files of one reading come from one version of a mounted Secret; an error names
//! the file and what belongs into it, never what was in it.
//!
//! Not here: what the values are used for.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use contract::names::channel_key as key;
use secrecy::zeroize::Zeroizing;

use crate::certificate::CertificateProblem;
use crate::crypto::KeyError;

/// Why the channels cannot be used as configured.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read {}: put {} into the channels' Secret under the key {key}", file.display(), meaning(key))]
    Unreadable {
        file: PathBuf,
        key: &'static str,
        source: io::Error,
    },
    #[error("{} {problem}: it must hold {}", file.display(), meaning(key))]
    Invalid {
        file: PathBuf,
        key: &'static str,
        problem: String,
    },
    #[error("{url} is not an http or https URL: correct {field} in the configuration")]
    Url { field: &'static str, url: String },
    #[error(
        "certificate mode needs all three of alipay-app-certificate, alipay-certificate and \
         alipay-root-certificates in the channels' Secret, key mode none of them: add {missing} or \
         remove the others"
    )]
    HalfCertificateMode { missing: &'static str },
    #[error("cannot set up the HTTP client")]
    Client { source: reqwest::Error },
}

/// What a person has to provide for a key.
fn meaning(key: &str) -> &'static str {
    match key {
        key::WECHAT_APP_ID => "the app id bound to the WeChat Pay merchant",
        key::WECHAT_MCH_ID => "the WeChat Pay merchant number",
        key::WECHAT_API_KEY => "the APIv3 key, 32 ASCII characters; the next one on a second line",
        key::WECHAT_PRIVATE_KEY => "the merchant's private API key in PEM (apiclient_key.pem)",
        key::WECHAT_MERCHANT_SERIAL => "the serial number of the merchant's API certificate, hex",
        key::WECHAT_PUBLIC_KEY_ID => {
            "the id of the WeChat Pay public key (PUB_KEY_ID_…), one line for each key in \
             wechat-public-key"
        }
        key::WECHAT_PUBLIC_KEY => {
            "the WeChat Pay public key in PEM, downloaded from the merchant portal"
        }
        key::ALIPAY_APP_ID => "the Alipay application id",
        key::ALIPAY_PRIVATE_KEY => "the application's private key",
        key::ALIPAY_PUBLIC_KEY => "Alipay's public key (not the application's own)",
        key::ALIPAY_SELLER_ID => "the id of the seller (2088…) that callbacks must name",
        key::ALIPAY_APP_CERTIFICATE => "the application's certificate in PEM (appCertPublicKey)",
        key::ALIPAY_CERTIFICATE => "Alipay's certificate in PEM (alipayCertPublicKey_RSA2)",
        key::ALIPAY_ROOT_CERTIFICATES => "Alipay's root certificates in PEM (alipayRootCert)",
        _ => "a value",
    }
}

/// One version of the credential directory.
pub(crate) struct Files(PathBuf);

impl Files {
    /// Kubernetes swaps a mounted Secret by moving the link `..data` to a new directory. Going
    /// through the link once keeps a reading from mixing two versions.
    pub(crate) fn open(directory: &Path) -> Self {
        Self(fs::canonicalize(directory.join("..data")).unwrap_or_else(|_| directory.to_owned()))
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.join(key).exists()
    }

    /// The whole file, wiped when dropped.
    pub(crate) fn text(&self, key: &'static str) -> Result<Zeroizing<String>, LoadError> {
        let file = self.0.join(key);
        match fs::read_to_string(&file) {
            Ok(text) if text.trim().is_empty() => Err(self.invalid(key, "is empty")),
            Ok(text) => Ok(Zeroizing::new(text)),
            Err(source) => Err(LoadError::Unreadable { file, key, source }),
        }
    }

    /// A value of one word, such as an id.
    pub(crate) fn word(&self, key: &'static str) -> Result<String, LoadError> {
        let text = self.text(key)?;
        let word = text.trim();
        if word.chars().all(|character| character.is_ascii_graphic()) {
            Ok(word.to_owned())
        } else {
            Err(self.invalid(key, "holds more than one word"))
        }
    }

    pub(crate) fn invalid(&self, key: &'static str, problem: impl Into<String>) -> LoadError {
        LoadError::Invalid {
            file: self.0.join(key),
            key,
            problem: problem.into(),
        }
    }

    /// Parses key material.
    pub(crate) fn key<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, KeyError>,
    ) -> Result<T, LoadError> {
        parse(self.text(key)?.trim()).map_err(|error| self.invalid(key, error.to_string()))
    }

    /// Parses certificates.
    pub(crate) fn certificates<T>(
        &self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, CertificateProblem>,
    ) -> Result<T, LoadError> {
        parse(self.text(key)?.trim()).map_err(|error| self.invalid(key, error.to_string()))
    }
}

/// Tells whether the files changed: the identity, time and size of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(Vec<Option<(u64, i64, i64, u64)>>);

impl Fingerprint {
    pub(crate) fn of(directory: &Path) -> Self {
        let keys = key::WECHAT
            .iter()
            .chain(&key::ALIPAY)
            .chain(&key::ALIPAY_CERTIFICATE_MODE)
            .chain([&key::ALIPAY_SELLER_ID]);
        Self(
            keys.map(|key| {
                let data = fs::metadata(directory.join(key)).ok()?;
                Some((data.ino(), data.mtime(), data.mtime_nsec(), data.size()))
            })
            .collect(),
        )
    }
}
