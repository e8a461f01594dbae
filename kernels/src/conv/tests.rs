//! Random geometries through the fast forms and the definition, on every instruction set that this machine has.

use super::transpose::conv_transpose_with;
use super::*;
use crate::gemm::activate;
use proptest::prelude::*;

#[derive(Debug, Clone)]
struct Case {
    geometry: ConvGeometry,
    activation: Option<Unary>,
    has_bias: bool,
    threads: usize,
}

/// Repeatable eighths between -2 and 2: their sums and products are exact, so that order does not matter.
fn numbers(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 7919 + i / 13 * 31 + seed * 101) % 33) as f32 / 8.0 - 2.0).collect()
}

fn check_case(case: &Case, transposed: bool) {
    let geometry = &case.geometry;
    let x = numbers(geometry.input_len(), 1);
    let weights = numbers(geometry.weights_len(), 2);
    let bias = numbers(geometry.out_channels, 3);
    let bias = case.has_bias.then_some(&bias[..]);
    let threads = Threads::new(case.threads).unwrap();
    let mut expected = vec![f32::NAN; geometry.output_len()];
    let mut found = expected.clone();
    let (x, weights, activation) = (&x[..], &weights[..], case.activation);
    if transposed {
        conv_transpose_scalar(geometry, x, weights, bias, activation, &mut expected);
    } else {
        conv_scalar(geometry, x, weights, bias, activation, &mut expected);
    }
    let residual = numbers(geometry.output_len(), 4);
    let mut added = vec![0.0; residual.len()];
    if !transposed {
        conv_scalar(geometry, x, weights, bias, None, &mut added);
        added.iter_mut().zip(&residual).for_each(|(y, residual)| *y += residual);
        activate(Isa::Scalar, activation, &mut added);
    }
    let packed = PackedConv::pack(geometry, weights, &threads);
    let turned = PackedConv::pack_turned(geometry, weights, &threads);
    let from_matrices = packed.to_turned(geometry, &threads);
    assert_eq!(from_matrices.is_some(), packed.is_matrix());
    for isa in Isa::available() {
        found.fill(f32::NAN);
        if transposed {
            conv_transpose_with(isa, &threads, geometry, x, weights, bias, activation, &mut found);
            assert_eq!(found, expected, "{isa}, {case:?}");
            continue;
        }
        for packed in [Some(&packed), Some(&turned), from_matrices.as_ref()].into_iter().flatten() {
            conv_with(isa, &threads, geometry, x, packed, bias, Start::Zero, activation, &mut found);
            assert_eq!(found, expected, "{isa}, {case:?}");
            if packed.accumulates() {
                found.copy_from_slice(&residual);
                conv_with(isa, &threads, geometry, x, packed, bias, Start::Output, activation, &mut found);
                assert_eq!(found, added, "with a residual, {isa}, {case:?}");
            }
            found.fill(f32::NAN);
        }
    }
}

/// A size along one dimension: input, kernel, stride, dilation, pads before and after, output padding.
type Dim = (usize, usize, usize, usize, usize, usize, usize);

fn dim(longest: usize) -> impl Strategy<Value = Dim> {
    (1..longest, 1usize..5, 1usize..4, 1usize..3, 0usize..4, 0usize..4, 0usize..2)
}

fn case(transposed: bool) -> impl Strategy<Value = Case> {
    let dims = prop_oneof![
        prop::collection::vec(dim(90), 1..2),
        prop::collection::vec(dim(24), 2..3),
        prop::collection::vec(dim(8), 3..4),
    ];
    let channels = prop_oneof![
        (1usize..3, 1usize..5, 1usize..8, Just(1usize)),
        (1usize..3, Just(1usize), 1usize..3, 8usize..36),
        (1usize..3, Just(1usize), 1usize..4, 2usize..5),
        (1usize..2, 1usize..4, 1usize..8, 1usize..3),
    ];
    let activation = prop::sample::select(vec![
        None,
        Some(Unary::Relu),
        Some(Unary::Clip { min: -1.0, max: 2.0 }),
        Some(Unary::LeakyRelu { alpha: 0.25 }),
    ]);
    (channels, dims, activation, any::<bool>(), 1usize..4).prop_filter_map(
        "the window fits",
        move |((batch, group_in, group_out, groups), dims, activation, has_bias, threads)| {
            let list = |f: fn(&Dim) -> usize| dims.iter().map(f).collect::<Vec<_>>();
            let window = Window {
                kernel: &list(|d| d.1),
                strides: &list(|d| d.2),
                dilations: &list(|d| d.3),
                pads_begin: &list(|d| d.4),
                pads_end: &list(|d| d.5),
            };
            let (ins, outs) = (group_in * groups, group_out * groups);
            let input = list(|d| d.0);
            let geometry = if transposed {
                let added = list(|d| d.6);
                ConvGeometry::transposed(batch, ins, outs, groups, &input, window, &added)
            } else {
                ConvGeometry::new(batch, ins, outs, groups, &input, window)
            };
            let geometry = geometry.ok()?;
            Some(Case { geometry, activation, has_bias, threads })
        },
    )
}

