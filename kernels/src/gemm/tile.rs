//! One register tile of C: the innermost product, whose body is written once for each instruction set.

use super::epilogue::Bias;
use crate::Isa;

/// Rows of a tile, and the height that panels of A are padded to.
pub(crate) const MR: usize = 6;

/// The width that panels of B are padded to.
pub(crate) const NR: usize = 16;

/// `c = clamp(alpha · (a · b) + beta · c + bias)` for a tile of at most as many rows and columns as its kernel takes.
///
/// Whoever makes one promises, for every `row < rows`, `column < columns` and `k < depth`, that
/// `a[row / MR · a_panel_stride + row % MR · a_row_stride + k · a_depth_stride]` and
/// `b[column / NR · b_panel_stride + b_rows(k) + column % NR]` may be read, that
/// `c[row · c_row_stride + column]` may be written and nobody else touches it, and that a per-row or per-column bias is
/// `rows` or `columns` long. All [`NR`] columns of a panel of `b` are readable when `b_is_padded`.
pub(crate) struct Tile<'a> {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) depth: usize,
    pub(crate) a: *const f32,
    pub(crate) a_panel_stride: usize,
    pub(crate) a_row_stride: usize,
    pub(crate) a_depth_stride: usize,
    pub(crate) b: *const f32,
    pub(crate) b_panel_stride: usize,
    pub(crate) b_rows: BRows<'a>,
    pub(crate) b_is_padded: bool,
    /// The panel of B that comes next, which a kernel may ask for while it computes; it is never read.
    pub(crate) b_next: *const f32,
    pub(crate) c: *mut f32,
    pub(crate) c_row_stride: usize,
    pub(crate) store: Store<'a>,
}

#[cfg(target_arch = "x86_64")]
impl<'a> Tile<'a> {
    /// The parts of this tile that are made of one panel of A each.
    pub(crate) fn panels(&self) -> impl Iterator<Item = Tile<'a>> {
        (0..self.rows).step_by(MR).map(|first| {
            let rows = MR.min(self.rows - first);
            let bias = self.store.bias.block(first, rows, 0, self.columns);
            Tile {
                rows,
                a: self.a.wrapping_add(first / MR * self.a_panel_stride),
                c: self.c.wrapping_add(first * self.c_row_stride),
                store: Store { bias, ..self.store },
                ..*self
            }
        })
    }
}

/// Where the rows of B begin.
#[derive(Clone, Copy)]
pub(crate) enum BRows<'a> {
    /// This far from each other.
    Apart(usize),
    /// At these places, one for each depth.
    At(&'a [usize]),
}

/// How a finished sum meets what is in C already.
#[derive(Clone, Copy)]
pub(crate) struct Store<'a> {
    pub(crate) alpha: f32,
    /// Zero means that C is not even read.
    pub(crate) beta: f32,
    pub(crate) bias: Bias<'a>,
    /// Lower and upper bound; infinite where there is none.
    pub(crate) bounds: (f32, f32),
}

/// A tile's body for one instruction set.
#[derive(Clone, Copy)]
pub(crate) struct TileKernel {
    /// The most rows of a tile, a multiple of [`MR`].
    pub(crate) rows: usize,
    /// The most columns of a tile, a multiple of [`NR`].
    pub(crate) columns: usize,
    /// Computes a tile. To call it is sound when the tile keeps its promise and the CPU has the instructions.
    pub(crate) run: unsafe fn(&Tile<'_>),
}

/// The best body for `isa`, which must be available.
pub(crate) fn kernel(isa: Isa) -> TileKernel {
    debug_assert!(isa.is_available());
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => TileKernel { rows: MR, columns: NR, run: super::tile_avx2::tile },
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => {
            use super::tile_avx512::{COLUMNS, ROWS, tile};
            TileKernel { rows: ROWS, columns: COLUMNS, run: tile }
        }
        _ => TileKernel { rows: MR, columns: NR, run: super::tile_portable::tile },
    }
}
