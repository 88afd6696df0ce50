//! See `channels::fuzzing::wechat_bill`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| channels::fuzzing::wechat_bill(bytes));
