//! The tile with AVX2 and FMA: up to 6 × 16 sums in twelve registers, two for B's row and the rest for A's element.
//!
//! `cargo run --release -p planish-kernels --example peak` sets its speed beside the peak of the core.

use std::arch::x86_64::*;

use super::epilogue::Bias;
use super::tile::{MR, NR, Tile};

const _: () = assert!(MR == 6 && NR == 16);

/// Computes one tile.
///
/// # Safety
/// The tile keeps the promise that [`Tile`] states, and the CPU has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn tile(tile: &Tile<'_>) {
    // SAFETY: the caller's promise is passed on; a tile that is not padded reads B through a mask of `columns` lanes.
    unsafe {
        match (tile.b_is_padded || tile.columns == NR, tile.rows) {
            (true, 1) => body::<1, 4, false>(tile),
            (true, 2) => body::<2, 2, false>(tile),
            (true, 3) => body::<3, 2, false>(tile),
            (true, 4) => body::<4, 1, false>(tile),
            (true, 5) => body::<5, 1, false>(tile),
            (true, _) if tile.a_row_stride == 1 && tile.a_depth_stride == MR => packed_body(tile),
            (true, _) => body::<6, 1, false>(tile),
            (false, 1) => body::<1, 1, true>(tile),
            (false, 2) => body::<2, 1, true>(tile),
            (false, 3) => body::<3, 1, true>(tile),
            (false, 4) => body::<4, 1, true>(tile),
            (false, 5) => body::<5, 1, true>(tile),
            (false, _) => body::<6, 1, true>(tile),
        }
    }
}

/// The full-height tile over a packed panel of A, whose strides are constants.
///
/// # Safety
/// As [`tile`], with six rows, A's strides 1 and [`MR`], and sixteen readable columns of B.
#[target_feature(enable = "avx2,fma")]
unsafe fn packed_body(tile: &Tile<'_>) {
    let mut sums = [[_mm256_setzero_ps(); 2]; MR];
    let (mut a, mut b) = (tile.a, tile.b);
    for _ in 0..tile.depth {
        // SAFETY: `a` and `b` point at row `k < depth` of their panels, which the caller promises to be `MR` and `NR` wide.
        unsafe {
            let b0 = _mm256_loadu_ps(b);
            let b1 = _mm256_loadu_ps(b.add(8));
            for (row, sums) in sums.iter_mut().enumerate() {
                let a = _mm256_broadcast_ss(&*a.add(row));
                sums[0] = _mm256_fmadd_ps(a, b0, sums[0]);
                sums[1] = _mm256_fmadd_ps(a, b1, sums[1]);
            }
            a = a.add(MR);
            b = b.add(tile.b_depth_stride);
        }
    }
    // SAFETY: the caller's promise is passed on.
    unsafe { store(tile, &copied(&sums)) }
}

/// A tile of `ROWS` rows with any strides. With few rows the additions' latency is the limit, so that `CHAINS`
/// successive depths have sums of their own.
///
/// # Safety
/// As [`tile`], with `ROWS` rows; sixteen columns of B may be read unless `MASKED`.
#[target_feature(enable = "avx2,fma")]
unsafe fn body<const ROWS: usize, const CHAINS: usize, const MASKED: bool>(tile: &Tile<'_>) {
    let mut sums = [[[_mm256_setzero_ps(); 2]; ROWS]; CHAINS];
    let (mask0, mask1) = masks(tile.columns);
    let (mut a, mut b) = (tile.a, tile.b);
    let step = |a: *const f32, b: *const f32, sums: &mut [[__m256; 2]; ROWS]| {
        // SAFETY: `a` and `b` point at row `k < depth` of their panels: the tile promises `rows` elements of A, `columns` of B,
        // and sixteen unless `MASKED`; the mask has `columns` lanes.
        unsafe {
            let (b0, b1) = if MASKED {
                (_mm256_maskload_ps(b, mask0), _mm256_maskload_ps(b.wrapping_add(8), mask1))
            } else {
                (_mm256_loadu_ps(b), _mm256_loadu_ps(b.add(8)))
            };
            for (row, sums) in sums.iter_mut().enumerate() {
                let a = _mm256_broadcast_ss(&*a.add(row * tile.a_row_stride));
                sums[0] = _mm256_fmadd_ps(a, b0, sums[0]);
                sums[1] = _mm256_fmadd_ps(a, b1, sums[1]);
            }
        }
    };
    for _ in 0..tile.depth / CHAINS {
        for sums in &mut sums {
            step(a, b, sums);
            a = a.wrapping_add(tile.a_depth_stride);
            b = b.wrapping_add(tile.b_depth_stride);
        }
    }
    for sums in sums.iter_mut().take(tile.depth % CHAINS) {
        step(a, b, sums);
        a = a.wrapping_add(tile.a_depth_stride);
        b = b.wrapping_add(tile.b_depth_stride);
    }
    let (first, rest) = sums.split_at_mut(1);
    for chain in rest {
        for (sum, other) in first[0].iter_mut().zip(chain) {
            sum[0] = _mm256_add_ps(sum[0], other[0]);
            sum[1] = _mm256_add_ps(sum[1], other[1]);
        }
    }
    // SAFETY: the caller's promise is passed on.
    unsafe { store(tile, &copied(&first[0])) }
}

