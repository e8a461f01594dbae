//! Models changed at random, through the oracles of the fuzz targets: what a fuzzer does, without a fuzzer's guidance.
//!
//! ```text
//! PLANISH_MUTATIONS=1000000 cargo test --test mutated    # for longer than the thousand of every run
//! ```
//!
//! Where a model ends the process, `target/tmp/mutated.onnx` is that model.

#[path = "../fuzz/src/load.rs"]
mod load;
#[path = "../fuzz/src/memory.rs"]
mod memory;
#[path = "../fuzz/src/mutate.rs"]
mod mutate;
#[path = "../fuzz/src/roundtrip.rs"]
mod roundtrip;

use std::fs;
use std::path::Path;

/// How many models are made, unless `PLANISH_MUTATIONS` says otherwise.
const MUTATIONS: u32 = 1000;

/// The largest model that a change may make.
const MAX_BYTES: usize = 64 << 10;

/// How often a model is changed before another is taken.
const CHANGES: u32 = 5;

/// Everything is in one test because the memory limit is the whole process's.
#[test]
fn changed_models_are_answered_within_limits() {
    let seeds = seeds();
    let mutations = std::env::var("PLANISH_MUTATIONS").map_or(MUTATIONS, |n| n.parse().expect("it is a number"));
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutated.onnx");
    let mut data = vec![0; MAX_BYTES];
    let mut size = 0;
    for seed in 0..mutations {
        if seed % CHANGES == 0 {
            let model = &seeds[spread(seed) as usize % seeds.len()];
            size = model.len();
            data[..size].copy_from_slice(model);
        }
        size = mutate::model(&mut data, size, MAX_BYTES, seed, |data, size, _| change_byte(data, size, seed));
        fs::write(&file, &data[..size]).expect("cargo makes the folder");
        load::check(&data[..size]);
        roundtrip::check(&data[..size]);
    }
}

/// The seeds of the fuzz targets and the malformed files, in the order of their names.
fn seeds() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders =
        ["fuzz/seeds/load", "tests/malformed"].map(|folder| fs::read_dir(root.join(folder)).expect("it is here"));
    let mut files: Vec<_> = folders.into_iter().flatten().map(|entry| entry.expect("it is readable").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "onnx"));
    files.sort();
    let models = files.iter().map(|path| fs::read(path).expect("it is readable"));
    models.filter(|model| model.len() <= MAX_BYTES).collect()
}

/// Sets one byte to another value.
fn change_byte(data: &mut [u8], size: usize, seed: u32) -> usize {
    if size > 0 {
        data[spread(seed) as usize % size] = spread(!seed) as u8;
    }
    size
}

/// Numbers that follow each other, far apart (Knuth's multiplicative hash).
fn spread(seed: u32) -> u32 {
    seed.wrapping_mul(2_654_435_761).rotate_right(15)
}
