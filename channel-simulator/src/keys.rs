//! The keys of both sides and what is done with them.
//!
//! RSA is PKCS#1 v1.5 with SHA-256 and nothing else; keys are read from files or made at start.
//! The client's private halves are held only to hand them out (`GET /keys`), never to sign with.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{
    self, KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use contract::names::channel_key as name;
use rand::Rng;
use rcgen::{PKCS_RSA_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey};
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::certificates::AlipayCertificates;
use crate::ids;

/// Bytes of the APIv3 key.
const API_KEY_BYTES: usize = 32;
/// The seller (pid) unless the keys name another.
const SELLER_ID: &str = "2088102175953034";

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("cannot read key {path}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("key {0} is not what its name says")]
    Malformed(&'static str),
    #[error("cannot make an RSA key")]
    Generate(#[source] Unspecified),
    #[error("cannot sign")]
    Sign(#[source] Unspecified),
    #[error("cannot issue a certificate")]
    Issue(#[source] rcgen::Error),
}

/// With the line ends the channels' own files have: there are clients that insist.
pub(crate) fn pem_text(tag: &str, der: &[u8]) -> String {
    let form = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(tag, der), form)
}

pub(crate) struct Signer {
    pair: KeyPair,
}

impl Signer {
    /// Base64 of the signature over `message`.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<String, KeyError> {
        Ok(STANDARD.encode(self.signature(message).map_err(KeyError::Sign)?))
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        let random = SystemRandom::new();
        self.pair
            .sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)?;
        Ok(signature)
    }

    /// The public half as certificates hold it (PKCS#1).
    pub(crate) fn public_der(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    pub(crate) fn generate() -> Result<Self, KeyError> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(KeyError::Generate)?;
        Ok(Self { pair })
    }

    fn parse(key: &'static str, text: &str) -> Result<Self, KeyError> {
        let block = pem::parse(text).map_err(|_| KeyError::Malformed(key))?;
        let pair = match block.tag() {
            "PRIVATE KEY" => KeyPair::from_pkcs8(block.contents()),
            _ => KeyPair::from_der(block.contents()),
        };
        Ok(Self {
            pair: pair.map_err(|_| KeyError::Malformed(key))?,
        })
    }

    fn private_pem(&self) -> Result<String, KeyError> {
        let der = AsDer::<Pkcs8V1Der<'static>>::as_der(&self.pair).map_err(KeyError::Generate)?;
        Ok(pem_text("PRIVATE KEY", der.as_ref()))
    }

    fn public_pem(&self) -> Result<String, KeyError> {
        let der = AsDer::<PublicKeyX509Der<'static>>::as_der(self.pair.public_key())
            .map_err(KeyError::Generate)?;
        Ok(pem_text("PUBLIC KEY", der.as_ref()))
    }
}

impl PublicKeyData for Signer {
    fn der_bytes(&self) -> &[u8] {
        self.public_der()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}

impl SigningKey for Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.signature(message)
            .map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

pub(crate) struct Verifier {
    key: UnparsedPublicKey<Vec<u8>>,
    /// The same key as certificates hold it (PKCS#1).
    der: Vec<u8>,
}

impl Verifier {
    pub(crate) fn verifies(&self, message: &[u8], signature: &str) -> bool {
        STANDARD
            .decode(signature)
            .is_ok_and(|signature| self.key.verify(message, &signature).is_ok())
    }

    fn parse(key: &'static str, text: &str) -> Result<Self, KeyError> {
        let block = pem::parse(text).map_err(|_| KeyError::Malformed(key))?;
        // Refuses anything that is no RSA key; the unparsed form is what verifies.
        signature::ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, block.contents())
            .map_err(|_| KeyError::Malformed(key))?;
        let (_, info) = SubjectPublicKeyInfo::from_der(block.contents())
            .map_err(|_| KeyError::Malformed(key))?;
        let der = info.subject_public_key.data.to_vec();
        Ok(Self {
            key: UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, block.into_contents()),
            der,
        })
    }
}

pub(crate) struct WechatKeys {
    pub app_id: String,
    pub mch_id: String,
    pub merchant_serial: String,
    pub public_key_id: String,
    /// Behind the public key, not behind any platform certificate.
    pub signer: Arc<Signer>,
    pub merchant: Verifier,
    api_key: LessSafeKey,
}

impl WechatKeys {
    /// AEAD_AES_256_GCM under the APIv3 key, base64; the nonce has 12 bytes.
    pub(crate) fn encrypt(&self, nonce: &str, aad: &str, plain: &str) -> Result<String, KeyError> {
        let malformed = |_| KeyError::Malformed(name::WECHAT_API_KEY);
        let nonce = Nonce::try_assume_unique_for_key(nonce.as_bytes()).map_err(malformed)?;
        let mut sealed = plain.as_bytes().to_vec();
        self.api_key
            .seal_in_place_append_tag(nonce, Aad::from(aad.as_bytes()), &mut sealed)
            .map_err(malformed)?;
        Ok(STANDARD.encode(sealed))
    }
}

