//! RSA signatures and AES-GCM, all of it aws-lc.
//!
//! Guarantees: RSASSA-PKCS1-v1_5 with SHA-256 and nothing weaker, whatever a message claims about
//! itself; RSA keys of at least 2048 bits; private keys are wiped when dropped and never printed.
//!
//! Not here: which bytes are signed (each channel's own rules).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{
    KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroizing;

/// The present key, and the next.
const KEYS_MAX: usize = 2;

/// Why key material is refused; says nothing of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("is neither PEM nor bare base64")]
    Encoding,
    #[error("is not an RSA private key of at least 2048 bits (PKCS#8 or PKCS#1)")]
    PrivateKey,
    #[error("is not an RSA public key of at least 2048 bits (SPKI)")]
    PublicKey,
    #[error("is not 32 bytes long, or a line of it is not")]
    Length,
    #[error("has more than two keys: the present one, and the next while it takes over")]
    Number,
}

/// Our private key.
pub(crate) struct SigningKey(KeyPair);

impl SigningKey {
    /// PEM, or the bare base64 that Alipay's key tool hands out.
    pub(crate) fn parse(text: &str) -> Result<Self, KeyError> {
        let der = der(text)?;
        let pair = KeyPair::from_pkcs8(&der)
            .or_else(|_| KeyPair::from_der(&der))
            .map_err(|_| KeyError::PrivateKey)?;
        match pair.public_modulus_len() {
            256.. => Ok(Self(pair)),
            _ => Err(KeyError::PrivateKey),
        }
    }

    /// Whether this is the private half of a public key (SPKI).
    pub(crate) fn belongs_to(&self, spki: &[u8]) -> bool {
        let public: Result<PublicKeyX509Der<'_>, _> = self.0.public_key().as_der();
        public.is_ok_and(|public| public.as_ref() == spki)
    }

    /// The signature in base64; `None` only if the library failed.
    pub(crate) fn sign(&self, message: &[u8]) -> Option<String> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                message,
                &mut signature,
            )
            .ok()?;
        Some(STANDARD.encode(signature))
    }
}

/// A channel's public key.
pub(crate) struct VerifyingKey(ParsedPublicKey);

impl VerifyingKey {
    pub(crate) fn parse(text: &str) -> Result<Self, KeyError> {
        Self::from_spki(&der(text)?)
    }

    /// One key, or the present and the next one.
    pub(crate) fn parse_all(text: &str) -> Result<Vec<Self>, KeyError> {
        let keys = key_blocks(text).into_iter().map(|key| Self::parse(&key));
        one_or_two(keys.collect::<Result<_, _>>()?)
    }

    /// The key of a certificate.
    pub(crate) fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der)
            .map(Self)
            .map_err(|_| KeyError::PublicKey)
    }

    /// Whether `signature` (base64) is this key's over exactly these bytes.
    pub(crate) fn verifies(&self, message: &[u8], signature: &str) -> bool {
        STANDARD
            .decode(signature)
            .is_ok_and(|signature| self.verifies_raw(message, &signature))
    }

    pub(crate) fn verifies_raw(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify_sig(message, signature).is_ok()
    }
}

/// The keys that open WeChat Pay's encrypted resources: the present one, and the next while one
/// replaces the other. Nothing says with which of them a resource was made.
pub(crate) struct SealingKeys(Vec<LessSafeKey>);

impl SealingKeys {
    /// One key on each line.
    pub(crate) fn parse(text: &str) -> Result<Self, KeyError> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let keys = lines.map(|line| {
            UnboundKey::new(&AES_256_GCM, line.as_bytes())
                .map(LessSafeKey::new)
                .map_err(|_| KeyError::Length)
        });
        Ok(Self(one_or_two(keys.collect::<Result<_, _>>()?)?))
    }

    /// Decrypts `sealed` (ciphertext and tag); `None` for a nonce of another length than 12 or a
    /// tag that does not fit.
    pub(crate) fn open(&self, nonce: &[u8], aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        self.0
            .iter()
            .find_map(|key| open(key, nonce, aad, sealed.to_vec()))
    }
}

fn open(key: &LessSafeKey, nonce: &[u8], aad: &[u8], mut sealed: Vec<u8>) -> Option<Vec<u8>> {
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let opened = key.open_in_place(nonce, Aad::from(aad), &mut sealed);
    let length = opened.ok()?.len();
    sealed.truncate(length);
    Some(sealed)
}

fn one_or_two<T>(keys: Vec<T>) -> Result<Vec<T>, KeyError> {
    if (1..=KEYS_MAX).contains(&keys.len()) {
        Ok(keys)
    } else {
        Err(KeyError::Number)
    }
}

/// The keys of a file with several public keys: PEM, each with its armour, or bare base64 with an
/// empty line between two.
pub(crate) fn key_blocks(text: &str) -> Vec<String> {
    match pem::parse_many(text) {
        Ok(blocks) if !blocks.is_empty() => blocks.iter().map(pem::encode).collect(),
        _ => bare_blocks(text),
    }
}

fn bare_blocks(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines
        .split(|line| line.is_empty())
        .filter(|block| !block.is_empty())
        .map(|block| block.join("\n"))
        .collect()
}

/// Decoded here and not by a PEM library so that every copy of a private key is wiped.
fn der(text: &str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    // Room for all of it at once: a growing string would leave copies behind.
    let mut base64 = Zeroizing::new(String::with_capacity(text.len()));
    for line in text.lines().map(str::trim) {
        if !line.starts_with("-----") {
            base64.extend(line.chars().filter(|character| !character.is_whitespace()));
        }
    }
    match STANDARD.decode(base64.as_bytes()) {
        Ok(der) if !der.is_empty() => Ok(Zeroizing::new(der)),
        _ => Err(KeyError::Encoding),
    }
}

#[cfg(test)]
mod tests;
