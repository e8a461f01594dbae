//! Every path of the product against its definition, on every instruction set that this machine has.

use super::*;
use crate::elementwise::Unary;
use proptest::prelude::*;

/// How an operand reaches the product.
#[derive(Debug, Clone, Copy)]
enum Form {
    RowMajor,
    ColumnMajor,
    Spread,
    Packed,
}

#[derive(Debug, Clone)]
struct Case {
    rows: usize,
    depth: usize,
    columns: usize,
    a: Form,
    b: Form,
    alpha: f32,
    beta: f32,
    bias: usize,
    activation: Option<Unary>,
    threads: usize,
    seed: u32,
}

/// Small repeatable numbers of either sign.
fn numbers(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// A matrix with the strides of `form`, and the numbers that it needs.
fn matrix(data: &[f32], rows: usize, columns: usize, form: Form) -> MatRef<'_> {
    match form {
        Form::RowMajor | Form::Packed => MatRef::row_major(data, rows, columns),
        Form::ColumnMajor => MatRef::row_major(data, columns, rows).transposed(),
        Form::Spread => MatRef::new(data, rows, columns, 2 * columns + 1, 2),
    }
}

fn len(rows: usize, columns: usize) -> usize {
    (2 * columns + 1) * rows + 1
}

fn check(case: &Case) {
    let (m, k, n) = (case.rows, case.depth, case.columns);
    let (a_data, b_data) = (numbers(len(m, k), case.seed), numbers(len(k, n), case.seed + 7));
    let bias_data = numbers(m.max(n), case.seed + 13);
    let a = matrix(&a_data, m, k, case.a);
    let b = matrix(&b_data, k, n, case.b);
    let c_row_stride = n + 3;
    let c = numbers(m * c_row_stride, case.seed + 21);
    let epilogue = Epilogue {
        bias: match case.bias {
            0 => Bias::None,
            1 => Bias::PerColumn(&bias_data[..n]),
            2 => Bias::PerRow(&bias_data[..m]),
            _ => Bias::Scalar(0.75),
        },
        activation: case.activation,
    };
    let mut expected = c.clone();
    gemm_scalar(case.alpha, a, b, case.beta, &mut expected, c_row_stride, &epilogue);

    let threads = Threads::new(case.threads).unwrap();
    let (packed_a, packed_b) = (PackedA::pack(a, &threads), PackedB::pack(b, &threads));
    let left = match case.a {
        Form::Packed => Lhs::Packed(&packed_a),
        _ => Lhs::Mat(a),
    };
    let right = match case.b {
        Form::Packed => Rhs::Packed(&packed_b),
        _ => Rhs::Mat(b),
    };
    for isa in Isa::available() {
        let mut found = c.clone();
        gemm_with(isa, &threads, case.alpha, left, right, case.beta, &mut found, c_row_stride, &epilogue);
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let (row, column) = (i / c_row_stride, i % c_row_stride);
            let tolerance = if column < n {
                let sum: f32 = (0..k).map(|k| (a.at(row, k) * b.at(k, column)).abs()).sum();
                (2 * k + 8) as f32 * f32::EPSILON * (case.alpha.abs() * sum + 3.0)
            } else {
                0.0
            };
            assert!(
                (found - expected).abs() <= tolerance,
                "{isa} at {row}, {column}: expected {expected}, got {found} in {case:?}"
            );
        }
    }
}

fn form() -> impl Strategy<Value = Form> {
    prop::sample::select(vec![Form::RowMajor, Form::ColumnMajor, Form::Spread, Form::Packed])
}

fn activation() -> impl Strategy<Value = Option<Unary>> {
    prop::sample::select(vec![
        None,
        Some(Unary::Relu),
        Some(Unary::Clip { min: -0.5, max: 0.25 }),
        Some(Unary::LeakyRelu { alpha: 0.1 }),
        Some(Unary::Sigmoid),
        Some(Unary::HardSwish),
    ])
}

fn case() -> impl Strategy<Value = Case> {
    let rows = prop_oneof![0usize..20, 1usize..6, 110usize..130];
    let depth = prop_oneof![0usize..40, 250usize..530];
    let columns = prop_oneof![0usize..70, 100usize..130];
    let factor = prop::sample::select(vec![0.0f32, 1.0, -0.5]);
    (
        (rows, depth, columns),
        (form(), form()),
        (factor.clone(), factor),
        (0usize..4, activation(), 1usize..4, any::<u16>()),
    )
        .prop_map(|((rows, depth, columns), (a, b), (alpha, beta), rest)| Case {
            rows,
            depth,
            columns,
            a,
            b,
            alpha,
            beta,
            bias: rest.0,
            activation: rest.1,
            threads: rest.2,
            seed: rest.3.into(),
        })
}

proptest! {
    #[test]
    fn the_definition_holds(case in case()) {
        check(&case);
    }
}

#[test]
fn a_product_larger_than_one_block_of_columns() {
    let case = Case {
        rows: 13,
        depth: 300,
        columns: 1100,
        a: Form::RowMajor,
        b: Form::ColumnMajor,
        alpha: 1.0,
        beta: 0.0,
        bias: 1,
        activation: None,
        threads: 2,
        seed: 3,
    };
    check(&case);
}

#[test]
fn nothing_not_a_number_is_lost() {
    for isa in Isa::available() {
        for special in [f32::NAN, f32::INFINITY] {
            let mut a = vec![0.0; 7 * 9];
            a[9 + 4] = special;
            let b = vec![0.0; 9 * 17];
            let mut c = vec![f32::NAN; 7 * 17];
            let (a, b) = (MatRef::row_major(&a, 7, 9), MatRef::row_major(&b, 9, 17));
            let epilogue = Epilogue { activation: Some(Unary::Relu), ..Epilogue::default() };
            gemm_with(isa, &Threads::single(), 1.0, a.into(), b.into(), 0.0, &mut c, 17, &epilogue);
            for (i, c) in c.iter().enumerate() {
                assert_eq!(c.is_nan(), i / 17 == 1, "{isa}, element {i}: {c}");
            }
        }
    }
}

#[test]
fn the_number_of_threads_does_not_change_the_result() {
    for (m, k, n) in [(200, 300, 500), (12, 2000, 123), (1, 3000, 333), (300, 500, 7)] {
        let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
        let (a, b) = (MatRef::row_major(&a, m, k), MatRef::row_major(&b, k, n));
        let packed = PackedB::pack(b, &Threads::single());
        for b in [Rhs::Mat(b), Rhs::Packed(&packed)] {
            let product = |threads: usize| {
                let mut c = vec![0.0; m * n];
                let threads = Threads::new(threads).unwrap();
                gemm(&threads, 1.0, a, b, 0.0, &mut c, n, &Epilogue::default());
                c
            };
            let one = product(1);
            assert!(product(2) == one && product(5) == one);
        }
    }
}
