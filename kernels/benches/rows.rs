//! Speed of elementwise and row kernels, pooling and recurrent cells, as bytes read and written per second:
//! `cargo bench -p planish-kernels --bench rows`, and `PLANISH_ISA=scalar` before it for the fallback.

mod common;

use std::hint::black_box;

use common::{Limit, criterion, group, values};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use planish_kernels::copy::strided_copy;
use planish_kernels::elementwise::{Binary, Unary, binary, unary};
use planish_kernels::norm::{layer_norm, rms_norm};
use planish_kernels::pool::{Pool, Window, pool, scratch_len};
use planish_kernels::reduce::{Reduction, reduce};
use planish_kernels::rnn::{LstmActivations, gru_gates, gru_step, lstm_step};
use planish_kernels::simd::Operand;
use planish_kernels::softmax::softmax;

/// Values in each benchmark: they fit in the second-level cache.
const LEN: usize = 1 << 15;
const ROW: usize = 768;

fn elementwise(criterion: &mut Criterion) {
    let (x, mut y) = (values(LEN), vec![0.0; LEN]);
    let mut group = group(criterion, "elementwise", Limit::Memory);
    group.throughput(Throughput::BytesDecimal(8 * LEN as u64));
    let ops = [
        Unary::Relu,
        Unary::Exp,
        Unary::Log,
        Unary::Tanh,
        Unary::Sigmoid,
        Unary::Erf,
        Unary::Gelu,
        Unary::GeluTanh,
        Unary::Silu,
        Unary::Softplus,
        Unary::Sin,
    ];
    for op in ops {
        group.bench_function(format!("{op:?}"), |b| {
            b.iter(|| unary(op, Operand::Slice(black_box(&x)), black_box(&mut y)));
        });
    }
    group.throughput(Throughput::BytesDecimal(12 * LEN as u64));
    group.bench_function("Add", |b| {
        b.iter(|| binary(Binary::Add, Operand::Slice(black_box(&x)), Operand::Output, black_box(&mut y)));
        y.fill(0.0);
    });
    group.finish();
}

fn rows(criterion: &mut Criterion) {
    let len = 64 * ROW;
    let (x, mut y) = (values(len), vec![0.0; len]);
    let (scale, bias) = (values(ROW), values(ROW));
    let mut group = group(criterion, "rows", Limit::Memory);
    group.throughput(Throughput::BytesDecimal(8 * len as u64));
    group.bench_function("softmax", |b| b.iter(|| softmax(Operand::Slice(black_box(&x)), black_box(&mut y), ROW)));
    group.bench_function("softmax of 16", |b| b.iter(|| softmax(Operand::Slice(black_box(&x)), black_box(&mut y), 16)));
    group.bench_function("layer_norm", |b| {
        b.iter(|| layer_norm(Operand::Slice(black_box(&x)), black_box(&mut y), ROW, Some(&scale), Some(&bias), 1e-5));
    });
    group.bench_function("rms_norm", |b| {
        b.iter(|| rms_norm(Operand::Slice(black_box(&x)), black_box(&mut y), ROW, Some(&scale), 1e-5));
    });
    group.throughput(Throughput::BytesDecimal(4 * len as u64));
    group.bench_function("sum of rows", |b| {
        b.iter(|| reduce(Reduction::Sum, black_box(&x), ROW, 1, black_box(&mut y[..64])));
    });
    group.bench_function("sum of columns", |b| {
        b.iter(|| reduce(Reduction::Sum, black_box(&x), 64, ROW, black_box(&mut y[..ROW])));
    });
    group.finish();
}

fn planes(criterion: &mut Criterion) {
    let (side, planes) = (56, 16);
    let x = values(planes * side * side);
    let mut y = vec![0.0; x.len()];
    let mut group = group(criterion, "planes", Limit::Memory);
    group.throughput(Throughput::BytesDecimal(4 * x.len() as u64));
    for stride in [1, 2] {
        let output = (side - 1) / stride + 1;
        let axis = Window { input: side, output, kernel: 3, stride, dilation: 1, pad_begin: 1, pad_end: 1 };
        let mut scratch = vec![0.0; scratch_len(&axis, &axis).expect("windows that are near")];
        for kind in [Pool::Max, Pool::Average] {
            group.bench_function(format!("{kind:?} 3x3 stride {stride}"), |b| {
                let y = &mut y[..planes * output * output];
                b.iter(|| pool(kind, black_box(&x), black_box(y), &axis, &axis, &mut scratch));
            });
        }
    }
    group.throughput(Throughput::BytesDecimal(8 * LEN as u64));
    let (matrix, mut transposed) = (values(LEN), vec![0.0; LEN]);
    group.bench_function("transpose 128x256", |b| {
        b.iter(|| strided_copy(black_box(&matrix), 0, &[256, 128], &[1, 256], black_box(&mut transposed)));
    });
    group.bench_function("transpose heads 64x8x64", |b| {
        b.iter(|| strided_copy(black_box(&matrix), 0, &[8, 64, 64], &[64, 512, 1], black_box(&mut transposed)));
    });
    group.finish();
}

/// Steps of the recurrent cells, without their products: `gemm of one row` has those.
fn recurrent(criterion: &mut Criterion) {
    let mut group = group(criterion, "recurrent", Limit::Memory);
    for units in [64, 512] {
        let (gates, mut used) = (values(4 * units), vec![0.0; 4 * units]);
        let [mut cell, mut hidden] = [(); 2].map(|()| values(units));
        group.throughput(Throughput::BytesDecimal(4 * 7 * units as u64));
        group.bench_function(format!("lstm of {units}"), |b| {
            b.iter(|| {
                used.copy_from_slice(black_box(&gates));
                lstm_step(&mut used, &mut cell, &mut hidden, None, &LstmActivations::default(), None, false);
            });
        });
        group.throughput(Throughput::BytesDecimal(4 * 5 * units as u64));
        group.bench_function(format!("gru of {units}"), |b| {
            b.iter(|| {
                used.copy_from_slice(black_box(&gates));
                let (gates, rest) = used.split_at_mut(2 * units);
                let candidate = &mut rest[..units];
                gru_gates(gates, Unary::Sigmoid, None);
                gru_step(&gates[..units], candidate, &mut hidden, Unary::Tanh, None);
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = criterion();
    targets = elementwise, rows, planes, recurrent
}
criterion_main!(benches);
