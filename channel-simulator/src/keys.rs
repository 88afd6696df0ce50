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

/// By the names of `contract::names::channel_key`.
pub(crate) type Values = BTreeMap<&'static str, String>;

/// The merchant's key and WeChat Pay's: each knows the other's public half.
pub(crate) struct WechatPair {
    pub merchant_serial: String,
    pub merchant: Verifier,
    pub public_key_id: String,
    /// Behind the public key, not behind any platform certificate.
    pub signer: Arc<Signer>,
}

pub(crate) struct WechatKeys {
    pub app_id: String,
    pub mch_id: String,
    pub in_use: WechatPair,
    /// Valid as well, while keys are changed.
    pub beside: Option<WechatPair>,
    api_key: LessSafeKey,
}

impl WechatKeys {
    fn pairs(&self) -> impl Iterator<Item = &WechatPair> {
        std::iter::once(&self.in_use).chain(&self.beside)
    }

    /// What verifies the requests that name this certificate of the merchant.
    pub(crate) fn merchant(&self, serial: &str) -> Option<&Verifier> {
        let mut pairs = self.pairs();
        let pair = pairs.find(|pair| pair.merchant_serial.eq_ignore_ascii_case(serial));
        pair.map(|pair| &pair.merchant)
    }

    /// The pair whose public key has this id.
    pub(crate) fn public_key(&self, id: &str) -> Option<&WechatPair> {
        self.pairs().find(|pair| pair.public_key_id == id)
    }

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
    pub wechat: Arc<WechatKeys>,
    pub alipay: Arc<AlipayKeys>,
    /// What `GET /keys` hands out.
    pub client: Values,
    /// What `GET /keys?mode=certificate` hands out: Alipay's certificates in place of its key.
    pub certificate_client: Values,
}

fn text<'a>(all: &'a Values, key: &'static str) -> Result<&'a String, KeyError> {
    all.get(key)
        .filter(|text| !text.is_empty())
        .ok_or(KeyError::Malformed(key))
}

fn signer(all: &Values, key: &'static str) -> Result<Signer, KeyError> {
    Signer::parse(key, text(all, key)?)
}

fn verifier(all: &Values, key: &'static str) -> Result<Verifier, KeyError> {
    Verifier::parse(key, text(all, key)?)
}

impl Keys {
    /// Those in use, and those that are valid beside them.
    pub(crate) fn new(all: &Values, beside: Option<&Values>) -> Result<Self, KeyError> {
        let mut client = Values::new();
        for key in name::WECHAT.into_iter().chain(name::ALIPAY) {
            if let Some(value) = all.get(key) {
                client.insert(key, value.clone());
            }
        }
        let wechat = WechatKeys {
            app_id: text(all, name::WECHAT_APP_ID)?.clone(),
            mch_id: text(all, name::WECHAT_MCH_ID)?.clone(),
            in_use: wechat_pair(all)?,
            beside: beside.map(wechat_pair).transpose()?,
            api_key: api_key(text(all, name::WECHAT_API_KEY)?)?,
        };
        let (alipay, app) = (
            signer(all, name::SIMULATOR_ALIPAY_PRIVATE_KEY)?,
            verifier(all, name::SIMULATOR_ALIPAY_APP_PUBLIC_KEY)?,
        );
        let seller_id = all.get(name::ALIPAY_SELLER_ID).map(String::as_str);
        let alipay = AlipayKeys {
            app_id: text(all, name::ALIPAY_APP_ID)?.clone(),
            seller_id: seller_id.unwrap_or(SELLER_ID).to_owned(),
            certificates: certificates(all, &app, &alipay)?,
            signer: alipay,
            app,
        };
        Ok(Self {
            certificate_client: certificate_client(&client, &alipay),
            wechat: Arc::new(wechat),
            alipay: Arc::new(alipay),
            client,
        })
    }
}

fn wechat_pair(all: &Values) -> Result<WechatPair, KeyError> {
    Ok(WechatPair {
        merchant_serial: text(all, name::WECHAT_MERCHANT_SERIAL)?.clone(),
        merchant: verifier(all, name::SIMULATOR_WECHAT_MERCHANT_PUBLIC_KEY)?,
        public_key_id: text(all, name::WECHAT_PUBLIC_KEY_ID)?.clone(),
        signer: Arc::new(signer(all, name::SIMULATOR_WECHAT_PRIVATE_KEY)?),
    })
}

/// With Alipay's certificates, made here when none of the three is given.
pub(crate) fn with_certificates(mut all: Values) -> Result<Values, KeyError> {
    let given = |key| all.contains_key(key);
    if name::ALIPAY_CERTIFICATE_MODE.into_iter().any(given) {
        return Ok(all);
    }
    let app = verifier(&all, name::SIMULATOR_ALIPAY_APP_PUBLIC_KEY)?;
    let alipay = signer(&all, name::SIMULATOR_ALIPAY_PRIVATE_KEY)?;
    let made = AlipayCertificates::issue(&app.der, alipay.public_der())?;
    all.extend([
        (name::ALIPAY_APP_CERTIFICATE, made.app),
        (name::ALIPAY_CERTIFICATE, made.alipay),
        (name::ALIPAY_ROOT_CERTIFICATES, made.roots),
    ]);
    Ok(all)
}

