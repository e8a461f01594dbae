//! Oracles for the fuzz targets, which only hand bytes to them. `tests/fuzz_seeds.rs` replays the seeds through the
//! same oracles in an ordinary test run.
//!
//! ```text
//! cargo +nightly fuzz run decode fuzz/corpus/decode fuzz/seeds/decode
//! cargo +nightly fuzz run load fuzz/corpus/load fuzz/seeds/load tests/malformed
//! cargo +nightly fuzz run roundtrip fuzz/corpus/roundtrip fuzz/seeds/load tests/malformed
//! cargo run --manifest-path fuzz/Cargo.toml --bin make_seeds    # writes fuzz/seeds/ anew
//! ```

pub mod decode;
pub mod load;
pub mod memory;
pub mod mutate;
pub mod roundtrip;
