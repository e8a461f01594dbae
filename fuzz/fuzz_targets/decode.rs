//! Feeds bytes to `planish_fuzz::decode`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| planish_fuzz::decode::check(data));
