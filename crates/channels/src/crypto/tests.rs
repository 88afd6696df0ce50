//! Vectors made with OpenSSL and Python's `cryptography`, so that none of it rests on the library
//! under test alone. The private half of the key was thrown away.

use super::*;
use crate::testing::OPENSSL_PUBLIC_KEY as PUBLIC;

/// SHA-256 over `1790000000\n593BEC0C930BF1AFEB40B4A08C8FB242\n{"code_url":…}\n`.
const ANSWER: &str = "r6xw5hMobBt08cwW5eO1Ca0OInWOEEh2rX3hZr5kpxZYG5R2sS8h5yvH7/vWzEBHIcavjz/LJrljeqDYmSNpcxFFR7b7O+/xdUni2SMR3SzUU3pZQJG89N1a12ngy9y1iClIInOvnMYYhgFVn/mb4gt+cgVcN2ZMOVvSATIXcWSnNQJ4xXpaAAY4SDqS/IfqHD1yNG+BkSc8UgveGNB7WLR/hK9jKvc8uKOSJQPv7Gpn5upSIdBUjcimyv2hJwHaVuotPVgDJ4rZei97pTae3vYEDcxh5PpYCuDYjugqUeVnSdE9LuiZLRuGwrF/oNcjQA1r1fmUCyX9Yijfrwpp+A==";
/// SHA-1 over the same.
const ANSWER_SHA1: &str = "GQsSOS/RxdC+Z8sUx4YAwRizXIRg0ON6HoRl3g30ZO8djaEJ2sJNBzvQQxwr/R5W5Hv3nu4NjBArvFtd7PecnNL2dHrMjFjq5lBaWaqVvehKkFYIjkhYBa8waEqX/5PFM9PLt6or0QYZ3+XJkHxiOMQ3OCv3E11LtwpiD6bZhB0V1onHhuwlkOBYJe3CoQLFf81CqzHRFtL0Lur4igkb+GCUo9XIkrAbnxFU3/siuCfGIPR6FrdlMjGC0d9kSlYgBcllQ148mn1w+9z5DEXBo6YMKKj9+aY7MCEMbVwGm6pfI5gge2r4CP2xe0NkBBgXumdZT02JA+x2IGOmDVXfWw==";
const ANSWER_TEXT: &str = "1790000000\n593BEC0C930BF1AFEB40B4A08C8FB242\n{\"code_url\":\"weixin://wxpay/bizpayurl?pr=p4lpSuKzz\"}\n";

#[test]
fn a_foreign_signature_is_verified_and_every_change_is_seen() {
    let key = VerifyingKey::parse(PUBLIC).unwrap();
    assert!(key.verifies(ANSWER_TEXT.as_bytes(), ANSWER));
    for index in 0..ANSWER_TEXT.len() {
        let mut changed = ANSWER_TEXT.as_bytes().to_vec();
        changed[index] ^= 1;
        assert!(!key.verifies(&changed, ANSWER), "byte {index}");
    }
}

#[test]
fn a_sha1_signature_of_the_right_key_is_refused() {
    let key = VerifyingKey::parse(PUBLIC).unwrap();
    assert!(!key.verifies(ANSWER_TEXT.as_bytes(), ANSWER_SHA1));
}

#[test]
fn what_is_no_base64_is_no_signature() {
    let key = VerifyingKey::parse(PUBLIC).unwrap();
    for text in ["", "WECHATPAY/SIGNTEST/abc", "====", "ü"] {
        assert!(!key.verifies(ANSWER_TEXT.as_bytes(), text), "{text}");
    }
}

#[test]
fn keys_are_read_with_and_without_armour() {
    let bare: String = PUBLIC
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    let key = VerifyingKey::parse(&bare).unwrap();
    assert!(key.verifies(ANSWER_TEXT.as_bytes(), ANSWER));
    let private = &crate::testing::merchant().private_pem;
    let bare: String = private
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    assert!(SigningKey::parse(&bare).is_ok());
}

#[test]
fn short_and_foreign_keys_are_refused() {
    const SHORT: &str = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDtNel857+ckP+chPtCU7BIaripmCGy1anUqUZLBckQvHiRd8HzIGQvVAyz5G8JIS9A/x9pGwQVoS+4AAE3sr3+6mqU66DmLSGQ8iLWmFVBRy3byPPukvFp2oq+vzaA8Pgn+AVIgXORPoqEDaOdzr7fRgGY865xOt6nrn1UEVAbmwIDAQAB";
    // A key too short to be safe must verify nothing, wherever the library looks at its length.
    let verifies = VerifyingKey::parse(SHORT).is_ok_and(|key| key.verifies(b"x", "eA=="));
    assert!(!verifies);
    assert_eq!(SigningKey::parse(PUBLIC).err(), Some(KeyError::PrivateKey));
    assert_eq!(SigningKey::parse("*").err(), Some(KeyError::Encoding));
    assert_eq!(
        VerifyingKey::parse(&crate::testing::merchant().private_pem).err(),
        Some(KeyError::PublicKey)
    );
}

#[test]
fn a_foreign_ciphertext_opens_and_nothing_changed_does() {
    let key = SealingKeys::parse("0123456789abcdef0123456789ABCDEF").unwrap();
    let sealed = STANDARD
        .decode("gTWNuqFmznrRz0YfcyO97VauUBV+YY++e+jsK2WABOt9nlPxWQ==")
        .unwrap();
    let open = |nonce: &[u8], aad: &[u8], sealed: &[u8]| key.open(nonce, aad, sealed);
    let plain = open(b"c5ac7061fcc2", b"transaction", &sealed).unwrap();
    assert_eq!(plain, br#"{"out_trade_no":"P1"}"#);
    for index in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[index] ^= 1;
        assert_eq!(
            open(b"c5ac7061fcc2", b"transaction", &changed),
            None,
            "byte {index}"
        );
    }
    assert_eq!(open(b"c5ac7061fcc2", b"", &sealed), None);
    assert_eq!(open(b"c5ac7061fcc", b"transaction", &sealed), None);
    assert_eq!(open(b"c5ac7061fcc22", b"transaction", &sealed), None);
    assert_eq!(open(b"c5ac7061fcc2", b"transaction", &sealed[..15]), None);
}

#[test]
fn an_api_key_has_32_bytes() {
    let length = Some(KeyError::Length);
    assert_eq!(SealingKeys::parse("short").err(), length);
    let key = "0123456789abcdef0123456789ABCDEF";
    assert_eq!(SealingKeys::parse(&format!("{key}\nshort")).err(), length);
    let three = [key; 3].join("\n");
    assert_eq!(SealingKeys::parse(&three).err(), Some(KeyError::Number));
    assert_eq!(SealingKeys::parse("").err(), Some(KeyError::Number));
}

#[test]
fn the_present_and_the_next_api_key_open_side_by_side() {
    let sealed = crate::testing::seal(b"c5ac7061fcc2", "transaction", "text");
    let sealed = STANDARD.decode(sealed).unwrap();
    let (mine, other) = (crate::testing::API_KEY, "f".repeat(32));
    let opens = |keys: &str| {
        let keys = SealingKeys::parse(keys).unwrap();
        keys.open(b"c5ac7061fcc2", b"transaction", &sealed)
    };
    assert_eq!(opens(&format!("{mine}\n{other}")).unwrap(), b"text");
    assert_eq!(opens(&format!("{other}\r\n{mine}\n")).unwrap(), b"text");
    assert_eq!(opens(&other), None);
}
