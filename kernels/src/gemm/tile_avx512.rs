//! The tile with AVX-512: up to 6 × 32 sums in twelve registers, over two of B's panels at once.
//!
//! `cargo run --release -p planish-kernels --example peak` sets its speed beside the peak of the core.

use std::arch::x86_64::*;

use super::epilogue::Bias;
use super::tile::{BRows, MR, NR, Tile};

/// Columns of a tile: one vector of each of two panels.
pub(super) const COLUMNS: usize = 2 * NR;

const _: () = assert!(MR == 6 && NR == 16);

/// Computes one tile.
///
/// # Safety
/// The tile keeps the promise that [`Tile`] states, and the CPU has AVX-512 F.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn tile(tile: &Tile<'_>) {
    // SAFETY: the caller's promise is passed on: the second panel exists where there are more columns than one has.
    unsafe {
        if tile.columns <= NR {
            tile_of_width::<1>(tile);
        } else {
            tile_of_width::<2>(tile);
        }
    }
}

/// A tile of at most `VECTORS` vectors of columns.
///
/// # Safety
/// As [`tile`].
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn tile_of_width<const VECTORS: usize>(tile: &Tile<'_>) {
    let is_packed = tile.a_row_stride == 1 && tile.a_depth_stride == MR;
    let is_whole = tile.b_is_padded || tile.columns == VECTORS * NR;
    // SAFETY: the caller's promise is passed on.
    unsafe {
        match tile.b_rows {
            BRows::Apart(stride) if tile.rows == MR && is_packed && is_whole => {
                if tile.b_next == tile.b {
                    packed_body::<VECTORS, false>(tile, stride);
                } else {
                    packed_body::<VECTORS, true>(tile, stride);
                }
            }
            BRows::Apart(stride) => tile_of_height::<VECTORS>(
                tile,
                #[inline(always)]
                |k| {
                    prefetch_panels::<VECTORS>(tile.b_next.wrapping_add(k * stride), tile.b_panel_stride);
                    tile.b.wrapping_add(k * stride)
                },
            ),
            BRows::At(places) => {
                let places = &places[..tile.depth];
                if tile.rows == MR && is_packed && is_whole {
                    placed_body::<VECTORS>(tile, places);
                } else {
                    tile_of_height::<VECTORS>(
                        tile,
                        #[inline(always)]
                        |k| tile.b.wrapping_add(places[k]),
                    );
                }
            }
        }
    }
}

/// A tile of its own number of rows.
///
/// # Safety
/// As [`tile`]; row `k` of B begins at `b_row(k)`.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn tile_of_height<const VECTORS: usize>(tile: &Tile<'_>, b_row: impl Fn(usize) -> *const f32) {
    // SAFETY: the caller's promise is passed on, with the tile's own number of rows.
    unsafe {
        match tile.rows {
            1 => body::<1, 4, VECTORS>(tile, b_row),
            2 => body::<2, 2, VECTORS>(tile, b_row),
            3 => body::<3, 2, VECTORS>(tile, b_row),
            4 => body::<4, 1, VECTORS>(tile, b_row),
            5 => body::<5, 1, VECTORS>(tile, b_row),
            _ => body::<6, 1, VECTORS>(tile, b_row),
        }
    }
}

/// The full-height tile over a packed panel of A, whose strides are constants, and whole vectors of B `stride` apart.
///
/// # Safety
/// As [`tile`], with six rows, A's strides 1 and [`MR`], and [`NR`] readable columns in each panel of B.
#[target_feature(enable = "avx512f")]
unsafe fn packed_body<const VECTORS: usize, const AHEAD: bool>(tile: &Tile<'_>, stride: usize) {
    let mut sums = [[_mm512_setzero_ps(); VECTORS]; MR];
    let (mut a, mut b, mut next) = (tile.a, tile.b, tile.b_next);
    for _ in 0..tile.depth {
        // SAFETY: `a` and `b` point at row `k < depth` of their panels, which the caller promises to be `MR` and `NR` wide.
        unsafe {
            prefetch(a);
            if AHEAD {
                prefetch_panels::<VECTORS>(next, tile.b_panel_stride);
                next = next.wrapping_add(stride);
            }
            add_products(a, b, tile.b_panel_stride, &mut sums);
            a = a.add(MR);
            b = b.add(stride);
        }
    }
    // SAFETY: the caller's promise is passed on.
    unsafe { store(tile, &copied(&sums)) }
}

/// [`packed_body`] with rows of B at places of their own.
///
/// # Safety
/// As [`packed_body`].
#[target_feature(enable = "avx512f")]
unsafe fn placed_body<const VECTORS: usize>(tile: &Tile<'_>, places: &[usize]) {
    let mut sums = [[_mm512_setzero_ps(); VECTORS]; MR];
    let mut a = tile.a;
    for &place in places {
        // SAFETY: `a` points at row `k < depth` of its panel, which is `MR` wide; the caller promises `NR` columns of each panel
        // of B at every place.
        unsafe {
            prefetch(a);
            add_products(a, tile.b.add(place), tile.b_panel_stride, &mut sums);
            a = a.add(MR);
        }
    }
    // SAFETY: the caller's promise is passed on.
    unsafe { store(tile, &copied(&sums)) }
}

/// Asks for A's panel some depths ahead: weights come from far when there are few columns to multiply them with.
#[inline]
#[target_feature(enable = "avx512f")]
fn prefetch(a: *const f32) {
    const AHEAD: usize = 32 * MR;
    _mm_prefetch::<_MM_HINT_T0>(a.wrapping_add(AHEAD).cast());
}