/// Lane masks for the first `columns` of sixteen.
#[target_feature(enable = "avx2,fma")]
fn masks(columns: usize) -> (__m256i, __m256i) {
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let count = columns.min(NR) as i32;
    (_mm256_cmpgt_epi32(_mm256_set1_epi32(count), lanes), _mm256_cmpgt_epi32(_mm256_set1_epi32(count - 8), lanes))
}

/// The same sums elsewhere: sums whose own address is handed to a function would live in memory during the loop before it.
#[inline(always)]
fn copied<const ROWS: usize>(sums: &[[__m256; 2]; ROWS]) -> [[__m256; 2]; ROWS] {
    std::array::from_fn(|row| [sums[row][0], sums[row][1]])
}

/// Finishes the sums and writes them to C.
///
/// # Safety
/// As [`tile`], with at most `ROWS` rows.
#[target_feature(enable = "avx2,fma")]
unsafe fn store<const ROWS: usize>(tile: &Tile<'_>, sums: &[[__m256; 2]; ROWS]) {
    // SAFETY: the caller's promise is passed on; whole vectors are read and written only where all sixteen columns exist.
    unsafe {
        if tile.columns == NR {
            finish(
                tile,
                sums,
                |p| (_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8))),
                |p, x| {
                    _mm256_storeu_ps(p, x.0);
                    _mm256_storeu_ps(p.add(8), x.1);
                },
            );
        } else {
            let (mask0, mask1) = masks(tile.columns);
            finish(
                tile,
                sums,
                |p| (_mm256_maskload_ps(p, mask0), _mm256_maskload_ps(p.wrapping_add(8), mask1)),
                |p, x| {
                    _mm256_maskstore_ps(p, mask0, x.0);
                    _mm256_maskstore_ps(p.wrapping_add(8), mask1, x.1);
                },
            );
        }
    }
}

/// [`store`], given how to read and write one row of the tile.
///
/// # Safety
/// As [`store`]; `load` and `save` touch the tile's columns only.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn finish<const ROWS: usize>(
    tile: &Tile<'_>,
    sums: &[[__m256; 2]; ROWS],
    load: impl Fn(*const f32) -> (__m256, __m256),
    save: impl Fn(*mut f32, (__m256, __m256)),
) {
    let plan = &tile.store;
    let alpha = _mm256_set1_ps(plan.alpha);
    let beta = _mm256_set1_ps(plan.beta);
    let low = _mm256_set1_ps(plan.bounds.0);
    let high = _mm256_set1_ps(plan.bounds.1);
    let column_bias = match plan.bias {
        Bias::PerColumn(bias) => load(bias.as_ptr()),
        Bias::Scalar(bias) => (_mm256_set1_ps(bias), _mm256_set1_ps(bias)),
        Bias::None | Bias::PerRow(_) => (_mm256_setzero_ps(), _mm256_setzero_ps()),
    };
    for (row, sums) in sums.iter().enumerate() {
        let bias = match plan.bias {
            Bias::PerRow(bias) => (_mm256_set1_ps(bias[row]), _mm256_set1_ps(bias[row])),
            _ => column_bias,
        };
        let c = tile.c.wrapping_add(row * tile.c_row_stride);
        let mut x0 = _mm256_fmadd_ps(alpha, sums[0], bias.0);
        let mut x1 = _mm256_fmadd_ps(alpha, sums[1], bias.1);
        if plan.beta != 0.0 {
            let old = load(c);
            x0 = _mm256_fmadd_ps(beta, old.0, x0);
            x1 = _mm256_fmadd_ps(beta, old.1, x1);
        }
        // The second operand is the result where either is NaN.
        x0 = _mm256_min_ps(high, _mm256_max_ps(low, x0));
        x1 = _mm256_min_ps(high, _mm256_max_ps(low, x1));
        save(c, (x0, x1));
    }
}
