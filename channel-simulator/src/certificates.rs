//! X.509 certificates: making them, and Alipay's serial numbers of them.
//!
//! Alipay names a certificate by `SN = md5(issuer, CN first, then the decimal serial)`; the root
//! bundle by the SNs of its RSA-signed members, joined by `_`. Members signed otherwise are
//! skipped: a bundle made here holds one such member, as the real one does.
//!
//! Not here: chain building and revocation. The simulator issues, it does not check: Alipay's and
//! the app's certificate are signed by the RSA root directly, WeChat Pay's sign themselves.

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use md5::{Digest, Md5};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, PublicKeyData, SerialNumber, SignatureAlgorithm,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::clock::{beijing_day, beijing_midnight};
use crate::keys::{KeyError, Signer, pem_text};

const VALID_YEARS: i16 = 5;
const RSA_SIGNATURES: &str = "1.2.840.113549.1.1.";

/// What certificate mode adds to Alipay's keys.
#[derive(Clone, Debug)]
pub(crate) struct AlipayCertificates {
    /// PEM.
    pub app: String,
    pub alipay: String,
    /// PEM, several members.
    pub roots: String,
    pub app_sn: String,
    pub alipay_sn: String,
    pub root_sn: String,
}

/// One of WeChat Pay's platform certificates, without its key.
#[derive(Clone, Debug)]
pub(crate) struct Platform {
    pub pem: String,
    /// 40 upper-case hex digits.
    pub serial: String,
    pub effective: Timestamp,
    pub expires: Timestamp,
}

/// An RSA public key as certificates hold it (PKCS#1).
struct Subject<'a>(&'a [u8]);

impl PublicKeyData for Subject<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}

impl AlipayCertificates {
    /// Reads given certificates; they must hold the keys that are in use.
    pub(crate) fn read(
        [app, alipay, roots]: [&str; 3],
        app_key: &[u8],
        alipay_key: &[u8],
    ) -> Option<Self> {
        Some(Self {
            app: app.trim_end().to_owned(),
            alipay: alipay.trim_end().to_owned(),
            roots: roots.trim_end().to_owned(),
            app_sn: leaf_sn(app, app_key)?,
            alipay_sn: leaf_sn(alipay, alipay_key)?,
            root_sn: root_sn(roots)?,
        })
    }

    /// A root of its own, and both certificates under it.
    pub(crate) fn issue(app_key: &[u8], alipay_key: &[u8]) -> Result<Self, KeyError> {
        let root_key = Signer::generate()?;
        let params = root_params("Ant Financial Certification Authority R1");
        let root = params.self_signed(&root_key).map_err(KeyError::Issue)?;
        let issuer = Issuer::new(params, root_key);
        let issue = |name: &str, key: &[u8]| {
            let mut params = params_for(name);
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            let made = params.signed_by(&Subject(key), &issuer);
            Ok(pem_of(made.map_err(KeyError::Issue)?.der()))
        };
        let other_key =
            rcgen::KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(KeyError::Issue)?;
        let other = root_params("Ant Financial Certification Authority E1")
            .self_signed(&other_key)
            .map_err(KeyError::Issue)?;
        // The real bundle has an empty line between members, and there are clients that split there.
        let roots = format!("{}\n{}", pem_of(other.der()), pem_of(root.der()));
        let (app, alipay) = (
            issue("2088102175953034", app_key)?,
            issue("支付宝(中国)", alipay_key)?,
        );
        Self::read([&app, &alipay, &roots], app_key, alipay_key)
            .ok_or(KeyError::Malformed("certificate"))
    }
}

/// A self-signed platform certificate for `key`.
pub(crate) fn platform(key: &Signer, now: Timestamp) -> Result<Platform, KeyError> {
    let mut params = params_for("Tenpay.com sign");
    let serial = random_serial::<20>();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    let made = params.self_signed(key).map_err(KeyError::Issue)?;
    let (from, to) = validity(now);
    Ok(Platform {
        pem: pem_of(made.der()),
        serial: hex::encode_upper(serial),
        effective: beijing_midnight(from),
        expires: beijing_midnight(to),
    })
}

/// From yesterday, so that no difference between clocks matters.
fn validity(now: Timestamp) -> (Date, Date) {
    let today = beijing_day(now);
    let from = today.yesterday().unwrap_or(today);
    (from, from.saturating_add(VALID_YEARS.years()))
}

