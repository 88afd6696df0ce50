//! Making passwords and key pairs. The only place where randomness enters.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::KeyPair as _,
};

/// The system has no randomness or cannot make a key.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a {0}")]
pub struct KeyError(&'static str);

/// A password that needs no quoting anywhere: `length` letters and digits.
pub fn password(length: usize) -> Result<String, KeyError> {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    /// The largest multiple of 62 a byte holds: bytes above would make some letters likelier.
    const LIMIT: u8 = 248;
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let mut bytes = [0_u8; 64];
        fill(&mut bytes)?;
        let letters = bytes.iter().filter(|byte| **byte < LIMIT);
        let letters = letters.map(|byte| char::from(ALPHABET[usize::from(byte % 62)]));
        text.extend(letters.take(length - text.len()));
    }
    Ok(text)
}

/// `bytes` random bytes as upper-case hex.
pub fn upper_hex(bytes: usize) -> Result<String, KeyError> {
    let mut buffer = vec![0_u8; bytes];
    fill(&mut buffer)?;
    Ok(hex::encode_upper(buffer))
}

fn fill(buffer: &mut [u8]) -> Result<(), KeyError> {
    aws_lc_rs::rand::SecureRandom::fill(&SystemRandom::new(), buffer)
        .map_err(|_| KeyError("random number"))
}

/// An RSA key pair as PEM: private (PKCS#8) and public (SPKI).
pub struct PemPair {
    pub private: String,
    pub public: String,
}

pub fn rsa_pair() -> Result<PemPair, KeyError> {
    let error = |_| KeyError("RSA key");
    let pair = KeyPair::generate(KeySize::Rsa2048).map_err(error)?;
    let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(error)?;
    let public = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).map_err(error)?;
    Ok(PemPair {
        private: armour("PRIVATE KEY", private.as_ref()),
        public: armour("PUBLIC KEY", public.as_ref()),
    })
}

fn armour(tag: &str, der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(tag, der), config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_plain_and_differ() {
        let (one, other) = (password(32).unwrap(), password(32).unwrap());
        assert_eq!(one.len(), 32);
        assert!(one.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_ne!(one, other);
    }

    #[test]
    fn key_pairs_are_pem() {
        let pair = rsa_pair().unwrap();
        assert!(pair.private.starts_with("-----BEGIN PRIVATE KEY-----\n"));
        assert!(pair.public.starts_with("-----BEGIN PUBLIC KEY-----\n"));
        assert_eq!(pem::parse(&pair.public).unwrap().tag(), "PUBLIC KEY");
    }
}