pub(crate) struct AlipayKeys {
    pub app_id: String,
    pub seller_id: String,
    pub signer: Signer,
    pub app: Verifier,
    pub certificates: AlipayCertificates,
}

pub(crate) struct Keys {
    pub wechat: WechatKeys,
    pub alipay: AlipayKeys,
    /// What `GET /keys` hands out.
    pub client: BTreeMap<&'static str, String>,
    /// What `GET /keys?mode=certificate` hands out: Alipay's certificates in place of its key.
    pub certificate_client: BTreeMap<&'static str, String>,
}

impl Keys {
    pub(crate) fn load_or_generate(directory: Option<&Path>) -> Result<Self, KeyError> {
        let all = match directory {
            Some(directory) => read(directory)?,
            None => generate()?,
        };
        Self::from_values(&all)
    }

    fn from_values(all: &BTreeMap<&'static str, String>) -> Result<Self, KeyError> {
        let text = |key: &'static str| {
            all.get(key)
                .filter(|text| !text.is_empty())
                .ok_or(KeyError::Malformed(key))
        };
        let signer = |key| Signer::parse(key, text(key)?);
        let verifier = |key| Verifier::parse(key, text(key)?);
        let mut client = BTreeMap::new();
        for key in name::WECHAT.into_iter().chain(name::ALIPAY) {
            if let Some(value) = all.get(key) {
                client.insert(key, value.clone());
            }
        }
        let wechat = WechatKeys {
            app_id: text(name::WECHAT_APP_ID)?.clone(),
            mch_id: text(name::WECHAT_MCH_ID)?.clone(),
            merchant_serial: text(name::WECHAT_MERCHANT_SERIAL)?.clone(),
            public_key_id: text(name::WECHAT_PUBLIC_KEY_ID)?.clone(),
            signer: Arc::new(signer(name::SIMULATOR_WECHAT_PRIVATE_KEY)?),
            merchant: verifier(name::SIMULATOR_WECHAT_MERCHANT_PUBLIC_KEY)?,
            api_key: api_key(text(name::WECHAT_API_KEY)?)?,
        };
        let (alipay, app) = (
            signer(name::SIMULATOR_ALIPAY_PRIVATE_KEY)?,
            verifier(name::SIMULATOR_ALIPAY_APP_PUBLIC_KEY)?,
        );
        let seller_id = all.get(name::ALIPAY_SELLER_ID).map(String::as_str);
        let alipay = AlipayKeys {
            app_id: text(name::ALIPAY_APP_ID)?.clone(),
            seller_id: seller_id.unwrap_or(SELLER_ID).to_owned(),
            certificates: certificates(all, &app, &alipay)?,
            signer: alipay,
            app,
        };
        Ok(Self {
            certificate_client: certificate_client(&client, &alipay),
            wechat,
            alipay,
            client,
        })
    }
}

/// Given all three, or made here when none is given.
fn certificates(
    all: &BTreeMap<&'static str, String>,
    app: &Verifier,
    alipay: &Signer,
) -> Result<AlipayCertificates, KeyError> {
    let given = name::ALIPAY_CERTIFICATE_MODE.map(|key| all.get(key).map(String::as_str));
    if given == [None; 3] {
        return AlipayCertificates::issue(&app.der, alipay.public_der());
    }
    let missing = given.iter().position(Option::is_none);
    if let Some(key) = missing.and_then(|index| name::ALIPAY_CERTIFICATE_MODE.get(index)) {
        return Err(KeyError::Malformed(key));
    }
    let texts = given.map(Option::unwrap_or_default);
    AlipayCertificates::read(texts, &app.der, alipay.public_der())
        .ok_or(KeyError::Malformed(name::ALIPAY_CERTIFICATE))
}

fn certificate_client(
    client: &BTreeMap<&'static str, String>,
    alipay: &AlipayKeys,
) -> BTreeMap<&'static str, String> {
    let mut all = client.clone();
    all.remove(name::ALIPAY_PUBLIC_KEY);
    let made = &alipay.certificates;
    all.extend([
        (name::ALIPAY_SELLER_ID, alipay.seller_id.clone()),
        (name::ALIPAY_APP_CERTIFICATE, made.app.clone()),
        (name::ALIPAY_CERTIFICATE, made.alipay.clone()),
        (name::ALIPAY_ROOT_CERTIFICATES, made.roots.clone()),
    ]);
    all
}

