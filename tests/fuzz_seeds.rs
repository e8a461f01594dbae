//! Every seed of the fuzz targets, and the costliest files a limit allows, through the targets' own oracles.

#[path = "../fuzz/src/decode.rs"]
mod decode;
#[path = "../fuzz/src/memory.rs"]
mod memory;

use std::error::Error;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use planish::onnx::proto::{ModelProto, TensorProto};
use planish::onnx::wire::{WireErrorKind, WireMessage};

/// The largest `count` for which `file(count)` is not refused for its memory.
fn most<M: WireMessage>(file: impl Fn(usize) -> Vec<u8>) -> usize {
    let fits = |count: usize| match planish::onnx::wire::decode::<M>(Bytes::from(file(count))) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.kind(), WireErrorKind::TooMuchMemory, "{error}");
            false
        }
    };
    let (mut least, mut most) = (0, 1 << 20);
    while least + 1 < most {
        let middle = (least + most) / 2;
        *if fits(middle) { &mut least } else { &mut most } = middle;
    }
    least
}

/// Everything is in one test because the memory limit is the whole process's.
#[test]
fn seeds_and_costly_files_decode_within_the_memory_limit() -> Result<(), Box<dyn Error>> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/decode");
    let mut files: Vec<_> =
        fs::read_dir(seeds)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        decode::check(&fs::read(file)?);
    }

    let nodes = |count: usize| field(7, &[0x0a, 0x00].repeat(count));
    let attributes = |count: usize| field(7, &field(1, &[0x2a, 0x00]).repeat(count));
    let strings = |count: usize| field(7, &field(1, &[0x0a, 0x01, b'a']).repeat(count));
    let shapes = |count: usize| field(7, &field(11, &field(2, &field(1, &field(2, &[0x0a, 0x00])))).repeat(count));
    for costly in [&nodes as &dyn Fn(usize) -> Vec<u8>, &attributes, &strings, &shapes] {
        decode::check(&costly(most::<ModelProto>(costly)));
    }
    let numbers = |count: usize| field(7, &vec![0; count]);
    decode::check(&numbers(most::<TensorProto>(numbers)));
    Ok(())
}

/// A tag, a length and the bytes: one field of wire type 2 with a number below 16.
fn field(number: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    prost::encode_length_delimiter(payload.len(), &mut out).expect("a vector grows");
    out.extend_from_slice(payload);
    out
}
