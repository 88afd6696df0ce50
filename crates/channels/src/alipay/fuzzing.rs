//! See `crate::fuzzing`.

use std::borrow::Cow;
use std::io::Cursor;

use encoding_rs::GBK;
use jiff::Timestamp;
use jiff::civil::date;

use super::callback::{self, Recipient};
use super::keys::TrustedKeys;
use super::{account, bill};
use crate::crypto::VerifyingKey;

const APP: &str = "2021000000000001";
/// Its private half was thrown away.
const PUBLIC_KEY: &str = "
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAt8tnR9VSexcq8P1bRGi0
pDJrlg2Zw/MVg5N92VGtguAD+ysF6/V5Mcf8UbuAT1TM5FyiQscrJ90BgiXdnafz
VTOAe/6+1dGcF4WkSuPRTfJaifrAH3PW3ROw7FeppXQcpNeBgGYMZsem7tftKgHt
JhpeSaklt5PUTjtyfRmpK1Zoi/oC2Dy1IL8OR0tuGu9VqDYLH0C77Yax7cedpcfv
htsKy6GWz2L5ehidjBlskeJpUo+XKfiOGBe6iI0cBavDhBXv5XJE4X6dTgntxK87
wr3zlEGgQFlAdLNwF3RH+THqTJCz5LfyQ4shuaAQdnH3Ly/x9YYCMclQWAWHmO1/
WQIDAQAB";

pub(crate) fn callback(bytes: &[u8]) {
    let recipient = Recipient {
        app_id: APP,
        seller_id: Some("2088000000000001"),
    };
    if let Ok(key) = VerifyingKey::parse(PUBLIC_KEY) {
        let keys = TrustedKeys::Keys(vec![key]);
        let _ = callback::read(&keys, &recipient, bytes, Timestamp::UNIX_EPOCH);
    }
    let _ = callback::decode(bytes).map(|fields| callback::content(&fields, &recipient));
}

/// As a ZIP, as a table, and as a table once it was encoded as one is.
pub(crate) fn bill(bytes: &[u8]) {
    let day = date(2026, 10, 3);
    let _ = bill::read(Cursor::new(bytes), day, &mut |_| Ok(()));
    let _ = account::read(bytes, day);
    let gbk = std::str::from_utf8(bytes).map(|text| GBK.encode(text).0);
    for table in [Some(Cow::Borrowed(bytes)), gbk.ok()].into_iter().flatten() {
        let _ = bill::read_table(&table, day, &mut |_| Ok(()));
        let _ = account::read_table(&table, day);
    }
}

#[cfg(test)]
pub(crate) const SAMPLES: [&str; 3] = [
    super::bill::tests::BILL,
    super::account::tests::STATEMENT,
    "app_id=2021000000000001&seller_id=2088000000000001&trade_no=2026100322001&out_trade_no=P1&trade_status=TRADE_SUCCESS&total_amount=99.99&refund_fee=1.00&out_biz_no=R1&gmt_refund=2026-10-03+10%3A34%3A56.123&sign_type=RSA2&sign=AAAA",
];
