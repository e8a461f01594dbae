//! The tile with AVX2 and FMA: up to 6 × 16 sums in twelve registers, two for B's row and the rest for A's element.
//!
//! `cargo run --release -p planish-kernels --example peak` sets its speed beside the peak of the core.

use std::arch::x86_64::*;

use super::epilogue::Bias;
use super::tile::{BRows, MR, NR, Tile};

const _: () = assert!(MR == 6 && NR == 16);

/// Computes one tile.
///
/// # Safety
/// The tile keeps the promise that [`Tile`] states, and the CPU has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(crate) unsafe fn tile(tile: &Tile<'_>) {
    let is_whole = tile.b_is_padded || tile.columns == NR;
    // SAFETY: the caller's promise is passed on. Without a mask the tile's vectors of B are whole: one is enough where there
    // are at most eight columns.
    unsafe {
        match (is_whole, tile.columns <= NR / 2) {
            (true, false) => tile_of_width::<2, false>(tile),
            (true, true) => tile_of_width::<1, false>(tile),
            (false, false) => tile_of_width::<2, true>(tile),
            (false, true) => tile_of_width::<1, true>(tile),
        }
    }
}

/// A tile of at most `VECTORS` vectors of columns.
///
/// # Safety
/// As [`tile`]; that many vectors of B may be read unless `MASKED`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn tile_of_width<const VECTORS: usize, const MASKED: bool>(tile: &Tile<'_>) {
    let is_packed = tile.a_row_stride == 1 && tile.a_depth_stride == MR;
    // SAFETY: the caller's promise is passed on.
    unsafe {
        match tile.b_rows {
            BRows::Apart(stride) if tile.rows == MR && is_packed && !MASKED => packed_body::<VECTORS>(tile, stride),
            BRows::Apart(stride) => tile_of_height::<VECTORS, MASKED>(
                tile,
                #[inline(always)]
                |k| tile.b.wrapping_add(k * stride),
            ),
            BRows::At(places) => {
                let places = &places[..tile.depth];
                tile_of_height::<VECTORS, MASKED>(
                    tile,
                    #[inline(always)]
                    |k| tile.b.wrapping_add(places[k]),
                );
            }
        }
    }
}

/// A tile of its own number of rows.
///
/// # Safety
/// As [`tile_of_width`]; row `k` of B begins at `b_row(k)`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn tile_of_height<const VECTORS: usize, const MASKED: bool>(
    tile: &Tile<'_>,
    b_row: impl Fn(usize) -> *const f32,
) {
    // SAFETY: the caller's promise is passed on, with the tile's own number of rows.
    unsafe {
        match tile.rows {
            1 => body::<1, 4, VECTORS, MASKED>(tile, b_row),
            2 => body::<2, 2, VECTORS, MASKED>(tile, b_row),
            3 => body::<3, 2, VECTORS, MASKED>(tile, b_row),
            4 => body::<4, 1, VECTORS, MASKED>(tile, b_row),
            5 => body::<5, 1, VECTORS, MASKED>(tile, b_row),
            _ => body::<6, 1, VECTORS, MASKED>(tile, b_row),
        }
    }
}

/// The full-height tile over a packed panel of A, whose strides are constants, and rows of B `stride` apart.
///
/// # Safety
/// As [`tile_of_width`], with six rows and A's strides 1 and [`MR`].
#[target_feature(enable = "avx2,fma")]
unsafe fn packed_body<const VECTORS: usize>(tile: &Tile<'_>, stride: usize) {
    let mut sums = [[_mm256_setzero_ps(); VECTORS]; MR];
    let (mut a, mut b, mut next) = (tile.a, tile.b, tile.b_next);
    for _ in 0..tile.depth {
        // SAFETY: `a` and `b` point at row `k < depth` of their panels, which the caller promises to be `MR` and at least
        // `VECTORS` vectors wide.
        unsafe {
            let b_row = load::<VECTORS>(b);
            for (row, sums) in sums.iter_mut().enumerate() {
                let a = _mm256_broadcast_ss(&*a.add(row));
                for (sum, b) in sums.iter_mut().zip(b_row) {
                    *sum = _mm256_fmadd_ps(a, b, *sum);
                }
            }
            a = a.add(MR);
            b = b.add(stride);
            _mm_prefetch::<_MM_HINT_T0>(next.cast());
            next = next.wrapping_add(stride);
        }
    }
    // SAFETY: the caller's promise is passed on.
    unsafe { store(tile, &copied(&sums)) }
}