fn api_key(text: &str) -> Result<LessSafeKey, KeyError> {
    let malformed = |_| KeyError::Malformed(name::WECHAT_API_KEY);
    if text.len() != API_KEY_BYTES {
        return Err(KeyError::Malformed(name::WECHAT_API_KEY));
    }
    Ok(LessSafeKey::new(
        UnboundKey::new(&AES_256_GCM, text.as_bytes()).map_err(malformed)?,
    ))
}

/// The client's private keys may be missing: the simulator can do without them.
fn read(directory: &Path) -> Result<BTreeMap<&'static str, String>, KeyError> {
    let mut all = BTreeMap::new();
    for key in name::WECHAT
        .into_iter()
        .chain(name::ALIPAY)
        .chain(name::SIMULATOR)
        .chain(name::ALIPAY_CERTIFICATE_MODE)
        .chain([name::ALIPAY_SELLER_ID])
    {
        let path = directory.join(key);
        match fs::read_to_string(&path) {
            Ok(text) => drop(all.insert(key, text.trim().to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(KeyError::Read { path, source }),
        }
    }
    Ok(all)
}

fn generate() -> Result<BTreeMap<&'static str, String>, KeyError> {
    let (merchant, wechat) = (Signer::generate()?, Signer::generate()?);
    let (app, alipay) = (Signer::generate()?, Signer::generate()?);
    Ok(BTreeMap::from([
        (name::WECHAT_APP_ID, format!("wx{}", &ids::token()[..16])),
        (name::WECHAT_MCH_ID, format!("19{}", digits(8))),
        (name::WECHAT_API_KEY, ids::nonce(API_KEY_BYTES)),
        (name::WECHAT_PRIVATE_KEY, merchant.private_pem()?),
        (
            name::WECHAT_MERCHANT_SERIAL,
            format!("{}{}", ids::token(), &ids::token()[..8]).to_uppercase(),
        ),
        (
            name::WECHAT_PUBLIC_KEY_ID,
            format!("PUB_KEY_ID_01{}", digits(28)),
        ),
        (name::WECHAT_PUBLIC_KEY, wechat.public_pem()?),
        (name::ALIPAY_APP_ID, format!("2021{}", digits(12))),
        (name::ALIPAY_PRIVATE_KEY, app.private_pem()?),
        (name::ALIPAY_PUBLIC_KEY, alipay.public_pem()?),
        (name::SIMULATOR_WECHAT_PRIVATE_KEY, wechat.private_pem()?),
        (name::SIMULATOR_ALIPAY_PRIVATE_KEY, alipay.private_pem()?),
        (
            name::SIMULATOR_WECHAT_MERCHANT_PUBLIC_KEY,
            merchant.public_pem()?,
        ),
        (name::SIMULATOR_ALIPAY_APP_PUBLIC_KEY, app.public_pem()?),
    ]))
}

fn digits(count: usize) -> String {
    let mut random = rand::rng();
    (0..count)
        .map(|_| char::from(random.random_range(b'0'..=b'9')))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_keys_load_from_files_and_belong_together() {
        let all = generate().unwrap();
        let directory = tempfile::tempdir().unwrap();
        for (key, value) in &all {
            fs::write(directory.path().join(key), format!("{value}\n")).unwrap();
        }
        let keys = Keys::load_or_generate(Some(directory.path())).unwrap();
        assert_eq!(keys.client.len(), name::WECHAT.len() + name::ALIPAY.len());
        let merchant = Signer::parse("k", &all[name::WECHAT_PRIVATE_KEY]).unwrap();
        let signature = merchant.sign(b"message").unwrap();
        assert!(keys.wechat.merchant.verifies(b"message", &signature));
        assert!(!keys.wechat.merchant.verifies(b"massage", &signature));
        assert!(!keys.alipay.app.verifies(b"message", &signature));
        assert_eq!(keys.wechat.merchant_serial.len(), 40);

        let [app, ..] = name::ALIPAY_CERTIFICATE_MODE;
        let mode = &keys.certificate_client;
        assert!(!mode.contains_key(name::ALIPAY_PUBLIC_KEY));
        fs::write(directory.path().join(app), &mode[app]).unwrap();
        let incomplete = Keys::load_or_generate(Some(directory.path())).err();
        assert!(matches!(
            incomplete,
            Some(KeyError::Malformed(name::ALIPAY_CERTIFICATE))
        ));
        for key in name::ALIPAY_CERTIFICATE_MODE {
            fs::write(directory.path().join(key), &mode[key]).unwrap();
        }
        let given = Keys::load_or_generate(Some(directory.path())).unwrap();
        assert!(
            given.certificate_client == *mode,
            "given certificates are kept"
        );

        fs::write(directory.path().join(name::WECHAT_API_KEY), "short").unwrap();
        let error = Keys::load_or_generate(Some(directory.path()))
            .err()
            .unwrap();
        assert!(matches!(error, KeyError::Malformed(name::WECHAT_API_KEY)));
    }
}
