//! Feeds models, changed as messages or as bytes, to `planish_fuzz::roundtrip`.

#![no_main]

use planish_fuzz::{mutate, roundtrip};

libfuzzer_sys::fuzz_target!(|data: &[u8]| roundtrip::check(data));
libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::model(data, size, max_size, seed, libfuzzer_sys::fuzzer_mutate)
});
