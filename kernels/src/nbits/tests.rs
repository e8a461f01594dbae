//! Both products against the weights as numbers.

use super::*;
use crate::int8::Level;
use crate::testing::noise;
use crate::{Isa, Threads};

/// Codes of a row in the order in which they stand for weights.
fn code_at(codes: &[u8], bits: usize, i: usize) -> f64 {
    let byte = codes[i * bits / 8];
    f64::from((byte >> (i * bits % 8)) & (0xff >> (8 - bits)))
}

#[test]
fn products_equal_their_definition() {
    for (bits, block, depth, rows) in [
        (4, 16, 40, 3),
        (4, 32, 64, 21),
        (8, 16, 19, 3),
        (2, 32, 70, 35),
        (2, 16, 16, 1),
        (8, 64, 64, 16),
        (8, 32, 96, 150),
        (4, 128, 300, 70),
    ] {
        let blocks = usize::div_ceil(depth, block);
        let bytes = block * bits / 8;
        let codes: Vec<u8> = (0..rows * blocks * bytes).map(|i| (i * 89 + i / 7 + 7) as u8).collect();
        let scales: Vec<f32> = noise(rows * blocks, 0.1);
        let zeros: Vec<f32> = (0..rows * blocks).map(|i| (i % (1 << bits)) as f32).collect();
        let bias = noise(rows, 1.0);
        for zeros in [None, Some(&zeros[..])] {
            let weights = Blocks::new(bits, block, [rows, depth], &codes, &scales, zeros);
            let weight = |row: usize, k: usize| {
                let at = row * blocks + k / block;
                let zero = zeros.map_or(f64::from(1 << (bits - 1)), |zeros| f64::from(zeros[at]));
                (code_at(&codes[at * bytes..], bits, k % block) - zero) * f64::from(scales[at])
            };
            let mut numbers = vec![0.0; rows * depth];
            weights.dequantize(0..rows, &mut numbers);
            for (i, &got) in numbers.iter().enumerate() {
                assert!((f64::from(got) - weight(i / depth, i % depth)).abs() < 1e-4);
            }
            let packed = PackedBlocks::pack(&weights, &Threads::new(2).unwrap());
            for (count, threads, bias) in
                [(1, 1, None), (2, 2, Some(&bias[..])), (3, 1, None), (4, 1, None), (7, 2, Some(&bias[..]))]
            {
                let threads = Threads::new(threads).unwrap();
                let x = noise(count * depth, 1.0);
                let expected = |i: usize, x: &dyn Fn(usize) -> f64| -> f64 {
                    let sum: f64 = (0..depth).map(|k| weight(i % rows, k) * x(i / rows * depth + k)).sum();
                    sum + bias.map_or(0.0, |bias| f64::from(bias[i % rows]))
                };
                for isa in Isa::available() {
                    let mut y = vec![0.0; rows * count];
                    packed.multiply_with(isa, &threads, &x, count, bias, &mut y);
                    for (i, &got) in y.iter().enumerate() {
                        let expected = expected(i, &|at| f64::from(x[at]));
                        assert!((f64::from(got) - expected).abs() < 1e-3, "{isa}, {bits} bits: {expected}, got {got}");
                    }
                }
                let quantized = quantized(&x, depth, block);
                let mut first: Option<Vec<f32>> = None;
                for level in Level::all() {
                    let mut y = vec![0.0; rows * count];
                    packed.multiply_int8_with(level, &threads, &x, count, bias, &mut y);
                    for (i, &got) in y.iter().enumerate() {
                        let expected = expected(i, &|at| quantized[at]);
                        assert!(
                            (f64::from(got) - expected).abs() < 1e-3,
                            "{level:?}, {bits} bits: {expected}, got {got}"
                        );
                    }
                    let first = first.get_or_insert_with(|| y.clone());
                    assert_eq!(*first, y, "{level:?}");
                }
            }
        }
    }
}

/// Rows as their blocks' codes of 8 bits stand for them.
fn quantized(x: &[f32], depth: usize, block: usize) -> Vec<f64> {
    let blocks = x.chunks(depth).flat_map(|row| row.chunks(block));
    let of_block = |block: &[f32]| -> Vec<f64> {
        let scale = block.iter().fold(0f32, |greatest, x| greatest.max(x.abs())) / 127.0;
        block.iter().map(|x| f64::from((x * (1.0 / scale)).round_ties_even()) * f64::from(scale)).collect()
    };
    blocks.flat_map(of_block).collect()
}
