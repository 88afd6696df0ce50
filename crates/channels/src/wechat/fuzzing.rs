//! See `crate::fuzzing`.

use std::io::{Cursor, Read as _};

use flate2::read::MultiGzDecoder;
use jiff::civil::date;
use sha1::{Digest as _, Sha1};

use super::{bill, callback, funds};
use crate::crypto::SealingKeys;

const EVENTS: [&str; 4] = [
    "TRANSACTION.SUCCESS",
    "REFUND.SUCCESS",
    "REFUND.CLOSED",
    "REFUND.ABNORMAL",
];
const UNPACKED_MAX: u64 = 1 << 20;
const MERCHANT: &str = "1900000109";
const APP: &str = "wxd678efh567hg6787";

pub(crate) fn callback(bytes: &[u8]) {
    if let Ok(key) = SealingKeys::parse("0123456789abcdef0123456789ABCDEF") {
        let _ = callback::read(&key, MERCHANT, APP, bytes);
    }
    for event in EVENTS {
        let _ = callback::content(event, bytes, MERCHANT, APP);
    }
}

/// With the hash of whatever it unpacks to, as if it came with it.
pub(crate) fn bill(bytes: &[u8]) {
    let day = date(2026, 10, 3);
    let mut text = Vec::new();
    let unpacked = MultiGzDecoder::new(bytes)
        .take(UNPACKED_MAX)
        .read_to_end(&mut text);
    let text = if unpacked.is_ok() { &text } else { bytes };
    let hash = hex::encode(Sha1::digest(text));
    let _ = bill::read(Cursor::new(bytes), &hash, day, &mut |_| Ok(()));
    let _ = funds::read(bytes, &hash, day);
}

#[cfg(test)]
pub(crate) const SAMPLES: [&str; 4] = [
    super::bill::tests::BILL,
    super::funds::tests::BILL,
    r#"{"mchid":"1900000109","appid":"wxd678efh567hg6787","out_trade_no":"P20261003000001","transaction_id":"4200001","trade_state":"SUCCESS","success_time":"2026-10-03T10:34:56+08:00","amount":{"total":9999,"currency":"CNY"}}"#,
    r#"{"event_type":"TRANSACTION.SUCCESS","resource":{"algorithm":"AEAD_AES_256_GCM","ciphertext":"AAAA","nonce":"c5ac7061fcc2","associated_data":"transaction"}}"#,
];
