//! X.509 certificates, as far as the channels use them to hand out keys.
//!
//! Guarantees: issuing is proven by RSA with SHA-256 alone; parsing foreign certificates (other
//! algorithms included) never fails as a whole because of one of them.
//!
//! Not here: revocation, name constraints, host names: both channels hand certificates out
//! themselves and use them as envelopes of a key.

use jiff::Timestamp;
use md5::{Digest as _, Md5};
use x509_parser::prelude::{
    AttributeTypeAndValue, FromDer as _, RelativeDistinguishedName, X509Certificate, X509Name,
};

use crate::crypto::{KeyError, VerifyingKey};

const SHA256_WITH_RSA: &str = "1.2.840.113549.1.1.11";
/// What every signature algorithm of RSA starts with.
const RSA: &str = "1.2.840.113549.1.1.";
/// Far longer than any chain of the channels.
const CHAIN_MAX: usize = 8;

/// Why a certificate is refused; says nothing of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CertificateProblem {
    #[error("holds no X.509 certificate in PEM")]
    Unreadable,
    #[error("holds a certificate whose issuer's name or validity cannot be read")]
    Unusual,
    #[error("holds a certificate that no root in alipay-root-certificates vouches for")]
    Untrusted,
    #[error("holds a certificate without an RSA key of at least 2048 bits")]
    Key,
    #[error("holds no certificate signed with RSA")]
    NoRsaRoot,
}

/// When a certificate counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) from: Timestamp,
    pub(crate) until: Timestamp,
}

impl Validity {
    pub(crate) fn holds(self, now: Timestamp) -> bool {
        self.from <= now && now <= self.until
    }

    fn within(self, other: Self) -> Self {
        Self {
            from: self.from.max(other.from),
            until: self.until.min(other.until),
        }
    }
}

/// What is kept of a certificate.
pub(crate) struct Certificate {
    pub(crate) validity: Validity,
    /// The public key with its algorithm (SPKI).
    pub(crate) public_key: Vec<u8>,
    serial: Vec<u8>,
    serial_decimal: String,
    issuer_text: String,
    issuer: Vec<u8>,
    subject: Vec<u8>,
    is_authority: bool,
    signed: Vec<u8>,
    signature: Vec<u8>,
    signature_algorithm: String,
}

impl Certificate {
    /// The first certificate of a PEM text.
    pub(crate) fn parse(text: &str) -> Result<Self, CertificateProblem> {
        let blocks = pem::parse_many(text).map_err(|_| CertificateProblem::Unreadable)?;
        let block = blocks.first().ok_or(CertificateProblem::Unreadable)?;
        Self::from_der(block.contents())
    }

    /// The readable members of a PEM bundle. One that uses what is not understood here (Alipay's
    /// roots hold SM2 certificates) must not take the others down with it.
    pub(crate) fn parse_bundle(text: &str) -> Result<Vec<Self>, CertificateProblem> {
        let blocks = pem::parse_many(text).map_err(|_| CertificateProblem::Unreadable)?;
        let members: Vec<Self> = blocks
            .iter()
            .filter_map(|block| Self::from_der(block.contents()).ok())
            .collect();
        if members.is_empty() {
            return Err(CertificateProblem::Unreadable);
        }
        Ok(members)
    }

