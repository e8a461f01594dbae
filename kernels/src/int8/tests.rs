//! Every path against its definition, bit by bit, extremes included.

use proptest::prelude::*;

use super::conv::conv_int8_with;
use super::tile::Level;
use super::*;
use crate::conv::{ConvGeometry, Window};
use crate::elementwise::Unary;
use crate::gemm::{Bias, MatRef};
use crate::testing::noise;

/// Codes of either kind from bytes.
trait FromByte: Code {
    fn from_byte(byte: u8) -> Self;
    fn image(x: &[Self], zero: Self) -> Image<'_>;
}

impl FromByte for u8 {
    fn from_byte(byte: u8) -> Self {
        byte
    }

    fn image(x: &[Self], zero: Self) -> Image<'_> {
        Image::U8(x, zero)
    }
}

impl FromByte for i8 {
    fn from_byte(byte: u8) -> Self {
        byte.cast_signed()
    }

    fn image(x: &[Self], zero: Self) -> Image<'_> {
        Image::I8(x, zero)
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
    let packed_b = PackedB8::pack(b, &threads);
    let mut expected = vec![7; m * (n + 1)];
    gemm_int8_scalar(a, b, &mut expected, n + 1);
    for level in Level::all() {
        for right in [Rhs8::from(b), Rhs8::Packed(&packed_b)] {
            let mut found = vec![7; m * (n + 1)];
            gemm_int8_with(level, &threads, a.into(), right, Sums32, &mut found, n + 1);
            assert_eq!(found, expected, "{level:?}, {m} × {k} × {n}");
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
    let packed = PackedConv8::pack(geometry, &weights, zero_points);
    let mut expected = vec![7; geometry.output_len()];
    conv_int8_scalar(geometry, &x, x_zero, &weights, zero_points, &mut expected);
    for level in Level::all() {
        let mut found = vec![7; geometry.output_len()];
        conv_int8_with(level, &threads, geometry, X::image(&x, x_zero), &packed, |_| Sums32, &mut found);
        assert_eq!(found, expected, "{level:?}, {geometry:?}");
    }
}

proptest! {
    #[test]
    fn products_are_their_definition(
        size in (prop_oneof![0usize..20, 1usize..3], prop_oneof![0usize..40, 250usize..600], prop_oneof![0usize..50, Just(1)]),
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
        channels in (1usize..3, 1usize..10, 1usize..8, 1usize..4),
        input in [1usize..20, 1usize..40],
        kernel in [1usize..4, 1usize..4],
        slide in (1usize..4, 1usize..4, 1usize..3, 0usize..3),
        seed in prop::collection::vec(any::<u8>(), 40..60),
        each in any::<bool>(),
        threads in 1usize..4,
    ) {
        let (batch, group_in, group_out, groups) = channels;
        let (stride, across, dilation, pad) = slide;
        let window = Window {
            kernel: &kernel,
            strides: &[stride, across],
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
        let packed = PackedB8::pack(b, &Threads::single());
        for (level, right) in Level::all().into_iter().flat_map(|level| [(level, b.into()), (level, (&packed).into())])
        {
            let mut c = vec![0; 34];
            gemm_int8_with(level, &Threads::single(), a.into(), right, Sums32, &mut c, 17);
            let expected = (0..k).fold(0i32, |sum, _| sum.wrapping_add(255 * -255));
            assert!(c.iter().all(|&c| c == expected), "{level:?}, depth {k}");
        }
    }
}

#[test]
fn blocks_larger_than_the_scratch() {
    let seed: Vec<u8> = (0..47).map(|i| (i * 89) as u8).collect();
    check_product::<u8, i8>((200, 1200, 300), &seed, [false, false, true], 2);
}

#[test]
fn one_and_three_dimensions() {
    let seed: Vec<u8> = (0..47).map(|i| (i * 89) as u8).collect();
    for (input, kernel, stride, pad) in
        [(&[50][..], &[3][..], 2, 1), (&[5, 6, 19], &[2, 3, 3], 1, 1), (&[5, 6, 19], &[3, 1, 2], 2, 0)]
    {
        let all = |n: usize| vec![n; input.len()];
        let window =
            Window { kernel, strides: &all(stride), dilations: &all(1), pads_begin: &all(pad), pads_end: &all(pad) };
        let geometry = ConvGeometry::new(2, 6, 13, 1, input, window).unwrap();
        check_conv::<u8, i8>(&geometry, &seed, true, 2);
        check_conv::<i8, u8>(&geometry, &seed, false, 1);
    }
}

#[test]
fn codes_that_may_be_added_in_16_bits_are_told_from_those_that_may_not() {
    let seed: Vec<u8> = (0..47).map(|i| (i * 89) as u8).collect();
    for (codes, is_narrow) in
        [([64i8, 64, -64, -64], true), ([65, 64, 0, 0], false), ([1, 0, -64, -65], false), ([1, -128, 127, 1], true)]
    {
        let b = [codes; 32].concat();
        let b = Quantized::right(MatRef::row_major(&b, 16, 8).transposed(), ZeroPoints::All(0));
        let packed = PackedB8::pack(b, &Threads::single());
        assert!(packed.widths.iter().all(|width| width.is_narrow() == is_narrow), "{codes:?}");
        let a = self::codes::<u8>(&seed, 5 * 8, 0).into_iter().map(|code| code | 0xf0).collect::<Vec<_>>();
        let a = Quantized::left(MatRef::row_major(&a, 5, 8), ZeroPoints::All(3));
        let mut expected = vec![0; 5 * 16];
        gemm_int8_scalar(a, b, &mut expected, 16);
        for level in Level::all() {
            let mut found = vec![0; 5 * 16];
            gemm_int8_with(level, &Threads::single(), a.into(), (&packed).into(), Sums32, &mut found, 16);
            assert_eq!(found, expected, "{level:?}");
        }
    }
}

#[test]
fn the_few_codes_that_are_too_large_for_16_bits_are_added_apart() {
    let (m, k, n) = (11, 200, 37);
    let seed: Vec<u8> = (0..47).map(|i| (i * 89) as u8).collect();
    let a = codes::<u8>(&seed, m * k, 0);
    let rare = |i: usize| i % 67 < 2;
    let extreme = |i: usize| [127, 127, -128, -128, 100, -128][(i / 67 * 2 + i % 67) % 6];
    let weights: Vec<i8> = (0..n * k).map(|i| if rare(i) { extreme(i) } else { (i * 29 % 120) as i8 - 60 }).collect();

    let b = Quantized::right(MatRef::row_major(&weights, n, k).transposed(), ZeroPoints::All(-7));
    let packed = PackedB8::pack(b, &Threads::single());
    if Level::current().unit.adds_in_pairs() {
        assert!(packed.widths.iter().all(|width| !width.spills().is_empty()), "{:?}", packed.widths);
    }
    let left = Quantized::left(MatRef::row_major(&a, m, k), ZeroPoints::All(3));
    let mut expected = vec![0; m * n];
    gemm_int8_scalar(left, b, &mut expected, n);
    for level in Level::all() {
        let mut found = vec![0; m * n];
        gemm_int8_with(level, &Threads::single(), left.into(), (&packed).into(), Sums32, &mut found, n);
        assert_eq!(found, expected, "{level:?}");
    }

    let window =
        Window { kernel: &[1, 5], strides: &[1, 1], dilations: &[1, 1], pads_begin: &[0, 2], pads_end: &[0, 2] };
    let geometry = ConvGeometry::new(1, k / 5, n, 1, &[3, 18], window).unwrap();
    let x = codes::<u8>(&seed, geometry.input_len(), 5);
    let packed = PackedConv8::pack(&geometry, &weights, ZeroPoints::All(2));
    let mut expected = vec![0; geometry.output_len()];
    conv_int8_scalar(&geometry, &x, 9, &weights, ZeroPoints::All(2), &mut expected);
    for level in Level::all() {
        let mut found = vec![0; geometry.output_len()];
        conv_int8_with(level, &Threads::single(), &geometry, Image::U8(&x, 9), &packed, |_| Sums32, &mut found);
        assert_eq!(found, expected, "{level:?}");
    }
}

#[test]
fn sums_become_numbers_and_codes() {
    let seed: Vec<u8> = (0..47).map(|i| (i * 89) as u8).collect();
    let (m, k, n) = (13, 30, 75);
    let (a, b) = (codes::<u8>(&seed, m * k, 1), codes::<i8>(&seed, k * n, 2));
    let a = Quantized::left(MatRef::row_major(&a, m, k), ZeroPoints::All(7));
    let b = Quantized::right(MatRef::row_major(&b, k, n), ZeroPoints::All(-3));
    let mut sums = vec![0; m * n];
    gemm_int8_scalar(a, b, &mut sums, n);
    let (by_row, by_column) = (noise(m, 1e-3), noise(n, 1e-3));
    let (whole_rows, whole_columns): (Vec<i32>, Vec<i32>) =
        ((0..m as i32).map(|i| i * 99).collect(), (0..n as i32).collect());
    for factors in [Factors::All(0.001), Factors::PerRow(&by_row), Factors::PerColumn(&by_column)] {
        for addends in [Addends::None, Addends::PerRow(&whole_rows), Addends::PerColumn(&whole_columns)] {
            for (bias, is_added) in
                [(Bias::None, false), (Bias::PerRow(&by_row), true), (Bias::PerColumn(&by_column), false)]
            {
                let scaled = |i: usize| {
                    let (row, column) = (i / n, i % n);
                    let addend = match addends {
                        Addends::None => 0,
                        Addends::PerRow(addends) => addends[row],
                        Addends::PerColumn(addends) => addends[column],
                    };
                    let factor = match factors {
                        Factors::All(factor) => factor,
                        Factors::PerRow(factors) => factors[row],
                        Factors::PerColumn(factors) => factors[column],
                    };
                    (sums[i].wrapping_add(addend)) as f32 * factor
                };
                for level in Level::all() {
                    let finish = ToFloat { addends, factors, bias, is_added, activation: Some(Unary::Relu) };
                    let mut y = vec![0.5; m * n];
                    gemm_int8_with(level, &Threads::single(), a.into(), b.into(), finish, &mut y, n);
                    for (i, &y) in y.iter().enumerate() {
                        let start = if is_added { 0.5 } else { 0.0 };
                        let expected = (start + scaled(i) + bias.at(i / n, i % n)).max(0.0);
                        assert_eq!(y, expected, "{level:?}, {factors:?}, {addends:?}, {i}");
                    }
                    let mut y = vec![0i8; m * n];
                    let finish = ToCodes { addends, factors, zero: -5i8 };
                    gemm_int8_with(level, &Threads::single(), a.into(), b.into(), finish, &mut y, n);
                    let code = |i| (scaled(i).round_ties_even() - 5.0).clamp(-128.0, 127.0) as i8;
                    assert!(y.iter().enumerate().all(|(i, &y)| y == code(i)), "{level:?}, {factors:?}, {addends:?}");
                }
            }
        }
    }
}

#[test]
fn numbers_are_quantized_on_the_way_into_a_convolution() {
    let window =
        Window { kernel: &[3, 3], strides: &[1, 1], dilations: &[1, 1], pads_begin: &[1, 1], pads_end: &[1, 1] };
    let seed: Vec<u8> = (0..47).map(|i| (i * 89) as u8).collect();
    for groups in [1, 6] {
        let geometry = ConvGeometry::new(1, 6, 6, groups, &[9, 21], window).unwrap();
        let x = noise(geometry.input_len(), 2.0);
        let weights = codes::<i8>(&seed, geometry.weights_len(), 2);
        let threads = Threads::new(2).unwrap();
        let packed = PackedConv8::pack(&geometry, &weights, ZeroPoints::All(0));
        let quantization = Quantization::of(&threads, &x);
        let mut codes = vec![0; x.len()];
        quantization.quantize(&threads, &x, &mut codes);
        let mut expected = vec![0; geometry.output_len()];
        conv_int8(&threads, &geometry, Image::U8(&codes, quantization.zero), &packed, &mut expected);
        let factors = noise(6, 1.0);
        let finish = |rows: std::ops::Range<usize>| ToFloat {
            addends: Addends::None,
            factors: Factors::PerRow(&factors[rows]),
            bias: Bias::None,
            is_added: false,
            activation: None,
        };
        let mut y = vec![0.0; geometry.output_len()];
        conv_int8_into(&threads, &geometry, Image::Numbers(&x, quantization), &packed, finish, &mut y);
        let plane = geometry.output_plane();
        for (i, (&y, &sum)) in y.iter().zip(&expected).enumerate() {
            assert_eq!(y, sum as f32 * factors[i / plane]);
        }
    }
}
