//! See `channels::fuzzing::alipay_callback`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| channels::fuzzing::alipay_callback(bytes));