    fn from_der(der: &[u8]) -> Result<Self, CertificateProblem> {
        let (_, parsed) =
            X509Certificate::from_der(der).map_err(|_| CertificateProblem::Unreadable)?;
        let validity = parsed.validity();
        let instant =
            |seconds| Timestamp::from_second(seconds).map_err(|_| CertificateProblem::Unusual);
        let serial = parsed.raw_serial();
        let sign_bytes = serial.iter().take_while(|byte| **byte == 0).count();
        Ok(Self {
            validity: Validity {
                from: instant(validity.not_before.timestamp())?,
                until: instant(validity.not_after.timestamp())?,
            },
            public_key: parsed.public_key().raw.to_vec(),
            serial: serial[sign_bytes..].to_vec(),
            serial_decimal: parsed.tbs_certificate.serial.to_string(),
            issuer_text: name(parsed.issuer()).ok_or(CertificateProblem::Unusual)?,
            issuer: parsed.issuer().as_raw().to_vec(),
            subject: parsed.subject().as_raw().to_vec(),
            is_authority: parsed.is_ca(),
            signed: parsed.tbs_certificate.as_ref().to_vec(),
            signature: parsed.signature_value.data.to_vec(),
            signature_algorithm: parsed.signature_algorithm.algorithm.to_id_string(),
        })
    }

    pub(crate) fn key(&self) -> Result<VerifyingKey, KeyError> {
        VerifyingKey::from_spki(&self.public_key)
    }

    pub(crate) const fn is_authority(&self) -> bool {
        self.is_authority
    }

    /// The serial number in upper-case hex, as WeChat Pay writes it.
    pub(crate) fn serial_hex(&self) -> String {
        hex::encode_upper(&self.serial)
    }

    /// Alipay's name for a certificate: the MD5 of issuer and serial number. It identifies and
    /// proves nothing.
    pub(crate) fn sn(&self) -> String {
        let text = format!("{}{}", self.issuer_text, self.serial_decimal);
        hex::encode(Md5::digest(text))
    }

    fn is_signed_with_rsa(&self) -> bool {
        self.signature_algorithm.starts_with(RSA)
    }

    fn is_issued_by(&self, issuer: &Self) -> bool {
        self.issuer == issuer.subject
            && self.signature_algorithm == SHA256_WITH_RSA
            && issuer
                .key()
                .is_ok_and(|key| key.verifies_raw(&self.signed, &self.signature))
    }
}

/// Alipay's name for a bundle of roots: those signed with RSA, in their order.
pub(crate) fn bundle_sn(roots: &[Certificate]) -> Result<String, CertificateProblem> {
    let names: Vec<String> = roots
        .iter()
        .filter(|root| root.is_signed_with_rsa())
        .map(Certificate::sn)
        .collect();
    if names.is_empty() {
        return Err(CertificateProblem::NoRsaRoot);
    }
    Ok(names.join("_"))
}

/// When `leaf` counts by a chain to one of `roots`; `None` without such a chain. A root is trusted
/// for standing in the bundle, so its own signature and dates are not asked.
pub(crate) fn chained(
    leaf: &Certificate,
    between: &[Certificate],
    roots: &[Certificate],
) -> Option<Validity> {
    let mut current = leaf;
    let mut validity = leaf.validity;
    for _ in 0..CHAIN_MAX {
        if roots.iter().any(|root| current.is_issued_by(root)) {
            return Some(validity);
        }
        let issuer = |issuer: &&Certificate| issuer.is_authority && current.is_issued_by(issuer);
        current = between.iter().find(issuer)?;
        validity = validity.within(current.validity);
    }
    None
}

/// The name from its last part to its first, as `CN=..,OU=..,O=..,C=..`; `None` if a part is no
/// text.
fn name(name: &X509Name<'_>) -> Option<String> {
    let mut parts: Vec<String> = name.iter_rdn().map(part).collect::<Option<_>>()?;
    parts.reverse();
    Some(parts.join(","))
}

fn part(part: &RelativeDistinguishedName<'_>) -> Option<String> {
    let attributes: Vec<String> = part.iter().map(attribute).collect::<Option<_>>()?;
    Some(attributes.join("+"))
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let oid = attribute.attr_type().to_id_string();
    let name = match oid.as_str() {
        "2.5.4.3" => "CN",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "0.9.2342.19200300.100.1.25" => "DC",
        "0.9.2342.19200300.100.1.1" => "UID",
        other => other,
    };
    Some(format!("{name}={}", attribute.as_str().ok()?))
}

#[cfg(test)]
mod tests;
