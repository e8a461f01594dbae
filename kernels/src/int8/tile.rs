//! One register tile of a product of bytes, whose body is written once for each instruction set.
//!
//! Depths come in groups of four, which is what one 32-bit lane of the byte products takes at once. Depths that fill up
//! the last group are zero on both sides.

use super::bytes::AlignedBytes;
use crate::Isa;

/// Rows of a tile.
pub(crate) const MR: usize = 6;

/// Columns of a panel.
pub(crate) const NR: usize = 16;

/// The most panels of a tile.
pub(crate) const PANELS: usize = 4;

/// The most columns of a tile.
pub(crate) const COLUMNS: usize = PANELS * NR;

/// Depths of a group.
pub(crate) const GROUP: usize = 4;

/// Bytes of one group of a left panel.
pub(crate) const LEFT_STEP: usize = MR * GROUP;

/// Bytes of one group of a right panel.
pub(crate) const RIGHT_STEP: usize = NR * GROUP;

/// The sums of a whole tile.
pub(crate) type Sums = [[i32; COLUMNS]; MR];

/// How the groups of right panels lie in memory: in runs, each of so many groups at equal distances.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Runs<'a> {
    /// Where each run begins.
    pub(crate) starts: &'a [usize],
    /// Groups in each run.
    pub(crate) groups: usize,
    /// From one group to the next.
    pub(crate) step: usize,
    /// From one panel to the next.
    pub(crate) panel_step: usize,
}

/// The panels of one tile.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile<'a> {
    /// The rows that are wanted, at least one and at most [`MR`].
    rows: usize,
    /// The panels that are wanted, at least one and at most [`PANELS`].
    panels: usize,
    /// `[groups of all runs][MR][4]`.
    a: &'a [u8],
    /// Groups of `[NR][4]`.
    b: &'a [u8],
    runs: Runs<'a>,
    /// Whether no two neighbouring products of codes leave 16 bits when they are added.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "AVX2 alone adds in 16 bits"))]
    is_narrow: bool,
}

impl<'a> Tile<'a> {
    /// # Panics
    /// If the panels are not as long as `runs` say.
    pub(crate) fn new(
        [rows, panels]: [usize; 2],
        a: &'a [u8],
        b: &'a [u8],
        runs: Runs<'a>,
        is_narrow: bool,
    ) -> Tile<'a> {
        assert!((1..=MR).contains(&rows) && (1..=PANELS).contains(&panels));
        assert_eq!(a.len(), runs.starts.len() * runs.groups * LEFT_STEP, "the left panel's length");
        if let (Some(last), true) = (runs.starts.iter().max(), runs.groups > 0) {
            let end = last + (runs.groups - 1) * runs.step + (panels - 1) * runs.panel_step + RIGHT_STEP;
            assert!(end <= b.len(), "the right panels' length");
        }
        Tile { rows, panels, a, b, runs, is_narrow }
    }
}

/// `sums[i][j] = Σ a[k][i] · b[k][j]`, wrapping. To call it is sound when the CPU has the instructions.
pub(crate) type TileKernel = unsafe fn(&Tile<'_>, &mut Sums);

/// What multiplies bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Plain Rust.
    Portable,
    /// AVX2.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// The products of bytes that AVX2 lacks, 32 bytes at a time.
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    /// The same, 64 bytes at a time.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
}

/// An instruction set, and what multiplies bytes in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Level {
    pub(crate) isa: Isa,
    pub(crate) unit: Unit,
}

impl Level {
    /// The instruction set in force with the best that it has.
    pub(crate) fn current() -> Level {
        Level::best_of(Isa::current())
    }

    fn best_of(isa: Isa) -> Level {
        let unit = match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 if Unit::Avx512Vnni.is_available() => Unit::Avx512Vnni,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::Avx512 if Unit::AvxVnni.is_available() => Unit::AvxVnni,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 | Isa::Avx512 => Unit::Avx2,
            _ => Unit::Portable,
        };
        Level { isa, unit }
    }

    /// A core's time for one product of codes.
    pub(crate) fn ns_per_mac(self) -> f64 {
        match self.unit {
            Unit::Portable => 0.1,
            #[cfg(target_arch = "x86_64")]
            Unit::Avx2 => 0.015,
            #[cfg(target_arch = "x86_64")]
            Unit::AvxVnni => 0.006,
            #[cfg(target_arch = "x86_64")]
            Unit::Avx512Vnni => 0.004,
        }
    }

    /// Everything that this CPU can be asked for.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Level> {
        let portable = Isa::available().into_iter().map(|isa| Level { isa, unit: Unit::Portable });
        #[cfg_attr(not(target_arch = "x86_64"), allow(unused_mut, reason = "other units are of x86"))]
        let mut levels: Vec<Level> = portable.collect();
        #[cfg(target_arch = "x86_64")]
        for isa in [Isa::Avx2, Isa::Avx512] {
            for unit in [Unit::Avx2, Unit::AvxVnni, Unit::Avx512Vnni] {
                if isa.is_available() && unit.is_available() {
                    levels.push(Level { isa, unit });
                }
            }
        }
        levels
    }
}

impl Unit {
    #[cfg(target_arch = "x86_64")]
    fn is_available(self) -> bool {
        match self {
            Unit::Portable => true,
            Unit::Avx2 => Isa::Avx2.is_available(),
            Unit::AvxVnni => Isa::Avx2.is_available() && is_x86_feature_detected!("avxvnni"),
            Unit::Avx512Vnni => Isa::Avx512.is_available() && is_x86_feature_detected!("avx512vnni"),
        }
    }