proptest! {
    #[test]
    fn convolution_is_its_definition(case in case(false)) {
        check_case(&case, false);
    }

    #[test]
    fn transposed_convolution_is_its_definition(case in case(true)) {
        check_case(&case, true);
    }
}

#[test]
fn large_shapes_cross_every_block() {
    let cases = [
        // batch, channels in and out, groups, input, kernel, stride, pad
        (1, 40, 13, 1, [40, 37], [3, 3], 1, 1),
        (1, 70, 130, 1, [33, 33], [1, 1], 1, 0),
        (2, 6, 6, 6, [90, 130], [5, 5], 2, 2),
        (1, 3, 8, 1, [64, 64], [3, 3], 2, 1),
        (1, 2, 2, 2, [3, 5000], [2, 3], 1, 1),
        (1, 2, 2, 2, [3, 2049], [3, 3], 1, 1),
        (1, 2, 2, 2, [1, 9000], [1, 31], 2, 0),
        (5, 4, 8, 2, [20, 20], [3, 3], 1, 1),
        (30, 20, 40, 1, [1, 30], [1, 3], 1, 0),
        (2, 40, 40, 40, [60, 57], [3, 3], 2, 1),
        (1, 20, 40, 20, [9, 40], [5, 5], 1, 2),
        (2, 35, 35, 35, [7, 7], [5, 5], 1, 2),
        (1, 16, 16, 16, [3, 400], [9, 9], 1, 4),
        (3, 64, 70, 1, [30, 31], [3, 3], 2, 1),
        (1, 200, 31, 1, [30, 40], [5, 5], 1, 2),
    ];
    for (batch, ins, outs, groups, input, kernel, stride, pad) in cases {
        let window = Window {
            kernel: &kernel,
            strides: &[stride; 2],
            dilations: &[1; 2],
            pads_begin: &[pad; 2],
            pads_end: &[pad; 2],
        };
        for transposed in [false, true] {
            let geometry = if transposed {
                ConvGeometry::transposed(batch, ins, outs, groups, &input, window, &[0; 2])
            } else {
                ConvGeometry::new(batch, ins, outs, groups, &input, window)
            };
            let case = Case { geometry: geometry.unwrap(), activation: None, has_bias: true, threads: 2 };
            check_case(&case, transposed);
        }
    }
}

#[test]
fn a_window_that_reaches_far_takes_no_more_memory() {
    let window = Window {
        kernel: &[2, 2],
        strides: &[1, 1],
        dilations: &[1 << 20; 2],
        pads_begin: &[1 << 20; 2],
        pads_end: &[0, 0],
    };
    for (channels, groups) in [(2, 2), (2, 1), (20, 20), (20, 1)] {
        let case = Case {
            geometry: ConvGeometry::new(1, channels, channels, groups, &[3, 3], window).unwrap(),
            activation: Some(Unary::Relu),
            has_bias: true,
            threads: 1,
        };
        check_case(&case, false);
    }
}

#[test]
fn padding_does_not_hide_what_is_not_a_number() {
    let window = Window { kernel: &[3], strides: &[1], dilations: &[1], pads_begin: &[1], pads_end: &[1] };
    for groups in [1, 2] {
        let geometry = ConvGeometry::new(1, 2, 2, groups, &[9], window).unwrap();
        let mut x = vec![1.0; 18];
        x[4] = f32::NAN;
        let weights = vec![0.0; geometry.weights_len()];
        let packed = PackedConv::pack(&geometry, &weights, &Threads::single());
        let mut y = vec![0.0; 18];
        conv(&Threads::single(), &geometry, &x, &packed, None, Start::Zero, Some(Unary::Relu), &mut y);
        for (i, y) in y.iter().enumerate() {
            let reached = (3..6).contains(&(i % 9)) && (groups == 1 || i < 9);
            assert_eq!(y.is_nan(), reached, "{groups} groups, output {i}");
        }
    }
}
