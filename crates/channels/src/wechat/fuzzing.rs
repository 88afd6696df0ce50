//! See `crate::fuzzing`.

use jiff::civil::date;
use sha1::{Digest as _, Sha1};

use super::{bill, callback, funds};
use crate::crypto::SealingKey;

const EVENTS: [&str; 4] = [
    "TRANSACTION.SUCCESS",
    "REFUND.SUCCESS",
    "REFUND.CLOSED",
    "REFUND.ABNORMAL",
];
const MERCHANT: &str = "1900000109";
const APP: &str = "wxd678efh567hg6787";

pub(crate) fn callback(bytes: &[u8]) {
    if let Ok(key) = SealingKey::parse("0123456789abcdef0123456789ABCDEF") {
        let _ = callback::read(&key, MERCHANT, APP, bytes);
    }
    for event in EVENTS {
        let _ = callback::content(event, bytes, MERCHANT, APP);
    }
}

pub(crate) fn bill(bytes: &[u8]) {
    let hash = hex::encode(Sha1::digest(bytes));
    let _ = bill::read(bytes, &hash);
    let _ = funds::read(bytes, &hash, date(2026, 10, 3));
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = bill::parse(text);
        let _ = funds::parse(text, date(2026, 10, 3));
    }
}

#[cfg(test)]
pub(crate) const SAMPLES: [&str; 4] = [
    super::bill::tests::BILL,
    super::funds::tests::BILL,
    r#"{"mchid":"1900000109","appid":"wxd678efh567hg6787","out_trade_no":"P20261003000001","transaction_id":"4200001","trade_state":"SUCCESS","success_time":"2026-10-03T10:34:56+08:00","amount":{"total":9999,"currency":"CNY"}}"#,
    r#"{"event_type":"TRANSACTION.SUCCESS","resource":{"algorithm":"AEAD_AES_256_GCM","ciphertext":"AAAA","nonce":"c5ac7061fcc2","associated_data":"transaction"}}"#,
];
