//! Signatures of messages: HMAC-SHA256 over id, time and body.
//!
//! Guarantees: the secret is read anew for each delivery, so that it can be replaced without a
//! restart; with two secrets in the file a message carries two signatures, so that a receiver can
//! change from one to the other.

use std::path::Path;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const PREFIX: &str = "whsec_";
/// What Standard Webhooks asks of a secret.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Secrets of one file that are used.
const SECRETS_MAX: usize = 3;

/// Why a message cannot be signed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SecretError {
    #[error("the secret's file cannot be read: {0}")]
    Unreadable(String),
    #[error("the secret must be whsec_ and the base64 of 24 to 64 bytes")]
    Malformed,
}

/// The keys of a file: one `whsec_…` for each line.
pub(super) fn secrets(file: &Path) -> Result<Vec<hmac::Key>, SecretError> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| SecretError::Unreadable(error.to_string()))?;
    let keys: Vec<hmac::Key> = text
        .split_whitespace()
        .take(SECRETS_MAX)
        .map(key)
        .collect::<Result<_, _>>()?;
    if keys.is_empty() {
        return Err(SecretError::Malformed);
    }
    Ok(keys)
}

fn key(secret: &str) -> Result<hmac::Key, SecretError> {
    let encoded = secret.strip_prefix(PREFIX).ok_or(SecretError::Malformed)?;
    let bytes = STANDARD
        .decode(encoded)
        .ok()
        .filter(|bytes| SECRET_BYTES.contains(&bytes.len()))
        .ok_or(SecretError::Malformed)?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// The header `webhook-signature`.
pub(super) fn signature(keys: &[hmac::Key], id: &str, timestamp: i64, body: &str) -> String {
    let signed = format!("{id}.{timestamp}.{body}");
    let each = keys.iter().map(|key| {
        let tag = hmac::sign(key, signed.as_bytes());
        format!("v1,{}", STANDARD.encode(tag))
    });
    each.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    /// The example of the Standard Webhooks libraries.
    #[test]
    fn the_signature_is_the_standards() {
        let file = file("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n");
        let keys = secrets(file.path()).unwrap();
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let signed = signature(&keys, id, 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn two_secrets_sign_twice_and_bad_ones_are_told() {
        let good = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let two = file(&format!("{good}\n{good}\n"));
        let keys = secrets(two.path()).unwrap();
        let signed = signature(&keys, "msg_1", 1, "{}");
        assert_eq!(signed.split(' ').count(), 2);
        for bad in ["", "secret", "whsec_!!", "whsec_MfKQ9r8GKYqrTwjUPD8I"] {
            let error = secrets(file(bad).path()).unwrap_err();
            assert_eq!(error, SecretError::Malformed, "{bad}");
        }
        let absent = secrets(Path::new("/nonexistent")).unwrap_err();
        assert!(matches!(absent, SecretError::Unreadable(_)));
    }
}