/// A tile of `ROWS` rows with any strides. With few rows the additions' latency is the limit, so that `CHAINS`
/// successive depths have sums of their own.
///
/// # Safety
/// As [`tile_of_width`], with `ROWS` rows; row `k` of B begins at `b_row(k)`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn body<const ROWS: usize, const CHAINS: usize, const VECTORS: usize, const MASKED: bool>(
    tile: &Tile<'_>,
    b_row: impl Fn(usize) -> *const f32,
) {
    let mut sums = [[[_mm256_setzero_ps(); VECTORS]; ROWS]; CHAINS];
    let masks = masks::<VECTORS>(tile.columns);
    let step = |k: usize, sums: &mut [[__m256; VECTORS]; ROWS]| {
        // SAFETY: `k < depth`: the tile promises `rows` elements of A, `columns` of B, and whole vectors unless `MASKED`; the
        // masks have `columns` lanes.
        unsafe {
            let (a, b) = (tile.a.wrapping_add(k * tile.a_depth_stride), b_row(k));
            let b = if MASKED { load_masked(b, &masks) } else { load::<VECTORS>(b) };
            for (row, sums) in sums.iter_mut().enumerate() {
                let a = _mm256_broadcast_ss(&*a.add(row * tile.a_row_stride));
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum = _mm256_fmadd_ps(a, b, *sum);
                }
            }
        }
    };
    let whole = tile.depth / CHAINS * CHAINS;
    for k in (0..whole).step_by(CHAINS) {
        for (chain, sums) in sums.iter_mut().enumerate() {
            step(k + chain, sums);
        }
    }
    for (k, sums) in (whole..tile.depth).zip(&mut sums) {
        step(k, sums);
    }
    let (first, rest) = sums.split_at_mut(1);
    for chain in rest {
        for (sums, others) in first[0].iter_mut().zip(chain) {
            for (sum, other) in sums.iter_mut().zip(others) {
                *sum = _mm256_add_ps(*sum, *other);
            }
        }
    }
    // SAFETY: the caller's promise is passed on.
    unsafe { store(tile, &copied(&first[0])) }
}

/// Lane masks for the first `columns` of `VECTORS` vectors.
#[inline]
#[target_feature(enable = "avx2,fma")]
fn masks<const VECTORS: usize>(columns: usize) -> [__m256i; VECTORS] {
    let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    std::array::from_fn(|i| _mm256_cmpgt_epi32(_mm256_set1_epi32(columns.min(NR) as i32 - 8 * i as i32), lanes))
}

/// Whole vectors from `p` on.
///
/// # Safety
/// That many may be read.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn load<const VECTORS: usize>(p: *const f32) -> [__m256; VECTORS] {
    // SAFETY: the caller's promise is passed on.
    std::array::from_fn(|i| unsafe { _mm256_loadu_ps(p.add(8 * i)) })
}

/// The lanes of the masks from `p` on, and zeros.
///
/// # Safety
/// The elements in the masks' lanes may be read.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn load_masked<const VECTORS: usize>(p: *const f32, masks: &[__m256i; VECTORS]) -> [__m256; VECTORS] {
    // SAFETY: the caller's promise is passed on; the address itself may lie beyond, and is not touched there.
    std::array::from_fn(|i| unsafe { _mm256_maskload_ps(p.wrapping_add(8 * i), masks[i]) })
}

/// The same sums elsewhere: sums whose own address is handed to a function would live in memory during the loop before it.
#[inline(always)]
fn copied<const ROWS: usize, const VECTORS: usize>(sums: &[[__m256; VECTORS]; ROWS]) -> [[__m256; VECTORS]; ROWS] {
    std::array::from_fn(|row| std::array::from_fn(|i| sums[row][i]))
}

/// Finishes the sums and writes them to C.
///
/// # Safety
/// As [`tile`], with at most `ROWS` rows and `VECTORS` vectors of columns.
#[target_feature(enable = "avx2,fma")]
unsafe fn store<const ROWS: usize, const VECTORS: usize>(tile: &Tile<'_>, sums: &[[__m256; VECTORS]; ROWS]) {
    // SAFETY: the caller's promise is passed on; whole vectors are read and written only where all their columns exist.
    unsafe {
        if tile.columns == 8 * VECTORS {
            finish(tile, sums, |p| load(p), |p, x| (0..VECTORS).for_each(|i| _mm256_storeu_ps(p.add(8 * i), x[i])));
        } else {
            let masks = masks::<VECTORS>(tile.columns);
            finish(
                tile,
                sums,
                |p| load_masked(p, &masks),
                |p, x| (0..VECTORS).for_each(|i| _mm256_maskstore_ps(p.wrapping_add(8 * i), masks[i], x[i])),
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
unsafe fn finish<const ROWS: usize, const VECTORS: usize>(
    tile: &Tile<'_>,
    sums: &[[__m256; VECTORS]; ROWS],
    load: impl Fn(*const f32) -> [__m256; VECTORS],
    save: impl Fn(*mut f32, [__m256; VECTORS]),
) {
    let plan = &tile.store;
    let alpha = _mm256_set1_ps(plan.alpha);
    let beta = _mm256_set1_ps(plan.beta);
    let low = _mm256_set1_ps(plan.bounds.0);
    let high = _mm256_set1_ps(plan.bounds.1);
    let column_bias = match plan.bias {
        Bias::PerColumn(bias) => load(bias.as_ptr()),
        Bias::Scalar(bias) => [_mm256_set1_ps(bias); VECTORS],
        Bias::None | Bias::PerRow(_) => [_mm256_setzero_ps(); VECTORS],
    };
    for (row, sums) in sums.iter().enumerate() {
        let bias = match plan.bias {
            Bias::PerRow(bias) => [_mm256_set1_ps(bias[row]); VECTORS],
            _ => column_bias,
        };
        let c = tile.c.wrapping_add(row * tile.c_row_stride);
        let old = if plan.beta == 0.0 { [_mm256_setzero_ps(); VECTORS] } else { load(c) };
        let mut x = [_mm256_setzero_ps(); VECTORS];
        for i in 0..VECTORS {
            let sum = _mm256_fmadd_ps(beta, old[i], _mm256_fmadd_ps(alpha, sums[i], bias[i]));
            // The second operand is the result where either is NaN.
            x[i] = _mm256_min_ps(high, _mm256_max_ps(low, sum));
        }
        save(c, x);
    }
}
