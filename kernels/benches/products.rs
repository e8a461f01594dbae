//! Speed of products, convolutions and attention, as operations per second, a multiply-accumulate being two:
//! `cargo bench -p planish-kernels --bench products`. Where weights are read once the figure is bytes of weights per second.

mod common;

use std::hint::black_box;

use common::{Limit, criterion, group, values};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use planish_kernels::Threads;
use planish_kernels::attention::{Attention, Heads, Layout, Order, attention};
use planish_kernels::conv::{ConvGeometry, PackedConv, Start, Window, Winograd, conv, conv_winograd};
use planish_kernels::elementwise::Unary;
use planish_kernels::gemm::{Epilogue, MatRef, PackedB, gemm};
use planish_kernels::int8::{Image, PackedB8, PackedConv8, Quantized, ZeroPoints, conv_int8, gemm_int8};
use planish_kernels::nbits::{Blocks, PackedBlocks};

const THREADS: Threads = Threads::single();

fn codes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 37 % 251) as u8).collect()
}

fn operations(multiply_adds: usize) -> Throughput {
    Throughput::Elements(2 * multiply_adds as u64)
}

/// Rows, columns and depth of products with many rows, …
const MANY_ROWS: [[usize; 3]; 7] =
    [[4, 1536, 576], [8, 1536, 576], [16, 1536, 576], [128, 3072, 768], [256; 3], [512; 3], [1024; 3]];

/// … and of those with one, where each weight is read once.
const ONE_ROW: [[usize; 3]; 3] = [[1, 1536, 576], [1, 576, 1536], [1, 4096, 4096]];

fn gemm_f32(criterion: &mut Criterion) {
    for (name, limit, shapes) in [("gemm", Limit::F32, &MANY_ROWS[..]), ("gemm of one row", Limit::Memory, &ONE_ROW)] {
        let mut group = group(criterion, name, limit);
        for &[m, n, k] in shapes {
            let (a, b, mut c) = (values(m * k), values(k * n), vec![0.0; m * n]);
            let a = MatRef::row_major(&a, m, k);
            let packed = PackedB::pack(MatRef::row_major(&b, k, n), &THREADS);
            group.throughput(if m > 1 { operations(m * n * k) } else { Throughput::BytesDecimal(4 * (n * k) as u64) });
            group.bench_function(format!("{m}x{n}x{k}"), |bencher| {
                bencher.iter(|| gemm(&THREADS, 1.0, a, &packed, 0.0, black_box(&mut c), n, &Epilogue::default()));
            });
        }
    }
}

fn gemm_codes(criterion: &mut Criterion) {
    for (name, limit, shapes) in
        [("int8 gemm", Limit::Int8, &MANY_ROWS[..]), ("int8 gemm of one row", Limit::Memory, &ONE_ROW)]
    {
        let mut group = group(criterion, name, limit);
        for &[m, n, k] in shapes {
            let (a, b, mut c) = (codes(m * k), codes(k * n), vec![0; m * n]);
            let a = Quantized::left(MatRef::row_major(&a, m, k), ZeroPoints::All(128));
            let b = Quantized::right(MatRef::row_major(&b, k, n), ZeroPoints::All(127));
            let packed = PackedB8::pack(b, &THREADS);
            group.throughput(if m > 1 { operations(m * n * k) } else { Throughput::BytesDecimal((n * k) as u64) });
            group.bench_function(format!("{m}x{n}x{k}"), |bencher| {
                bencher.iter(|| gemm_int8(&THREADS, a, &packed, black_box(&mut c), n));
            });
        }
    }
}

fn gemm_blocks(criterion: &mut Criterion) {
    const BLOCK: usize = 32;
    for (rows, limit) in [(1, Limit::Memory), (128, Limit::Int8)] {
        let mut group = group(criterion, &format!("blocks of codes, {rows} row(s)"), limit);
        for [n, k] in [[1536, 576], [4096, 4096]] {
            for bits in [4, 8] {
                let (bytes, scales) = (codes(n * k * bits / 8), vec![0.01; n * k / BLOCK]);
                let packed = PackedBlocks::pack(&Blocks::new(bits, BLOCK, [n, k], &bytes, &scales, None), &THREADS);
                let (x, mut y) = (values(rows * k), vec![0.0; rows * n]);
                let size = bytes.len() + 4 * scales.len();
                group.throughput(if rows > 1 {
                    operations(rows * n * k)
                } else {
                    Throughput::BytesDecimal(size as u64)
                });
                group.bench_function(format!("{rows}x{n}x{k} of {bits} bits"), |bencher| {
                    bencher.iter(|| match rows {
                        1 => packed.multiply(&THREADS, black_box(&x), rows, None, &mut y),
                        _ => packed.multiply_int8(&THREADS, black_box(&x), rows, None, &mut y),
                    });
                });
            }
        }
    }
}

