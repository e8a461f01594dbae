//! The tile with AVX-512: up to 12 × 32 sums in 24 registers, over two panels of A and two of B at once.
//!
//! `cargo run --release -p planish-kernels --example peak` sets its speed beside the peak of the core.

use std::arch::x86_64::*;

use super::epilogue::Bias;
use super::tile::{BRows, MR, NR, Tile};

/// Rows of a tile: two panels.
pub(super) const ROWS: usize = 2 * MR;

/// Columns of a tile: one vector of each of two panels.
pub(super) const COLUMNS: usize = 2 * NR;

const _: () = assert!(MR == 6 && NR == 16);

/// The sums of one panel of A.
type Sums<const VECTORS: usize> = [[__m512; VECTORS]; MR];

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
    let is_whole = is_packed && (tile.b_is_padded || tile.columns == VECTORS * NR);
    // SAFETY: the caller's promise is passed on; a panel of a tile is a tile.
    unsafe {
        if is_whole && tile.rows == ROWS {
            return whole_tile::<2, VECTORS>(tile);
        }
        for panel in tile.panels() {
            if is_whole && panel.rows == MR {
                whole_tile::<1, VECTORS>(&panel);
            } else {
                tile_of_height::<VECTORS>(&panel);
            }
        }
    }
}

/// A tile of `PANELS` whole panels of A, packed, and whole vectors of B.
///
/// # Safety
/// As [`tile`], with [`MR`] rows for each panel, A's strides 1 and [`MR`], and [`NR`] readable columns in each panel of B.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn whole_tile<const PANELS: usize, const VECTORS: usize>(tile: &Tile<'_>) {
    // SAFETY: the caller's promise is passed on.
    unsafe {
        match tile.b_rows {
            BRows::Apart(stride) if tile.b_next == tile.b => packed_body::<PANELS, VECTORS, false>(tile, stride),
            BRows::Apart(stride) => packed_body::<PANELS, VECTORS, true>(tile, stride),
            BRows::At(places) => placed_body::<PANELS, VECTORS>(tile, &places[..tile.depth]),
        }
    }
}

/// [`whole_tile`] over rows of B that are `stride` apart.
///
/// # Safety
/// As [`whole_tile`].
#[target_feature(enable = "avx512f")]
unsafe fn packed_body<const PANELS: usize, const VECTORS: usize, const AHEAD: bool>(tile: &Tile<'_>, stride: usize) {
    let mut sums = [[[_mm512_setzero_ps(); VECTORS]; MR]; PANELS];
    let (mut a, mut b, mut next) = (tile.a, tile.b, tile.b_next);
    for _ in 0..tile.depth {
        if AHEAD {
            prefetch_panels::<VECTORS>(next, tile.b_panel_stride);
            next = next.wrapping_add(stride);
        }
        // SAFETY: `a` and `b` point at row `k < depth` of their panels, which the caller promises to be `MR` and `NR` wide.
        unsafe {
            add_products(a, tile.a_panel_stride, b, tile.b_panel_stride, &mut sums);
            a = a.add(MR);
            b = b.add(stride);
        }
    }
    // SAFETY: the caller's promise is passed on.
    unsafe { store_panels::<PANELS, VECTORS>(tile, &sums.each_ref().map(copied)) }
}

/// [`whole_tile`] over rows of B at places of their own.
///
/// # Safety
/// As [`whole_tile`].
#[target_feature(enable = "avx512f")]
unsafe fn placed_body<const PANELS: usize, const VECTORS: usize>(tile: &Tile<'_>, places: &[usize]) {
    let mut sums = [[[_mm512_setzero_ps(); VECTORS]; MR]; PANELS];
    let mut a = tile.a;
    for &place in places {
        // SAFETY: `a` points at row `k < depth` of its panel, which is `MR` wide; the caller promises `NR` columns of each panel
        // of B at every place.
        unsafe {
            add_products(a, tile.a_panel_stride, tile.b.add(place), tile.b_panel_stride, &mut sums);
            a = a.add(MR);
        }
    }
    // SAFETY: the caller's promise is passed on.
    unsafe { store_panels::<PANELS, VECTORS>(tile, &sums.each_ref().map(copied)) }
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
/// [`MR`] elements may be read at `a`, [`NR`] at `b`, and as many at every panel stride beyond.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn add_products<const PANELS: usize, const VECTORS: usize>(
    a: *const f32,
    a_panel_stride: usize,
    b: *const f32,
    b_panel_stride: usize,
    sums: &mut [Sums<VECTORS>; PANELS],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let b_row: [__m512; VECTORS] = std::array::from_fn(|i| _mm512_loadu_ps(b.add(i * b_panel_stride)));
        for (panel, sums) in sums.iter_mut().enumerate() {
            let a = a.add(panel * a_panel_stride);
            prefetch(a);
            for (row, sums) in sums.iter_mut().enumerate() {
                let a = _mm512_set1_ps(*a.add(row));
                for (sum, b) in sums.iter_mut().zip(b_row) {
                    *sum = _mm512_fmadd_ps(a, b, *sum);
                }
            }
        }
    }
}

/// A tile of its own number of rows.
///
/// # Safety
/// As [`tile`], with at most [`MR`] rows.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn tile_of_height<const VECTORS: usize>(tile: &Tile<'_>) {
    // SAFETY: the caller's promise is passed on.
    unsafe {
        match tile.b_rows {
            BRows::Apart(stride) => tile_over::<VECTORS>(
                tile,
                #[inline(always)]
                |k| {
                    prefetch_panels::<VECTORS>(tile.b_next.wrapping_add(k * stride), tile.b_panel_stride);
                    tile.b.wrapping_add(k * stride)
                },
            ),
            BRows::At(places) => {
                let places = &places[..tile.depth];
                tile_over::<VECTORS>(
                    tile,
                    #[inline(always)]
                    |k| tile.b.wrapping_add(places[k]),
                );
            }
        }
    }
}

/// [`tile_of_height`] over rows of B that begin at `b_row(k)`.
///
/// # Safety
/// As [`tile_of_height`].
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn tile_over<const VECTORS: usize>(tile: &Tile<'_>, b_row: impl Fn(usize) -> *const f32) {
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

/// Finishes the sums of each panel of A.
///
/// # Safety
/// As [`tile`], with at most [`MR`] rows for each of `PANELS` and `VECTORS` vectors of columns.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn store_panels<const PANELS: usize, const VECTORS: usize>(tile: &Tile<'_>, sums: &[Sums<VECTORS>; PANELS]) {
    for (part, sums) in tile.panels().zip(sums) {
        // SAFETY: the caller's promise is passed on.
        unsafe { store(&part, sums) }
    }
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
