//! The keys that Alipay is believed by: bare public keys, or certificates.
//!
//! Guarantees: the present and the next key live at once; in certificate mode a key counts only under the serial name of its certificate,
//! between the dates of its chain, and only if that chain leads to a configured root; the
//! application's certificate belongs to its private key.
//!
//! Not here: downloading a certificate that an answer names and nobody configured. Such an answer
//! is unverifiable until a person has looked.

use contract::names::channel_key as key;
use jiff::Timestamp;

use crate::certificate::{Certificate, CertificateProblem, Validity, bundle_sn, chained};
use crate::credentials::{Files, LoadError};
use crate::crypto::{SigningKey, VerifyingKey};

pub(super) enum TrustedKeys {
    /// Nothing says which of them signed: any of them is believed.
    Keys(Vec<VerifyingKey>),
    Certificates {
        app_sn: String,
        root_sn: String,
        alipay: Vec<AlipayCertificate>,
    },
}

pub(super) struct AlipayCertificate {
    sn: String,
    key: VerifyingKey,
    validity: Validity,
}

impl TrustedKeys {
    /// Certificate mode when its three files are there, key mode when none is.
    pub(super) fn load(files: &Files, signing: &SigningKey) -> Result<Self, LoadError> {
        let is_absent = |key: &&&str| !files.has(key);
        let absent = key::ALIPAY_CERTIFICATE_MODE
            .iter()
            .filter(is_absent)
            .count();
        match absent {
            0 => Self::load_certificates(files, signing),
            3 => Ok(Self::Keys(
                files.key(key::ALIPAY_PUBLIC_KEY, VerifyingKey::parse_all)?,
            )),
            _ => {
                let missing = key::ALIPAY_CERTIFICATE_MODE.iter().find(is_absent);
                Err(LoadError::HalfCertificateMode {
                    missing: missing.copied().unwrap_or_default(),
                })
            }
        }
    }

    fn load_certificates(files: &Files, signing: &SigningKey) -> Result<Self, LoadError> {
        let app = files.certificates(key::ALIPAY_APP_CERTIFICATE, Certificate::parse)?;
        if !signing.belongs_to(&app.public_key) {
            return Err(files.invalid(
                key::ALIPAY_APP_CERTIFICATE,
                "belongs to another private key than the one in alipay-private-key",
            ));
        }
        let roots = files.certificates(key::ALIPAY_ROOT_CERTIFICATES, Certificate::parse_bundle)?;
        let root_sn = files.certificates(key::ALIPAY_ROOT_CERTIFICATES, |_| bundle_sn(&roots))?;
        let alipay = files.certificates(key::ALIPAY_CERTIFICATE, |text| trusted(text, &roots))?;
        Ok(Self::Certificates {
            app_sn: app.sn(),
            root_sn,
            alipay,
        })
    }

    /// What certificate mode adds to every request.
    pub(super) fn parameters(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Keys(_) => Vec::new(),
            Self::Certificates {
                app_sn, root_sn, ..
            } => vec![
                ("app_cert_sn", app_sn.clone()),
                ("alipay_root_cert_sn", root_sn.clone()),
            ],
        }
    }

    pub(super) const fn by_certificate(&self) -> bool {
        matches!(self, Self::Certificates { .. })
    }

    /// The keys that may have signed an answer. In certificate mode the answer has to name it.
    pub(super) fn of_answer(&self, sn: Option<&str>, now: Timestamp) -> Vec<&VerifyingKey> {
        match (self, sn) {
            (Self::Keys(keys), _) => keys.iter().collect(),
            (Self::Certificates { .. }, Some(sn)) => self.named(sn, now).into_iter().collect(),
            (Self::Certificates { .. }, None) => Vec::new(),
        }
    }

    /// The keys that may have signed a notice. Not every notice names its certificate.
    pub(super) fn of_notice(&self, sn: Option<&str>, now: Timestamp) -> Vec<&VerifyingKey> {
        match (self, sn) {
            (Self::Keys(_), _) | (_, Some(_)) => self.of_answer(sn, now),
            (Self::Certificates { alipay, .. }, None) => alipay
                .iter()
                .filter(|certificate| certificate.validity.holds(now))
                .map(|certificate| &certificate.key)
                .collect(),
        }
    }

    fn named(&self, sn: &str, now: Timestamp) -> Option<&VerifyingKey> {
        let Self::Certificates { alipay, .. } = self else {
            return None;
        };
        let found = alipay
            .iter()
            .find(|certificate| certificate.sn == sn && certificate.validity.holds(now))?;
        Some(&found.key)
    }

    pub(super) fn serials(&self) -> Vec<&str> {
        match self {
            Self::Keys(_) => Vec::new(),
            Self::Certificates { alipay, .. } => alipay
                .iter()
                .map(|certificate| certificate.sn.as_str())
                .collect(),
        }
    }
}

/// Alipay's file holds its certificate, and may hold the next one and those in between; all but
/// the authorities sign.
fn trusted(
    text: &str,
    roots: &[Certificate],
) -> Result<Vec<AlipayCertificate>, CertificateProblem> {
    let (between, leaves): (Vec<_>, Vec<_>) = Certificate::parse_bundle(text)?
        .into_iter()
        .partition(Certificate::is_authority);
    if leaves.is_empty() {
        return Err(CertificateProblem::Unreadable);
    }
    let trust = |leaf: &Certificate| {
        Ok(AlipayCertificate {
            sn: leaf.sn(),
            key: leaf.key().map_err(|_| CertificateProblem::Key)?,
            validity: chained(leaf, &between, roots).ok_or(CertificateProblem::Untrusted)?,
        })
    };
    leaves.iter().map(trust).collect()
}