/// Channels in and out, groups, extent, kernel, stride.
const LAYERS: [(&str, [usize; 6]); 7] = [
    ("first layer 7x7", [3, 64, 1, 224, 7, 2]),
    ("first layer 3x3", [3, 32, 1, 224, 3, 2]),
    ("pointwise", [64, 256, 1, 56, 1, 1]),
    ("3x3", [128, 128, 1, 28, 3, 1]),
    ("3x3 stride 2", [128, 128, 1, 56, 3, 2]),
    ("depthwise 3x3", [96, 96, 96, 112, 3, 1]),
    ("depthwise 5x5", [240, 240, 240, 28, 5, 1]),
];

fn geometry([ins, outs, groups, extent, kernel, stride]: [usize; 6]) -> ConvGeometry {
    let pads = &[kernel / 2; 2];
    let window =
        Window { kernel: &[kernel; 2], strides: &[stride; 2], dilations: &[1; 2], pads_begin: pads, pads_end: pads };
    ConvGeometry::new(1, ins, outs, groups, &[extent; 2], window).expect("the table holds convolutions")
}

fn convolutions(criterion: &mut Criterion) {
    let mut group = group(criterion, "conv", Limit::F32);
    for (name, layer) in LAYERS {
        let geometry = geometry(layer);
        let (x, mut y) = (values(geometry.input_len()), vec![0.0; geometry.output_len()]);
        let (weights, bias) = (values(geometry.weights_len()), values(geometry.out_channels()));
        let (bias, relu) = (Some(&bias[..]), Some(Unary::Relu));
        let packed = PackedConv::pack(&geometry, &weights, &THREADS);
        group.throughput(operations(geometry.weights_len() * geometry.output_plane()));
        group.bench_function(name, |bencher| {
            bencher.iter(|| conv(&THREADS, &geometry, black_box(&x), &packed, bias, Start::Zero, relu, &mut y));
        });
        if Winograd::pays(&geometry) {
            let tiles = Winograd::pack(&geometry, &weights, &THREADS);
            group.bench_function(format!("{name} by tiles"), |bencher| {
                bencher.iter(|| {
                    conv_winograd(&THREADS, &geometry, black_box(&x), &tiles, bias, Start::Zero, relu, &mut y);
                });
            });
        }
    }
}

fn convolutions_of_codes(criterion: &mut Criterion) {
    let mut group = group(criterion, "int8 conv", Limit::Int8);
    for (name, layer) in LAYERS {
        let geometry = geometry(layer);
        let (x, mut y) = (codes(geometry.input_len()), vec![0; geometry.output_len()]);
        let weights: Vec<i8> = codes(geometry.weights_len()).iter().map(|x| x.cast_signed()).collect();
        let packed = PackedConv8::pack(&geometry, &weights, ZeroPoints::All(0));
        group.throughput(operations(geometry.weights_len() * geometry.output_plane()));
        group.bench_function(name, |bencher| {
            bencher.iter(|| conv_int8(&THREADS, &geometry, Image::U8(black_box(&x), 128), &packed, &mut y));
        });
    }
}

fn attentions(criterion: &mut Criterion) {
    let mut group = group(criterion, "attention", Limit::F32);
    for [heads, kv_heads, queries, keys, features] in [[6, 6, 256, 256, 64], [9, 3, 1, 512, 64], [8, 8, 64, 1500, 64]] {
        let [q, k, v] = [(heads, queries), (kv_heads, keys), (kv_heads, keys)]
            .map(|(heads, positions)| values(heads * positions * features));
        let heads_of = |data, heads, positions| Heads {
            data,
            layout: Layout::dense(Order::HeadsFirst, heads, positions, features),
        };
        let problem = Attention {
            batch: 1,
            heads,
            kv_heads,
            queries,
            keys,
            features,
            value_features: features,
            q: heads_of(&q[..], heads, queries),
            k: heads_of(&k[..], kv_heads, keys),
            v: heads_of(&v[..], kv_heads, keys),
            scale: 0.125,
            softcap: 0.0,
            bias: None,
            rounding: None,
            softmax_rounding: None,
            sinks: None,
            visible: &|_, _| 0..usize::MAX,
        };
        let mut out = vec![0.0; problem.output_len()];
        group.throughput(operations(2 * heads * queries * keys * features));
        group.bench_function(format!("{heads} heads over {kv_heads}, {queries} to {keys}"), |bencher| {
            bencher.iter(|| attention(&THREADS, black_box(&problem), Order::HeadsFirst, &mut out, None, &|| true));
        });
    }
}

criterion_group! {
    name = benches;
    config = criterion();
    targets = gemm_f32, gemm_codes, gemm_blocks, convolutions, convolutions_of_codes, attentions
}
criterion_main!(benches);
