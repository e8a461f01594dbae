//! One register tile of a product of 8-bit numbers, whose body is written once for each instruction set.

use crate::Isa;

/// Rows of a tile.
pub(super) const MR: usize = 6;

/// Columns of a tile.
pub(super) const NR: usize = 16;

/// The sums of a whole tile.
pub(super) type Sums = [[i32; NR]; MR];

/// The panels of one tile: `a` is `[pairs][MR][2]`, `b` is `[pairs][NR][2]`, and only `rows` sums are wanted.
pub(super) struct Tile<'a> {
    pub(super) rows: usize,
    pub(super) a: &'a [[i16; 2 * MR]],
    pub(super) b: &'a [[i8; 2 * NR]],
}

/// `sums[i][j] = Σ a[k][i] · b[k][j]`, wrapping. To call it is sound when the CPU has the instructions.
pub(super) type TileKernel = unsafe fn(&Tile<'_>, &mut Sums);

/// The best body for `isa`, which must be available.
pub(super) fn kernel(isa: Isa) -> TileKernel {
    debug_assert!(isa.is_available());
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::Avx512 => super::tile_avx2::tile,
        _ => tile_portable,
    }
}

/// The tile in plain Rust: what every other body must agree with.
fn tile_portable(tile: &Tile<'_>, sums: &mut Sums) {
    for (i, sums) in sums.iter_mut().enumerate().take(tile.rows) {
        let mut row = [0i32; NR];
        for (a, b) in tile.a.iter().zip(tile.b) {
            let (even, odd) = (i32::from(a[2 * i]), i32::from(a[2 * i + 1]));
            for (sum, b) in row.iter_mut().zip(b.as_chunks::<2>().0) {
                let pair = even * i32::from(b[0]) + odd * i32::from(b[1]);
                *sum = sum.wrapping_add(pair);
            }
        }
        *sums = row;
    }
}
