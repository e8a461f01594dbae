//! Sets products and convolutions beside the peak of one core:
//! `cargo run --release -p planish-kernels --example peak [-- gemm | conv | tiles | int8 [LAYER]]`.
//!
//! The peaks are those of `planish_kernels::machine`; each row is the best of several runs.

use std::hint::black_box;
use std::time::Instant;

use planish_kernels::Threads;
use planish_kernels::conv::{ConvGeometry, PackedConv, Start, Window, Winograd, conv, conv_winograd};
use planish_kernels::elementwise::Unary;
use planish_kernels::gemm::{Epilogue, MatRef, PackedA, PackedB, Rhs, gemm};
use planish_kernels::int8::{Image, PackedB8, PackedConv8, Quantized, ZeroPoints, conv_int8, gemm_int8};
use planish_kernels::machine;

fn main() {
    let chosen = std::env::args().nth(1);
    let is_chosen = |name: &str| chosen.as_deref().is_none_or(|chosen| chosen == name);
    let (peak, peak_int8) = (machine::f32_gflops(), machine::int8_gops());
    println!("peak of one core: {peak:.1} GFLOP/s in f32, {peak_int8:.1} GOP/s in int8");
    let print_share = |what: &str, rate: f64, peak: f64| {
        println!("{what:>48} {rate:>10.1} {:>6.0} %", 100.0 * rate / peak);
    };
    let print = |what: &str, gflops: f64| print_share(what, gflops, peak);
    let print_int8 = |what: &str, gops: f64| print_share(what, gops, peak_int8);
    if is_chosen("gemm") {
        products(&print);
    }
    if is_chosen("conv") {
        convolutions(&print, conv_f32);
    }
    if is_chosen("tiles") {
        convolutions(&print, conv_tiles);
    }
    if is_chosen("int8") {
        products_int8(&print_int8);
        convolutions(&print_int8, conv_u8);
    }
}

fn products(print: &dyn Fn(&str, f64)) {
    for (m, n, k) in [
        (256, 256, 256),
        (512, 512, 512),
        (768, 768, 768),
        (1024, 1024, 1024),
        (128, 3072, 768),
        (64, 64, 64),
        (16, 576, 576),
        (1, 1536, 576),
        (1, 576, 1536),
        (1, 4096, 4096),
        (4, 1536, 576),
    ] {
        for kind in ["b packed", "b row-major", "b column-major", "a packed"] {
            print(&format!("{m} × {n} × {k}, {kind}"), product(m, n, k, kind));
        }
    }
}

fn product(m: usize, n: usize, k: usize, kind: &str) -> f64 {
    let threads = Threads::single();
    let a = numbers(m * k);
    let b = numbers(k * n);
    let mut c = vec![0.0; m * n];
    let a = MatRef::row_major(&a, m, k);
    let row_major = MatRef::row_major(&b, k, n);
    let packed = PackedB::pack(row_major, &threads);
    let packed_a = PackedA::pack(a, &threads);
    let b = match kind {
        "b packed" => Rhs::Packed(&packed),
        "b column-major" => Rhs::Mat(MatRef::row_major(&b, n, k).transposed()),
        _ => Rhs::Mat(row_major),
    };
    let epilogue = Epilogue::default();
    gflops(m * n * k, || match kind {
        "a packed" => gemm(&threads, 1.0, &packed_a, b, 0.0, black_box(&mut c), n, &epilogue),
        _ => gemm(&threads, 1.0, a, b, 0.0, black_box(&mut c), n, &epilogue),
    })
}

fn products_int8(print: &dyn Fn(&str, f64)) {
    let threads = Threads::single();
    for (m, n, k) in [(512, 512, 512), (128, 3072, 768), (16, 576, 576), (1, 1536, 576), (1, 4096, 4096)] {
        let (a, b) = (codes(m * k), codes(k * n));
        let a = Quantized::left(MatRef::row_major(&a, m, k), ZeroPoints::All(128));
        let b = Quantized::right(MatRef::row_major(&b, k, n), ZeroPoints::All(127));
        let packed_b = PackedB8::pack(b, &threads);
        let mut c = vec![0; m * n];
        for kind in ["b packed", "b as it comes"] {
            let rate = gflops(m * n * k, || match kind {
                "b packed" => gemm_int8(&threads, a, &packed_b, black_box(&mut c), n),
                _ => gemm_int8(&threads, a, b, black_box(&mut c), n),
            });
            print(&format!("{m} × {n} × {k}, {kind}"), rate);
        }
    }
}

