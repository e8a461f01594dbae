//! Every path against its definition, bit by bit, extremes included.

use proptest::prelude::*;

use super::conv::conv_int8_with;
use super::*;
use crate::conv::{ConvGeometry, Window};
use crate::gemm::MatRef;

/// Codes of either kind from bytes.
trait FromByte: Code {
    fn from_byte(byte: u8) -> Self;
}

impl FromByte for u8 {
    fn from_byte(byte: u8) -> Self {
        byte
    }
}

impl FromByte for i8 {
    fn from_byte(byte: u8) -> Self {
        byte.cast_signed()
    }
}

/// `len` codes from a few bytes, of which the extremes are as likely as all others.
fn codes<T: FromByte>(seed: &[u8], len: usize, salt: usize) -> Vec<T> {
    (0..len)
        .map(|i| {
            let byte = seed[(i * 31 + i / 7 + salt) % seed.len()];
            T::from_byte(match byte % 4 {
                0 => 0,
                1 => 255,
                2 => 128,
                _ => byte.wrapping_add((i % 251) as u8),
            })
        })
        .collect()
}

fn matrix<T>(data: &[T], rows: usize, columns: usize, is_transposed: bool) -> MatRef<'_, T> {
    if is_transposed {
        MatRef::row_major(data, columns, rows).transposed()
    } else {
        MatRef::row_major(data, rows, columns)
    }
}

fn check_product<'x, A: FromByte, B: FromByte>(
    (m, k, n): (usize, usize, usize),
    seed: &[u8],
    [a_transposed, b_transposed, each]: [bool; 3],
    threads: usize,
) where
    for<'a> Lhs8<'a>: From<Quantized<'a, A>>,
    for<'a> Rhs8<'a>: From<Quantized<'a, B>>,
{
    let (a, b) = (codes::<A>(seed, m * k, 1), codes::<B>(seed, k * n, 2));
    let (a_zeros, b_zeros) = (codes::<A>(seed, m, 3), codes::<B>(seed, n, 4));
    let a = matrix(&a, m, k, a_transposed);
    let b = matrix(&b, k, n, b_transposed);
    let (a, b) = if each {
        (Quantized::left(a, ZeroPoints::Each(&a_zeros)), Quantized::right(b, ZeroPoints::Each(&b_zeros)))
    } else {
        let (a_zero, b_zero) = (A::from_byte(seed[0]), B::from_byte(seed[1]));
        (Quantized::left(a, ZeroPoints::All(a_zero)), Quantized::right(b, ZeroPoints::All(b_zero)))
    };
    let threads = Threads::new(threads).unwrap();
    let (packed_a, packed_b) = (PackedA8::pack(a), PackedB8::pack(b, &threads));
    let mut expected = vec![7; m * (n + 1)];
    gemm_int8_scalar(a, b, &mut expected, n + 1);
    for isa in Isa::available() {
        for (left, right) in [
            (Lhs8::from(a), Rhs8::from(b)),
            (Lhs8::from(a), Rhs8::Packed(&packed_b)),
            (Lhs8::Packed(&packed_a), Rhs8::from(b)),
            (Lhs8::Packed(&packed_a), Rhs8::Packed(&packed_b)),
        ] {
            let mut found = vec![7; m * (n + 1)];
            gemm_int8_with(isa, &threads, left, right, &mut found, n + 1);
            assert_eq!(found, expected, "{isa}, {m} × {k} × {n}");
        }
    }
}

fn check_conv<X: FromByte, W: FromByte>(geometry: &ConvGeometry, seed: &[u8], each: bool, threads: usize) {
    let x = codes::<X>(seed, geometry.input_len(), 1);
    let weights = codes::<W>(seed, geometry.weights_len(), 2);
    let zeros = codes::<W>(seed, geometry.out_channels(), 3);
    let x_zero = X::from_byte(seed[0]);
    let zero_points = if each { ZeroPoints::Each(&zeros[..]) } else { ZeroPoints::All(W::from_byte(seed[1])) };
    let threads = Threads::new(threads).unwrap();
    let packed = PackedConv8::pack(geometry, &weights, zero_points, &threads);
    let mut expected = vec![7; geometry.output_len()];
    conv_int8_scalar(geometry, &x, x_zero, &weights, zero_points, &mut expected);
    for isa in Isa::available() {
        let mut found = vec![7; geometry.output_len()];
        conv_int8_with(isa, &threads, geometry, &x, x_zero, &packed, &mut found);
        assert_eq!(found, expected, "{isa}, {geometry:?}");
    }
}

proptest! {
    #[test]
    fn products_are_their_definition(
        size in (prop_oneof![0usize..20, 1usize..3], prop_oneof![0usize..40, 250usize..600], 0usize..50),
        seed in prop::collection::vec(any::<u8>(), 40..60),
        flags in any::<[bool; 3]>(),
        threads in 1usize..4,
    ) {
        check_product::<u8, i8>(size, &seed, flags, threads);
        check_product::<i8, i8>(size, &seed, flags, threads);
        check_product::<u8, u8>(size, &seed, flags, threads);
        check_product::<i8, u8>(size, &seed, flags, threads);
    }

    #[test]
    fn convolutions_are_their_definition(
        channels in (1usize..3, 1usize..5, 1usize..8, 1usize..4),
        input in [1usize..20, 1usize..20],
        kernel in [1usize..4, 1usize..4],
        slide in (1usize..3, 1usize..3, 0usize..3),
        seed in prop::collection::vec(any::<u8>(), 40..60),
        each in any::<bool>(),
        threads in 1usize..4,
    ) {
        let (batch, group_in, group_out, groups) = channels;
        let (stride, dilation, pad) = slide;
        let window = Window {
            kernel: &kernel,
            strides: &[stride; 2],
            dilations: &[dilation; 2],
            pads_begin: &[pad; 2],
            pads_end: &[pad; 2],
        };
        let geometry = ConvGeometry::new(batch, group_in * groups, group_out * groups, groups, &input, window);
        prop_assume!(geometry.is_ok());
        let geometry = geometry.unwrap();
        check_conv::<u8, i8>(&geometry, &seed, each, threads);
        check_conv::<i8, i8>(&geometry, &seed, each, threads);
        check_conv::<u8, u8>(&geometry, &seed, each, threads);
    }
}

#[test]
fn the_extremes_neither_saturate_nor_lose_a_bit() {
    for k in [1, 2, 3, 1000, 40_000] {
        let (a, b) = (vec![255u8; 2 * k], vec![-128i8; k * 17]);
        let a = Quantized::left(MatRef::row_major(&a, 2, k), ZeroPoints::All(0));
        let b = Quantized::right(MatRef::row_major(&b, k, 17), ZeroPoints::All(127));
        for isa in Isa::available() {
            let mut c = vec![0; 34];
            gemm_int8_with(isa, &Threads::single(), a.into(), b.into(), &mut c, 17);
            let expected = (0..k).fold(0i32, |sum, _| sum.wrapping_add(255 * -255));
            assert!(c.iter().all(|&c| c == expected), "{isa}, depth {k}");
        }
    }
}

#[test]
fn blocks_larger_than_the_scratch() {
    let seed: Vec<u8> = (0..47).map(|i| (i * 89) as u8).collect();
    check_product::<u8, i8>((200, 1200, 300), &seed, [false, false, true], 2);
}
