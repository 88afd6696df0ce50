//! Entry points for fuzzing: what comes from outside, handed to the parsers as if its signature had
//! fitted.
//!
//! Guarantees: each function is total. Whatever the bytes are, it returns.
//!
//! Not here: signatures. No fuzzer finds one, so the content behind it is tried without.

/// The envelope of a WeChat Pay callback, and the same bytes as its decrypted content.
pub fn wechat_callback(bytes: &[u8]) {
    crate::wechat::fuzzing::callback(bytes);
}

/// The form of an Alipay callback, verified with a fixed key and read whatever the result.
pub fn alipay_callback(bytes: &[u8]) {
    crate::alipay::fuzzing::callback(bytes);
}

/// A trade bill and a fund flow bill of WeChat Pay, packed or not.
pub fn wechat_bill(bytes: &[u8]) {
    crate::wechat::fuzzing::bill(bytes);
}

/// A trade bill and an account statement of Alipay, as a ZIP and as bare text.
pub fn alipay_bill(bytes: &[u8]) {
    crate::alipay::fuzzing::bill(bytes);
}

#[cfg(test)]
mod tests;