/// Asks for one row of the panels that come next.
#[inline]
#[target_feature(enable = "avx512f")]
fn prefetch_panels<const VECTORS: usize>(row: *const f32, panel_stride: usize) {
    for i in 0..VECTORS {
        _mm_prefetch::<_MM_HINT_T0>(row.wrapping_add(i * panel_stride).cast());
    }
}

/// Adds the products of one depth to the sums.
///
/// # Safety
/// [`MR`] elements may be read at `a`, and [`NR`] at `b` and at every `panel_stride` beyond.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn add_products<const VECTORS: usize>(
    a: *const f32,
    b: *const f32,
    panel_stride: usize,
    sums: &mut [[__m512; VECTORS]; MR],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let b_row: [__m512; VECTORS] = std::array::from_fn(|i| _mm512_loadu_ps(b.add(i * panel_stride)));
        for (row, sums) in sums.iter_mut().enumerate() {
            let a = _mm512_set1_ps(*a.add(row));
            for (sum, b) in sums.iter_mut().zip(b_row) {
                *sum = _mm512_fmadd_ps(a, b, *sum);
            }
        }
    }
}

/// A tile of `ROWS` rows with any strides. With few rows the additions' latency is the limit, so that `CHAINS`
/// successive depths have sums of their own.
///
/// # Safety
/// As [`tile`], with `ROWS` rows; row `k` of B begins at `b_row(k)`.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn body<const ROWS: usize, const CHAINS: usize, const VECTORS: usize>(
    tile: &Tile<'_>,
    b_row: impl Fn(usize) -> *const f32,
) {
    let mut sums = [[[_mm512_setzero_ps(); VECTORS]; ROWS]; CHAINS];
    let masks = if tile.b_is_padded { [__mmask16::MAX; VECTORS] } else { masks::<VECTORS>(tile.columns) };
    let step = |k: usize, sums: &mut [[__m512; VECTORS]; ROWS]| {
        // SAFETY: `k < depth`: the tile promises `rows` elements of A, and of B the lanes of the masks; an address that no lane
        // reads may lie beyond.
        unsafe {
            let (a, b) = (tile.a.wrapping_add(k * tile.a_depth_stride), b_row(k));
            let b: [__m512; VECTORS] =
                std::array::from_fn(|i| _mm512_maskz_loadu_ps(masks[i], b.wrapping_add(i * tile.b_panel_stride)));
            for (row, sums) in sums.iter_mut().enumerate() {
                let a = _mm512_set1_ps(*a.add(row * tile.a_row_stride));
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum = _mm512_fmadd_ps(a, b, *sum);
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
                *sum = _mm512_add_ps(*sum, *other);
            }
        }
    }
    // SAFETY: the caller's promise is passed on.
    unsafe { store(tile, &copied(&first[0])) }
}

/// Lane masks for the first `columns` of `VECTORS` vectors.
#[inline(always)]
fn masks<const VECTORS: usize>(columns: usize) -> [__mmask16; VECTORS] {
    std::array::from_fn(|i| {
        let lanes = columns.saturating_sub(NR * i).min(NR);
        ((1u32 << lanes) - 1) as __mmask16
    })
}

/// The same sums elsewhere: sums whose own address is handed to a function would live in memory during the loop before it.
#[inline(always)]
fn copied<const ROWS: usize, const VECTORS: usize>(sums: &[[__m512; VECTORS]; ROWS]) -> [[__m512; VECTORS]; ROWS] {
    std::array::from_fn(|row| std::array::from_fn(|i| sums[row][i]))
}

/// Finishes the sums and writes them to C.
///
/// # Safety
/// As [`tile`], with at most `ROWS` rows and `VECTORS` vectors of columns.
#[target_feature(enable = "avx512f")]
unsafe fn store<const ROWS: usize, const VECTORS: usize>(tile: &Tile<'_>, sums: &[[__m512; VECTORS]; ROWS]) {
    let masks = masks::<VECTORS>(tile.columns);
    let load = |p: *const f32| -> [__m512; VECTORS] {
        // SAFETY: the masks have the tile's columns, which are readable in a row of C and in a bias for each column.
        std::array::from_fn(|i| unsafe { _mm512_maskz_loadu_ps(masks[i], p.wrapping_add(NR * i)) })
    };
    let plan = &tile.store;
    let alpha = _mm512_set1_ps(plan.alpha);
    let beta = _mm512_set1_ps(plan.beta);
    let low = _mm512_set1_ps(plan.bounds.0);
    let high = _mm512_set1_ps(plan.bounds.1);
    let column_bias = match plan.bias {
        Bias::PerColumn(bias) => load(bias.as_ptr()),
        Bias::Scalar(bias) => [_mm512_set1_ps(bias); VECTORS],
        Bias::None | Bias::PerRow(_) => [_mm512_setzero_ps(); VECTORS],
    };
    for (row, sums) in sums.iter().enumerate() {
        let bias = match plan.bias {
            Bias::PerRow(bias) => [_mm512_set1_ps(bias[row]); VECTORS],
            _ => column_bias,
        };
        let c = tile.c.wrapping_add(row * tile.c_row_stride);
        let old = if plan.beta == 0.0 { [_mm512_setzero_ps(); VECTORS] } else { load(c) };
        for i in 0..VECTORS {
            let sum = _mm512_fmadd_ps(beta, old[i], _mm512_fmadd_ps(alpha, sums[i], bias[i]));
            // The second operand is the result where either is NaN.
            let clamped = _mm512_min_ps(high, _mm512_max_ps(low, sum));
            // SAFETY: the caller promises that the tile's columns of this row may be written; the masks have no others.
            unsafe { _mm512_mask_storeu_ps(c.wrapping_add(NR * i), masks[i], clamped) }
        }
    }
}