fn certificates(
    all: &Values,
    app: &Verifier,
    alipay: &Signer,
) -> Result<AlipayCertificates, KeyError> {
    let [app_certificate, certificate, roots] = name::ALIPAY_CERTIFICATE_MODE;
    let texts = [
        text(all, app_certificate)?.as_str(),
        text(all, certificate)?,
        text(all, roots)?,
    ];
    AlipayCertificates::read(texts, &app.der, alipay.public_der())
        .ok_or(KeyError::Malformed(name::ALIPAY_CERTIFICATE))
}

fn certificate_client(client: &Values, alipay: &AlipayKeys) -> Values {
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

/// The client's private keys may be missing: the simulator can do without them. Of keys that the
/// client reads with the next one below, the first is the one in use.
pub(crate) fn read(directory: &Path) -> Result<Values, KeyError> {
    let mut all = Values::new();
    for key in name::WECHAT
        .into_iter()
        .chain(name::ALIPAY)
        .chain(name::SIMULATOR)
        .chain(name::ALIPAY_CERTIFICATE_MODE)
        .chain([name::ALIPAY_SELLER_ID])
    {
        let path = directory.join(key);
        match fs::read_to_string(&path) {
            Ok(text) => drop(all.insert(key, in_use(key, text.trim()).to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(KeyError::Read { path, source }),
        }
    }
    Ok(all)
}

fn in_use<'a>(key: &str, text: &'a str) -> &'a str {
    match key {
        name::WECHAT_API_KEY | name::WECHAT_PUBLIC_KEY_ID => text.lines().next().unwrap_or(text),
        _ => text,
    }
}

pub(crate) fn generate() -> Result<Values, KeyError> {
    let app = Signer::generate()?;
    let mut all = changeable()?;
    all.extend([
        (name::WECHAT_APP_ID, format!("wx{}", &ids::token()[..16])),
        (name::WECHAT_MCH_ID, format!("19{}", digits(8))),
        (name::ALIPAY_APP_ID, format!("2021{}", digits(12))),
        (name::ALIPAY_PRIVATE_KEY, app.private_pem()?),
        (name::SIMULATOR_ALIPAY_APP_PUBLIC_KEY, app.public_pem()?),
    ]);
    Ok(all)
}

/// The same merchant with other keys.
pub(crate) fn next(now: &Values) -> Result<Values, KeyError> {
    let mut all = now.clone();
    // They hold the keys that go.
    for key in name::ALIPAY_CERTIFICATE_MODE {
        all.remove(key);
    }
    all.extend(changeable()?);
    with_certificates(all)
}

/// Fresh values of every key that can be changed without a moment in which neither is valid.
fn changeable() -> Result<Values, KeyError> {
    let (merchant, wechat) = (Signer::generate()?, Signer::generate()?);
    let alipay = Signer::generate()?;
    Ok(BTreeMap::from([
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
        (name::ALIPAY_PUBLIC_KEY, alipay.public_pem()?),
        (name::SIMULATOR_WECHAT_PRIVATE_KEY, wechat.private_pem()?),
        (name::SIMULATOR_ALIPAY_PRIVATE_KEY, alipay.private_pem()?),
        (
            name::SIMULATOR_WECHAT_MERCHANT_PUBLIC_KEY,
            merchant.public_pem()?,
        ),
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
        let load = || {
            let all = with_certificates(read(directory.path())?)?;
            Keys::new(&all, None)
        };
        let keys = load().unwrap();
        assert_eq!(keys.client.len(), name::WECHAT.len() + name::ALIPAY.len());
        let merchant = Signer::parse("k", &all[name::WECHAT_PRIVATE_KEY]).unwrap();
        let signature = merchant.sign(b"message").unwrap();
        let verifier = &keys.wechat.in_use.merchant;
        assert!(verifier.verifies(b"message", &signature));
        assert!(!verifier.verifies(b"massage", &signature));
        assert!(!keys.alipay.app.verifies(b"message", &signature));
        assert_eq!(keys.wechat.in_use.merchant_serial.len(), 40);

        let [app, ..] = name::ALIPAY_CERTIFICATE_MODE;
        let mode = &keys.certificate_client;
        assert!(!mode.contains_key(name::ALIPAY_PUBLIC_KEY));
        fs::write(directory.path().join(app), &mode[app]).unwrap();
        let incomplete = load().err();
        assert!(matches!(
            incomplete,
            Some(KeyError::Malformed(name::ALIPAY_CERTIFICATE))
        ));
        for key in name::ALIPAY_CERTIFICATE_MODE {
            fs::write(directory.path().join(key), &mode[key]).unwrap();
        }
        let given = load().unwrap();
        assert!(
            given.certificate_client == *mode,
            "given certificates are kept"
        );

        fs::write(directory.path().join(name::WECHAT_API_KEY), "short").unwrap();
        let error = load().err().unwrap();
        assert!(matches!(error, KeyError::Malformed(name::WECHAT_API_KEY)));
    }
}