fn params_for(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    let names = &mut params.distinguished_name;
    *names = rcgen::DistinguishedName::new();
    names.push(DnType::CountryName, "CN");
    names.push(DnType::OrganizationName, "Simulated Financial");
    names.push(DnType::OrganizationalUnitName, "Certification Authority");
    names.push(DnType::CommonName, common_name);
    let (from, to) = validity(crate::clock::now());
    let date = |day: Date| {
        let [month, day_of_month] = [day.month(), day.day()].map(i8::unsigned_abs);
        rcgen::date_time_ymd(day.year().into(), month, day_of_month)
    };
    (params.not_before, params.not_after) = (date(from), date(to));
    params.serial_number = Some(SerialNumber::from_slice(&random_serial::<16>()));
    params
}

fn root_params(common_name: &str) -> CertificateParams {
    let mut params = params_for(common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// The top bit is set: whoever reads the number as signed computes another SN.
fn random_serial<const BYTES: usize>() -> [u8; BYTES] {
    let mut serial = [0; BYTES];
    rand::Rng::fill(&mut rand::rng(), &mut serial[..]);
    serial[0] |= 0x80;
    serial
}

fn pem_of(der: &[u8]) -> String {
    pem_text("CERTIFICATE", der)
}

/// The SN of the first certificate in `text`, if it holds `key`.
fn leaf_sn(text: &str, key: &[u8]) -> Option<String> {
    let block = pem::parse_many(text).ok()?.into_iter().next()?;
    let (_, certificate) = X509Certificate::from_der(block.contents()).ok()?;
    (certificate.public_key().subject_public_key.data == key).then(|| sn(&certificate))
}

fn root_sn(bundle: &str) -> Option<String> {
    let members: Vec<String> = pem::parse_many(bundle)
        .ok()?
        .iter()
        .filter_map(|block| {
            let (_, member) = X509Certificate::from_der(block.contents()).ok()?;
            let algorithm = member.signature_algorithm.algorithm.to_id_string();
            algorithm.starts_with(RSA_SIGNATURES).then(|| sn(&member))
        })
        .collect();
    (!members.is_empty()).then(|| members.join("_"))
}

fn sn(certificate: &X509Certificate<'_>) -> String {
    let mut names: Vec<String> = certificate
        .issuer()
        .iter_attributes()
        .map(|attribute| {
            let oid = attribute.attr_type().to_id_string();
            let value = attribute.as_str().unwrap_or_default();
            format!("{}={value}", short_name(&oid))
        })
        .collect();
    names.reverse();
    let text = format!("{}{}", names.join(","), certificate.tbs_certificate.serial);
    hex::encode(Md5::digest(text.as_bytes()))
}

fn short_name(oid: &str) -> &str {
    match oid {
        "2.5.4.3" => "CN",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issued_certificates_hold_their_keys_and_the_bundle_s_other_member_is_skipped() {
        let (app, alipay) = (Signer::generate().unwrap(), Signer::generate().unwrap());
        let made = AlipayCertificates::issue(app.public_der(), alipay.public_der()).unwrap();
        let again = AlipayCertificates::read(
            [&made.app, &made.alipay, &made.roots],
            app.public_der(),
            alipay.public_der(),
        );
        assert_eq!(again.unwrap().app_sn, made.app_sn);
        assert_eq!(made.root_sn.len(), 32, "{}", made.root_sn);
        assert_eq!(pem::parse_many(&made.roots).unwrap().len(), 2);
        let texts = [made.app.as_str(), &made.alipay, &made.roots];
        assert!(AlipayCertificates::read(texts, alipay.public_der(), app.public_der()).is_none());
    }

    #[test]
    fn a_platform_certificate_s_serial_is_what_it_contains() {
        let key = Signer::generate().unwrap();
        let made = platform(&key, crate::clock::now()).unwrap();
        let block = pem::parse(&made.pem).unwrap();
        let (_, parsed) = X509Certificate::from_der(block.contents()).unwrap();
        assert_eq!(format!("{:X}", parsed.tbs_certificate.serial), made.serial);
        assert_eq!(made.serial.len(), 40);
        assert!(made.expires > made.effective);
    }
}
