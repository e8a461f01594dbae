//! Sets the speed of the f32 product beside the peak of one core: `cargo run --release -p planish-kernels --example gemm_peak`.
//!
//! The peak is measured, with a loop of independent fused multiply-adds that touches no memory; each row is the best of
//! several runs.

use std::hint::black_box;
use std::time::Instant;

use planish_kernels::Threads;
use planish_kernels::gemm::{Epilogue, MatRef, PackedA, PackedB, Rhs, gemm};

fn main() {
    let peak = peak_gflops();
    if let Some(peak) = peak {
        println!("peak of one core: {peak:.1} GFLOP/s");
    }
    println!("{:>18} {:>14} {:>10} {:>8}", "m × n × k", "b", "GFLOP/s", "of peak");
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
        for kind in ["packed", "row-major", "column-major", "packed a"] {
            let gflops = measure(m, n, k, kind);
            let share = peak.map_or(String::new(), |peak| format!("{:.0} %", 100.0 * gflops / peak));
            println!("{:>18} {kind:>14} {gflops:>10.1} {share:>8}", format!("{m} × {n} × {k}"));
        }
    }
}

fn measure(m: usize, n: usize, k: usize, kind: &str) -> f64 {
    let threads = Threads::single();
    let a: Vec<f32> = (0..m * k).map(|i| (i % 7) as f32 - 3.0).collect();
    let b: Vec<f32> = (0..k * n).map(|i| (i % 5) as f32 - 2.0).collect();
    let mut c = vec![0.0; m * n];
    let a = MatRef::row_major(&a, m, k);
    let row_major = MatRef::row_major(&b, k, n);
    let packed = PackedB::pack(row_major, &threads);
    let packed_a = PackedA::pack(a, &threads);
    let b = match kind {
        "packed" => Rhs::Packed(&packed),
        "column-major" => Rhs::Mat(MatRef::row_major(&b, n, k).transposed()),
        _ => Rhs::Mat(row_major),
    };
    let flops = 2.0 * (m * n * k) as f64;
    let rounds = (2e8 / flops).ceil() as usize;
    best_of(|| {
        for _ in 0..rounds {
            let epilogue = Epilogue::default();
            if kind == "packed a" {
                gemm(&threads, 1.0, &packed_a, b, 0.0, black_box(&mut c), n, &epilogue);
            } else {
                gemm(&threads, 1.0, a, b, 0.0, black_box(&mut c), n, &epilogue);
            }
        }
        flops * rounds as f64
    })
}

/// The highest rate of several runs of work that says how many operations it did.
fn best_of(mut work: impl FnMut() -> f64) -> f64 {
    (0..15)
        .map(|_| {
            let start = Instant::now();
            let operations = work();
            operations / start.elapsed().as_secs_f64() / 1e9
        })
        .fold(0.0, f64::max)
}

#[cfg(target_arch = "x86_64")]
fn peak_gflops() -> Option<f64> {
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx2,fma")]
    fn multiply_adds(rounds: usize) -> f32 {
        let factor = _mm256_set1_ps(black_box(0.999));
        let mut sums = [_mm256_set1_ps(1.0); 12];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, factor, factor);
            }
        }
        let total = sums.into_iter().fold(_mm256_setzero_ps(), |x, y| _mm256_add_ps(x, y));
        _mm256_cvtss_f32(total)
    }

    if !planish_kernels::Isa::Avx2.is_available() {
        return None;
    }
    const ROUNDS: usize = 2_000_000;
    Some(best_of(|| {
        // SAFETY: the level has just been found available.
        black_box(unsafe { multiply_adds(ROUNDS) });
        (ROUNDS * 12 * 8 * 2) as f64
    }))
}

#[cfg(not(target_arch = "x86_64"))]
fn peak_gflops() -> Option<f64> {
    None
}
