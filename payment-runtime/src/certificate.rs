//! The certificate that an HTTPS port shows: read from files at the start, and again when they
//! change.
//!
//! Guarantees: what is shown is always a whole chain with the private key that belongs to it, also
//! while the files are replaced; files that cannot be used change nothing; a connection keeps the
//! certificate it began with. An expired certificate is shown: whether that matters is for those
//! who look at it.
//!
//! Deliberately not here: the handshake (`tls`), and trust in anybody else's certificate.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use contract::names::{CERTIFICATE_FILE, PRIVATE_KEY_FILE};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use crate::files;
use crate::telemetry::Metrics;

/// Chains are a few kilobytes.
const FILE_BYTES_MAX: u64 = 256 * 1024;
/// How often the files are looked at. The kubelet needs about a minute to renew them.
const INTERVAL: Duration = Duration::from_secs(5);
/// The link by which the kubelet replaces all files of a volume at once.
const KUBELET_DATA: &str = "..data";

/// Why files cannot be used as a certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("cannot read {}", file.display())]
    Read { file: PathBuf, source: io::Error },
    #[error("{} is larger than {FILE_BYTES_MAX} bytes", file.display())]
    TooLarge { file: PathBuf },
    #[error("{} is not a chain of certificates in PEM", file.display())]
    NoChain { file: PathBuf },
    #[error("{} is not a private key in PEM", file.display())]
    NoKey { file: PathBuf },
    #[error("{} and {} do not belong together, or are of a kind that TLS does not use", chain.display(), key.display())]
    Mismatch {
        chain: PathBuf,
        key: PathBuf,
        source: rustls::Error,
    },
}

/// What a look at the files led to.
#[derive(Debug, PartialEq, Eq)]
pub enum Reload {
    Unchanged,
    Reloaded,
}

/// A certificate with its private key, from a directory.
pub struct Certificate {
    directory: PathBuf,
    shown: RwLock<Shown>,
}

struct Shown {
    key: Arc<CertifiedKey>,
    /// Seconds since the epoch.
    expires_at: i64,
    /// Of the files it was read from.
    digest: [u8; 32],
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Certificate");
        shown
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

impl Certificate {
    /// Reads `tls.crt` (the chain, its own certificate first) and `tls.key` of a directory.
    pub fn load(directory: &Path) -> Result<Self, CertificateError> {
        let shown = Files::read(directory)?.parse()?;
        Ok(Self {
            directory: directory.to_owned(),
            shown: RwLock::new(shown),
        })
    }

    /// Shows what the files hold now. An error leaves everything as it was.
    pub fn reload(&self) -> Result<Reload, CertificateError> {
        let files = Files::read(&self.directory)?;
        if files.digest() == self.with(|shown| shown.digest) {
            return Ok(Reload::Unchanged);
        }
        let fresh = files.parse()?;
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(Reload::Reloaded)
    }

    /// When the certificate that is shown expires, in seconds since the epoch.
    pub fn expires_at(&self) -> i64 {
        self.with(|shown| shown.expires_at)
    }

    fn with<T>(&self, look: impl FnOnce(&Shown) -> T) -> T {
        look(&self.shown.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Follows the files until `stop`.
    pub async fn watch(&self, metrics: &Metrics, stop: CancellationToken) {
        let mut failing = false;
        while !stop.is_cancelled() {
            let looked = self.reload();
            tell(&looked, failing);
            failing = looked.is_err();
            metrics.set_certificate(self.expires_at(), failing);
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = tokio::time::sleep(INTERVAL) => {}
            }
        }
    }
}

/// Logs what is new.
fn tell(looked: &Result<Reload, CertificateError>, was_failing: bool) {
    match looked {
        Ok(Reload::Reloaded) => tracing::info!("a new certificate is shown"),
        Err(error) if !was_failing => {
            let error = error as &dyn std::error::Error;
            tracing::warn!(
                error,
                "a new certificate cannot be used; the old one is shown"
            );
        }
        Ok(Reload::Unchanged) | Err(_) => {}
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.with(|shown| shown.key.clone()))
    }
}

/// Both files as they are.
struct Files {
    chain: (PathBuf, Vec<u8>),
    key: (PathBuf, Vec<u8>),
}

impl Files {
    /// Both of one generation: the kubelet's link is followed once, for both.
    fn read(directory: &Path) -> Result<Self, CertificateError> {
        let generation = std::fs::canonicalize(directory.join(KUBELET_DATA));
        let generation = generation.as_deref().unwrap_or(directory);
        let of = |name| {
            let content = read(&generation.join(name));
            content.map(|content| (directory.join(name), content))
        };
        Ok(Self {
            chain: of(CERTIFICATE_FILE)?,
            key: of(PRIVATE_KEY_FILE)?,
        })
    }

    fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        // Each by its own digest, so that no byte can go from one to the other.
        digest.update(Sha256::digest(&self.chain.1));
        digest.update(Sha256::digest(&self.key.1));
        digest.finalize().into()
    }

    fn parse(&self) -> Result<Shown, CertificateError> {
        let (chain_file, chain) = &self.chain;
        let (key_file, key) = &self.key;
        let no_chain = || CertificateError::NoChain {
            file: chain_file.clone(),
        };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|_| no_chain())?;
        let expires_at = chain.first().and_then(expiry).ok_or_else(no_chain)?;
        // The parser's own words may show what it read.
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| CertificateError::NoKey {
            file: key_file.clone(),
        })?;
        let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(
            |source| CertificateError::Mismatch {
                chain: chain_file.clone(),
                key: key_file.clone(),
                source,
            },
        )?;
        Ok(Shown {
            key: Arc::new(key),
            expires_at,
            digest: self.digest(),
        })
    }
}

fn read(file: &Path) -> Result<Vec<u8>, CertificateError> {
    let content = files::read_at_most(file, FILE_BYTES_MAX);
    let content = content.map_err(|source| CertificateError::Read {
        file: file.to_owned(),
        source,
    })?;
    content.ok_or_else(|| CertificateError::TooLarge {
        file: file.to_owned(),
    })
}

fn expiry(certificate: &CertificateDer<'_>) -> Option<i64> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(parsed.validity().not_after.timestamp())
}
