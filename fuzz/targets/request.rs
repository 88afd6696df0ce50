//! See `payment_runtime::api::fuzzing::request`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| payment_runtime::api::fuzzing::request(bytes));
