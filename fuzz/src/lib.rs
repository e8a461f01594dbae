//! Oracles for the fuzz targets, which only hand bytes to them. `tests/fuzz_seeds.rs` replays the seeds through the
//! same oracles in an ordinary test run.
//!
//! ```text
//! cargo +nightly fuzz run decode fuzz/corpus/decode fuzz/seeds/decode
//! cargo run --manifest-path fuzz/Cargo.toml --bin make_seeds    # writes fuzz/seeds/ anew
//! ```

pub mod decode;
pub mod memory;