/// Layers of well-known networks: channels in and out, groups, extent, kernel, stride.
const LAYERS: [(&str, usize, usize, usize, usize, usize, usize); 16] = [
    ("resnet50 stem", 3, 64, 1, 224, 7, 2),
    ("resnet50 layer 1, 3×3", 64, 64, 1, 56, 3, 1),
    ("resnet50 layer 1, 1×1", 64, 256, 1, 56, 1, 1),
    ("resnet50 layer 2, 3×3", 128, 128, 1, 28, 3, 1),
    ("resnet50 layer 3, 3×3", 256, 256, 1, 14, 3, 1),
    ("resnet50 layer 3, 1×1", 1024, 256, 1, 14, 1, 1),
    ("resnet50 layer 4, 3×3", 512, 512, 1, 7, 3, 1),
    ("resnet50 downsample", 256, 512, 1, 56, 1, 2),
    ("mobilenet stem", 3, 32, 1, 224, 3, 2),
    ("mobilenet 1×1", 32, 64, 1, 112, 1, 1),
    ("mobilenet 1×1", 96, 24, 1, 56, 1, 1),
    ("mobilenet depthwise 3×3", 96, 96, 96, 112, 3, 1),
    ("mobilenet depthwise 3×3 / 2", 96, 96, 96, 112, 3, 2),
    ("mobilenet depthwise 3×3", 576, 576, 576, 14, 3, 1),
    ("mobilenet depthwise 5×5", 240, 240, 240, 28, 5, 1),
    ("yolo 3×3", 32, 32, 1, 80, 3, 1),
];

fn convolutions(print: &dyn Fn(&str, f64), measure: fn(&ConvGeometry) -> f64) {
    let wanted = std::env::args().nth(2).unwrap_or_default();
    for (name, ins, outs, groups, extent, kernel, stride) in LAYERS {
        if !name.contains(&wanted) {
            continue;
        }
        let pad = kernel / 2;
        let window = Window {
            kernel: &[kernel; 2],
            strides: &[stride; 2],
            dilations: &[1; 2],
            pads_begin: &[pad; 2],
            pads_end: &[pad; 2],
        };
        let geometry = ConvGeometry::new(1, ins, outs, groups, &[extent; 2], window);
        let geometry = geometry.expect("the table holds convolutions");
        print(&format!("{name}, {ins} → {outs}, {extent}²"), measure(&geometry));
    }
}

fn multiply_adds(geometry: &ConvGeometry) -> usize {
    geometry.weights_len() * geometry.output_plane()
}

fn conv_f32(geometry: &ConvGeometry) -> f64 {
    let threads = Threads::single();
    let x = numbers(geometry.input_len());
    let weights = numbers(geometry.weights_len());
    let bias = numbers(geometry.out_channels());
    let packed = PackedConv::pack(geometry, &weights, &threads);
    let mut y = vec![0.0; geometry.output_len()];
    gflops(multiply_adds(geometry), || {
        conv(&threads, geometry, &x, &packed, Some(&bias), Start::Zero, Some(Unary::Relu), black_box(&mut y));
    })
}

/// The rate of the same convolution by tiles, as if it did all multiply-adds; where it cannot, the rate of the product.
fn conv_tiles(geometry: &ConvGeometry) -> f64 {
    if !Winograd::pays(geometry) {
        return conv_f32(geometry);
    }
    let threads = Threads::single();
    let x = numbers(geometry.input_len());
    let weights = Winograd::pack(geometry, &numbers(geometry.weights_len()), &threads);
    let bias = numbers(geometry.out_channels());
    let mut y = vec![0.0; geometry.output_len()];
    gflops(multiply_adds(geometry), || {
        let (bias, relu) = (Some(&bias[..]), Some(Unary::Relu));
        conv_winograd(&threads, geometry, &x, &weights, bias, Start::Zero, relu, black_box(&mut y));
    })
}

fn conv_u8(geometry: &ConvGeometry) -> f64 {
    let threads = Threads::single();
    let x = codes(geometry.input_len());
    let weights: Vec<i8> = codes(geometry.weights_len()).iter().map(|x| x.cast_signed()).collect();
    let packed = PackedConv8::pack(geometry, &weights, ZeroPoints::All(0));
    let mut y = vec![0; geometry.output_len()];
    gflops(multiply_adds(geometry), || {
        conv_int8(&threads, geometry, Image::U8(&x, 128), &packed, black_box(&mut y));
    })
}

fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i % 7) as f32 - 3.0).collect()
}

fn codes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 37 % 251) as u8).collect()
}

/// The rate of `work`, which is this many multiply-adds.
fn gflops(multiply_adds: usize, mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    work();
    let rounds = (SHORTEST_RUN_S / start.elapsed().as_secs_f64()).ceil() as usize;
    best_of(|| {
        (0..rounds).for_each(|_| work());
        (2 * multiply_adds * rounds) as f64
    })
}

/// Long enough to time, and short enough to fit between interruptions.
const SHORTEST_RUN_S: f64 = 0.001;

/// The highest rate of several runs of work that says how many operations it did.
fn best_of(mut work: impl FnMut() -> f64) -> f64 {
    (0..100)
        .map(|_| {
            let start = Instant::now();
            let operations = work();
            operations / start.elapsed().as_secs_f64() / 1e9
        })
        .fold(0.0, f64::max)
}