    /// What it is called where a machine is described.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Unit::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Unit::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Unit::AvxVnni => "avx-vnni",
            #[cfg(target_arch = "x86_64")]
            Unit::Avx512Vnni => "avx512-vnni",
        }
    }

    /// Whether it adds the products of narrow codes in pairs of 16 bits, and is faster for it.
    pub(crate) fn adds_in_pairs(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self == Unit::Avx2;
        #[cfg(not(target_arch = "x86_64"))]
        return false;
    }

    /// The tile with signed bytes on the left and unsigned ones on the right, or the other way round.
    pub(crate) fn kernel(self, is_left_signed: bool) -> TileKernel {
        #[cfg(target_arch = "x86_64")]
        use super::{tile_avx2, tile_avx512};
        match (self, is_left_signed) {
            (Unit::Portable, false) => portable::<false>,
            (Unit::Portable, true) => portable::<true>,
            #[cfg(target_arch = "x86_64")]
            (Unit::Avx2, false) => tile_avx2::plain::<false>,
            #[cfg(target_arch = "x86_64")]
            (Unit::Avx2, true) => tile_avx2::plain::<true>,
            #[cfg(target_arch = "x86_64")]
            (Unit::AvxVnni, false) => tile_avx2::vnni::<false>,
            #[cfg(target_arch = "x86_64")]
            (Unit::AvxVnni, true) => tile_avx2::vnni::<true>,
            #[cfg(target_arch = "x86_64")]
            (Unit::Avx512Vnni, false) => tile_avx512::vnni::<false>,
            #[cfg(target_arch = "x86_64")]
            (Unit::Avx512Vnni, true) => tile_avx512::vnni::<true>,
        }
    }
}

/// The tile in plain Rust: what every other body must agree with.
fn portable<const IS_LEFT_SIGNED: bool>(tile: &Tile<'_>, sums: &mut Sums) {
    let (runs, groups) = (&tile.runs, tile.a.as_chunks::<LEFT_STEP>().0);
    let left = |byte: u8| if IS_LEFT_SIGNED { i32::from(byte.cast_signed()) } else { i32::from(byte) };
    let right = |byte: u8| if IS_LEFT_SIGNED { i32::from(byte) } else { i32::from(byte.cast_signed()) };
    for (i, sums) in sums.iter_mut().enumerate().take(tile.rows) {
        for (panel, sums) in sums.as_chunks_mut::<NR>().0.iter_mut().enumerate().take(tile.panels) {
            let mut row = [0i32; NR];
            let starts = runs.starts.iter().flat_map(|start| (0..runs.groups).map(move |g| start + g * runs.step));
            for (a, start) in groups.iter().zip(starts) {
                let b = &tile.b[start + panel * runs.panel_step..][..RIGHT_STEP];
                let a: [i32; GROUP] = std::array::from_fn(|k| left(a[i * GROUP + k]));
                for (sum, b) in row.iter_mut().zip(b.as_chunks::<GROUP>().0) {
                    let group = (0..GROUP).map(|k| a[k] * right(b[k])).sum::<i32>();
                    *sum = sum.wrapping_add(group);
                }
            }
            *sums = row;
        }
    }
}

/// Computes a tile of full size of narrow codes, whose left panel is `a` and whose right panels are `b`, and gives the number
/// of its products: what the limit of a machine is measured with.
pub(crate) fn full_tile(level: Level, a: &[u8], b: &[u8]) -> usize {
    let groups = a.len() / LEFT_STEP;
    let runs = Runs { starts: &[0], groups, step: RIGHT_STEP, panel_step: groups * RIGHT_STEP };
    let tile = Tile::new([MR, PANELS], a, b, runs, true);
    let mut sums = [[0; COLUMNS]; MR];
    // SAFETY: `Level::current` and `Level::all` give no unit that this CPU lacks, and a level is made nowhere else.
    unsafe { level.unit.kernel(false)(&tile, &mut sums) };
    std::hint::black_box(&sums);
    MR * COLUMNS * groups * GROUP
}

/// The sums of the columns of some right panels, added up by a left row of ones.
pub(crate) struct Ones {
    row: AlignedBytes,
    len: usize,
}

impl Ones {
    pub(crate) fn new(groups: usize) -> Ones {
        let len = groups * LEFT_STEP;
        let mut row = AlignedBytes::zeroed(len);
        row[..len].fill(1);
        Ones { row, len }
    }

    /// A tile of one row of ones.
    pub(crate) fn tile<'a>(&'a self, panels: usize, b: &'a [u8], runs: Runs<'a>) -> Tile<'a> {
        Tile::new([1, panels], &self.row[..self.len], b, runs, false)
    }
}

/// Reads of a tile that its construction has checked, for the bodies with raw loads.
impl<'a> Tile<'a> {
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn panels(&self) -> usize {
        self.panels
    }

    pub(crate) fn a(&self) -> &'a [u8] {
        self.a
    }

    pub(crate) fn b(&self) -> &'a [u8] {
        self.b
    }

    pub(crate) fn runs(&self) -> Runs<'a> {
        self.runs
    }

    #[cfg(target_arch = "x86_64")]
    pub(crate) fn is_narrow(&self) -> bool {
        self.is_narrow
    }
}
