//! See `channels::fuzzing::wechat_callback`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| channels::fuzzing::wechat_callback(bytes));
